/*
 * Rows to JSON.
 *
 * A board may be of any release, so columns that are not there are null, and it may hold
 * anything, so a text that is not UTF-8 is repaired, a blob is taken for text, and a JSON
 * column that holds no JSON is shown as the text that it is.
 *
 * The connection is an ordinary one: a reader has to take part in SQLite's locking, and has to
 * play back a hot journal as everybody does. What it must not do is fold a WAL into the file
 * just because it happens to be the last to close.
 */
#include "board/view.h"

#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "board/edit.h"
#include "db/db.h"
#include "util/fs.h"
#include "util/text.h"

static const char sql_tasks[] =
	"SELECT id, title, status, assignee, {tasks.priority} AS priority,"
	" {tasks.tenant} AS tenant, {tasks.created_by} AS created_by, created_at, started_at,"
	" {tasks.completed_at} AS completed_at, workspace_kind, workspace_path, claim_lock,"
	" claim_expires, worker_pid, current_run_id, {failures} AS consecutive_failures,"
	" {failure_error} AS last_failure_error,"
	" {tasks.last_heartbeat_at} AS last_heartbeat_at,"
	" {tasks.max_runtime_seconds} AS max_runtime_seconds,"
	" {tasks.max_retries} AS max_retries FROM tasks"
	" WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR assignee = ?2)"
	" AND (?3 IS NULL OR {tasks.tenant} = ?3) AND (?4 OR status <> 'archived')"
	" ORDER BY {tasks.priority?priority DESC,} created_at, rowid LIMIT ?5";

static const char sql_task[] = "SELECT * FROM tasks WHERE id = ?1";

static const char sql_parents[] =
	"SELECT l.parent_id AS id, t.title, t.status FROM task_links l"
	" LEFT JOIN tasks t ON t.id = l.parent_id WHERE l.child_id = ?1 ORDER BY l.parent_id";

static const char sql_children[] =
	"SELECT l.child_id AS id, t.title, t.status FROM task_links l"
	" LEFT JOIN tasks t ON t.id = l.child_id WHERE l.parent_id = ?1 ORDER BY l.child_id";

static const char sql_runs[] = "SELECT * FROM task_runs WHERE task_id = ?1 ORDER BY id";

static const char sql_comments[] = "SELECT * FROM task_comments WHERE task_id = ?1 ORDER BY id";

static const char sql_attachments[] =
	"SELECT * FROM task_attachments WHERE task_id = ?1 ORDER BY id";

static const char sql_events_total[] = "SELECT COUNT(*) FROM task_events WHERE task_id = ?1";

static const char sql_events[] =
	"SELECT * FROM (SELECT * FROM task_events WHERE task_id = ?1 ORDER BY id DESC LIMIT ?2)"
	" ORDER BY id";

static const char sql_has_table[] =
	"SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";

static const char sql_counts[] = "SELECT status, COUNT(*) FROM tasks GROUP BY status";

/* The keys of each kind of row, in order; `:` marks a column that holds JSON. */
static const char *const keys_task[] = { "id",
					 "title",
					 "body",
					 "assignee",
					 "status",
					 "priority",
					 "created_by",
					 "created_at",
					 "started_at",
					 "completed_at",
					 "workspace_kind",
					 "workspace_path",
					 "branch_name",
					 "project_id",
					 "claim_lock",
					 "claim_expires",
					 "tenant",
					 "result",
					 "idempotency_key",
					 "consecutive_failures",
					 "worker_pid",
					 "worker_started_at",
					 "last_failure_error",
					 "max_runtime_seconds",
					 "last_heartbeat_at",
					 "current_run_id",
					 "workflow_template_id",
					 "current_step_key",
					 "skills:",
					 "model_override",
					 "provider_override",
					 "reasoning_effort",
					 "max_retries",
					 "goal_mode",
					 "goal_max_turns",
					 "session_id",
					 "block_kind",
					 "block_recurrences",
					 "scheduled_at",
					 NULL };

static const char *const keys_listed[] = { "id",
					   "title",
					   "status",
					   "assignee",
					   "priority",
					   "tenant",
					   "created_by",
					   "created_at",
					   "started_at",
					   "completed_at",
					   "workspace_kind",
					   "workspace_path",
					   "claim_lock",
					   "claim_expires",
					   "worker_pid",
					   "current_run_id",
					   "consecutive_failures",
					   "last_failure_error",
					   "last_heartbeat_at",
					   "max_runtime_seconds",
					   "max_retries",
					   NULL };

static const char *const keys_link[] = { "id", "title", "status", NULL };

static const char *const keys_run[] = { "id",
					"profile",
					"step_key",
					"status",
					"outcome",
					"started_at",
					"ended_at",
					"claim_lock",
					"claim_expires",
					"worker_pid",
					"worker_started_at",
					"max_runtime_seconds",
					"last_heartbeat_at",
					"summary",
					"metadata:",
					"error",
					NULL };

static const char *const keys_comment[] = { "id", "author", "body", "created_at", NULL };

static const char *const keys_attachment[] = { "id",           "filename", "stored_path",
					       "content_type", "size",     "uploaded_by",
					       "created_at",   NULL };

static const char *const keys_event[] = {
	"id", "run_id", "kind", "payload:", "created_at", NULL
};

static void view_jsonp(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

int view_open(struct db **db, const char *path, int busy_timeout_ms, struct error *e)
{
	const struct db_options opt = { .path = path, .busy_timeout_ms = busy_timeout_ms };
	CLEANUP(freep) char *wal = fs_path("%s-wal", path);
	struct stat st;
	int r;

	if (!wal)
		return error_set(e, -ENOMEM, "out of memory");
	/* Without a WAL before, closing removes the empty one that opening made. With one, it
	 * stays as it is. */
	r = db_open(db, &opt, e);
	if (r == 0 && stat(wal, &st) == 0 && st.st_size > 0)
		(void)sqlite3_db_config(db_handle(*db), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
					NULL);
	return r;
}

/* ---- rows ---------------------------------------------------------------------------------
 */

static json_t *view_text(const char *text, size_t len)
{
	CLEANUP(freep) char *good = NULL;

	if (text_is_utf8(text, len))
		return json_stringn_nocheck(text, len);
	good = text_repair(text, len, &len);
	return good ? json_stringn_nocheck(good, len) : NULL;
}

/* NULL when out of memory */
static json_t *view_value(sqlite3_stmt *stmt, int i, bool is_json)
{
	const char *text;
	json_t *value = NULL;
	double real;
	size_t len;

	switch (sqlite3_column_type(stmt, i)) {
	case SQLITE_NULL:
		return json_null();
	case SQLITE_INTEGER:
		return json_integer(sqlite3_column_int64(stmt, i));
	case SQLITE_FLOAT:
		real = sqlite3_column_double(stmt, i);
		value = json_real(real); /* refuses what JSON cannot say */
		return value ? value : json_null();
	default:
		text = (const char *)sqlite3_column_text(stmt, i);
		len = (size_t)sqlite3_column_bytes(stmt, i);
		if (!text)
			return sqlite3_errcode(sqlite3_db_handle(stmt)) == SQLITE_NOMEM
				       ? NULL
				       : json_string("");
		if (is_json)
			value = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
		return value ? value : view_text(text, len);
	}
}

static int view_column(sqlite3_stmt *stmt, const char *name, size_t len)
{
	for (int i = 0, n = sqlite3_column_count(stmt); i < n; i++) {
		const char *have = sqlite3_column_name(stmt, i);

		if (have && strncmp(have, name, len) == 0 && have[len] == '\0')
			return i;
	}
	return -1;
}

/* The row that @stmt stands on; NULL when out of memory. */
static json_t *view_row(sqlite3_stmt *stmt, const char *const *keys)
{
	CLEANUP(view_jsonp) json_t *row = json_object();

	for (; row && *keys; keys++) {
		size_t len = strcspn(*keys, ":");
		bool is_json = (*keys)[len] == ':';
		int i = view_column(stmt, *keys, len);
		char key[64];

		/* the two columns that were renamed since the first release */
		if (i < 0 && strcmp(*keys, "consecutive_failures") == 0)
			i = view_column(stmt, "spawn_failures", strlen("spawn_failures"));
		if (i < 0 && strcmp(*keys, "last_failure_error") == 0)
			i = view_column(stmt, "last_spawn_error", strlen("last_spawn_error"));
		memcpy(key, *keys, len);
		key[len] = '\0';
		if (json_object_set_new(row, key,
					i < 0 ? json_null() : view_value(stmt, i, is_json)) < 0)
			return NULL;
	}
	return STEAL(row);
}

int view_tasks(struct db *db, const struct view_filter *f, view_row_fn row, void *arg,
	       struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int64_t archived = f->archived || f->status;
	int r;

	r = db_query(db, e, &stmt, sql_tasks, "tttii", f->status, f->assignee, f->tenant,
		     archived, f->limit);
	while (r == 0 && (r = db_step(db, stmt, e)) == DB_ROW) {
		CLEANUP(view_jsonp) json_t *one = view_row(stmt, keys_listed);

		r = one ? row(arg, one) : -ENOMEM;
		if (r != 0) {
			(void)sqlite3_reset(stmt); /* no more rows are wanted */
			return error_set(e, r, "out of memory");
		}
	}
	return r;
}

/* All rows of @sql as an array under @key of @out. */
static int view_rows(struct db *db, json_t *out, const char *key, sqlite3_stmt *stmt,
		     const char *const *keys, struct error *e)
{
	CLEANUP(view_jsonp) json_t *rows = json_array();
	int r = rows ? 0 : -ENOMEM;

	while (r == 0 && (r = db_step(db, stmt, e)) == DB_ROW)
		r = json_array_append_new(rows, view_row(stmt, keys)) < 0 ? -ENOMEM : 0;
	if (r == 0 && json_object_set(out, key, rows) < 0)
		r = -ENOMEM;
	(void)sqlite3_reset(stmt); /* done, or given up */
	return r == -ENOMEM ? error_set(e, r, "out of memory") : r;
}

static int view_related(struct db *db, const char *id, int64_t events, json_t *out,
			struct error *e)
{
	const struct {
		const char *key, *sql;
		const char *const *keys;
	} lists[] = {
		{ "parents", sql_parents, keys_link },
		{ "children", sql_children, keys_link },
		{ "runs", sql_runs, keys_run },
		{ "comments", sql_comments, keys_comment },
		{ "attachments", sql_attachments, keys_attachment },
	};
	sqlite3_stmt *stmt = NULL;
	int64_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(lists) / sizeof(lists[0]); i++) {
		r = db_one_int(db, e, &n, 1, sql_has_table, "t",
			       strcmp(lists[i].key, "attachments") == 0 ? "task_attachments"
			       : strcmp(lists[i].key, "comments") == 0  ? "task_comments"
									: "tasks");
		if (r == 0 && n == 0)
			r = json_object_set_new(out, lists[i].key, json_array()) < 0 ? -ENOMEM
										     : 0;
		else if (r == 0 && (r = db_query(db, e, &stmt, lists[i].sql, "t", id)) == 0)
			r = view_rows(db, out, lists[i].key, stmt, lists[i].keys, e);
	}
	if (r == 0)
		r = db_one_int(db, e, &n, 0, sql_events_total, "t", id);
	if (r == 0)
		r = json_object_set_new(out, "events_total", json_integer(n)) < 0 ? -ENOMEM : 0;
	if (r == 0)
		r = db_query(db, e, &stmt, sql_events, "ti", id, events);
	if (r == 0)
		r = view_rows(db, out, "events", stmt, keys_event, e);
	return r == -ENOMEM ? error_set(e, r, "out of memory") : r;
}

/* Within one read transaction, so that what is shown belongs together. */
static int view_task_in(struct db *db, const char *id, int64_t events, json_t *out,
			struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	r = db_query(db, e, &stmt, sql_task, "t", id);
	if (r == 0)
		r = db_step(db, stmt, e);
	if (r == 0)
		return error_set(e, EDIT_NO_TASK, "there is no task %s on this board", id);
	if (r != DB_ROW)
		return r;
	r = json_object_set_new(out, "task", view_row(stmt, keys_task));
	(void)sqlite3_reset(stmt); /* the one row was read */
	if (r < 0)
		return error_set(e, -ENOMEM, "out of memory");
	return view_related(db, id, events, out, e);
}

int view_task(struct db *db, const char *id, int64_t events, json_t **out, struct error *e)
{
	CLEANUP(view_jsonp) json_t *all = json_object();
	int r;

	if (!all)
		return error_set(e, -ENOMEM, "out of memory");
	r = db_run(db, e, "BEGIN", "");
	if (r == 0)
		r = view_task_in(db, id, events, all, e);
	db_rollback(db); /* nothing was written */
	if (r == 0)
		*out = STEAL(all);
	return r;
}

int view_counts(struct db *db, json_t **out, struct error *e)
{
	static const char *const known[] = { "triage", "todo",    "scheduled",
					     "ready",  "running", "blocked",
					     "review", "done",    "archived" };
	CLEANUP(view_jsonp) json_t *counts = json_object();
	sqlite3_stmt *stmt = NULL;
	int64_t total = 0;
	int r;

	for (size_t i = 0; counts && i < sizeof(known) / sizeof(known[0]); i++)
		if (json_object_set_new(counts, known[i], json_integer(0)) < 0)
			return error_set(e, -ENOMEM, "out of memory");
	r = db_query(db, e, &stmt, sql_counts, "");
	while (r == 0 && (r = db_step(db, stmt, e)) == DB_ROW) {
		CLEANUP(view_jsonp) json_t *name = view_value(stmt, 0, false);
		int64_t n = sqlite3_column_int64(stmt, 1);

		total += n;
		r = 0;
		if (!json_is_string(name))
			continue;
		if (json_object_set_new_nocheck(counts, json_string_value(name),
						json_integer(n)) < 0)
			r = -ENOMEM;
	}
	if (r == 0 && json_object_set_new(counts, "total", json_integer(total)) < 0)
		r = -ENOMEM;
	if (r == 0)
		*out = STEAL(counts);
	return r == -ENOMEM ? error_set(e, r, "out of memory") : r;
}
