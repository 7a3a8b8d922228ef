/*
 * Dispatching one board: its place in the root, and what the files of a subject keep of it.
 * wakeup.c says when it is visited, visit.c, visit_load.c and visit_done.c visit it, launches.c
 * and workers.c start and watch what runs for it, operation.c lets an operator have it in
 * between, once_sweep.c adds up what --once tells.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "board/board.h"
#include "root/launches.h"
#include "root/visit.h"
#include "root/wakeup.h"
#include "root/workers.h"
#include "util/settings.h"

struct root;
struct operation;
struct start;

/* What the last tick that looked at the lanes said. */
struct dispatch_last {
	int64_t event, running, ready;
	int64_t full_at; /* Unix seconds: every waiting task is to be looked at; 0 */
	unsigned waits;  /* bits of enum plan_wait */
	struct {
		size_t unassigned, nonspawnable, scheduled, guarded;
	} left; /* why ready tasks were not started */
	uint64_t stuck_sweeps, stuck_told_ms;
	uint64_t stuck_ms; /* uv_now() of the last sweep that was counted */
	char memory[160];  /* why memory holds work back, or "" */
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

struct dispatch_once {
	struct dispatch_report report;
	bool reclaimed;  /* the reclaim steps are done */
	bool dispatched; /* its turn to claim has come */
	bool over;       /* tried often enough in vain */
	bool again;      /* the last tick stopped early: see its plan */
	bool locked;     /* the last tick did not take place: another process's held it */
};

/* Workers of this board cannot be started, for want of a folder: of hostfault.c. */
struct dispatch_outage {
	char *why;              /* owned; NULL: they can */
	int64_t since, next_at; /* Unix seconds */
	int64_t backoff_s;      /* until the try after this one */
	bool trying;            /* one may be claimed, or has been */
};

struct dispatch {
	struct root *root; /* borrowed */
	struct board board;
	struct settings set; /* strings borrowed from the daemon's config */
	bool present;        /* seen by the last scan */
	bool dispatched;     /* neither archived, paused nor a duplicate */
	const char *aside;   /* why not: "archived", "paused", "duplicate"; static */
	bool held;           /* by the operator: nothing is claimed */
	int64_t held_at;     /* since, Unix seconds */
	bool uncounted;      /* of barrier.c: its running tasks are not known yet */
	bool adopted;        /* a full tick of this epoch is done */
	bool cut_off_left;   /* … and its claimants are not to be forgotten yet */
	int64_t news_after;  /* id of the newest row of task_events that was told; -1 */
	bool closing;        /* dispatch_close() was called */
	struct start *start; /* that an operator wants claimed now; borrowed, or NULL */
	struct operation *operations;  /* of operation.c: what has not begun */
	uint64_t places_ms;            /* of places.c: uv_now() when it was told of places; 0 */
	uint64_t asked_ms;             /* … and asked what it would start; 0 it is not */
	bool answering;                /* the visit that goes on will say */
	struct dispatch_outage outage; /* of hostfault.c */
	struct wakeup wake;            /* of wakeup.c */
	struct visit visit;            /* of visit.c and visit_done.c */
	struct launches launches;      /* of launches.c */
	struct workers workers;        /* of workers.c */
	struct dispatch_last last;     /* of visit_done.c */
	struct dispatch_once once;     /* of once_sweep.c */
	struct notices_board *notices; /* of notices.c, or NULL */
};

/** dispatch_new() - @place is taken over. Return: 0 or -errno. */
MUST_CHECK int dispatch_new(struct dispatch **out, struct root *root,
			    struct board_place *place);

/**
 * dispatch_close() - let go of everything; frees itself when its timer is closed
 * The board is idle and nothing of it is in flight (visit_idle()); workers run on.
 */
void dispatch_close(struct dispatch *d);

/** dispatch_place() - what a scan says of the board; @place is taken over */
void dispatch_place(struct dispatch *d, struct board_place *place);

/** dispatch_reload() - settings may have changed */
void dispatch_reload(struct dispatch *d);

/** dispatch_state() - the state of the board as it is told: set aside, paused, or its health;
 * static text */
const char *dispatch_state(const struct dispatch *d);

/** dispatch_hold() - claim nothing more on this board, or (@held false) again */
void dispatch_hold(struct dispatch *d, bool held);

/** dispatch_sweep() - the interval came round: visit if anything may be due */
void dispatch_sweep(struct dispatch *d, bool changed);

/** dispatch_clock() - the wall clock was set: what is due by now, and when the rest is */
void dispatch_clock(struct dispatch *d);
