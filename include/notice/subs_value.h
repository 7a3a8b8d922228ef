/*
 * What the notifier and a board's subscriptions say to each other, as plain values: which
 * subscription, what to do with it, what keeps it back, why it was left to others. Neither
 * knows the other; a visit carries these between them as they are.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

/* Which subscription: the primary key of its row. Borrowed, or subs_key_copy() made it. */
struct subs_key {
	const char *task, *platform, *chat;
	const char *thread; /* "" for none */
};

/** subs_key_copy() - Return: 0 or -ENOMEM, then @to is empty */
MUST_CHECK int subs_key_copy(struct subs_key *to, const struct subs_key *from);

/** subs_key_deinit() - of a copy */
void subs_key_deinit(struct subs_key *key);

/** subs_key_order() - by task, platform, chat, thread, as strcmp() */
int subs_key_order(const struct subs_key *a, const struct subs_key *b);

/* A subscription that is not to be claimed now. */
struct subs_hold {
	struct subs_key key;
	int64_t until;    /* Unix seconds; INT64_MAX: until told otherwise */
	const char *only; /* NULL: in any case; else only while every event that would be
			   * sent is of this kind and nobody unblocked the task since */
	bool parked;      /* claimed all the same when cursor or row are not these any more */
	int64_t cursor;
	uint64_t row;
	bool used; /* out: it kept something back */
	bool gone; /* out, full looks, parked ones: there is no such row any more */
};

enum subs_verb {
	SUBS_CHECK,  /* where is the cursor */
	SUBS_REWIND, /* from @new back to @old */
	SUBS_FINISH, /* delete it if its task is over and all was seen */
};

enum subs_answer {
	SUBS_UNANSWERED, /* nothing was done */
	SUBS_DONE,       /* rewound; deleted */
	SUBS_AT_OLD,     /* the cursor is at @old */
	SUBS_AT_NEW,     /* the cursor is at @new */
	SUBS_ELSEWHERE,  /* somebody moved it */
	SUBS_GONE,       /* there is no such subscription */
};

/* What is to be done with a subscription that was claimed earlier. */
struct subs_op {
	struct subs_key key; /* borrowed */
	enum subs_verb verb;
	int64_t old, new;
	uint64_t tag;            /* the caller's */
	enum subs_answer answer; /* out */
};

/* Why a subscription with news was not claimed. */
enum subs_why {
	SUBS_NOT_OURS, /* another one's to deliver */
	SUBS_WAKE,     /* only wakes an agent, which takes a gateway; it has none that runs */
	SUBS_NO_TEXT,  /* its key is not valid UTF-8: no command line can name it */
};

struct subs_skip {
	char *profile; /* notifier_profile, "" for none; owned */
	enum subs_why why;
	unsigned count; /* subscriptions */
	int64_t oldest; /* created_at of the oldest event that waits */
};

/** subs_hold_order() - two struct subs_hold by their keys, for qsort(3) and bsearch(3) */
int subs_hold_order(const void *a, const void *b);
