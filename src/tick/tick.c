/*
 * One tick of one board. The idle path only reads: a write transaction is opened for a step
 * when the step has found something to write, and then holds for that step alone.
 */
#include "tick/tick.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/lane.h"
#include "tick/promote.h"
#include "tick/running.h"

/* clang-format off */
static const char sql_last_event[] =
	"SELECT coalesce(max(id), 0) FROM task_events";

static const char sql_running[] =
	"SELECT count(*) FROM tasks WHERE status = 'running'";

static const char sql_triage[] =
	"SELECT id FROM tasks WHERE status = 'triage' ORDER BY created_at, rowid LIMIT ?1";
/* clang-format on */

/*
 * Commit what a step wrote if all went well and the lease is still ours; else undo it, and what
 * the plan says of it since @mark.
 */
static int tick_finish(struct db *db, const struct tick_request *rq, struct plan *plan,
		       const struct plan_mark *mark, int r, struct error *e)
{
	if (r == 0 && !rq->outside->owner(rq->outside->arg, e)) {
		plan->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (r == 0)
		r = db_commit(db, e);
	else
		db_rollback(db);
	if (r != 0)
		plan_cut(plan, mark);
	return r;
}

static int tick_reclaim(struct db *db, const struct tick_request *rq, struct plan *plan,
			struct error *e)
{
	struct running_set set;
	int r = running_load(db, rq, &set, e);

	if (r == 0)
		r = terminal_find(db, rq, plan, e);
	if (r == 0 && reclaim_wanted(rq, &set, plan)) {
		struct plan_mark mark = plan_mark(plan);

		r = db_begin(db, e);
		if (r == 0) {
			r = reclaim_run(db, rq, &set, plan, e);
			if (r == 0)
				r = crash_run(db, rq, &set, plan, e);
			r = tick_finish(db, rq, plan, &mark, r, e);
		}
	}
	running_deinit(&set);
	return r;
}

static int tick_promote(struct db *db, const struct tick_request *rq, struct plan *plan,
			struct error *e)
{
	struct plan_mark mark = plan_mark(plan);
	struct strings ids = { 0 };
	int r = promote_find(db, rq, &ids, e);

	if (r == 0 && ids.n > 0) {
		r = db_begin(db, e);
		if (r == 0)
			r = tick_finish(db, rq, plan, &mark, promote_run(db, rq, &ids, plan, e),
					e);
	}
	strings_free(&ids);
	return r;
}

static int tick_dispatch(struct db *db, const struct tick_request *rq, struct plan *plan,
			 struct error *e)
{
	struct lane_plan lanes = { 0 };
	int r = lane_find(db, rq, &lanes, plan, e);

	if (r == 0)
		r = lane_commit(db, rq, &lanes, plan, e);
	if (r != 0) { /* nothing was claimed: give the places back */
		int64_t taken = 0;

		for (size_t i = 0; i < lanes.n; i++)
			taken += lanes.v[i].taken;
		caps_count(rq->caps, rq->caps_mine, *rq->caps_mine - taken);
	}
	lane_plan_deinit(&lanes);
	return r;
}

/* Without the lanes the caps still need to know what runs here. */
static int tick_count(struct db *db, const struct tick_request *rq, struct plan *plan,
		      struct error *e)
{
	int r = db_one_int(db, e, &plan->running, 0, sql_running, "");

	if (r == 0)
		caps_count(rq->caps, rq->caps_mine, plan->running);
	return r;
}

static int tick_triage(struct db *db, const struct tick_request *rq, struct plan *plan,
		       struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r;

	if (!rq->set->auto_decompose || rq->once)
		return 0;
	r = db_query(db, e, &s, sql_triage, "i", rq->set->auto_decompose_per_tick);
	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = 0;
		if (id)
			plan_id(plan, &plan->triage, id);
	}
	return r;
}

int tick_run(struct db *db, const struct tick_request *rq, struct plan *plan, struct error *e)
{
	int r;

	/* before anything is read: what later events name is looked at next time */
	r = db_one_int(db, e, &plan->last_event, 0, sql_last_event, "");
	if (r == 0 && !rq->outside->owner(rq->outside->arg, e)) {
		plan->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (r == 0 && (rq->steps & TICK_RECLAIM))
		r = tick_reclaim(db, rq, plan, e);
	if (r == 0 && (rq->steps & TICK_PROMOTE))
		r = tick_promote(db, rq, plan, e);
	if (r == 0 && (rq->steps & TICK_DISPATCH))
		r = tick_dispatch(db, rq, plan, e);
	else if (r == 0 && rq->steps)
		r = tick_count(db, rq, plan, e);
	if (r == 0 && (rq->steps & TICK_DISPATCH))
		r = tick_triage(db, rq, plan, e);
	if (r == 0 && plan->oom)
		r = error_set(e, -ENOMEM, "out of memory");
	return r;
}
