/* Between notices.c and notices_visit.c only. */
#pragma once

#include "board/subs.h"
#include "notify/notify.h"
#include "root/notices.h"
#include "root/root.h"

enum notices_state {
	NOTICES_OPENING,  /* a job reads the outbox */
	NOTICES_WAITING,  /* that failed; tried again later */
	NOTICES_OPEN,     /* at work */
	NOTICES_STOPPING, /* children end, outcomes are written */
	NOTICES_SETTLING, /* boards are visited a last time */
	NOTICES_CLOSING,  /* given up: waits for visits and the notifier to let go */
};

struct notices {
	struct root *root;
	enum notices_state state;
	struct job open; /* reads the outbox */
	bool opening;
	char *path; /* of the outbox */
	struct outbox *outbox;
	struct outbox_found found;
	struct error error; /* why it could not be opened */
	int result;
	struct gateways *gateways;
	struct sender *sender;
	struct notify *notify; /* NULL unless open or later */
	unsigned visits;       /* that use outbox and gateways */
	uv_timer_t timer;
	uint64_t timer_at; /* uv_now(); 0: not armed */
	bool again;        /* ours again before this one was gone */
	void (*closed)(void *arg);
	void *closed_arg;
	int64_t generation; /* epoch: tells boards that what they know is of another one */
};

/* What is known of a board's subscriptions. */
struct notices_board {
	int64_t generation;
	int64_t after_event, after_row; /* of the last look */
	bool known;                     /* a full look came to its end */
	bool look;                      /* the next one is to be full */
	bool ops;                       /* there are ops */
	bool last;                      /* stopping: it was visited for the last time */
	uint64_t full_ms;               /* uv_now() of the last full look */
	uint64_t purge_ms; /* … of the last one that removed what is over; 0: none */
	uint64_t look_at;  /* uv_now() of the next one; 0: none is due */
	unsigned failures; /* looks in a row */
	bool told;         /* … and it was logged */
};

/* What one visit carries. */
struct notices_visit {
	struct notices *n;
	struct board_job *bj;
	char slug[BOARD_SLUG_MAX + 1];
	struct subs_request rq;
	struct notify_visit nv;
	struct notify_item **items; /* what was claimed, in the order of the claims */
	bool *sure;
	size_t n_items, room;
	size_t batch; /* items of the batch that is being committed: the last so many */
	int64_t now;
	bool asked; /* a full look was asked for, not only due */
	bool last;  /* stopping: there is none after this */
};

/** notices_due() - have the board looked at in @in_ms at the latest; -1: when @look_at says */
void notices_due(struct notices *n, struct dispatch *d, uint64_t in_ms);
/** notices_poke() - visit soon the boards that are to be */
void notices_poke(struct notices *n, uint64_t in_ms);
struct notices_board *notices_board_get(struct notices *n, struct dispatch *d);
/** notices_release() - a visit let go */
void notices_release(struct notices *n);
