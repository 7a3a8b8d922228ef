/*
 * A waiting task is promoted when every parent is done or archived (parents that do not exist
 * do not count). With few of them each is asked; with many, strike_find() finds all at once.
 * What is found is a candidate only: promote_run() asks the exact question of each inside its
 * transaction.
 */
#include "tick/promote.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/antijoin.h"
#include "tick/history.h"

/* From this many waiting tasks on it is cheaper to look at all at once. */
#define PROMOTE_MANY 500

/* clang-format off */
#define SQL_NO_OPEN_PARENT                                                                     \
	"NOT EXISTS (SELECT 1 FROM task_links l CROSS JOIN tasks p ON p.id = l.parent_id"       \
	"            WHERE l.child_id = t.id AND p.status NOT IN ('done', 'archived'))"

/* Sticky: the newest of its blocked/unblocked events is `blocked`. At its limit it stays, too. */
#define SQL_MAY_PROMOTE                                                                        \
	"(t.status = 'todo' OR (t.status = 'blocked'"                                           \
	"  AND t.{failures} < coalesce({tasks.max_retries@t}, ?1)"                              \
	"  AND coalesce((SELECT e.kind FROM task_events e WHERE e.task_id = t.id"               \
	"       AND e.kind IN ('blocked', 'unblocked') ORDER BY e.id DESC LIMIT 1), '')"        \
	"      <> 'blocked'))"

static const char sql_count_todo[] =
	"SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'todo' LIMIT ?1)";

static const char sql_todo_each[] =
	"SELECT t.id FROM tasks t WHERE t.status = 'todo' AND " SQL_NO_OPEN_PARENT;

static const char sql_blocked_each[] =
	"SELECT t.id FROM tasks t WHERE t.status = 'blocked' AND " SQL_MAY_PROMOTE
	" AND " SQL_NO_OPEN_PARENT;

static const char sql_since[] =
	"WITH named(id) AS (SELECT DISTINCT task_id FROM task_events NOT INDEXED"
	"  WHERE id > ?2)"
	" SELECT t.id FROM (SELECT id FROM named"
	"   UNION SELECT l.child_id FROM named n CROSS JOIN task_links l ON l.parent_id = n.id) c"
	" CROSS JOIN tasks t ON t.id = c.id"
	" WHERE t.status IN ('todo', 'blocked') AND " SQL_MAY_PROMOTE " AND " SQL_NO_OPEN_PARENT;

static const char sql_promote[] =
	"UPDATE tasks AS t SET status = 'ready'"
	" WHERE t.id = ?2 AND t.status IN ('todo', 'blocked') AND " SQL_MAY_PROMOTE
	" AND " SQL_NO_OPEN_PARENT;
/* clang-format on */

/* ---- the step ------------------------------------------------------------------------------
 */

static int promote_each(struct db *db, sqlite3_stmt *s, struct strings *ids, struct error *e)
{
	int r;

	while ((r = db_step(db, s, e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = id && strings_add(ids, id) < 0 ? error_set(e, -ENOMEM, "out of memory") : 0;
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			return r;
		}
	}
	return r;
}

int promote_find(struct db *db, const struct tick_request *rq, struct strings *ids,
		 struct error *e)
{
	sqlite3_stmt *s = NULL;
	int64_t waiting;
	int r;

	if (rq->promote_after > 0) {
		r = db_query(db, e, &s, sql_since, "ii", rq->set->failure_limit,
			     rq->promote_after);
		return r != 0 ? r : promote_each(db, s, ids, e);
	}
	r = db_one_int(db, e, &waiting, 0, sql_count_todo, "i", (int64_t)PROMOTE_MANY);
	if (r != 0)
		return r;
	r = waiting >= PROMOTE_MANY ? strike_find(db, ids, e) : -ERANGE;
	if (r == -ERANGE) {
		r = db_query(db, e, &s, sql_todo_each, "");
		if (r == 0)
			r = promote_each(db, s, ids, e);
	}
	if (r == 0)
		r = db_query(db, e, &s, sql_blocked_each, "i", rq->set->failure_limit);
	return r != 0 ? r : promote_each(db, s, ids, e);
}

int promote_run(struct db *db, const struct tick_request *rq, const struct strings *ids,
		struct plan *plan, struct error *e)
{
	for (size_t i = 0; i < ids->n; i++) {
		int r = db_run(db, e, sql_promote, "it", rq->set->failure_limit, ids->v[i]);

		if (r != 0)
			return r;
		if (db_changes(db) == 0)
			continue;
		r = history_event_plain(db, ids->v[i], 0, "promoted", rq->now, e);
		if (r != 0)
			return r;
		plan->promoted++;
	}
	return 0;
}
