/*
 * Paths of workspaces, as they stand on tasks and boards: made absolute and tidy, and made as
 * folders.
 */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch.h"
#include "util/fs.h"

/* `//` and `/./` become one slash, a trailing slash or `/.` goes; `..` stays as it is */
void workspace_tidy(char *path)
{
	char *to = path;

	for (const char *p = path; *p;) {
		size_t n;

		while (*p == '/')
			p++;
		n = strcspn(p, "/");
		if (n > 0 && !(n == 1 && p[0] == '.')) {
			*to++ = '/';
			memmove(to, p, n);
			to += n;
		}
		p += n;
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
}

/* The home folder for `~` where the environment has none. */
static char *workspace_passwd_home(void)
{
	struct passwd pw, *found = NULL;
	CLEANUP(freep) char *buf = malloc(16384);

	if (!buf || getpwuid_r(geteuid(), &pw, buf, 16384, &found) != 0 || !found)
		return NULL;
	return strdup(pw.pw_dir);
}

int workspace_path(const char *text, const char *home, char **out)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(freep) char *known = NULL;

	if (text[0] == '~' && (text[1] == '/' || text[1] == '\0')) {
		known = home ? strdup(home) : workspace_passwd_home();
		if (!known)
			return home ? -ENOMEM : -EINVAL;
		path = fs_path("%s%s", known, text + 1);
	} else {
		path = strdup(text);
	}
	if (!path)
		return -ENOMEM;
	if (path[0] != '/')
		return -EINVAL;
	workspace_tidy(path);
	*out = STEAL(path);
	return 0;
}

int workspace_mkdir(const char *path, struct error *e)
{
	int r;

	/* nearly always only the last part is missing, or nothing */
	if (mkdir(path, 0777) == 0)
		return 0;
	r = -errno;
	if (r == -ENOENT)
		r = fs_mkdir_p(path, 0777);
	else if (r == -EEXIST)
		r = fs_is_dir(path) ? 0 : -ENOTDIR;
	error_cause(e, r);
	if (r == -ENOTDIR)
		return error_set(e, LAUNCH_WORKSPACE_FAILED,
				 "workspace: %s, or a part of that path, is no folder", path);
	if (r < 0)
		return error_set(e, LAUNCH_WORKSPACE_FAILED, "workspace: cannot make %s: %s",
				 path, strerror(-r));
	return 0;
}

bool workspace_board_gone(const struct launch_spec *spec)
{
	return spec->db_path && access(spec->db_path, F_OK) < 0 && errno == ENOENT;
}

bool workspace_place_error(int r)
{
	return r == -EACCES || r == -EPERM || r == -ENOTDIR || r == -ELOOP;
}

bool workspace_place_bad(const char *folder, int r)
{
	return workspace_place_error(r) &&
	       (!fs_is_dir(folder) || access(folder, W_OK | X_OK) < 0);
}
