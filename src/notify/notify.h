/* What only the files notify*.c of this folder share. */
#pragma once

#include <jansson.h>

#include "notify/notify.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* What is known of a subscription beyond its row. Gone when there is nothing to be known. */
struct notify_sub {
	UT_hash_handle hh; /* by name */
	char *name;        /* board and key, joined by '\1'; owned */
	uint64_t id;       /* its number in the outbox: "s17" */
	bool stored;       /* it stands there */
	char *board;
	struct subs_key key;
	char *profile;
	bool missed;       /* it had news while an item was under way */
	unsigned items;    /* under way; more than one only after a restart */
	unsigned failures; /* in a row */
	int64_t since;     /* of the first of them */
	int64_t retry_at;  /* not before; Unix seconds */
	bool due_told;     /* the visit for retry_at was asked for */
	bool parked;
	int64_t cursor; /* where its cursor is then */
	uint64_t row;   /* and what stands in the row */
	char reason[256];
	const char *fold_kind; /* kind of the last message, if repeats are folded; or NULL */
	int64_t fold_at;       /* when it was sent */
};

/* One place to send to, by one profile's adapters: one child at a time. */
struct notify_chat {
	UT_hash_handle hh;         /* by name */
	char *name;                /* profile, platform, chat, thread, joined by '\1'; owned */
	struct notify_item *items; /* queued ones, in no order */
	struct notify_send *send;  /* under way until its outcome is written, or NULL */
	uint64_t hold_ms;          /* nothing before; mono */
	uint64_t served_ms; /* when something was last sent: the longest ago comes first */
	unsigned failures;  /* in a row */
	char **held; /* boards where something waits for it to take messages again; owned */
	size_t n_held;
};

/* Messages of one item in a send: events[item->done … +count - 1] */
struct notify_cover {
	struct notify_item *item;
	size_t count;
};

struct notify_send {
	struct notify_send *next;
	struct notify *n;
	struct notify_chat *chat;
	struct notify_cover *covers;
	size_t n_covers;
	bool digest;
	void *handle;         /* of the sender; NULL once it has ended */
	uint64_t deadline_ms; /* mono */
	bool killed;
};

/* A change on its way to the outbox. */
struct notify_change {
	char key[24];
	json_t *value; /* NULL deletes */
};

/* What happens when everything before it is written. */
struct notify_after {
	void (*fn)(struct notify *n, void *arg);
	void *arg;
};

struct notify_batch {
	struct notify_change *changes;
	size_t n_changes, changes_room;
	struct notify_after *afters;
	size_t n_afters, afters_room;
	bool sync;
};

struct notify_skipped_one {
	struct notify_skipped_one *next;
	char *board, *profile;
	enum subs_why why;
	unsigned count;
	int64_t oldest;
	uint64_t first_ms; /* when it was first seen; mono */
	bool told, seen;
};

struct notify {
	uv_loop_t *loop;
	struct jobs *jobs;
	struct outbox *outbox;
	struct gateways *gateways;
	struct notify_settings set;
	struct notify_sender sender;
	struct notify_calls calls;
	struct notify_clock clock;
	uv_timer_t timer;
	uv_timer_cb on_timer;     /* takes a turn */
	bool timer_real;          /* the clock is the real one: the timer is armed */
	bool turning, turn_again; /* notify_turn() is at work */
	/* state */
	struct notify_item *items, *items_last; /* by age */
	unsigned n_items;
	struct notify_sub *subs;
	uint64_t subs_next_ms; /* mono; nothing is due there before; 0: look */
	struct notify_chat *chats;
	struct notify_send *sends; /* those with a child */
	unsigned n_sends;          /* and those whose outcome is not written yet */
	struct notify_skipped_one *skips;
	/* the outbox */
	struct notify_batch pending, writing;
	struct job writer;
	bool write_runs;
	int write_result;
	struct error write_error;
	unsigned write_failures;
	uint64_t write_retry_ms; /* mono; 0: now */
	/* stopping, closing */
	bool stopping, stop_told;
	uint64_t stop_kill_ms;
	void (*stopped)(void *arg);
	void *stopped_arg;
	bool closing, closed;
	void (*closed_fn)(void *arg);
	void *closed_arg;
	/* numbers */
	uint64_t sent, failed, digests;
	char error[256];
	int64_t error_at;
	unsigned park_logged, park_unlogged; /* warnings of the current minute */
	uint64_t park_minute_ms;
};

/* notify_base.c */
uint64_t notify_mono(const struct notify *n);
int64_t notify_wall(const struct notify *n);
/** notify_mono_of() - the mono ms at which the wall clock will say @wall_s */
uint64_t notify_mono_of(const struct notify *n, int64_t wall_s);
void notify_log_id(const struct notify *n, const char *id, int priority, const char *board,
		   const char *task, const char *fmt, ...) PRINTF(6, 7);
#define notify_log(n, ...) notify_log_id((n), NULL, __VA_ARGS__)
void notify_poke(struct notify *n); /* a turn soon */

/* notify_item.c */
/** notify_move() - the one mover of item states; the moves that are allowed are drawn in
 * notify.c */
void notify_move(struct notify *n, struct notify_item *item, enum notify_state state);
/** notify_progress() - write down state and progress of an item; its op waits for that */
void notify_progress(struct notify *n, struct notify_item *item);
/** notify_item_close() - it is over: out of the outbox, then out of memory */
void notify_item_close(struct notify *n, struct notify_item *item);
void notify_item_link(struct notify *n, struct notify_item *item);
/** notify_item_state() - the state that the outbox calls @name; false, and @state as it was */
bool notify_item_state(const char *name, enum notify_state *state);

/* notify_store.c: nothing here fails; what cannot be written is tried again, in order */
void notify_store(struct notify *n, char letter, uint64_t number, json_t *value, bool sync);
void notify_store_then(struct notify *n, void (*fn)(struct notify *n, void *arg), void *arg);
/** notify_store_run() - start a write if one is due. Return: mono ms of the next try, or 0 */
uint64_t notify_store_run(struct notify *n);
bool notify_store_idle(const struct notify *n);
void notify_store_deinit(struct notify *n);

/* notify_sub.c */
struct notify_sub *notify_sub_get(struct notify *n, const struct notify_item *item);
/** notify_sub_find() - the same, or NULL */
struct notify_sub *notify_sub_find(struct notify *n, const char *board,
				   const struct subs_key *key);
MUST_CHECK int notify_sub_parse(struct notify *n, uint64_t id, const json_t *json);
void notify_sub_failed(struct notify *n, struct notify_item *item, bool hopeless,
		       const char *reason);
void notify_sub_delivered(struct notify *n, struct notify_item *item);
void notify_sub_unpark(struct notify *n, struct notify_sub *sub, const char *why);
/** notify_sub_release() - forget it if there is nothing to be known */
void notify_sub_release(struct notify *n, struct notify_sub *sub);
void notify_subs_deinit(struct notify *n);

/* notify_retry.c */
/** notify_subs_turn() - retries that are due. Return: mono ms of the next one, or 0 */
uint64_t notify_subs_turn(struct notify *n);

/* notify_chat.c */
void notify_enqueue(struct notify *n, struct notify_item *item);
void notify_dequeue(struct notify *n, struct notify_item *item);
/** notify_chats_turn() - start what may be started. Return: mono ms of the next one, or 0 */
uint64_t notify_chats_turn(struct notify *n);
/** notify_chat_find() - by name, or NULL */
struct notify_chat *notify_chat_find(struct notify *n, const char *name);
/** notify_chat_name() - malloc'd, NULL out of memory */
MUST_CHECK char *notify_chat_name(const char *profile, const struct subs_key *key);
/** notify_chat_hold() - a board has news for it that were not claimed */
void notify_chat_hold(struct notify *n, struct notify_chat *chat, const char *board);
void notify_sends_kill(struct notify *n, const char *reason);
void notify_chats_deinit(struct notify *n);

/* notify_skip.c */
/** notify_skips_served() - those of @board that were not seen since the flags were cleared */
void notify_skips_served(struct notify *n, const char *board);
void notify_skips_unsee(struct notify *n);
void notify_skips_deinit(struct notify *n);

static inline uint64_t notify_earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}
