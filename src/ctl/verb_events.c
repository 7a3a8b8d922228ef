/*
 * events: what happened lately, and with --follow what happens. A stream that breaks is taken
 * up again where it ended, as long as the daemon comes back.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "ctl/events.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/moment.h"

#define EVENTS_WAIT_S 60 /* so long a daemon that went away is waited for */
#define EVENTS_DAY_S  86400

#define EVENTS_ID_PROCESS 12 /* hex digits of an id before its first dash, at least */

struct events {
	struct ctl *ctl;
	const char *root;
	char last[128]; /* id of the newest event that was seen */
	bool seen;      /* something came since the last (re)connection */
};

static int events_one(void *arg, const char *id, const char *kind, json_t *event)
{
	struct events *s = arg;
	CLEANUP(freep) char *line = NULL;

	(void)kind; /* the event says it too */
	if (*id)
		(void)snprintf(s->last, sizeof(s->last), "%s", id);
	s->seen = true;
	if (!events_about(event, s->root, s->ctl->board_arg))
		return 0;
	if (s->ctl->json) {
		line = s->ctl->screen.width ? json_plain(event, JSON_COMPACT)
					    : json_dumps(event, JSON_COMPACT);
		if (!line)
			return ctl_say(s->ctl, CTL_IO, "out of memory");
		(void)fprintf(s->ctl->out, "%s\n", line);
	} else {
		events_put(s->ctl, event);
	}
	/* whoever reads a pipe wants it now; and when the reader is gone we are through */
	return fflush(s->ctl->out) == 0 ? 0 : CTL_END_OF_READER;
}

static int events_follow(struct events *s, struct client *first)
{
	struct client *client = first;
	time_t lost = 0;
	int exit = 0;

	for (;;) {
		enum client_end end;

		s->seen = false;
		end = client ? client_stream(client, *s->last ? s->last : NULL, events_one,
					     NULL, s, &exit)
			     : CLIENT_END_CLOSED;
		if (end != CLIENT_END_CLOSED)
			break;
		if (s->seen)
			lost = 0;
		if (!lost)
			lost = time(NULL);
		if (time(NULL) - lost > EVENTS_WAIT_S) {
			exit = ctl_say(s->ctl, CTL_NO_DAEMON,
				       "the daemon is gone, and did not come back");
			break;
		}
		if (client != first)
			client = client_free(client);
		(void)sleep(1);
		client = NULL;
		exit = client_open(s->ctl, s->root, &client);
		if (exit == CTL_NO_DAEMON)
			exit = 0; /* --socket: told, tried again */
		if (exit != 0)
			break;
	}
	if (client != first)
		client = client_free(client);
	return exit == CTL_END_OF_READER ? CTL_OK : exit;
}

/* What is remembered, and what came behind it. */
static int events_list(struct events *s, struct client *client, const char *since)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	json_t *list, *event;
	size_t i;
	int r = client_call(client, "GET",
			    fs_path("/v1/events?follow=no&since=%s", since ? since : "0"), NULL,
			    &reply);

	if (r != 0)
		return r;
	(void)snprintf(s->last, sizeof(s->last), "%s", json_text(reply.json, "last"));
	list = json_object_get(reply.json, "events");
	json_array_foreach(list, i, event)
	{
		r = events_one(s, "", "", event);
		if (r != 0)
			return r == CTL_END_OF_READER ? CTL_OK : r;
	}
	return CTL_OK;
}

/* An id is put into a URL and a header: "12696185c7916857-7-6b0df60c". */
static bool events_is_id(const char *id)
{
	size_t process = strspn(id, "0123456789abcdef");

	return process >= EVENTS_ID_PROCESS && id[process] == '-' && strlen(id) < 100 &&
	       strspn(id, "0123456789abcdef-") == strlen(id);
}

/* @text: an id, or a time that is over, or a span before now. *@id: malloc'd.
 * Return: 0, or an exit code after telling. */
static int events_since(const struct ctl *ctl, const char *text, char **id)
{
	int64_t now = clock_wall_s(), at = now;
	struct error e = ERROR_NULL;
	double span;

	if (events_is_id(text)) {
		*id = strdup(text);
		return *id ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
	}
	span = moment_span_s(text + (*text == '-'));
	if (span > 0)
		at = span < (double)now ? now - (int64_t)span : 1;
	else if (moment_parse(text, now, &at, &e) != 0)
		return ctl_say(ctl, CTL_USAGE, "--since: %s", e.text);
	else if (at > now)
		at -= at - now <= EVENTS_DAY_S ? EVENTS_DAY_S : 0; /* 18:30 was yesterday */
	/* of no process that is known here: what the boards remember is told too */
	*id = fs_path("0-0-%" PRIx64, (uint64_t)(at > 0 ? at : 1));
	return *id ? 0 : ctl_say(ctl, CTL_IO, "out of memory");
}

static int verb_events_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(freep) char *root = NULL;
	struct events s = { .ctl = ctl };
	CLEANUP(freep) char *since = NULL;
	const char *from = NULL;
	bool follow = false;
	const struct ctl_arg options[] = {
		{ "follow", CTL_ARG_FLAG, &follow, NULL, "go on with what happens", 0, 0 },
		{ "since", CTL_ARG_TEXT, &from, "TIME|ID",
		  "begin there: 2h (ago), 18:30, yesterday, or the id of an event", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = from ? events_since(ctl, from, &since) : 0;
	if (r == 0)
		r = ctl_root(ctl, &root);
	if (r == 0)
		r = client_need(ctl, root, &client);
	if (r != 0)
		return r;
	s.root = client_root(client);
	/* --follow alone begins now, as tail does with a file: with the newest */
	if (!follow || since)
		r = events_list(&s, client, since);
	return r == 0 && follow ? events_follow(&s, client) : r;
}

static const struct ctl_verb verb_events = {
	.name = "events",
	.args = "",
	.what = "show what happened, and with --follow what happens",
	.group = CTL_WATCH,
	.rank = 70,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_events_run,
};
CTL_VERB(verb_events);
