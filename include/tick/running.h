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
	bool busy;           /* being launched or ended right now: leave it */
	bool watched;        /* the loop watches its worker and has not seen it end */
	bool gone;           /* no longer running: an earlier step let it go */
};

struct running_set {
	struct running *v;
	size_t n;
};

/** running_load() - every running task; @set is freed by running_deinit() also on error */
MUST_CHECK int running_load(struct db *db, const struct tick_request *rq,
			    struct running_set *set, struct error *e);
void running_deinit(struct running_set *set);

/** running_now() - clamp a stored time: NULL stays -1, negative 0, huge the year 9999 */
int64_t running_time(int64_t value);

/* What is written when a running task is let go. */
struct release {
	const char *to;     /* new status; NULL: the retry status (review or ready) */
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
MUST_CHECK int running_release(struct db *db, const struct tick_request *rq,
			       const struct running *row, struct release *release,
			       struct error *e);

/* The termination object of the board contract, §6.3. Returns a new reference or NULL. */
json_t *running_termination(int64_t pid, bool host_local, bool attempted, bool terminated,
			    bool sigkill);

/* The steps, each in a file of its own; all inside one transaction that tick.c holds. */

/** terminal_find() - step 2: list the victims; reads only, and only in a tick that trusts
 * nothing */
MUST_CHECK int terminal_find(struct db *db, const struct tick_request *rq, struct plan *plan,
			     struct error *e);

/** reclaim_run() - steps 2, 3, 4, 5, 7 and claims that a kill cut off. */
MUST_CHECK int reclaim_run(struct db *db, const struct tick_request *rq,
			   struct running_set *set, struct plan *plan, struct error *e);
/** reclaim_wanted() - does any row need reclaim_run() or crash_run(); reads nothing. Sets
 * deadlines and lists victims and workers in the plan. */
bool reclaim_wanted(const struct tick_request *rq, struct running_set *set, struct plan *plan);

/** crash_run() - step 6: workers that are gone */
MUST_CHECK int crash_run(struct db *db, const struct tick_request *rq, struct running_set *set,
			 struct plan *plan, struct error *e);
/** crash_due() - is the row step 6's now; @plan, if given, gets the deadline while the grace
 * lasts */
bool crash_due(const struct tick_request *rq, const struct running *row, struct plan *plan);

/** tick_settle_one() - book one victim inside the caller's transaction; see tick_settle() */
MUST_CHECK int tick_settle_one(struct db *db, const struct tick_request *rq,
			       const struct plan_victim *v, struct plan *plan, struct error *e);
