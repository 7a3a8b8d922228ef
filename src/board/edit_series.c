/*
 * Times of tasks as an operator gives them: a task that waits until one, and a series, whose
 * next task the dispatcher makes when the last has ended (tick/recur.h says how it is stored).
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "board.h"
#include "db/db.h"
#include "tick/recur.h"
#include "util/calendar.h"

static const char sql_time[] = "UPDATE tasks SET status = status"
			       " {tasks.scheduled_at?, scheduled_at = ?1} WHERE id = ?2";

static const char sql_key[] =
	"UPDATE tasks SET idempotency_key = CASE WHEN idempotency_key >= '" RECUR_KEY
	"' AND idempotency_key < '" RECUR_KEY_AFTER "' THEN idempotency_key"
	" ELSE '" RECUR_KEY "' || coalesce(idempotency_key, ?1) END WHERE id = ?2";

static const char sql_no_key[] =
	"UPDATE tasks SET idempotency_key = NULL WHERE id = ?1 AND idempotency_key >= "
	"'" RECUR_KEY "' AND idempotency_key < '" RECUR_KEY_AFTER "'";

static const char sql_how[] = "SELECT payload FROM task_events WHERE task_id = ?1"
			      " AND kind = 'recurs' ORDER BY id DESC LIMIT 1";

int edit_series_first(const char *calendar, int64_t now, int64_t *at, struct error *e)
{
	CLEANUP(calendar_freep) struct calendar *c = NULL;
	int r = calendar_new(&c, calendar, e);

	if (r == -ENOMEM)
		return error_set(e, r, "out of memory");
	if (r != 0)
		return EDIT_INVALID; /* calendar_new() said why */
	if (calendar_next(c, now, at) != 0)
		return error_set(e, EDIT_INVALID, "\"%s\" comes no more: all of it is past",
				 calendar);
	return 0;
}

int edit_series_key(const char *key, char **out, struct error *e)
{
	uint64_t bits = 0;
	int n;

	while (!key && getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		; /* only a signal can cut it short */
	n = key ? asprintf(out, RECUR_KEY "%s", key)
		: asprintf(out, RECUR_KEY "%016llx", (unsigned long long)bits);
	if (n >= 0)
		return 0;
	*out = NULL;
	return error_set(e, -ENOMEM, "out of memory");
}

int edit_series_time(struct db *db, const char *id, int64_t at, int64_t now, struct error *e)
{
	int64_t event;
	int r = db_run(db, e, sql_time, "it", at, id);

	return r == 0 ? edit_event(db, id, 0, "scheduled",
				   json_pack("{s:n, s:I}", "reason", "at", (json_int_t)at),
				   true, now, &event, e)
		      : r;
}

int edit_series_told(struct db *db, const char *id, json_t *how, int64_t now, struct error *e)
{
	int64_t event;

	return edit_event(db, id, 0, "recurs", how, true, now, &event, e);
}

/* How the series went on until now: an object, empty if there was none. NULL: out of memory */
static int edit_series_how(const struct edit_change *a, json_t **how)
{
	sqlite3_stmt *stmt = NULL;
	int r = db_query(a->db, a->e, &stmt, sql_how, "t", a->id);

	if (r == 0)
		r = db_step(a->db, stmt, a->e);
	if (r == DB_ROW && sqlite3_column_type(stmt, 0) == SQLITE_TEXT)
		*how = json_loads((const char *)sqlite3_column_text(stmt, 0), 0, NULL);
	(void)sqlite3_reset(stmt); /* one row is all */
	if (r != 0 && r != DB_ROW)
		return r;
	if (!json_is_object(*how)) {
		json_decref(*how);
		*how = json_object();
	}
	return *how ? 0 : error_set(a->e, -ENOMEM, "out of memory");
}

static int edit_series_stop(struct edit_change *a)
{
	int r = db_run(a->db, a->e, sql_no_key, "t", a->id);

	if (r != 0 || db_changes(a->db) == 0)
		return r;
	return edit_series_told(a->db, a->id, json_pack("{s:n}", "calendar"), a->now, a->e);
}

int edit_series_ask(struct edit_change *a)
{
	const char *calendar = edit_change_text(a, "every");
	CLEANUP(edit_jsonp) json_t *how = NULL;
	bool was, waits = edit_change_is(a, "scheduled");
	char key[24];
	uint64_t bits = 0;
	int64_t at;
	int r;

	if (!calendar || !*calendar)
		return edit_series_stop(a);
	while (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		; /* only a signal can cut it short */
	(void)snprintf(key, sizeof(key), "%016llx", (unsigned long long)bits);
	r = edit_series_first(calendar, a->now, &at, a->e);
	if (r == 0)
		r = edit_series_how(a, &how);
	if (r == 0)
		r = db_run(a->db, a->e, sql_key, "tt", key, a->id);
	if (r != 0)
		return r;
	was = json_is_string(json_object_get(how, "calendar"));
	if (json_object_set_new(how, "calendar", json_string(calendar)) < 0 ||
	    json_object_set_new(how, "at", was && waits ? json_integer(at) : json_null()) < 0)
		return error_set(a->e, -ENOMEM, "out of memory");
	r = edit_series_told(a->db, a->id, json_incref(how), a->now, a->e);
	/* the one that waits for the old calendar waits for the new one */
	return r == 0 && was && waits ? edit_series_time(a->db, a->id, at, a->now, a->e) : r;
}
