/*
 * A folder that another account may change can lead anywhere by the next system call: a link in
 * the place of a database, of a lock file, of a folder. Whatever root writes there is written
 * for that account. So root looks at the path from above, one component after the other, with
 * links read and never followed by the kernel, and gives up being root for the first stranger
 * that it meets. After that nobody but the owner can be harmed by what the owner put there.
 *
 * What counts is who owns each link, folder and file: in a folder of root's in which others may
 * write, what they put there is theirs.
 */
#include "ctl/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "util/fs.h"

#define ACCOUNT_LINKS_MAX 40 /* as the kernel, path_resolution(7) */

/* The walk. */
struct account_walk {
	struct ctl *ctl;
	char rest[PATH_MAX]; /* what is still to be walked, from the folder @fd */
	int fd;              /* O_PATH */
	int links;           /* followed so far */
	uid_t uid;           /* the stranger, 0 none yet */
	gid_t gid;           /* … */
};

/* One component that was met. */
static int account_meet(struct account_walk *w, const char *name, const struct stat *st)
{
	if (st->st_uid != 0 && w->uid != 0 && st->st_uid != w->uid)
		return ctl_say(w->ctl, CTL_NOT_ALLOWED,
			       "%s, on the way to the root, belongs to uid %lu, another folder "
			       "there to uid %lu: root does not work for two; run kanbanctl as "
			       "the account that owns the root",
			       name, (unsigned long)st->st_uid, (unsigned long)w->uid);
	if (st->st_uid != 0) {
		w->uid = st->st_uid;
		w->gid = st->st_gid;
	}
	return 0;
}

/* Put the target of the link in front of what is left. Return: 0 or -errno. */
static int account_link(struct account_walk *w, int link)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(link, "", target, sizeof(target));
	CLEANUP(freep) char *rest = NULL;

	if (n < 0)
		return -errno;
	if (n == 0 || n == sizeof(target) || ++w->links > ACCOUNT_LINKS_MAX)
		return -ELOOP;
	rest = fs_path("%.*s/%s", (int)n, target, w->rest);
	if (!rest)
		return -ENOMEM;
	if (strlen(rest) >= sizeof(w->rest))
		return -ENAMETOOLONG;
	(void)strcpy(w->rest, rest);
	return 0;
}

/* Take the first component off. *@name: out, "" at the end. */
static void account_next(struct account_walk *w, char name[NAME_MAX + 1])
{
	size_t slashes = strspn(w->rest, "/"), n = strcspn(w->rest + slashes, "/");

	(void)snprintf(name, NAME_MAX + 1, "%.*s", (int)n, w->rest + slashes);
	memmove(w->rest, w->rest + slashes + n, strlen(w->rest + slashes + n) + 1);
}

/* From the folder @fd on. Return: 0, an exit code after telling, or -errno. */
static int account_walk(struct account_walk *w)
{
	char name[NAME_MAX + 1];

	for (;;) {
		CLEANUP(fs_closep) int at = -1;
		struct stat st;
		int r;

		if (w->rest[0] == '/' || w->fd < 0) {
			fs_closep(&w->fd);
			w->fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		account_next(w, name);
		if (w->fd < 0)
			return -errno;
		if (!*name)
			return 0;
		at = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (at < 0 && (errno == ENOENT || errno == ENOTDIR))
			return 0; /* not there yet: made by whom we then are */
		if (at < 0 || fstat(at, &st) < 0)
			return -errno;
		r = account_meet(w, name, &st);
		if (r == 0 && S_ISLNK(st.st_mode))
			r = account_link(w, at);
		else if (r == 0 && w->rest[strspn(w->rest, "/")]) {
			/* what is left is walked from here */
			memmove(w->rest, w->rest + strspn(w->rest, "/"),
				strlen(w->rest + strspn(w->rest, "/")) + 1);
			fs_closep(&w->fd);
			w->fd = at;
			at = -1;
		} else if (r == 0) {
			return 0;
		}
		if (r != 0)
			return r;
	}
}

/* Variables that name what was root's. */
static int account_environment(struct ctl *ctl, uid_t uid, const struct passwd *pw)
{
	static const char *const others[] = { "XDG_CONFIG_HOME",
					      "XDG_DATA_HOME",
					      "XDG_CACHE_HOME",
					      "XDG_STATE_HOME",
					      "XDG_RUNTIME_DIR",
					      "DBUS_SESSION_BUS_ADDRESS",
					      "MAIL" };
	const char *tmp = getenv("TMPDIR");
	char run[64];
	int r = 0;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		r |= unsetenv(others[i]);
	if (tmp && access(tmp, W_OK | X_OK) < 0)
		r |= unsetenv("TMPDIR");
	(void)snprintf(run, sizeof(run), "/run/user/%lu", (unsigned long)uid);
	if (access(run, X_OK) == 0)
		r |= setenv("XDG_RUNTIME_DIR", run, 1);
	r |= pw ? setenv("HOME", pw->pw_dir, 1) : unsetenv("HOME");
	r |= pw ? setenv("USER", pw->pw_name, 1) : unsetenv("USER");
	r |= pw ? setenv("LOGNAME", pw->pw_name, 1) : unsetenv("LOGNAME");
	ctl->env = environ;
	return r == 0 ? 0 : -ENOMEM;
}

static int account_become(struct ctl *ctl, uid_t uid, gid_t gid)
{
	const struct passwd *pw = getpwuid(uid);
	int r;

	if (pw)
		gid = pw->pw_gid;
	r = pw ? initgroups(pw->pw_name, gid) : setgroups(0, NULL);
	if (r == 0)
		r = setgid(gid);
	if (r == 0)
		r = setuid(uid);
	if (r < 0)
		return ctl_say(ctl, CTL_NOT_ALLOWED,
			       "the root belongs to uid %lu, which root cannot become here: %s",
			       (unsigned long)uid, strerror(errno));
	if (setuid(0) == 0)
		return ctl_say(
			ctl, CTL_NOT_ALLOWED,
			"the root belongs to uid %lu, and root's rights cannot be given up",
			(unsigned long)uid);
	ctl->was_root = true;
	r = account_environment(ctl, uid, pw);
	return r == 0 ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
}

int account_take(struct ctl *ctl, const char *path)
{
	struct account_walk w = { .ctl = ctl, .fd = -1 };
	int r;

	if (geteuid() != 0)
		return 0;
	if (strlen(path) >= sizeof(w.rest))
		return ctl_say(ctl, CTL_NO_INPUT, "%s: %s", path, strerror(ENAMETOOLONG));
	(void)strcpy(w.rest, path);
	r = account_walk(&w);
	fs_closep(&w.fd);
	if (r < 0)
		return ctl_say(ctl, r == -EACCES ? CTL_NOT_ALLOWED : CTL_NO_INPUT, "%s: %s",
			       path, strerror(-r));
	return r == 0 && w.uid != 0 ? account_become(ctl, w.uid, w.gid) : r;
}
