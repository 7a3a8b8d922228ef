/*
 * Rule 5 of a tick, where a time-out is configured: running tasks whose worker has given no
 * sign of life for too long. Other hosts' claims are let go, too. Not a failure.
 */
#include <stdio.h>

#include "tick.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

static bool stale_due(const struct tick *t, const struct running *row)
{
	const struct settings *set = t->rq->set;

	return set->stale_timeout_s > 0 && row->run_started_at > 0 && !row->away &&
	       t->rq->now - row->run_started_at > set->stale_timeout_s &&
	       (running_heartbeat(row) < 0 || running_heartbeat_stale(t, row));
}

static int stale_ended(const struct tick *t, const struct plan_victim *v)
{
	struct running row = running_of_victim(v);
	int64_t age = v->heartbeat >= 0 ? t->rq->now - v->heartbeat : -1;
	CLEANUP(freep) char *error = NULL;
	struct release release = { .status = "stale", .clear_heartbeat = true };
	json_t *payload;
	int r, n;

	r = history_retry_status(t, v->run, &release.to);
	if (r != 0)
		return r;
	payload = json_join(
		json_pack("{s:I, s:o, s:o, s:I, s:o, s:s}", "elapsed_seconds",
			  (json_int_t)v->elapsed_s, "last_heartbeat_at",
			  history_int(v->heartbeat), "heartbeat_age_seconds", history_int(age),
			  "timeout_seconds", (json_int_t)v->limit_s, "pid",
			  history_int(v->pid ? v->pid : -1), "retry_status", release.to),
		running_termination(v));
	n = age >= 0 ? asprintf(&error, "no heartbeat for %llds after %llds running",
				(long long)age, (long long)v->elapsed_s)
		     : asprintf(&error, "no heartbeat ever after %llds running",
				(long long)v->elapsed_s);
	if (n < 0)
		error = NULL; /* the run then has no error text: not worth losing the release */
	release.error = error;
	release.metadata = json_incref(payload);
	r = running_release(t, &row, &release);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan_id(t->plan, &t->plan->stale, v->task);
	plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, v->task, v->run,
		  "%s; the task is ready again", error ? error : "no heartbeat");
	return history_event(t, v->task, v->run, "stale", payload);
}

const struct rule rule_stale = {
	.due = stale_due,
	.ended = stale_ended,
	.deferred = "heartbeat_stale_worker_alive",
};
