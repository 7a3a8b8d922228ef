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
#include <string.h>

#include "util/fs.h"

/* scratch and dir: the path on the task */
static int workspace_given(const struct environment *env, const struct launch_spec *spec,
			   char **path, struct error *e)
{
	int r = workspace_path(spec->row.workspace_path, environ_home(env), path);

	if (r == -EINVAL)
		return error_set(
			e, LAUNCH_WORKSPACE_FAILED,
			"workspace: workspace_path %s of a %s task is not absolute; give "
			"the whole path",
			spec->row.workspace_path, spec->row.workspace_kind);
	if (r < 0)
		return error_set(e, LAUNCH_WORKSPACE_FAILED, "workspace: out of memory");
	return 0;
}

static int workspace_folder(const struct environment *env, const struct launch_spec *spec,
			    bool scratch, char **path, struct error *e)
{
	CLEANUP(freep) char *folder = NULL;
	bool own = false;
	int r;

	if (spec->row.workspace_path && *spec->row.workspace_path) {
		r = workspace_given(env, spec, &folder, e);
		if (r != 0)
			return r;
	} else if (scratch) {
		folder = fs_path("%s/%s", spec->workspaces_root, spec->task);
		own = true;
		if (folder)
			workspace_tidy(folder);
		if (workspace_board_gone(spec))
			return error_set(e, LAUNCH_WORKSPACE_FAILED,
					 "workspace: %s is not there any more", spec->db_path);
	} else {
		return error_set(e, LAUNCH_WORKSPACE_FAILED,
				 "workspace: a dir task needs a workspace_path, this one has "
				 "none");
	}
	if (!folder)
		return error_set(e, LAUNCH_WORKSPACE_FAILED, "workspace: out of memory");
	r = workspace_mkdir(folder, e);
	/* no task chose that folder */
	if (r != 0 && own && workspace_place_bad(spec->workspaces_root, e->cause))
		r = e->code = LAUNCH_PLACE_FAILED;
	if (r == 0)
		*path = STEAL(folder);
	return r;
}

int workspace_prepare(const struct environment *env, const struct launch_spec *spec,
		      char **path, char **branch, struct error *e)
{
	const char *kind = spec->row.workspace_kind && *spec->row.workspace_kind
				   ? spec->row.workspace_kind
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
