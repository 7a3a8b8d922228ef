#include "notify/item.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "notify/gateway.h"

void notify_key_deinit(struct notify_key *key)
{
	free(key->task);
	free(key->platform);
	free(key->chat);
	free(key->thread);
	*key = (struct notify_key){ 0 };
}

int notify_key_copy(struct notify_key *to, const char *task, const char *platform,
		    const char *chat, const char *thread)
{
	*to = (struct notify_key){ .task = strdup(task),
				   .platform = strdup(platform),
				   .chat = strdup(chat),
				   .thread = strdup(thread) };
	if (to->task && to->platform && to->chat && to->thread)
		return 0;
	notify_key_deinit(to);
	return -ENOMEM;
}

/* Whose adapters deliver it: canonical where it is a profile's name, else as it stands. */
static char *item_profile(const char *profile)
{
	char name[GATEWAY_NAME_SIZE];

	if (!gateway_name(profile, name))
		return strdup(profile);
	return strdup(name[0] ? name : "default");
}

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
	item->profile = item_profile(profile);
	if (!item->board || !item->profile ||
	    notify_key_copy(&item->key, about->task, platform, chat, thread) < 0)
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
	notify_key_deinit(&item->key);
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
	const char *known = notify_text_kind(kind);
	CLEANUP(freep) char *text = NULL;

	if (!known) {
		item->fold_ended |= strcmp(kind, "unblocked") == 0;
		return 0;
	}
	if (notify_text_event(about, known, payload, &text) < 0 || !text)
		return -ENOMEM;
	if (last && last->kind == known && !item->fold_ended && notify_text_folds(known) &&
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

/* ---- the outbox ----------------------------------------------------------------------------
 */

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
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "board",
			 item->board, "task", item->key.task, "platform", item->key.platform,
			 "chat", item->key.chat, "thread", item->key.thread, "profile",
			 item->profile, "old", (json_int_t)item->old, "new",
			 (json_int_t)item->new, "row", (json_int_t)item->row, "events", events);
}

static int item_parse_event(struct notify_item *item, json_t *one)
{
	const char *kind = NULL, *text = NULL;
	json_int_t id, at, since;
	int count;
	struct notify_event *ev;

	if (json_unpack(one, "[I, I, I, i, s, s]", &id, &at, &since, &count, &kind, &text) < 0)
		return -EBADMSG;
	kind = notify_text_kind(kind);
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
	size_t i;
	int r;

	/* the cast: nothing is changed by unpacking */
	if (json_unpack((json_t *)json, "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}",
			"board", &board, "task", &task, "platform", &platform, "chat", &chat,
			"thread", &thread, "profile", &profile, "old", &old, "new", &new, "row",
			&row, "events", &events) < 0)
		return -EBADMSG;
	r = notify_item_new(&item, &(struct notify_about){ .board = board, .task = task },
			    platform, chat, thread, profile, old, new, (uint64_t)row);
	if (r < 0)
		return r;
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
