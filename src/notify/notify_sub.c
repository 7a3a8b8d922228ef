/*
 * Subscriptions in trouble, and those whose repeats are folded: what has to be known of them
 * beyond their row, here and in the outbox.
 *
 * A failure is followed by a try after 5 s, 10 s … 1 h. After a day of failures, or at once
 * when trying again is hopeless, the subscription is parked: its cursor stays before what it
 * has not got, and it is claimed again when somebody asks for it or its row changes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "notice/kind.h"
#include "notify.h"
#include "util/log.h"

#define PARK_LOGS_PER_MIN 5

static char *sub_name(const char *board, const struct subs_key *k)
{
	char *name = NULL;

	if (asprintf(&name, "%s\1%s\1%s\1%s\1%s", board, k->task, k->platform, k->chat,
		     k->thread) < 0)
		return NULL;
	return name;
}

static void sub_free(struct notify_sub *sub)
{
	free(sub->name);
	free(sub->board);
	free(sub->profile);
	subs_key_deinit(&sub->key);
	free(sub);
}

/* Find it, or make one that nothing is known of. NULL out of memory. */
static struct notify_sub *sub_get(struct notify *n, const char *board,
				  const struct subs_key *key, const char *profile)
{
	char *name = sub_name(board, key);
	struct notify_sub *sub = NULL, *added = NULL;

	if (!name)
		return NULL;
	HASH_FIND_STR(n->subs, name, sub);
	if (sub) {
		free(name);
		return sub;
	}
	sub = calloc(1, sizeof(*sub));
	if (!sub) {
		free(name);
		return NULL;
	}
	sub->name = name;
	sub->board = strdup(board);
	sub->profile = strdup(profile);
	if (sub->board && sub->profile && subs_key_copy(&sub->key, key) == 0) {
		HASH_ADD_KEYPTR(hh, n->subs, sub->name, strlen(sub->name), sub);
		HASH_FIND_STR(n->subs, name, added);
	}
	if (!added) {
		sub_free(sub);
		return NULL;
	}
	return sub;
}

struct notify_sub *notify_sub_find(struct notify *n, const char *board,
				   const struct subs_key *key)
{
	CLEANUP(freep) char *name = sub_name(board, key);
	struct notify_sub *sub = NULL;

	if (name)
		HASH_FIND_STR(n->subs, name, sub);
	return sub;
}

struct notify_sub *notify_sub_get(struct notify *n, const struct notify_item *item)
{
	return sub_get(n, item->board, &item->key, item->profile);
}

/* ---- the outbox ---------------------------------------------------------------------- */

static json_t *sub_json(const struct notify_sub *s)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:I, s:I, s:s, "
			 "s:s, s:I}",
			 "board", s->board, "task", s->key.task, "platform", s->key.platform,
			 "chat", s->key.chat, "thread", s->key.thread, "profile", s->profile,
			 "failures", (int)s->failures, "since", (json_int_t)s->since,
			 "retry_at", (json_int_t)s->retry_at, "parked", s->parked, "cursor",
			 (json_int_t)s->cursor, "row", (json_int_t)s->row, "reason", s->reason,
			 "fold_kind", s->fold_kind ? s->fold_kind : "", "fold_at",
			 (json_int_t)s->fold_at);
}

static void sub_store(struct notify *n, struct notify_sub *sub)
{
	bool known = sub->failures || sub->parked || sub->fold_kind;
	json_t *json;

	n->subs_next_ms = 0;
	if (!known && !sub->stored)
		return;
	if (!sub->id)
		sub->id = outbox_next(n->outbox);
	json = known ? sub_json(sub) : NULL;
	if (known && !json) {
		notify_log(n, LOG_ERR, sub->board, sub->key.task,
			   "out of memory: what failed is not recorded");
		return;
	}
	notify_store(n, 's', sub->id, json, known);
	sub->stored = known;
}

int notify_sub_parse(struct notify *n, uint64_t id, const json_t *json)
{
	const char *board, *profile, *reason, *fold;
	struct subs_key key;
	json_int_t since, retry_at, cursor, row, fold_at;
	int failures, parked;
	struct notify_sub *sub;

	/* the casts: nothing is changed by unpacking */
	if (json_unpack((json_t *)json,
			"{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:I, s:I, s:s, "
			"s:s, s:I}",
			"board", &board, "task", (const char **)&key.task, "platform",
			(const char **)&key.platform, "chat", (const char **)&key.chat,
			"thread", (const char **)&key.thread, "profile", &profile, "failures",
			&failures, "since", &since, "retry_at", &retry_at, "parked", &parked,
			"cursor", &cursor, "row", &row, "reason", &reason, "fold_kind", &fold,
			"fold_at", &fold_at) < 0)
		return -EBADMSG;
	sub = sub_get(n, board, &key, profile);
	if (!sub)
		return -ENOMEM;
	if (sub->stored) /* two records for one subscription: the later one holds */
		notify_store(n, 's', sub->id, NULL, false);
	sub->id = id;
	sub->stored = true;
	sub->failures = failures > 0 ? (unsigned)failures : 0;
	sub->since = since;
	sub->retry_at = retry_at;
	sub->parked = parked;
	sub->cursor = cursor;
	sub->row = (uint64_t)row;
	sub->fold_kind = notice_kind_sent(fold);
	sub->fold_at = fold_at;
	(void)snprintf(sub->reason, sizeof(sub->reason), "%s", reason);
	error_tidy(sub->reason, sizeof(sub->reason));
	return 0;
}

/* ---- failing and parking ------------------------------------------------------------- */

static void sub_place(const struct notify_sub *s, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s:%s%s%s (profile %s)", s->key.platform, s->key.chat,
		       s->key.thread[0] ? ":" : "", s->key.thread, s->profile);
}

/* One WARNING each, but not a flood when a whole adapter is not configured. */
static void sub_park_log(struct notify *n, const struct notify_sub *sub)
{
	char place[256];

	if (n->park_logged >= PARK_LOGS_PER_MIN) {
		n->park_unlogged++;
		return;
	}
	if (n->park_logged++ == 0)
		n->park_minute_ms = notify_mono(n) + 60000;
	sub_place(sub, place, sizeof(place));
	notify_log_id(
		n, LOG_ID_PARKED, LOG_WARNING, sub->board, sub->key.task,
		"notifications to %s are parked: %s; nothing is lost: put it right and run "
		"kanbanctl notify retry",
		place, sub->reason);
}

static int64_t sub_back_off(unsigned failures)
{
	int64_t s = NOTIFY_RETRY_S;

	while (failures-- > 1 && s < NOTIFY_RETRY_MAX)
		s *= 2;
	return s < NOTIFY_RETRY_MAX ? s : NOTIFY_RETRY_MAX;
}

void notify_sub_failed(struct notify *n, struct notify_item *item, bool hopeless,
		       const char *reason)
{
	struct notify_sub *sub = item->sub;
	int64_t now = notify_wall(n);

	if (sub->failures == 0 || sub->since > now)
		sub->since = now;
	sub->failures++;
	(void)snprintf(sub->reason, sizeof(sub->reason), "%s", reason);
	error_tidy(sub->reason, sizeof(sub->reason));
	sub->due_told = false;
	sub->cursor = item->upto;
	sub->row = item->row;
	if (hopeless || now - sub->since >= NOTIFY_GIVE_UP_S) {
		sub->parked = true;
		sub->retry_at = 0;
		sub_park_log(n, sub);
	} else {
		sub->retry_at = now + sub_back_off(sub->failures);
	}
	sub_store(n, sub);
}

void notify_sub_delivered(struct notify *n, struct notify_item *item)
{
	struct notify_sub *sub = item->sub;
	const struct notify_event *last = &item->events[item->done - 1];

	sub->failures = 0;
	sub->parked = false;
	sub->reason[0] = '\0';
	sub->fold_kind = notice_kind(last->kind)->flags & NOTICE_FOLDS ? last->kind : NULL;
	sub->fold_at = notify_wall(n);
	sub_store(n, sub);
}

void notify_sub_unpark(struct notify *n, struct notify_sub *sub, const char *why)
{
	if (!sub->parked)
		return;
	notify_log(n, LOG_INFO, sub->board, sub->key.task,
		   "notifications to %s:%s are no longer parked: %s", sub->key.platform,
		   sub->key.chat, why);
	sub->parked = false;
	sub->failures = 0;
	sub->retry_at = 0;
	sub_store(n, sub);
}

void notify_sub_release(struct notify *n, struct notify_sub *sub)
{
	if (sub->items || sub->failures || sub->parked)
		return;
	if (sub->fold_kind && notify_wall(n) < sub->fold_at + NOTIFY_FOLD_S) {
		n->subs_next_ms = 0;
		return;
	}
	sub->fold_kind = NULL;
	sub_store(n, sub);
	HASH_DEL(n->subs, sub);
	sub_free(sub);
}

/* ---- retries ------------------------------------------------------------------------- */

unsigned notify_retry(struct notify *n, const char *board, const char *task)
{
	struct notify_sub *sub, *next;
	unsigned count = 0;

	HASH_ITER(hh, n->subs, sub, next)
	{
		if ((!sub->failures && !sub->parked) ||
		    (board && strcmp(board, sub->board) != 0) ||
		    (task && strcmp(task, sub->key.task) != 0))
			continue;
		count++;
		sub->parked = false;
		/* what is known of its failures goes only when it was delivered */
		sub->failures = 1;
		sub->since = sub->retry_at = notify_wall(n);
		sub->due_told = false;
		sub_store(n, sub);
	}
	for (struct notify_chat *c = n->chats; c && count; c = c->hh.next)
		c->hold_ms = 0;
	n->calls.changed(n->calls.arg);
	notify_poke(n);
	return count;
}

void notify_subs_deinit(struct notify *n)
{
	struct notify_sub *sub, *next;

	HASH_ITER(hh, n->subs, sub, next)
	{
		HASH_DEL(n->subs, sub);
		sub_free(sub);
	}
}
