/*
 * top: the root, its workers, boards and newest events, on a whole screen, drawn anew when
 * something happens and once a second. Two connections: one follows the events, one asks for
 * numbers. When the daemon goes away the picture stays, says so, and goes on when it is back.
 * Where output is no terminal, one picture is printed.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/state.h"
#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "ctl/events.h"
#include "ctl/table.h"
#include "ctl/terminal.h"
#include "ctl/top.h"
#include "ctl/workers_table.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/printable.h"

#define TOP_EVENTS   200  /* remembered for the lower part */
#define TOP_EVERY_MS 1000 /* drawn at least so often */
#define TOP_AT_ONCE  100  /* ms: events within are one drawing */
#define TOP_ROOMY    40   /* lines from which kinds are set apart */

static void top_deinit(struct top *t)
{
	t->client = client_free(t->client);
	json_decref(t->status);
	json_decref(t->work);
	json_decref(t->events);
	top_rows_free(t);
	top_page_close(t);
	free(t->root);
}

/* ---- the picture --------------------------------------------------------------------- */

static void top_uptime(FILE *out, int64_t s)
{
	if (s >= 86400)
		(void)fprintf(out, "%lld d %lld h", (long long)s / 86400,
			      (long long)s % 86400 / 3600);
	else if (s >= 3600)
		(void)fprintf(out, "%lld h %lld min", (long long)s / 3600,
			      (long long)s % 3600 / 60);
	else
		(void)fprintf(out, "%lld min %lld s", (long long)s / 60, (long long)s % 60);
}

static void top_text(const struct top *t, const char *text, enum table_colour colour)
{
	const struct screen *screen = &t->ctl->screen;

	(void)fputs(table_colour_on(screen, colour), t->ctl->out);
	printable_put(t->ctl->out, text, strlen(text), 0);
	(void)fputs(table_colour_off(screen, colour), t->ctl->out);
}

static void top_head(const struct top *t, const json_t *root)
{
	json_t *tasks = json_object_get(root, "tasks"), *n;
	FILE *out = t->ctl->out;
	char sentence[ERROR_TEXT_MAX];
	const char *status, *gap = "";

	(void)fputs("kanband ", out);
	top_text(t, json_text(t->status, "version"), TABLE_PLAIN);
	(void)fprintf(out, "  %s ", top_role(t));
	top_text(t, t->root, TABLE_PLAIN);
	(void)fprintf(out, "  epoch %lld, up ", (long long)json_number(root, "epoch", 0));
	top_uptime(out, json_number(t->status, "uptime_s", 0));
	if (!t->client)
		top_text(t, "  the daemon is gone; waiting for it", TABLE_RED);
	(void)fputc('\n', out);
	top_sentence(t, sentence, sizeof(sentence));
	top_text(t, sentence, top_root_well(t) ? TABLE_PLAIN : TABLE_YELLOW);
	(void)fputc('\n', out);
	json_object_foreach(tasks, status, n)
	{
		if (json_integer_value(n) == 0 || strcmp(status, "total") == 0)
			continue;
		(void)fprintf(out, "%s%" JSON_INTEGER_FORMAT " ", gap, json_integer_value(n));
		top_text(t, status, table_colour_of(status));
		gap = ", ";
	}
	(void)fputs(!*gap && json_object_size(tasks) > 0 ? "no tasks\n\n" : "\n\n", out);
}

/* The first @most boards: those in trouble or with something to do before the idle ones. */
static json_t *top_boards(json_t *boards, size_t most)
{
	json_t *first = json_array(), *board;
	size_t i;

	for (int pass = 0; first && pass < 2; pass++)
		json_array_foreach(boards, i, board)
		{
			bool busy = board_state_word_bad(json_text(board, "state")) ||
				    json_number(board, "running", 0) > 0 ||
				    json_number(board, "ready", 0) > 0;

			/* one that does not fit into memory is not shown */
			if (busy == (pass == 0) && json_array_size(first) < most)
				(void)json_array_append(first, board);
		}
	return first;
}

static void top_picture(struct top *t, unsigned rows)
{
	json_t *root = top_root(t), *boards = json_object_get(root, "boards");
	json_t *work = json_object_get(t->work, "workers");
	size_t room = rows > 8 ? rows - 8 : 0, n_work = json_array_size(work), n, shown;
	CLEANUP(json_freep) json_t *first = top_boards(boards, room / 2 + 1);

	top_head(t, root);
	if (boards_print(t->ctl, first) != 0)
		return;
	shown = json_array_size(first);
	if (shown < json_array_size(boards))
		(void)fprintf(t->ctl->out, "and %zu more\n", json_array_size(boards) - shown);
	room -= room > shown ? shown : room;
	if (n_work > 0) {
		(void)fputc('\n', t->ctl->out);
		if (workers_print(t->ctl, work) != 0)
			return;
		room -= room > n_work + 2 ? n_work + 2 : room;
	}
	(void)fputc('\n', t->ctl->out);
	n = json_array_size(t->events);
	for (size_t i = n > room ? n - room : 0; i < n; i++)
		events_put(t->ctl, json_array_get(t->events, i));
}

static int top_draw(struct top *t)
{
	unsigned columns, rows;

	if (t->page.text)
		top_page_refresh(t);
	terminal_size(&columns, &rows);
	t->roomy = rows >= TOP_ROOMY;
	if (top_rows_build(t) < 0)
		return CTL_IO;
	top_view_draw(t);
	t->news = false;
	t->drawn_ms = clock_mono_ms();
	return 0;
}

/* ---- what it is made of -------------------------------------------------------------- */

/* Ask for the numbers. A daemon that does not answer is gone. */
static void top_ask(struct top *t)
{
	static const char *const paths[] = { "/v1/status", "/v1/workers" };
	json_t **slots[] = { &t->status, &t->work };

	for (size_t i = 0; i < 2 && t->client; i++) {
		CLEANUP(client_reply_deinit) struct reply reply = { 0 };

		if (client_quiet(t->client, client_path(t->client, NULL, "%s", paths[i]),
				 &reply) != 0) {
			t->client = client_free(t->client);
			return;
		}
		json_decref(*slots[i]);
		*slots[i] = STEAL(reply.json);
	}
}

static int top_event(void *arg, const char *id, const char *kind, json_t *event)
{
	struct top *t = arg;

	(void)kind;
	if (*id)
		(void)snprintf(t->last, sizeof(t->last), "%s", id);
	t->news = true;
	if (!events_about(event, t->root, NULL))
		return 0;
	/* one that does not fit into memory is not shown */
	(void)json_array_append(t->events, event);
	while (json_array_size(t->events) > TOP_EVENTS)
		(void)json_array_remove(t->events, 0);
	return 0;
}

/* Between two waits: keys, signals, drawing. Not 0 ends. */
static int top_tick(void *arg)
{
	struct top *t = arg;
	uint64_t since = clock_mono_ms() - t->drawn_ms;
	bool pressed = false;
	int key;

	while ((key = terminal_key()) != TERMINAL_NONE) {
		if (key == TERMINAL_GONE || top_key(t, key) != 0)
			return TOP_QUIT;
		pressed = true;
	}
	if (terminal_ended())
		return TOP_QUIT;
	if (since >= TOP_EVERY_MS || (t->news && since >= TOP_AT_ONCE))
		top_ask(t);
	else if (!pressed)
		return 0;
	return top_draw(t) == 0 ? 0 : TOP_QUIT;
}

/* What happened before we came. */
static void top_before(struct top *t)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	json_t *list, *event;
	size_t i;

	if (client_quiet(t->client, strdup("/v1/events?follow=no&since=0"), &reply) != 0)
		return;
	list = json_object_get(reply.json, "events");
	json_array_foreach(list, i, event)(void) top_event(t, "", "", event); /* never ends */
	(void)snprintf(t->last, sizeof(t->last), "%s", json_text(reply.json, "last"));
}

/* Until a key or a signal ends it. A stream that ended is taken up again. */
static int top_run(struct top *t, struct client *follows)
{
	int exit = 0;

	for (;;) {
		struct pollfd key = { .fd = STDIN_FILENO, .events = POLLIN };
		enum client_end end = CLIENT_END_CLOSED;

		if (follows)
			end = client_stream(follows, *t->last ? t->last : NULL, top_event,
					    top_tick, t, &exit);
		follows = client_free(follows);
		if (end != CLIENT_END_CLOSED)
			break;
		if (!t->client && client_find(t->ctl, t->root, &t->client) < 0)
			break;
		if (top_tick(t) != 0)
			break;
		(void)poll(&key, 1, TOP_EVERY_MS); /* any end of it is looked at in the tick */
		if (t->client && client_find(t->ctl, t->root, &follows) < 0)
			break;
	}
	return exit == TOP_QUIT ? 0 : exit;
}

/* One picture, where there is no terminal to draw on. */
static int top_once(struct top *t)
{
	top_ask(t);
	if (!t->client)
		return ctl_say(t->ctl, CTL_NO_DAEMON, "the daemon does not answer");
	if (t->ctl->json)
		return ctl_print_json(t->ctl,
				      json_pack("{s:O, s:O}", "status", t->status, "workers",
						json_object_get(t->work, "workers")),
				      CTL_OK);
	top_picture(t, 60);
	return CTL_OK;
}

static int verb_top_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(client_freep) struct client *follows = NULL;
	CLEANUP(top_deinit) struct top t = { .ctl = ctl };
	char **args;
	int r, ended;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	t.events = json_array();
	r = t.events ? ctl_root(ctl, &t.root) : ctl_say(ctl, CTL_IO, "out of memory");
	if (r == 0)
		r = client_need(ctl, t.root, &t.client);
	if (r != 0)
		return r;
	free(t.root);
	t.root = strdup(client_root(t.client));
	if (!t.root)
		return ctl_say(ctl, CTL_IO, "out of memory");
	top_before(&t);
	if (ctl->json || !isatty(STDIN_FILENO) || !ctl->screen.width)
		return top_once(&t);
	r = client_find(ctl, t.root, &follows);
	if (r != 0 || !follows)
		return ctl_say(ctl, CTL_NO_DAEMON, "the daemon does not answer");
	r = terminal_open(ctl->screen.colour);
	if (r == -ENODEV)
		return ctl_say(ctl, CTL_CONFIG,
			       "TERM is no type of terminal that is known here");
	if (r < 0)
		return ctl_say(ctl, CTL_IO, "cannot use the terminal: %s", strerror(-r));
	r = top_run(&t, STEAL(follows));
	ended = terminal_ended();
	terminal_close();
	if (ended && ended != SIGINT)
		(void)raise(ended); /* as if it had not been caught */
	return ended ? 128 + ended : r;
}

static const struct ctl_verb verb_top = {
	.name = "top",
	.args = "",
	.what = "watch workers, boards and events live",
	.group = CTL_WATCH,
	.rank = 80,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_top_run,
};
CTL_VERB(verb_top);
