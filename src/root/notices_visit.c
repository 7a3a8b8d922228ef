/*
 * What a visit carries for the notifier, and what comes of it. The callbacks inside the claim
 * run on the pool thread that has the board; they touch the visit's own part, the outbox, which
 * locks itself, and the gateways, which do too.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "notices.h"
#include "util/clock.h"
#include "util/log.h"

#define FULL_EVERY_MS 60000 /* a look that trusts nothing follows others within this */
#define PURGE_MS      3600000
#define FAIL_MIN_MS   5000
#define FAIL_MAX_MS   300000

/* ---- inside the claim: pool ---------------------------------------------------------- */

static bool visit_owns(void *arg, const char *profile)
{
	struct notices_visit *v = arg;

	return gateways_owns(v->n->gateways, profile);
}

static int64_t visit_waits(void *arg, const char *profile, const struct subs_key *key)
{
	struct notices_visit *v = arg;

	return notify_visit_waits(&v->nv, profile, key);
}

static int visit_item(struct notices_visit *v, const struct subs_claim *c,
		      struct notify_item **out)
{
	const struct notify_about about = {
		.board = v->slug,
		.task = c->task,
		.title = c->title,
		.status = c->status,
		.assignee = c->assignee,
		.result = c->result,
	};
	CLEANUP(notify_item_freep) struct notify_item *item = NULL;
	int r = notify_item_new(&item, &about, c->platform, c->chat, c->thread, c->profile,
				c->old, c->new, c->row);

	for (size_t i = 0; r == 0 && i < c->n_events; i++) {
		const struct subs_event *ev = &c->events[i];

		r = notify_item_add(item, &about, ev->id, ev->at, ev->kind, ev->payload);
	}
	if (r == 0)
		r = notify_item_finish(item);
	if (r == 0)
		*out = STEAL(item);
	return r;
}

static int visit_room(struct notices_visit *v, size_t more)
{
	size_t room = v->n_items + more;
	struct notify_item **items;
	bool *sure;

	items = reallocarray(v->items, room, sizeof(struct notify_item *));
	if (!items)
		return -ENOMEM;
	v->items = items;
	sure = reallocarray(v->sure, room, sizeof(*sure));
	if (!sure)
		return -ENOMEM;
	v->sure = sure;
	return 0;
}

/* Before the commit: what is about to be sent stands in the outbox. */
static int visit_claimed(void *arg, struct subs_claim *claims, size_t n, struct error *e)
{
	struct notices_visit *v = arg;
	size_t from = v->n_items;
	int r = visit_room(v, n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = visit_item(v, &claims[i], &v->items[v->n_items]);
		if (r == 0)
			v->sure[v->n_items++] = false;
	}
	if (r < 0)
		(void)error_set(e, r, "out of memory");
	else
		r = notify_items_write(v->n->outbox, v->items + from, n, e);
	while (r < 0 && v->n_items > from)
		(void)notify_item_free(v->items[--v->n_items]);
	v->batch = r == 0 ? n : 0;
	return r;
}

/* After it. Items that stay unsure are asked for by the next visit. */
static void visit_committed(void *arg, struct subs_claim *claims, size_t n, int r)
{
	struct notices_visit *v = arg;
	struct error e = ERROR_NULL;

	(void)claims;
	if (r != 0 || v->batch != n)
		return;
	for (size_t i = v->n_items - n; i < v->n_items; i++)
		v->sure[i] = true;
	/* without the mark they are asked for only after a kill */
	IGNORE(notify_items_mark(v->n->outbox, v->items + v->n_items - n, n, &e));
}

/* ---- before -------------------------------------------------------------------------- */

static void visit_free(struct notices_visit *v)
{
	for (size_t i = 0; i < v->n_items; i++)
		(void)notify_item_free(v->items[i]); /* the outbox has them */
	free(v->items);
	free(v->sure);
	notify_visit_deinit(&v->nv);
	free(v);
}

/* Since when nothing happened where a subscription is over; 0: it is not asked now. */
static int64_t begin_purge(const struct root *root, const struct notices_board *b, uint64_t now)
{
	const int64_t days = root->set.done_sub_retention_days;

	if (days == 0 || (b->purge_ms && now - b->purge_ms < PURGE_MS))
		return 0;
	return clock_wall_s() - days * 86400;
}

void notices_begin(struct dispatch *d, struct board_job *bj, bool tick)
{
	struct notices *n = d->root->notices;
	struct notices_board *b;
	struct notices_visit *v;
	uint64_t now = uv_now(d->root->env->loop);
	bool look;

	if (!n || !n->notify || n->state == NOTICES_CLOSING)
		return;
	b = notices_board_get(n, d);
	look = b && d->dispatched && n->state == NOTICES_OPEN && (tick || b->look);
	if (!b || (!look && !b->ops))
		return;
	v = calloc(1, sizeof(*v));
	if (!v)
		return; /* as if it had failed: what is wanted stays wanted */
	v->n = n;
	v->bj = bj;
	v->now = clock_wall_s();
	(void)snprintf(v->slug, sizeof(v->slug), "%s", d->board.place.slug);
	v->rq = (struct subs_request){
		.now = v->now,
		.look = look,
		.full = b->look || !b->known || (d->wake.want & WANT_FULL) ||
			now - b->full_ms >= FULL_EVERY_MS,
		.purge_before = begin_purge(d->root, b, now),
		.after_event = b->after_event,
		.after_row = b->after_row,
		.owns = visit_owns,
		.waits = visit_waits,
		.claimed = visit_claimed,
		.committed = visit_committed,
		.arg = v,
	};
	if (notify_visit_begin(n->notify, v->slug, &v->nv) < 0) {
		notify_visit_end(n->notify, v->slug, &v->nv, false);
		visit_free(v);
		return;
	}
	v->rq.ops = v->nv.ops;
	v->rq.n_ops = v->nv.n_ops;
	v->rq.holds = v->nv.holds;
	v->rq.n_holds = v->nv.n_holds;
	bj->subs = &v->rq;
	bj->subs_must = b->ops || (b->look && look);
	v->asked = b->look && look;
	v->last = n->state == NOTICES_SETTLING;
	b->ops = false;
	b->look = b->look && !look;
	n->visits++;
}

/* ---- after --------------------------------------------------------------------------- */

static void end_claims(struct notices_visit *v)
{
	for (size_t i = 0; i < v->n_items; i++)
		notify_claimed(v->n->notify, v->items[i], v->sure[i]);
	v->n_items = 0;
}

/* What was answered and not committed is not answered. */
static void end_answers(struct notices_visit *v, const struct subs_result *res)
{
	for (size_t i = 0; !res->answered && i < v->nv.n_ops; i++)
		v->nv.ops[i].answer = SUBS_UNANSWERED;
}

static void end_skips(struct notices_visit *v, struct dispatch *d,
		      const struct subs_result *res)
{
	uint64_t gone = gateways_due(v->n->gateways), now = clock_mono_ms();
	unsigned again;

	if (!v->rq.full) { /* it does not list all: one that does follows soon */
		if (res->n_skips > 0)
			notices_due(v->n, d, FAIL_MIN_MS);
		return;
	}
	again = notify_skipped(v->n->notify, v->slug, res->skips, res->n_skips);
	if (again)
		notices_due(v->n, d, (uint64_t)again * 1000);
	/* a gateway that is leaving may be gone then, and its rows ours */
	if (res->n_skips > 0 && gone)
		notices_due(v->n, d, gone > now ? gone - now + 100 : 0);
}

static void end_looked(struct notices_visit *v, struct dispatch *d,
		       const struct subs_result *res)
{
	struct notices_board *b = d->notices;
	uint64_t now = uv_now(d->root->env->loop);
	struct log_about about = { .root = d->root->path, .board = v->slug };

	if (b->told)
		log_about(LOG_NOTICE, &about, "its subscriptions can be read again");
	b->told = false;
	b->failures = 0;
	end_skips(v, d, res);
	if (res->more) {
		notices_due(v->n, d, 0);
		return;
	}
	b->after_event = res->last_event;
	b->after_row = res->last_row;
	if (v->rq.full) {
		b->known = true;
		b->full_ms = now;
		if (v->rq.purge_before)
			b->purge_ms = now ? now : 1;
		if (res->purged)
			log_about(LOG_INFO, &about,
				  "%u subscriptions of tasks that have long been over are gone",
				  res->purged);
	} else {
		notices_due(v->n, d, FULL_EVERY_MS - (now - b->full_ms) % FULL_EVERY_MS);
	}
	if (res->held_until)
		notices_due(v->n, d,
			    res->held_until > v->now
				    ? (uint64_t)(res->held_until - v->now) * 1000 + 500
				    : 0);
}

static void end_failed(struct notices_visit *v, struct dispatch *d, const struct board_job *bj)
{
	struct notices_board *b = d->notices;
	struct log_about about = { .root = d->root->path, .board = v->slug };
	uint64_t ms = FAIL_MIN_MS;

	for (unsigned i = 0; i < b->failures && ms < FAIL_MAX_MS; i++)
		ms *= 2;
	b->failures++;
	if (!b->told && b->failures > 1) {
		log_about(LOG_WARNING, &about,
			  "its subscriptions cannot be served: %s; trying again",
			  bj->subs_error.text);
		b->told = true;
	}
	notices_due(v->n, d, ms < FAIL_MAX_MS ? ms : FAIL_MAX_MS);
}

void notices_end(struct dispatch *d, struct board_job *bj, bool submitted)
{
	struct notices_visit *v =
		bj->subs ? container_of(bj->subs, struct notices_visit, rq) : NULL;
	struct subs_result *res = &bj->subs_result;
	struct notices *n;
	struct notices_board *b = d->notices;
	bool looked;

	if (!v)
		return;
	bj->subs = NULL;
	n = v->n;
	n->visits--;
	if (n->state != NOTICES_CLOSING && b && b->generation == n->generation) {
		looked = res->looked && v->rq.look && v->rq.full && !res->more;
		end_claims(v);
		end_answers(v, res);
		if (!submitted || !bj->subs_begun) /* the next visit, then */
			b->look |= v->asked;
		else if (res->looked && v->rq.look)
			end_looked(v, d, res);
		else if (v->rq.look || !res->answered)
			end_failed(v, d, bj);
		b->last |= v->last;
		notify_visit_end(n->notify, v->slug, &v->nv, looked);
		b->ops = notify_has_ops(n->notify, v->slug);
		/* what a board in trouble owes is taken along when it is well again */
		if ((b->ops || b->look) && !b->failures && !b->last)
			notices_poke(n, FAIL_MIN_MS);
	}
	subs_result_deinit(res);
	visit_free(v);
	notices_release(n);
}
