/*
 * Steps 2 to 5 and 7 of a tick: running tasks whose claim, heartbeat or time has run out.
 *
 * A row either needs no worker to be ended (its worker is dead, a stranger has its pid, or it
 * belongs to another host): then it is let go here. Or a live worker of ours must be ended
 * first: then it becomes a victim in the plan, the loop ends the worker with everything it
 * started, and settle.c books the outcome. While that goes on its run is in tick_request.busy
 * and no step touches it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "db/db.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/log.h"

/* clang-format off */
static const char sql_extend_task[] =
	"UPDATE tasks SET claim_expires = ?4 WHERE id = ?1 AND status = 'running'"
	" AND claim_lock IS ?2 AND CAST(claim_expires AS INTEGER) < ?3";

static const char sql_extend_run[] =
	"UPDATE task_runs SET claim_expires = ?2 WHERE id = ?1 AND ended_at IS NULL";

static const char sql_adopt_task[] =
	"UPDATE tasks SET worker_pid = ?2 WHERE id = ?1 AND status = 'running'"
	" AND current_run_id = ?3 AND worker_pid IS NULL";

static const char sql_adopt_run[] =
	"UPDATE task_runs SET worker_pid = ?2 WHERE id = ?1 AND ended_at IS NULL";
/* clang-format on */

enum reclaim_need {
	RECLAIM_NOTHING,
	RECLAIM_EXTEND,  /* expired, but the worker lives and is fresh */
	RECLAIM_RELEASE, /* expired, nothing to end */
	RECLAIM_ORPHAN,  /* running without a claim */
	RECLAIM_CUT_OFF, /* claimed by a kanband that was killed before it recorded a worker */
	RECLAIM_STALE,   /* no heartbeat for too long, nothing to end */
	RECLAIM_TIMEOUT, /* over its time, nothing to end */
	RECLAIM_END,     /* a live worker has to be ended first: a victim */
};

static bool reclaim_expired(const struct tick_request *rq, const struct running *row)
{
	return row->expires >= 0 && row->expires < rq->now;
}

static bool reclaim_heartbeat_stale(const struct tick_request *rq, const struct running *row)
{
	return row->heartbeat >= 0 && rq->now - row->heartbeat >= rq->set->heartbeat_stale_s;
}

static bool reclaim_stale(const struct tick_request *rq, const struct running *row)
{
	return rq->set->stale_timeout_s > 0 && row->run_started_at > 0 &&
	       rq->now - row->run_started_at > rq->set->stale_timeout_s &&
	       (row->heartbeat < 0 || rq->now - row->heartbeat >= rq->set->heartbeat_stale_s);
}

static bool reclaim_over_time(const struct tick_request *rq, const struct running *row)
{
	return row->max_runtime > 0 && row->host_local && row->run_started_at > 0 &&
	       rq->now - row->run_started_at > row->max_runtime;
}

static bool reclaim_is_claimant(const struct tick_request *rq, const char *lock)
{
	for (size_t i = 0; lock && rq->claimants && rq->claimants[i]; i++)
		if (strcmp(rq->claimants[i], lock) == 0)
			return true;
	return false;
}

static enum reclaim_need reclaim_judge(const struct tick_request *rq, const struct running *row,
				       enum victim_cause *cause)
{
	bool ours = row->host_local && row->alive;

	if (row->gone || row->busy)
		return RECLAIM_NOTHING;
	if (!row->lock || row->expires < 0)
		return row->alive ? RECLAIM_NOTHING : RECLAIM_ORPHAN;
	if (row->host_local && !row->pid && row->run && reclaim_is_claimant(rq, row->lock))
		return RECLAIM_CUT_OFF;
	if (reclaim_expired(rq, row) && !(ours && !reclaim_heartbeat_stale(rq, row))) {
		*cause = VICTIM_EXPIRED;
		return ours ? RECLAIM_END : RECLAIM_RELEASE;
	}
	if (reclaim_stale(rq, row)) {
		*cause = VICTIM_STALE;
		return ours ? RECLAIM_END : RECLAIM_STALE;
	}
	if (crash_due(rq, row, NULL))
		return RECLAIM_NOTHING; /* step 6 comes before step 7 */
	if (reclaim_over_time(rq, row)) {
		*cause = VICTIM_TIMED_OUT;
		return ours ? RECLAIM_END : RECLAIM_TIMEOUT;
	}
	return reclaim_expired(rq, row) ? RECLAIM_EXTEND : RECLAIM_NOTHING;
}

static void reclaim_victim(const struct tick_request *rq, const struct running *row,
			   enum victim_cause cause, struct plan *plan)
{
	struct plan_victim *v = plan_victim(plan);

	if (!v)
		return;
	*v = (struct plan_victim){
		.cause = cause,
		.task = strdup(row->task),
		.claim_lock = row->lock ? strdup(row->lock) : NULL,
		.started = row->started ? strdup(row->started) : NULL,
		.run = row->run,
		.pid = row->pid,
		.claim_expires = row->expires,
		.heartbeat = row->heartbeat,
		.run_started_at = row->run_started_at,
		.elapsed_s = rq->now - row->run_started_at,
		.limit_s =
			cause == VICTIM_TIMED_OUT ? row->max_runtime : rq->set->stale_timeout_s,
		.heartbeat_stale = reclaim_heartbeat_stale(rq, row),
		.host_local = row->host_local,
	};
	if (!v->task || (row->lock && !v->claim_lock) || (row->started && !v->started)) {
		plan->oom = true;
		plan_victim_deinit(v);
		plan->n_victims--;
	}
}

/* A time that is over changes nothing any more: waiting for it would be a tick after the other.
 */
static void reclaim_deadline(const struct tick_request *rq, int64_t at, struct plan *plan)
{
	if (at > rq->now)
		plan_deadline(plan, at);
}

/* When time alone will change what is judged of a row that runs on. */
static void reclaim_deadlines(const struct tick_request *rq, const struct running *row,
			      struct plan *plan)
{
	if (row->expires >= 0)
		reclaim_deadline(rq, row->expires + 1, plan);
	if (row->max_runtime > 0 && row->host_local)
		reclaim_deadline(rq, row->run_started_at + row->max_runtime + 1, plan);
	if (rq->set->stale_timeout_s > 0) {
		int64_t at = row->run_started_at + rq->set->stale_timeout_s + 1;
		int64_t beat = row->heartbeat + rq->set->heartbeat_stale_s;

		reclaim_deadline(rq, row->heartbeat >= 0 && beat > at ? beat : at, plan);
	}
}

bool reclaim_wanted(const struct tick_request *rq, struct running_set *set, struct plan *plan)
{
	bool wanted = false;

	for (size_t i = 0; i < set->n; i++) {
		struct running *row = &set->v[i];
		enum victim_cause cause = VICTIM_EXPIRED;
		enum reclaim_need need = reclaim_judge(rq, row, &cause);

		if (need == RECLAIM_END) {
			reclaim_victim(rq, row, cause, plan);
			row->busy = true;
		} else if (need != RECLAIM_NOTHING || crash_due(rq, row, plan)) {
			wanted = true;
		}
		if (need == RECLAIM_NOTHING || need == RECLAIM_EXTEND)
			reclaim_deadlines(rq, row, plan);
		if (need == RECLAIM_EXTEND)
			plan_deadline(plan, rq->now + rq->set->claim_ttl_s + 1);
		if (row->alive && row->host_local && row->run && row->pid) {
			struct plan_worker *w = plan_worker(plan);

			if (w)
				*w = (struct plan_worker){
					.task = strdup(row->task),
					.started = row->started ? strdup(row->started) : NULL,
					.run = row->run,
					.pid = row->pid,
					.run_started_at = row->run_started_at,
				};
			if (w && (!w->task || (row->started && !w->started)))
				plan->oom = true;
		}
	}
	return wanted;
}

/* ---- what is written ----------------------------------------------------------------------
 */

static int reclaim_extend(struct db *db, const struct tick_request *rq, struct running *row,
			  struct error *e)
{
	int64_t now_expires = rq->now + rq->set->claim_ttl_s;
	int r;

	r = db_run(db, e, sql_extend_task, "ttii", row->task, row->lock, rq->now, now_expires);
	if (r != 0 || db_changes(db) == 0)
		return r;
	if (row->run) {
		r = db_run(db, e, sql_extend_run, "ii", row->run, now_expires);
		if (r != 0)
			return r;
	}
	r = history_event(db, row->task, row->run, "claim_extended",
			  json_pack("{s:s, s:o, s:o, s:I, s:I, s:o}", "reason", "pid_alive",
				    "worker_pid", history_int(row->pid ? row->pid : -1),
				    "claim_lock", history_text(row->lock), "claim_expires_was",
				    (json_int_t)row->expires, "claim_expires_now",
				    (json_int_t)now_expires, "last_heartbeat_at",
				    history_int(row->heartbeat)),
			  rq->now, e);
	row->expires = now_expires;
	return r;
}

/* What ending a worker came to when there is none to end. */
static json_t *reclaim_no_worker(const struct running *row)
{
	bool local = row->host_local && row->pid;

	return running_termination(row->pid, local, local, local, false);
}

static int reclaim_release(struct db *db, const struct tick_request *rq, struct running *row,
			   struct plan *plan, struct error *e)
{
	CLEANUP(freep) char *error = NULL;
	json_t *termination = reclaim_no_worker(row);
	struct release release = { .status = "reclaimed", .metadata = termination };
	json_t *payload;
	int r;

	if (asprintf(&error, "stale_lock=%s", row->lock) < 0) {
		error = NULL;
		json_decref(termination);
		return error_set(e, -ENOMEM, "out of memory");
	}
	payload = json_pack(
		"{s:o, s:o, s:o, s:o, s:I, s:b, s:b}", "stale_lock", history_text(row->lock),
		"worker_pid", history_int(row->pid ? row->pid : -1), "claim_expires",
		history_int(row->expires), "last_heartbeat_at", history_int(row->heartbeat),
		"now", (json_int_t)rq->now, "host_local", row->host_local, "heartbeat_stale",
		reclaim_heartbeat_stale(rq, row));
	if (payload && termination && json_object_update(payload, termination) < 0) {
		json_decref(payload);
		payload = NULL;
	}
	release.error = error;
	r = running_release(db, rq, row, &release, e);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan->reclaimed++;
	plan_note(plan, LOG_NOTICE, LOG_ID_RECLAIMED, row->task, row->run,
		  "claim of %s expired; the task is ready again", row->lock);
	return history_event(db, row->task, row->run, "reclaimed", payload, rq->now, e);
}

static int reclaim_orphan(struct db *db, const struct tick_request *rq, struct running *row,
			  struct plan *plan, struct error *e)
{
	struct release release = { .to = "ready",
				   .status = "reclaimed",
				   .error = "orphaned: running without a claim" };
	int r;

	r = running_release(db, rq, row, &release, e);
	if (r == 0)
		r = history_comment(db, row->task, "dispatcher",
				    "This task was running without a claim and without a live "
				    "worker. It is ready again.",
				    rq->now, e);
	if (r == 0)
		r = history_event(db, row->task, row->run, "reconciled",
				  json_pack("{s:s, s:o, s:o, s:o}", "reason",
					    "orphaned_running", "claim_lock",
					    history_text(row->lock), "claim_expires",
					    history_int(row->expires), "worker_pid",
					    history_int(row->pid ? row->pid : -1)),
				  rq->now, e);
	if (r == 0) {
		plan->reclaimed++;
		plan_note(plan, LOG_NOTICE, LOG_ID_RECLAIMED, row->task, row->run,
			  "was running without a claim or a worker; the task is ready again");
	}
	return r;
}

/*
 * An earlier kanband claimed this task and was killed before it recorded the worker. The worker
 * may have started all the same: it carries the run in its environment. Only the lease holder
 * claims under `.dispatch.lock`, so nobody is between claim and spawn now.
 */
static int reclaim_cut_off(struct db *db, const struct tick_request *rq, struct running *row,
			   struct plan *plan, struct error *e)
{
	int64_t pid = rq->outside->find(rq->outside->arg, rq->db, row->task, row->run);
	struct release release = { .status = "reclaimed", .error = "dispatcher restarted" };
	int r;

	if (pid > 0) {
		r = db_run(db, e, sql_adopt_task, "tii", row->task, pid, row->run);
		if (r != 0 || db_changes(db) == 0)
			return r;
		r = db_run(db, e, sql_adopt_run, "ii", row->run, pid);
		if (r == 0)
			r = history_event(db, row->task, row->run, "spawned",
					  json_pack("{s:I}", "pid", (json_int_t)pid), rq->now,
					  e);
		if (r == 0)
			plan_note(
				plan, LOG_NOTICE, NULL, row->task, row->run,
				"adopted worker %lld that the last dispatcher had not recorded",
				(long long)pid);
		plan_deadline(plan, rq->now); /* look again at once: watch it */
		return r;
	}
	release.metadata =
		json_pack("{s:s, s:n}", "reason", "dispatcher_restart", "worker_pid");
	r = running_release(db, rq, row, &release, e);
	if (r == 0)
		r = history_event(db, row->task, row->run, "reclaimed",
				  json_pack("{s:s, s:o, s:n, s:I}", "reason",
					    "dispatcher_restart", "stale_lock",
					    history_text(row->lock), "worker_pid", "now",
					    (json_int_t)rq->now),
				  rq->now, e);
	if (r == 0) {
		plan->reclaimed++;
		plan_note(plan, LOG_NOTICE, LOG_ID_RECLAIMED, row->task, row->run,
			  "the last dispatcher was stopped before it started the worker; the "
			  "task "
			  "is ready again");
	}
	return r;
}

/*
 * Stale and over-time rows without a live worker of ours go the same way as those whose worker
 * had to be ended: as a victim that is settled at once.
 */
static int reclaim_at_once(struct db *db, const struct tick_request *rq, struct running *row,
			   enum victim_cause cause, struct plan *plan, struct error *e)
{
	size_t before = plan->n_victims;
	int r;

	reclaim_victim(rq, row, cause, plan);
	if (plan->n_victims == before)
		return error_set(e, -ENOMEM, "out of memory");
	struct plan_victim *v = &plan->victims[before];

	v->attempted = v->terminated = row->host_local && row->pid;
	r = tick_settle_one(db, rq, v, plan, e);
	plan_victim_deinit(v);
	plan->n_victims--;
	return r;
}

int reclaim_run(struct db *db, const struct tick_request *rq, struct running_set *set,
		struct plan *plan, struct error *e)
{
	for (size_t i = 0; i < set->n; i++) {
		struct running *row = &set->v[i];
		enum victim_cause cause = VICTIM_EXPIRED;
		enum reclaim_need need = reclaim_judge(rq, row, &cause);
		int r = 0;

		switch (need) {
		case RECLAIM_EXTEND:
			r = reclaim_extend(db, rq, row, e);
			break;
		case RECLAIM_RELEASE:
			r = reclaim_release(db, rq, row, plan, e);
			break;
		case RECLAIM_ORPHAN:
			r = reclaim_orphan(db, rq, row, plan, e);
			break;
		case RECLAIM_CUT_OFF:
			r = reclaim_cut_off(db, rq, row, plan, e);
			break;
		case RECLAIM_STALE:
		case RECLAIM_TIMEOUT:
			r = reclaim_at_once(db, rq, row, cause, plan, e);
			break;
		case RECLAIM_NOTHING:
		case RECLAIM_END:
			break;
		}
		if (r != 0 && r != DB_CONFLICT)
			return r;
		row->gone = need != RECLAIM_NOTHING && need != RECLAIM_EXTEND &&
			    need != RECLAIM_END;
	}
	return 0;
}
