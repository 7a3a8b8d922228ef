/*
 * /v1/events: server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html).
 *
 * A stream is a number: that of the next event it sends. It holds the text of one event at a
 * time, whatever happens; when the ring has forgotten what it would send next it says `gap` and
 * goes on with the oldest there is. Between events its connection is suspended. A reader that
 * takes nothing for CONTROL_SLOW_MS although there is something is cut off.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "control.h"
#include "util/json.h"

struct stream {
	struct stream *next;
	struct request *req;
	uint64_t number; /* of the next event */
	bool gap;        /* events are missing before it */
	bool alive;      /* a comment is due */
	bool end;
	uint64_t stuck_ms; /* uv_now() since when there is something that is not taken; 0 */
	char *text;        /* what is being sent, malloc'd, or NULL */
	size_t n, at;
};

/* ---- what to send ---- */

/* One event as text; false: out of memory. */
static bool stream_event(struct stream *s, const char *id, const char *kind, json_t *json)
{
	char *data = json ? json_plain(json, JSON_COMPACT) : NULL;
	int n = -1;

	json_decref(json);
	if (data)
		n = asprintf(&s->text, "id: %s\nevent: %s\ndata: %s\n\n", id, kind, data);
	free(data);
	if (n < 0) {
		s->text = NULL;
		return false;
	}
	s->n = (size_t)n;
	s->at = 0;
	return true;
}

/* Have something in s->text if there is anything to say; false: out of memory. */
static bool stream_fill(struct stream *s)
{
	const struct event_ring *events = &s->req->control->events;
	const struct event *e;
	char id[EVENT_ID_MAX];

	if (s->number < events->first) {
		s->number = events->first;
		s->gap = true;
	}
	if (s->gap) {
		s->gap = false;
		event_ring_id(events, s->number - 1, id);
		return stream_event(s, id, "gap", event_ring_gap(events, s->number));
	}
	e = event_ring_get(events, s->number);
	if (e) {
		event_ring_id(events, s->number, id);
		s->number++;
		return stream_event(s, id, e->kind, event_ring_json(events, e));
	}
	if (!s->alive)
		return true;
	s->text = strdup(": kanband\n\n");
	s->n = s->text ? strlen(s->text) : 0;
	s->at = 0;
	return s->text != NULL;
}

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct stream *s = cls;
	size_t n;

	(void)pos;
	s->stuck_ms = 0;
	if (!s->text && !s->end && !stream_fill(s))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	s->alive = false;
	if (!s->text && s->end)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!s->text) {
		server_suspend(s->req);
		return 0;
	}
	n = s->n - s->at < max ? s->n - s->at : max;
	memcpy(buf, s->text + s->at, n);
	s->at += n;
	if (s->at == s->n) {
		free(s->text);
		s->text = NULL;
	}
	return (ssize_t)n;
}

/* ---- when ---- */

/* There is something to say: go on, or find out that it does not go on. */
static void stream_push(struct stream *s)
{
	if (s->req->suspended)
		server_wake(s->req);
	else if (!s->stuck_ms)
		s->stuck_ms = uv_now(s->req->control->env.root_env->loop);
}

void stream_news(struct control *c)
{
	for (struct stream *s = c->streams; s; s = s->next)
		stream_push(s);
}

static void stream_alive(uv_timer_t *t)
{
	struct control *c = t->data;
	uint64_t now = uv_now(c->env.root_env->loop);

	for (struct stream *s = c->streams; s; s = s->next) {
		if (s->stuck_ms && now - s->stuck_ms >= CONTROL_SLOW_MS) {
			(void)shutdown(s->req->client->fd, SHUT_RDWR); /* found closed then */
			continue;
		}
		s->alive = true;
		stream_push(s);
	}
}

size_t stream_count(const struct control *c)
{
	size_t n = 0;

	for (const struct stream *s = c->streams; s; s = s->next)
		n++;
	return n;
}

void stream_end_all(struct control *c)
{
	for (struct stream *s = c->streams; s; s = s->next) {
		s->end = true;
		stream_push(s);
	}
}

/* The request is over. */
static void stream_end(struct request *req)
{
	struct stream *s = req->stream;
	struct control *c = req->control;

	for (struct stream **p = &c->streams; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	if (!c->streams)
		IGNORE(uv_timer_stop(&c->alive)); /* always 0 */
	req->stream = NULL;
	free(s->text);
	free(s);
}

/* ---- beginning ---- */

static void stream_reply_list(struct request *req, json_t *list)
{
	const struct event_ring *events = &req->control->events;
	char last[EVENT_ID_MAX];

	event_ring_id(events, events->next - 1, last);
	reply_json(req, 200,
		   list ? json_pack("{s:o, s:s}", "events", list, "last", last) : NULL);
}

/* Answer with @past, then all that is remembered; see past_reply. */
static void stream_list_after(struct request *req, json_t *past, bool gap)
{
	const struct event_ring *events = &req->control->events;
	uint64_t number = events->first;
	json_t *list = past;

	if (list && gap && json_array_insert_new(list, 0, event_ring_gap(events, number)) < 0)
		list = json_free(list);
	for (; list && number < events->next; number++)
		list = json_push(list, event_ring_json(events, event_ring_get(events, number)));
	stream_reply_list(req, list);
}

static void stream_list(struct request *req, uint64_t number, bool gap)
{
	const struct event_ring *events = &req->control->events;
	json_t *list = json_array();

	if (gap && json_array_append_new(list, event_ring_gap(events, number)) < 0)
		goto fail;
	for (; number < events->next; number++)
		if (json_array_append_new(
			    list, event_ring_json(events, event_ring_get(events, number))) < 0)
			goto fail;
	stream_reply_list(req, list);
	return;
fail:
	json_decref(list);
	reply_response(req, 500, NULL);
}

static void stream_begin(struct request *req, uint64_t number, bool gap)
{
	struct control *c = req->control;
	struct MHD_Response *response;
	struct stream *s;

	if (c->stopping) {
		reply_problem(req, 503, "stopping", NULL, NULL, "the daemon is stopping");
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		reply_response(req, 500, NULL);
		return;
	}
	/* a comment at once: the reader sees that it is connected */
	*s = (struct stream){ .req = req, .number = number, .gap = gap, .alive = true };
	response = c->mhd.MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, stream_read,
							    s, NULL);
	if (!response) {
		free(s);
		reply_response(req, 500, NULL);
		return;
	}
	(void)c->mhd.MHD_add_response_header(response, "Content-Type", "text/event-stream");
	if (!c->streams)
		IGNORE(uv_timer_start(&c->alive, stream_alive, CONTROL_ALIVE_MS,
				      CONTROL_ALIVE_MS)); /* cannot fail */
	s->next = c->streams;
	c->streams = s;
	req->stream = s;
	req->end = stream_end;
	reply_response(req, 200, response);
}

void stream_get(struct request *req)
{
	struct control *c = req->control;
	const char *id =
		c->mhd.MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, "Last-Event-ID");
	bool follow = true, gap = false;
	uint64_t number = 0;
	int64_t since = 0;

	if (!params_yes(req, "follow", &follow))
		return;
	if (!id)
		id = params_query(req, "since");
	if (!id)
		id = follow ? "" : "0";
	if (!event_ring_after(&c->events, id, &number, &gap, &since)) {
		if (!follow) {
			reply_problem(req, 400, "bad-request", NULL, NULL,
				      "%.60s is no id of an event", id);
			return;
		}
		/* a reader that reconnects by itself would do so for ever */
		number = c->events.first;
		gap = true;
	}
	if (!follow && since > 0)
		past_get(req, since, stream_list_after);
	else if (follow)
		stream_begin(req, number, gap);
	else
		stream_list(req, number, gap);
}
