/*
 * What a tick or a booking came to: counters and ids for reports, workers to start and
 * to end for the loop, lines to log. Filled by a job, read by the loop after it; everything in
 * it is owned by it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strings.h"
#include "util/task_row.h"

/* A task that was claimed and waits for its worker. */
struct plan_launch {
	char *task, *assignee, *claim_lock;
	int64_t run;
	int64_t run_started_at;
	int64_t failures;    /* consecutive_failures at the claim */
	int64_t max_retries; /* -1 = NULL */
	bool review;         /* claimed from the review lane */
	bool goal_quiet;     /* as in launch_spec */
	struct task_row row;
	int64_t ready_at; /* Unix seconds of what made it ready, as far as its events tell */
};

/* Why a worker has to be ended. */
enum victim_cause {
	VICTIM_NONE,
	VICTIM_EXPIRED,  /* claim expired, heartbeat stale */
	VICTIM_STALE,    /* no heartbeat for too long */
	VICTIM_TIMEOUT,  /* max_runtime_seconds */
	VICTIM_TERMINAL, /* its task left `running` 120 s ago */
};

/* A worker to be ended; the row as it was when that was decided. */
struct plan_victim {
	enum victim_cause cause;
	char *task, *claim_lock, *started; /* started: worker_started_at or NULL */
	int64_t run, pid, claim_expires;   /* claim_expires -1 = NULL */
	int64_t current_run;               /* tasks.current_run_id, 0 = NULL */
	int64_t heartbeat;                 /* last_heartbeat_at, -1 = NULL */
	int64_t run_started_at;
	int64_t elapsed_s, limit_s; /* stale, timed out */
	bool heartbeat_stale;
	bool host_local;
	bool live; /* a live worker of ours has to be ended */
	/* what came of it, filled by the loop before tick_ended() */
	bool attempted, terminated, sigkill;
};

/* A worker of this host that should be running now: to be watched. */
struct plan_worker {
	char *task, *started; /* started: worker_started_at or NULL */
	char *title;          /* or NULL */
	char profile[72];     /* canonical name, "" not known */
	int64_t run, pid, run_started_at;
	int64_t heartbeat; /* the last of this run, Unix seconds; -1 none */
};

struct plan_guarded {
	char *task;
	const char *reason; /* static text */
};

struct plan_note {
	int priority;   /* LOG_* */
	const char *id; /* LOG_ID_* or NULL */
	char *task;     /* or NULL */
	int64_t run;
	char *text;
};

/* What ready work waits for, so that the sweep knows when to look again. */
enum plan_wait {
	WAIT_CAPACITY = 1 << 0, /* a cap of this daemon, or memory */
	WAIT_PROFILE = 1 << 1,  /* an assignee without a profile */
	WAIT_ASSIGNEE = 1 << 2, /* no assignee */
	WAIT_BOARD = 1 << 3, /* max_spawn or the profile cap: a change of this board frees it */
	WAIT_WORKER = 1 << 4, /* a worker of the same task still lives: its end frees it */
	WAIT_POOL = 1 << 5,   /* a pool is full */
	WAIT_HOST = 1 << 6,   /* no worker can be started on this host */
};

struct plan {
	int64_t reclaimed, promoted, claimed;
	struct strings stale, crashed, rate_limited, timed_out, auto_blocked;
	struct strings unassigned, nonspawnable, profile_capped, scheduled;
	struct plan_guarded *guarded;
	size_t n_guarded;
	struct plan_launch *launches;
	size_t n_launches;
	struct plan_victim *victims;
	size_t n_victims;
	struct plan_worker *workers;
	size_t n_workers;
	struct plan_note *notes;
	size_t n_notes;
	struct strings triage; /* tasks to decompose, at most auto_decompose_per_tick */
	int64_t running;       /* tasks that run on this board now */
	int64_t lingering;     /* live workers whose task does not say `running` any more */
	int64_t occupied;      /* ready tasks whose last worker still lives */
	int64_t waiting;       /* tasks that could start and got no place */
	int64_t ready;         /* ready tasks that were left */
	int64_t deadline;   /* Unix seconds of the next thing that time alone changes; 0 none */
	int64_t full_at;    /* … and only a look at every waiting task finds it; 0 none */
	int64_t last_event; /* newest task_events.id seen */
	unsigned waits;     /* bits of enum plan_wait */
	char *memory;       /* why memory holds work back, or NULL */
	bool unblocked;     /* with claim_none: somebody unblocked a task meanwhile */
	char *stopped;      /* why nothing is started at all, or NULL */
	char *repaired;     /* what a repair did, or NULL */
	bool lease_lost;    /* the lease check said so; nothing was written after it */
	bool cut_off_left;  /* claims of an earlier kanband are yet to be judged */
	bool again;         /* --once: its launches may fail and make room under a cap */
	bool oom;           /* an append failed for want of memory */
};

void plan_deinit(struct plan *plan);

/**
 * plan_add() - add up counters and ids, for a report over several visits
 * @lanes: @from walked the lanes: what it passed over stands in @sum if no walk saw more
 */
void plan_add(struct plan *sum, const struct plan *from, bool lanes);

/** plan_deadline() - something is due at @at (Unix seconds); ≤ 0 is ignored */
void plan_deadline(struct plan *plan, int64_t at);

/** plan_full_at() - the same of what a tick with tick_request.promote_after does not look at */
void plan_full_at(struct plan *plan, int64_t at);

/* The appenders copy what they are given. Out of memory sets plan->oom, nothing else. */
void plan_id(struct plan *plan, struct strings *list, const char *task);
void plan_guarded(struct plan *plan, const char *task, const char *reason);
void plan_note(struct plan *plan, int priority, const char *id, const char *task, int64_t run,
	       const char *fmt, ...) PRINTF(6, 7);
struct plan_launch *plan_launch(struct plan *plan);
struct plan_victim *plan_victim(struct plan *plan);
struct plan_worker *plan_worker(struct plan *plan);

/* How long the lists were, and what was counted, before a transaction. */
struct plan_mark {
	int64_t reclaimed, promoted, claimed;
	size_t stale, crashed, rate_limited, timed_out, auto_blocked;
	size_t launches, victims, workers, notes;
};

/** plan_mark() - before a transaction begins: what @plan holds is true whatever comes of it */
struct plan_mark plan_mark(const struct plan *plan);

/** plan_cut() - the transaction is undone: so is what was noted, counted and planned in it.
 * Deadlines stay: an early look is no harm. */
void plan_cut(struct plan *plan, const struct plan_mark *mark);

void plan_launch_deinit(struct plan_launch *l);
void plan_victim_deinit(struct plan_victim *v);
