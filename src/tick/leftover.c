/*
 * Claims that were left on tasks which do not run: somebody put the task back, or blocked it,
 * and did not take the claim off. No lane takes a claimed task and no rule of running tasks
 * looks at it, so it would wait for ever. Once nobody can be at work on it any more the claim
 * goes; status and failures stay as they are.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "util/json.h"
#include "util/log.h"

#define LEFTOVER_AGAIN_S 60 /* a worker that nobody watches */

/* clang-format off */
static const char sql_leftover[] =
	"SELECT t.id, t.claim_lock, t.claim_expires, t.worker_pid, t.current_run_id, r.id,"
	"  coalesce({task_runs.worker_started_at?r.worker_started_at,}"
	"           {tasks.worker_started_at?t.worker_started_at,} NULL, NULL), r.started_at"
	" FROM tasks t LEFT JOIN task_runs r ON r.id = t.current_run_id AND r.task_id = t.id"
	"   AND r.ended_at IS NULL"
	" WHERE t.status IN ('ready', 'review', 'blocked', 'scheduled')"
	"  AND t.claim_lock IS NOT NULL";

static const char sql_clear[] =
	"UPDATE tasks SET claim_lock = NULL, claim_expires = NULL, worker_pid = NULL,"
	"  {tasks.worker_started_at?worker_started_at = NULL,} current_run_id = NULL"
	" WHERE id = ?1 AND status <> 'running' AND claim_lock IS ?2";
/* clang-format on */

struct leftover {
	char *task, *lock;
	int64_t expires, pid, run; /* -1, 0, 0 where there is none */
};

struct leftovers {
	struct leftover *v;
	size_t n;
};

static void leftovers_deinit(struct leftovers *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->v[i].task);
		free(list->v[i].lock);
	}
	free(list->v);
}

/* Can somebody still be at work on it? Then it is looked at again when that may be over. */
static bool leftover_held(const struct tick *t, sqlite3_stmt *s)
{
	const char *lock = (const char *)sqlite3_column_text(s, 1);
	size_t host = strlen(t->rq->hostname);
	struct tick_worker w = {
		.pid = sqlite3_column_int64(s, 3),
		.task = (const char *)sqlite3_column_text(s, 0),
		.run = sqlite3_column_int64(s, 5),
		.started = (const char *)sqlite3_column_text(s, 6),
		.run_started_at = running_time(sqlite3_column_int64(s, 7)),
		.db = t->rq->db,
		.board = t->rq->board,
	};
	bool local = lock && strncmp(lock, t->rq->hostname, host) == 0 && lock[host] == ':';
	bool expired = sqlite3_column_type(s, 2) == SQLITE_NULL ||
		       running_time(sqlite3_column_int64(s, 2)) < t->rq->now;

	if (w.pid > 1 && w.pid <= INT32_MAX && (local || !lock) &&
	    t->rq->host->alive(t->rq->host->arg, &w)) {
		plan_full_at(t->plan, t->rq->now + LEFTOVER_AGAIN_S);
		return true;
	}
	/* nobody sees from here whether it lives */
	if (local && w.started && t->rq->host->elsewhere &&
	    t->rq->host->elsewhere(t->rq->host->arg, w.started))
		local = false;
	if (expired || (local && w.pid > 1))
		return false;
	plan_full_at(t->plan, running_time(sqlite3_column_int64(s, 2)) + 1);
	return true;
}

static int leftover_note(struct leftovers *list, sqlite3_stmt *s)
{
	struct leftover *more = reallocarray(list->v, list->n + 1, sizeof(*more));
	bool none = sqlite3_column_type(s, 2) == SQLITE_NULL;

	if (!more)
		return -ENOMEM;
	list->v = more;
	more[list->n] = (struct leftover){
		.task = strdup((const char *)sqlite3_column_text(s, 0)),
		.lock = strdup((const char *)sqlite3_column_text(s, 1)),
		.expires = none ? -1 : running_time(sqlite3_column_int64(s, 2)),
		.pid = sqlite3_column_int64(s, 3),
		.run = sqlite3_column_int64(s, 5),
	};
	list->n++;
	return more[list->n - 1].task && more[list->n - 1].lock ? 0 : -ENOMEM;
}

static int leftover_one(const struct tick *t, const struct leftover *l)
{
	int r = db_run(t->db, t->e, sql_clear, "tt", l->task, l->lock);

	if (r != 0 || db_changes(t->db) == 0)
		return r;
	if (l->run > 0)
		r = history_end_run(t, l->run, "reclaimed", "reclaimed",
				    "claim left on a task that does not run", NULL);
	if (r != 0)
		return r;
	plan_note(t->plan, LOG_NOTICE, LOG_ID_RECLAIMED, l->task, l->run,
		  "the claim of %s was left on the task, which does not run: taken off",
		  l->lock);
	return history_event(t, l->task, l->run, "reconciled",
			     json_pack("{s:s, s:o, s:o, s:o, s:I}", "reason", "leftover_claim",
				       "claim_lock", json_utf8(l->lock), "claim_expires",
				       history_int(l->expires), "worker_pid",
				       history_int(l->pid > 0 ? l->pid : -1), "now",
				       (json_int_t)t->rq->now));
}

static int leftover_write(const struct tick *t, void *arg)
{
	const struct leftovers *list = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->n; i++)
		r = leftover_one(t, &list->v[i]);
	return r;
}

int leftover_run(const struct tick *t)
{
	struct leftovers list = { 0 };
	sqlite3_stmt *s = NULL;
	int r;

	if (t->rq->promote_after > 0 || !t->rq->set->reconcile_orphans)
		return 0;
	r = db_query(t->db, t->e, &s, sql_leftover, "");
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		r = 0;
		if (sqlite3_column_text(s, 0) && sqlite3_column_text(s, 1) &&
		    !leftover_held(t, s))
			r = leftover_note(&list, s);
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			r = error_set(t->e, r, "out of memory");
		}
	}
	if (r == 0 && list.n > 0)
		r = tick_transaction(t, leftover_write, &list);
	leftovers_deinit(&list);
	return r;
}
