/*
 * Making the socket.
 *
 * A file that is there may be what a killed daemon left, or somebody's who listens: connect(2)
 * tells. Two daemons that start at the same time must not take each other's new socket for a
 * stale one, so looking, removing and binding are done under a lock of the folder. Whoever may
 * open the folder may hold that lock, so it is not waited for.
 */
#include "control/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/fs.h"

#define LISTEN_BACKLOG  128
#define LISTEN_LOCK_TRY 50 /* times 10 ms */

static int listener_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* The folder, locked if that can be had soon. */
static int listener_folder(const char *path, struct error *e)
{
	CLEANUP(freep) char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	int fd;

	if (!folder)
		return error_set(e, -ENOMEM, "out of memory");
	if (!slash || slash == folder)
		return error_set(e, -EINVAL, "%s is no place for a socket", path);
	*slash = '\0';
	if (mkdir(folder, 0750) < 0 && errno != EEXIST)
		return error_errno(e, -errno, "cannot make %s", folder);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, -errno, "cannot open %s", folder);
	for (int i = 0; i < LISTEN_LOCK_TRY && flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		struct timespec ts = { .tv_nsec = 10000000 };

		(void)nanosleep(&ts, NULL); /* before the loop runs; at most half a second */
	}
	return fd;
}

/* May what is at the path be removed? 0, also when nothing is there. */
static int listener_stale(const struct sockaddr_un *a, struct error *e)
{
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT
			       ? 0
			       : error_errno(e, -errno, "cannot look at %s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return error_set(e, -EADDRINUSE, "%s is there and is no socket", a->sun_path);
	fd = listener_socket();
	if (fd < 0)
		return error_errno(e, fd, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN)
		return error_set(e, -EADDRINUSE, "another process listens on %s", a->sun_path);
	if (errno != ECONNREFUSED)
		return error_errno(e, -errno, "cannot tell who listens on %s", a->sun_path);
	if (unlink(a->sun_path) < 0 && errno != ENOENT)
		return error_errno(e, -errno, "cannot remove the old socket %s", a->sun_path);
	return 0;
}

int listener_open(struct listener *l, const char *path, struct error *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	CLEANUP(fs_closep) int folder = -1;
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;
	int r;

	*l = (struct listener){ .fd = -1 };
	if (strlen(path) >= sizeof(a.sun_path))
		return error_set(e, -ENAMETOOLONG, "%s is too long for a socket", path);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	folder = listener_folder(path, e);
	if (folder < 0)
		return folder;
	r = listener_stale(&a, e);
	if (r < 0)
		return r;
	fd = listener_socket();
	if (fd < 0)
		return error_errno(e, fd, "cannot make a socket");
	/* never open to more than is meant, not even for a moment; the umask only takes away */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return error_errno(e, -errno, "cannot make the socket %s", path);
	if (chmod(path, 0660) < 0 || listen(fd, LISTEN_BACKLOG) < 0 || lstat(path, &st) < 0) {
		r = error_errno(e, -errno, "cannot listen on %s", path);
		(void)unlink(path); /* nobody could use it */
		return r;
	}
	l->fd = fd;
	fd = -1;
	l->ours = true;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	(void)snprintf(l->path, sizeof(l->path), "%s", path);
	return 0;
}

/* A listening stream socket that is ours from now on. Return: 0 or -errno, then it is closed.
 */
static int listener_own(struct listener *l, int fd, bool any, const char *what, struct error *e)
{
	CLEANUP(fs_closep) int own = fd;
	struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
	const struct sockaddr_un *un = (const struct sockaddr_un *)&a;
	socklen_t len = sizeof(a), size = sizeof(int);
	int listening = 0, type = 0, flags;

	*l = (struct listener){ .fd = -1 };
	if (getsockname(own, (struct sockaddr *)&a, &len) < 0 ||
	    (!any && a.ss_family != AF_UNIX) ||
	    getsockopt(own, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
	    getsockopt(own, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
		return error_set(e, -EINVAL,
				 "the socket that was handed over is no listening %s", what);
	flags = fcntl(own, F_GETFL);
	if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(own, F_SETFD, FD_CLOEXEC) < 0)
		return error_errno(e, -errno, "cannot use the socket that was handed over");
	if (a.ss_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path) &&
	    un->sun_path[0])
		(void)snprintf(l->path, sizeof(l->path), "%.*s",
			       (int)(len - offsetof(struct sockaddr_un, sun_path)),
			       un->sun_path);
	l->fd = own;
	own = -1;
	return 0;
}

int listener_adopt(struct listener *l, int fd, struct error *e)
{
	return listener_own(l, fd, false,
			    "Unix stream socket; see ListenStream= in kanband.socket", e);
}

int listener_adopt_scrape(struct listener *l, int fd, struct error *e)
{
	return listener_own(l, fd, true,
			    "stream socket; see ListenStream= in kanband-metrics.socket", e);
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (l->fd >= 0 && l->ours && lstat(l->path, &st) == 0 && st.st_dev == l->dev &&
	    st.st_ino == l->ino)
		(void)unlink(l->path); /* at worst a file that the next one replaces */
	fs_closep(&l->fd);
}
