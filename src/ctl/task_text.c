/* Everything about one task, as people read it. */
#include "ctl/task_text.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/ctl_table.h"
#include "ctl/table.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/printable.h"

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

static void task_text_head(const struct ctl *ctl, const char *title)
{
	(void)fprintf(ctl->out, "\n%s%s%s\n", table_colour_on(&ctl->screen, TABLE_BOLD), title,
		      table_colour_off(&ctl->screen, TABLE_BOLD));
}

static void task_text_nested(FILE *out, const json_t *value)
{
	CLEANUP(freep) char *text = json_plain(value, 0);

	(void)fputs(text ? text : "?", out);
}

static void task_text_value(FILE *out, const json_t *value)
{
	if (json_is_string(value))
		printable_put(out, json_string_value(value), json_string_length(value), 0);
	else if (json_is_integer(value))
		(void)fprintf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		(void)fprintf(out, "%g", json_real_value(value));
	else if (!value || json_is_null(value))
		(void)fputs("-", out);
	else
		task_text_nested(out, value);
}

static void task_text_time(FILE *out, const json_t *value)
{
	char text[32];

	if (!json_is_integer(value)) {
		task_text_value(out, value);
		return;
	}
	screen_time(json_integer_value(value), text);
	(void)fputs(text, out);
}

static bool task_text_has(const json_t *task, const char *key)
{
	const json_t *value = json_object_get(task, key);

	return value && !json_is_null(value) &&
	       !(json_is_string(value) && json_string_length(value) == 0);
}

/* A text of several lines, indented. */
static void task_text_lines(const struct ctl *ctl, const json_t *value)
{
	const char *s = json_string_value(value);
	size_t len = json_string_length(value);

	while (len > 0) {
		const char *end = memchr(s, '\n', len);
		size_t n = end ? (size_t)(end - s) : len;

		(void)fputs(n > 0 ? "  " : "", ctl->out);
		printable_put(ctl->out, s, n, PRINTABLE_LINES);
		(void)fputc('\n', ctl->out);
		n += end ? 1 : 0;
		s += n;
		len -= n;
	}
}

static void task_text_text(const struct ctl *ctl, const char *title, const json_t *value)
{
	if (json_string_length(value) == 0)
		return;
	task_text_head(ctl, title);
	task_text_lines(ctl, value);
}

/* "  name      value", where there is one */
static void task_text_line(const struct ctl *ctl, const json_t *task, const char *key,
			   const char *name)
{
	if (!task_text_has(task, key))
		return;
	(void)fprintf(ctl->out, "  %-11s ", name);
	task_text_value(ctl->out, json_object_get(task, key));
	(void)fputc('\n', ctl->out);
}

static void task_text_moment(const struct ctl *ctl, const json_t *task, const char *key,
			     const char *name)
{
	if (!task_text_has(task, key))
		return;
	(void)fprintf(ctl->out, "  %-11s ", name);
	task_text_time(ctl->out, json_object_get(task, key));
	(void)fputc('\n', ctl->out);
}

static void task_text_task(const struct ctl *ctl, const json_t *task)
{
	const json_t *status = json_object_get(task, "status");
	const json_t *failures = json_object_get(task, "consecutive_failures");
	enum table_colour colour = table_colour_of(json_string_value(status));
	FILE *out = ctl->out;

	(void)fputs(table_colour_on(&ctl->screen, TABLE_BOLD), out);
	task_text_value(out, json_object_get(task, "id"));
	(void)fprintf(out, "%s  %s", table_colour_off(&ctl->screen, TABLE_BOLD),
		      table_colour_on(&ctl->screen, colour));
	task_text_value(out, status);
	(void)fprintf(out, "%s  ", table_colour_off(&ctl->screen, colour));
	task_text_value(out, json_object_get(task, "title"));
	(void)fputc('\n', out);
	task_text_line(ctl, task, "assignee", "assignee");
	task_text_line(ctl, task, "priority", "priority");
	task_text_line(ctl, task, "tenant", "tenant");
	task_text_line(ctl, task, "created_by", "created by");
	task_text_moment(ctl, task, "created_at", "created");
	task_text_moment(ctl, task, "started_at", "started");
	task_text_moment(ctl, task, "completed_at", "completed");
	task_text_moment(ctl, task, "scheduled_at", "scheduled");
	task_text_line(ctl, task, "every", "every");
	task_text_line(ctl, task, "workspace_kind", "workspace");
	task_text_line(ctl, task, "workspace_path", "");
	task_text_line(ctl, task, "branch_name", "branch");
	task_text_line(ctl, task, "skills", "skills");
	task_text_line(ctl, task, "model_override", "model");
	task_text_line(ctl, task, "max_runtime_seconds", "max runtime");
	task_text_line(ctl, task, "max_retries", "max retries");
	task_text_line(ctl, task, "claim_lock", "claimed by");
	task_text_moment(ctl, task, "claim_expires", "until");
	task_text_line(ctl, task, "worker_pid", "worker pid");
	task_text_moment(ctl, task, "last_heartbeat_at", "heartbeat");
	task_text_line(ctl, task, "current_run_id", "run");
	if (json_integer_value(failures) != 0) {
		task_text_line(ctl, task, "consecutive_failures", "failures");
		task_text_line(ctl, task, "last_failure_error", "last one");
	}
	task_text_line(ctl, task, "block_kind", "blocked for");
}

typedef int (*task_text_row_fn)(struct table *table, const json_t *row);

static int task_text_link(struct table *t, const json_t *row)
{
	const json_t *status = json_object_get(row, "status");
	int r = cells_add(t, json_object_get(row, "id"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, status, table_colour_of(json_string_value(status)));
	return r == 0 ? cells_add(t, json_object_get(row, "title"), TABLE_PLAIN) : r;
}

static int task_text_run(struct table *t, const json_t *row)
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

static int task_text_event(struct table *t, const json_t *row)
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

static int task_text_file(struct table *t, const json_t *row)
{
	int r = cells_add(t, json_object_get(row, "filename"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add(t, json_object_get(row, "size"), TABLE_PLAIN);
	return r == 0 ? cells_add(t, json_object_get(row, "uploaded_by"), TABLE_PLAIN) : r;
}

static int task_text_rows(const struct ctl *ctl, const char *title, const json_t *rows,
			  const struct table_column *columns, task_text_row_fn fn)
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
	task_text_head(ctl, title);
	return ctl_table(ctl, table, 2);
}

static void task_text_comments(const struct ctl *ctl, const json_t *comments)
{
	if (json_array_size(comments) > 0)
		task_text_head(ctl, "Comments");
	for (size_t i = 0; i < json_array_size(comments); i++) {
		const json_t *c = json_array_get(comments, i);

		(void)fputs(i ? "\n  " : "  ", ctl->out);
		(void)fputs(table_colour_on(&ctl->screen, TABLE_DIM), ctl->out);
		task_text_value(ctl->out, json_object_get(c, "author"));
		(void)fputs(", ", ctl->out);
		task_text_time(ctl->out, json_object_get(c, "created_at"));
		(void)fprintf(ctl->out, "%s\n", table_colour_off(&ctl->screen, TABLE_DIM));
		task_text_lines(ctl, json_object_get(c, "body"));
	}
}

/* When a task that failed is tried again: the dispatcher notes it when it puts the task off. */
static void task_text_next_try(const struct ctl *ctl, const json_t *task, const json_t *events)
{
	const char *status = json_string_value(json_object_get(task, "status"));
	const json_t *newest = NULL, *at;
	json_int_t id = 0;

	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *event = json_array_get(events, i);
		const char *kind = json_string_value(json_object_get(event, "kind"));

		if (!kind || strcmp(kind, "respawn_guarded") != 0 ||
		    json_integer_value(json_object_get(event, "id")) < id)
			continue;
		id = json_integer_value(json_object_get(event, "id"));
		newest = event;
	}
	at = json_object_get(json_object_get(newest, "payload"), "next_try");
	if (!status || (strcmp(status, "ready") != 0 && strcmp(status, "review") != 0) ||
	    json_integer_value(at) <= clock_wall_s())
		return;
	(void)fprintf(ctl->out, "  %-11s ", "next try");
	task_text_time(ctl->out, at);
	(void)fputc('\n', ctl->out);
}

int task_text(const struct ctl *ctl, const json_t *all)
{
	const json_t *task = json_object_get(all, "task");
	const json_t *events = json_object_get(all, "events");
	long long total = json_integer_value(json_object_get(all, "events_total"));
	char title[64] = "Events";
	int r;

	task_text_task(ctl, task);
	task_text_line(ctl, all, "log", "log");
	task_text_next_try(ctl, task, events);
	task_text_text(ctl, "Body", json_object_get(task, "body"));
	task_text_text(ctl, "Result", json_object_get(task, "result"));
	r = task_text_rows(ctl, "Parents", json_object_get(all, "parents"), columns_link,
			   task_text_link);
	if (r == 0)
		r = task_text_rows(ctl, "Children", json_object_get(all, "children"),
				   columns_link, task_text_link);
	if (r == 0)
		r = task_text_rows(ctl, "Runs", json_object_get(all, "runs"), columns_run,
				   task_text_run);
	if (r == 0)
		r = task_text_rows(ctl, "Attachments", json_object_get(all, "attachments"),
				   columns_file, task_text_file);
	task_text_comments(ctl, json_object_get(all, "comments"));
	if (total > (long long)json_array_size(events))
		(void)snprintf(title, sizeof(title), "Events (the newest %zu of %lld)",
			       json_array_size(events), total);
	if (r == 0)
		r = task_text_rows(ctl, title, events, columns_event, task_text_event);
	return r >= 0 ? r : ctl_say(ctl, CTL_IO, "out of memory");
}
