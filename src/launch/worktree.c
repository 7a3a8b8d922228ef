/*
 * A git worktree for a task: a folder with a branch of the task's own, so that workers on one
 * repository do not step on each other.
 *
 * Where it is:
 *   no workspace_path    → <toplevel of the board's default_workdir>/.worktrees/<task>
 *   path of a checkout   → <that checkout>/.worktrees/<task>
 *   a linked worktree    → itself, if it is on the task's branch; else, because tasks that came
 *                          out of one decomposition all carry their parent's path, a worktree
 * of the task's own under .worktrees/<task> anything else        → that path, in the repository
 * around it; a folder that is there already is used as it is
 *
 * Several launches may work on one repository at the same time, each with git's own locks in
 * each other's way. All that looks and then acts happens under a lock of ours in the common git
 * folder. It is taken in tries, because a stopped holder must not hold up the pool for good;
 * after GIT_TIMEOUT_MS it is done without. Others (people, Hermes) do not know that lock: where
 * git says that a lock file is in the way, it is tried again.
 */
#include "launch.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "util/clock.h"
#include "util/fs.h"

#define WORKTREE_TRIES   5
#define WORKTREE_WAIT_MS 20 /* between two tries of a lock */

/* A place in a repository. */
struct worktree_repo {
	char *top;    /* root of the checkout, resolved */
	char *common; /* the git folder that all worktrees of the repository share, resolved */
	bool linked;  /* a linked worktree, not the main checkout */
};

/* One call of worktree_prepare(). */
struct worktree {
	struct git git;
	const struct launch_spec *spec;
	char *branch; /* the task's branch */
	int lock;     /* descriptor of our lock file, or -1 */
	struct git_output *output;
	struct error *e;
};

static void worktree_repo_deinit(struct worktree_repo *repo)
{
	free(repo->top);
	free(repo->common);
	*repo = (struct worktree_repo){ 0 };
}

static int worktree_oom(struct worktree *w)
{
	return error_set(w->e, LAUNCH_WORKSPACE_FAILED, "workspace: out of memory");
}

static int worktree_git_failed(struct worktree *w, int r)
{
	return error_set(w->e, LAUNCH_WORKSPACE_FAILED, "workspace: cannot run git: %s",
			 strerror(-r));
}

/* A path that git printed for @dir: it may be relative to it. */
static char *worktree_resolve(const char *dir, const char *text)
{
	CLEANUP(freep) char *full = text[0] == '/' ? strdup(text) : fs_path("%s/%s", dir, text);

	return full ? realpath(full, NULL) : NULL;
}

/*
 * What repository @dir is in. Return: 0; 1 in none, or git refuses it (w->output says why);
 * -errno.
 */
static int worktree_look(struct worktree *w, const char *dir, struct worktree_repo *repo)
{
	const char *const args[] = {
		"-C", dir, "rev-parse", "--show-toplevel", "--git-dir", "--git-common-dir", NULL
	};
	CLEANUP(freep) char *git_dir = NULL;
	char *lines[4] = { 0 }, *save = NULL;
	size_t n = 0;
	int r = git_run(&w->git, args, w->output);

	if (r < 0)
		return r;
	if (w->output->status != 0)
		return 1;
	for (char *line = strtok_r(w->output->out, "\n", &save); line && n < 4;
	     line = strtok_r(NULL, "\n", &save))
		lines[n++] = line;
	if (n != 3 || w->output->out_cut) {
		/* a newline in a path: git prints it as it is */
		(void)strcpy(w->output->err, "fatal: the path has a newline in it\n");
		return 1;
	}
	repo->top = worktree_resolve(dir, lines[0]);
	git_dir = worktree_resolve(dir, lines[1]);
	repo->common = worktree_resolve(dir, lines[2]);
	if (!repo->top || !repo->common || !git_dir) {
		worktree_repo_deinit(repo);
		return errno == ENOMEM ? -ENOMEM : 1;
	}
	repo->linked = strcmp(git_dir, repo->common) != 0;
	return 0;
}

/* Cut the last part off; false at the root. */
static bool worktree_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || path[1] == '\0')
		return false;
	slash[slash == path ? 1 : 0] = '\0';
	return true;
}

/*
 * As worktree_look(), for a @path that need not exist: the nearest part of it that does, then
 * upwards (a file system of its own inside a checkout hides the repository from git).
 * w->output then tells of the first look.
 */
static int worktree_look_up(struct worktree *w, const char *path, struct worktree_repo *repo)
{
	CLEANUP(freep) char *first = NULL;
	CLEANUP(freep) char *near = strdup(path);
	CLEANUP(freep) char *real = NULL;
	int r;

	if (!near)
		return -ENOMEM;
	while (!fs_is_dir(near) && worktree_up(near))
		;
	real = realpath(near, NULL);
	if (!real)
		return errno == ENOMEM ? -ENOMEM : -ENOENT;
	do {
		r = worktree_look(w, real, repo);
		if (r <= 0)
			return r;
		if (!first) {
			first = strdup(w->output->err);
			if (!first)
				return -ENOMEM;
		}
	} while (!w->output->timed_out && worktree_up(real));
	w->output->err[0] = '\0';
	(void)strncat(w->output->err, first, sizeof(w->output->err) - 1);
	return 1;
}

static void worktree_pause(unsigned ms)
{
	(void)poll(NULL, 0, (int)ms);
}

static void worktree_lock(struct worktree *w, const struct worktree_repo *repo)
{
	CLEANUP(freep) char *path = fs_path("%s/kanband-worktree.lock", repo->common);
	uint64_t end = clock_mono_ms() + GIT_TIMEOUT_MS;

	if (!path || w->lock >= 0)
		return;
	w->lock = fs_lock_open(path);
	while (w->lock >= 0 && fs_lock_try(w->lock) == -EWOULDBLOCK && clock_mono_ms() < end)
		worktree_pause(WORKTREE_WAIT_MS);
}

/* Is there such a branch in the repository of @top? 1 yes, 0 no, -errno */
static int worktree_has_branch(struct worktree *w, const char *top)
{
	CLEANUP(freep) char *ref = fs_path("refs/heads/%s", w->branch);
	const char *args[] = { "-C", top, "show-ref", "--verify", "--quiet", ref, NULL };
	int r;

	if (!ref)
		return -ENOMEM;
	r = git_run(&w->git, args, w->output);
	return r < 0 ? r : w->output->status == 0;
}

/* A folder at @target that is part of the same repository already. */
static int worktree_is_there(struct worktree *w, const struct worktree_repo *repo,
			     const char *target)
{
	struct worktree_repo there = { 0 };
	int r;

	if (!fs_is_dir(target))
		return 0;
	r = worktree_look(w, target, &there);
	r = r < 0 ? r : r == 0 && strcmp(there.common, repo->common) == 0;
	worktree_repo_deinit(&there);
	return r;
}

static int worktree_git_add(struct worktree *w, const char *top, const char *target)
{
	const char *const with[] = { "-C", top, "worktree", "add", target, w->branch, NULL };
	const char *const make[] = { "-C",      top,    "worktree", "add", "-b",
				     w->branch, target, "HEAD",     NULL };
	int r = worktree_has_branch(w, top);

	if (r < 0)
		return r;
	return git_run(&w->git, r ? with : make, w->output);
}

/* What failed because somebody else was at it, or left something behind, is worth a try more.
 */
static bool worktree_again(struct worktree *w, const char *top, int try)
{
	const char *const prune[] = { "-C", top, "worktree", "prune", NULL };
	struct git_output *output = w->output;

	if (output->timed_out || try + 1 >= WORKTREE_TRIES)
		return false;
	if (strstr(output->err, "already registered")) {
		/* its folder was removed without telling git */
		return git_run(&w->git, prune, output) == 0 && output->status == 0;
	}
	/* "failed to read …/commondir": it met another's worktree half made */
	if (!strstr(output->err, ".lock") && !strstr(output->err, "cannot lock ref") &&
	    !strstr(output->err, "failed to read"))
		return false;
	worktree_pause(WORKTREE_WAIT_MS << try);
	return true;
}

/* Make @target a worktree of @repo on the task's branch, unless a folder of it is there. */
static int worktree_ensure(struct worktree *w, const struct worktree_repo *repo,
			   const char *target)
{
	CLEANUP(freep) char *parent = strdup(target);
	char reason[512];
	int r;

	if (!parent)
		return worktree_oom(w);
	r = worktree_is_there(w, repo, target);
	if (r < 0)
		return worktree_git_failed(w, r);
	if (r > 0)
		return 0;
	if (worktree_up(parent)) {
		r = workspace_mkdir(parent, w->e);
		if (r != 0)
			return r;
	}
	for (int try = 0;; try++) {
		r = worktree_git_add(w, repo->top, target);
		if (r < 0)
			return worktree_git_failed(w, r);
		if (w->output->status == 0)
			return 0;
		if (!worktree_again(w, repo->top, try))
			break;
	}
	return error_set(w->e, LAUNCH_WORKSPACE_FAILED,
			 "workspace: git worktree add %s on branch %s failed: %s", target,
			 w->branch, git_reason(w->output, reason, sizeof(reason)));
}

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

/* The branch that is checked out in @dir; "" when detached. */
static int worktree_current_branch(struct worktree *w, const char *dir, char **branch)
{
	const char *const args[] = { "-C", dir, "branch", "--show-current", NULL };
	int r = git_run(&w->git, args, w->output);

	if (r < 0)
		return r;
	w->output->out[strcspn(w->output->out, "\n")] = '\0';
	*branch = strdup(w->output->status == 0 ? w->output->out : "");
	return *branch ? 0 : -ENOMEM;
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
		if (r == 0 && *actual) {
			char *branch = strdup(actual);

			if (!branch)
				return worktree_oom(w);
			free(w->branch);
			w->branch = branch;
		}
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
	int r = 1;

	if (fs_is_dir(asked)) {
		r = worktree_look(w, asked, &here);
		if (r == 0)
			worktree_lock(w, &here);
		worktree_repo_deinit(&here);
	}
	if (r > 0) {
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
	int r = workspace_path(w->spec->workspace_path, home, &asked);

	if (r == -EINVAL)
		return error_set(
			w->e, LAUNCH_WORKSPACE_FAILED,
			"workspace: workspace_path %s of a worktree task is not absolute; "
			"give the whole path",
			w->spec->workspace_path);
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
	char *name = worktree_trimmed(spec->branch_name ? spec->branch_name : "");

	if (!name || *name)
		return STEAL(name);
	return fs_path("wt/%s", spec->task);
}

static int worktree_start(struct worktree *w, const struct launch_env *env)
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

int worktree_prepare(const struct launch_env *env, const struct launch_spec *spec, char **path,
		     char **branch, struct error *e)
{
	struct worktree w = { .spec = spec, .lock = -1, .e = e };
	int r = worktree_start(&w, env);

	if (r == 0) {
		if (spec->workspace_path && *spec->workspace_path)
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
