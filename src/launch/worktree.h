/* What the files of worktrees share: a repository, and one call of worktree_prepare(). */
#pragma once

#include "launch.h"

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
	bool filters_off;
	struct run_output *output;
	struct error *e;
};

/* worktree_repo.c */

void worktree_repo_deinit(struct worktree_repo *repo);

/** worktree_oom(), worktree_git_failed() - LAUNCH_WORKSPACE_FAILED, said in w->e */
MUST_CHECK int worktree_oom(struct worktree *w);
MUST_CHECK int worktree_git_failed(struct worktree *w, int r);

/** worktree_look() - what repository @dir is in. Return: 0; 1 in none, or git refuses it
 * (w->output says why); -errno */
MUST_CHECK int worktree_look(struct worktree *w, const char *dir, struct worktree_repo *repo);

/** worktree_foreign() - did git refuse because the repository is another account's? No look
 * further up helps then */
bool worktree_foreign(const struct worktree *w);

/** worktree_up() - cut the last part off; false at the root */
bool worktree_up(char *path);

/** worktree_look_up() - as worktree_look(), for a @path that need not exist: the nearest part
 * of it that does, then upwards (a file system of its own inside a checkout hides the
 * repository from git). w->output then tells of the first look */
MUST_CHECK int worktree_look_up(struct worktree *w, const char *path,
				struct worktree_repo *repo);

/** worktree_lock() - ours alone for a while, or for as long as a git may take: then without */
void worktree_lock(struct worktree *w, const struct worktree_repo *repo);

/** worktree_current_branch() - the branch that is checked out in @dir; "" when detached */
MUST_CHECK int worktree_current_branch(struct worktree *w, const char *dir, char **branch);

/** worktree_branch_is() - @actual is what the task's worktree is on: that is its branch,
 * whatever the row says */
MUST_CHECK int worktree_branch_is(struct worktree *w, const char *actual);

/** worktree_ensure() - make @target a worktree of @repo on the task's branch, unless a folder
 * of it is there */
MUST_CHECK int worktree_ensure(struct worktree *w, const struct worktree_repo *repo,
			       const char *target);
