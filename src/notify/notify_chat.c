/*
 * Chats: what waits for them, and the children that send it.
 *
 * A chat has one child at a time and gets its messages by the time of their events. The chat
 * that was served longest ago comes first, so that a backlog in one does not delay the others.
 * A child's place is free again when what came of it stands in the outbox: a kill repeats at
 * most as many messages as there may be children.
 *
 * A message that fails takes its whole item out of the chat: its cursor is set back, and it is
 * claimed again when its time has come. Until then the chat waits, so that the order holds
 * through a hiccup; but never for longer than a minute, so that one message that the chat will
 * not take does not stop all others.
 *
 * More than NOTIFY_STALE_MANY events that are no news any more become one message. They wait
 * for NOTIFY_STALE_MS before that, so that a start after a long pause, which visits board after
 * board, makes one digest and not one per board.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "notify.h"

#define CHAT_MARGIN_MS 2000 /* for the visit that claims again what failed */
#define CHAT_FORGET_MS (2 * NOTIFY_RETRY_MAX * 1000) /* an empty one, with its failures */

/* ---- chats --------------------------------------------------------------------------- */

char *notify_chat_name(const char *profile, const struct subs_key *key)
{
	char *name = NULL;

	return asprintf(&name, "%s\1%s\1%s\1%s", profile, key->platform, key->chat,
			key->thread) < 0
		       ? NULL
		       : name;
}

struct notify_chat *notify_chat_find(struct notify *n, const char *name)
{
	struct notify_chat *chat = NULL;

	HASH_FIND_STR(n->chats, name, chat);
	return chat;
}

static struct notify_chat *chat_get(struct notify *n, const struct notify_item *item)
{
	struct notify_chat *chat = NULL, *added = NULL;
	char *name = notify_chat_name(item->profile, &item->key);

	if (!name)
		return NULL;
	HASH_FIND_STR(n->chats, name, chat);
	if (chat) {
		free(name);
		return chat;
	}
	chat = calloc(1, sizeof(*chat));
	if (chat) {
		chat->name = name;
		HASH_ADD_KEYPTR(hh, n->chats, chat->name, strlen(chat->name), chat);
		HASH_FIND_STR(n->chats, name, added);
	}
	if (!added) {
		free(name);
		free(chat);
	}
	return added;
}

static void chat_free(struct notify *n, struct notify_chat *chat)
{
	HASH_DEL(n->chats, chat);
	for (size_t i = 0; i < chat->n_held; i++)
		free(chat->held[i]);
	free(chat->held);
	free(chat->name);
	free(chat);
}

static const struct notify_event *item_head(const struct notify_item *item)
{
	return &item->events[item->done];
}

/* How many of what an item has yet to send are no news any more: from its head on. */
static size_t item_stale(const struct notify_item *item, int64_t before)
{
	size_t k = item->done;

	while (k < item->n_events && item->events[k].at < before)
		k++;
	return k - item->done;
}

void notify_enqueue(struct notify *n, struct notify_item *item)
{
	struct notify_chat *chat = chat_get(n, item);

	if (!chat) {
		/* it stands in the outbox; without memory it waits for the next start */
		notify_log(n, LOG_ERR, item->board, item->key.task,
			   "out of memory: a notification waits for a restart");
		return;
	}
	item->ready_ms = notify_mono(n);
	if (item_stale(item, notify_wall(n) - NOTIFY_STALE_S))
		item->ready_ms += NOTIFY_STALE_MS;
	item->chat = chat;
	item->chat_next = chat->items;
	chat->items = item;
	/* what the chat waits for may be just this */
	if (item->sub->failures && chat->failures)
		chat->hold_ms = 0;
	notify_poke(n);
}

void notify_dequeue(struct notify *n, struct notify_item *item)
{
	struct notify_item **p;

	(void)n;
	if (!item->chat)
		return;
	for (p = &item->chat->items; *p != item; p = &(*p)->chat_next)
		;
	*p = item->chat_next;
	item->chat = NULL;
}

void notify_chat_hold(struct notify *n, struct notify_chat *chat, const char *board)
{
	char **more;

	for (size_t i = 0; i < chat->n_held; i++)
		if (strcmp(chat->held[i], board) == 0)
			return;
	more = reallocarray(chat->held, chat->n_held + 1, sizeof(*more));
	if (more)
		chat->held = more;
	if (more && (more[chat->n_held] = strdup(board)))
		chat->n_held++;
	else /* it is looked at when the hold is over */
		notify_log(n, LOG_ERR, board, NULL, "out of memory: a notification waits");
}

/* What was not claimed for it may be now. */
static void chat_held_visit(struct notify *n, struct notify_chat *chat)
{
	for (size_t i = 0; i < chat->n_held; i++) {
		n->calls.visit(n->calls.arg, chat->held[i], true);
		free(chat->held[i]);
	}
	chat->n_held = 0;
}

/* ---- what came of a message ---------------------------------------------------------- */

static void chat_worked(struct notify *n, struct notify_chat *chat, const struct notify_item *i)
{
	if (chat->failures)
		notify_log(n, LOG_NOTICE, NULL, NULL, "%s:%s takes notifications again",
			   i->key.platform, i->key.chat);
	chat->failures = 0;
	chat->hold_ms = 0;
	chat_held_visit(n, chat);
}

static void chat_failed(struct notify *n, struct notify_chat *chat, const struct notify_item *i,
			const char *reason)
{
	uint64_t s = NOTIFY_RETRY_S;

	if (chat->failures == 0)
		notify_log(n, LOG_NOTICE, i->board, i->key.task,
			   "%s:%s does not take notifications: %s; trying again",
			   i->key.platform, i->key.chat, reason);
	for (unsigned k = 0; k < chat->failures && s < NOTIFY_CHAT_MAX_S; k++)
		s *= 2;
	chat->failures++;
	s = s < NOTIFY_CHAT_MAX_S ? s : NOTIFY_CHAT_MAX_S;
	chat->hold_ms = notify_mono(n) + s * 1000 + CHAT_MARGIN_MS;
}

static void cover_delivered(struct notify *n, const struct notify_cover *c)
{
	struct notify_item *item = c->item;

	item->done += c->count;
	item->upto = item->done == item->n_events ? item->new : item->events[item->done - 1].id;
	notify_sub_delivered(n, item);
	if (item->done == item->n_events) {
		notify_dequeue(n, item);
		notify_move(n, item, NOTIFY_SENT);
	} else {
		notify_move(n, item, NOTIFY_QUEUED);
	}
	notify_progress(n, item);
}

static void cover_failed(struct notify *n, const struct notify_cover *c, bool counts,
			 bool hopeless, const char *reason)
{
	struct notify_item *item = c->item;

	notify_dequeue(n, item);
	notify_move(n, item, NOTIFY_FAILED);
	if (counts)
		notify_sub_failed(n, item, hopeless, reason);
	notify_progress(n, item);
}

static void send_free(struct notify_send *send)
{
	free(send->covers);
	free(send);
}

/* Its outcome is written: the place is free. */
static void send_recorded(struct notify *n, void *arg)
{
	struct notify_send *send = arg;

	send->chat->send = NULL;
	send_free(send);
	n->n_sends--;
	n->calls.changed(n->calls.arg);
	notify_poke(n);
}

static void send_unlink(struct notify_send *send)
{
	struct notify_send **p;

	for (p = &send->n->sends; *p != send; p = &(*p)->next)
		;
	*p = send->next;
}

static void send_over(struct notify_send *send, const struct notify_ending *e)
{
	struct notify *n = send->n;
	struct notify_chat *chat = send->chat;
	const struct notify_item *first = send->covers[0].item;
	bool ok = e->fate == NOTIFY_DELIVERED;
	bool counts = !(n->stopping && send->killed);

	if (ok) {
		n->sent++;
		n->digests += send->digest;
		chat_worked(n, chat, first);
	} else {
		n->failed++;
		(void)snprintf(n->error, sizeof(n->error), "%s", e->reason);
		n->error_at = notify_wall(n);
		if (e->fate == NOTIFY_RETRY && counts)
			chat_failed(n, chat, first, e->reason);
	}
	for (size_t i = 0; i < send->n_covers; i++) {
		if (ok)
			cover_delivered(n, &send->covers[i]);
		else
			cover_failed(n, &send->covers[i], counts, e->fate == NOTIFY_HOPELESS,
				     e->reason);
	}
	notify_store_then(n, send_recorded, send);
}

static void send_ended(void *arg, const struct notify_ending *e)
{
	struct notify_send *send = arg;
	struct notify *n = send->n;

	send->handle = NULL;
	send_unlink(send);
	if (n->closing) {
		send->chat->send = NULL;
		send_free(send);
		n->n_sends--;
		notify_poke(n);
		return;
	}
	send_over(send, e);
}

/* ---- starting one -------------------------------------------------------------------- */

/* The item whose turn it is in a chat: that of the oldest event. */
static struct notify_item *chat_head(const struct notify_chat *chat)
{
	struct notify_item *best = NULL;

	for (struct notify_item *i = chat->items; i; i = i->chat_next)
		if (!best || item_head(i)->at < item_head(best)->at ||
		    (item_head(i)->at == item_head(best)->at && i->seq < best->seq))
			best = i;
	return best;
}

/*
 * When its head may be sent. One that is no news any more waits for others like it, but only as
 * long as the first of them.
 */
static uint64_t chat_ready(const struct notify *n, const struct notify_chat *chat,
			   const struct notify_item *head)
{
	int64_t before = notify_wall(n) - NOTIFY_STALE_S;
	uint64_t ready = head->ready_ms;

	for (const struct notify_item *i = chat->items; i && item_stale(head, before);
	     i = i->chat_next)
		if (item_stale(i, before) && i->ready_ms < ready)
			ready = i->ready_ms;
	return ready;
}

/* A digest's events by time; each line knows its place in the send. */
struct digest_line {
	struct notify_line line;
	uint64_t seq;
};

static int digest_order(const void *a, const void *b)
{
	const struct digest_line *x = a, *y = b;

	if (x->line.at != y->line.at)
		return x->line.at < y->line.at ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

static int digest_text(struct notify *n, const struct notify_send *send, size_t events,
		       char **text)
{
	CLEANUP(freep) struct digest_line *sorted = calloc(events, sizeof(*sorted));
	CLEANUP(freep) struct notify_line *lines = calloc(events, sizeof(*lines));
	size_t k = 0;

	if (!sorted || !lines)
		return -ENOMEM;
	for (size_t i = 0; i < send->n_covers; i++) {
		const struct notify_cover *c = &send->covers[i];

		for (size_t j = 0; j < c->count; j++) {
			const struct notify_event *ev = item_head(c->item) + j;

			sorted[k++] = (struct digest_line){
				.line = { .kind = ev->kind,
					  .text = ev->text,
					  .at = ev->at,
					  .count = ev->count,
					  .last = j + 1 == c->count },
				.seq = c->item->seq,
			};
		}
	}
	qsort(sorted, k, sizeof(*sorted), digest_order);
	for (size_t i = 0; i < k; i++)
		lines[i] = sorted[i].line;
	return notify_text_digest(lines, k, notify_wall(n), text);
}

/* Cover what is stale in the chat, if it is much. Return: the events, 0 if it is not. */
static size_t send_cover_stale(struct notify *n, struct notify_send *send)
{
	int64_t before = notify_wall(n) - NOTIFY_STALE_S;
	size_t events = 0, items = 0;

	for (struct notify_item *i = send->chat->items; i; i = i->chat_next) {
		size_t stale = item_stale(i, before);

		for (size_t k = 0; k < stale; k++)
			events += i->events[i->done + k].count;
		items += stale > 0;
	}
	if (events <= NOTIFY_STALE_MANY)
		return 0;
	send->covers = reallocarray(NULL, items, sizeof(*send->covers));
	if (!send->covers)
		return 0;
	events = 0;
	for (struct notify_item *i = send->chat->items; i; i = i->chat_next) {
		size_t stale = item_stale(i, before);

		if (stale)
			send->covers[send->n_covers++] = (struct notify_cover){ i, stale };
		events += stale;
	}
	send->digest = true;
	return events;
}

/* Fill in what it covers, and the text. Return: 0 or -ENOMEM. */
static int send_cover(struct notify *n, struct notify_send *send, char **text)
{
	struct notify_item *head = chat_head(send->chat);
	size_t events = send_cover_stale(n, send);

	if (events)
		return digest_text(n, send, events, text);
	send->covers = malloc(sizeof(*send->covers));
	if (!send->covers)
		return -ENOMEM;
	send->covers[0] = (struct notify_cover){ head, 1 };
	send->n_covers = 1;
	*text = strdup(item_head(head)->text);
	return *text ? 0 : -ENOMEM;
}

/* The same; nothing that came from a board acts any more. */
static int send_prepare(struct notify *n, struct notify_send *send, char **text)
{
	CLEANUP(freep) char *raw = NULL;
	int r = send_cover(n, send, &raw);

	return r < 0 ? r : notify_text_disarm(raw, text);
}

static int send_start(struct notify *n, struct notify_chat *chat)
{
	struct notify_send *send = calloc(1, sizeof(*send));
	CLEANUP(freep) char *text = NULL;
	const struct notify_item *item;
	int r = -ENOMEM;

	if (!send)
		return r;
	*send = (struct notify_send){ .n = n, .chat = chat };
	r = send_prepare(n, send, &text);
	if (r < 0) {
		send_free(send);
		return r;
	}
	for (size_t i = 0; i < send->n_covers; i++)
		notify_move(n, send->covers[i].item, NOTIFY_SENDING);
	item = send->covers[0].item;
	chat->send = send;
	chat->served_ms = notify_mono(n);
	send->deadline_ms = chat->served_ms + n->set.timeout_ms;
	n->n_sends++;
	r = n->sender.start(n->sender.arg,
			    &(struct notify_message){ .profile = item->profile,
						      .platform = item->key.platform,
						      .chat = item->key.chat,
						      .thread = item->key.thread,
						      .text = text },
			    send_ended, send, &send->handle);
	if (r < 0) {
		struct notify_ending e = { .fate = NOTIFY_RETRY };

		(void)snprintf(e.reason, sizeof(e.reason), "cannot start hermes: %s",
			       strerror(-r));
		send_over(send, &e);
		return 0;
	}
	send->next = n->sends;
	n->sends = send;
	n->calls.changed(n->calls.arg);
	return 0;
}

/* ---- turns --------------------------------------------------------------------------- */

/*
 * A gateway that has come back delivers what is its own, and sooner than a chat that does not
 * take it from here: its cursors are set back. Return: look again then, mono ms, or 0.
 */
static uint64_t chats_give_back(struct notify *n)
{
	uint64_t now = notify_mono(n), due = 0;
	struct notify_item *next;

	if (gateways_mode(n->gateways) != NOTIFY_AUTO)
		return 0;
	for (struct notify_item *i = n->items; i; i = next) {
		next = i->next;
		if (i->state != NOTIFY_QUEUED || !i->owned || !i->chat || i->chat->send ||
		    i->chat->hold_ms <= now)
			continue;
		if (gateways_state(n->gateways, i->profile) != GATEWAY_RUNNING) {
			due = now + GATEWAY_PROBE_MS;
			continue;
		}
		notify_dequeue(n, i);
		notify_move(n, i, NOTIFY_FAILED);
		notify_progress(n, i);
	}
	return due;
}

/* The chat to be served next, or NULL; @due: when one may be. */
static struct notify_chat *chats_choose(struct notify *n, uint64_t *due)
{
	uint64_t now = notify_mono(n);
	struct notify_chat *chat, *next, *best = NULL;

	HASH_ITER(hh, n->chats, chat, next)
	{
		uint64_t ready;

		if (chat->send)
			continue;
		if (!chat->items) {
			if (!chat->failures || now >= chat->hold_ms + CHAT_FORGET_MS)
				chat_free(n, chat);
			continue;
		}
		if (chat->hold_ms > now) {
			*due = notify_earlier(*due, chat->hold_ms);
			continue;
		}
		ready = chat_ready(n, chat, chat_head(chat));
		if (ready > now)
			*due = notify_earlier(*due, ready);
		else if (!best || chat->served_ms < best->served_ms)
			best = chat;
	}
	return best;
}

static uint64_t sends_overdue(struct notify *n)
{
	uint64_t now = notify_mono(n), due = 0;
	char reason[64];

	for (struct notify_send *s = n->sends; s; s = s->next) {
		if (s->killed)
			continue;
		if (now < s->deadline_ms) {
			due = notify_earlier(due, s->deadline_ms);
			continue;
		}
		(void)snprintf(reason, sizeof(reason), "hermes send: no end within %llu s",
			       (unsigned long long)(n->set.timeout_ms + 999) / 1000);
		s->killed = true;
		n->sender.kill(n->sender.arg, s->handle, reason);
	}
	return due;
}

void notify_sends_kill(struct notify *n, const char *reason)
{
	for (struct notify_send *s = n->sends; s; s = s->next) {
		if (!s->killed)
			n->sender.kill(n->sender.arg, s->handle, reason);
		s->killed = true;
	}
}

uint64_t notify_chats_turn(struct notify *n)
{
	uint64_t due = notify_earlier(sends_overdue(n), chats_give_back(n));

	while (n->n_sends < n->set.concurrency && !n->stopping && !n->write_failures) {
		struct notify_chat *chat = chats_choose(n, &due);

		if (!chat)
			break;
		if (send_start(n, chat) < 0) { /* no memory: a little later */
			chat->hold_ms = notify_mono(n) + NOTIFY_RETRY_S * 1000;
			due = notify_earlier(due, chat->hold_ms);
		}
	}
	return due;
}

void notify_chats_deinit(struct notify *n)
{
	struct notify_chat *chat, *next;

	HASH_ITER(hh, n->chats, chat, next)
	{
		if (chat->send) /* ended, but its outcome was never written */
			send_free(chat->send);
		chat_free(n, chat);
	}
}
