/*
 * One dispatcher tick of one board, in the order of the board contract, §6: what ended, what
 * expired, what may start. Jobs call this with the board's connection; nothing here starts or
 * ends a process: the plan says what to do, and what came of it comes back by tick_ended()
 * and tick_record().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tick/caps.h"
#include "tick/plan.h"
#include "util/error.h"
#include "util/settings.h"

struct db;

/* What a board knows about a worker, for the liveness seam. Borrowed. */
struct tick_worker {
	int64_t pid;
	const char *task;
	int64_t run;            /* 0 unknown */
	const char *started;    /* worker_started_at, or NULL */
	int64_t run_started_at; /* Unix seconds */
	const char *db;    /* path of the board's database: copies of one board share ids */
	const char *board; /* its slug */
};

struct start;
struct tick_exit;

/* The host, handed in, so that a unit test runs without processes or folders. */
struct tick_host {
	/* is that worker alive (a zombie is dead, a stranger with its pid is not it) */
	bool (*alive)(void *arg, const struct tick_worker *worker);
	/* when its process began, in Unix seconds by the clock as it is now, or 0; NULL = never
	 * asked */
	int64_t (*began)(void *arg, const struct tick_worker *worker);
	/* was it recorded in another pid namespace of this boot; NULL = never */
	bool (*elsewhere)(void *arg, const char *started);
	/* is there a profile of this canonical name */
	bool (*profile)(void *arg, const char *canonical);
	/* do we still own the lease; false stops the tick before its next write */
	bool (*owner)(void *arg, struct error *why);
	/* is the starting of work stopped by hand (ESTOP); @until: out, when that lifts by
	 * itself, 0 unknown; NULL = never */
	bool (*stopped)(void *arg, int64_t now, int64_t *until, struct error *why);
	/* is the pull request still open: 1, 0, or -1 unknown; NULL = never asked */
	int (*pr_open)(void *arg, const char *url);
	/* how a worker ended that nobody here watched, as its launcher knows: true, and @exit;
	 * NULL = never asked */
	bool (*ended)(void *arg, const struct tick_worker *worker, struct tick_exit *exit);
	/* may the kanband of that claim lock still start what it claimed; NULL = never */
	bool (*claimant)(void *arg, const char *lock);
	/* the worker of a run whose pid is not known: its pid, 0 there is none and none will
	 * come, -1 that cannot be told now. @ended: also one that has ended, if ended() knows
	 * how. */
	int64_t (*find)(void *arg, const struct tick_worker *worker, bool ended);
	/* first scratch workspace of this root: true exactly once */
	bool (*first_scratch)(void *arg);
	void *arg;
};

enum tick_exit_kind { TICK_EXITED, TICK_SIGNALED, TICK_UNKNOWN };

/* How a watched worker ended. */
struct tick_exit {
	int64_t run, pid;
	enum tick_exit_kind kind; /* TICK_UNKNOWN: seen ending, status not to be had */
	int value;                /* exit status or signal */
	const char *why; /* what ended it, where the launcher knows: out_of_memory, over_time,
			  * watchdog; else NULL; static */
	bool host;       /* it could not even begin: the fault is this host's, not the task's */
};

/* A worker that lives, or is being started, whatever its row says. */
struct tick_living {
	char task[80];
	char profile[72]; /* canonical name, "" unknown */
	int64_t run;
};

/* A task that is not to be claimed again before a time: its spawn failed a moment ago. */
struct tick_hold {
	char task[80];
	int64_t until; /* Unix seconds */
};

enum tick_step {
	TICK_RECLAIM = 1 << 0,  /* steps 2 to 7 */
	TICK_PROMOTE = 1 << 1,  /* step 8 */
	TICK_DISPATCH = 1 << 2, /* steps 9 to 11 */
	TICK_ALL = TICK_RECLAIM | TICK_PROMOTE | TICK_DISPATCH,
};

struct tick_request {
	unsigned steps;             /* bits of enum tick_step */
	int64_t now;                /* Unix seconds */
	const char *hostname;       /* gethostname() */
	const char *db;             /* path of the board's database */
	const char *board;          /* its slug, or NULL */
	const char *logs;           /* folder of the workers' logs, or NULL */
	const char *claim_lock;     /* ours: "host:pid" */
	const struct settings *set; /* borrowed, read only */
	const struct tick_host *host;
	struct caps *caps;
	struct start *start;      /* one task to be claimed before all others, or NULL */
	struct turns_board *turn; /* this board's place among those that share them */
	bool claim_none;          /* nothing can be started on this host now */
	bool claim_one;           /* but one, to see whether that is still so */
	int64_t seen_event;       /* with claim_none: newest event that was seen, 0 none */
	bool once;                /* --once:an unknown end is a crash, as Hermes books it */
	int64_t promote_after;    /* 0: every waiting task; else only those that events with a
				   * greater id can have changed */
	const struct tick_exit *exits;
	size_t n_exits;
	const int64_t *watched; /* runs whose worker the loop watches and has not seen ending */
	size_t n_watched;
	const int64_t *busy; /* runs that are being launched or ended right now */
	size_t n_busy;
	const struct tick_living *living;
	size_t n_living;
	const struct tick_hold *holds;
	size_t n_holds;
	const char *const
		*claimants; /* claim locks of earlier kanbands, NULL-terminated or NULL */
};

/* What every step of a tick works with. Borrowed for the visit. */
struct tick {
	struct db *db;
	const struct tick_request *rq;
	struct plan *plan; /* what is found and done goes here */
	struct error *e;
};

/* One launch that the loop tried. Borrowed from the launch job. */
struct tick_launched {
	const struct plan_launch *launch;
	bool workspace_ok, spawned;
	const char *error;   /* where one of them is false */
	bool infrastructure; /* it is the fault of this host, not of the task */
	const char
		*put_back; /* it was not to be tried any more: "estop", "lease_lost"; or NULL */
	int64_t pid;
	const char *started;   /* worker_started_at */
	const char *workspace; /* absolute path, or NULL */
	const char *branch;    /* or NULL */
};

/**
 * tick_run() - the steps asked for, each state change a compare-and-swap with its event in one
 * transaction (the board contract, §5, §6)
 * @plan: zeroed by the caller, plan_deinit() frees it; what was done before an error stays in
 * it Thread: pool, with `<db>.dispatch.lock` held. Return: 0, or as db_open(); DB_CORRUPT and
 * DB_SCHEMA_BAD say that the board needs examining.
 */
MUST_CHECK int tick_run(struct db *db, const struct tick_request *rq, struct plan *plan,
			struct error *e);

/** tick_ended() - book what came of ending workers: release, hold, or nothing to do */
MUST_CHECK int tick_ended(struct db *db, const struct tick_request *rq,
			  const struct plan_victim *victims, size_t n, struct plan *plan,
			  struct error *e);

/** tick_record() - book what came of launches: pids, workspaces, failures; one transaction */
MUST_CHECK int tick_record(struct db *db, const struct tick_request *rq,
			   const struct tick_launched *launched, size_t n, struct plan *plan,
			   struct error *e);
