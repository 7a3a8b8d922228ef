#include "control/event_ring.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"

static const struct {
	const char *id, *kind;
} event_kinds[] = {
	{ LOG_ID_LEASE_OWNER, "lease-owner" },
	{ LOG_ID_LEASE_STANDBY, "lease-standby" },
	{ LOG_ID_LEASE_LOST, "lease-lost" },
	{ LOG_ID_BOARD_BAD, "board-bad" },
	{ LOG_ID_BOARD_WELL, "board-well" },
	{ LOG_ID_SPAWNED, "spawned" },
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

void events_init(struct events *events, uint64_t instance)
{
	*events = (struct events){ .first = 1, .next = 1, .instance = instance };
}

void events_deinit(struct events *events)
{
	for (uint64_t n = events->first; n < events->next; n++)
		free(events->ring[n % EVENTS_MAX]);
	free(events->ring);
	events->ring = NULL;
	events->first = events->next;
}

static void events_drop(struct events *events)
{
	struct event **e = &events->ring[events->first % EVENTS_MAX];

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

void events_add(struct events *events, int priority, const char *kind,
		const struct log_about *about, const char *text)
{
	const size_t size = sizeof(struct event) + event_size(about->root) +
			    event_size(about->board) + event_size(about->task) +
			    event_size(text);
	struct event *e;
	char *to;

	if (!events->ring)
		events->ring = calloc(EVENTS_MAX, sizeof(struct event *));
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
	while (events->first < events->next && (events->next - events->first >= EVENTS_MAX ||
						events->bytes + e->bytes > EVENTS_BYTES))
		events_drop(events);
	events->ring[e->number % EVENTS_MAX] = e;
	events->bytes += e->bytes;
	events->next++;
}

const struct event *events_get(const struct events *events, uint64_t number)
{
	if (number < events->first || number >= events->next)
		return NULL;
	return events->ring[number % EVENTS_MAX];
}

void events_id(const struct events *events, uint64_t number, char out[EVENT_ID_MAX])
{
	(void)snprintf(out, EVENT_ID_MAX, "%" PRIx64 "-%" PRIu64, events->instance, number);
}

bool events_after(const struct events *events, const char *id, uint64_t *next, bool *gap)
{
	uint64_t instance, number;
	int end = 0;

	*gap = false;
	*next = events->next;
	if (!*id)
		return true;
	if (strcmp(id, "0") == 0) {
		*next = events->first;
		return true;
	}
	if (strlen(id) >= EVENT_ID_MAX || strspn(id, "0123456789abcdef-") != strlen(id) ||
	    sscanf(id, "%16" SCNx64 "-%19" SCNu64 "%n", &instance, &number, &end) != 2 ||
	    id[end])
		return false;
	*next = number + 1;
	/* of another process, or of the future: nothing that was seen is known here */
	if (instance != events->instance || number >= events->next) {
		*next = events->first;
		*gap = true;
	} else if (*next < events->first) {
		*next = events->first;
		*gap = true;
	}
	return true;
}

static json_t *event_text(const char *text)
{
	json_t *v = text ? json_string(text) : json_null();

	/* a task's id is its writer's choice, and may be no UTF-8 */
	return v ? v : json_string("?");
}

static json_t *event_number(int64_t n)
{
	return n ? json_integer(n) : json_null();
}

json_t *event_json(const struct events *events, const struct event *e)
{
	char id[EVENT_ID_MAX];

	events_id(events, e->number, id);
	return json_pack("{s:s, s:f, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id,
			 "at", (double)e->at_us / 1e6, "kind", e->kind, "level",
			 event_levels[e->priority], "root", event_text(e->root), "board",
			 event_text(e->board), "task", event_text(e->task), "run",
			 event_number(e->run), "epoch", event_number(e->epoch), "message",
			 event_text(e->message), "message_id", event_text(e->id));
}

json_t *event_gap(const struct events *events, uint64_t next)
{
	char id[EVENT_ID_MAX];

	events_id(events, next - 1, id);
	return json_pack("{s:s, s:f, s:s, s:s, s:n, s:n, s:n, s:n, s:n, s:s, s:n}", "id", id,
			 "at", (double)clock_wall_us() / 1e6, "kind", "gap", "level", "warning",
			 "root", "board", "task", "run", "epoch", "message",
			 "events are missing here: look at the status anew", "message_id");
}
