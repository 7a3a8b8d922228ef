/*
 * When a board is visited: what is wanted of the next visit, and the one timer of the board.
 * How a visit begins is not known here: wakeup.begin() is handed in, so that whoever has news
 * for a board needs to know no more than this.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "board/board.h"

struct dispatch;

/* Why a board is to be visited. */
enum wakeup_want {
	WANT_LOOK = 1 << 0,       /* something may have changed: tick if it did */
	WANT_TICK = 1 << 1,       /* tick; promotion only of what newer events name */
	WANT_FULL = 1 << 2,       /* tick that trusts nothing */
	WANT_CHECKPOINT = 1 << 3, /* checkpoint if due */
	WANT_CLOSE = 1 << 4,      /* close the connection */
	WANT_NOTIFY = 1 << 5,     /* something is due for its subscriptions */
};

struct wakeup {
	void (*begin)(struct dispatch *d); /* start a visit if one is wanted and possible */
	unsigned want;                     /* bits of enum wakeup_want */
	uint64_t woken_us;     /* clock_mono_us() of the oldest wish not yet seen to; 0 */
	uv_timer_t timer;      /* next deadline, retry or coalesced probe */
	uint64_t timer_at_ms;  /* 0 = not armed */
	int64_t deadline_s;    /* Unix seconds: when time alone changes something; 0 never */
	bool probing;          /* the last visit was a probe that found nothing new */
	uint64_t probe_gap_ms; /* the next probe waits so long after it */
	uint64_t changed_ms;   /* uv_now() of the last news of its files */
	uint64_t paid_ms; /* uv_now() when all looks that came without a pause are paid for */
	bool closing;     /* nothing is armed any more */
};

#define WAKEUP_RETRY_MS      500 /* the first retry of what failed */
#define WAKEUP_GAP_MS        50 /* bursts of changes: so long after a tick comes the next probe */
#define WAKEUP_BURST         4 /* so many come at once, and one more each WAKEUP_GAP_MS */
#define WAKEUP_PROBE_MIN_MS  2 /* after a probe that found nothing: 2, 8, 32, 128, 512 ms */
#define WAKEUP_PROBE_MAX_MS  512
#define WAKEUP_LIKELY_MS     250  /* so long after the last news a commit that is written */
#define WAKEUP_SLOW_MS       2000 /* is looked for every 2 ms, so long every 8 ms */
#define WAKEUP_PROBE_SLOW_MS 8
#define WAKEUP_PENDING_MS    60000 /* so long after the last news a slow commit is probed for */

/** wakeup_init() - @begin: see struct wakeup. Return: 0 or -errno. */
MUST_CHECK int wakeup_init(struct dispatch *d, void (*begin)(struct dispatch *d));

/** wakeup_want() - ask for a visit */
void wakeup_want(struct dispatch *d, unsigned want);

/**
 * wakeup_changed() - somebody wrote to a file of the board
 * @ended: its journal came or went: at its going a transaction has ended
 */
void wakeup_changed(struct dispatch *d, bool ended);

/** wakeup_arm() - have the board looked at in @in_ms milliseconds at the latest */
void wakeup_arm(struct dispatch *d, uint64_t in_ms);

/** wakeup_deadline() - have the board looked at when @at_s (Unix seconds, 0 never) comes */
void wakeup_deadline(struct dispatch *d, int64_t at_s);

/** wakeup_due() - is the deadline over, by the wall clock */
bool wakeup_due(const struct dispatch *d);

/** wakeup_visited() - a visit is over: when the next probe may be, and whether one is due */
void wakeup_visited(struct dispatch *d, const struct board_job *bj);
