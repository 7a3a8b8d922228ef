/*
 * The folder that a worker runs in.
 *
 * scratch: `<workspaces root>/<task>`, or the path on the task; made if missing.
 * dir:     the path on the task; made if missing.
 * worktree: a git worktree on a branch of the task's own, see worktree.c.
 *
 * A relative path is refused: it would be relative to wherever the daemon happens to run.
 */
#include "launch.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

/* `//` and `/./` become one slash, a trailing slash or `/.` goes; `..` stays as it is */
static void workspace_tidy(char *path)
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
	if (r == -ENOTDIR)
		return error_set(e, LAUNCH_WORKSPACE_FAILED,
				 "workspace: %s, or a part of that path, is no folder", path);
	if (r < 0)
		return error_set(e, LAUNCH_WORKSPACE_FAILED, "workspace: cannot make %s: %s",
				 path, strerror(-r));
	return 0;
}

/* scratch and dir: the path on the task */
static int workspace_given(const struct launch_env *env, const struct launch_spec *spec,
			   char **path, struct error *e)
{
	int r = workspace_path(spec->workspace_path, environ_home(env), path);

	if (r == -EINVAL)
		return error_set(
			e, LAUNCH_WORKSPACE_FAILED,
			"workspace: workspace_path %s of a %s task is not absolute; give "
			"the whole path",
			spec->workspace_path, spec->workspace_kind);
	if (r < 0)
		return error_set(e, LAUNCH_WORKSPACE_FAILED, "workspace: out of memory");
	return 0;
}

static int workspace_folder(const struct launch_env *env, const struct launch_spec *spec,
			    bool scratch, char **path, struct error *e)
{
	CLEANUP(freep) char *folder = NULL;
	int r;

	if (spec->workspace_path && *spec->workspace_path) {
		r = workspace_given(env, spec, &folder, e);
		if (r != 0)
			return r;
	} else if (scratch) {
		folder = fs_path("%s/%s", spec->workspaces_root, spec->task);
		if (folder)
			workspace_tidy(folder);
	} else {
		return error_set(e, LAUNCH_WORKSPACE_FAILED,
				 "workspace: a dir task needs a workspace_path, this one has "
				 "none");
	}
	if (!folder)
		return error_set(e, LAUNCH_WORKSPACE_FAILED, "workspace: out of memory");
	r = workspace_mkdir(folder, e);
	if (r == 0)
		*path = STEAL(folder);
	return r;
}

int workspace_prepare(const struct launch_env *env, const struct launch_spec *spec, char **path,
		      char **branch, struct error *e)
{
	const char *kind = spec->workspace_kind && *spec->workspace_kind ? spec->workspace_kind
									 : "scratch";

	if (strcmp(kind, "scratch") == 0)
		return workspace_folder(env, spec, true, path, e);
	if (strcmp(kind, "dir") == 0)
		return workspace_folder(env, spec, false, path, e);
	if (strcmp(kind, "worktree") == 0)
		return worktree_prepare(env, spec, path, branch, e);
	return error_set(e, LAUNCH_WORKSPACE_FAILED,
			 "workspace: unknown workspace_kind %.64s; scratch, dir and worktree "
			 "exist",
			 kind);
}
