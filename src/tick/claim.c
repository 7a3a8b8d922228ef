#include "tick/claim.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/log.h"

/* clang-format off */
static const char sql_open_parent[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_links l CROSS JOIN tasks p ON p.id = l.parent_id"
	" WHERE l.child_id = ?1 AND p.status NOT IN ('done', 'archived') LIMIT 1)";

static const char sql_back_to_todo[] =
	"UPDATE tasks SET status = 'todo' WHERE id = ?1 AND status = 'ready' AND claim_lock IS NULL";

static const char sql_leaked_run[] =
	"UPDATE task_runs SET status = 'reclaimed', outcome = 'reclaimed', ended_at = ?2,"
	"  {task_runs.summary?summary = coalesce(summary, 'invariant recovery on re-claim'),}"
	"  claim_lock = NULL, claim_expires = NULL, worker_pid = NULL"
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
	"SELECT assignee, {tasks.tenant}, workspace_kind, workspace_path, {tasks.branch_name},"
	"  {tasks.skills}, {tasks.model_override}, {tasks.provider_override},"
	"  {tasks.reasoning_effort}, {tasks.goal_mode}, {tasks.goal_max_turns},"
	"  {tasks.max_runtime_seconds}, {failures}, {tasks.max_retries}"
	" FROM tasks WHERE id = ?1";

static const char sql_record_task[] =
	"UPDATE tasks SET worker_pid = ?3 {tasks.worker_started_at?, worker_started_at = ?4}"
	" WHERE id = ?1 AND current_run_id = ?2 AND status = 'running'";

static const char sql_record_run[] =
	"UPDATE task_runs SET worker_pid = ?2 {task_runs.worker_started_at?, worker_started_at = ?3}"
	" WHERE id = ?1 AND ended_at IS NULL";

static const char sql_record_workspace[] =
	"UPDATE tasks SET workspace_path = ?2"
	"  {tasks.branch_name?, branch_name = coalesce(?3, branch_name)} WHERE id = ?1";
/* clang-format on */

static char *claim_text(sqlite3_stmt *s, int i, struct plan *plan)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		plan->oom = true;
	return copy;
}

/* Copy the columns that a launch needs into the plan. */
static int claim_plan(struct db *db, const struct tick_request *rq, const char *task,
		      int64_t run, bool review, struct plan *plan, struct error *e)
{
	sqlite3_stmt *s = NULL;
	struct plan_launch *l;
	int r;

	r = db_query(db, e, &s, sql_launch_row, "t", task);
	if (r == 0)
		r = db_step(db, s, e);
	if (r != DB_ROW)
		return r;
	l = plan_launch(plan);
	if (l) {
		bool retries = sqlite3_column_type(s, 13) != SQLITE_NULL;

		*l = (struct plan_launch){
			.task = strdup(task),
			.claim_lock = strdup(rq->claim_lock),
			.run = run,
			.review = review,
			.assignee = claim_text(s, 0, plan),
			.tenant = claim_text(s, 1, plan),
			.workspace_kind = claim_text(s, 2, plan),
			.workspace_path = claim_text(s, 3, plan),
			.branch_name = claim_text(s, 4, plan),
			.skills = claim_text(s, 5, plan),
			.model = claim_text(s, 6, plan),
			.provider = claim_text(s, 7, plan),
			.reasoning = claim_text(s, 8, plan),
			.goal_mode = sqlite3_column_int64(s, 9) != 0,
			.goal_max_turns = running_time(sqlite3_column_int64(s, 10)),
			.max_runtime_seconds = running_time(sqlite3_column_int64(s, 11)),
			.failures = running_time(sqlite3_column_int64(s, 12)),
			.max_retries = retries ? running_time(sqlite3_column_int64(s, 13)) : -1,
		};
		if (!l->task || !l->claim_lock)
			plan->oom = true;
		/* no tick need follow that would find them */
		plan_deadline(plan, rq->now + rq->set->claim_ttl_s + 1);
		if (l->max_runtime_seconds > 0)
			plan_deadline(plan, rq->now + l->max_runtime_seconds + 1);
	}
	(void)sqlite3_reset(s); /* one row is all */
	return plan->oom ? error_set(e, -ENOMEM, "out of memory") : 0;
}

static int claim_reject(struct db *db, const struct tick_request *rq, const char *task,
			struct error *e)
{
	int r = db_run(db, e, sql_back_to_todo, "t", task);

	if (r != 0 || db_changes(db) == 0)
		return r;
	return history_event(db, task, 0, "claim_rejected",
			     json_pack("{s:s}", "reason", "parents_not_done"), rq->now, e);
}

int claim_task(struct db *db, const struct tick_request *rq, const char *task, bool review,
	       struct plan *plan, struct error *e)
{
	int64_t expires = rq->now + rq->set->claim_ttl_s, open = 0, run;
	json_t *payload;
	int r = 0;

	if (!review)
		r = db_one_int(db, e, &open, 0, sql_open_parent, "t", task);
	if (r != 0)
		return r;
	if (open)
		return claim_reject(db, rq, task, e);
	r = db_run(db, e, sql_claim, "ttiit", task, rq->claim_lock, expires, rq->now,
		   review ? "review" : "ready");
	if (r != 0 || db_changes(db) == 0) /* somebody else was faster */
		return r;
	r = db_run(db, e, sql_leaked_run, "ti", task, rq->now);
	if (r == 0)
		r = db_run(db, e, sql_open_run, "ttii", task, rq->claim_lock, expires, rq->now);
	if (r != 0)
		return r;
	run = db_last_id(db);
	r = db_run(db, e, sql_current_run, "ti", task, run);
	if (r != 0)
		return r;
	payload = json_pack("{s:o, s:I, s:I}", "lock", history_text(rq->claim_lock), "expires",
			    (json_int_t)expires, "run_id", (json_int_t)run);
	if (payload && review &&
	    json_object_set_new(payload, "source_status", json_string("review")) < 0) {
		json_decref(payload);
		payload = NULL;
	}
	r = history_event(db, task, run, "claimed", payload, rq->now, e);
	return r != 0 ? r : claim_plan(db, rq, task, run, review, plan, e);
}

/* ---- what became of the launch --------------------------------------------------------------
 */

static int record_spawned(struct db *db, const struct tick_request *rq,
			  const struct tick_launched *l, struct plan *plan, struct error *e)
{
	const struct plan_launch *p = l->launch;
	int r;

	r = db_run(db, e, sql_record_task, "tiit", p->task, p->run, l->pid, l->started);
	/* a fast worker may have ended its run already; that it was started stays true */
	if (r == 0)
		r = db_run(db, e, sql_record_run, "iit", p->run, l->pid, l->started);
	if (r == 0)
		r = history_event(db, p->task, p->run, "spawned",
				  json_pack("{s:I}", "pid", (json_int_t)l->pid), rq->now, e);
	if (r == 0)
		plan_note(plan, LOG_INFO, LOG_ID_SPAWNED, p->task, p->run,
			  "started worker %lld for %s", (long long)l->pid,
			  p->assignee ? p->assignee : "?");
	return r;
}

static int record_failed(struct db *db, const struct tick_request *rq,
			 const struct tick_launched *l, struct plan *plan, struct error *e)
{
	const struct plan_launch *p = l->launch;
	struct running row = {
		.task = p->task, .lock = p->claim_lock, .run = p->run, .current_run = p->run
	};
	struct failure f = { .task = p->task,
			     .run = p->run,
			     .failures = p->failures + 1,
			     .error = l->error ? l->error : "spawn failed",
			     .trigger = "spawn_failed" };
	struct release release = { .status = "spawn_failed", .error = f.error };
	bool tripped;
	int r;

	f.limit = failure_limit(rq, p->max_retries, 0, &f.limit_from_task);
	tripped = f.failures >= f.limit;
	if (tripped) {
		release.status = "gave_up";
		release.metadata = json_pack(
			"{s:I, s:s, s:I, s:s}", "failures", (json_int_t)f.failures,
			"trigger_outcome", f.trigger, "effective_limit", (json_int_t)f.limit,
			"limit_source", f.limit_from_task ? "task" : "dispatcher");
	} else {
		release.metadata = json_pack("{s:I}", "failures", (json_int_t)f.failures);
	}
	release.to = p->review ? "review" : "ready";
	r = running_release(db, rq, &row, &release, e);
	if (r == DB_CONFLICT)
		return 0; /* taken from us meanwhile: theirs to judge */
	if (r == 0 && !tripped)
		r = history_event(db, p->task, p->run, "spawn_failed",
				  json_pack("{s:o, s:I}", "error", history_text(f.error),
					    "failures", (json_int_t)f.failures),
				  rq->now, e);
	if (r == 0)
		r = failure_count(db, rq, &f, plan, &tripped, e);
	if (r == 0 && !tripped)
		plan_note(plan, LOG_WARNING, LOG_ID_SPAWN_FAILED, p->task, p->run,
			  "worker not started (failure %lld of %lld): %s",
			  (long long)f.failures, (long long)f.limit, f.error);
	return r;
}

static int record_one(struct db *db, const struct tick_request *rq,
		      const struct tick_launched *l, struct plan *plan, struct error *e)
{
	const struct plan_launch *p = l->launch;
	int r = 0;

	if (l->workspace_ok && l->workspace)
		r = db_run(db, e, sql_record_workspace, "ttt", p->task, l->workspace,
			   l->branch);
	if (r == 0 && l->workspace_ok && p->workspace_kind &&
	    strcmp(p->workspace_kind, "scratch") == 0 &&
	    rq->outside->first_scratch(rq->outside->arg))
		r = history_event(
			db, p->task, 0, "tip_scratch_workspace",
			json_pack("{s:o}", "workspace_path", history_text(l->workspace)),
			rq->now, e);
	if (r != 0)
		return r;
	return l->spawned ? record_spawned(db, rq, l, plan, e)
			  : record_failed(db, rq, l, plan, e);
}

int tick_record(struct db *db, const struct tick_request *rq,
		const struct tick_launched *launched, size_t n, struct plan *plan,
		struct error *e)
{
	struct plan_mark mark = plan_mark(plan);
	int r = db_begin(db, e);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = record_one(db, rq, &launched[i], plan, e);
	if (r == 0)
		r = db_commit(db, e);
	else
		db_rollback(db);
	if (r != 0)
		plan_cut(plan, &mark);
	return r;
}
