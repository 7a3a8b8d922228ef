/*
 * One tick of one board. The idle path only reads: a write transaction is opened for a step
 * when the step has found something to write, and then holds for that step alone.
 */
#include "tick/tick.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/lane.h"
#include "tick/pools.h"
#include "tick/promote.h"
#include "tick/recur.h"
#include "tick/scheduled.h"
#include "tick/start.h"

/* clang-format off */
static const char sql_last_event[] =
	"SELECT coalesce(max(id), 0) FROM task_events";

static const char sql_unblocked[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE id > ?1 AND kind IN"
	"  ('unblocked', 'respawn_guard_cleared')"
	" LIMIT 1)";

/* one that came there because it was blocked again and again wants a human */
static const char sql_triage[] =
	"SELECT id FROM tasks t WHERE status = 'triage'"
	" AND coalesce((SELECT e.kind FROM task_events e WHERE e.task_id = t.id AND e.kind IN"
	"   ('created', 'status', 'block_loop_detected') ORDER BY e.id DESC LIMIT 1), '')"
	"  <> 'block_loop_detected'"
	" ORDER BY created_at, rowid LIMIT ?1";
/* clang-format on */

static int tick_write_reclaim(const struct tick *t, void *set)
{
	return reclaim_run(t, set);
}

static int tick_reclaim(const struct tick *t)
{
	struct running_set set;
	int r = running_load(t, &set);

	if (r == 0)
		r = terminal_find(t);
	if (r == 0 && reclaim_wanted(t, &set))
		r = tick_transaction(t, tick_write_reclaim, &set);
	running_deinit(&set);
	return r == 0 ? leftover_run(t) : r;
}

static int tick_write_promote(const struct tick *t, void *ids)
{
	return promote_run(t, ids);
}

static int tick_promote(const struct tick *t)
{
	struct strings ids = { 0 };
	int r = recur_run(t);

	if (r == 0)
		r = scheduled_run(t);
	if (r == 0)
		r = promote_find(t, &ids);
	if (r == 0 && ids.n > 0)
		r = tick_transaction(t, tick_write_promote, &ids);
	strings_free(&ids);
	return r;
}

static int tick_dispatch(const struct tick *t)
{
	struct lane_plan lanes = { 0 };
	int r = t->rq->start && !t->rq->start->tried ? start_run(t) : 0;

	if (r == 0)
		r = lane_find(t, &lanes);
	if (r == 0)
		r = lane_commit(t, &lanes);
	if (r != 0) /* nothing was claimed: give the places back */
		lane_give_back(t, &lanes);
	lane_plan_deinit(&lanes);
	return r;
}

/* Without the lanes the caps still need to know what runs here. */
static int tick_count(const struct tick *t)
{
	struct caps_running running;
	int r = pools_count(t, &running);

	if (r == 0) {
		caps_count(t->rq->caps, t->rq->turn, &running);
		/* it starts nothing now, so it asks for no place */
		(void)caps_turn(t->rq->caps, t->rq->turn, NULL, 0, t->rq->set->weight,
				t->rq->set->pools_generation);
	}
	return r;
}

static int tick_triage(const struct tick *t)
{
	sqlite3_stmt *s = NULL;
	int r;

	if (!t->rq->set->auto_decompose || t->rq->once || budget_stopped(t))
		return 0;
	r = db_query(t->db, t->e, &s, sql_triage, "i", t->rq->set->auto_decompose_per_tick);
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = 0;
		if (id)
			plan_id(t->plan, &t->plan->triage, id);
	}
	return r;
}

/* While nothing can be started on this host, somebody who unblocks a task wants a new try. */
static int tick_unblocked(const struct tick *t)
{
	int64_t n = 0;
	int r = 0;

	if (t->rq->claim_none && t->rq->seen_event > 0)
		r = db_one_int(t->db, t->e, &n, 0, sql_unblocked, "i", t->rq->seen_event);
	t->plan->unblocked = n > 0;
	return r;
}

int tick_run(struct db *db, const struct tick_request *rq, struct plan *plan, struct error *e)
{
	const struct tick t = { db, rq, plan, e };
	int r;

	/* before anything is read: what later events name is looked at next time */
	r = db_one_int(db, e, &plan->last_event, 0, sql_last_event, "");
	if (r == 0 && !rq->host->owner(rq->host->arg, e)) {
		plan->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (r == 0 && (rq->steps & TICK_RECLAIM))
		r = tick_reclaim(&t);
	if (r == 0 && (rq->steps & TICK_PROMOTE))
		r = tick_promote(&t);
	if (r == 0 && (rq->steps & TICK_DISPATCH))
		r = tick_dispatch(&t);
	else if (r == 0 && rq->steps)
		r = tick_count(&t);
	if (r == 0 && (rq->steps & TICK_DISPATCH))
		r = tick_triage(&t);
	if (r == 0)
		r = tick_unblocked(&t);
	if (r == 0 && plan->oom)
		r = error_set(e, -ENOMEM, "out of memory");
	return r;
}

struct tick_victims {
	const struct plan_victim *v;
	size_t n;
};

static int tick_write_ended(const struct tick *t, void *arg)
{
	const struct tick_victims *victims = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < victims->n; i++) {
		r = reclaim_ended(t, &victims->v[i]);
		if (r == DB_CONFLICT) /* it moved on by itself: nothing to book */
			r = 0;
	}
	return r;
}

int tick_ended(struct db *db, const struct tick_request *rq, const struct plan_victim *victims,
	       size_t n, struct plan *plan, struct error *e)
{
	const struct tick t = { db, rq, plan, e };
	struct tick_victims arg = { victims, n };

	return tick_booking(&t, tick_write_ended, &arg);
}

struct tick_launches {
	const struct tick_launched *v;
	size_t n;
};

static int tick_write_record(const struct tick *t, void *arg)
{
	const struct tick_launches *launches = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < launches->n; i++)
		r = record_launched(t, &launches->v[i]);
	return r;
}

int tick_record(struct db *db, const struct tick_request *rq,
		const struct tick_launched *launched, size_t n, struct plan *plan,
		struct error *e)
{
	const struct tick t = { db, rq, plan, e };
	struct tick_launches arg = { launched, n };

	return tick_booking(&t, tick_write_record, &arg);
}
