/*
 * The one way in which the files of a tick write: begin, write, commit, or undo all of it. And
 * for which age of boards.
 */
#include "db/db.h"
#include "tick.h"

bool tick_newer(const struct tick *t)
{
	return db_features(t->db) & DB_HAS_TASK_STARTED;
}

static bool transaction_owner(const struct tick *t)
{
	if (t->rq->host->owner(t->rq->host->arg, t->e))
		return true;
	t->plan->lease_lost = true;
	return false;
}

static int transaction_run(const struct tick *t, tick_write_fn fn, void *arg, bool ask)
{
	struct plan_mark mark = plan_mark(t->plan);
	int r = db_begin(t->db, t->e);

	if (r != 0)
		return r;
	r = fn(t, arg);
	if (r == 0 && ask && !transaction_owner(t))
		r = DB_TRANSIENT;
	if (r == 0)
		r = db_commit(t->db, t->e);
	else
		db_rollback(t->db);
	if (r != 0)
		plan_cut(t->plan, &mark);
	return r;
}

int tick_transaction(const struct tick *t, tick_write_fn fn, void *arg)
{
	return transaction_run(t, fn, arg, true);
}

int tick_booking(const struct tick *t, tick_write_fn fn, void *arg)
{
	return transaction_run(t, fn, arg, false);
}
