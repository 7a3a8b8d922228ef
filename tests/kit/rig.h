/*
 * The harness of the black-box tests: a kanban root in a temporary folder, boards filled by
 * plain SQL, the real programs, a scripted worker, a false service manager.
 *
 * One case, one `rig`: the fixtures rig_setup() and rig_teardown() make and remove it.
 * Everything that a helper returns belongs to the rig and lives until teardown. Helpers assert;
 * a test reads as what is there before, one run, and what is there after.
 *
 * Nothing here uses code of kanband but the text of the schema: what these tests hold to be
 * right is written down in them, not taken from what they test.
 */
#pragma once

#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "suite.h"
#include "util/error.h"

struct rig_daemon;

struct rig {
	char *dir;      /* temporary folder of this case; RIG_DIR of workers */
	char *root;     /* dir/root, the kanban root */
	char *bin;      /* folder of the programs under test */
	char host[256]; /* gethostname(), the host part of claim locks */
	char **env;     /* environment of the programs, "NAME=value", NULL-terminated */
	void **kept;    /* what teardown frees */
	size_t kept_count, kept_room;
	json_t *kept_json;          /* an array that holds what was parsed */
	struct rig_daemon *daemons; /* all that were started */
	unsigned runs;              /* numbers the files of stdout and stderr */
	bool any_status;            /* rig_once() accepts any exit status */
	unsigned age;               /* of the boards of this case: RIG_AUGUST, or 0 */
};

extern struct rig rig;

/* ---- one case -------------------------------------------------------------------------- */

/** rig_setup(), rig_teardown() - checked fixtures; teardown fails on a process of this case
 * that outlives `stop`, and on an assertion or a sanitizer report in any stderr */
void rig_setup(void);
void rig_teardown(void);

/** rig_tcase() - a case group with the fixtures and a time limit of @seconds per test */
TCase *rig_tcase(const char *name, int seconds);

/* What runs twice: on newer boards, and on boards of August */
struct rig_ages {
	TCase *newer, *august;
};

/** rig_ages() - a pair of rig_tcase(), without tests; rig_ages_test() adds one to both */
struct rig_ages rig_ages(const char *name, int seconds);
#define rig_ages_test(ages, test)                                                              \
	(tcase_add_test((ages)->newer, test), tcase_add_test((ages)->august, test))
/** rig_by_age() - what is expected of the boards of this case */
const char *rig_by_age(const char *newer, const char *august);
/** rig_closed() - claim_lock, claim_expires and worker_pid of a closed run of rig_running() */
const char *rig_closed(pid_t pid);

/** rig_suite() - of the groups (NULL-terminated) */
Suite *rig_suite(const char *suite, ...) __attribute__((sentinel));

/** rig_keep() - hand memory to the rig */
void *rig_keep(void *memory);

/** rig_printf() - a formatted string that the rig owns */
char *rig_printf(const char *fmt, ...) PRINTF(1, 2);

/** rig_env() - set or, with NULL, remove a variable of the programs' environment */
void rig_env(const char *name, const char *value);
const char *rig_env_get(const char *name);

int64_t rig_now(void);     /* Unix seconds */
int64_t rig_mono_us(void); /* CLOCK_MONOTONIC */

/* Poll until the condition holds; fails the test after @ms milliseconds. */
#define RIG_UNTIL(condition, ms)                                                               \
	do {                                                                                   \
		const int64_t until_ = rig_mono_us() + rig_patience_us(ms);                    \
		while (!(condition)) {                                                         \
			ck_assert_msg(rig_mono_us() < until_, "not within %d ms: %s",          \
				      (int)(ms), #condition);                                  \
			rig_pause();                                                           \
		}                                                                              \
	} while (0)
/** rig_patience_us() - @ms, longer where tests/run says that the machine is busy */
int64_t rig_patience_us(int64_t ms);
void rig_pause(void); /* one short step of a poll */

/* ---- files ----------------------------------------------------------------------------- */
/* Relative paths are below rig.dir. */

char *rig_path(const char *path);
void rig_write(const char *path, const char *text); /* makes missing folders */
char *rig_read(const char *path);                   /* NULL if there is no such file */
bool rig_exists(const char *path);
void rig_mkdir(const char *path);
void rig_shell(const char *fmt, ...) PRINTF(1, 2); /* sh -c in rig.dir; must succeed */
void rig_copy_tree(const char *from, const char *to);

/** rig_fingerprint() - a line for each file and folder below @path: kind, mode, size, change
 * time and content; two equal texts mean that nothing was written */
char *rig_fingerprint(const char *path);

/** rig_profile() - make <root>/profiles/<name> */
void rig_profile(const char *name);

/** rig_config() - <root>/config.yaml: a `kanban:` block of the given lines (NULL-terminated).
 * max_in_progress is 1000 unless a line says otherwise, so that the size of the machine does
 * not decide what a test sees. */
void rig_config_lines(const char *const *lines);
#define rig_config(...) rig_config_lines((const char *const[]){ __VA_ARGS__, NULL })

/* ---- boards ---------------------------------------------------------------------------- */

enum rig_board_flags {
	RIG_WAL = 1 << 0,    /* WAL mode; else DELETE */
	RIG_LEGACY = 1 << 1, /* the columns of the first release */
	RIG_AUGUST = 1 << 2, /* without what came in September */
};

/** rig_board() - make the board @slug ("default" at <root>/kanban.db) */
void rig_board(const char *slug, unsigned flags);

char *rig_db(const char *slug); /* path of its database */

/* SQL with sqlite3_mprintf's %Q, %q, %lld, by a connection that lasts one call. */
void rig_sql(const char *slug, const char *fmt, ...);
int64_t rig_int(const char *slug, const char *fmt, ...);
/** rig_list() - rows joined by ',', columns by '|', NULL as "-" */
char *rig_list(const char *slug, const char *fmt, ...);
/** rig_writer() - a process that writes one @sql on the board in WAL mode and keeps the
 * database open until teardown; with @die it ends at once instead, without closing, and leaves
 * the -wal */
void rig_writer(const char *slug, const char *sql, bool die);
/** rig_dump() - every row of every table */
char *rig_dump(const char *slug);

/** rig_unindexed() - statements that an index does not hear of */
void rig_unindexed(const char *slug, const char *index, const char *sql);

/** rig_desync() - rows that no index knows: the index of runs by task is taken out of the
 * schema while they are written */
void rig_desync(const char *slug);

#define ck_sql(slug, expected, ...) ck_assert_str_eq(rig_list(slug, __VA_ARGS__), expected)

/* A task; what is left out is NULL or the default of the board. */
struct rig_task {
	const char *id;
	const char *title;    /* "title of <id>" */
	const char *assignee; /* "jimmy"; RIG_NOBODY for NULL */
	const char *status;   /* "ready" */
	const char *workspace_kind, *workspace_path, *branch_name;
	const char *last_failure_error;
	const char *set; /* more, as the SET part of an UPDATE */
	int64_t priority;
	int64_t created_at; /* 1770000000 */
	int64_t failures;   /* consecutive_failures */
};
#define RIG_NOBODY ""
void rig_add_task(const char *slug, const struct rig_task *task);
#define rig_add(slug, ...) rig_add_task(slug, &(const struct rig_task){ __VA_ARGS__ })

/* A running task with its open run. Ages are in seconds before now. */
struct rig_claim {
	const char *id;
	const char *assignee;      /* "nemo", who has no profile: released tasks stay put */
	const char *lock;          /* "<host>:123"; RIG_NOBODY for NULL */
	const char *from;          /* "ready"; "review" */
	const char *started;       /* worker_started_at */
	const char *set, *set_run; /* more, as SET parts */
	int64_t pid;               /* 0 = NULL */
	int64_t age;           /* since run and task started; 1000, or before the heartbeat */
	int64_t task_age;      /* since the task first started; age */
	int64_t expires_in;    /* 600; -100 = expired 100 s ago */
	int64_t heartbeat_age; /* 0 = NULL */
	int64_t max_runtime;   /* 0 = NULL */
	int64_t failures;
};
/** rig_add_claim() - Return: the run's id */
int64_t rig_add_claim(const char *slug, const struct rig_claim *claim);
#define rig_running(slug, ...) rig_add_claim(slug, &(const struct rig_claim){ __VA_ARGS__ })

/** rig_add_run() - a closed run, @ended_ago seconds ago; Return: its id */
int64_t rig_add_run(const char *slug, const char *task, const char *outcome, int64_t ended_ago);
void rig_add_event(const char *slug, const char *task, const char *kind, const char *payload,
		   int64_t ago);
void rig_add_comment(const char *slug, const char *task, const char *body, int64_t ago);
void rig_link(const char *slug, const char *parent, const char *child);

/** rig_kinds() - the task's events in order, joined by ',' */
char *rig_kinds(const char *slug, const char *task);
/** rig_event() - payload of the newest event of that kind; NULL payload = JSON null; fails
 * where there is no such event */
json_t *rig_event(const char *slug, const char *task, const char *kind);
/** rig_event_run() - its run_id, 0 for NULL */
int64_t rig_event_run(const char *slug, const char *task, const char *kind);
/** rig_invariant() - §4.3 of the board contract: open runs and current_run_id agree */
void rig_invariant(const char *slug);

/* JSON text, keys in any order: "ANY" stands for any value, "INT" for any integer, "TEXT" for
 * any string. No key may be missing, none may be more. */
void rig_json_is(json_t *got, const char *expected, const char *what);
#define ck_event(slug, task, kind, ...)                                                        \
	rig_json_is(rig_event(slug, task, kind), rig_printf(__VA_ARGS__), kind)
json_t *rig_json(const char *text); /* parse; the rig owns it */
char *rig_json_text(json_t *value);

/* ---- locks ------------------------------------------------------------------------------ */

/** rig_flock() - hold an exclusive flock(2) on a file, as other processes do; a descriptor */
int rig_flock(const char *path);
void rig_unlock(int fd);

/** rig_private_mounts() - own mounts for this case, or false where the machine forbids it */
bool rig_private_mounts(void);

/* ---- running --------------------------------------------------------------------------- */

struct rig_out {
	int status;   /* exit status, or -signal */
	char *text;   /* stdout */
	char *err;    /* stderr */
	json_t *json; /* of rig_once(); borrowed */
};

/** rig_run() - run a program of rig.bin to its end, at most @seconds */
struct rig_out *rig_run(int seconds, const char *const *argv);
#define rig_kanband(...)   rig_run(60, (const char *const[]){ "kanband", __VA_ARGS__, NULL })
#define rig_kanbanctl(...) rig_run(60, (const char *const[]){ "kanbanctl", __VA_ARGS__, NULL })

/** rig_once() - kanband --once --json of the root with more arguments; must succeed; its JSON
 * is checked against the documented shape. Return: the result. */
struct rig_out *rig_once_args(const char *const *more);
#define rig_once(...) rig_once_args((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

/** rig_once_as_nobody() - rig_once() with the rights of uid 65534, which then owns the root;
 * NULL where the test itself does not run as root */
struct rig_out *rig_once_as_nobody(void);

/** rig_tick() - rig_once(), and of it the board @slug */
json_t *rig_tick(const char *slug);
/** rig_of() - the board @slug of a result; NULL if it is not there */
json_t *rig_of(const struct rig_out *out, const char *slug);
/** rig_ids() - a list member ("spawned", "skipped.unassigned") as task ids joined by ','.
 * sorted unless @ordered */
char *rig_ids(json_t *board, const char *member, bool ordered);
#define ck_ids(board, member, expected)                                                        \
	ck_assert_str_eq(rig_ids(board, member, false), expected)
#define ck_spawned(board, expected) ck_assert_str_eq(rig_ids(board, "spawned", true), expected)
#define ck_count(board, member, n)                                                             \
	ck_assert_int_eq(json_integer_value(json_object_get(board, member)), n)

/* ---- workers --------------------------------------------------------------------------- */

/** rig_do() - what the worker of @task ("default": of all others) does; worker.c has the verbs.
 * At first `wait stop` for all. */
void rig_do(const char *task, const char *script);
/** rig_ran() - how the newest worker of @task was started; waits for it */
json_t *rig_ran(const char *task);
unsigned rig_ran_count(const char *task); /* how many workers it had so far */
/** rig_argv() - the recorded argv without argv[0], joined by ' ' */
char *rig_argv(const char *task);
/** rig_var() - a variable of its environment, NULL if unset */
const char *rig_var(const char *task, const char *name);
/** rig_worker() - start a worker of @task and @run as kanband would have; Return: its pid */
pid_t rig_worker(const char *slug, const char *task, int64_t run);
/** rig_worker_row() - the same, and its pid and worker_started_at in the rows of task and run
 */
pid_t rig_worker_row(const char *slug, const char *task, int64_t run);
/** rig_sleeper() - a process that has nothing to do with any board, until teardown */
pid_t rig_sleeper(void);
pid_t rig_dead_pid(void); /* a pid that no process has */
/** rig_started() - worker_started_at of a pid, worked out here */
char *rig_started(pid_t pid);
bool rig_alive(pid_t pid);                                            /* a zombie is not */
pid_t rig_child_pid(const char *task, int64_t run, const char *kind); /* child, escape */
void rig_let_go(void); /* touch `stop`: all waiting workers end */

/* ---- daemons --------------------------------------------------------------------------- */

struct rig_daemon {
	struct rig_daemon *next;
	pid_t pid;        /* 0 once it was reaped */
	int notify;       /* the datagram socket that stands in for systemd */
	char *err_path;   /* its stderr */
	unsigned ready;   /* READY=1 seen */
	unsigned reload;  /* RELOADING=1 seen */
	bool stopping;    /* STOPPING=1 seen */
	char status[512]; /* the last STATUS= */
	char *all;        /* every datagram so far, lines */
	int wait_status;  /* of waitpid() */
};

/** rig_start() - start kanband on the root with more arguments and wait for READY=1 */
struct rig_daemon *rig_start_args(bool wait, const char *const *more);
#define rig_start(...)                                                                         \
	rig_start_args(true, (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })
/** rig_notices() - read what the daemon told the service manager so far */
void rig_notices(struct rig_daemon *d);
bool rig_status_has(struct rig_daemon *d, const char *part);
bool rig_ended(struct rig_daemon *d); /* has it ended; then wait_status is set */
/** rig_stop() - SIGTERM and wait; Return: exit status or -signal */
int rig_stop(struct rig_daemon *d);
void rig_kill9(struct rig_daemon *d); /* SIGKILL, and reap */
char *rig_err(struct rig_daemon *d);  /* its stderr so far */
/** rig_owner() - the owner file; NULL if there is none or it is not JSON */
json_t *rig_owner(void);
int64_t rig_epoch(void); /* of the owner file, 0 if none */
