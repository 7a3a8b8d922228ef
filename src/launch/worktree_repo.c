/*
 * What git is asked and told for a worktree: which repository a folder is in, its branches, the
 * lock around all that looks and then acts, and `git worktree add`.
 */
#include "worktree.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "util/clock.h"
#include "util/fs.h"

#define WORKTREE_TRIES   5
#define WORKTREE_WAIT_MS 20 /* between two tries of a lock */

void worktree_repo_deinit(struct worktree_repo *repo)
{
	free(repo->top);
	free(repo->common);
	*repo = (struct worktree_repo){ 0 };
}

int worktree_oom(struct worktree *w)
{
	return error_set(w->e, LAUNCH_WORKSPACE_FAILED, "workspace: out of memory");
}

int worktree_git_failed(struct worktree *w, int r)
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

int worktree_look(struct worktree *w, const char *dir, struct worktree_repo *repo)
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

bool worktree_foreign(const struct worktree *w)
{
	return strstr(w->output->err, "dubious ownership") != NULL;
}

bool worktree_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || path[1] == '\0')
		return false;
	slash[slash == path ? 1 : 0] = '\0';
	return true;
}

int worktree_look_up(struct worktree *w, const char *path, struct worktree_repo *repo)
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
		if (r <= 0 || worktree_foreign(w))
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

void worktree_lock(struct worktree *w, const struct worktree_repo *repo)
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

int worktree_current_branch(struct worktree *w, const char *dir, char **branch)
{
	const char *const args[] = { "-C", dir, "branch", "--show-current", NULL };
	int r = git_run(&w->git, args, w->output);

	if (r < 0)
		return r;
	w->output->out[strcspn(w->output->out, "\n")] = '\0';
	*branch = strdup(w->output->status == 0 ? w->output->out : "");
	return *branch ? 0 : -ENOMEM;
}

int worktree_branch_is(struct worktree *w, const char *actual)
{
	char *branch;

	if (!*actual || strcmp(actual, w->branch) == 0)
		return 0;
	branch = strdup(actual);
	if (!branch)
		return -ENOMEM;
	free(w->branch);
	w->branch = branch;
	return 0;
}

/* A folder at @target that is part of the same repository already. */
static int worktree_is_there(struct worktree *w, const struct worktree_repo *repo,
			     const char *target)
{
	struct worktree_repo there = { 0 };
	CLEANUP(freep) char *actual = NULL;
	int r;

	if (!fs_is_dir(target))
		return 0;
	r = worktree_look(w, target, &there);
	r = r < 0 ? r : r == 0 && strcmp(there.common, repo->common) == 0;
	/* a worktree of its own; a folder inside the main checkout is none */
	if (r > 0 && there.linked && worktree_current_branch(w, target, &actual) == 0 &&
	    worktree_branch_is(w, actual) < 0)
		r = -ENOMEM;
	worktree_repo_deinit(&there);
	return r;
}

static int worktree_git_add(struct worktree *w, const char *top, const char *target)
{
	const char *const with[] = { "-C", top, "worktree", "add", target, w->branch, NULL };
	const char *const make[] = { "-C",      top,    "worktree", "add", "-b",
				     w->branch, target, "HEAD",     NULL };
	int r = worktree_has_branch(w, top);

	return r < 0 ? r : git_run(&w->git, r ? with : make, w->output);
}

static int worktree_filters_off(struct worktree *w, const char *top)
{
	struct error why = ERROR_NULL;

	if (w->filters_off)
		return 0;
	if (git_filters(&w->git, top, &why) < 0)
		return error_set(w->e, LAUNCH_WORKSPACE_FAILED, "workspace: git in %s: %s", top,
				 why.text);
	w->filters_off = true;
	return 0;
}

/* What failed because somebody else was at it, or left something behind, is worth a try more.
 */
static bool worktree_again(struct worktree *w, const char *top, int try)
{
	const char *const prune[] = { "-C", top, "worktree", "prune", NULL };
	struct run_output *output = w->output;

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

int worktree_ensure(struct worktree *w, const struct worktree_repo *repo, const char *target)
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
	r = worktree_filters_off(w, repo->top);
	if (r != 0)
		return r;
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
