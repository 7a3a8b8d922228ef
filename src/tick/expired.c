/*
 * Rule 3 of a tick: running tasks whose claim has expired. A live worker of this host that is
 * fresh keeps its claim for another while; one whose heartbeat is stale is ended first; for all
 * others the task is let go at once.
 */
#include <errno.h>
#include <stdio.h>

#include "db/db.h"
#include "tick.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

/* clang-format off */
static const char sql_extend_task[] =
	"UPDATE tasks SET claim_expires = ?4 WHERE id = ?1 AND status = 'running'"
	" AND claim_lock IS ?2 AND CAST(claim_expires AS INTEGER) < ?3";

static const char sql_extend_run[] =
	"UPDATE task_runs SET claim_expires = ?2 WHERE id = ?1 AND ended_at IS NULL";
/* clang-format on */

static bool expired_due(const struct tick *t, const struct running *row)
{
	return row->expires < t->rq->now && !row->away &&
	       (!running_ours(row) || running_heartbeat_stale(t, row));
}

static bool expired_extend_due(const struct tick *t, const struct running *row)
{
	return row->expires < t->rq->now && (row->away || running_ours(row));
}

static int expired_extend(const struct tick *t, struct running *row)
{
	int64_t now_expires = t->rq->now + t->rq->set->claim_ttl_s;
	int r;

	r = db_run(t->db, t->e, sql_extend_task, "ttii", row->task, row->lock, t->rq->now,
		   now_expires);
	if (r != 0 || db_changes(t->db) == 0)
		return r;
	if (row->run) {
		r = db_run(t->db, t->e, sql_extend_run, "ii", row->run, now_expires);
		if (r != 0)
			return r;
	}
	r = history_event(t, row->task, row->run, "claim_extended",
			  json_pack("{s:s, s:o, s:o, s:I, s:I, s:o}", "reason", "pid_alive",
				    "worker_pid", history_int(row->pid ? row->pid : -1),
				    "claim_lock", json_utf8(row->lock), "claim_expires_was",
				    (json_int_t)row->expires, "claim_expires_now",
				    (json_int_t)now_expires, "last_heartbeat_at",
				    history_int(row->heartbeat)));
	row->expires = now_expires;
	return r;
}

static int expired_ended(const struct tick *t, const struct plan_victim *v)
{
	struct running row = running_of_victim(v);
	struct release release = { .status = "reclaimed" };
	CLEANUP(freep) char *error = NULL;
	json_t *payload;
	int r;

	r = history_retry_status(t, v->run, &release.to);
	if (r != 0)
		return r;
	if (asprintf(&error, "stale_lock=%s", v->claim_lock ? v->claim_lock : "") < 0) {
		error = NULL;
		return error_set(t->e, -ENOMEM, "out of memory");
	}
	release.error = error;
	release.metadata = running_termination(v);
	r = running_release(t, &row, &release);
	if (r != 0)
		return r;
	t->plan->reclaimed++;
	if (v->live)
		plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, v->task, v->run,
			  "claim expired and worker %lld had no heartbeat: ended it; the task "
			  "is ready again",
			  (long long)v->pid);
	else
		plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, v->task, v->run,
			  "claim of %s expired; the task is ready again", v->claim_lock);
	/* whose claim it was, not whether a process of ours had to be ended */
	payload = json_pack("{s:o, s:o, s:o, s:o, s:I, s:b, s:b, s:s}", "stale_lock",
			    json_utf8(v->claim_lock), "worker_pid",
			    history_int(v->pid ? v->pid : -1), "claim_expires",
			    history_int(v->claim_expires), "last_heartbeat_at",
			    history_int(v->heartbeat), "now", (json_int_t)t->rq->now,
			    "host_local", v->host_local, "heartbeat_stale", v->heartbeat_stale,
			    "retry_status", release.to);
	r = history_event(t, v->task, v->run, "reclaimed",
			  json_join(payload, running_termination(v)));
	if (r != 0 || !tick_newer(t)) /* on older boards it is no failure */
		return r;
	return failure_of_victim(t, v, "reclaimed", error, release.to,
				 json_pack("{s:o}", "pid", history_int(v->pid ? v->pid : -1)));
}

const struct rule rule_expired = {
	.due = expired_due,
	.ended = expired_ended,
	.deferred = "ttl_expired_worker_alive",
};

/* asked last: what ends for another reason is not extended first */
const struct rule rule_expired_extend = {
	.due = expired_extend_due,
	.book = expired_extend,
};
