/*
 * How a worker starts: workspace, log file, argv, environment, process. CONTRACT §7 and §8.
 * launch_worker() runs in a job; nothing here knows boards or SQLite.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "util/error.h"

struct launch_env; /* an environment made ready by launcher_init() */

/* Positive outcomes of launch_worker() */
enum launch_outcome {
	LAUNCH_WORKSPACE_FAILED = 1, /* error text starts with "workspace: " */
	LAUNCH_SPAWN_FAILED,         /* workspace is ready, the process did not start */
};

/* How workers are started; one per root, read-only while jobs run. All borrowed but the last.
 */
struct launcher {
	const char *const
		*command;         /* prefix of the `command` launcher with placeholders {board}
				   * {task} {run} {profile}, NULL-terminated; NULL for `fork` */
	const char *hermes;       /* $HERMES_BIN or "hermes" */
	int64_t log_rotate_bytes; /* CONTRACT §1; ≤ 0 never rotates */
	int log_backup_count;     /* 0 = the old log is deleted */
	char *const *environ;     /* environment to start from (the daemon's own at start) */
	struct rlimit nofile;     /* RLIMIT_NOFILE of workers, where the daemon raised its own;
				   * rlim_max 0 leaves it alone */
	struct launch_env *prepared; /* owned: from launcher_init(); NULL works too, slower */
};

/* One worker to start. Strings are owned by the spec; launch_spec_deinit() frees them. */
struct launch_spec {
	char *root;       /* kanban root */
	char *board;      /* slug */
	char *db_path;    /* HERMES_KANBAN_DB */
	char *task;       /* task id, verbatim from the row: hostile until launch checked it */
	int64_t run;      /* task_runs.id */
	char *claim_lock; /* HERMES_KANBAN_CLAIM_LOCK */
	char *profile;    /* canonical profile name: trimmed, lower-cased */
	char *profile_home;    /* HERMES_HOME of the worker */
	char *tenant;          /* or NULL: an inherited HERMES_TENANT then stays */
	char *workspace_kind;  /* "scratch", "dir", "worktree"; anything else fails */
	char *workspace_path;  /* or NULL */
	char *branch_name;     /* or NULL */
	char *workspaces_root; /* folder of scratch workspaces of this board */
	char *default_workdir; /* board.json default_workdir, or NULL */
	char *logs_dir;        /* folder of worker logs of this board */
	char *skills;          /* JSON text of the row, or NULL */
	char *extra_skill;     /* "sdlc-review" for the review lane, or NULL */
	char *model;           /* or NULL */
	char *provider;        /* or NULL; only with a model */
	char *reasoning;       /* or NULL */
	bool goal_mode;
	int64_t goal_max_turns;      /* 0 = not passed */
	int64_t max_runtime_seconds; /* 0 = none */
};

#define LAUNCH_STARTED_MAX 128
#define LAUNCH_TASK_MAX    128 /* longest task id that is started, in bytes */

struct launch_result {
	pid_t pid;                        /* child of this process; the caller reaps it */
	int pidfd;                        /* close-on-exec, owned by the caller; -1 only where
					   * the kernel has none (before 5.3) */
	char started[LAUNCH_STARTED_MAX]; /* worker_started_at value (CONTRACT §8) */
	char *workspace; /* malloc'd absolute path; set from workspace success on */
	char *branch;    /* malloc'd; worktree only */
};

/**
 * launcher_init() - do once what is the same for every worker: the environment less what no
 * worker gets, where the program is, which boot this is. Call it when the other fields are set,
 * and again after a change of them. A program that is not there yet, or moves, is found all the
 * same.
 * Return: 0 or -ENOMEM, then the launcher works as without.
 */
MUST_CHECK int launcher_init(struct launcher *launcher);
void launcher_deinit(struct launcher *launcher); /* frees what launcher_init() made */

void launch_spec_deinit(struct launch_spec *spec);
void launch_result_deinit(struct launch_result *result); /* closes pidfd if still there */

/**
 * launch_worker() - prepare the workspace and start the worker
 * Thread: pool.  Blocks: file system, git for worktrees (each git call bounded to 120 s), exec.
 * The child has its own session, default signal dispositions and mask, stdin /dev/null, stdout
 * and stderr appended to `<logs_dir>/<task>.log`, cwd = workspace, no inherited descriptor.
 * Task text never reaches a shell; a task id that is no plain file name is refused.
 * @result: out, always set; launch_result_deinit() frees it also after a failure
 * Return: 0; LAUNCH_WORKSPACE_FAILED; LAUNCH_SPAWN_FAILED (@e holds the sentence).
 */
MUST_CHECK int launch_worker(const struct launcher *launcher, const struct launch_spec *spec,
			     struct launch_result *result, struct error *e);

/** launch_preview() - the argv of @spec as a NULL-terminated vector, for --dry-run and tests.
 * Return: malloc'd; launch_strv_free() frees it; NULL out of memory. */
MUST_CHECK char **launch_preview(const struct launcher *launcher,
				 const struct launch_spec *spec);
char **launch_strv_free(char **strv);
