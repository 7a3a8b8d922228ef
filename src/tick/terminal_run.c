/*
 * Rule 2 of a tick: a worker that is still alive 120 s after its run ended. Only where the
 * board records who the worker was (worker_started_at), and only among the newest runs: an
 * older one was found at an earlier sweep. The loop finds those it watches by itself
 * (workers.c).
 */
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

#define TERMINAL_AFTER_S 120
#define TERMINAL_RUNS    500

/* clang-format off */
static const char sql_terminal[] =
	"SELECT task_id, id, worker_pid, worker_started_at, started_at FROM task_runs"
	" WHERE id > (SELECT max(id) FROM task_runs) - ?1 AND ended_at <= ?2"
	" AND worker_pid IS NOT NULL AND worker_started_at IS NOT NULL";

/* who the worker was is known no more: else it is found again */
static const char sql_forget[] =
	"UPDATE task_runs SET claim_lock = NULL, worker_pid = NULL"
	"  {task_runs.worker_started_at?, worker_started_at = NULL}"
	" WHERE id = ?1 AND ended_at IS NOT NULL";
/* clang-format on */

static bool terminal_busy(const struct tick *t, int64_t run)
{
	for (size_t i = 0; i < t->rq->n_busy; i++)
		if (t->rq->busy[i] == run)
			return true;
	return false;
}

static void terminal_row(const struct tick *t, sqlite3_stmt *s)
{
	const char *task = (const char *)sqlite3_column_text(s, 0);
	const char *started = (const char *)sqlite3_column_text(s, 3);
	struct tick_worker w = { .pid = sqlite3_column_int64(s, 2),
				 .task = task,
				 .run = sqlite3_column_int64(s, 1),
				 .started = started,
				 .run_started_at = running_time(sqlite3_column_int64(s, 4)),
				 .db = t->rq->db };
	struct plan_victim *v;

	if (!task || !started || w.pid <= 1 || w.pid > INT32_MAX || terminal_busy(t, w.run) ||
	    !t->rq->host->alive(t->rq->host->arg, &w))
		return;
	v = plan_victim(t->plan);
	if (!v)
		return;
	*v = (struct plan_victim){ .cause = VICTIM_TERMINAL,
				   .task = strdup(task),
				   .started = strdup(started),
				   .run = w.run,
				   .pid = w.pid,
				   .claim_expires = -1,
				   .heartbeat = -1,
				   .run_started_at = w.run_started_at,
				   .host_local = true,
				   .live = true };
	if (!v->task || !v->started) {
		t->plan->oom = true;
		plan_victim_deinit(v);
		t->plan->n_victims--;
	}
}

int terminal_find(const struct tick *t)
{
	sqlite3_stmt *s = NULL;
	int r;

	if (!(db_features(t->db) & DB_HAS_RUN_STARTED) || t->rq->promote_after > 0)
		return 0;
	r = db_query(t->db, t->e, &s, sql_terminal, "ii", (int64_t)TERMINAL_RUNS,
		     t->rq->now - TERMINAL_AFTER_S);
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		terminal_row(t, s);
		r = 0;
	}
	return r;
}

static int terminal_ended(const struct tick *t, const struct plan_victim *v)
{
	int r = db_run(t->db, t->e, sql_forget, "i", v->run);

	if (r != 0)
		return r;
	plan_note(t->plan, LOG_NOTICE, LOG_ID_WORKER_ENDED, v->task, v->run,
		  "worker %lld was still alive long after its run ended: ended it",
		  (long long)v->pid);
	return history_event(t, v->task, v->run, "terminal_worker_reaped",
			     json_join(json_pack("{s:o}", "pid", history_int(v->pid)),
				       running_termination(v)));
}

/* nothing is held: the claim has gone long ago, and the next sweep finds the worker again */
const struct rule rule_terminal = { .ended = terminal_ended };
