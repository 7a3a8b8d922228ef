/*
 * Delivering notifications of one root: from claims of subscriptions to messages in chats, each
 * exactly once unless a kill cuts off its sending, none ever dropped.
 *
 * This module knows no boards and no SQL. Whoever owns it visits the boards on its behalf:
 * before a visit notify_visit_begin() says what to do there, after it notify_visit_end() takes
 * the answers, and what the visit claimed is handed over by notify_claimed(). All on the loop
 * thread unless said otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "notice/subs_value.h"
#include "notify/gateway.h"
#include "notify/item.h"
#include "notify/outbox.h"
#include "notify/sender.h"
#include "util/error.h"
#include "util/job.h"

struct notify;

struct notify_settings {
	unsigned concurrency; /* children at a time; at least 1 */
	uint64_t timeout_ms;  /* of one child */
};

/*
 * News for the owner, on the loop thread, often from inside a call of his: he takes note and
 * acts later. From inside notify_new() only log() is called.
 */
struct notify_calls {
	/* visit that board soon: there are ops, or with @look subscriptions may be claimed that
	 * were held back */
	void (*visit)(void *arg, const char *board, bool look);
	/* status or numbers changed */
	void (*changed)(void *arg);
	/* @id: a LOG_ID_* or NULL; @board, @task may be NULL */
	void (*log)(void *arg, int priority, const char *id, const char *board,
		    const char *task, const char *text);
	void *arg;
};

/* The clocks; NULL members are the real ones. */
struct notify_clock {
	uint64_t (*mono_ms)(void *arg);
	int64_t (*wall_s)(void *arg);
	void *arg;
};

/**
 * notify_new() - take up what the outbox holds, and go on with it
 * @outbox, @gateways: borrowed until notify_close() is done
 * Return: 0 or -errno.
 */
MUST_CHECK int notify_new(struct notify **out, uv_loop_t *loop, struct jobs *jobs,
			  struct outbox *outbox, struct gateways *gateways,
			  const struct notify_settings *settings,
			  const struct notify_sender *sender, const struct notify_calls *calls,
			  const struct notify_clock *clock);

void notify_set(struct notify *n, const struct notify_settings *settings);

/**
 * notify_stop() - start nothing new, give running children NOTIFY_STOP_MS, write down what came
 * of them, and have the cursors of what was not sent set back
 * @done: once, from the loop; what remains to be done are the ops of notify_visit_begin()
 */
void notify_stop(struct notify *n, void (*done)(void *arg), void *arg);

/**
 * notify_close() - end children at once, forget everything (the outbox keeps it), free
 * @done: once, from the loop: outbox and gateways are not used any more
 */
void notify_close(struct notify *n, void (*done)(void *arg), void *arg);

/* ---- visits -------------------------------------------------------------------------- */

/* A place that takes nothing for now. */
struct notify_wait {
	char *name;    /* of the chat; a copy */
	int64_t until; /* Unix seconds */
	bool used;     /* the visit's: it kept something back */
};

struct notify_visit {
	struct subs_op *ops; /* tag: which item; keys are borrowed */
	size_t n_ops;
	struct subs_hold *holds; /* sorted by subs_hold_order(); keys are copies */
	size_t n_holds;
	struct notify_wait *waits;
	size_t n_waits;
	struct subs_key *failed; /* subscriptions with a time of their own; copies, sorted */
	size_t n_failed;
	int64_t now; /* Unix seconds of its beginning */
};

/** notify_has_ops() - is there anything to be done on that board */
bool notify_has_ops(const struct notify *n, const char *board);

/** notify_visit_begin() - one visit of a board at a time. Return: 0 or -ENOMEM. */
MUST_CHECK int notify_visit_begin(struct notify *n, const char *board,
				  struct notify_visit *visit);

/**
 * notify_visit_end() - take the answers, free what notify_visit_begin() made
 * @looked: every subscription was looked at, so that `gone` says something
 */
void notify_visit_end(struct notify *n, const char *board, struct notify_visit *visit,
		      bool looked);

/**
 * notify_visit_waits() - until when nothing is claimed for that subscription, because its chat
 * does not take what was claimed before; 0: it may be
 * @profile: as stored, or NULL
 * Thread: any that has the visit.
 */
int64_t notify_visit_waits(struct notify_visit *visit, const char *profile,
			   const struct subs_key *key);

/** notify_visit_deinit() - the visit did not take place */
void notify_visit_deinit(struct notify_visit *visit);

/** notify_board_gone() - there is no such board any more: its ops answer themselves */
void notify_board_gone(struct notify *n, const char *board);

/** notify_boards() - slugs of the boards that have ops, NULL-terminated; borrowed, or NULL out
 * of memory; the caller frees the vector */
MUST_CHECK const char **notify_boards(const struct notify *n);

/**
 * notify_claimed() - an item whose claim is committed (@sure), or may be
 * @item: taken; it stands in the outbox
 */
void notify_claimed(struct notify *n, struct notify_item *item, bool sure);

/* For the visit's thread: */

/** notify_items_write() - give numbers to new items and write them to the outbox, before the
 * claim is committed. Thread: pool. Return: 0; else none of them is there. */
MUST_CHECK int notify_items_write(struct outbox *outbox, struct notify_item *const *items,
				  size_t count, struct error *e);

/** notify_items_mark() - the claim of these is committed. Thread: pool. 0 or -errno: then it is
 * not known after a kill, and the board is asked. */
MUST_CHECK int notify_items_mark(struct outbox *outbox, struct notify_item *const *items,
				 size_t count, struct error *e);

/* ---- what is not ours ---------------------------------------------------------------- */

/**
 * notify_skipped() - all subscriptions of a board that have news and were not claimed
 * Each profile that nobody seems to serve is a WARNING once, and a NOTICE when it is over.
 * Return: seconds after which to look again, 0: no need.
 */
unsigned notify_skipped(struct notify *n, const char *board, const struct subs_skip *skips,
			size_t count);

/* ---- status and requests ------------------------------------------------------------- */

struct notify_status {
	unsigned queued;   /* messages that wait for their turn */
	unsigned sending;  /* children */
	unsigned retrying; /* subscriptions that failed and are tried again */
	unsigned parked;   /* … and are not, until asked */
	unsigned unserved; /* subscriptions with news that nobody seems to serve */
	unsigned settling; /* claims that wait for a visit of their board */
	uint64_t sent;     /* messages delivered since the start */
	uint64_t failed;   /* tries that failed since the start */
	uint64_t digests;  /* of the messages delivered */
	const char *error; /* the last failure, "" if none; borrowed */
	int64_t error_at;  /* Unix seconds */
	bool unwritten;    /* the outbox cannot be written: nothing is sent */
};

void notify_get_status(const struct notify *n, struct notify_status *status);

/* A subscription in trouble. Borrowed for the call. */
struct notify_trouble {
	const char *board;
	const struct subs_key *key;
	const char *profile, *reason;
	bool parked;
	unsigned failures; /* tries in a row */
	int64_t since;     /* first failure, Unix seconds */
	int64_t retry_at;  /* Unix seconds; 0 if parked */
};

void notify_each_trouble(const struct notify *n,
			 void (*fn)(void *arg, const struct notify_trouble *t), void *arg);

/* News that nobody seems to serve. Borrowed for the call. */
struct notify_unserved {
	const char *board, *profile, *reason;
	unsigned count;
	int64_t oldest;
};

void notify_each_unserved(const struct notify *n,
			  void (*fn)(void *arg, const struct notify_unserved *u), void *arg);

/**
 * notify_retry() - try parked and failing subscriptions again now
 * @board, @task: only of these; NULL: of all
 * Return: how many.
 */
unsigned notify_retry(struct notify *n, const char *board, const char *task);

/** notify_settled() - nothing of it is being sent, written or asked of a board */
bool notify_settled(const struct notify *n);

/** notify_turn() - do what is due; the module's own timer calls it, tests with their own clock
 * do Return: mono ms of the next turn, 0: none. */
uint64_t notify_turn(struct notify *n);

#define NOTIFY_STALE_S    3600  /* older events are no news any more */
#define NOTIFY_STALE_MANY 20    /* more of them for one chat become one message */
#define NOTIFY_STALE_MS   5000  /* how long a stale one waits for others */
#define NOTIFY_RETRY_S    5     /* first back-off, doubling … */
#define NOTIFY_RETRY_MAX  3600  /* … to this */
#define NOTIFY_GIVE_UP_S  86400 /* failing for so long: parked */
#define NOTIFY_CHAT_MAX_S 60    /* longest that a chat waits for one that fails in it */
#define NOTIFY_STOP_MS    5000
#define NOTIFY_UNSERVED_S 300 /* a running gateway has so long to take its news */
