/*
 * What becomes of a claim: given back, or its subscription deleted at the end. Every step may
 * be repeated: a process that was killed between the commit and its own note of it asks again
 * and gets an answer that says what is.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "board.h"
#include "db/db.h"
#include "notice/kind.h"
#include "tick/tick.h"

/* clang-format off */
static const char sql_cursor[] =
	"SELECT coalesce(last_event_id, 0) FROM kanban_notify_subs AS s WHERE " SUBS_IS_KEY;

static const char sql_rewind[] =
	"UPDATE kanban_notify_subs AS s SET last_event_id = ?6 WHERE " SUBS_IS_KEY
	" AND coalesce(last_event_id, 0) = ?5";

static const char sql_finish[] =
	"DELETE FROM kanban_notify_subs AS s WHERE " SUBS_IS_KEY
	" AND coalesce(last_event_id, 0) = ?5"
	" AND EXISTS (SELECT 1 FROM tasks t WHERE t.id = ?1"
	"  AND (t.status = 'archived' OR (t.status = 'done' AND ?6)))"
	" AND NOT EXISTS (SELECT 1 FROM task_events e WHERE e.task_id = ?1 AND e.id > ?5"
	"  AND e.kind IN (" NOTICE_SQL_KINDS "))";

#define SUBS_STALE                                                                             \
	" FROM kanban_notify_subs AS s WHERE coalesce({kanban_notify_subs.created_at@s}, 0) < ?1" \
	" AND EXISTS (SELECT 1 FROM tasks t WHERE t.id = s.task_id"                            \
	"  AND t.status IN ('done', 'blocked'))"                                               \
	" AND NOT EXISTS (SELECT 1 FROM task_events e WHERE e.task_id = s.task_id"             \
	"  AND (e.created_at >= ?1 OR (e.id > coalesce(s.last_event_id, 0)"                    \
	"   AND e.kind IN (" NOTICE_SQL_KINDS "))))"

static const char sql_stale[] = "SELECT count(*)" SUBS_STALE;
static const char sql_purge[] = "DELETE" SUBS_STALE;
/* clang-format on */

/* Where the cursor is: DB_ROW and @cursor, 0 no such subscription, else as db_step() */
static int subs_cursor(struct db *db, const struct subs_key *k, int64_t *cursor,
		       struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_cursor, "tttt", k->task, k->platform, k->chat,
			 k->thread);

	if (r == 0)
		r = db_step(db, s, e);
	if (r != DB_ROW)
		return r;
	*cursor = sqlite3_column_int64(s, 0);
	(void)sqlite3_reset(s); /* the key is unique */
	return DB_ROW;
}

static int subs_look_where(struct db *db, struct subs_op *op, struct error *e)
{
	int64_t cursor = 0;
	int r = subs_cursor(db, &op->key, &cursor, e);

	if (r == 0)
		op->answer = SUBS_GONE;
	else if (r == DB_ROW)
		op->answer = cursor == op->old   ? SUBS_AT_OLD
			     : cursor == op->new ? SUBS_AT_NEW
						 : SUBS_ELSEWHERE;
	return r == DB_ROW ? 0 : r;
}

int subs_finish(struct db *db, const struct subs_key *k, int64_t cursor, unsigned *count,
		struct error *e)
{
	/* what came with this column: done may be reopened, and its subscribers hear of it */
	const bool reopens = db_has_column(db, "kanban_notify_subs", "last_ping_event_id");
	int r = db_run(db, e, sql_finish, "ttttii", k->task, k->platform, k->chat, k->thread,
		       cursor, (int64_t)!reopens);

	if (r == 0)
		*count += db_changes(db) > 0;
	return r;
}

static int subs_op_run(struct db *db, struct subs_op *op, struct subs_result *res,
		       struct error *e)
{
	const struct subs_key *k = &op->key;
	unsigned count = 0;
	int r = 0;

	if (op->verb == SUBS_REWIND) {
		r = db_run(db, e, sql_rewind, "ttttii", k->task, k->platform, k->chat,
			   k->thread, op->new, op->old);
		count = r == 0 && db_changes(db) > 0;
	} else if (op->verb == SUBS_FINISH) {
		r = subs_finish(db, k, op->new, &count, e);
		res->finished += count;
	}
	if (r != 0)
		return r;
	if (count) {
		op->answer = SUBS_DONE;
		return 0;
	}
	return subs_look_where(db, op, e);
}

int subs_ops_run(struct db *db, const struct tick_host *host, struct subs_request *rq,
		 struct subs_result *res, struct error *e)
{
	bool write = false;
	int r = 0;

	for (size_t i = 0; i < rq->n_ops; i++)
		write |= rq->ops[i].verb != SUBS_CHECK;
	if (write)
		r = db_begin(db, e);
	for (size_t i = 0; r == 0 && i < rq->n_ops; i++)
		r = subs_op_run(db, &rq->ops[i], res, e);
	if (r == 0 && write && !host->owner(host->arg, e)) {
		res->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (write) {
		if (r == 0)
			r = db_commit(db, e);
		else
			db_rollback(db);
	}
	for (size_t i = 0; r != 0 && i < rq->n_ops; i++)
		rq->ops[i].answer = SUBS_UNANSWERED;
	return r;
}

int subs_purge(struct db *db, const struct tick_host *host, const struct subs_request *rq,
	       struct subs_result *res, struct error *e)
{
	int64_t count = 0;
	int r;

	if (rq->purge_before <= 0 ||
	    !db_has_column(db, "kanban_notify_subs", "last_ping_event_id"))
		return 0; /* there they go with done */
	r = db_one_int(db, e, &count, 0, sql_stale, "i", rq->purge_before);
	if (r != 0 || count == 0)
		return r;
	r = db_begin(db, e);
	if (r != 0)
		return r;
	r = db_run(db, e, sql_purge, "i", rq->purge_before);
	count = r == 0 ? db_changes(db) : 0;
	if (r == 0 && !host->owner(host->arg, e)) {
		res->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (r != 0) {
		db_rollback(db);
		return r;
	}
	r = db_commit(db, e);
	if (r == 0)
		res->purged = (unsigned)count;
	return r;
}
