/*
 * Boards of a case: made with the published schema, filled and read by plain SQL. A connection
 * lives for one call, so that the test never holds a lock while a program runs.
 */
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/schema.h"
#include "kit.h"
#include "rig.h"
#include "rows.h"

/* What the first release did not have beside rows_first_release. */
static const char sql_legacy[] = "ALTER TABLE kanban_notify_subs DROP COLUMN chat_type;"
				 "ALTER TABLE kanban_notify_subs DROP COLUMN notifier_profile;"
				 "ALTER TABLE kanban_notify_subs DROP COLUMN delivery_mode;"
				 "ALTER TABLE kanban_notify_subs DROP COLUMN delivery_metadata;"
				 "DROP TABLE task_attachments;";

char *rig_db(const char *slug)
{
	if (!strcmp(slug, "default"))
		return rig_printf("%s/kanban.db", rig.root);
	return rig_printf("%s/kanban/boards/%s/kanban.db", rig.root, slug);
}

static sqlite3 *rig_open(const char *slug, int flags)
{
	sqlite3 *db = NULL;

	ck_assert_msg(sqlite3_open_v2(rig_db(slug), &db, flags, NULL) == SQLITE_OK, "%s: %s",
		      rig_db(slug), sqlite3_errmsg(db));
	(void)sqlite3_busy_timeout(db, 20000);
	/* Nothing here has to survive a power cut. */
	(void)sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
	return db;
}

void rig_board(const char *slug, unsigned flags)
{
	sqlite3 *db;

	if (strcmp(slug, "default"))
		rig_mkdir(rig_printf("root/kanban/boards/%s", slug));
	db = rig_open(slug, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
	if (flags & RIG_WAL)
		rows_run(db, "PRAGMA journal_mode=WAL");
	rows_run(db, "BEGIN");
	rows_run(db, schema_board_sql);
	if (flags & RIG_LEGACY) {
		rows_run(db, rows_first_release);
		rows_run(db, sql_legacy);
	}
	if ((flags | rig.age) & (RIG_AUGUST | RIG_LEGACY))
		rows_run(db, rows_august);
	rows_run(db, "COMMIT");
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* ---- SQL ------------------------------------------------------------------------------- */

void rig_sql(const char *slug, const char *fmt, ...)
{
	sqlite3 *db = rig_open(slug, SQLITE_OPEN_READWRITE);
	va_list ap;

	va_start(ap, fmt);
	rows_vrun(db, fmt, ap);
	va_end(ap);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static char *rig_rows(const char *slug, char between, const char *fmt, va_list ap)
{
	sqlite3 *db = rig_open(slug, SQLITE_OPEN_READWRITE);
	char *text = rows_vtext(db, between, fmt, ap);

	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return rig_keep(text);
}

int64_t rig_int(const char *slug, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = rig_rows(slug, ',', fmt, ap);
	va_end(ap);
	ck_assert_msg(text[0] && strcmp(text, "-"), "no number: %s", fmt);
	return atoll(text);
}

char *rig_list(const char *slug, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = rig_rows(slug, ',', fmt, ap);
	va_end(ap);
	return text;
}

void rig_unindexed(const char *slug, const char *index, const char *sql)
{
	sqlite3 *db = rig_open(slug, SQLITE_OPEN_READWRITE);

	rows_unindexed(db, index, sql);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

void rig_writer(const char *slug, const char *sql, bool die)
{
	static unsigned serial;
	char *name = rig_printf("writer%u", serial++);
	const pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		sqlite3 *db = rig_open(slug, SQLITE_OPEN_READWRITE);

		rows_run(db, "PRAGMA wal_autocheckpoint=0");
		rows_run(db, sql);
		rig_write(name, "");
		while (!die && !rig_exists("stop"))
			rig_pause();
		_exit(0);
	}
	RIG_UNTIL(rig_exists(name), 5000);
	if (die)
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static char *rig_lines(const char *slug, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = rig_rows(slug, '\n', fmt, ap);
	va_end(ap);
	return text;
}

char *rig_dump(const char *slug)
{
	char *names = rig_lines(slug, "SELECT name FROM sqlite_master WHERE type='table' AND"
				      " name NOT LIKE 'sqlite_%%' ORDER BY name");
	char *text = rig_printf("%s", "");

	for (char *name; (name = strsep(&names, "\n"));)
		text = rig_printf("%s== %s\n%s\n", text, name,
				  rig_lines(slug, "SELECT * FROM %s ORDER BY rowid", name));
	return text;
}

/* ---- filling --------------------------------------------------------------------------- */

static const char *rig_or(const char *value, const char *otherwise)
{
	return value ? value : otherwise;
}

/* RIG_NOBODY is how a caller says NULL where NULL means the default. */
static const char *rig_or_null(const char *value, const char *otherwise)
{
	const char *v = rig_or(value, otherwise);

	return *v ? v : NULL;
}

static bool rig_is_legacy(const char *slug)
{
	return rig_int(slug, "SELECT count(*) FROM pragma_table_info('tasks') "
			     "WHERE name='spawn_failures'") > 0;
}

/* The statements of a task; with those of a claim they are one transaction, because a daemon
 * that runs may look at any moment. */
static char *rig_task_sql(const char *slug, const struct rig_task *t)
{
	const bool legacy = rig_is_legacy(slug);
	char *sql = sqlite3_mprintf(
		"INSERT INTO tasks (id, title, assignee, status, priority, created_at, "
		"workspace_kind, workspace_path, %s, %s) VALUES (%Q, %Q, %Q, %Q, %lld, %lld, "
		"%Q, %Q, %Q, %lld);",
		legacy ? "last_spawn_error" : "last_failure_error",
		legacy ? "spawn_failures" : "consecutive_failures", t->id,
		rig_or(t->title, rig_printf("title of %s", t->id)),
		rig_or_null(t->assignee, "jimmy"), rig_or(t->status, "ready"), t->priority,
		t->created_at ? t->created_at : 1770000000,
		rig_or(t->workspace_kind, "scratch"), t->workspace_path, t->last_failure_error,
		t->failures);

	if (sql && t->branch_name)
		sql = sqlite3_mprintf("%z UPDATE tasks SET branch_name=%Q WHERE id=%Q;", sql,
				      t->branch_name, t->id);
	if (sql && t->set)
		sql = sqlite3_mprintf("%z UPDATE tasks SET %s WHERE id=%Q;", sql, t->set,
				      t->id);
	ck_assert_ptr_nonnull(sql);
	return sql;
}

static void rig_transaction(const char *slug, char *sql)
{
	rig_sql(slug, "BEGIN IMMEDIATE; %z COMMIT", sql);
}

void rig_add_task(const char *slug, const struct rig_task *t)
{
	rig_transaction(slug, rig_task_sql(slug, t));
}

/* What stands on task and run alike. */
static char *rig_both(char *sql, const char *task, const char *set)
{
	sql = sqlite3_mprintf(
		"%z UPDATE tasks SET %s WHERE id=%Q; UPDATE task_runs SET %s WHERE "
		"id=(SELECT current_run_id FROM tasks WHERE id=%Q);",
		sql, set, task, set, task);
	ck_assert_ptr_nonnull(sql);
	return sql;
}

static char *rig_claim_sql(const char *slug, const struct rig_claim *c)
{
	const int64_t now = rig_now(), beat = c->heartbeat_age;
	const int64_t age = c->age ? c->age : beat >= 1000 ? beat + 10 : 1000;
	const int64_t expires = now + (c->expires_in ? c->expires_in : 600);
	const char *lock = rig_or_null(c->lock, rig_printf("%s:123", rig.host));
	const struct rig_task task = { .id = c->id,
				       .assignee = rig_or(c->assignee, "nemo"),
				       .status = "running",
				       .failures = c->failures,
				       .set = c->set };

	return sqlite3_mprintf(
		"%z INSERT INTO task_runs (task_id, profile, status, claim_lock, "
		"claim_expires, started_at) VALUES (%Q, %Q, 'running', %Q, %lld, %lld);"
		"UPDATE tasks SET claim_lock=%Q, claim_expires=%lld, started_at=%lld, "
		"current_run_id=(SELECT max(id) FROM task_runs) WHERE id=%Q;"
		"INSERT INTO task_events (task_id, run_id, kind, payload, created_at) SELECT "
		"id, current_run_id, 'claimed', '{\"lock\": \"%q\", \"expires\": %lld, "
		"\"run_id\": ' || current_run_id || '%s}', %lld FROM tasks WHERE id=%Q;",
		rig_task_sql(slug, &task), c->id, task.assignee, lock, expires, now - age, lock,
		expires, now - (c->task_age ? c->task_age : age), c->id, rig_or(lock, "-"),
		expires,
		c->from && !strcmp(c->from, "review") ? ", \"source_status\": \"review\"" : "",
		now - age, c->id);
}

int64_t rig_add_claim(const char *slug, const struct rig_claim *c)
{
	char *sql = rig_claim_sql(slug, c);

	if (c->pid)
		sql = rig_both(sql, c->id, rig_printf("worker_pid=%lld", (long long)c->pid));
	if (c->heartbeat_age)
		sql = rig_both(sql, c->id,
			       rig_printf("last_heartbeat_at=%lld",
					  (long long)(rig_now() - c->heartbeat_age)));
	if (c->max_runtime)
		sql = rig_both(
			sql, c->id,
			rig_printf("max_runtime_seconds=%lld", (long long)c->max_runtime));
	if (c->started)
		sql = rig_both(sql, c->id, rig_printf("worker_started_at='%s'", c->started));
	if (c->set_run)
		sql = sqlite3_mprintf(
			"%z UPDATE task_runs SET %s WHERE id=(SELECT max(id) FROM "
			"task_runs);",
			sql, c->set_run);
	rig_transaction(slug, sql);
	return rig_int(slug, "SELECT max(id) FROM task_runs WHERE task_id=%Q", c->id);
}

int64_t rig_add_run(const char *slug, const char *task, const char *outcome, int64_t ended_ago)
{
	const int64_t now = rig_now();

	rig_sql(slug,
		"INSERT INTO task_runs (task_id, profile, status, started_at, ended_at, "
		"outcome) VALUES (%Q, 'jimmy', %Q, %lld, %lld, %Q)",
		task, strcmp(outcome, "completed") ? outcome : "done", now - ended_ago - 60,
		now - ended_ago, outcome);
	return rig_int(slug, "SELECT max(id) FROM task_runs");
}

void rig_add_event(const char *slug, const char *task, const char *kind, const char *payload,
		   int64_t ago)
{
	rig_sql(slug,
		"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES (%Q, %Q, "
		"%Q, %lld)",
		task, kind, payload, rig_now() - ago);
}

void rig_add_comment(const char *slug, const char *task, const char *body, int64_t ago)
{
	rig_sql(slug,
		"INSERT INTO task_comments (task_id, author, body, created_at) VALUES (%Q, "
		"'jimmy', %Q, %lld)",
		task, body, rig_now() - ago);
}

void rig_link(const char *slug, const char *parent, const char *child)
{
	rig_sql(slug, "INSERT INTO task_links (parent_id, child_id) VALUES (%Q, %Q)", parent,
		child);
}

/* ---- reading --------------------------------------------------------------------------- */

char *rig_kinds(const char *slug, const char *task)
{
	return rig_list(slug, "SELECT kind FROM task_events WHERE task_id=%Q ORDER BY id",
			task);
}

json_t *rig_event(const char *slug, const char *task, const char *kind)
{
	char *payload = rig_list(slug,
				 "SELECT payload FROM task_events WHERE task_id=%Q AND kind=%Q "
				 "ORDER BY id DESC LIMIT 1",
				 task, kind);

	ck_assert_msg(payload[0], "%s has no event %s, only %s", task, kind,
		      rig_kinds(slug, task));
	return strcmp(payload, "-") ? rig_json(payload) : json_null();
}

int64_t rig_event_run(const char *slug, const char *task, const char *kind)
{
	return rig_int(slug,
		       "SELECT coalesce(run_id, 0) FROM task_events WHERE task_id=%Q AND "
		       "kind=%Q ORDER BY id DESC LIMIT 1",
		       task, kind);
}

void rig_invariant(const char *slug)
{
	ck_sql(slug, "",
	       "SELECT id FROM tasks t WHERE current_run_id IS NOT NULL AND NOT EXISTS (SELECT "
	       "1 "
	       "FROM task_runs r WHERE r.id=t.current_run_id AND r.task_id=t.id AND r.ended_at "
	       "IS NULL)");
	ck_sql(slug, "",
	       "SELECT r.id FROM task_runs r WHERE ended_at IS NULL AND NOT EXISTS (SELECT 1 "
	       "FROM "
	       "tasks t WHERE t.id=r.task_id AND t.current_run_id=r.id AND "
	       "t.status='running')");
	ck_sql(slug, "",
	       "SELECT id FROM tasks WHERE status<>'running' AND (claim_lock IS NOT NULL OR "
	       "claim_expires IS NOT NULL OR worker_pid IS NOT NULL)");
	ck_sql(slug, "",
	       "SELECT id FROM task_runs WHERE ended_at IS NOT NULL AND (claim_expires IS NOT "
	       "NULL OR outcome IS NULL)");
	/* newer boards go on saying whose a closed run was */
	if (!rig_int(slug, "SELECT count(*) FROM pragma_table_info('task_runs') WHERE "
			   "name='worker_started_at'"))
		ck_sql(slug, "",
		       "SELECT id FROM task_runs WHERE ended_at IS NOT NULL AND (claim_lock IS "
		       "NOT NULL OR worker_pid IS NOT NULL)");
}

/* ---- JSON ------------------------------------------------------------------------------ */

json_t *rig_json(const char *text)
{
	json_error_t e;
	json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &e);

	ck_assert_msg(value != NULL, "not JSON: %s: %.400s", e.text, text);
	ck_assert_int_eq(json_array_append_new(rig.kept_json, value), 0);
	return value;
}

char *rig_json_text(json_t *value)
{
	return rig_keep(json_dumps(value, JSON_ENCODE_ANY));
}

/* What goes without saying in an expected payload: the lane that tasks come from as a rule, and
 * who the worker that was started is. */
static json_t *rig_json_plain(json_t *got, json_t *want)
{
	const char *retry = json_string_value(json_object_get(got, "retry_status"));
	json_t *plain;

	if (!json_object_get(got, "retry_status") && !json_object_get(got, "started_at"))
		return got;
	plain = json_copy(got);
	ck_assert_int_eq(json_array_append_new(rig.kept_json, plain), 0);
	if (retry && strcmp(retry, "ready") == 0 && !json_object_get(want, "retry_status"))
		(void)json_object_del(plain, "retry_status");
	if (json_is_string(json_object_get(got, "started_at")) &&
	    !json_object_get(want, "started_at"))
		(void)json_object_del(plain, "started_at");
	return plain;
}

static bool rig_json_like(json_t *got, json_t *want)
{
	const char *wild = json_string_value(want), *key;
	json_t *value;
	size_t i;

	if (wild && !strcmp(wild, "ANY"))
		return got != NULL;
	if (wild && !strcmp(wild, "INT"))
		return json_is_integer(got);
	if (wild && !strcmp(wild, "TEXT"))
		return json_is_string(got);
	if (json_typeof(want) != (got ? json_typeof(got) : (json_type)-1))
		return false;
	if (json_is_object(want)) {
		got = rig_json_plain(got, want);
		if (json_object_size(want) != json_object_size(got))
			return false;
		json_object_foreach(want, key,
				    value) if (!rig_json_like(json_object_get(got, key),
							      value)) return false;
		return true;
	}
	if (json_is_array(want)) {
		if (json_array_size(want) != json_array_size(got))
			return false;
		json_array_foreach(want, i, value) if (!rig_json_like(json_array_get(got, i),
								      value)) return false;
		return true;
	}
	return json_equal(got, want);
}

void rig_json_is(json_t *got, const char *expected, const char *what)
{
	ck_assert_msg(rig_json_like(got, rig_json(expected)), "%s is %s, not %s", what,
		      got ? rig_json_text(got) : "not there", expected);
}

void rig_desync(const char *slug)
{
	rig_unindexed(slug, "idx_runs_task",
		      "INSERT INTO task_runs(task_id, status, outcome, started_at, ended_at)"
		      " SELECT id, 'done', 'completed', created_at+9, created_at+10 FROM tasks"
		      " WHERE rowid<=3");
	ck_assert_str_ne(rig_list(slug, "PRAGMA integrity_check(1)"), "ok");
}
