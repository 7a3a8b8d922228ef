/*
 * A waiting task is promoted when every parent is done or archived (parents that do not exist
 * do not count). With few of them each is asked; with many, antijoin_find() finds all at once.
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

/*
 * Sticky: the newest of the events that block it for good or unblock it is not `unblocked`.
 * A card that was made as blocked is one, whether Hermes wrote an event beside that or not (on
 * older boards it is not).
 * At its failure limit it stays, too.
 */
#define SQL_STICKY                                                                             \
	"coalesce((SELECT e.kind FROM task_events e WHERE e.task_id = t.id AND"                 \
	"   (e.kind IN ('blocked', 'unblocked')"                                                \
	"    OR (e.kind = 'gave_up' AND json_valid(e.payload)"                                  \
	"        AND json_extract(e.payload, '$.sticky'))"                                      \
	"    {tasks.worker_started_at?OR (e.kind = 'created' AND json_valid(e.payload)"         \
	"        AND json_extract(e.payload, '$.status') = 'blocked')})"                        \
	"   ORDER BY e.id DESC LIMIT 1), 'unblocked') <> 'unblocked'"

#define SQL_MAY_PROMOTE                                                                        \
	"(t.status = 'todo' OR (t.status = 'blocked'"                                           \
	"  AND t.{failures} < coalesce({tasks.max_retries@t}, ?1) AND NOT " SQL_STICKY "))"

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
	"UPDATE tasks AS t SET status = ?3"
	" WHERE t.id = ?2 AND t.status IN ('todo', 'blocked') AND " SQL_MAY_PROMOTE
	" AND " SQL_NO_OPEN_PARENT;

/* the newest of what tells the lane that it came from */
static const char sql_came_from[] =
	"SELECT payload FROM task_events WHERE task_id = ?1 AND kind IN ('blocked',"
	" 'block_loop_detected', 'dependency_wait', 'gave_up', 'unblocked', 'changes_requested',"
	" 'review_reopened', 'status', 'reclaimed', 'stale', 'timed_out', 'crashed',"
	" 'spawn_failed', 'rate_limited') ORDER BY id DESC LIMIT 1";
/* clang-format on */

/* ---- the step ------------------------------------------------------------------------ */

static int promote_each(const struct tick *t, sqlite3_stmt *s, struct strings *ids)
{
	int r;

	while ((r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = id && strings_add(ids, id) < 0 ? error_set(t->e, -ENOMEM, "out of memory")
						   : 0;
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			return r;
		}
	}
	return r;
}

int promote_find(const struct tick *t, struct strings *ids)
{
	sqlite3_stmt *s = NULL;
	int64_t waiting;
	int r;

	if (t->rq->promote_after > 0) {
		r = db_query(t->db, t->e, &s, sql_since, "ii", t->rq->set->failure_limit,
			     t->rq->promote_after);
		return r != 0 ? r : promote_each(t, s, ids);
	}
	r = db_one_int(t->db, t->e, &waiting, 0, sql_count_todo, "i", (int64_t)PROMOTE_MANY);
	if (r != 0)
		return r;
	r = waiting >= PROMOTE_MANY ? antijoin_find(t->db, ids, t->e) : -ERANGE;
	if (r == -ERANGE) {
		r = db_query(t->db, t->e, &s, sql_todo_each, "");
		if (r == 0)
			r = promote_each(t, s, ids);
	}
	if (r == 0)
		r = db_query(t->db, t->e, &s, sql_blocked_each, "i", t->rq->set->failure_limit);
	return r != 0 ? r : promote_each(t, s, ids);
}

/* Does it go back to the review lane? */
static int promote_review(const struct tick *t, const char *task, bool *review)
{
	static const char *const keys[] = { "resume_status", "retry_status", "source_status" };
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_came_from, "t", task);

	*review = false;
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r == DB_ROW) {
		const char *payload = (const char *)sqlite3_column_text(s, 0);

		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			*review |= history_is_review(payload, keys[i]);
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}

static int promote_one(const struct tick *t, const char *task)
{
	bool review;
	int r = promote_review(t, task, &review);

	if (r == 0)
		r = db_run(t->db, t->e, sql_promote, "itt", t->rq->set->failure_limit, task,
			   review ? "review" : "ready");
	if (r != 0 || db_changes(t->db) == 0)
		return r;
	t->plan->promoted++;
	return review ? history_event(t, task, 0, "promoted",
				      json_pack("{s:s}", "status", "review"))
		      : history_event_plain(t, task, 0, "promoted");
}

int promote_run(const struct tick *t, const struct strings *ids)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ids->n; i++)
		r = promote_one(t, ids->v[i]);
	return r;
}
