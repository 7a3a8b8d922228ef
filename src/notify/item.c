/*
 * A claim of one subscription with the messages it covers: made inside the claim, written to
 * the outbox as JSON, and read back after a restart.
 */
#include "notify/item.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "notice/kind.h"
#include "notify/gateway.h"
#include "notify/notify_profile.h"
#include "util/text.h"

int notify_item_new(struct notify_item **out, const struct notify_about *about,
		    const char *platform, const char *chat, const char *thread,
		    const char *profile, int64_t old, int64_t new, uint64_t row)
{
	CLEANUP(notify_item_freep) struct notify_item *item = calloc(1, sizeof(*item));

	if (!item)
		return -ENOMEM;
	item->old = item->upto = old;
	item->new = new;
	item->row = row;
	item->board = strdup(about->board);
	item->profile = notify_profile(profile);
	item->owned = !text_is_blank(profile);
	if (!item->board || !item->profile ||
	    subs_key_copy(&item->key,
			  &(struct subs_key){ about->task, platform, chat, thread }) < 0)
		return -ENOMEM;
	*out = STEAL(item);
	return 0;
}

struct notify_item *notify_item_free(struct notify_item *item)
{
	if (!item)
		return NULL;
	for (size_t i = 0; i < item->n_events; i++)
		free(item->events[i].text);
	free(item->events);
	subs_key_deinit(&item->key);
	free(item->profile);
	free(item->board);
	free(item);
	return NULL;
}

static int item_room(struct notify_item *item)
{
	size_t room = item->events_room ? item->events_room * 2 : 4;
	struct notify_event *more;

	if (item->n_events < item->events_room)
		return 0;
	more = reallocarray(item->events, room, sizeof(*more));
	if (!more)
		return -ENOMEM;
	item->events = more;
	item->events_room = room;
	return 0;
}

int notify_item_add(struct notify_item *item, const struct notify_about *about, int64_t id,
		    int64_t at, const char *kind, const char *payload)
{
	struct notify_event *last = item->n_events ? &item->events[item->n_events - 1] : NULL;
	const char *known = notice_kind_sent(kind);
	const struct notice_kind *row = notice_kind(kind);
	CLEANUP(freep) char *text = NULL;

	if (!known) {
		item->fold_ended |= row && row->flags & NOTICE_ENDS;
		return 0;
	}
	if (notify_text_event(about, known, payload, &text) < 0 || !text)
		return -ENOMEM;
	if (last && last->kind == known && !item->fold_ended && row->flags & NOTICE_FOLDS &&
	    at - last->since <= NOTIFY_FOLD_S) {
		last->id = id;
		last->at = at;
		last->count++;
		free(last->text);
		last->text = STEAL(text);
		return 0;
	}
	if (item_room(item) < 0)
		return -ENOMEM;
	item->fold_ended = false;
	item->events[item->n_events++] = (struct notify_event){
		.id = id, .at = at, .since = at, .count = 1, .kind = known, .text = STEAL(text)
	};
	return 0;
}

int notify_item_finish(struct notify_item *item)
{
	for (size_t i = 0; i < item->n_events; i++) {
		struct notify_event *ev = &item->events[i];

		if (notify_text_fold(&ev->text, ev->count, ev->at - ev->since) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* ---- the outbox ---------------------------------------------------------------------- */

json_t *notify_item_json(const struct notify_item *item)
{
	json_t *events = json_array();

	for (size_t i = 0; events && i < item->n_events; i++) {
		const struct notify_event *ev = &item->events[i];
		json_t *one =
			json_pack("[I, I, I, i, s, s]", (json_int_t)ev->id, (json_int_t)ev->at,
				  (json_int_t)ev->since, (int)ev->count, ev->kind, ev->text);

		if (json_array_append_new(events, one) < 0) {
			json_decref(events);
			events = NULL;
		}
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:o}", "board",
			 item->board, "task", item->key.task, "platform", item->key.platform,
			 "chat", item->key.chat, "thread", item->key.thread, "profile",
			 item->profile, "owned", item->owned, "old", (json_int_t)item->old,
			 "new", (json_int_t)item->new, "row", (json_int_t)item->row, "events",
			 events);
}

static int item_parse_event(struct notify_item *item, json_t *one)
{
	const char *kind = NULL, *text = NULL;
	json_int_t id, at, since;
	int count;
	struct notify_event *ev;

	if (json_unpack(one, "[I, I, I, i, s, s]", &id, &at, &since, &count, &kind, &text) < 0)
		return -EBADMSG;
	kind = notice_kind_sent(kind);
	if (!kind || count < 1)
		return -EBADMSG;
	if (item_room(item) < 0)
		return -ENOMEM;
	ev = &item->events[item->n_events];
	*ev = (struct notify_event){ .id = id,
				     .at = at,
				     .since = since,
				     .count = (unsigned)count,
				     .kind = kind,
				     .text = strdup(text) };
	if (!ev->text)
		return -ENOMEM;
	item->n_events++;
	return 0;
}

int notify_item_parse(struct notify_item **out, uint64_t seq, const json_t *json)
{
	const char *board, *task, *platform, *chat, *thread, *profile;
	CLEANUP(notify_item_freep) struct notify_item *item = NULL;
	json_int_t old, new, row;
	json_t *events, *one;
	int r, owned = 0;
	size_t i;

	/* the cast: nothing is changed by unpacking */
	if (json_unpack((json_t *)json,
			"{s:s, s:s, s:s, s:s, s:s, s:s, s?b, s:I, s:I, s:I, s:o}", "board",
			&board, "task", &task, "platform", &platform, "chat", &chat, "thread",
			&thread, "profile", &profile, "owned", &owned, "old", &old, "new", &new,
			"row", &row, "events", &events) < 0)
		return -EBADMSG;
	r = notify_item_new(&item, &(struct notify_about){ .board = board, .task = task },
			    platform, chat, thread, profile, old, new, (uint64_t)row);
	if (r < 0)
		return r;
	item->owned = owned;
	json_array_foreach(events, i, one)
	{
		r = item_parse_event(item, one);
		if (r < 0)
			return r;
	}
	if (item->n_events == 0)
		return -EBADMSG;
	item->seq = seq;
	*out = STEAL(item);
	return 0;
}
