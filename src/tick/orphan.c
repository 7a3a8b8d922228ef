/*
 * Rule 4 of a tick: tasks that run without a claim. Where their worker lives nothing is done:
 * it will end, and then the rule holds.
 */
#include "tick.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

static bool orphan_due(const struct tick *t, const struct running *row)
{
	return t->rq->set->reconcile_orphans && !row->alive;
}

static int orphan_book(const struct tick *t, struct running *row)
{
	struct release release = { .to = "ready",
				   .status = "reclaimed",
				   .error = "orphaned: running without a claim",
				   .clear_heartbeat = true };
	int r;

	r = running_release(t, row, &release);
	if (r == 0)
		r = history_comment(t, row->task, "dispatcher",
				    "This task was running without a claim and without a live "
				    "worker. It is ready again.");
	if (r == 0)
		r = history_event(t, row->task, row->run, "reconciled",
				  json_pack("{s:s, s:o, s:o, s:o, s:I}", "reason",
					    "orphaned_running", "claim_lock",
					    json_utf8(row->lock), "claim_expires",
					    history_int(row->expires), "worker_pid",
					    history_int(row->pid ? row->pid : -1), "now",
					    (json_int_t)t->rq->now));
	if (r == 0) {
		t->plan->reclaimed++;
		plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, row->task, row->run,
			  "was running without a claim or a worker; the task is ready again");
	}
	return r;
}

const struct rule rule_orphan = { .due = orphan_due, .book = orphan_book };
