/* The life of an item: its states, what of them stands in the outbox, and its end. */
#include <assert.h>
#include <string.h>
#include <syslog.h>

#include "notify.h"

static const char *const state_names[] = {
	[NOTIFY_UNSURE] = NULL,     [NOTIFY_QUEUED] = "claimed", [NOTIFY_SENDING] = "claimed",
	[NOTIFY_FAILED] = "failed", [NOTIFY_SENT] = "sent",      [NOTIFY_KEPT] = "kept",
	[NOTIFY_CLOSED] = NULL,
};

bool notify_item_state(const char *name, enum notify_state *state)
{
	bool known = false;

	for (int s = NOTIFY_QUEUED; s < NOTIFY_CLOSED; s++)
		if (state_names[s] && strcmp(state_names[s], name) == 0 &&
		    s != NOTIFY_SENDING) {
			*state = (enum notify_state)s;
			known = true;
		}
	return known;
}

void notify_move(struct notify *n, struct notify_item *item, enum notify_state state)
{
	static const unsigned allowed[] = {
		[NOTIFY_UNSURE] = 1 << NOTIFY_QUEUED | 1 << NOTIFY_CLOSED,
		[NOTIFY_QUEUED] = 1 << NOTIFY_SENDING | 1 << NOTIFY_FAILED,
		[NOTIFY_SENDING] = 1 << NOTIFY_QUEUED | 1 << NOTIFY_FAILED | 1 << NOTIFY_SENT,
		[NOTIFY_FAILED] = 1 << NOTIFY_CLOSED | 1 << NOTIFY_KEPT,
		[NOTIFY_SENT] = 1 << NOTIFY_CLOSED,
		[NOTIFY_KEPT] = 1 << NOTIFY_QUEUED,
		[NOTIFY_CLOSED] = 0,
	};

	(void)n;
	(void)allowed; /* in a build without assertions */
	assert(allowed[item->state] & 1U << state);
	item->state = state;
}

void notify_item_link(struct notify *n, struct notify_item *item)
{
	item->next = NULL;
	item->prev = n->items_last;
	if (n->items_last)
		n->items_last->next = item;
	else
		n->items = item;
	n->items_last = item;
	n->n_items++;
}

static void item_unlink(struct notify *n, struct notify_item *item)
{
	if (item->prev)
		item->prev->next = item->next;
	else
		n->items = item->next;
	if (item->next)
		item->next->prev = item->prev;
	else
		n->items_last = item->prev;
	n->n_items--;
}

static void item_recorded(struct notify *n, void *arg)
{
	struct notify_item *item = arg;

	item->recorded = true;
	if (item->state == NOTIFY_FAILED || item->state == NOTIFY_SENT)
		n->calls.visit(n->calls.arg, item->board, false);
	else if (item->state == NOTIFY_KEPT)
		n->subs_next_ms = 0;
}

void notify_progress(struct notify *n, struct notify_item *item)
{
	json_t *json = json_pack("{s:s, s:I}", "state", state_names[item->state], "upto",
				 (json_int_t)item->upto);

	item->recorded = false;
	if (json)
		notify_store(n, 'p', item->seq, json, true);
	else
		notify_log(n, LOG_ERR, item->board, item->key.task,
			   "out of memory: an outcome is not recorded");
	notify_store_then(n, item_recorded, item);
}

/* Out of the outbox: its subscription may be claimed again. */
static void item_closed(struct notify *n, void *arg)
{
	struct notify_item *item = arg;
	struct notify_sub *sub = item->sub;

	item_unlink(n, item);
	notify_item_free(item);
	sub->items--;
	n->subs_next_ms = 0;
	if (!sub->items && sub->missed) {
		sub->missed = false;
		n->calls.visit(n->calls.arg, sub->board, true);
	}
	notify_sub_release(n, sub);
	n->calls.changed(n->calls.arg);
	notify_poke(n);
}

void notify_item_close(struct notify *n, struct notify_item *item)
{
	notify_move(n, item, NOTIFY_CLOSED);
	notify_store(n, 'i', item->seq, NULL, false);
	notify_store(n, 'p', item->seq, NULL, false);
	notify_store_then(n, item_closed, item);
}
