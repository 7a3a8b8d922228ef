/* show: everything about one task, for people or as JSON. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/table.h"
#include "db/db.h"

#define SHOW_EVENTS 20 /* newest events, unless told otherwise */

static const struct table_column columns_link[] = {
	{ "TASK", false, 0 },
	{ "STATUS", false, 0 },
	{ "TITLE", false, 10 },
	{ NULL, false, 0 },
};

static const struct table_column columns_run[] = {
	{ "RUN", true, 0 },      { "OUTCOME", false, 0 }, { "PROFILE", false, 8 },
	{ "STARTED", false, 0 }, { "ENDED", false, 0 },   { "SUMMARY OR ERROR", false, 10 },
	{ NULL, false, 0 },
};

static const struct table_column columns_event[] = {
	{ "EVENT", true, 0 }, { "WHEN", false, 0 },     { "RUN", true, 0 },
	{ "KIND", false, 0 }, { "PAYLOAD", false, 10 }, { NULL, false, 0 },
};

static const struct table_column columns_file[] = {
	{ "FILE", false, 10 },
	{ "BYTES", true, 0 },
	{ "BY", false, 6 },
	{ NULL, false, 0 },
};

/* Writes go to ctl->out; ctl_main() looks at its error flag. */

static void show_head(const struct ctl *ctl, const char *title)
{
	(void)fprintf(ctl->out, "\n%s%s%s\n", table_colour_on(&ctl->screen, TABLE_BOLD), title,
		      table_colour_off(&ctl->screen, TABLE_BOLD));
}

static void show_value(FILE *out, const json_t *value)
{
	if (json_is_string(value))
		screen_put(out, json_string_value(value), json_string_length(value), 0);
	else if (json_is_integer(value))
		(void)fprintf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		(void)fprintf(out, "%g", json_real_value(value));
	else if (!value || json_is_null(value))
		(void)fputs("-", out);
	else
		(void)json_dumpf(value, out, 0);
}

static void show_time(FILE *out, const json_t *value)
{
	char text[32];

	if (!json_is_integer(value)) {
		show_value(out, value);
		return;
	}
	screen_time(json_integer_value(value), text);
	(void)fputs(text, out);
}

static bool show_has(const json_t *task, const char *key)
{
	const json_t *value = json_object_get(task, key);

	return value && !json_is_null(value) &&
	       !(json_is_string(value) && json_string_length(value) == 0);
}

/* A text of several lines, indented. */
static void show_lines(const struct ctl *ctl, const json_t *value)
{
	const char *s = json_string_value(value);
	size_t len = json_string_length(value);

	while (len > 0) {
		const char *end = memchr(s, '\n', len);
		size_t n = end ? (size_t)(end - s) : len;

		(void)fputs(n > 0 ? "  " : "", ctl->out);
		screen_put(ctl->out, s, n, SCREEN_LINES);
		(void)fputc('\n', ctl->out);
		n += end ? 1 : 0;
		s += n;
		len -= n;
	}
}

static void show_text(const struct ctl *ctl, const char *title, const json_t *value)
{
	if (json_string_length(value) == 0)
		return;
	show_head(ctl, title);
	show_lines(ctl, value);
}

/* "  name      value", where there is one */
static void show_line(const struct ctl *ctl, const json_t *task, const char *key,
		      const char *name)
{
	if (!show_has(task, key))
		return;
	(void)fprintf(ctl->out, "  %-11s ", name);
	show_value(ctl->out, json_object_get(task, key));
	(void)fputc('\n', ctl->out);
}

static void show_moment(const struct ctl *ctl, const json_t *task, const char *key,
			const char *name)
{
	if (!show_has(task, key))
		return;
	(void)fprintf(ctl->out, "  %-11s ", name);
	show_time(ctl->out, json_object_get(task, key));
	(void)fputc('\n', ctl->out);
}

static void show_task(const struct ctl *ctl, const json_t *task)
{
	const json_t *status = json_object_get(task, "status");
	const json_t *failures = json_object_get(task, "consecutive_failures");
	enum table_colour colour = table_colour_of(json_string_value(status));
	FILE *out = ctl->out;

	(void)fputs(table_colour_on(&ctl->screen, TABLE_BOLD), out);
	show_value(out, json_object_get(task, "id"));
	(void)fprintf(out, "%s  %s", table_colour_off(&ctl->screen, TABLE_BOLD),
		      table_colour_on(&ctl->screen, colour));
	show_value(out, status);
	(void)fprintf(out, "%s  ", table_colour_off(&ctl->screen, colour));
	show_value(out, json_object_get(task, "title"));
	(void)fputc('\n', out);
	show_line(ctl, task, "assignee", "assignee");
	show_line(ctl, task, "priority", "priority");
	show_line(ctl, task, "tenant", "tenant");
	show_line(ctl, task, "created_by", "created by");
	show_moment(ctl, task, "created_at", "created");
	show_moment(ctl, task, "started_at", "started");
	show_moment(ctl, task, "completed_at", "completed");
	show_moment(ctl, task, "scheduled_at", "scheduled");
	show_line(ctl, task, "workspace_kind", "workspace");
	show_line(ctl, task, "workspace_path", "");
	show_line(ctl, task, "branch_name", "branch");
	show_line(ctl, task, "skills", "skills");
	show_line(ctl, task, "model_override", "model");
	show_line(ctl, task, "max_runtime_seconds", "max runtime");
	show_line(ctl, task, "max_retries", "max retries");
	show_line(ctl, task, "claim_lock", "claimed by");
	show_moment(ctl, task, "claim_expires", "until");
	show_line(ctl, task, "worker_pid", "worker pid");
	show_moment(ctl, task, "last_heartbeat_at", "heartbeat");
	show_line(ctl, task, "current_run_id", "run");
	if (json_integer_value(failures) != 0) {
		show_line(ctl, task, "consecutive_failures", "failures");
		show_line(ctl, task, "last_failure_error", "last one");
	}
	show_line(ctl, task, "block_kind", "blocked for");
}

typedef int (*show_row_fn)(struct table *table, const json_t *row);

static int show_link(struct table *t, const json_t *row)
{
	const json_t *status = json_object_get(row, "status");
	int r = cells_add(t, json_object_get(row, "id"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, status, table_colour_of(json_string_value(status)));
	return r == 0 ? cells_add(t, json_object_get(row, "title"), TABLE_PLAIN) : r;
}

static int show_run(struct table *t, const json_t *row)
{
	const json_t *outcome = json_object_get(row, "outcome");
	const json_t *text = json_object_get(row, "summary");
	int r = cells_add(t, json_object_get(row, "id"), TABLE_PLAIN);

	if (!json_is_string(outcome)) /* it has not ended */
		outcome = json_object_get(row, "status");
	if (!json_is_string(text))
		text = json_object_get(row, "error");
	if (r == 0)
		r = cells_add(t, outcome, table_colour_of(json_string_value(outcome)));
	if (r == 0)
		r = cells_add(t, json_object_get(row, "profile"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add_time(t, json_object_get(row, "started_at"));
	if (r == 0)
		r = cells_add_time(t, json_object_get(row, "ended_at"));
	return r == 0 ? cells_add(t, text, TABLE_PLAIN) : r;
}

static int show_event(struct table *t, const json_t *row)
{
	int r = cells_add(t, json_object_get(row, "id"), TABLE_DIM);

	if (r == 0)
		r = cells_add_time(t, json_object_get(row, "created_at"));
	if (r == 0)
		r = cells_add(t, json_object_get(row, "run_id"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(row, "kind"), TABLE_PLAIN);
	return r == 0 ? cells_add_json(t, json_object_get(row, "payload")) : r;
}

static int show_file(struct table *t, const json_t *row)
{
	int r = cells_add(t, json_object_get(row, "filename"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, json_object_get(row, "size"), TABLE_PLAIN);
	return r == 0 ? cells_add(t, json_object_get(row, "uploaded_by"), TABLE_PLAIN) : r;
}

static int show_rows(const struct ctl *ctl, const char *title, const json_t *rows,
		     const struct table_column *columns, show_row_fn fn)
{
	CLEANUP(table_freep) struct table *table = NULL;

	if (json_array_size(rows) == 0)
		return 0;
	table = table_new(columns);
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		int r = fn(table, json_array_get(rows, i));

		if (r != 0)
			return r;
	}
	show_head(ctl, title);
	table_print(table, &ctl->screen, 2, ctl->out);
	return 0;
}

static void show_comments(const struct ctl *ctl, const json_t *comments)
{
	if (json_array_size(comments) > 0)
		show_head(ctl, "Comments");
	for (size_t i = 0; i < json_array_size(comments); i++) {
		const json_t *c = json_array_get(comments, i);

		(void)fputs(i ? "\n  " : "  ", ctl->out);
		(void)fputs(table_colour_on(&ctl->screen, TABLE_DIM), ctl->out);
		show_value(ctl->out, json_object_get(c, "author"));
		(void)fputs(", ", ctl->out);
		show_time(ctl->out, json_object_get(c, "created_at"));
		(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, TABLE_DIM));
		show_lines(ctl, json_object_get(c, "body"));
	}
}

static int show_all(const struct ctl *ctl, const json_t *all)
{
	const json_t *task = json_object_get(all, "task");
	const json_t *events = json_object_get(all, "events");
	long long total = json_integer_value(json_object_get(all, "events_total"));
	char title[64] = "Events";
	int r;

	show_task(ctl, task);
	show_text(ctl, "Body", json_object_get(task, "body"));
	show_text(ctl, "Result", json_object_get(task, "result"));
	r = show_rows(ctl, "Parents", json_object_get(all, "parents"), columns_link, show_link);
	if (r == 0)
		r = show_rows(ctl, "Children", json_object_get(all, "children"), columns_link,
			      show_link);
	if (r == 0)
		r = show_rows(ctl, "Runs", json_object_get(all, "runs"), columns_run, show_run);
	if (r == 0)
		r = show_rows(ctl, "Attachments", json_object_get(all, "attachments"),
			      columns_file, show_file);
	show_comments(ctl, json_object_get(all, "comments"));
	if (total > (long long)json_array_size(events))
		(void)snprintf(title, sizeof(title), "Events (the newest %zu of %lld)",
			       json_array_size(events), total);
	if (r == 0)
		r = show_rows(ctl, title, events, columns_event, show_event);
	return r == 0 ? CTL_OK : ctl_say(ctl, CTL_IO, "out of memory");
}

int ctl_verb_show(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	int64_t events = SHOW_EVENTS;
	const struct ctl_arg options[] = {
		{ "events", CTL_ARG_INT, &events, "N", "the newest N events (20); -1: all", -1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	struct error e = ERROR_NULL;
	const char *task;
	json_t *all = NULL;
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	task = args[0] ? args[0] : ctl_env(ctl, "HERMES_KANBAN_TASK");
	if (!task)
		return ctl_say(ctl, CTL_USAGE,
			       "which task? name it, or set HERMES_KANBAN_TASK");
	r = ctl_place(ctl, &place);
	if (r == 0)
		r = ctl_open(ctl, &place, false, &db);
	if (r != 0)
		return r;
	r = view_task(db, task, events, &all, &e);
	if (r != 0)
		return ctl_fail(ctl, r, &e);
	db = db_free(db); /* the reader of the output may be slow: let the board go first */
	if (ctl->json) {
		json_t *out = json_pack("{s:s}", "board", place.slug);

		if (json_object_update(out, all) < 0) {
			json_decref(out);
			out = NULL; /* told as out of memory */
		}
		json_decref(all);
		return ctl_print_json(ctl, out, CTL_OK);
	}
	r = show_all(ctl, all);
	json_decref(all);
	return r;
}
