/*
 * What the files of src/launch share: the pieces that a launch is made of.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "launch/ending.h"
#include "launch/launch.h"
#include "launch/usage.h"
#include "process/environ.h"
#include "process/proc.h"
#include "process/run.h"
#include "util/error.h"

/* argv.c: a NULL-terminated list of strings that grows */
struct strv {
	char **items; /* malloc'd strings, NULL-terminated once something was added */
	size_t count;
	size_t room;
	bool failed; /* out of memory somewhere on the way: one check at the end is enough */
};

/** launch_strv_add() - append a copy of @text; a failure is remembered in @list */
void launch_strv_add(struct strv *list, const char *text);

/** argv_build() - the whole command line of a worker, prefix included; NULL out of memory */
MUST_CHECK char **argv_build(const struct launcher *launcher, const struct launch_spec *spec);

/**
 * argv_turns_option() - a word of the command prefix that a value of the task would make an
 * option; NULL if there is none; borrowed
 */
const char *argv_turns_option(const struct launcher *launcher, const struct launch_spec *spec);

/**
 * toolsets_of() - the tools that the config.yaml of the profile at @home chooses for a command
 * line, as one word for `--toolsets`. Blocks: reads two things of the profile.
 * Return: malloc'd; NULL: the profile chooses none, or only Hermes can tell which.
 */
char *toolsets_of(const char *home);

/** workspace_board_gone() - its database is not there any more: nothing is made in its folder
 */
bool workspace_board_gone(const struct launch_spec *spec);

/* A worker that is ready to start: what a launcher gets. Borrowed. */
struct launch_order {
	const struct launcher *launcher;
	const struct launch_spec *spec;
	const struct launch_limits *limits;
	const struct worker_env *env;
	const char *file;  /* absolute path of the program */
	char *const *argv; /* of the worker, the command's prefix included */
	char *const *envp;
	const char *cwd;   /* its workspace */
	int log;           /* its standard output and error */
	uint64_t number;   /* proc_run_number() of its run */
	const char *group; /* cgroup.procs of a group that it is to enter first, or NULL */
};

/*
 * A way to start workers. A new one is a file with one of these in it, and a row of LAUNCHERS.
 * Pool threads call them, so they may block, within bounds.
 */
struct launch_type {
	/* start it: pid, started, and pidfd where there is one; LAUNCH_SPAWN_FAILED and @e */
	int (*start)(const struct launch_order *order, struct launch_result *result,
		     struct error *e);
	/* @start set result->pending, and result->pidfd as it likes: wait until the worker has
	 * begun; else as @start */
	int (*finish)(const struct launcher *launcher, const struct launch_spec *spec,
		      struct launch_result *result, struct error *e);
	/* the worker of a run that was started and not recorded: 0 and its pid, also of one
	 * that has ended; 1 there is none; -errno: that cannot be told. NULL: what marks the
	 * processes of the run is all there is. */
	int (*find)(const struct launcher *launcher, const struct launch_run *run, pid_t *pid);
	/* how a run ended that is no child of ours: 0; 1 it does not know that run; -errno.
	 * NULL: only our children tell. */
	int (*ended)(const struct launcher *launcher, const struct launch_run *run,
		     struct ending *ending);
	/* its end is booked: forget it, and end what is left of it. With @ended only. */
	void (*collect)(const struct launcher *launcher, const struct launch_run *run);
	/* collect what ended on @root a good while ago; with @ended only */
	void (*sweep)(const struct launcher *launcher, const char *root);
	/* of workers that do not run on this host: what they use. NULL: they do */
	void (*usage)(const struct launcher *launcher, struct usage *list, size_t n);
};

/** launch_usage() - what the launcher says beyond usage_read(), which calls it */
void launch_usage(const struct launcher *launcher, struct usage *list, size_t n);

#define LAUNCH_TYPE(name, word, type) extern const struct launch_type type##_type;
LAUNCHERS(LAUNCH_TYPE)
#undef LAUNCH_TYPE

/* group.c: in place of fork, where a subtree of control groups is ours */
extern const struct launch_type group_type;

/* fork.c */
struct spawn;
/** fork_spawn() - start @how as the child that is the worker of @order; as launch_type.start */
MUST_CHECK int fork_spawn(const struct launch_order *order, const struct spawn *how,
			  struct launch_result *result, struct error *e);

/* worker_env.c */
struct worker_env {
	struct environment *inherited;
	char *program, *file; /* the first word of each launch, and where it was, or NULL */
	char boot[PROC_STARTED_MAX]; /* of proc_boot() */
};

/** worker_env_new() - what launcher_init() does. Return: 0 or -ENOMEM. */
MUST_CHECK int worker_env_new(struct worker_env **out, const struct launcher *launcher);
struct worker_env *worker_env_free(struct worker_env *env);
DEFINE_FREEP(struct worker_env, worker_env_free)

/** worker_env_find() - spawn_find() on the PATH of @env, with what worker_env_new() found */
MUST_CHECK int worker_env_find(const struct worker_env *env, const char *program, char **file);

/**
 * worker_env_build() - the environment of one worker
 * @branch: or NULL
 * Return: one malloc'd block, valid as long as @env; the caller frees it; NULL out of memory.
 */
MUST_CHECK char **worker_env_build(const struct worker_env *env, const struct launch_spec *spec,
				   const char *workspace, const char *branch);

/* workspace.c */

/**
 * workspace_prepare() - the folder a worker runs in, made where that is due
 * @path:   out, malloc'd; where it is
 * @branch: out, malloc'd or NULL; worktree only
 * Return: 0; LAUNCH_WORKSPACE_FAILED (@e begins with "workspace: ").
 */
MUST_CHECK int workspace_prepare(const struct environment *env, const struct launch_spec *spec,
				 char **path, char **branch, struct error *e);

/**
 * workspace_path() - an absolute path, `~` expanded, `//`, `/./` and a trailing slash gone
 * @home: what `~` stands for, or NULL
 * @out:  malloc'd
 * Return: 0; -EINVAL not absolute; -ENOMEM.
 */
MUST_CHECK int workspace_path(const char *text, const char *home, char **out);

/** workspace_tidy() - in place: `//` and `/./` become one slash, one at the end goes */
void workspace_tidy(char *path);

/** workspace_place_error() - may @r, a -errno, be because of the folder that something was made
 * in
 */
bool workspace_place_error(int r);

/** workspace_place_bad() - is @r because nothing can be made in @folder, whatever its name */
bool workspace_place_bad(const char *folder, int r);

/** workspace_mkdir() - make @path if missing. Return: 0 or LAUNCH_WORKSPACE_FAILED. */
MUST_CHECK int workspace_mkdir(const char *path, struct error *e);

/* worktree.c: as workspace_prepare() for the kind "worktree" */
MUST_CHECK int worktree_prepare(const struct environment *env, const struct launch_spec *spec,
				char **path, char **branch, struct error *e);

/* git.c */
#define GIT_TIMEOUT_MS 120000

struct git {
	const char *file;   /* absolute path of git */
	char *const *envp;  /* its environment, see git_init() */
	char **own;         /* what git_init() allocated */
	struct strv config; /* -c KEY=VALUE …, before each call's own words */
	int timeout_ms;     /* bound of one call */
};

/** git_init() - find git and make its environment. Return: 0 or -errno as spawn_find(). */
MUST_CHECK int git_init(struct git *git, const struct environment *env);
void git_deinit(struct git *git);

/**
 * git_run() - run `git ARGS…` and wait for it, its process group killed after the time-out
 * @args: NULL-terminated, without "git"
 * Return: 0 if it ran (see @output->status), else -errno.
 */
MUST_CHECK int git_run(const struct git *git, const char *const *args,
		       struct run_output *output);

/**
 * git_filters() - switch off for @git what the repository of @dir names as filters: git runs
 * them when it checks files out. Return: 0 or -errno (@e says why).
 */
MUST_CHECK int git_filters(struct git *git, const char *dir, struct error *e);

/** git_reason() - the line of git's that tells why it failed, for an error sentence */
const char *git_reason(struct run_output *output, char *buf, size_t size);

/* logfile.c */

/**
 * logfile_open() - the worker log, rotated first where it is due
 * Return: a descriptor of 3 or higher, or -errno (@e filled).
 */
MUST_CHECK int logfile_open(const struct launcher *launcher, const struct launch_spec *spec,
			    struct error *e);
