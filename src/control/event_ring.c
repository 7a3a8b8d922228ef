/* What happened lately, for whoever asks or listens. */
#include "control/event_ring.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"
#include "util/json.h"

static const struct {
	const char *id, *kind;
} event_kinds[] = {
	{ LOG_ID_LEASE_OWNER, "lease-owner" },
	{ LOG_ID_LEASE_STANDBY, "lease-standby" },
	{ LOG_ID_LEASE_LOST, "lease-lost" },
	{ LOG_ID_BOARD_BAD, "board-bad" },
	{ LOG_ID_BOARD_WELL, "board-well" },
	{ LOG_ID_SPAWNED, "spawned" },
	{ LOG_ID_ADOPTED, "adopted" },
	{ LOG_ID_SPAWN_FAILED, "spawn-failed" },
	{ LOG_ID_WORKER_ENDED, "worker-ended" },
	{ LOG_ID_GAVE_UP, "gave-up" },
	{ LOG_ID_RECLAIMED, "reclaimed" },
	{ LOG_ID_STUCK_READY, "stuck-ready" },
	{ LOG_ID_CONFIG, "config" },
	{ LOG_ID_REPAIRED, "repaired" },
	{ LOG_ID_OVERDUE, "overdue" },
	{ LOG_ID_PARKED, "parked" },
	{ LOG_ID_UNSERVED, "unserved" },
	{ LOG_ID_OUTBOX, "outbox" },
};

static const char *const event_levels[] = { "critical", "critical", "critical", "error",
					    "warning",  "notice",   "info",     "debug" };

void event_ring_init(struct event_ring *events, uint64_t instance)
{
	*events = (struct event_ring){ .first = 1, .next = 1, .instance = instance };
}

void event_ring_deinit(struct event_ring *events)
{
	for (uint64_t n = events->first; n < events->next; n++)
		free(events->ring[n % EVENT_RING_MAX]);
	free(events->ring);
	events->ring = NULL;
	events->first = events->next;
}

static void event_ring_drop(struct event_ring *events)
{
	struct event **e = &events->ring[events->first % EVENT_RING_MAX];

	events->bytes -= (*e)->bytes;
	free(*e);
	*e = NULL;
	events->first++;
}

/* The kind of a log line; the id that lasts, instead of whatever the caller's points to. */
static void event_kind(struct event *e, const char *id)
{
	e->kind = "other";
	for (size_t i = 0; id && i < sizeof(event_kinds) / sizeof(event_kinds[0]); i++)
		if (strcmp(event_kinds[i].id, id) == 0) {
			e->kind = event_kinds[i].kind;
			e->id = event_kinds[i].id;
			return;
		}
}

static const char *event_put(char **to, const char *text)
{
	char *at = *to;
	size_t n;

	if (!text)
		return NULL;
	n = strlen(text) + 1;
	memcpy(at, text, n);
	*to += n;
	return at;
}

static size_t event_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

void event_ring_add(struct event_ring *events, int priority, const char *kind,
		    const struct log_about *about, const char *text)
{
	const size_t size = sizeof(struct event) + event_size(about->root) +
			    event_size(about->board) + event_size(about->task) +
			    event_size(text);
	struct event *e;
	char *to;

	if (!events->ring)
		events->ring = calloc(EVENT_RING_MAX, sizeof(struct event *));
	e = events->ring ? malloc(size) : NULL;
	if (!e) {
		events->lost++;
		return;
	}
	*e = (struct event){ .number = events->next,
			     .at_us = clock_wall_us(),
			     .priority = priority & 7,
			     .run = about->run,
			     .epoch = about->epoch,
			     .bytes = size };
	event_kind(e, about->id);
	if (kind)
		e->kind = kind;
	to = e->text;
	e->root = event_put(&to, about->root);
	e->board = event_put(&to, about->board);
	e->task = event_put(&to, about->task);
	e->message = event_put(&to, text);
	while (events->first < events->next &&
	       (events->next - events->first >= EVENT_RING_MAX ||
		events->bytes + e->bytes > EVENT_RING_BYTES))
		event_ring_drop(events);
	events->ring[e->number % EVENT_RING_MAX] = e;
	events->bytes += e->bytes;
	events->next++;
}

const struct event *event_ring_get(const struct event_ring *events, uint64_t number)
{
	if (number < events->first || number >= events->next)
		return NULL;
	return events->ring[number % EVENT_RING_MAX];
}

void event_ring_id(const struct event_ring *events, uint64_t number, char out[EVENT_ID_MAX])
{
	const struct event *e = event_ring_get(events, number);

	if (e)
		(void)snprintf(out, EVENT_ID_MAX, "%" PRIx64 "-%" PRIu64 "-%" PRIx64,
			       events->instance, number, (uint64_t)e->at_us / 1000000);
	else
		(void)snprintf(out, EVENT_ID_MAX, "%" PRIx64 "-%" PRIu64, events->instance,
			       number);
}

bool event_ring_after(const struct event_ring *events, const char *id, uint64_t *next,
		      bool *gap, int64_t *since)
{
	uint64_t instance, number, at = 0;
	int end = 0, more = 0;

	*since = 0;
	*gap = false;
	*next = events->next;
	if (!*id)
		return true;
	if (strcmp(id, "0") == 0) {
		*next = events->first;
		return true;
	}
	if (strlen(id) >= EVENT_ID_MAX || strspn(id, "0123456789abcdef-") != strlen(id) ||
	    sscanf(id, "%16" SCNx64 "-%19" SCNu64 "%n", &instance, &number, &end) != 2)
		return false;
	if (id[end] &&
	    (sscanf(id + end, "-%10" SCNx64 "%n", &at, &more) != 1 || id[end + more]))
		return false;
	*next = number + 1;
	/* of another process, or of the future: nothing that was seen is known here */
	if (instance != events->instance || number >= events->next || number == 0) {
		*since = (int64_t)at;
		*next = events->first;
		*gap = true;
	} else if (*next < events->first) {
		*next = events->first;
		*gap = true;
	}
	return true;
}

static json_t *event_number(int64_t n)
{
	return n ? json_integer(n) : json_null();
}

json_t *event_ring_json(const struct event_ring *events, const struct event *e)
{
	char id[EVENT_ID_MAX];

	event_ring_id(events, e->number, id);
	return json_pack("{s:s, s:f, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id,
			 "at", (double)e->at_us / 1e6, "kind", e->kind, "level",
			 event_levels[e->priority], "root", json_utf8(e->root), "board",
			 json_utf8(e->board), "task", json_utf8(e->task), "run",
			 event_number(e->run), "epoch", event_number(e->epoch), "message",
			 json_utf8(e->message), "message_id", json_utf8(e->id));
}

json_t *event_ring_gap(const struct event_ring *events, uint64_t next)
{
	char id[EVENT_ID_MAX];

	event_ring_id(events, next - 1, id);
	return json_pack("{s:s, s:f, s:s, s:s, s:n, s:n, s:n, s:n, s:n, s:s, s:n}", "id", id,
			 "at", (double)clock_wall_us() / 1e6, "kind", "gap", "level", "warning",
			 "root", "board", "task", "run", "epoch", "message",
			 "events are missing here: look at the status anew", "message_id");
}
