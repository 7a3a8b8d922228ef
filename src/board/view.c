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
#include "db/db_file.h"
#include "recovery/door.h"
#include "tick/recur.h"
#include "tick/scheduled.h"
#include "util/fs.h"
#include "util/json.h"

/* of two columns of one name the first is shown */
#define SQL_TIME                                                                               \
	"CASE WHEN t.status = 'scheduled' THEN " SCHEDULED_AT                                  \
	" ELSE {tasks.scheduled_at@t} END AS scheduled_at,"                                    \
	" CASE WHEN {tasks.idempotency_key@t} >= '" RECUR_KEY                                  \
	"' AND {tasks.idempotency_key@t} < '" RECUR_KEY_AFTER "' THEN"                         \
	" (SELECT CASE WHEN json_valid(re.payload) THEN"                                       \
	"  json_extract(re.payload, '$.calendar') END FROM task_events re"                     \
	"  WHERE re.task_id = t.id AND re.kind = 'recurs' ORDER BY re.id DESC LIMIT 1)"        \
	" END AS every"

static const char sql_tasks[] =
	"SELECT " SQL_TIME
	", t.id, t.title, t.status, t.assignee, {tasks.priority@t} AS priority,"
	" {tasks.tenant@t} AS tenant, {tasks.created_by@t} AS created_by, t.created_at, "
	"t.started_at,"
	" {tasks.completed_at@t} AS completed_at, t.workspace_kind, t.workspace_path, "
	"t.claim_lock,"
	" t.claim_expires, t.worker_pid, t.current_run_id, t.{failures} AS "
	"consecutive_failures,"
	" t.{failure_error} AS last_failure_error,"
	" {tasks.last_heartbeat_at@t} AS last_heartbeat_at,"
	" {tasks.max_runtime_seconds@t} AS max_runtime_seconds,"
	" {tasks.max_retries@t} AS max_retries FROM tasks t" SCHEDULED_EVENT
	" WHERE (?1 IS NULL OR t.status = ?1) AND (?2 IS NULL OR t.assignee = ?2)"
	" AND (?3 IS NULL OR {tasks.tenant@t} = ?3) AND (?4 OR t.status <> 'archived')"
	" ORDER BY {tasks.priority?t.priority DESC,} t.created_at, t.rowid LIMIT ?5";

static const char sql_task[] =
	"SELECT " SQL_TIME ", t.* FROM tasks t" SCHEDULED_EVENT " WHERE t.id = ?1";

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

/* The oldest of the first thousand: the order of creation is nearly that of becoming ready. */
static const char sql_ready_since[] =
	"SELECT coalesce(min(since), 0) FROM (SELECT coalesce((SELECT max(e.created_at)"
	" FROM task_events e WHERE e.task_id = t.id"
	" AND e.kind NOT IN ('claimed', 'commented', 'heartbeat', 'respawn_guarded',"
	" 'skipped_nonspawnable')), t.created_at) AS since"
	" FROM tasks t WHERE t.status = 'ready' ORDER BY t.created_at LIMIT 1000)";

static const char sql_hours[] =
	"SELECT (ended_at - ?1) / 3600, coalesce(outcome, '') = 'completed', count(*)"
	" FROM task_runs WHERE ended_at >= ?1 AND ended_at < ?1 + 86400"
	" AND coalesce(outcome, '') NOT IN ('reclaimed', 'blocked') GROUP BY 1, 2";

static const char sql_failures[] =
	"SELECT r.task_id AS id, t.title, t.status, r.id AS run, r.outcome, r.error, r.ended_at"
	" FROM task_runs r LEFT JOIN tasks t ON t.id = r.task_id WHERE r.ended_at >= ?1"
	" AND coalesce(r.outcome, '') NOT IN ('completed', 'reclaimed', 'blocked')"
	" ORDER BY r.ended_at DESC, r.id DESC LIMIT ?2";

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
					 "every",
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
					   "scheduled_at",
					   "every",
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

static const char *const keys_failure[] = { "id",      "title", "status",   "run",
					    "outcome", "error", "ended_at", NULL };

static void view_jsonp(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

int view_open(struct db **db, const char *path, int busy_timeout_ms, struct error *e)
{
	const struct db_options opt = { .path = path, .busy_timeout_ms = busy_timeout_ms };
	int r;

	/* Without a WAL before, closing removes the empty one that opening made. With one, it
	 * stays as it is. */
	r = door_open(db, &opt, e);
	if (r == 0 && db_file_stamp(path, DB_WAL).size > 0)
		(void)sqlite3_db_config(db_handle(*db), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
					NULL);
	return r;
}

/* ---- rows ---------------------------------------------------------------------------- */

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
		return value ? value : json_utf8_n(text, len);
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
		return error_set(e, EDIT_NO_TASK, EDIT_NO_TASK_TEXT, id);
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

const char *const view_statuses[VIEW_STATUSES] = { "triage", "todo",    "scheduled",
						   "ready",  "running", "blocked",
						   "review", "done",    "archived" };

int view_counts(struct db *db, json_t **out, struct error *e)
{
	CLEANUP(view_jsonp) json_t *counts = json_object();
	sqlite3_stmt *stmt = NULL;
	int64_t total = 0;
	int r;

	for (size_t i = 0; counts && i < VIEW_STATUSES; i++)
		if (json_object_set_new(counts, view_statuses[i], json_integer(0)) < 0)
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

int view_ready_since(struct db *db, int64_t *since, struct error *e)
{
	return db_one_int(db, e, since, 0, sql_ready_since, "");
}

/* How many runs ended well and how many badly in each of the hours. */
static int view_hours(struct db *db, int64_t from, json_t *done, json_t *failed,
		      struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = db_query(db, e, &stmt, sql_hours, "i", from);

	while (r == 0 && (r = db_step(db, stmt, e)) == DB_ROW) {
		int64_t hour = sqlite3_column_int64(stmt, 0);
		json_t *list = sqlite3_column_int64(stmt, 1) ? done : failed;

		r = hour >= 0 && hour < VIEW_HOURS &&
				    json_array_set_new(
					    list, (size_t)hour,
					    json_integer(sqlite3_column_int64(stmt, 2))) < 0
			    ? -ENOMEM
			    : 0;
	}
	(void)sqlite3_reset(stmt); /* done, or given up */
	return r;
}

int view_activity(struct db *db, int64_t now, int64_t failures, struct json_t **out,
		  struct error *e)
{
	CLEANUP(view_jsonp) json_t *all = json_object();
	int64_t from = now - now % 3600 - (VIEW_HOURS - 1) * 3600;
	json_t *done = json_array(), *failed = json_array();
	sqlite3_stmt *stmt = NULL;
	int r = 0;

	for (int i = 0; i < VIEW_HOURS; i++) {
		done = json_push(done, json_integer(0));
		failed = json_push(failed, json_integer(0));
	}
	if (json_object_set_new(all, "from", json_integer(from)) < 0 ||
	    json_object_set_new(all, "step_s", json_integer(3600)) < 0)
		r = -ENOMEM;
	if (json_object_set_new(all, "done", done) < 0 ||
	    json_object_set_new(all, "failed", failed) < 0 || r < 0)
		return error_set(e, -ENOMEM, "out of memory");
	r = view_hours(db, from, done, failed, e);
	if (r == 0)
		r = db_query(db, e, &stmt, sql_failures, "ii", from, failures);
	if (r == 0)
		r = view_rows(db, all, "failures", stmt, keys_failure, e);
	if (r == 0)
		*out = STEAL(all);
	return r == -ENOMEM ? error_set(e, r, "out of memory") : r;
}
