/* The running tasks of a board, as a tick judges them, and how one is let go. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tick/tick.h"

/* A running row. Times and pids are clamped to sane ranges when read: rows are hostile. */
struct running {
	char *task, *lock;      /* lock: claim_lock or NULL */
	char *started;          /* worker_started_at or NULL */
	char *title, *assignee; /* for those who look, or NULL */
	int64_t expires;        /* claim_expires, -1 = NULL */
	int64_t pid;            /* worker_pid, 0 = none or no valid pid */
	int64_t started_at;     /* tasks.started_at, 0 = NULL */
	int64_t heartbeat;      /* tasks.last_heartbeat_at, -1 = NULL */
	int64_t current_run;    /* tasks.current_run_id, 0 = NULL */
	int64_t run;            /* the open run, 0 = none */
	int64_t run_started_at; /* of the open run, else started_at */
	int64_t max_runtime;    /* seconds, 0 = none */
	int64_t failures;
	int64_t max_retries; /* -1 = NULL */
	bool host_local;     /* claim_lock starts with "<host>:" */
	bool alive;          /* its worker lives (host-local with a pid only) */
	bool here;           /* claimed by a host of another name, but its worker lives here */
	bool away;           /* it lives in another pid namespace: not seen, never signalled */
	bool cut_off;        /* an earlier dispatcher claimed it and recorded no worker */
	int64_t found; /* … whose worker is this: 0 there is none, -1 cannot be told now */
	bool busy;     /* being launched or ended right now: leave it */
	bool watched;  /* the loop watches its worker and has not seen it end */
	bool gone;     /* no longer running: an earlier step let it go */
};

struct running_set {
	struct running *v;
	size_t n;
};

/** running_load() - every running task; @set is freed by running_deinit() also on error */
MUST_CHECK int running_load(const struct tick *t, struct running_set *set);
void running_deinit(struct running_set *set);

/** running_time() - clamp a stored number: negative becomes 0, huge the year 9999 */
int64_t running_time(int64_t value);

/* What is written when a running task is let go. */
struct release {
	const char *to;     /* new status, as history_retry_status() tells it */
	const char *status; /* of the run: "reclaimed", "stale", "crashed" … also its outcome */
	const char *error;    /* of the run, or NULL */
	json_t *metadata;     /* of the run; stolen; or NULL */
	bool clear_heartbeat; /* tasks.last_heartbeat_at too */
};

/**
 * running_release() - compare-and-swap a running task out of `running` and end its open run
 * Inside the caller's transaction.
 * Return: 0; DB_CONFLICT when somebody else changed the row, then nothing is written (metadata
 * is freed all the same); else as db_run().
 */
MUST_CHECK int running_release(const struct tick *t, const struct running *row,
			       struct release *release);

/** running_ours() - does a live worker of this host have it */
bool running_ours(const struct running *row);

/** running_heartbeat() - the last sign of life of this run; -1: none yet. One that is older
 * than the run is of the run before. */
int64_t running_heartbeat(const struct running *row);

/** running_heartbeat_stale() - is the last sign of life of this run too old; none yet is not */
bool running_heartbeat_stale(const struct tick *t, const struct running *row);

/** running_of_victim() - the row as running_release() wants it; borrows the victim's texts */
struct running running_of_victim(const struct plan_victim *v);

/** running_termination() - the termination object of the board contract, §6.3. A new reference
 * or NULL */
json_t *running_termination(const struct plan_victim *v);
