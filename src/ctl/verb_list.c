/*
 * list: the tasks of a board. What is read is kept in memory until the board is closed again:
 * the reader of the output may be a pager that waits for a key, and a board that is being read
 * cannot be written by others in DELETE mode.
 */
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
#include "util/json.h"
#include "util/suggest.h"

static const struct table_column columns_list[] = {
	{ "TASK", false, 0 },     { "STATUS", false, 0 },  { "PRIO", true, 0 },
	{ "ASSIGNEE", false, 8 }, { "CREATED", false, 0 }, { "TITLE", false, 10 },
	{ NULL, false, 0 },
};

/* Where the rows go. */
struct list_rows {
	bool json;
	bool plain; /* JSON for a terminal */
	FILE *text; /* JSON: the rows, one a line */
	size_t n;
	struct table *table;
};

/* On a terminal nothing in it may act. */
static int list_put(const struct list_rows *rows, const json_t *row)
{
	CLEANUP(freep) char *text = rows->plain ? json_plain(row, 0) : json_dumps(row, 0);

	if (!text || fputs(text, rows->text) == EOF)
		return -ENOMEM;
	return ferror(rows->text) ? -ENOMEM : 0;
}

/* A task that waits for a time says for which. */
static int list_status(struct table *table, const json_t *row)
{
	const json_t *status = json_object_get(row, "status");
	const json_t *at = json_object_get(row, "scheduled_at");
	const char *name = json_string_value(status);
	enum table_colour colour = table_colour_of(name);
	json_t *text;
	char when[32];
	int r;

	if (!name || strcmp(name, "scheduled") != 0 || !json_is_integer(at))
		return cells_add(table, status, colour);
	screen_time(json_integer_value(at), when);
	text = json_sprintf("scheduled for %s", when);
	r = text ? cells_add(table, text, colour) : -ENOMEM;
	json_decref(text);
	return r;
}

static int list_row(void *arg, json_t *row)
{
	struct list_rows *rows = arg;
	int r;

	rows->n++;
	if (rows->json) {
		(void)fputs(rows->n > 1 ? ",\n" : "\n", rows->text);
		return list_put(rows, row);
	}
	r = cells_add(rows->table, json_object_get(row, "id"), TABLE_PLAIN);
	if (r == 0)
		r = list_status(rows->table, row);
	if (r == 0)
		r = cells_add(rows->table, json_object_get(row, "priority"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(rows->table, json_object_get(row, "assignee"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add_time(rows->table, json_object_get(row, "created_at"));
	if (r == 0)
		r = cells_add(rows->table, json_object_get(row, "title"), TABLE_PLAIN);
	return r;
}

static int list_print(const struct ctl *ctl, const char *slug, const struct list_rows *rows,
		      const char *json)
{
	/* ctl_main() looks at the error flag */
	if (rows->json)
		(void)fprintf(ctl->out, "{\"board\": \"%s\", \"tasks\": [%s%s]}\n", slug, json,
			      rows->n ? "\n" : "");
	else if (table_rows(rows->table) > 0)
		return ctl_table(ctl, rows->table, 0);
	else if (ctl->screen.width > 0)
		(void)fprintf(ctl->out, "no tasks on board %s\n", slug);
	return CTL_OK;
}

/* Nothing has the status that was asked for: likely because there is none such. */
static int list_unknown(const struct ctl *ctl, const char *status)
{
	const char *near = suggest(status, view_statuses, VIEW_STATUSES);

	for (size_t i = 0; i < VIEW_STATUSES; i++)
		if (strcmp(view_statuses[i], status) == 0)
			return CTL_OK;
	if (near)
		return ctl_say(
			ctl, CTL_USAGE,
			"there is no status %s; did you mean %s? See kanbanctl list --help",
			status, near);
	return ctl_say(ctl, CTL_USAGE,
		       "there is no status %s; kanbanctl words statuses lists them", status);
}

static int list_read(struct ctl *ctl, const struct view_filter *filter, struct list_rows *rows,
		     struct board_place *place)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int r;

	r = ctl_place(ctl, place);
	if (r == 0)
		r = ctl_open(ctl, place, false, &db);
	if (r != 0)
		return r;
	r = view_tasks(db, filter, list_row, rows, &e);
	if (r == 0 && filter->status && rows->n == 0)
		r = list_unknown(ctl, filter->status);
	else if (r != 0)
		r = ctl_fail(ctl, r, &e);
	return r;
}

static int verb_list_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(table_freep) struct table *table = NULL;
	CLEANUP(freep) char *json = NULL;
	struct view_filter filter = { .limit = -1 };
	struct list_rows rows = { 0 };
	size_t size = 0;
	const struct ctl_arg options[] = {
		{ "status", CTL_ARG_TEXT, &filter.status, "STATUS", "only these", 0, 0 },
		{ "assignee", CTL_ARG_TEXT, &filter.assignee, "PROFILE", "only theirs", 0, 0 },
		{ "tenant", CTL_ARG_TEXT, &filter.tenant, "NAME", "only theirs", 0, 0 },
		{ "all", CTL_ARG_FLAG, &filter.archived, NULL, "archived tasks too", 0, 0 },
		{ "limit", CTL_ARG_INT, &filter.limit, "N", "at most N", 0, INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	rows.json = ctl->json;
	rows.plain = ctl->screen.width > 0;
	rows.text = open_memstream(&json, &size);
	rows.table = table = table_new(columns_list);
	if (!rows.text || !table)
		r = ctl_say(ctl, CTL_IO, "out of memory");
	else
		r = list_read(ctl, &filter, &rows, &place);
	if (rows.text && fclose(rows.text) != 0 && r == 0)
		r = ctl_say(ctl, CTL_IO, "out of memory");
	return r != 0 ? r : list_print(ctl, place.slug, &rows, json);
}

static const struct ctl_verb verb_list = {
	.name = "list",
	.args = "",
	.what = "list the tasks of a board",
	.group = CTL_TASKS,
	.rank = 20,
	.flags = CTL_TABLE,
	.run = verb_list_run,
};
CTL_VERB(verb_list);
