/* Retries: the turn of each subscription whose time has come, one that failed or one that
 * folds. */
#include <string.h>

#include "notify.h"
#include "util/log.h"

/* Items that could not be set back are tried again from here. Return: were there any. */
static bool sub_requeue(struct notify *n, const struct notify_sub *sub)
{
	bool any = false;

	for (struct notify_item *i = n->items; i && sub->items; i = i->next)
		if (i->sub == sub && i->state == NOTIFY_KEPT && i->recorded) {
			any = true;
			notify_move(n, i, NOTIFY_QUEUED);
			notify_enqueue(n, i);
		}
	return any;
}

/* One subscription's turn. Return: when it wants the next one, mono ms, or 0. */
static uint64_t sub_turn(struct notify *n, struct notify_sub *sub)
{
	int64_t now = notify_wall(n);

	if (sub->parked)
		return 0;
	if (sub->failures && !sub->due_told && !n->stopping) {
		/* a wall clock that was set back must not delay it for longer than it ever
		 * waits
		 */
		if (sub->retry_at > now + NOTIFY_RETRY_MAX)
			sub->retry_at = now + NOTIFY_RETRY_MAX;
		if (sub->retry_at > now)
			return notify_mono_of(n, sub->retry_at);
		sub->due_told = true;
		if (sub->items)
			(void)sub_requeue(n, sub); /* nothing to be set back: it was asked */
		else
			n->calls.visit(n->calls.arg, sub->board, true);
		return 0;
	}
	if (sub->fold_kind && !sub->items && !sub->failures) {
		if (now < sub->fold_at + NOTIFY_FOLD_S && sub->fold_at <= now)
			return notify_mono_of(n, sub->fold_at + NOTIFY_FOLD_S);
		sub->fold_at = now - NOTIFY_FOLD_S;
		notify_sub_release(n, sub);
	}
	return 0;
}

uint64_t notify_subs_turn(struct notify *n)
{
	struct notify_sub *sub, *next;
	uint64_t due = 0, now = notify_mono(n);

	if (n->park_unlogged && now >= n->park_minute_ms) {
		notify_log_id(
			n, LOG_ID_PARKED, LOG_WARNING, NULL, NULL,
			"notifications of %u more subscriptions are parked; kanbanctl notify "
			"lists them",
			n->park_unlogged);
		n->park_unlogged = 0;
	}
	if (now >= n->park_minute_ms)
		n->park_logged = 0;
	if (!n->subs_next_ms || now >= n->subs_next_ms) {
		n->subs_next_ms = 0;
		HASH_ITER(hh, n->subs, sub, next)
		due = notify_earlier(due, sub_turn(n, sub));
		n->subs_next_ms = due ? due : UINT64_MAX;
	}
	due = n->subs_next_ms == UINT64_MAX ? 0 : n->subs_next_ms;
	return n->park_unlogged ? notify_earlier(due, n->park_minute_ms) : due;
}
