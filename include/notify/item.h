/*
 * One claim on its way: the messages of one subscription between two places of its cursor, from
 * the moment that they are written to the outbox until it is known what came of them. An item
 * is made on a pool thread, inside the claim, and then belongs to the loop.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "notice/subs_value.h"
#include "notify/notify_text.h"
#include "util/error.h"

struct notify_sub;
struct notify_chat;

/* One message. */
struct notify_event {
	int64_t id;       /* of the newest event in it */
	int64_t at;       /* of that event, Unix seconds */
	int64_t since;    /* of the oldest event in it */
	unsigned count;   /* events in it: more than one where repeats were folded */
	const char *kind; /* static text */
	char *text;       /* owned */
};

enum notify_state {
	NOTIFY_UNSURE,  /* written down, but was the cursor moved? The board is asked */
	NOTIFY_QUEUED,  /* waits for its turn in its chat */
	NOTIFY_SENDING, /* a child has (some of) its messages */
	NOTIFY_FAILED,  /* the cursor is to be set back */
	NOTIFY_SENT,    /* all delivered; the subscription ends if its task has */
	NOTIFY_KEPT,    /* failed, and somebody else moved the cursor: tried again from here */
	NOTIFY_CLOSED,  /* over */
};

struct notify_item {
	struct notify_item *next, *prev; /* all items, by age; loop only */
	uint64_t seq;                    /* its number in the outbox */
	char *board;                     /* slug */
	struct subs_key key;             /* a copy */
	char *profile; /* whose adapters deliver it: canonical, "default" for none */
	bool owned;    /* its row names that profile: the profile's gateway would take it */
	int64_t old, new;
	uint64_t row; /* what else stood in the subscription's row */
	int64_t upto; /* events up to this id are delivered; @old at first */
	struct notify_event *events;
	size_t n_events;
	size_t done; /* events that are delivered: the first that is not */
	/* the loop's */
	enum notify_state state;
	bool recorded;            /* its state stands in the outbox: its op may be done */
	bool asked;               /* its op is with a visit */
	struct notify_sub *sub;   /* what is known of the subscription */
	struct notify_chat *chat; /* while queued or sending */
	struct notify_item *chat_next;
	uint64_t ready_ms; /* not before; mono */
	/* internal to its making */
	bool fold_ended;
	size_t events_room;
};

/**
 * notify_item_new() - an item without events
 * @profile: notifier_profile as stored, or NULL
 * Thread: any.  Return: 0 or -ENOMEM.
 */
MUST_CHECK int notify_item_new(struct notify_item **out, const struct notify_about *about,
			       const char *platform, const char *chat, const char *thread,
			       const char *profile, int64_t old, int64_t new, uint64_t row);
struct notify_item *notify_item_free(struct notify_item *item);
DEFINE_FREEP(struct notify_item, notify_item_free)

/**
 * notify_item_add() - the next event, in the order of ids; silent kinds make no message
 * Repeats of `crashed` and of `gave_up` within NOTIFY_FOLD_S become one message; an `unblocked`
 * between them ends that.
 */
MUST_CHECK int notify_item_add(struct notify_item *item, const struct notify_about *about,
			       int64_t id, int64_t at, const char *kind, const char *payload);

/** notify_item_finish() - no more events: the counts are put into the texts */
MUST_CHECK int notify_item_finish(struct notify_item *item);

/** notify_item_json() - for the outbox; a new reference, NULL out of memory */
MUST_CHECK json_t *notify_item_json(const struct notify_item *item);

/**
 * notify_item_parse() - from the outbox
 * Return: 0; -EBADMSG if it is not what notify_item_json() writes; -ENOMEM.
 */
MUST_CHECK int notify_item_parse(struct notify_item **out, uint64_t seq, const json_t *json);

#define NOTIFY_FOLD_S (30 * 60)
