/*
 * A visit of a board: a job that has the board for as long as it runs. What it reads of the
 * loop's lists are copies.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "board/board.h"
#include "util/settings.h"

struct dispatch;

struct visit {
	struct board_job bj;        /* while board.busy */
	struct settings set;        /* its settings */
	int64_t *lists;             /* its watched and busy runs */
	struct tick_living *living; /* its copy of who lives */
	struct tick_exit *exits;    /* its copy of the ends of workers */
	struct tick_hold *holds;    /* its copy of the tasks on hold */
	uint64_t count;             /* visits that have ended */
	uint64_t begun_us;          /* clock_mono_us() of its start */
	uint64_t wake_us;           /* and of what led to it */
	uint64_t ended_ms;          /* uv_now() of the end of the last one */
	int64_t ended_at;           /* the same, Unix seconds; 0 never */
	bool claiming;              /* it may claim */
	bool trying;        /* it may claim one task, to see whether workers start again */
	bool in_done;       /* visit_done() is at work on bj: no new visit before its end */
	unsigned failures;  /* passing failures in a row, for the back-off */
	unsigned locked;    /* visits in a row that found a lock of it held by another */
	uint64_t locked_ms; /* uv_now() of the first of them */
	unsigned wanted;    /* what the visit was begun for: bits of enum wakeup_want */
	unsigned owed;      /* and of those that failed: with the next try */
	bool trouble_told;  /* a passing fault was logged */
	bool told_bad;      /* a lasting one was */
	enum board_state told_state; /* the last lasting state, told or not worth it */
};

/** visit_begin() - start a visit if one is wanted and possible */
void visit_begin(struct dispatch *d);

/** visit_idle() - no visit, no launch, no ending in flight, nothing to bring back that the
 * board would take */
bool visit_idle(const struct dispatch *d);
