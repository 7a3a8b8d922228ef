/*
 * Visits to boards, as seen from here: what is to be done there, and what the answers mean.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "notify.h"
#include "notify/notify_profile.h"

/* Is there something to be asked of its board? */
static bool item_has_op(const struct notify_item *item)
{
	return item->recorded && !item->asked &&
	       (item->state == NOTIFY_UNSURE || item->state == NOTIFY_FAILED ||
		item->state == NOTIFY_SENT);
}

bool notify_has_ops(const struct notify *n, const char *board)
{
	for (const struct notify_item *i = n->items; i; i = i->next)
		if (item_has_op(i) && strcmp(i->board, board) == 0)
			return true;
	return false;
}

const char **notify_boards(const struct notify *n)
{
	const char **list = reallocarray(NULL, n->n_items + 1, sizeof(*list));
	size_t count = 0;

	for (const struct notify_item *i = n->items; list && i; i = i->next) {
		bool known = !item_has_op(i);

		for (size_t k = 0; !known && k < count; k++)
			known = strcmp(list[k], i->board) == 0;
		if (!known)
			list[count++] = i->board;
	}
	if (list)
		list[count] = NULL;
	return list;
}

/* What keeps that subscription from being claimed now, if anything does. */
static bool sub_hold(const struct notify *n, const struct notify_sub *sub,
		     struct subs_hold *hold)
{
	int64_t now = notify_wall(n);

	*hold = (struct subs_hold){ .until = INT64_MAX,
				    .cursor = sub->cursor,
				    .row = sub->row };
	if (sub->items)
		return true;
	if (sub->parked) {
		hold->parked = true;
		return true;
	}
	if (sub->failures) {
		hold->until = sub->retry_at;
		return sub->retry_at > now;
	}
	if (!sub->fold_kind)
		return false;
	hold->until = sub->fold_at + NOTIFY_FOLD_S;
	hold->only = sub->fold_kind;
	return hold->until > now && sub->fold_at <= now;
}

static int visit_holds(const struct notify *n, const char *board, struct notify_visit *v)
{
	v->holds = reallocarray(NULL, HASH_COUNT(n->subs) + 1, sizeof(*v->holds));
	if (!v->holds)
		return -ENOMEM;
	for (const struct notify_sub *s = n->subs; s; s = s->hh.next) {
		struct subs_hold *h = &v->holds[v->n_holds];

		if (strcmp(s->board, board) != 0 || !sub_hold(n, s, h))
			continue;
		if (subs_key_copy(&h->key, &s->key) < 0)
			return -ENOMEM;
		v->n_holds++;
	}
	qsort(v->holds, v->n_holds, sizeof(*v->holds), subs_hold_order);
	return 0;
}

static int key_order(const void *a, const void *b)
{
	return subs_key_order(a, b);
}

/* Chats that take nothing now, and the subscriptions that have a time of their own. */
static int visit_waits(struct notify *n, const char *board, struct notify_visit *v)
{
	uint64_t now = notify_mono(n);

	v->waits = reallocarray(NULL, HASH_COUNT(n->chats) + 1, sizeof(*v->waits));
	v->failed = reallocarray(NULL, HASH_COUNT(n->subs) + 1, sizeof(*v->failed));
	if (!v->waits || !v->failed)
		return -ENOMEM;
	for (const struct notify_chat *c = n->chats; c; c = c->hh.next) {
		struct notify_wait *w = &v->waits[v->n_waits];

		if (!c->failures || c->hold_ms <= now)
			continue;
		*w = (struct notify_wait){ .name = strdup(c->name),
					   .until = v->now +
						    (int64_t)(c->hold_ms - now + 999) / 1000 };
		if (!w->name)
			return -ENOMEM;
		v->n_waits++;
	}
	for (const struct notify_sub *s = n->subs; v->n_waits && s; s = s->hh.next) {
		if (!s->failures || strcmp(s->board, board) != 0)
			continue;
		if (subs_key_copy(&v->failed[v->n_failed], &s->key) < 0)
			return -ENOMEM;
		v->n_failed++;
	}
	qsort(v->failed, v->n_failed, sizeof(*v->failed), key_order);
	return 0;
}

int64_t notify_visit_waits(struct notify_visit *v, const char *profile,
			   const struct subs_key *key)
{
	CLEANUP(freep) char *whose = NULL, *name = NULL;

	if (v->n_waits == 0 ||
	    (v->n_failed && bsearch(key, v->failed, v->n_failed, sizeof(*key), key_order)))
		return 0;
	whose = notify_profile(profile);
	name = whose ? notify_chat_name(whose, key) : NULL;
	for (size_t i = 0; name && i < v->n_waits; i++)
		if (strcmp(v->waits[i].name, name) == 0) {
			v->waits[i].used = true;
			return v->waits[i].until;
		}
	return 0;
}

/* What was kept back is looked at when its chat takes messages again. */
static void visit_waited(struct notify *n, const char *board, const struct notify_visit *v)
{
	for (size_t i = 0; i < v->n_waits; i++) {
		struct notify_chat *chat;

		if (!v->waits[i].used)
			continue;
		chat = notify_chat_find(n, v->waits[i].name);
		if (chat && chat->hold_ms > notify_mono(n))
			notify_chat_hold(n, chat, board);
		else
			n->calls.visit(n->calls.arg, board, true); /* over meanwhile */
	}
}

static struct subs_op item_op(const struct notify_item *i)
{
	return (struct subs_op){
		.key = i->key,
		.verb = i->state == NOTIFY_UNSURE   ? SUBS_CHECK
			: i->state == NOTIFY_FAILED ? SUBS_REWIND
						    : SUBS_FINISH,
		.old = i->upto,
		.new = i->new,
		.tag = i->seq,
	};
}

int notify_visit_begin(struct notify *n, const char *board, struct notify_visit *v)
{
	*v = (struct notify_visit){ .now = notify_wall(n) };
	v->ops = reallocarray(NULL, n->n_items + 1, sizeof(*v->ops));
	if (!v->ops || visit_holds(n, board, v) < 0 || visit_waits(n, board, v) < 0) {
		notify_visit_deinit(v);
		return -ENOMEM;
	}
	for (struct notify_item *i = n->items; i; i = i->next)
		if (item_has_op(i) && strcmp(i->board, board) == 0) {
			v->ops[v->n_ops++] = item_op(i);
			i->asked = true;
		}
	return 0;
}

void notify_visit_deinit(struct notify_visit *v)
{
	for (size_t i = 0; i < v->n_holds; i++)
		subs_key_deinit(&v->holds[i].key);
	for (size_t i = 0; i < v->n_waits; i++)
		free(v->waits[i].name);
	for (size_t i = 0; i < v->n_failed; i++)
		subs_key_deinit(&v->failed[i]);
	free(v->waits);
	free(v->failed);
	free(v->holds);
	free(v->ops);
	*v = (struct notify_visit){ 0 };
}

/* ---- answers ------------------------------------------------------------------------- */

static void answer_check(struct notify *n, struct notify_item *item, enum subs_answer answer)
{
	if (answer == SUBS_AT_OLD) { /* the claim never was: it comes again */
		notify_item_close(n, item);
		return;
	}
	if (n->stopping)
		return; /* it is asked again at the next start */
	/* it was ours, or somebody else has sent it: better twice than never */
	notify_move(n, item, NOTIFY_QUEUED);
	notify_progress(n, item);
	notify_enqueue(n, item);
}

static void answer_rewind(struct notify *n, struct notify_item *item, enum subs_answer answer)
{
	if (answer == SUBS_DONE || answer == SUBS_AT_OLD) {
		notify_item_close(n, item);
		return;
	}
	/* somebody moved the cursor on, or deleted the row: nobody else will send these */
	notify_move(n, item, NOTIFY_KEPT);
	notify_progress(n, item);
	n->subs_next_ms = 0;
}

static void answer_take(struct notify *n, struct notify_item *item, enum subs_answer answer)
{
	switch (item->state) {
	case NOTIFY_UNSURE:
		answer_check(n, item, answer);
		break;
	case NOTIFY_FAILED:
		answer_rewind(n, item, answer);
		break;
	case NOTIFY_SENT:
		notify_item_close(n, item);
		break;
	default:
		break;
	}
}

static struct notify_item *item_find(struct notify *n, uint64_t seq)
{
	struct notify_item *i = n->items;

	while (i && i->seq != seq)
		i = i->next;
	return i;
}

static void visit_answers(struct notify *n, const struct notify_visit *v)
{
	struct notify_item *i = n->items;

	for (size_t k = 0; k < v->n_ops; k++) {
		const struct subs_op *op = &v->ops[k];
		struct notify_item *item, *next;

		while (i && i->seq != op->tag) /* both are in the order of the list */
			i = i->next;
		item = i ? i : item_find(n, op->tag);
		if (!item)
			continue;
		next = item->next;
		item->asked = false;
		if (op->answer != SUBS_UNANSWERED)
			answer_take(n, item, op->answer);
		i = next;
	}
}

/*
 * Every subscription was looked at: one that failed, was not held back and was not claimed has
 * nothing to be told any more; one that is parked may be gone.
 */
static void visit_looked(struct notify *n, const char *board, const struct notify_visit *v)
{
	struct notify_sub *sub, *next;

	HASH_ITER(hh, n->subs, sub, next)
	{
		struct subs_hold *h, key = { .key = sub->key };

		if (strcmp(sub->board, board) != 0 || sub->items)
			continue;
		h = v->n_holds
			    ? bsearch(&key, v->holds, v->n_holds, sizeof(key), subs_hold_order)
			    : NULL;
		if (sub->parked && h && h->parked && h->gone) {
			notify_sub_unpark(n, sub, "the subscription was deleted");
		} else if (!sub->parked && sub->failures && !h && sub->due_told &&
			   sub->retry_at <= v->now) {
			sub->failures = 0;
			n->subs_next_ms = 0;
		}
		notify_sub_release(n, sub);
	}
}

/* What had news while an item of it was under way is looked at again when that is over. */
static void visit_missed(struct notify *n, const char *board, const struct notify_visit *v)
{
	bool look = false;

	for (size_t i = 0; i < v->n_holds; i++) {
		const struct subs_hold *h = &v->holds[i];
		struct notify_sub *sub;

		if (!h->used || h->parked || h->until != INT64_MAX)
			continue;
		sub = notify_sub_find(n, board, &h->key);
		if (sub && sub->items)
			sub->missed = true;
		else
			look = true; /* over while the visit was under way */
	}
	if (look)
		n->calls.visit(n->calls.arg, board, true);
}

void notify_visit_end(struct notify *n, const char *board, struct notify_visit *v, bool looked)
{
	visit_answers(n, v);
	visit_missed(n, board, v);
	visit_waited(n, board, v);
	if (looked)
		visit_looked(n, board, v);
	notify_visit_deinit(v);
	n->calls.changed(n->calls.arg);
	notify_poke(n);
}

void notify_board_gone(struct notify *n, const char *board)
{
	struct notify_item *next;

	for (struct notify_item *i = n->items; i; i = next) {
		next = i->next;
		if (item_has_op(i) && strcmp(i->board, board) == 0)
			answer_take(n, i, SUBS_GONE);
	}
	notify_skips_unsee(n);
	notify_skips_served(n, board);
	notify_poke(n);
}

void notify_claimed(struct notify *n, struct notify_item *item, bool sure)
{
	item->sub = notify_sub_get(n, item);
	if (!item->sub) {
		/* it stands in the outbox; without memory it waits for the next start */
		notify_log(n, LOG_ERR, item->board, item->key.task,
			   "out of memory: a notification waits for a restart");
		notify_item_free(item);
		return;
	}
	if (item->sub->parked && sure)
		notify_sub_unpark(n, item->sub, "its row changed");
	item->sub->items++;
	notify_item_link(n, item);
	item->state = NOTIFY_UNSURE;
	item->recorded = true;
	if (sure)
		notify_move(n, item, NOTIFY_QUEUED);
	if (sure && n->stopping) {
		notify_move(n, item, NOTIFY_FAILED);
		notify_progress(n, item);
	} else if (sure) {
		notify_enqueue(n, item);
	} else {
		n->calls.visit(n->calls.arg, item->board, false);
	}
	n->calls.changed(n->calls.arg);
}

/* ---- the visit's thread -------------------------------------------------------------- */

int notify_items_write(struct outbox *outbox, struct notify_item *const *items, size_t count,
		       struct error *e)
{
	CLEANUP(freep) struct outbox_change *list = calloc(count + 1, sizeof(*list));
	CLEANUP(freep) char(*keys)[24] = calloc(count + 1, sizeof(*keys));
	int r = list && keys ? 0 : error_set(e, -ENOMEM, "out of memory");

	for (size_t i = 0; r == 0 && i < count; i++) {
		items[i]->seq = outbox_next(outbox);
		(void)snprintf(keys[i], sizeof(keys[i]), "i%llu",
			       (unsigned long long)items[i]->seq);
		list[i] = (struct outbox_change){ keys[i], notify_item_json(items[i]) };
		if (!list[i].value)
			r = error_set(e, -ENOMEM, "out of memory");
	}
	if (r == 0)
		r = outbox_write(outbox, list, count, true, e);
	for (size_t i = 0; list && i < count; i++)
		json_decref((json_t *)list[i].value); /* the cast: ours to give back */
	return r;
}

int notify_items_mark(struct outbox *outbox, struct notify_item *const *items, size_t count,
		      struct error *e)
{
	CLEANUP(freep) struct outbox_change *list = calloc(count + 1, sizeof(*list));
	CLEANUP(freep) char(*keys)[24] = calloc(count + 1, sizeof(*keys));
	json_t *claimed = json_pack("{s:s}", "state", "claimed");
	int r = list && keys && claimed ? 0 : error_set(e, -ENOMEM, "out of memory");

	for (size_t i = 0; r == 0 && i < count; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "p%llu",
			       (unsigned long long)items[i]->seq);
		list[i] = (struct outbox_change){ keys[i], claimed };
	}
	if (r == 0)
		r = outbox_write(outbox, list, count, false, e);
	json_decref(claimed);
	return r;
}
