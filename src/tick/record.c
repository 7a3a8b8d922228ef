/*
 * What became of a launch: the worker's pid in the rows of its task and run, or a failure that
 * is counted and the task let go.
 */
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

/* clang-format off */
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

/* Said once in a root. */
static const char record_tip[] =
	"A scratch workspace goes when its task completes. To keep what a worker makes, give "
	"the "
	"task --workspace worktree (a branch of a git repository) or --workspace "
	"dir:/absolute/path (a folder that is there to stay).";

static json_t *record_spawned_payload(const struct tick *t, const struct tick_launched *l)
{
	json_t *p = json_pack("{s:I}", "pid", (json_int_t)l->pid);

	if (p && l->started && tick_newer(t) &&
	    json_object_set_new(p, "started_at", json_utf8(l->started)) < 0)
		return json_free(p);
	return p;
}

static int record_spawned(const struct tick *t, const struct tick_launched *l)
{
	const struct plan_launch *p = l->launch;
	int r;

	r = db_run(t->db, t->e, sql_record_task, "tiit", p->task, p->run, l->pid, l->started);
	/* a fast worker may have ended its run already; that it was started stays true */
	if (r == 0)
		r = db_run(t->db, t->e, sql_record_run, "iit", p->run, l->pid, l->started);
	if (r == 0)
		r = history_event(t, p->task, p->run, "spawned", record_spawned_payload(t, l));
	/* a tick between the claim and this one left a claim without a worker to its TTL, and
	 * no tick need follow */
	if (p->row.max_runtime_seconds > 0)
		plan_deadline(t->plan, p->run_started_at + p->row.max_runtime_seconds + 1);
	return r;
}

/* It did not start for a reason that is the host's: no failure of the task. */
static int record_infrastructure(const struct tick *t, const struct tick_launched *l)
{
	const struct plan_launch *p = l->launch;
	struct running row = {
		.task = p->task, .lock = p->claim_lock, .run = p->run, .current_run = p->run
	};
	const char *error = l->error ? l->error : "spawn failed";
	struct release release = { .status = "spawn_failed",
				   .error = error,
				   .to = p->review ? "review" : "ready" };
	int r;

	release.metadata = json_pack("{s:b, s:I}", "infrastructure", 1, "failures",
				     (json_int_t)p->failures);
	r = running_release(t, &row, &release);
	if (r == DB_CONFLICT)
		return 0; /* taken from us meanwhile: theirs to judge */
	if (r == 0)
		r = history_event(t, p->task, p->run, "spawn_failed",
				  json_pack("{s:o, s:I, s:b, s:s}", "error", json_utf8(error),
					    "failures", (json_int_t)p->failures,
					    "infrastructure", 1, "retry_status", release.to));
	if (r == 0)
		plan_note(t->plan, LOG_WARNING, LOG_ID_SPAWN_FAILED, p->task, p->run,
			  "worker not started, which is this host's fault and not counted: %s",
			  error);
	return r;
}

static int record_failed(const struct tick *t, const struct tick_launched *l)
{
	const struct plan_launch *p = l->launch;
	struct running row = {
		.task = p->task, .lock = p->claim_lock, .run = p->run, .current_run = p->run
	};
	struct failure f = { .task = p->task,
			     .run = p->run,
			     .failures = p->failures + 1,
			     .error = l->error ? l->error : "spawn failed",
			     .trigger = "spawn_failed",
			     .retry = p->review ? "review" : "ready" };
	struct release release = { .status = "spawn_failed", .error = f.error };
	bool tripped;
	int r;

	f.limit = failure_limit(t, p->max_retries, 0, &f.limit_from_task);
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
	release.to = f.retry;
	r = running_release(t, &row, &release);
	if (r == DB_CONFLICT)
		return 0; /* taken from us meanwhile: theirs to judge */
	if (r == 0 && !tripped)
		r = history_event(t, p->task, p->run, "spawn_failed",
				  json_pack("{s:o, s:I, s:s}", "error", json_utf8(f.error),
					    "failures", (json_int_t)f.failures, "retry_status",
					    f.retry));
	if (r == 0)
		r = failure_count(t, &f, &tripped);
	if (r == 0 && !tripped)
		plan_note(t->plan, LOG_WARNING, LOG_ID_SPAWN_FAILED, p->task, p->run,
			  "worker not started (failure %lld of %lld): %s",
			  (long long)f.failures, (long long)f.limit, f.error);
	return r;
}

/* The host's fault, or work was stopped by hand or the lease lost between the claim and the
 * start: the task is ready again as if nothing had been. */
static int record_put_back(const struct tick *t, const struct tick_launched *l,
			   const char *reason)
{
	const struct plan_launch *p = l->launch;
	struct running row = {
		.task = p->task, .lock = p->claim_lock, .run = p->run, .current_run = p->run
	};
	const char *error = l->error ? l->error : "no worker can be started";
	struct release release = { .to = p->review ? "review" : "ready",
				   .status = "reclaimed",
				   .error = error };
	int r;

	release.metadata = json_pack("{s:s, s:n}", "reason", reason, "worker_pid");
	r = running_release(t, &row, &release);
	if (r == DB_CONFLICT)
		return 0; /* taken from us meanwhile: theirs to judge */
	if (r != 0)
		return r;
	plan_note(t->plan, LOG_DEBUG, NULL, p->task, p->run, "not started: %s", error);
	return history_event(t, p->task, p->run, "reclaimed",
			     json_pack("{s:s, s:o, s:o, s:I, s:s}", "reason", reason,
				       "stale_lock", json_utf8(p->claim_lock), "error",
				       json_utf8(error), "now", (json_int_t)t->rq->now,
				       "retry_status", release.to));
}

int record_launched(const struct tick *t, const struct tick_launched *l)
{
	const struct plan_launch *p = l->launch;
	int r = 0;

	if (l->put_back)
		return record_put_back(t, l, l->put_back);
	if (l->workspace_ok && l->workspace)
		r = db_run(t->db, t->e, sql_record_workspace, "ttt", p->task, l->workspace,
			   l->branch);
	if (r == 0 && l->workspace_ok && p->row.workspace_kind &&
	    strcmp(p->row.workspace_kind, "scratch") == 0 &&
	    t->rq->host->first_scratch(t->rq->host->arg))
		r = history_event(t, p->task, 0, "tip_scratch_workspace",
				  json_pack("{s:s}", "message", record_tip));
	if (r != 0)
		return r;
	if (l->spawned)
		return record_spawned(t, l);
	if (!l->infrastructure)
		return record_failed(t, l);
	/* without a loop that watches the host it is noted as Hermes does */
	return t->rq->once ? record_infrastructure(t, l) : record_put_back(t, l, "host_fault");
}
