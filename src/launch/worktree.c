/*
 * A git worktree for a task: a folder with a branch of the task's own, so that workers on one
 * repository do not step on each other.
 *
 * Where it is:
 *   no workspace_path    → <toplevel of the board's default_workdir>/.worktrees/<task>
 *   path of a checkout   → <that checkout>/.worktrees/<task>
 *   a linked worktree    → itself, if it is on the task's branch; else, because tasks that came
 *                          out of one decomposition all carry their parent's path, a worktree
 *                          of the task's own under .worktrees/<task>
 *   anything else        → that path, in the repository around it; a folder that is there
 *                          already is used as it is
 *
 * Several launches may work on one repository at the same time, each with git's own locks in
 * each other's way. All that looks and then acts happens under a lock of ours in the common git
 * folder. It is taken in tries, because a stopped holder must not hold up the pool for good;
 * after GIT_TIMEOUT_MS it is done without. Others (people, Hermes) do not know that lock: where
 * git says that a lock file is in the way, it is tried again.
 */
#include "worktree.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "util/clock.h"
#include "util/fs.h"

/* <checkout>/.worktrees/<task> */
static int worktree_anchored(struct worktree *w, const struct worktree_repo *repo, char **path)
{
	CLEANUP(freep) char *target = fs_path("%s/.worktrees/%s", repo->top, w->spec->task);
	int r;

	if (!target)
		return worktree_oom(w);
	r = worktree_ensure(w, repo, target);
	if (r == 0)
		*path = STEAL(target);
	return r;
}

static int worktree_no_repo(struct worktree *w, const char *what, const char *path)
{
	char reason[384];

	if (worktree_foreign(w))
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: %s %s is in a repository of another account, which "
			"git does not use: %s; to allow it: git config --global --add "
			"safe.directory, as the account of kanband",
			what, path, git_reason(w->output, reason, sizeof(reason)));
	return error_set(w->e, LAUNCH_WORKSPACE_FAILED,
			 "workspace: %s %s is not inside a git checkout that can be used: %s",
			 what, path, git_reason(w->output, reason, sizeof(reason)));
}

/* A copy of @text without the blanks around it; NULL out of memory. */
static char *worktree_trimmed(const char *text)
{
	static const char blanks[] = " \t\r\n\v\f";
	size_t n;

	text += strspn(text, blanks);
	n = strlen(text);
	while (n > 0 && strchr(blanks, text[n - 1]))
		n--;
	return strndup(text, n);
}

/* Without a path on the task the board says where its repository is. */
static int worktree_of_board(struct worktree *w, const char *home, char **path)
{
	struct worktree_repo repo = { 0 };
	CLEANUP(freep) char *workdir = NULL;
	const char *given = w->spec->default_workdir;
	CLEANUP(freep) char *set = worktree_trimmed(given ? given : "");
	int r;

	if (!set)
		return worktree_oom(w);
	if (!*set)
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: a worktree task needs a workspace_path, or a "
			"default_workdir in the board.json of board %s; there is neither",
			w->spec->board);
	r = workspace_path(set, home, &workdir);
	if (r == -EINVAL)
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: default_workdir %s of board %s is not absolute; give "
			"the whole path",
			set, w->spec->board);
	if (r < 0)
		return worktree_oom(w);
	r = worktree_look(w, workdir, &repo);
	if (r == 0) {
		worktree_lock(w, &repo);
		r = worktree_anchored(w, &repo, path);
	} else if (r > 0) {
		r = worktree_no_repo(w, "default_workdir", workdir);
	} else {
		r = worktree_git_failed(w, r);
	}
	worktree_repo_deinit(&repo);
	return r;
}

/* A worktree of somebody else's branch: leave it alone and make one of our own. */
static int worktree_occupied(struct worktree *w, const char *asked, const char *real,
			     char *actual, char **path)
{
	CLEANUP(freep) char *parent = strdup(asked);
	CLEANUP(freep) char *own = NULL;
	struct worktree_repo repo = { 0 };
	int r;

	if (!parent)
		return worktree_oom(w);
	(void)worktree_up(parent);
	r = worktree_look_up(w, parent, &repo);
	if (r == 0)
		own = fs_path("%s/.worktrees/%s", repo.top, w->spec->task);
	if (r < 0 || (r == 0 && !own)) {
		r = r < 0 ? worktree_git_failed(w, r) : worktree_oom(w);
	} else if (r == 0 && strcmp(own, real) != 0) {
		r = worktree_anchored(w, &repo, path);
	} else {
		/* the task's own place, on a branch that the worker chose; or nowhere else to
		 * go: as it is */
		*path = strdup(real);
		r = *path ? 0 : worktree_oom(w);
		if (r == 0 && worktree_branch_is(w, actual) < 0)
			r = worktree_oom(w);
	}
	worktree_repo_deinit(&repo);
	return r;
}

/* The path is inside a checkout of some kind; the lock is held. */
static int worktree_in_checkout(struct worktree *w, const char *asked,
				const struct worktree_repo *here, char **path)
{
	CLEANUP(freep) char *real = realpath(asked, NULL);
	CLEANUP(freep) char *actual = NULL;
	int r;

	if (!real)
		return worktree_oom(w);
	if (here->linked) {
		r = worktree_current_branch(w, asked, &actual);
		if (r < 0)
			return worktree_git_failed(w, r);
		if (strcmp(actual, w->branch) != 0)
			return worktree_occupied(w, asked, real, actual, path);
		*path = STEAL(real);
		return 0;
	}
	if (strcmp(real, here->top) == 0)
		return worktree_anchored(w, here, path);
	*path = strdup(asked);
	return *path ? 0 : worktree_oom(w);
}

/*
 * Lock the repository that @asked is in or will be in. @around is set when @asked is not there
 * itself. Return: 0; 1 there is none; -errno.
 */
static int worktree_lock_for(struct worktree *w, const char *asked, const char *parent,
			     struct worktree_repo *around)
{
	struct worktree_repo here = { 0 };
	bool foreign = false;
	int r = 1;

	if (fs_is_dir(asked)) {
		r = worktree_look(w, asked, &here);
		if (r == 0)
			worktree_lock(w, &here);
		worktree_repo_deinit(&here);
		foreign = r > 0 && worktree_foreign(w);
	}
	if (r > 0 && !foreign) {
		r = worktree_look_up(w, parent, around);
		if (r == 0)
			worktree_lock(w, around);
	}
	return r;
}

/* The lock is held: nobody else of us changes what is looked at here. */
static int worktree_decide(struct worktree *w, const char *asked, const char *parent,
			   struct worktree_repo *around, char **path)
{
	struct worktree_repo here = { 0 };
	int r;

	if (fs_is_dir(asked)) {
		r = worktree_look(w, asked, &here);
		if (r < 0)
			return worktree_git_failed(w, r);
		if (r == 0) {
			r = worktree_in_checkout(w, asked, &here, path);
			worktree_repo_deinit(&here);
			return r;
		}
	}
	if (!around->top) {
		r = worktree_look_up(w, parent, around);
		if (r < 0)
			return worktree_git_failed(w, r);
		if (r > 0)
			return worktree_no_repo(w, "workspace_path", asked);
	}
	r = worktree_ensure(w, around, asked);
	if (r != 0)
		return r;
	*path = strdup(asked);
	return *path ? 0 : worktree_oom(w);
}

/* A path on the task. */
static int worktree_of_task(struct worktree *w, const char *home, char **path)
{
	CLEANUP(freep) char *asked = NULL;
	CLEANUP(freep) char *parent = NULL;
	struct worktree_repo around = { 0 };
	int r = workspace_path(w->spec->row.workspace_path, home, &asked);

	if (r == -EINVAL)
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: workspace_path %s of a worktree task is not absolute; "
			"give the whole path",
			w->spec->row.workspace_path);
	parent = r == 0 ? strdup(asked) : NULL;
	if (!parent)
		return worktree_oom(w);
	(void)worktree_up(parent);
	r = worktree_lock_for(w, asked, parent, &around);
	if (r == 0)
		r = worktree_decide(w, asked, parent, &around, path);
	else if (r > 0)
		r = worktree_no_repo(w, "workspace_path", asked);
	else
		r = worktree_git_failed(w, r);
	worktree_repo_deinit(&around);
	return r;
}

/* branch_name, or wt/<task> where that is blank */
static char *worktree_branch(const struct launch_spec *spec)
{
	CLEANUP(freep)
	char *name = worktree_trimmed(spec->row.branch_name ? spec->row.branch_name : "");

	if (!name || *name)
		return STEAL(name);
	return fs_path("wt/%s", spec->task);
}

static int worktree_start(struct worktree *w, const struct environment *env)
{
	int r = git_init(&w->git, env);

	if (r == -ENOMEM)
		return worktree_oom(w);
	if (r < 0)
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: a worktree task needs git, which is %s on the PATH "
			"(%s); install it",
			r == -EACCES ? "not executable" : "not", environ_path(env));
	w->output = malloc(sizeof(*w->output));
	w->branch = worktree_branch(w->spec);
	if (!w->output || !w->branch)
		return worktree_oom(w);
	if (w->branch[0] == '-')
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: %s is no branch name; change branch_name of the task",
			w->branch);
	return 0;
}

int worktree_prepare(const struct environment *env, const struct launch_spec *spec, char **path,
		     char **branch, struct error *e)
{
	struct worktree w = { .spec = spec, .lock = -1, .e = e };
	int r = worktree_start(&w, env);

	if (r == 0) {
		if (spec->row.workspace_path && *spec->row.workspace_path)
			r = worktree_of_task(&w, environ_home(env), path);
		else
			r = worktree_of_board(&w, environ_home(env), path);
	}
	if (r == 0)
		*branch = STEAL(w.branch);
	fs_closep(&w.lock);
	git_deinit(&w.git);
	free(w.output);
	free(w.branch);
	return r;
}
