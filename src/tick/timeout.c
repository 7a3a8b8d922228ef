/*
 * What came of ending workers. The row may have moved on while the loop was at it (the worker
 * completed its task with its last breath): every change is a compare-and-swap on status, claim
 * and run, and a row that changed is left as it is.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "db/db.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/log.h"

/* clang-format off */
static const char sql_hold_task[] =
	"UPDATE tasks SET claim_expires = ?4 WHERE id = ?1 AND status = 'running'"
	" AND claim_lock IS ?2 AND current_run_id IS nullif(?3, 0)";

static const char sql_hold_run[] =
	"UPDATE task_runs SET claim_expires = ?2 WHERE id = ?1 AND ended_at IS NULL";

static const char sql_counts[] =
	"SELECT {failures}, {tasks.max_retries} FROM tasks WHERE id = ?1";
/* clang-format on */

static json_t *settle_termination(const struct plan_victim *v)
{
	return running_termination(v->pid, v->host_local && v->pid, v->attempted, v->terminated,
				   v->sigkill);
}

/* An object with the keys of @more after its own; NULL when out of memory. Steals both. */
static json_t *settle_join(json_t *payload, json_t *more)
{
	if (payload && (!more || json_object_update(payload, more) < 0)) {
		json_decref(payload);
		payload = NULL;
	}
	json_decref(more);
	return payload;
}

static struct running settle_row(const struct plan_victim *v)
{
	return (struct running){
		.task = v->task,
		.lock = v->claim_lock,
		.current_run = v->run,
		.run = v->run,
		.pid = v->pid,
	};
}

/* It survived SIGKILL: keep the claim, look again after the grace. */
static int settle_hold(struct db *db, const struct tick_request *rq,
		       const struct plan_victim *v, const char *reason, struct plan *plan,
		       struct error *e)
{
	int64_t until = rq->now + rq->set->reclaim_defer_s;
	json_t *payload;
	int r;

	r = db_run(db, e, sql_hold_task, "ttii", v->task, v->claim_lock, v->run, until);
	if (r != 0 || db_changes(db) == 0)
		return r;
	r = db_run(db, e, sql_hold_run, "ii", v->run, until);
	if (r != 0)
		return r;
	payload = json_pack("{s:s, s:o, s:o, s:o, s:I}", "reason", reason, "worker_pid",
			    history_int(v->pid), "claim_lock", history_text(v->claim_lock),
			    "claim_expires_was", history_int(v->claim_expires),
			    "claim_expires_now", (json_int_t)until);
	plan_note(plan, LOG_WARNING, NULL, v->task, v->run,
		  "worker %lld survived SIGKILL; the task stays claimed for %lld s",
		  (long long)v->pid, (long long)rq->set->reclaim_defer_s);
	plan_deadline(plan, until + 1);
	return history_event(db, v->task, v->run, "reclaim_deferred",
			     settle_join(payload, settle_termination(v)), rq->now, e);
}

static int settle_expired(struct db *db, const struct tick_request *rq,
			  const struct plan_victim *v, struct plan *plan, struct error *e)
{
	struct running row = settle_row(v);
	CLEANUP(freep) char *error = NULL;
	struct release release = { .status = "reclaimed", .metadata = settle_termination(v) };
	json_t *payload;
	int r;

	if (asprintf(&error, "stale_lock=%s", v->claim_lock ? v->claim_lock : "") < 0)
		error = NULL; /* the run then has no error text: not worth losing the release */
	release.error = error;
	r = running_release(db, rq, &row, &release, e);
	if (r != 0)
		return r;
	plan->reclaimed++;
	plan_note(plan, LOG_NOTICE, LOG_ID_RECLAIMED, v->task, v->run,
		  "claim expired and worker %lld had no heartbeat: ended it; the task is ready "
		  "again",
		  (long long)v->pid);
	payload = json_pack("{s:o, s:o, s:o, s:o, s:I, s:b, s:b}", "stale_lock",
			    history_text(v->claim_lock), "worker_pid", history_int(v->pid),
			    "claim_expires", history_int(v->claim_expires), "last_heartbeat_at",
			    history_int(v->heartbeat), "now", (json_int_t)rq->now, "host_local",
			    v->host_local, "heartbeat_stale", v->heartbeat_stale);
	return history_event(db, v->task, v->run, "reclaimed",
			     settle_join(payload, settle_termination(v)), rq->now, e);
}

static int settle_stale(struct db *db, const struct tick_request *rq,
			const struct plan_victim *v, struct plan *plan, struct error *e)
{
	struct running row = settle_row(v);
	int64_t age = v->heartbeat >= 0 ? rq->now - v->heartbeat : -1;
	CLEANUP(freep) char *error = NULL;
	struct release release = { .status = "stale", .clear_heartbeat = true };
	json_t *payload;
	int r, n;

	payload = settle_join(json_pack("{s:I, s:o, s:o, s:I, s:o}", "elapsed_seconds",
					(json_int_t)v->elapsed_s, "last_heartbeat_at",
					history_int(v->heartbeat), "heartbeat_age_seconds",
					history_int(age), "timeout_seconds",
					(json_int_t)v->limit_s, "pid",
					history_int(v->pid ? v->pid : -1)),
			      settle_termination(v));
	n = age >= 0 ? asprintf(&error, "no heartbeat for %llds after %llds running",
				(long long)age, (long long)v->elapsed_s)
		     : asprintf(&error, "no heartbeat ever after %llds running",
				(long long)v->elapsed_s);
	if (n < 0)
		error = NULL;
	release.error = error;
	release.metadata = json_incref(payload);
	r = running_release(db, rq, &row, &release, e);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan_id(plan, &plan->stale, v->task);
	plan_note(plan, LOG_NOTICE, LOG_ID_RECLAIMED, v->task, v->run,
		  "%s; the task is ready again", error ? error : "no heartbeat");
	return history_event(db, v->task, v->run, "stale", payload, rq->now, e);
}

static int settle_counts(struct db *db, const char *task, int64_t *failures, int64_t *retries,
			 struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_counts, "t", task);

	*failures = 0;
	*retries = -1;
	if (r == 0)
		r = db_step(db, s, e);
	if (r == DB_ROW) {
		*failures = running_time(sqlite3_column_int64(s, 0));
		if (sqlite3_column_type(s, 1) != SQLITE_NULL)
			*retries = running_time(sqlite3_column_int64(s, 1));
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}

static int settle_timed_out(struct db *db, const struct tick_request *rq,
			    const struct plan_victim *v, struct plan *plan, struct error *e)
{
	struct running row = settle_row(v);
	struct failure f = { .task = v->task, .run = v->run, .trigger = "timed_out" };
	struct release release = { .status = "timed_out", .clear_heartbeat = true };
	CLEANUP(freep) char *error = NULL;
	int64_t retries, failures;
	json_t *payload;
	bool tripped;
	int r;

	if (asprintf(&error, "elapsed %llds > limit %llds", (long long)v->elapsed_s,
		     (long long)v->limit_s) < 0) {
		error = NULL;
		return error_set(e, -ENOMEM, "out of memory");
	}
	payload = json_pack("{s:o, s:I, s:I, s:b}", "pid", history_int(v->pid ? v->pid : -1),
			    "elapsed_seconds", (json_int_t)v->elapsed_s, "limit_seconds",
			    (json_int_t)v->limit_s, "sigkill", v->sigkill);
	release.error = error;
	release.metadata = json_incref(payload);
	r = running_release(db, rq, &row, &release, e);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan_id(plan, &plan->timed_out, v->task);
	plan_note(plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, v->task, v->run, "timed out: %s",
		  error);
	r = history_event(db, v->task, v->run, "timed_out", payload, rq->now, e);
	if (r == 0)
		r = settle_counts(db, v->task, &failures, &retries, e);
	if (r != 0)
		return r;
	f.failures = failures + 1;
	f.limit = failure_limit(rq, retries, 0, &f.limit_from_task);
	f.error = error;
	f.extra = json_pack("{s:o, s:b}", "pid", history_int(v->pid ? v->pid : -1), "sigkill",
			    v->sigkill);
	return failure_count(db, rq, &f, plan, &tripped, e);
}

static int settle_terminal(struct db *db, const struct tick_request *rq,
			   const struct plan_victim *v, struct plan *plan, struct error *e)
{
	plan_note(plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, v->task, v->run,
		  "worker %lld was still alive long after its run ended: ended it",
		  (long long)v->pid);
	return history_event(db, v->task, v->run, "terminal_worker_reaped",
			     settle_join(json_pack("{s:o}", "pid", history_int(v->pid)),
					 settle_termination(v)),
			     rq->now, e);
}

int tick_settle_one(struct db *db, const struct tick_request *rq, const struct plan_victim *v,
		    struct plan *plan, struct error *e)
{
	bool survived = v->attempted && !v->terminated;

	switch (v->cause) {
	case VICTIM_EXPIRED:
		return survived ? settle_hold(db, rq, v, "ttl_expired_worker_alive", plan, e)
				: settle_expired(db, rq, v, plan, e);
	case VICTIM_STALE:
		return survived
			       ? settle_hold(db, rq, v, "heartbeat_stale_worker_alive", plan, e)
			       : settle_stale(db, rq, v, plan, e);
	case VICTIM_TIMED_OUT:
		return survived ? settle_hold(db, rq, v, "max_runtime_worker_alive", plan, e)
				: settle_timed_out(db, rq, v, plan, e);
	case VICTIM_TERMINAL:
		return survived ? 0 : settle_terminal(db, rq, v, plan, e);
	}
	return 0;
}

int tick_settle(struct db *db, const struct tick_request *rq, const struct plan_victim *victims,
		size_t n, struct plan *plan, struct error *e)
{
	struct plan_mark mark = plan_mark(plan);
	int r = db_begin(db, e);

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = tick_settle_one(db, rq, &victims[i], plan, e);
		if (r == DB_CONFLICT) /* it moved on by itself: nothing to book */
			r = 0;
	}
	if (r == 0)
		r = db_commit(db, e);
	else
		db_rollback(db);
	if (r != 0)
		plan_cut(plan, &mark);
	return r;
}
