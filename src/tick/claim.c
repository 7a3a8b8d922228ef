/*
 * Claiming a task: the row, its run, the event, and what a launch needs of it.
 */
#include "tick/claim.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/guard.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/json.h"
#include "util/log.h"

/* clang-format off */
static const char sql_open_parent[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_links l CROSS JOIN tasks p ON p.id = l.parent_id"
	" WHERE l.child_id = ?1 AND p.status NOT IN ('done', 'archived') LIMIT 1)";

static const char sql_back_to_todo[] =
	"UPDATE tasks SET status = 'todo' WHERE id = ?1 AND status = ?2 AND claim_lock IS NULL";

static const char sql_leaked_run[] =
	"UPDATE task_runs SET status = 'reclaimed', outcome = 'reclaimed', ended_at = ?2,"
	"  {task_runs.summary?summary = coalesce(summary, 'invariant recovery on re-claim'),}"
	"  claim_expires = NULL,"
	"  claim_lock = coalesce({task_runs.worker_started_at?claim_lock,} NULL, NULL),"
	"  worker_pid = coalesce({task_runs.worker_started_at?worker_pid,} NULL, NULL)"
	" WHERE id = (SELECT current_run_id FROM tasks WHERE id = ?1) AND ended_at IS NULL";

static const char sql_claim[] =
	"UPDATE tasks SET status = 'running', claim_lock = ?2, claim_expires = ?3,"
	"  started_at = coalesce(started_at, ?4)"
	" WHERE id = ?1 AND status = ?5 AND claim_lock IS NULL";

static const char sql_open_run[] =
	"INSERT INTO task_runs (task_id, profile, status, claim_lock, claim_expires, step_key,"
	"  max_runtime_seconds, started_at)"
	" SELECT id, assignee, 'running', ?2, ?3, {tasks.current_step_key},"
	"  {tasks.max_runtime_seconds}, ?4 FROM tasks WHERE id = ?1";

static const char sql_current_run[] =
	"UPDATE tasks SET current_run_id = ?2 WHERE id = ?1";

static const char sql_launch_row[] =
	"SELECT assignee, {failures}, {tasks.max_retries},"
	"  coalesce((SELECT max(e.created_at) FROM task_events e WHERE e.task_id = tasks.id"
	"    AND e.kind NOT IN ('claimed', 'commented', 'heartbeat')), created_at)"
#define CLAIM_COLUMN(name) ", {tasks." #name "}"
	TASK_PLACE(CLAIM_COLUMN) TASK_TOLD(CLAIM_COLUMN, CLAIM_COLUMN, CLAIM_COLUMN)
#undef CLAIM_COLUMN
	" FROM tasks WHERE id = ?1";

/* clang-format on */

static char *claim_text(const struct tick *t, sqlite3_stmt *s, int i)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		t->plan->oom = true;
	return copy;
}

/* The columns from @i on. */
static void claim_row(const struct tick *t, sqlite3_stmt *s, int i, struct task_row *row)
{
#define CLAIM_TEXT(name)   row->name = claim_text(t, s, i++);
#define CLAIM_NUMBER(name) row->name = running_time(sqlite3_column_int64(s, i++));
#define CLAIM_FLAG(name)   row->name = sqlite3_column_int64(s, i++) != 0;
	TASK_PLACE(CLAIM_TEXT)
	TASK_TOLD(CLAIM_TEXT, CLAIM_NUMBER, CLAIM_FLAG)
#undef CLAIM_TEXT
#undef CLAIM_NUMBER
#undef CLAIM_FLAG
}

/* Copy the columns that a launch needs into the plan. */
static int claim_plan(const struct tick *t, const char *task, int64_t run, bool review)
{
	sqlite3_stmt *s = NULL;
	struct plan_launch *l;
	int r;

	r = db_query(t->db, t->e, &s, sql_launch_row, "t", task);
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r != DB_ROW)
		return r;
	l = plan_launch(t->plan);
	if (l) {
		bool retries = sqlite3_column_type(s, 2) != SQLITE_NULL;

		*l = (struct plan_launch){
			.task = strdup(task),
			.claim_lock = strdup(t->rq->claim_lock),
			.run = run,
			.run_started_at = t->rq->now,
			.review = review,
			.assignee = claim_text(t, s, 0),
			.goal_quiet = !tick_newer(t),
			.failures = running_time(sqlite3_column_int64(s, 1)),
			.max_retries = retries ? running_time(sqlite3_column_int64(s, 2)) : -1,
			.ready_at = sqlite3_column_int64(s, 3),
		};
		claim_row(t, s, 4, &l->row);
		if (!l->task || !l->claim_lock)
			t->plan->oom = true;
		/* no tick need follow that would find them */
		plan_deadline(t->plan, t->rq->now + t->rq->set->claim_ttl_s + 1);
		if (l->row.max_runtime_seconds > 0)
			plan_deadline(t->plan, t->rq->now + l->row.max_runtime_seconds + 1);
	}
	(void)sqlite3_reset(s); /* one row is all */
	return t->plan->oom ? error_set(t->e, -ENOMEM, "out of memory") : 0;
}

int claim_has_open_parent(const struct tick *t, const char *task, bool *open)
{
	int64_t n = 0;
	int r = db_one_int(t->db, t->e, &n, 0, sql_open_parent, "t", task);

	*open = n > 0;
	return r;
}

int claim_reject(const struct tick *t, const char *task, bool review)
{
	bool open;
	int r = claim_has_open_parent(t, task, &open);

	if (r != 0 || !open)
		return r;
	r = db_run(t->db, t->e, sql_back_to_todo, "tt", task, review ? "review" : "ready");
	if (r != 0 || db_changes(t->db) == 0)
		return r;
	if (!review)
		return history_event(t, task, 0, "claim_rejected",
				     json_pack("{s:s}", "reason", "parents_not_done"));
	return history_event(t, task, 0, "dependency_wait",
			     json_pack("{s:s, s:s}", "reason", "parent_reopened",
				       "source_status", "review"));
}

int claim_task(const struct tick *t, const char *task, bool review)
{
	int64_t expires = t->rq->now + t->rq->set->claim_ttl_s, run;
	json_t *payload;
	bool open;
	int r = claim_has_open_parent(t, task, &open);

	if (r != 0)
		return r;
	if (open)
		return claim_reject(t, task, review);
	r = db_run(t->db, t->e, sql_claim, "ttiit", task, t->rq->claim_lock, expires,
		   t->rq->now, review ? "review" : "ready");
	if (r != 0 || db_changes(t->db) == 0) /* somebody else was faster */
		return r;
	r = db_run(t->db, t->e, sql_leaked_run, "ti", task, t->rq->now);
	if (r == 0)
		r = db_run(t->db, t->e, sql_open_run, "ttii", task, t->rq->claim_lock, expires,
			   t->rq->now);
	if (r != 0)
		return r;
	run = db_last_id(t->db);
	r = db_run(t->db, t->e, sql_current_run, "ti", task, run);
	if (r != 0)
		return r;
	payload = json_pack("{s:o, s:I, s:I}", "lock", json_utf8(t->rq->claim_lock), "expires",
			    (json_int_t)expires, "run_id", (json_int_t)run);
	if (payload && review &&
	    json_object_set_new(payload, "source_status", json_string("review")) < 0) {
		json_decref(payload);
		payload = NULL;
	}
	r = history_event(t, task, run, "claimed", payload);
	if (r == 0 && !review)
		r = guard_consume(t, task, run);
	return r != 0 ? r : claim_plan(t, task, run, review);
}
