/*
 * events: what happened lately, and with --follow what happens. A stream that breaks is taken
 * up again where it ended, as long as the daemon comes back.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/events.h"
#include "ctl/table.h"
#include "util/fs.h"
#include "util/json.h"

#define EVENTS_WAIT_S 60 /* so long a daemon that went away is waited for */

struct events {
	struct ctl *ctl;
	const char *root;
	char last[128]; /* id of the newest event that was seen */
	bool seen;      /* something came since the last (re)connection */
};

/* "12:30:05.123" of local time */
static void events_time(double at, char out[32])
{
	time_t s = (time_t)at;
	unsigned ms = at > (double)s ? (unsigned)((at - (double)s) * 1000) : 0;
	char text[16];
	struct tm tm;

	if (at < 0 || at > 253402300799.0 || !localtime_r(&s, &tm) ||
	    strftime(text, sizeof(text), "%H:%M:%S", &tm) == 0)
		(void)snprintf(out, 32, "-");
	else
		(void)snprintf(out, 32, "%s.%03u", text, ms < 1000 ? ms : 999);
}

static enum table_colour events_colour(const char *level)
{
	return strcmp(level, "error") == 0 || strcmp(level, "critical") == 0 ? TABLE_RED
	       : strcmp(level, "warning") == 0                               ? TABLE_YELLOW
	       : strcmp(level, "debug") == 0                                 ? TABLE_DIM
									     : TABLE_PLAIN;
}

void events_put(const struct ctl *ctl, const json_t *event)
{
	const char *message = json_text(event, "message"), *board = json_text(event, "board");
	const char *task = json_text(event, "task"), *kind = json_text(event, "kind");
	enum table_colour colour = events_colour(json_text(event, "level"));
	char at[32];

	events_time(json_number_value(json_object_get(event, "at")), at);
	/* writes go to ctl->out; ctl_main() looks at its error flag */
	(void)fprintf(ctl->out, "%s%s%s ", table_colour_on(&ctl->screen, TABLE_DIM), at,
		      table_colour_off(&ctl->screen, TABLE_DIM));
	(void)fputs(table_colour_on(&ctl->screen, colour), ctl->out);
	screen_put(ctl->out, kind, strlen(kind), 0);
	(void)fputs(table_colour_off(&ctl->screen, colour), ctl->out);
	if (*board || *task) {
		(void)fputs(" [", ctl->out);
		screen_put(ctl->out, board, strlen(board), 0);
		if (*task) {
			(void)fputs(*board ? " " : "", ctl->out);
			screen_put(ctl->out, task, strlen(task), 0);
		}
		(void)fputc(']', ctl->out);
	}
	(void)fputs(": ", ctl->out);
	screen_put(ctl->out, message, strlen(message), 0);
	(void)fputc('\n', ctl->out);
}

bool events_about(const json_t *event, const char *root, const char *board)
{
	const char *theirs = json_text(event, "root"), *slug = json_text(event, "board");

	return (!*theirs || strcmp(theirs, root) == 0) && (!board || strcmp(slug, board) == 0);
}

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
		line = json_dumps(event, JSON_COMPACT);
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
	CLEANUP(reply_deinit) struct reply reply = { 0 };
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

/* An id is put into a URL and a header: digits, letters and what joins them. */
static bool events_is_id(const char *id)
{
	return *id && strlen(id) < 100 &&
	       strspn(id,
		      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._:-") ==
		       strlen(id);
}

int ctl_verb_events(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(freep) char *root = NULL;
	struct events s = { .ctl = ctl };
	const char *since = NULL;
	bool follow = false;
	const struct ctl_arg options[] = {
		{ "follow", CTL_ARG_FLAG, &follow, NULL, "go on with what happens; also -f", 0,
		  0 },
		{ "since", CTL_ARG_TEXT, &since, "ID", "begin behind that event", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	if (since && !events_is_id(since))
		return ctl_say(ctl, CTL_USAGE, "--since takes the id of an event, not \"%s\"",
			       since);
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
