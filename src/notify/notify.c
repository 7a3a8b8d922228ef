/*
 * The notifier of one root.
 *
 *              +------------------------------------------------+
 *              |                                                v
 *   UNSURE --> QUEUED <--> SENDING --> SENT ----------------> CLOSED
 *     |         |  ^          |                                 ^
 *     |         |  |          v                                 |
 *     |         |  |        FAILED --(cursor set back)----------+
 *     |         |  |          |                                 |
 *     |         |  +-- KEPT <-+ (somebody else moved it)        |
 *     |         +---------> FAILED (stopping)                   |
 *     +------------------(the claim never was)------------------+
 *
 * Happy path: a visit writes an item to the outbox (UNSURE), commits the claim, marks it; the
 * item waits in its chat (QUEUED), a child sends its messages one by one (SENDING), each
 * outcome is written before the next begins; the next visit ends the subscription if its task
 * is over; the item leaves the outbox.
 *
 * Failure modes: a failure sets the cursor back and is tried again later, see notify_sub.c.
 * What stands in the outbox after a kill is taken up where it was: UNSURE items ask the board
 * whether the claim happened, QUEUED and SENDING ones are sent (again), the others go on being
 * settled. An outbox that cannot be written stops all sending until it can.
 *
 * Order of effects, on which "none lost" rests: outbox before cursor; outcome in the outbox
 * before the cursor is set back or the row deleted; that before the item leaves the outbox; and
 * a subscription is not claimed again before its item has left.
 *
 * Shutdown: see notify_stop(). Memory is released in the last close callback.
 */
#include "notify/notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "notify.h"

static void notify_timer(uv_timer_t *t)
{
	(void)notify_turn(t->data); /* it has armed the timer */
}

/* ---- taking up the outbox ------------------------------------------------------------ */

struct notify_load {
	struct notify *n;
	unsigned bad;
	struct notify_batch drop; /* entries that say nothing */
};

static uint64_t load_number(const char *key)
{
	return strtoull(key + 1, NULL, 10);
}

static int load_first(void *arg, const char *key, const json_t *value)
{
	struct notify_load *l = arg;
	struct notify_item *item = NULL;
	int r = -EBADMSG;

	if (key[0] == 'p')
		return 0;
	if (key[0] == 's')
		r = notify_sub_parse(l->n, load_number(key), value);
	else if (key[0] == 'i')
		r = notify_item_parse(&item, load_number(key), value);
	if (item) {
		item->sub = notify_sub_get(l->n, item);
		if (!item->sub) {
			notify_item_free(item);
			return -ENOMEM;
		}
		item->sub->items++;
		item->recorded = true;
		notify_item_link(l->n, item);
	}
	if (r == -EBADMSG) {
		l->bad++;
		notify_store(l->n, key[0], load_number(key), NULL, false);
	}
	return r == -ENOMEM ? r : 0;
}

/* How far an item was. */
static int load_second(void *arg, const char *key, const json_t *value)
{
	struct notify_load *l = arg;
	struct notify_item *item = l->n->items;
	const char *state = json_string_value(json_object_get(value, "state"));
	const json_t *upto = json_object_get(value, "upto");

	if (key[0] != 'p')
		return 0;
	while (item && item->seq != load_number(key))
		item = item->next;
	if (!item || !state) {
		notify_store(l->n, 'p', load_number(key), NULL, false);
		return 0;
	}
	if (upto)
		item->upto = json_integer_value(upto);
	while (item->done < item->n_events && item->events[item->done].id <= item->upto)
		item->done++;
	(void)notify_item_state(state, &item->state); /* one we do not know leaves it UNSURE */
	if (item->done == item->n_events)
		item->state = NOTIFY_SENT;
	return 0;
}

static int notify_load(struct notify *n)
{
	struct notify_load l = { .n = n };
	int r = outbox_each(n->outbox, load_first, &l);

	if (r == 0)
		r = outbox_each(n->outbox, load_second, &l);
	if (r < 0)
		return r;
	if (l.bad)
		notify_log(n, LOG_WARNING, NULL, NULL,
			   "%u entries of the outbox cannot be understood and are dropped",
			   l.bad);
	for (struct notify_item *i = n->items; i; i = i->next) {
		/* nothing says when to try it again: now */
		if (i->state == NOTIFY_KEPT && !i->sub->failures && !i->sub->parked)
			notify_move(n, i, NOTIFY_QUEUED);
		if (i->state == NOTIFY_QUEUED)
			notify_enqueue(n, i);
	}
	return 0;
}

/* ---- turns --------------------------------------------------------------------------- */

/* What was not sent goes back; done when all of it is written. */
static void stop_turn(struct notify *n)
{
	if (!n->stopping || n->stop_told || n->n_sends > 0)
		return;
	for (struct notify_item *i = n->items; i; i = i->next)
		if (i->state == NOTIFY_QUEUED && i->chat) {
			notify_dequeue(n, i);
			notify_move(n, i, NOTIFY_FAILED);
			notify_progress(n, i);
		}
	if (!notify_store_idle(n) && !n->write_failures)
		return;
	n->stop_told = true;
	n->stopped(n->stopped_arg);
}

static void notify_timer_closed(uv_handle_t *h)
{
	struct notify *n = h->data;
	struct notify_item *next;

	for (struct notify_item *i = n->items; i; i = next) {
		next = i->next;
		notify_item_free(i);
	}
	notify_chats_deinit(n);
	notify_subs_deinit(n);
	notify_skips_deinit(n);
	notify_store_deinit(n);
	n->closed_fn(n->closed_arg);
	free(n);
}

static void close_turn(struct notify *n)
{
	if (n->closed || n->sends || n->write_runs)
		return;
	n->closed = true;
	uv_close((uv_handle_t *)&n->timer, notify_timer_closed);
}

static void turn_arm(struct notify *n, uint64_t due)
{
	uint64_t now = notify_mono(n);

	if (n->turn_again)
		due = now;
	n->turn_again = false;
	if (!due || (!n->timer_real && due > now))
		IGNORE(uv_timer_stop(&n->timer)); /* always 0 */
	else
		IGNORE(uv_timer_start(&n->timer, notify_timer, due > now ? due - now : 0,
				      0)); /* never fails with a callback */
}

uint64_t notify_turn(struct notify *n)
{
	uint64_t due = 0;

	if (n->closing) {
		close_turn(n);
		return 0;
	}
	n->turning = true;
	if (n->stopping && n->sends) {
		if (notify_mono(n) >= n->stop_kill_ms)
			notify_sends_kill(n, "kanband was stopped");
		else
			due = n->stop_kill_ms;
	}
	due = notify_earlier(due, notify_subs_turn(n));
	due = notify_earlier(due, notify_chats_turn(n));
	stop_turn(n);
	due = notify_earlier(due, notify_store_run(n));
	n->turning = false;
	turn_arm(n, due);
	return due;
}

/* ---- life ---------------------------------------------------------------------------- */

int notify_new(struct notify **out, uv_loop_t *loop, struct jobs *jobs, struct outbox *outbox,
	       struct gateways *gateways, const struct notify_settings *settings,
	       const struct notify_sender *sender, const struct notify_calls *calls,
	       const struct notify_clock *clock)
{
	struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->loop = loop;
	n->jobs = jobs;
	n->outbox = outbox;
	n->gateways = gateways;
	n->set = *settings;
	n->sender = *sender;
	n->calls = *calls;
	if (clock)
		n->clock = *clock;
	n->timer_real = !n->clock.mono_ms;
	r = uv_timer_init(loop, &n->timer);
	if (r < 0) {
		free(n);
		return r;
	}
	n->timer.data = n;
	n->on_timer = notify_timer;
	n->turning = true; /* nothing happens before this returns */
	r = notify_load(n);
	n->turning = false;
	if (r < 0) {
		/* only memory can do that: a leak of the timer's loop slot would be worse than
		 * starting without what was not loaded */
		notify_log(n, LOG_ERR, NULL, NULL,
			   "out of memory: part of the outbox waits for a restart");
	}
	notify_poke(n);
	*out = n;
	return 0;
}

void notify_set(struct notify *n, const struct notify_settings *settings)
{
	n->set = *settings;
	notify_poke(n);
}

void notify_stop(struct notify *n, void (*done)(void *arg), void *arg)
{
	n->stopping = true;
	n->stopped = done;
	n->stopped_arg = arg;
	n->stop_kill_ms = notify_mono(n) + NOTIFY_STOP_MS;
	notify_poke(n);
}

void notify_close(struct notify *n, void (*done)(void *arg), void *arg)
{
	n->closing = true;
	n->closed_fn = done;
	n->closed_arg = arg;
	notify_sends_kill(n, "kanband gave up the root");
	notify_poke(n);
}

bool notify_settled(const struct notify *n)
{
	if (n->n_sends || (!notify_store_idle(n) && !n->write_failures))
		return false;
	for (const struct notify_item *i = n->items; i; i = i->next)
		if (i->asked || i->state == NOTIFY_CLOSED)
			return false;
	return true;
}

void notify_get_status(const struct notify *n, struct notify_status *st)
{
	*st = (struct notify_status){
		.sending = n->n_sends,
		.sent = n->sent,
		.failed = n->failed,
		.digests = n->digests,
		.error = n->error,
		.error_at = n->error_at,
		.unwritten = n->write_failures > 0,
	};
	for (const struct notify_item *i = n->items; i; i = i->next) {
		if (i->state == NOTIFY_QUEUED)
			st->queued += (unsigned)(i->n_events - i->done);
		else if (i->state != NOTIFY_SENDING && i->state != NOTIFY_KEPT)
			st->settling++;
	}
	for (const struct notify_sub *s = n->subs; s; s = s->hh.next) {
		st->parked += s->parked;
		st->retrying += !s->parked && s->failures > 0;
	}
	for (const struct notify_skipped_one *k = n->skips; k; k = k->next)
		st->unserved += k->told ? k->count : 0;
}

void notify_each_trouble(const struct notify *n,
			 void (*fn)(void *arg, const struct notify_trouble *t), void *arg)
{
	for (const struct notify_sub *s = n->subs; s; s = s->hh.next)
		if (s->parked || s->failures)
			fn(arg, &(struct notify_trouble){ .board = s->board,
							  .key = &s->key,
							  .profile = s->profile,
							  .reason = s->reason,
							  .parked = s->parked,
							  .failures = s->failures,
							  .since = s->since,
							  .retry_at = s->retry_at });
}
