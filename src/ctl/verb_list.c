/*
 * add and list. What list reads is kept in memory until the board is closed again: the reader
 * of the output may be a pager that waits for a key, and a board that is being read cannot be
 * written by others in DELETE mode.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/table.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/fs.h"

#define CTL_NUMBER_MAX INT32_MAX

/* ---- add ----------------------------------------------------------------------------------
 */

/* A task for a profile that is not there waits for whoever pulls it: likely a slip. */
static void ctl_add_warn(const struct ctl *ctl, const char *assignee)
{
	CLEANUP(freep) char *root = NULL;
	CLEANUP(freep) char *folder = NULL;
	char name[BOARD_SLUG_MAX + 1];
	size_t len = strlen(assignee);

	if (len >= sizeof(name) || ctl_env(ctl, "HERMES_KANBAN_DB"))
		return;
	for (size_t i = 0; i <= len; i++)
		name[i] = (char)(assignee[i] >= 'A' && assignee[i] <= 'Z' ? assignee[i] | 0x20
									  : assignee[i]);
	if (strcmp(name, "default") == 0 || !fs_is_slug(name) || ctl_root(ctl, &root) != 0)
		return;
	folder = fs_path("%s/profiles/%s", root, name);
	if (folder && !fs_is_dir(folder))
		(void)ctl_say(
			ctl, CTL_OK,
			"note: there is no profile %s in %s; no dispatcher will start the "
			"task until there is",
			name, root);
}

/* A folder or a worktree is where board.json says, if nothing else is said. */
static void ctl_add_workdir(struct edit_task *t, const struct board_place *place)
{
	if (!t->workspace_path && t->workspace_kind &&
	    (strcmp(t->workspace_kind, "dir") == 0 ||
	     strcmp(t->workspace_kind, "worktree") == 0))
		t->workspace_path = place->default_workdir;
}

static int ctl_add_task(struct ctl *ctl, struct edit_task *t)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	char id[EDIT_ID_SIZE] = "";
	struct edit_done done;
	bool made;
	int r;

	r = ctl_place(ctl, &place);
	if (r == 0)
		r = ctl_open(ctl, &place, true, &db);
	if (r != 0)
		return r;
	ctl_add_workdir(t, &place);
	r = edit_add(db, t, clock_wall_s(), id, &made, &done, &e);
	if (r != 0)
		return ctl_fail(ctl, r, &e);
	if (t->assignee && made)
		ctl_add_warn(ctl, t->assignee);
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:s, s:s, s:s, s:b}", "board", place.slug,
						"id", id, "status", done.status, "created",
						made),
				      CTL_OK);
	(void)fprintf(ctl->out, "%s\n", id); /* ctl_main() looks at the error flag */
	return CTL_OK;
}

int ctl_verb_add(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_list_deinit) struct ctl_list parents = { 0 };
	CLEANUP(ctl_list_deinit) struct ctl_list skills = { 0 };
	CLEANUP(freep) char *title = NULL;
	CLEANUP(freep) char *body = NULL;
	struct edit_task t = { .created_by = ctl_env(ctl, "HERMES_PROFILE") };
	const struct ctl_arg options[] = {
		{ "assignee", CTL_ARG_TEXT, &t.assignee, "PROFILE", "who does it", 0, 0 },
		{ "body", CTL_ARG_LONG, &body, "TEXT", "the whole text; - reads it", 0, 0 },
		{ "priority", CTL_ARG_INT, &t.priority, "N", "higher comes first (0)",
		  -CTL_NUMBER_MAX, CTL_NUMBER_MAX },
		{ "parent", CTL_ARG_LIST, &parents, "TASK", "wait for it; may be repeated", 0,
		  0 },
		{ "triage", CTL_ARG_FLAG, &t.triage, NULL, "to be thought about first", 0, 0 },
		{ "workspace", CTL_ARG_TEXT, &t.workspace_kind, "KIND",
		  "scratch (default), dir or worktree", 0, 0 },
		{ "workspace-path", CTL_ARG_TEXT, &t.workspace_path, "FOLDER",
		  "absolute; else the board's default_workdir", 0, 0 },
		{ "branch", CTL_ARG_TEXT, &t.branch_name, "NAME", "branch of a worktree", 0,
		  0 },
		{ "max-runtime", CTL_ARG_INT, &t.max_runtime_s, "SECONDS",
		  "longest run of a worker", 1, CTL_NUMBER_MAX },
		{ "max-retries", CTL_ARG_INT, &t.max_retries, "N",
		  "failures until it is given up", 1, CTL_NUMBER_MAX },
		{ "skill", CTL_ARG_LIST, &skills, "NAME", "for the worker; may be repeated", 0,
		  0 },
		{ "model", CTL_ARG_TEXT, &t.model, "NAME", "instead of the profile's", 0, 0 },
		{ "provider", CTL_ARG_TEXT, &t.provider, "NAME", "of that model", 0, 0 },
		{ "tenant", CTL_ARG_TEXT, &t.tenant, "NAME", "whom it is for", 0, 0 },
		{ "created-by", CTL_ARG_TEXT, &t.created_by, "NAME",
		  "(else HERMES_PROFILE, else user)", 0, 0 },
		{ "idempotency-key", CTL_ARG_TEXT, &t.idempotency_key, "KEY",
		  "add it only once", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = ctl_long_text(ctl, "title", args[0], &title);
	if (r != 0)
		return r;
	t.title = title;
	t.body = body;
	t.parents = parents.items;
	t.skills = skills.items;
	if (!t.created_by)
		t.created_by = "user";
	return ctl_add_task(ctl, &t);
}

/* ---- list ---------------------------------------------------------------------------------
 */

static const struct table_column columns_list[] = {
	{ "TASK", false, 0 },     { "STATUS", false, 0 },  { "PRIO", true, 0 },
	{ "ASSIGNEE", false, 8 }, { "CREATED", false, 0 }, { "TITLE", false, 10 },
	{ NULL, false, 0 },
};

/* Where the rows go. */
struct ctl_rows {
	bool json;
	FILE *text; /* JSON: the rows, one a line */
	size_t n;
	struct table *table;
};

static int ctl_list_row(void *arg, json_t *row)
{
	const char *status = json_string_value(json_object_get(row, "status"));
	struct ctl_rows *rows = arg;
	int r;

	if (rows->json) {
		(void)fputs(rows->n++ ? ",\n" : "\n", rows->text);
		return json_dumpf(row, rows->text, 0) < 0 || ferror(rows->text) ? -ENOMEM : 0;
	}
	r = cells_add(rows->table, json_object_get(row, "id"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(rows->table, json_object_get(row, "status"),
			      table_colour_of(status));
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

static int ctl_list_print(const struct ctl *ctl, const char *slug, const struct ctl_rows *rows,
			  const char *json)
{
	/* ctl_main() looks at the error flag */
	if (rows->json)
		(void)fprintf(ctl->out, "{\"board\": \"%s\", \"tasks\": [%s%s]}\n", slug, json,
			      rows->n ? "\n" : "");
	else if (table_rows(rows->table) > 0)
		table_print(rows->table, &ctl->screen, 0, ctl->out);
	else if (ctl->screen.width > 0)
		(void)fprintf(ctl->out, "no tasks on board %s\n", slug);
	return CTL_OK;
}

static int ctl_list_read(struct ctl *ctl, const struct view_filter *filter,
			 struct ctl_rows *rows, struct board_place *place)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int r;

	r = ctl_place(ctl, place);
	if (r == 0)
		r = ctl_open(ctl, place, false, &db);
	if (r != 0)
		return r;
	r = view_tasks(db, filter, ctl_list_row, rows, &e);
	return r == 0 ? 0 : ctl_fail(ctl, r, &e);
}

int ctl_verb_list(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(table_freep) struct table *table = NULL;
	CLEANUP(freep) char *json = NULL;
	struct view_filter filter = { .limit = -1 };
	struct ctl_rows rows = { 0 };
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
	rows.text = open_memstream(&json, &size);
	rows.table = table = table_new(columns_list);
	if (!rows.text || !table)
		r = ctl_say(ctl, CTL_IO, "out of memory");
	else
		r = ctl_list_read(ctl, &filter, &rows, &place);
	if (rows.text && fclose(rows.text) != 0 && r == 0)
		r = ctl_say(ctl, CTL_IO, "out of memory");
	return r != 0 ? r : ctl_list_print(ctl, place.slug, &rows, json);
}
