/*
 * Dispatching one board: decides on the loop thread when the board is visited, starts and ends
 * workers as the visit's plan says, watches them, and takes what came of it back to the board.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "board/board.h"
#include "launch/ending.h"
#include "launch/launch.h"
#include "util/settings.h"

struct root;
struct dispatch;
struct launch_batch;
struct ending_watch;
struct errand;

/* Why a board is to be visited. */
enum dispatch_want {
	WANT_LOOK = 1 << 0,       /* something may have changed: tick if it did */
	WANT_TICK = 1 << 1,       /* tick; promotion only of what newer events name */
	WANT_FULL = 1 << 2,       /* tick that trusts nothing */
	WANT_CHECKPOINT = 1 << 3, /* checkpoint if due */
	WANT_CLOSE = 1 << 4,      /* close the connection */
	WANT_NOTIFY = 1 << 5,     /* something is due for its subscriptions */
};

/* A worker of this host that we watch. */
struct worker {
	struct worker *next;
	struct dispatch *dispatch;
	struct watch *watch;
	char *task;
	char *started; /* worker_started_at or NULL */
	int64_t run;
	pid_t pid;
	int64_t run_started_at; /* Unix seconds */
	uint64_t left_ms; /* uv_now() when its run was seen not to be running any more; 0 */
	bool child;       /* our own child: its exit status is to be had */
	bool ending;      /* a terminator is at it */
};

/* What --once reports of a board, added up over its visits. */
struct dispatch_spawned {
	char *task, *assignee, *workspace;
	int64_t run, pid;
};

struct dispatch_report {
	struct plan sum; /* counters and ids only */
	struct dispatch_spawned *spawned;
	size_t n_spawned;
};

struct dispatch {
	struct root *root; /* borrowed */
	struct board board;
	struct settings set;        /* strings borrowed from the daemon's config */
	bool present;               /* seen by the last scan */
	bool dispatched;            /* neither archived, paused nor a duplicate */
	const char *aside;          /* why not: "archived", "paused", "duplicate"; static */
	int64_t held_at;            /* since, Unix seconds */
	struct errand *errands;     /* what the operator asked for and has not begun */
	uint64_t visits;            /* that have ended */
	uint64_t woken_us;          /* clock_mono_us() of the oldest wish not yet seen to; 0 */
	uint64_t visit_us, wake_us; /* of the visit: its start, and woken_us before it */
	unsigned want;              /* bits of enum dispatch_want */
	struct board_job bj;        /* the visit, while board.busy */
	struct settings bj_set;     /* its settings */
	int64_t *bj_lists;          /* copies for the visit: watched and busy runs, … */
	struct tick_exit *bj_exits; /* … ends of workers, */
	struct tick_hold *bj_holds; /* … tasks on hold */
	/* brought back at the next visit */
	struct plan_victim *settle;
	size_t n_settle;
	struct plan_victim *settling; /* the visit took these along */
	size_t n_settling;
	struct launch_batch *finished, *recording; /* launches to record; with the visit */
	struct tick_launched *bj_record;
	/* in flight */
	struct launch_batch *launching;
	struct ending_watch *ending; /* victims being ended */
	struct worker *workers;
	struct tick_exit *exits;
	uint64_t *exits_ms; /* uv_now() of each, to forget them after 10 min */
	size_t n_exits;
	struct tick_hold *holds;
	size_t n_holds;
	/* timing */
	uv_timer_t timer;     /* next deadline, retry or coalesced look */
	uint64_t timer_at_ms; /* 0 = not armed */
	int64_t deadline_s;   /* Unix seconds: when time alone changes something; 0 never */
	uint64_t visited_ms;  /* uv_now() of the end of the last visit */
	int64_t visited_at;   /* the same, Unix seconds; 0 never */
	bool looking;         /* it was a look that found nothing new */
	uint64_t look_gap_ms; /* the next look waits so long after it */
	unsigned failures;    /* passing failures in a row, for the back-off */
	bool trouble_told;    /* a passing fault was logged */
	bool told_bad;        /* a lasting one was */
	enum board_state told_state; /* the last lasting state, told or not worth it */
	/* what the last tick said */
	int64_t last_event, running, ready;
	unsigned waits;
	struct {
		size_t unassigned, nonspawnable, scheduled, guarded;
	} left; /* why ready tasks were not started */
	uint64_t stuck_sweeps, stuck_told_ms;
	char memory[160];
	bool held;            /* by the operator: nothing is claimed */
	bool claiming;        /* the visit may claim */
	bool uncounted;       /* its running tasks are not known yet in this epoch */
	bool adopted;         /* a full tick of this epoch is done */
	bool once_reclaimed;  /* --once: the reclaim steps are done */
	bool once_dispatched; /* --once: its turn to claim has come */
	bool once_over;       /* --once: tried often enough in vain */
	unsigned locked;      /* visits in a row that found `<db>.dispatch.lock` held */
	bool in_done;         /* visit_done() is at work on bj: no new visit before its end */
	bool handles;         /* the timer is open */
	bool closing;
	struct dispatch_report report; /* --once only */
	struct notices_board *notices; /* of notices.c, or NULL */
};

/** dispatch_new() - @place is taken over. Return: 0 or -errno. */
MUST_CHECK int dispatch_new(struct dispatch **out, struct root *root,
			    struct board_place *place);

/**
 * dispatch_close() - let go of everything; frees itself when its timer is closed
 * The board is idle and nothing of it is in flight (dispatch_idle()); workers run on.
 */
void dispatch_close(struct dispatch *d);

/** dispatch_idle() - no visit, no launch, no ending in flight, nothing to bring back that the
 * board would take */
bool dispatch_idle(const struct dispatch *d);

/** dispatch_place() - what a scan says of the board; @place is taken over */
void dispatch_place(struct dispatch *d, struct board_place *place);

/** dispatch_uncounted() - its running tasks are (not) known; the last one to be counted opens
 * the gate for claims on all boards */
void dispatch_uncounted(struct dispatch *d, bool uncounted);

/** dispatch_reload() - settings may have changed */
void dispatch_reload(struct dispatch *d);

/** dispatch_want() - ask for a visit */
void dispatch_want(struct dispatch *d, unsigned want);

/** dispatch_hold() - claim nothing more on this board, or (@held false) again */
void dispatch_hold(struct dispatch *d, bool held);

/** dispatch_sweep() - the interval came round: visit if anything may be due */
void dispatch_sweep(struct dispatch *d, bool changed);

/* Shared with the other files of dispatch: */

/**
 * dispatch_changed() - somebody wrote to a file of the board
 * @ended: its journal came or went: at its going a transaction has ended
 */
void dispatch_changed(struct dispatch *d, bool ended);

/** dispatch_arm() - have the board looked at in @in_ms milliseconds at the latest */
void dispatch_arm(struct dispatch *d, uint64_t in_ms);

/** dispatch_next() - start a visit if one is wanted and possible */
void dispatch_next(struct dispatch *d);

/** workers_watch() - watch a worker that runs; @pidfd taken over, -1 to open one. Return: 0 or
 * -errno */
MUST_CHECK int workers_watch(struct dispatch *d, const struct plan_worker *w, int pidfd,
			     bool child);
/** workers_seen() - compare with what the last full reclaim says runs here */
void workers_seen(struct dispatch *d, const struct plan *plan);
/** workers_end() - end a victim's worker; what came of it goes to d->settle */
void workers_end(struct dispatch *d, struct plan_victim *v);
/** workers_overdue() - victims among the watched whose run ended 120 s ago */
void workers_overdue(struct dispatch *d);
/** workers_ending() - the runs whose workers are being ended, into @list unless NULL. Return:
 * how many */
size_t workers_ending(const struct dispatch *d, int64_t *list);
void workers_close(struct dispatch *d);

/** launches_start() - start what a plan says; takes its launches over */
void launches_start(struct dispatch *d, struct plan *plan);
/** launches_take() - move finished batches to a visit and make its record array. 0 or -errno */
MUST_CHECK int launches_take(struct dispatch *d);
/** launches_recorded() - the visit is over: @ok frees the batches, else they wait again */
void launches_recorded(struct dispatch *d, bool ok);
/** launches_runs() - append the runs in flight to @list. Return: how many */
size_t launches_runs(const struct dispatch *d, int64_t *list);
size_t launches_count(const struct dispatch *d);
/** launches_recording() - how many launches the visit records */
size_t launches_recording(const struct dispatch *d);
/** launches_pending() - is that run launched and not yet recorded */
bool launches_pending(const struct dispatch *d, int64_t run);

/** once_visited() - --once: add a visit to the report and ask for the next step */
void once_visited(struct dispatch *d, const struct board_job *bj);
