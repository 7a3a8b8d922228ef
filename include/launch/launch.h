/*
 * How a worker starts: workspace, log file, argv, environment, process. CONTRACT §7 and §8.
 * launch_begin() and launch_finish() run in a job; nothing here knows boards or SQLite.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "launch/identity.h"
#include "launch/launchers.h"
#include "launch/unit.h"
#include "process/environ.h"
#include "util/error.h"
#include "util/task_row.h"

struct ending;
struct worker_env; /* what launcher_init() makes ready */

/* Positive outcomes of launch_begin() and launch_finish() */
enum launch_outcome {
	LAUNCH_WORKSPACE_FAILED = 1, /* error text starts with "workspace: " */
	LAUNCH_SPAWN_FAILED,         /* workspace is ready, the process did not start */
	LAUNCH_PLACE_FAILED,         /* the board has no folder for logs or for workspaces */
	LAUNCH_CALLED_OFF,           /* it is not to be started any more: launch_spec.wanted */
};

/* How far a worker may write; the rest of the file system is read-only for it. */
enum launch_protect {
	LAUNCH_PROTECT_NONE,   /* wherever its account may */
	LAUNCH_PROTECT_HOME,   /* in its account's home, and as strict */
	LAUNCH_PROTECT_STRICT, /* in its workspace, its repository, the kanban root */
};

/* What one worker may use; −1 no limit of its own. Only `systemd` enforces them. */
struct launch_limits {
	int64_t memory_max, memory_high, memory_swap_max; /* bytes */
	int64_t tasks_max;
	int64_t cpu_weight, io_weight; /* 1 to 10000 */
	int64_t cpu_quota;             /* percent of one processor */
	int64_t runtime_max_s;
	int64_t nice, oom_score_adjust; /* 0: as the daemon */
	const char *slice;              /* or NULL: kanban.slice */
	int64_t protect;                /* enum launch_protect */
	bool private_tmp, devices, network;
};

/* Which run a question to a launcher is about. Borrowed. */
struct launch_run {
	const char *root, *board, *task;
	int64_t run;
	pid_t pid;      /* of its worker, 0 unknown */
	const char *db; /* of the board */
};

/* How workers are started; one per root, read-only while jobs run. All borrowed but the last.
 */
struct launcher {
	const char *const
		*command;          /* prefix of the `command` launcher with placeholders {board}
				    * {task} {run} {profile}, NULL-terminated; NULL for `fork` */
	const char *hermes;        /* $HERMES_BIN or "hermes" */
	int64_t log_rotate_bytes;  /* CONTRACT §1; ≤ 0 never rotates */
	int log_backup_count;      /* 0 = the old log is deleted */
	char *const *environ;      /* environment to start from (the daemon's own at start) */
	struct rlimit nofile;      /* RLIMIT_NOFILE of workers, where the daemon raised its own;
				    * rlim_max 0 leaves it alone */
	enum launcher_kind kind;   /* LAUNCHER_AUTO: fork */
	enum unit_manager manager; /* `systemd`: which one */
	const char *self;          /* this program */
	const char *groups;        /* `fork`: group_base(), or NULL */
	int64_t grace_ms;          /* `systemd`: SIGTERM → SIGKILL of a whole unit */
	const char *const *pass_environment; /* secrets that every profile gets; or NULL */
	struct worker_env *prepared; /* owned: from launcher_init(); NULL works too, slower */
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
	char *profile_home; /* HERMES_HOME of the worker */
	struct task_row row;
	char *workspaces_root; /* folder of scratch workspaces of this board */
	char *default_workdir; /* board.json default_workdir, or NULL */
	char *logs_dir;        /* folder of worker logs of this board */
	char *extra_skill;     /* "sdlc-review" for the review lane, or NULL */
	bool goal_quiet; /* hermes of August runs its goal loop in quiet mode (-Q) only: without
			  * it a worker does one turn, exits 0 and counts as a violation */
	struct launch_limits limits; /* its strings are borrowed of the configuration */
	/* Is it still to be started; if not, @e says why. Asked on the pool right before there
	 * is a process: a worktree may have taken a minute. Or NULL. */
	bool (*wanted)(void *arg, struct error *e);
	void *wanted_arg; /* borrowed */
};

#define LAUNCH_TASK_MAX IDENTITY_TASK_MAX /* longest task id that is started, in bytes */

struct launch_result {
	pid_t pid;    /* its worker */
	bool child;   /* of this process; the caller reaps it */
	bool pending; /* between launch_begin() and launch_finish() */
	int pidfd; /* close-on-exec, owned by the caller; -1 where the kernel has none (before
		    * 5.3), or for what is no child and has ended already */
	char started[PROC_STARTED_MAX]; /* worker_started_at value (CONTRACT §8) */
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

/** launcher_environment() - what children inherit, after launcher_init(); borrowed, or NULL */
const struct environment *launcher_environment(const struct launcher *launcher);

void launch_spec_deinit(struct launch_spec *spec);
void launch_result_deinit(struct launch_result *result); /* closes pidfd if still there */

/**
 * launch_begin(), launch_finish() - prepare the workspace and start the worker, in two steps:
 * of a batch, begin all before the first is finished, because some launchers start them side by
 * side. launch_finish() follows every launch_begin() that returned 0, and returns as it does.
 * Thread: pool.  Blocks: file system, git for worktrees (each git call bounded to 120 s), exec.
 * The child has its own session, default signal dispositions and mask, stdin /dev/null, stdout
 * and stderr appended to `<logs_dir>/<task>.log`, cwd = workspace, no inherited descriptor.
 * Task text never reaches a shell; a task id that is no plain file name is refused.
 * @result: out, always set; launch_result_deinit() frees it also after a failure
 * Return: 0; LAUNCH_WORKSPACE_FAILED; LAUNCH_SPAWN_FAILED; LAUNCH_PLACE_FAILED;
 * LAUNCH_CALLED_OFF (@e holds the
 * sentence, and e->cause the -errno where it came to one: launch_host_fault()).
 */
MUST_CHECK int launch_begin(const struct launcher *launcher, const struct launch_spec *spec,
			    struct launch_result *result, struct error *e);
MUST_CHECK int launch_finish(const struct launcher *launcher, const struct launch_spec *spec,
			     struct launch_result *result, struct error *e);

/** launch_tells() - does this launcher know how workers ended that are no children of ours */
bool launch_tells(const struct launcher *launcher);

/**
 * launch_ended() - how the worker of a run ended, as its launcher knows
 * @ending: in: as the kernel says, or ENDING_UNKNOWN
 * Thread: pool.  Blocks: at most 12 s, where the manager hangs.
 * Return: 0; 1 it does not know that run; -errno: it cannot tell now, ask again.
 */
MUST_CHECK int launch_ended(const struct launcher *launcher, const struct launch_run *run,
			    struct ending *ending);

/**
 * launch_find() - the worker of a run that was started and whose pid nobody recorded
 * @pid: out; also of a worker that has ended: launch_ended() then tells how
 * Thread: pool.  Blocks: reads /proc, and asks a manager for at most 7 s.
 * Return: 0; 1 there is none, and none will come; -errno that cannot be told now.
 */
MUST_CHECK int launch_find(const struct launcher *launcher, const struct launch_run *run,
			   pid_t *pid);

/** launch_collect() - the end of a run is booked: its launcher forgets it, and ends what is
 * left of it. Thread: pool. */
void launch_collect(const struct launcher *launcher, const struct launch_run *run);

/** launch_sweep() - collect what ended on @root a good while ago. Thread: pool. */
void launch_sweep(const struct launcher *launcher, const char *root);

/** launch_host_fault() - is a failed launch this host's fault, so that no other task would fare
 * better: no program, no processes, no memory, no room, no manager of services */
bool launch_host_fault(int outcome, const struct error *e);
