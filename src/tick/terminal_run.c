/*
 * Step 2 of a tick: a worker that is still alive 120 s after its run ended. Only where the
 * board records who the worker was (worker_started_at), and only among the newest runs: an
 * older one was found at an earlier sweep. The loop finds those it watches by itself
 * (workers.c).
 */
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/running.h"

#define TERMINAL_AFTER_S 120
#define TERMINAL_RUNS    500

/* clang-format off */
static const char sql_terminal[] =
	"SELECT task_id, id, worker_pid, worker_started_at, started_at FROM task_runs"
	" WHERE id > (SELECT max(id) FROM task_runs) - ?1 AND ended_at <= ?2"
	" AND worker_pid IS NOT NULL AND worker_started_at IS NOT NULL";
/* clang-format on */

static bool terminal_busy(const struct tick_request *rq, int64_t run)
{
	for (size_t i = 0; i < rq->n_busy; i++)
		if (rq->busy[i] == run)
			return true;
	return false;
}

static void terminal_row(const struct tick_request *rq, sqlite3_stmt *s, struct plan *plan)
{
	const char *task = (const char *)sqlite3_column_text(s, 0);
	const char *started = (const char *)sqlite3_column_text(s, 3);
	struct tick_worker w = { .pid = sqlite3_column_int64(s, 2),
				 .task = task,
				 .run = sqlite3_column_int64(s, 1),
				 .started = started,
				 .run_started_at = running_time(sqlite3_column_int64(s, 4)),
				 .db = rq->db };
	struct plan_victim *v;

	if (!task || !started || w.pid <= 1 || w.pid > INT32_MAX || terminal_busy(rq, w.run) ||
	    !rq->outside->alive(rq->outside->arg, &w))
		return;
	v = plan_victim(plan);
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
				   .host_local = true };
	if (!v->task || !v->started) {
		plan->oom = true;
		plan_victim_deinit(v);
		plan->n_victims--;
	}
}

int terminal_find(struct db *db, const struct tick_request *rq, struct plan *plan,
		  struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r;

	if (!(db_features(db) & DB_HAS_RUN_STARTED) || rq->promote_after > 0)
		return 0;
	r = db_query(db, e, &s, sql_terminal, "ii", (int64_t)TERMINAL_RUNS,
		     rq->now - TERMINAL_AFTER_S);
	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		terminal_row(rq, s, plan);
		r = 0;
	}
	return r;
}
