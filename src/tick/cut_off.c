/*
 * Claims that a kill cut off: an earlier kanband claimed the task and was killed before it
 * recorded the worker. The worker may have started all the same: it carries the run in its
 * environment, or its launcher knows it. Only the lease holder claims under `.dispatch.lock`,
 * so nobody is between claim and spawn now but a kanband that lost the lease while it lived:
 * its claims are its own.
 */
#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

#define CUT_OFF_AGAIN_S 5 /* where it cannot be told whether there is a worker */

/* clang-format off */
static const char sql_adopt_task[] =
	"UPDATE tasks SET worker_pid = ?2 WHERE id = ?1 AND status = 'running'"
	" AND current_run_id = ?3 AND worker_pid IS NULL";

static const char sql_adopt_run[] =
	"UPDATE task_runs SET worker_pid = ?2 WHERE id = ?1 AND ended_at IS NULL";
/* clang-format on */

static bool cut_off_due(const struct tick *t, const struct running *row)
{
	(void)t;
	return row->cut_off;
}

static int cut_off_adopt(const struct tick *t, const struct running *row, int64_t pid)
{
	int r = db_run(t->db, t->e, sql_adopt_task, "tii", row->task, pid, row->run);

	if (r != 0 || db_changes(t->db) == 0)
		return r;
	r = db_run(t->db, t->e, sql_adopt_run, "ii", row->run, pid);
	if (r == 0)
		r = history_event(t, row->task, row->run, "spawned",
				  json_pack("{s:I}", "pid", (json_int_t)pid));
	if (r == 0)
		plan_note(t->plan, LOG_NOTICE, NULL, row->task, row->run,
			  "adopted worker %lld that the last dispatcher had not recorded",
			  (long long)pid);
	plan_deadline(t->plan, t->rq->now); /* look again at once: watch it */
	return r;
}

static int cut_off_book(const struct tick *t, struct running *row)
{
	struct release release = { .status = "reclaimed", .error = "dispatcher restarted" };
	int r;

	if (row->found > 0)
		return cut_off_adopt(t, row, row->found);
	if (row->found < 0) {
		/* a manager that does not answer: it may have started it, or yet start it */
		t->plan->cut_off_left = true;
		plan_deadline(t->plan, t->rq->now + CUT_OFF_AGAIN_S);
		return 0;
	}
	r = history_retry_status(t, row->run, &release.to);
	if (r != 0)
		return r;
	release.metadata =
		json_pack("{s:s, s:n}", "reason", "dispatcher_restart", "worker_pid");
	r = running_release(t, row, &release);
	if (r == 0)
		r = history_event(
			t, row->task, row->run, "reclaimed",
			json_pack("{s:s, s:o, s:n, s:I, s:s}", "reason", "dispatcher_restart",
				  "stale_lock", json_utf8(row->lock), "worker_pid", "now",
				  (json_int_t)t->rq->now, "retry_status", release.to));
	if (r != 0)
		return r;
	t->plan->reclaimed++;
	plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, row->task, row->run,
		  "the last dispatcher was stopped before it started the worker; the task is "
		  "ready again");
	return 0;
}

const struct rule rule_cut_off = { .due = cut_off_due, .book = cut_off_book };
