/*
 * A series is no row of its own: it is the task that carries its key. In one transaction the
 * key goes from the task that ended to a new one, which is a copy of it in status `scheduled`.
 * Whoever comes second, this kanband after a kill or another, finds no key and does nothing.
 */
#include "tick/recur.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "util/calendar.h"
#include "util/json.h"
#include "util/log.h"

#define RECUR_ID_SIZE  16
#define RECUR_ID_TRIES 16
#define RECUR_DAY_S    86400

/* clang-format off */
static const char sql_ended[] =
	"SELECT t.id, {tasks.idempotency_key@t}, re.payload FROM tasks t"
	" JOIN task_events re ON re.id = (SELECT e.id FROM task_events e"
	"  WHERE e.task_id = t.id AND e.kind = 'recurs' ORDER BY e.id DESC LIMIT 1)"
	" WHERE {tasks.idempotency_key@t} >= '" RECUR_KEY "'"
	" AND {tasks.idempotency_key@t} < '" RECUR_KEY_AFTER "'"
	" AND +t.status IN ('done', 'archived') AND (?1 IS NULL OR t.id = ?1)"
	" AND NOT EXISTS (SELECT 1 FROM tasks n"
	"  WHERE {tasks.idempotency_key@n} = {tasks.idempotency_key@t} AND n.rowid > t.rowid)";

/* one that was made while the clock was ahead by days, for a time that is too far away now */
static const char sql_ahead[] =
	"SELECT t.id, {tasks.idempotency_key@t}, re.payload FROM tasks t"
	" JOIN task_events re ON re.id = (SELECT e.id FROM task_events e"
	"  WHERE e.task_id = t.id AND e.kind = 'recurs' ORDER BY e.id DESC LIMIT 1)"
	" WHERE {tasks.idempotency_key@t} >= '" RECUR_KEY "'"
	" AND {tasks.idempotency_key@t} < '" RECUR_KEY_AFTER "'"
	" AND +t.status = 'scheduled' AND (?1 IS NULL OR t.id = ?1) AND re.created_at > ?2";

static const char sql_move[] =
	"UPDATE tasks SET status = status {tasks.scheduled_at?, scheduled_at = ?1}"
	" WHERE id = ?2 AND status = 'scheduled'";

static const char sql_let_go[] =
	"UPDATE tasks SET idempotency_key = NULL WHERE id = ?1 AND idempotency_key = ?2";

/* what was set for this one alone (a workspace made for it, a branch) is not copied */
#define RECUR_COLUMN(name) " {tasks." #name "?, " #name "}"
static const char sql_follow[] =
	"INSERT INTO tasks (id, title, body, assignee, status, created_at, idempotency_key,"
	" workspace_kind, workspace_path {tasks.branch_name?, branch_name}"
	" {tasks.scheduled_at?, scheduled_at} {tasks.priority?, priority}"
	" {tasks.created_by?, created_by} {tasks.max_retries?, max_retries}"
	" {tasks.completion_contract?, completion_contract} {tasks.project_id?, project_id}"
	TASK_TOLD(RECUR_COLUMN, RECUR_COLUMN, RECUR_COLUMN) ")"
	" SELECT ?5, title, body, assignee, 'scheduled', ?6, ?7, workspace_kind,"
	" coalesce(?3, CASE WHEN workspace_kind = 'dir' THEN workspace_path END)"
	" {tasks.branch_name?, ?1} {tasks.scheduled_at?, ?2} {tasks.priority?, priority}"
	" {tasks.created_by?, created_by} {tasks.max_retries?, max_retries}"
	" {tasks.completion_contract?, completion_contract} {tasks.project_id?, project_id}"
	TASK_TOLD(RECUR_COLUMN, RECUR_COLUMN, RECUR_COLUMN)
	" FROM tasks WHERE id = ?4"
	" AND ?7 <> ''";

/* what it waits for; what waited for the one that ended had it */
static const char sql_links[] =
	"INSERT OR IGNORE INTO task_links (parent_id, child_id)"
	" SELECT parent_id, ?1 FROM task_links WHERE child_id = ?2 AND parent_id <> ?1";

/* whoever is told of the one is told of the next, from here on */
static const char sql_subs[] =
	"INSERT OR IGNORE INTO kanban_notify_subs (task_id, platform, chat_id, thread_id,"
	" created_at, last_event_id {kanban_notify_subs.chat_type?, chat_type}"
	" {kanban_notify_subs.user_id?, user_id} {kanban_notify_subs.user_id_alt?, user_id_alt}"
	" {kanban_notify_subs.notifier_profile?, notifier_profile}"
	" {kanban_notify_subs.delivery_mode?, delivery_mode}"
	" {kanban_notify_subs.delivery_metadata?, delivery_metadata})"
	" SELECT ?1, platform, chat_id, thread_id, ?3,"
	" (SELECT COALESCE(MAX(id), 0) FROM task_events)"
	" {kanban_notify_subs.chat_type?, chat_type} {kanban_notify_subs.user_id?, user_id}"
	" {kanban_notify_subs.user_id_alt?, user_id_alt}"
	" {kanban_notify_subs.notifier_profile?, notifier_profile}"
	" {kanban_notify_subs.delivery_mode?, delivery_mode}"
	" {kanban_notify_subs.delivery_metadata?, delivery_metadata}"
	" FROM kanban_notify_subs WHERE task_id = ?2";

static const char sql_parents[] =
	"SELECT parent_id FROM task_links WHERE child_id = ?1 ORDER BY parent_id";

static const char sql_assignee[] = "SELECT assignee FROM tasks WHERE id = ?1";
/* clang-format on */

/* One that ended. */
struct recur {
	const struct tick *t;
	const char *task;
	char *key, *calendar, *assignee;
	json_t *how; /* payload of its event, an object */
	char next[RECUR_ID_SIZE];
	int64_t at;
};

static void recur_deinit(struct recur *r)
{
	free(r->key);
	free(r->assignee);
	json_decref(r->how);
}

static char *recur_copy(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	return text ? strdup(text) : NULL;
}

/* Those that ended, or with @ahead those that wait for a time that was not real. */
static int recur_query(const struct tick *t, bool ahead, const char *task, sqlite3_stmt **s)
{
	return ahead ? db_query(t->db, t->e, s, sql_ahead, "ti", task, t->rq->now + RECUR_DAY_S)
		     : db_query(t->db, t->e, s, sql_ended, "t", task);
}

static int recur_find(const struct tick *t, bool ahead, struct strings *ids)
{
	sqlite3_stmt *s = NULL;
	int r = recur_query(t, ahead, NULL, &s);

	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = id && strings_add(ids, id) < 0 ? error_set(t->e, -ENOMEM, "out of memory")
						   : 0;
	}
	(void)sqlite3_reset(s); /* done, or given up */
	return r;
}

/* Read it again, now that nobody else writes. Return: DB_ROW, 0 it is none any more. */
static int recur_load(struct recur *c, bool ahead)
{
	const struct tick *t = c->t;
	sqlite3_stmt *s = NULL;
	int r = recur_query(t, ahead, c->task, &s);

	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r != DB_ROW)
		return r;
	c->key = recur_copy(s, 1);
	c->how = json_loads(sqlite3_column_type(s, 2) == SQLITE_TEXT
				    ? (const char *)sqlite3_column_text(s, 2)
				    : "",
			    0, NULL);
	(void)sqlite3_reset(s); /* one row is all */
	return c->key ? DB_ROW : error_set(t->e, -ENOMEM, "out of memory");
}

/* The time of the next: not one that was served already, should the clock have gone back; a
 * clock that was wrong by days is not believed. Return: 0, CALENDAR_NEVER, as calendar_new() */
static int recur_time(struct recur *c, struct error *why)
{
	CLEANUP(calendar_freep) struct calendar *calendar = NULL;
	const char *text = json_string_value(json_object_get(c->how, "calendar"));
	int64_t at = json_integer_value(json_object_get(c->how, "at")), now = c->t->rq->now;
	int r = text ? calendar_new(&calendar, text, why)
		     : error_set(why, -EINVAL, "it names no calendar");

	if (r != 0)
		return r;
	r = calendar_next(calendar, at > now && at - now <= RECUR_DAY_S ? at : now, &c->at);
	return r == 0 ? 0 : error_set(why, CALENDAR_NEVER, "\"%s\" comes no more", text);
}

/* Nothing follows: the key is gone already. */
static int recur_over(const struct recur *c, const struct error *why)
{
	plan_note(c->t->plan, LOG_WARNING, NULL, c->task, 0,
		  "nothing follows this task: %s; \"kanbanctl edit --every\" starts it again",
		  why->text);
	return history_event(
		c->t, c->task, 0, "recurs",
		json_pack("{s:n, s:o}", "calendar", "error", json_utf8(why->text)));
}

static int recur_insert(struct recur *c)
{
	const struct tick *t = c->t;
	int r = -EEXIST;

	for (int i = 0; r == -EEXIST && i < RECUR_ID_TRIES; i++) {
		uint32_t bits = 0;

		while (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
			; /* only a signal can cut it short */
		(void)snprintf(c->next, sizeof(c->next), "t_%08x", bits);
		r = db_run(t->db, t->e, sql_follow,
			   "tittti"
			   "t",
			   json_string_value(json_object_get(c->how, "branch")), c->at,
			   json_string_value(json_object_get(c->how, "workspace_path")),
			   c->task, c->next, t->rq->now, c->key);
	}
	return r;
}

static int recur_assignee(struct recur *c)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(c->t->db, c->t->e, &s, sql_assignee, "t", c->next);

	if (r == 0)
		r = db_step(c->t->db, s, c->t->e);
	if (r != DB_ROW)
		return r;
	c->assignee = recur_copy(s, 0);
	(void)sqlite3_reset(s); /* one row is all */
	return 0;
}

/* @task waits for that time, and how it recurs. */
static int recur_wait(const struct recur *c, const char *task)
{
	int r = history_event(c->t, task, 0, "scheduled",
			      json_pack("{s:n, s:I}", "reason", "at", (json_int_t)c->at));

	if (r == 0 && json_object_set_new(c->how, "at", json_integer(c->at)) < 0)
		r = error_set(c->t->e, -ENOMEM, "out of memory");
	return r == 0 ? history_event(c->t, task, 0, "recurs", json_incref(c->how)) : r;
}

/* The parents of the new one, as its event names them. */
static int recur_parents(const struct recur *c, json_t **list)
{
	sqlite3_stmt *s = NULL;
	int r = db_run(c->t->db, c->t->e, sql_links, "tt", c->next, c->task);

	*list = json_array();
	if (r == 0)
		r = db_query(c->t->db, c->t->e, &s, sql_parents, "t", c->next);
	while (r == 0 && (r = db_step(c->t->db, s, c->t->e)) == DB_ROW) {
		r = 0;
		*list = json_push(*list, json_utf8((const char *)sqlite3_column_text(s, 0)));
	}
	if (r == 0 && !*list)
		r = error_set(c->t->e, -ENOMEM, "out of memory");
	if (r != 0)
		*list = json_free(*list);
	return r;
}

static int recur_subscribe(const struct recur *c)
{
	if (!(db_features(c->t->db) & DB_HAS_SUBS))
		return 0;
	return db_run(c->t->db, c->t->e, sql_subs, "tti", c->next, c->task, c->t->rq->now);
}

/* What is told of the new one, and of the old one that it has a successor. */
static int recur_tell(const struct recur *c)
{
	json_t *parents;
	int r = recur_parents(c, &parents);

	if (r == 0)
		r = history_event(c->t, c->next, 0, "created",
				  json_pack("{s:o, s:s, s:o, s:s}", "assignee",
					    json_or_null(c->assignee), "status", "scheduled",
					    "parents", parents, "after", c->task));
	if (r == 0)
		r = recur_wait(c, c->next);
	if (r == 0)
		r = recur_subscribe(c);
	return r == 0 ? history_event(c->t, c->task, 0, "recurred",
				      json_pack("{s:s, s:I}", "task", c->next, "at",
						(json_int_t)c->at))
		      : r;
}

static int recur_follow(struct recur *c)
{
	const struct tick *t = c->t;
	struct error why = ERROR_NULL;
	int r = recur_load(c, false);

	if (r != DB_ROW)
		return r;
	r = db_run(t->db, t->e, sql_let_go, "tt", c->task, c->key);
	if (r != 0 || db_changes(t->db) == 0)
		return r;
	r = recur_time(c, &why);
	if (r == -ENOMEM)
		return error_set(t->e, r, "out of memory");
	if (r != 0)
		return recur_over(c, &why);
	r = recur_insert(c);
	if (r == 0)
		r = recur_assignee(c);
	return r == 0 ? recur_tell(c) : r;
}

/* The clock went back: it waits for the calendar's next time as that is seen now. */
static int recur_back(struct recur *c)
{
	const struct tick *t = c->t;
	struct error why = ERROR_NULL;
	int r = recur_load(c, true);

	if (r != DB_ROW)
		return r;
	r = recur_time(c, &why);
	if (r == -ENOMEM)
		return error_set(t->e, r, "out of memory");
	if (r != 0)
		return 0; /* told when it has ended */
	r = db_run(t->db, t->e, sql_move, "it", c->at, c->task);
	return r == 0 && db_changes(t->db) == 1 ? recur_wait(c, c->task) : r;
}

struct recur_ids {
	struct strings ended, ahead;
};

static int recur_write(const struct tick *t, void *arg)
{
	const struct recur_ids *ids = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ids->ended.n; i++) {
		CLEANUP(recur_deinit) struct recur c = { .t = t, .task = ids->ended.v[i] };

		r = recur_follow(&c);
	}
	for (size_t i = 0; r == 0 && i < ids->ahead.n; i++) {
		CLEANUP(recur_deinit) struct recur c = { .t = t, .task = ids->ahead.v[i] };

		r = recur_back(&c);
	}
	return r;
}

int recur_run(const struct tick *t)
{
	struct recur_ids ids = { 0 };
	int r = recur_find(t, false, &ids.ended);

	if (r == 0)
		r = recur_find(t, true, &ids.ahead);
	if (r == 0 && ids.ended.n + ids.ahead.n > 0)
		r = tick_transaction(t, recur_write, &ids);
	strings_free(&ids.ended);
	strings_free(&ids.ahead);
	return r;
}
