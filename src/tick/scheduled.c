/*
 * Tasks in status `scheduled`. Who writes no time there (Hermes does not) means: until it is
 * unblocked; such a task stays. Times are of the wall clock, so a clock that is set changes
 * what is due, and after a pause of any length everything that became due goes on at once.
 */
#include "tick/scheduled.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"

/* clang-format off */
static const char sql_scheduled[] =
	"SELECT t.id, " SCHEDULED_AT " FROM tasks t" SCHEDULED_EVENT
	" WHERE t.status = 'scheduled' AND t.claim_lock IS NULL";

static const char sql_still[] =
	"SELECT " SCHEDULED_AT " FROM tasks t" SCHEDULED_EVENT
	" WHERE t.id = ?1 AND t.status = 'scheduled' AND t.claim_lock IS NULL";

static const char sql_open_parents[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_links l CROSS JOIN tasks p"
	" ON p.id = l.parent_id WHERE l.child_id = ?1"
	" AND p.status NOT IN ('done', 'archived') LIMIT 1)";

static const char sql_go_on[] =
	"UPDATE tasks SET status = ?2, {failures} = 0, {failure_error} = NULL"
	" WHERE id = ?1 AND status = 'scheduled' AND claim_lock IS NULL";
/* clang-format on */

/* The column of a row: false, it waits for no time. */
static bool scheduled_at(sqlite3_stmt *s, int column, int64_t *at)
{
	*at = sqlite3_column_int64(s, column);
	return sqlite3_column_type(s, column) == SQLITE_INTEGER;
}

static int scheduled_find(const struct tick *t, struct strings *due)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_scheduled, "");

	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);
		int64_t at;

		r = 0;
		if (!scheduled_at(s, 1, &at))
			continue;
		if (at > t->rq->now)
			plan_deadline(t->plan, at);
		else if (id && strings_add(due, id) < 0)
			r = error_set(t->e, -ENOMEM, "out of memory");
	}
	(void)sqlite3_reset(s); /* done, or given up */
	return r;
}

/* Is it still due, now that nobody else writes? */
static int scheduled_still(const struct tick *t, const char *task, bool *due, int64_t *at)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_still, "t", task);

	*due = false;
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r != DB_ROW)
		return r;
	*due = scheduled_at(s, 0, at) && *at <= t->rq->now;
	(void)sqlite3_reset(s); /* one row is all */
	return 0;
}

static int scheduled_one(const struct tick *t, const char *task)
{
	int64_t at = 0, open = 0;
	const char *status;
	bool due;
	int r = scheduled_still(t, task, &due, &at);

	if (r != 0 || !due)
		return r;
	r = db_one_int(t->db, t->e, &open, 0, sql_open_parents, "t", task);
	if (r != 0)
		return r;
	status = open > 0 ? "todo" : "ready";
	r = db_run(t->db, t->e, sql_go_on, "tt", task, status);
	if (r != 0 || db_changes(t->db) == 0)
		return r;
	t->plan->promoted += open == 0;
	/* the event that lets go of what held it before, for Hermes as for us */
	return history_event(t, task, 0, "unblocked",
			     json_pack("{s:s, s:s, s:I}", "status", status, "resume_status",
				       "ready", "at", (json_int_t)at));
}

static int scheduled_write(const struct tick *t, void *arg)
{
	const struct strings *due = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < due->n; i++)
		r = scheduled_one(t, due->v[i]);
	return r;
}

int scheduled_run(const struct tick *t)
{
	struct strings due = { 0 };
	int r = scheduled_find(t, &due);

	if (r == 0 && due.n > 0)
		r = tick_transaction(t, scheduled_write, &due);
	strings_free(&due);
	return r;
}
