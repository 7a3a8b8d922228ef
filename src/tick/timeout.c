/*
 * Rule 7 of a tick: workers of this host that are over the time their task has
 * (max_runtime_seconds, from the start of the run). A failure that counts.
 */
#include <errno.h>
#include <stdio.h>

#include "db/db.h"
#include "tick.h"
#include "tick/failure.h"
#include "tick/history.h"
#include "util/log.h"

/* How long after its start the time of a run is over: at the limit; on older boards after it.
 */
int64_t timeout_after(const struct tick *t, const struct running *row)
{
	return tick_newer(t) ? row->max_runtime : row->max_runtime + 1;
}

/* A claim without a worker is left to its TTL. */
static bool timeout_due(const struct tick *t, const struct running *row)
{
	return row->max_runtime > 0 && row->host_local && row->pid && row->run_started_at > 0 &&
	       t->rq->now - row->run_started_at >= timeout_after(t, row);
}

static int timeout_ended(const struct tick *t, const struct plan_victim *v)
{
	struct running row = running_of_victim(v);
	struct release release = { .status = "timed_out", .clear_heartbeat = true };
	CLEANUP(freep) char *error = NULL;
	json_t *payload;
	int r;

	r = history_retry_status(t, v->run, &release.to);
	if (r != 0)
		return r;
	if (asprintf(&error, "elapsed %llds > limit %llds", (long long)v->elapsed_s,
		     (long long)v->limit_s) < 0) {
		error = NULL;
		return error_set(t->e, -ENOMEM, "out of memory");
	}
	payload = json_pack("{s:o, s:I, s:I, s:b, s:s}", "pid",
			    history_int(v->pid ? v->pid : -1), "elapsed_seconds",
			    (json_int_t)v->elapsed_s, "limit_seconds", (json_int_t)v->limit_s,
			    "sigkill", v->sigkill, "retry_status", release.to);
	release.error = error;
	release.metadata = json_incref(payload);
	r = running_release(t, &row, &release);
	if (r != 0) {
		json_decref(payload);
		return r;
	}
	plan_id(t->plan, &t->plan->timed_out, v->task);
	plan_note(t->plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, v->task, v->run, "timed out: %s",
		  error);
	r = history_event(t, v->task, v->run, "timed_out", payload);
	if (r != 0)
		return r;
	return failure_of_victim(t, v, "timed_out", error, release.to,
				 json_pack("{s:o, s:b}", "pid",
					   history_int(v->pid ? v->pid : -1), "sigkill",
					   v->sigkill));
}

const struct rule rule_timeout = {
	.due = timeout_due,
	.ended = timeout_ended,
	.deferred = "max_runtime_worker_alive",
};
