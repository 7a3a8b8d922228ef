/*
 * What only a daemon can do or knows: workers, tick, pause, resume, drain, reload, metrics.
 * Without one each of them ends with 69.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/client.h"
#include "ctl/table.h"
#include "ctl/workers_table.h"
#include "util/json.h"

struct remote {
	struct ctl *ctl;
	char *root;
	struct client *client;
	struct reply reply;
	const char *slug; /* the board that is meant, or NULL: all */
};

static void remote_deinit(struct remote *r)
{
	reply_deinit(&r->reply);
	r->client = client_free(r->client);
	free(r->root);
}

/* The arguments, the root, the daemon. Return: true to go on; false with ctl->exit. */
static bool remote_begin(struct remote *m, struct ctl *ctl, const struct ctl_arg *options,
			 int argc, char **argv, int max)
{
	char **args;

	*m = (struct remote){ .ctl = ctl };
	if (!ctl_args(ctl, options, argc, argv, 0, max, &args))
		return false;
	m->slug = max > 0 ? args[0] ? args[0] : ctl->board_arg : NULL;
	ctl->exit =
		!m->slug || ctl_is_board(ctl, m->slug) ? ctl_root(ctl, &m->root) : CTL_USAGE;
	if (ctl->exit == 0)
		ctl->exit = client_need(ctl, m->root, &m->client);
	return ctl->exit == 0;
}

/* A request whose path needs no root. */
static int remote_post(struct remote *m, const char *path, json_t *body)
{
	return client_call(m->client, "POST", strdup(path), body, &m->reply);
}

/* The same of the board: .../boards/SLUG/@what */
static int remote_board(struct remote *m, const char *what)
{
	return client_call(m->client, "POST",
			   client_path(m->client, NULL, "/v1/boards/%s/%s", m->slug, what),
			   NULL, &m->reply);
}

static int remote_json(struct remote *m)
{
	return ctl_print_json(m->ctl, STEAL(m->reply.json), CTL_OK);
}

/* ---- workers -------------------------------------------------------------------------------
 */

static int workers_row(struct table *t, const json_t *w)
{
	const char *how = json_flag(w, "ending")  ? "being ended"
			  : json_flag(w, "left")  ? "its task is not running any more"
			  : json_flag(w, "child") ? "running"
						  : "adopted";
	int r = cells_add(t, json_object_get(w, "board"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, json_object_get(w, "task"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "run"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(w, "pid"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add_time(t, json_object_get(w, "started_at"));
	return r == 0 ? table_cell(t, how, strlen(how), TABLE_PLAIN) : r;
}

int workers_print(const struct ctl *ctl, const json_t *workers)
{
	static const struct table_column columns[] = {
		{ "BOARD", false, 8 }, { "TASK", false, 10 },   { "RUN", true, 0 },
		{ "PID", true, 0 },    { "STARTED", false, 0 }, { "HOW IT IS", false, 8 },
		{ NULL, false, 0 },
	};
	CLEANUP(table_freep) struct table *t = table_new(columns);
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(workers); i++)
		r = workers_row(t, json_array_get(workers, i));
	if (r < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	table_print(t, &ctl->screen, 0, ctl->out);
	return 0;
}

int ctl_verb_workers(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	int r;

	if (!remote_begin(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = client_call(m.client, "GET", client_path(m.client, NULL, "/v1/workers"), NULL,
			&m.reply);
	if (r != 0)
		return r;
	return ctl->json ? remote_json(&m)
			 : workers_print(ctl, json_object_get(m.reply.json, "workers"));
}

/* ---- tick, pause, resume, drain ------------------------------------------------------------
 */

/* "…: ready 3 left, running 2" */
static void remote_say_board(const struct remote *m, const char *done)
{
	const json_t *b = m->reply.json;

	(void)fprintf(m->ctl->out, "%s: %s; %lld running, %lld ready left\n", m->slug, done,
		      (long long)json_number(b, "running", 0),
		      (long long)json_number(b, "ready", 0));
}

int ctl_verb_tick(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	int r;

	if (!remote_begin(&m, ctl, NULL, argc, argv, 1))
		return ctl->exit;
	r = m.slug ? remote_board(&m, "tick") : remote_post(&m, "/v1/tick", NULL);
	if (r != 0)
		return r;
	if (ctl->json)
		return remote_json(&m);
	if (m.slug)
		remote_say_board(&m, "looked at");
	else
		(void)fprintf(ctl->out, "%lld boards are looked at\n",
			      (long long)json_number(m.reply.json, "boards", 0));
	return CTL_OK;
}

int ctl_verb_pause(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	int r;

	if (!remote_begin(&m, ctl, NULL, argc, argv, 1))
		return ctl->exit;
	/* every board at once is a drain that nobody waits for */
	r = m.slug ? remote_board(&m, "pause")
		   : remote_post(&m, "/v1/drain", json_pack("{s:b}", "wait", 0));
	if (r != 0)
		return r;
	if (ctl->json)
		return remote_json(&m);
	if (m.slug)
		remote_say_board(&m, "paused until resumed or until the daemon ends");
	else
		(void)fprintf(ctl->out,
			      "nothing new is started on any board, until resumed or until the "
			      "daemon ends; workers that run: %lld\n",
			      (long long)json_number(m.reply.json, "workers", 0));
	return CTL_OK;
}

int ctl_verb_resume(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	int r;

	if (!remote_begin(&m, ctl, NULL, argc, argv, 1))
		return ctl->exit;
	r = m.slug ? remote_board(&m, "resume") : remote_post(&m, "/v1/resume", NULL);
	if (r != 0)
		return r;
	if (ctl->json)
		return remote_json(&m);
	if (m.slug)
		remote_say_board(&m, "resumed");
	else
		(void)fprintf(ctl->out, "%s\n",
			      json_flag(m.reply.json, "resumed")
				      ? "resumed: tasks are started again"
				      : "there was no pause and no drain");
	return CTL_OK;
}

int ctl_verb_drain(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	int64_t timeout = -1;
	bool no_wait = false;
	const struct ctl_arg options[] = {
		{ "timeout", CTL_ARG_INT, &timeout, "SECONDS", "wait no longer than that", 0,
		  31536000 },
		{ "no-wait", CTL_ARG_FLAG, &no_wait, NULL, "do not wait for workers", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	bool drained;
	int r;

	if (!remote_begin(&m, ctl, options, argc, argv, 0))
		return ctl->exit;
	r = remote_post(&m, "/v1/drain",
			json_pack("{s:b, s:o}", "wait", !no_wait, "timeout_s",
				  timeout >= 0 ? json_integer(timeout) : json_null()));
	if (r != 0)
		return r;
	drained = json_flag(m.reply.json, "drained");
	r = drained || no_wait ? CTL_OK : CTL_NOT_WELL;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(m.reply.json), r);
	if (drained)
		(void)fputs("drained: no worker runs, and nothing new is started until "
			    "\"kanbanctl resume\"\n",
			    ctl->out);
	else
		(void)fprintf(ctl->out,
			      "draining: nothing new is started, workers that run: %lld; until "
			      "\"kanbanctl resume\"\n",
			      (long long)json_number(m.reply.json, "workers", 0) +
				      (long long)json_number(m.reply.json, "launching", 0));
	return r;
}

/* ---- reload, metrics -----------------------------------------------------------------------
 */

int ctl_verb_reload(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	const json_t *warnings;
	int r;

	if (!remote_begin(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = remote_post(&m, "/v1/reload", NULL);
	if (r != 0)
		return r;
	if (ctl->json)
		return remote_json(&m);
	warnings = json_object_get(m.reply.json, "warnings");
	for (size_t i = 0; i < json_array_size(warnings); i++)
		(void)ctl_say(ctl, 0, "warning: %s",
			      json_string_value(json_array_get(warnings, i)));
	(void)fputs("the configuration was read again\n", ctl->out);
	return CTL_OK;
}

int ctl_verb_metrics(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(remote_deinit) struct remote m = { 0 };
	int r;

	if (!remote_begin(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = client_text(m.client, strdup("/metrics"), &m.reply);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(
			ctl, json_pack("{s:o}", "openmetrics", json_or_null(m.reply.text)),
			CTL_OK);
	/* as it is: a program reads it. On a terminal nothing in it may act. */
	if (ctl->screen.width)
		screen_put(ctl->out, m.reply.text ? m.reply.text : "", m.reply.len,
			   SCREEN_LINES);
	else if (m.reply.text)
		(void)fwrite(m.reply.text, 1, m.reply.len, ctl->out);
	return CTL_OK;
}
