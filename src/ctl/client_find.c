/*
 * Which daemon. The owner file names its socket, and anybody who may write to the root may
 * write any path there. So before anything is said to a socket, the kernel is asked who listens
 * at it. A daemon in standby answers too; what it knows of the root is what it says.
 */
#include "ctl/client_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client.h"
#include "root/leader.h"
#include "root/lease.h"
#include "util/fs.h"
#include "util/strv.h"

#define FIND_LIMIT_MS    2000L /* a daemon that turns answers at once */
#define FIND_SOCKETS_MAX 64

/* May the process at the other end be asked about @root (NULL: about anything of the host's) */
static bool client_find_trusted(const char *path, const char *root, uid_t peer)
{
	CLEANUP(freep) char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	struct stat st;

	if (peer == 0 || peer == geteuid())
		return true;
	if (root)
		return stat(root, &st) == 0 && st.st_uid == peer;
	/* only root makes folders in /run: the account that it gave this one to */
	if (!slash)
		return false;
	*slash = '\0';
	return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == peer;
}

/* Return: 0 it may be asked; -EACCES a stranger; -EPERM we may not connect; other -errno nobody
 * is there. */
static int client_find_peer(const char *path, const char *root)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP(fs_closep) int fd = -1;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	(void)strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EACCES ? -EPERM : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	return client_find_trusted(path, root, peer.uid) ? 0 : -EACCES;
}

/* @r of client_find_peer() as a sentence. */
static int client_find_refused(int r, const char *socket, const char *root, struct error *e)
{
	if (r == -EACCES && root)
		return error_set(e, r,
				 "who listens at %s is neither root nor the owner of %s: it is "
				 "not asked",
				 socket, root);
	if (r == -EACCES)
		return error_set(e, r,
				 "who listens at %s is neither root nor the owner of its "
				 "folder: it is not asked",
				 socket);
	if (r == -EPERM)
		return error_set(e, r,
				 "you may not talk to the daemon at %s: use sudo, or join the "
				 "group of that socket",
				 socket);
	return error_errno(e, r, "no daemon answers at %s", socket);
}

/* Does the daemon there serve the root. Return: 0 and *@out, NULL if not; -EACCES a stranger
 * listens; -ELIBACC; -ENOMEM; other: nobody does. @e says so. */
static int client_find_try(const struct ctl *ctl, const char *root, const char *socket,
			   struct client **out, struct error *e)
{
	CLEANUP(client_freep) struct client *c = NULL;
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(freep) char *path = NULL;
	int r = client_find_peer(socket, root);

	if (r < 0)
		return client_find_refused(r, socket, root, e);
	r = client_new(ctl, root, socket, &c, e);
	if (!c)
		return r;
	path = client_path(c, NULL, "/v1/leader");
	if (!path)
		return error_set(e, -ENOMEM, "out of memory");
	r = client_request(c, "GET", path, NULL, FIND_LIMIT_MS, &reply, e);
	if (r < 0)
		return r;
	if (reply.status == 200) {
		*out = STEAL(c);
		return 0;
	}
	(void)client_problem(&reply, e);
	return 0;
}

int client_roots(const struct ctl *ctl, const char *socket, json_t **roots, struct error *e)
{
	CLEANUP(client_freep) struct client *c = NULL;
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	int r = client_find_peer(socket, NULL);

	if (r < 0)
		return client_find_refused(r, socket, NULL, e);
	r = client_new(ctl, "/", socket, &c, e);
	if (r == 0)
		r = client_request(c, "GET", "/v1/leader", NULL, FIND_LIMIT_MS, &reply, e);
	if (r < 0)
		return r;
	*roots = json_incref(json_object_get(reply.json, "roots"));
	if (json_is_array(*roots))
		return 0;
	json_decref(STEAL(*roots));
	return error_set(e, -EBADMSG, "the daemon at %s does not say what it serves", socket);
}

/* ---- sockets ------------------------------------------------------------------------- */

char **client_sockets_host(const struct ctl *ctl)
{
	const char *run = ctl_env(ctl, "KANBAND_RUN");
	CLEANUP(strv_freep) char **list = calloc(1, sizeof(*list));
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;
	int r = list ? 0 : -ENOMEM;

	run = run && run[0] == '/' ? run : "/run";
	dir = opendir(run);
	while (dir && r == 0 && n < FIND_SOCKETS_MAX && (entry = readdir(dir))) {
		CLEANUP(freep) char *path = NULL;
		struct stat st;

		if (strncmp(entry->d_name, "kanband", 7) != 0 ||
		    (entry->d_name[7] != '\0' && entry->d_name[7] != '-'))
			continue;
		path = fs_path("%s/%s/control.sock", run, entry->d_name);
		/* a folder that we may not enter has one, as far as we know */
		if (path && stat(path, &st) < 0 && errno != EACCES)
			continue;
		r = strv_push(&list, &n, STEAL(path));
	}
	if (dir)
		(void)closedir(dir); /* it was only read */
	return r == 0 ? STEAL(list) : NULL;
}

static bool client_find_listed(char *const *list, const char *socket)
{
	for (; list && *list; list++)
		if (strcmp(*list, socket) == 0)
			return true;
	return false;
}

/* The sockets that are looked at for a root, the most likely first. */
static char **client_find_sockets(const struct ctl *ctl, const char *root)
{
	CLEANUP(strv_freep) char **list = NULL;
	CLEANUP(strv_freep) char **host = client_sockets_host(ctl);
	const char *run = ctl_env(ctl, "XDG_RUNTIME_DIR");
	struct lease_owner owner;
	size_t n = 0;
	int r = host ? 0 : -ENOMEM;

	if (r == 0 && lease_read_owner(root, &owner) == 0 && owner.socket[0] == '/')
		r = strv_push(&list, &n, strdup(owner.socket));
	if (r == 0 && run && run[0] == '/') {
		CLEANUP(freep) char *own = fs_path("%s/kanband/control.sock", run);

		/* one that hangs is waited for once */
		if (!own || !client_find_listed(list, own))
			r = strv_push(&list, &n, STEAL(own));
	}
	for (char **s = host; r == 0 && *s; s++)
		if (!client_find_listed(list, *s))
			r = strv_push(&list, &n, strdup(*s));
	if (r == 0 && !list)
		list = calloc(1, sizeof(*list));
	return r == 0 ? STEAL(list) : NULL;
}

static bool client_find_hopeless(int r)
{
	return r == -ENOMEM || r == -ELIBACC;
}

/* @e: why it came to nothing; @how: which kind of nothing, the most telling one */
static int client_find_look(const struct ctl *ctl, const char *root, struct client **out,
			    int *how, struct error *e)
{
	CLEANUP(strv_freep) char **list = NULL;
	struct error one = ERROR_NULL;
	struct leader l;
	int r = 0;

	*out = NULL;
	*how = 0;
	if (ctl->socket_arg) {
		*how = client_find_try(ctl, root, ctl->socket_arg, out, e);
		return client_find_hopeless(*how) ? *how : 0;
	}
	list = client_find_sockets(ctl, root);
	if (!list)
		return error_set(e, -ENOMEM, "out of memory");
	for (char **s = list; *s && !*out; s++) {
		r = client_find_try(ctl, root, *s, out, &one);
		if (client_find_hopeless(r))
			return error_set(e, r, "%s", one.text);
		/* the daemon of the root hangs, or we may not ask it: not that there is none */
		if (r == -ETIMEDOUT || (r == -EPERM && *how != -ETIMEDOUT)) {
			*how = r;
			(void)error_set(e, r, "%s", one.text);
		}
	}
	/* a folder in /run that is closed to us says nothing where nobody has the lease */
	if (*how == -EPERM && leader_look(root, &l) == 0 && !l.held)
		*how = 0;
	return 0;
}

int client_find(const struct ctl *ctl, const char *root, struct client **out)
{
	struct error e = ERROR_NULL;
	int how;

	return client_find_look(ctl, root, out, &how, &e);
}

static int client_find_exit(int how)
{
	return how == -EACCES || how == -EPERM ? CTL_NOT_ALLOWED : CTL_NO_DAEMON;
}

/* One that hangs, or that we may not ask: not that there is none. */
static const char *client_find_why_none(int how)
{
	return how == -ETIMEDOUT ? "its daemon does not answer"
	       : how == -EPERM   ? "its daemon may not be asked"
				 : NULL;
}

int client_open(struct ctl *ctl, const char *root, struct client **out)
{
	struct error e = ERROR_NULL;
	int how, r = client_find_look(ctl, root, out, &how, &e);

	if (r < 0)
		return ctl_say(ctl, CTL_IO, "%s", r == -ENOMEM ? "out of memory" : e.text);
	if (*out || !ctl->socket_arg) {
		ctl->no_daemon = *out ? NULL : client_find_why_none(how);
		ctl->daemon_hangs = !*out && how == -ETIMEDOUT;
		if (ctl->no_daemon)
			(void)ctl_say(ctl, 0, "note: %s", e.text);
		return 0;
	}
	return ctl_say(ctl, client_find_exit(how), "%s", e.text);
}

int client_need(const struct ctl *ctl, const char *root, struct client **out)
{
	struct error e = ERROR_NULL;
	int how, r = client_find_look(ctl, root, out, &how, &e);

	if (r < 0)
		return ctl_say(ctl, CTL_IO, "%s", r == -ENOMEM ? "out of memory" : e.text);
	if (*out)
		return 0;
	if (how < 0 || ctl->socket_arg)
		return ctl_say(ctl, client_find_exit(how), "%s", e.text);
	return ctl_say(ctl, CTL_NO_DAEMON,
		       "no daemon serves %s: start one (systemctl start kanband), or name its "
		       "socket with --socket",
		       root);
}
