/*
 * Subscriptions of a board: who has yet to be told of which events (the board contract, §9).
 *
 * A claim moves a subscription's cursor over the events that it hands out, by compare-and-swap,
 * so that whoever else reads the same board never hands out the same ones. What was claimed and
 * could not be delivered is given back (rewind); a subscription whose task is over is deleted
 * once everything was delivered (finish). Nothing here sends anything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "notice/subs_value.h"
#include "util/error.h"

struct db;
struct tick_host;

struct subs_event {
	int64_t id, run, at; /* @run 0: none; @at: Unix seconds */
	const char *kind;    /* static text */
	char *payload;       /* JSON text as stored, or NULL; owned */
};

/* A subscription whose cursor was moved from @old to @new. Strings are owned. */
struct subs_claim {
	char *task, *platform, *chat, *thread;
	char *profile; /* notifier_profile as stored, or NULL */
	int64_t old, new;
	uint64_t row;                             /* what else stands in the row, as a number */
	char *title, *status, *assignee, *result; /* of the task, or NULL */
	struct subs_event *events;                /* by id; at least one that is sent */
	size_t n_events;
	bool unsure; /* the commit failed in a way that may have happened all the same */
};

struct subs_request {
	int64_t now; /* Unix seconds */
	bool look;   /* claim what is new */
	bool full;   /* look at every subscription; else only at those that events after
		      * @after_event or rows after @after_row concern */
	int64_t after_event, after_row;
	struct subs_hold *holds; /* sorted by key: task, platform, chat, thread; borrowed */
	size_t n_holds;
	int64_t purge_before; /* full looks: rows of done and blocked tasks where nothing
			       * happened since then go, where such rows outlive done; 0: none
			       */
	struct subs_op *ops;  /* borrowed; done before the look */
	size_t n_ops;
	/* is a subscription of that notifier_profile (NULL: none) ours to deliver */
	bool (*owns)(void *arg, const char *profile);
	/* until when (Unix seconds) nothing is claimed for that place, 0: it may be; or NULL */
	int64_t (*waits)(void *arg, const char *profile, const struct subs_key *key);
	/* claimed, but not yet committed: make it durable elsewhere first. Not 0: all of them
	 * are given back */
	int (*claimed)(void *arg, struct subs_claim *claims, size_t n, struct error *e);
	/* how the commit went: 0, or the claims are unsure */
	void (*committed)(void *arg, struct subs_claim *claims, size_t n, int r);
	void *arg;
};

/* What came of it; zeroed by the caller, subs_result_deinit() frees it. */
struct subs_result {
	struct subs_claim *claims; /* those that are committed or unsure */
	size_t n_claims, room;
	struct subs_skip *skips; /* full looks list all of them */
	size_t n_skips;
	int64_t last_event, last_row; /* where the next look that is not full goes on */
	int64_t held_until; /* earliest `until` of a hold that kept something back; 0: none */
	unsigned passed;    /* subscriptions whose new events are none that is sent */
	unsigned finished;  /* deleted, by FINISH or because the last events were silent */
	unsigned purged;    /* deleted, because nothing happened for long */
	bool answered;      /* the ops have their answers, committed */
	bool looked;        /* the look came to its end */
	bool more;          /* … but there is more than one look takes */
	bool lease_lost;
};

/**
 * subs_run() - one look at a board's subscriptions
 * @host: only owner() is asked, before each commit
 * A board without kanban_notify_subs has none. In one IMMEDIATE transaction the ops, then one
 * per batch of claims; where there is nothing to claim nothing is written.
 * Thread: pool.  Return: 0; else as db_open() or what claimed() returned. What was committed
 * before stays in @res.
 */
MUST_CHECK int subs_run(struct db *db, const struct tick_host *host, struct subs_request *rq,
			struct subs_result *res, struct error *e);

void subs_result_deinit(struct subs_result *res);
