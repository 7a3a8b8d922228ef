/*
 * Claiming what subscriptions have not seen.
 *
 * Happy path: a look finds the subscriptions that have events of the kinds below after their
 * cursor, reading only; those that are ours are claimed in batches, each batch in one IMMEDIATE
 * transaction that reads row, events and task again, moves the cursor by compare-and-swap, and
 * commits after the caller has made the claims durable on its side. Where there is nothing to
 * claim no transaction is opened.
 *
 * Between full looks only events and rows that are new since the last look are considered: both
 * are ranges of rowids, a handful of rows. What such a look cannot see (a cursor that was set
 * back, a gateway that ended) waits for the next full look.
 *
 * Failure modes: a caller that cannot make its claims durable gets the batch undone. A commit
 * that fails may have happened all the same (an I/O error at its very end): the claims are then
 * handed out as unsure, and SUBS_CHECK tells. Nothing is ever claimed twice in one look.
 *
 * Bounds: SUBS_CLAIMS subscriptions and SUBS_EVENTS events per look, SUBS_EACH events per
 * subscription; `more` says that there is more.
 */
#include "board/subs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "db/db.h"
#include "notice/kind.h"
#include "tick/tick.h"
#include "util/text.h"

#define SUBS_BATCH  256
#define SUBS_CLAIMS 4096
#define SUBS_EVENTS 20000
#define SUBS_EACH   1000

/* clang-format off */
static const char sql_last_event[] = "SELECT coalesce(max(id), 0) FROM task_events";
static const char sql_last_row[] = "SELECT coalesce(max(rowid), 0) FROM kanban_notify_subs";

/* a payload of more than a MiB is no payload that anybody writes */
static const char sql_events[] =
	"SELECT id, kind, CASE WHEN length(payload) <= 1048576 THEN payload END,"
	"  coalesce(run_id, 0), created_at FROM task_events"
	" WHERE task_id = ?1 AND id > ?2 AND kind IN (" NOTICE_SQL_KINDS ") ORDER BY id LIMIT ?3";

static const char sql_task[] =
	"SELECT title, status, assignee, substr({tasks.result}, 1, 4096) FROM tasks WHERE id = ?1";

static const char sql_move[] =
	"UPDATE kanban_notify_subs AS s SET last_event_id = ?6 WHERE " SUBS_IS_KEY
	" AND coalesce(last_event_id, 0) = ?5";

static const char sql_oldest[] =
	"SELECT min(created_at) FROM task_events WHERE task_id = ?1 AND id > ?2"
	" AND kind IN (" NOTICE_SQL_SENT ")";
/* clang-format on */

/* ---- memory -------------------------------------------------------------------------- */

static void subs_claim_deinit(struct subs_claim *claim)
{
	free(claim->task);
	free(claim->platform);
	free(claim->chat);
	free(claim->thread);
	free(claim->profile);
	free(claim->title);
	free(claim->status);
	free(claim->assignee);
	free(claim->result);
	for (size_t i = 0; i < claim->n_events; i++)
		free(claim->events[i].payload);
	free(claim->events);
	*claim = (struct subs_claim){ 0 };
}

static void subs_claims_cut(struct subs_result *res, size_t n)
{
	while (res->n_claims > n)
		subs_claim_deinit(&res->claims[--res->n_claims]);
}

void subs_result_deinit(struct subs_result *res)
{
	subs_claims_cut(res, 0);
	free(res->claims);
	for (size_t i = 0; i < res->n_skips; i++)
		free(res->skips[i].profile);
	free(res->skips);
	*res = (struct subs_result){ 0 };
}

/* ---- which of them ------------------------------------------------------------------- */

static int subs_skip(struct db *db, const struct subs_row *row, enum subs_why why,
		     struct subs_result *res, struct error *e)
{
	const char *profile = row->profile ? row->profile : "";
	struct subs_skip *skip = NULL, *more;
	int64_t oldest = 0;
	int r;

	r = db_one_int(db, e, &oldest, -1, sql_oldest, "ti", row->task, row->cursor);
	if (r != 0 || oldest < 0)
		return r; /* nobody waits for silent events */
	for (size_t i = 0; !skip && i < res->n_skips; i++)
		if (res->skips[i].why == why && strcmp(res->skips[i].profile, profile) == 0)
			skip = &res->skips[i];
	if (!skip) {
		more = reallocarray(res->skips, res->n_skips + 1, sizeof(*more));
		if (!more)
			return subs_oom(e);
		res->skips = more;
		skip = &more[res->n_skips];
		*skip = (struct subs_skip){ .profile = strdup(profile),
					    .why = why,
					    .oldest = oldest };
		if (!skip->profile)
			return subs_oom(e);
		res->n_skips++;
	}
	skip->count++;
	if (oldest < skip->oldest)
		skip->oldest = oldest;
	return 0;
}

/* Would nothing but events of @kind be sent, and nobody unblocked the task: 1, 0, or an error
 */
static int subs_only(struct db *db, const struct subs_row *row, const char *kind,
		     struct error *e)
{
	sqlite3_stmt *s = NULL;
	bool only = true;
	int r = db_query(db, e, &s, sql_events, "tii", row->task, row->cursor,
			 (int64_t)SUBS_EACH);

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const struct notice_kind *k =
			notice_kind((const char *)sqlite3_column_text(s, 1));

		only &= k && (strcmp(k->name, kind) == 0 ||
			      (k->flags & (NOTICE_QUIET | NOTICE_ENDS)) == NOTICE_QUIET);
		r = 0;
	}
	return r ? r : only;
}

static int subs_until(struct subs_result *res, int64_t until)
{
	if (until != INT64_MAX && (!res->held_until || until < res->held_until))
		res->held_until = until;
	return 1;
}

/* Does its place take nothing now: 1 or 0. */
static int subs_waits(const struct subs_request *rq, const struct subs_row *row,
		      struct subs_result *res)
{
	const struct subs_key key = subs_row_key(row);
	int64_t until = rq->waits ? rq->waits(rq->arg, row->profile, &key) : 0;

	return until > rq->now ? subs_until(res, until) : 0;
}

/* Is it held back: 1 yes, 0 no, else an error. */
static int subs_is_held(struct db *db, const struct subs_request *rq,
			const struct subs_row *row, struct subs_result *res, struct error *e)
{
	const struct subs_hold key = { .key = subs_row_key(row) };
	struct subs_hold *h = NULL;
	int r;

	if (rq->n_holds)
		h = bsearch(&key, rq->holds, rq->n_holds, sizeof(*h), subs_hold_order);
	if (!h || h->until <= rq->now)
		return subs_waits(rq, row, res);
	if (h->parked)
		return h->cursor == row->cursor && h->row == row->row
			       ? 1
			       : subs_waits(rq, row, res);
	if (h->only) {
		r = subs_only(db, row, h->only, e);
		if (r != 1)
			return r ? r : subs_waits(rq, row, res);
	}
	h->used = true;
	return subs_until(res, h->until);
}

/* Is that one to be claimed: 1 yes, 0 no, else an error. */
static int subs_wanted(struct db *db, const struct subs_request *rq, const struct subs_row *row,
		       struct subs_result *res, struct error *e)
{
	bool owned, wake = row->mode && strcmp(row->mode, "wake") == 0;
	int r;

	if (row->platform && !notice_kind_is_ours(row->platform))
		return 0; /* its session tells itself; nobody is missed */
	owned = rq->owns(rq->arg, row->profile);
	if (!row->text || !owned || wake) {
		if (row->text && !owned)
			return subs_skip(db, row, SUBS_NOT_OURS, res, e);
		return subs_skip(db, row, row->text ? SUBS_WAKE : SUBS_NO_TEXT, res, e);
	}
	r = subs_is_held(db, rq, row, res, e);
	return r == 1 ? 0 : r == 0 ? 1 : r;
}

/* Drop the rows that are not to be claimed. */
static int subs_choose(struct db *db, const struct subs_request *rq, struct subs_rows *rows,
		       struct subs_result *res, struct error *e)
{
	size_t keep = 0;
	int r = 0;

	for (size_t i = 0; i < rows->n; i++) {
		int wanted = r == 0 ? subs_wanted(db, rq, &rows->v[i], res, e) : 0;

		if (wanted == 1) {
			struct subs_row row = rows->v[i];

			rows->v[i] = (struct subs_row){ 0 };
			rows->v[keep++] = row;
			continue;
		}
		if (wanted != 0)
			r = wanted;
		subs_row_deinit(&rows->v[i]);
	}
	rows->n = keep;
	return r;
}

static int subs_find_gone(struct db *db, const struct subs_request *rq, struct error *e)
{
	for (size_t i = 0; i < rq->n_holds; i++) {
		struct subs_row row = { 0 };
		int r;

		if (!rq->holds[i].parked)
			continue;
		r = subs_row_find(db, &rq->holds[i].key, &row, e);
		subs_row_deinit(&row);
		if (r != 0 && r != DB_ROW)
			return r;
		rq->holds[i].gone = r == 0;
	}
	return 0;
}

/* ---- claiming ------------------------------------------------------------------------ */

static int subs_events_read(struct db *db, struct subs_claim *c, bool *more, struct error *e)
{
	sqlite3_stmt *s = NULL;
	size_t room = 0;
	bool oom = false;
	int r = db_query(db, e, &s, sql_events, "tii", c->task, c->old, (int64_t)SUBS_EACH);

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const struct notice_kind *kind =
			notice_kind((const char *)sqlite3_column_text(s, 1));
		struct subs_event *ev;

		if (c->n_events == room) {
			room = room ? room * 2 : 4;
			ev = reallocarray(c->events, room, sizeof(*ev));
			if (!ev) {
				(void)sqlite3_reset(s); /* the rest is not wanted */
				return subs_oom(e);
			}
			c->events = ev;
		}
		ev = &c->events[c->n_events++];
		*ev = (struct subs_event){
			.id = sqlite3_column_int64(s, 0),
			.kind = kind ? kind->name : "",
			.payload = subs_text(s, 2, &oom),
			.run = sqlite3_column_int64(s, 3),
			.at = sqlite3_column_int64(s, 4),
		};
		r = 0;
	}
	*more |= c->n_events == SUBS_EACH;
	return r == 0 && oom ? subs_oom(e) : r;
}

static int subs_task_read(struct db *db, struct subs_claim *c, struct error *e)
{
	sqlite3_stmt *s = NULL;
	bool oom = false;
	int r = db_query(db, e, &s, sql_task, "t", c->task);

	if (r == 0)
		r = db_step(db, s, e);
	if (r != DB_ROW)
		return r; /* a task that is no more still has its events */
	c->title = subs_text(s, 0, &oom);
	c->status = subs_text(s, 1, &oom);
	c->assignee = subs_text(s, 2, &oom);
	c->result = subs_text(s, 3, &oom);
	(void)sqlite3_reset(s); /* the id is unique */
	return oom ? subs_oom(e) : 0;
}

/*
 * Claim one, inside the transaction: read it again, move the cursor. Return: 1 claimed into @c;
 * 0 nothing to hand out (moved over silent events, or somebody else was faster); else an error.
 */
static int subs_claim_one(struct db *db, const struct subs_row *found, struct subs_claim *c,
			  struct subs_result *res, struct error *e)
{
	struct subs_key key = subs_row_key(found);
	struct subs_row row = { 0 };
	bool sent = false, same;
	int r = subs_row_find(db, &key, &row, e);

	if (r != DB_ROW)
		return r;
	same = row.row == found->row; /* owner and mode are what was decided about */
	*c = (struct subs_claim){ .old = row.cursor, .row = row.row };
	c->task = STEAL(row.task);
	c->platform = STEAL(row.platform);
	c->chat = STEAL(row.chat);
	c->thread = STEAL(row.thread);
	c->profile = STEAL(row.profile);
	subs_row_deinit(&row);
	if (!same)
		return 0;
	r = subs_events_read(db, c, &res->more, e);
	if (r != 0 || c->n_events == 0)
		return r;
	c->new = c->events[c->n_events - 1].id;
	for (size_t i = 0; i < c->n_events; i++)
		sent |= notice_kind_sent(c->events[i].kind) != NULL;
	if (sent)
		r = subs_task_read(db, c, e);
	if (r == 0)
		r = db_run(db, e, sql_move, "ttttii", c->task, c->platform, c->chat, c->thread,
			   c->old, c->new);
	if (r != 0 || db_changes(db) == 0)
		return r;
	if (sent)
		return 1;
	res->passed++;
	return subs_finish(db, &key, c->new, &res->finished, e);
}

static int subs_batch_claim(struct db *db, const struct subs_row *rows, size_t n,
			    struct subs_result *res, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		struct subs_claim c = { 0 };
		int r = subs_claim_one(db, &rows[i], &c, res, e);

		if (r == 1)
			res->claims[res->n_claims++] = c;
		else
			subs_claim_deinit(&c);
		if (r != 0 && r != 1)
			return r;
	}
	return 0;
}

static int subs_batch(struct db *db, const struct tick_host *host,
		      const struct subs_request *rq, const struct subs_row *rows, size_t n,
		      struct subs_result *res, struct error *e)
{
	struct subs_claim *more = reallocarray(res->claims, res->n_claims + n, sizeof(*more));
	unsigned passed = res->passed, finished = res->finished;
	size_t from = res->n_claims, count;
	int r;

	if (!more)
		return subs_oom(e);
	res->claims = more;
	r = db_begin(db, e);
	if (r != 0)
		return r;
	r = subs_batch_claim(db, rows, n, res, e);
	count = res->n_claims - from;
	if (r == 0 && !host->owner(host->arg, e)) {
		res->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (r == 0 && count > 0)
		r = rq->claimed(rq->arg, more + from, count, e);
	if (r != 0) {
		db_rollback(db);
		subs_claims_cut(res, from);
		res->passed = passed;
		res->finished = finished;
		return r;
	}
	r = db_commit(db, e);
	for (size_t i = from; r != 0 && i < res->n_claims; i++)
		res->claims[i].unsure = true;
	if (count > 0)
		rq->committed(rq->arg, more + from, count, r);
	return r;
}

static int subs_look(struct db *db, const struct tick_host *host, const struct subs_request *rq,
		     struct subs_result *res, struct error *e)
{
	struct subs_rows rows = { 0 };
	size_t events = 0, counted = 0;
	int r = db_one_int(db, e, &res->last_event, 0, sql_last_event, "");

	if (r == 0)
		r = db_one_int(db, e, &res->last_row, 0, sql_last_row, "");
	if (r == 0)
		r = subs_rows_load(db, rq, &rows, e);
	if (r == 0 && !rq->full)
		r = subs_rows_parked(db, rq, &rows, e);
	if (r == 0)
		r = subs_choose(db, rq, &rows, res, e);
	if (r == 0 && rq->full)
		r = subs_find_gone(db, rq, e);
	for (size_t i = 0; r == 0 && i < rows.n;) {
		size_t n = rows.n - i < SUBS_BATCH ? rows.n - i : SUBS_BATCH;

		for (; counted < res->n_claims; counted++)
			events += res->claims[counted].n_events;
		if (res->n_claims >= SUBS_CLAIMS || events >= SUBS_EVENTS) {
			res->more = true;
			break;
		}
		r = subs_batch(db, host, rq, rows.v + i, n, res, e);
		i += n;
	}
	subs_rows_deinit(&rows);
	res->looked = r == 0;
	return r;
}

int subs_run(struct db *db, const struct tick_host *host, struct subs_request *rq,
	     struct subs_result *res, struct error *e)
{
	int r = 0;

	if (!db_has_column(db, "kanban_notify_subs", "task_id") ||
	    !db_has_column(db, "kanban_notify_subs", "platform") ||
	    !db_has_column(db, "kanban_notify_subs", "chat_id") ||
	    !db_has_column(db, "kanban_notify_subs", "last_event_id")) {
		for (size_t i = 0; i < rq->n_ops; i++)
			rq->ops[i].answer = SUBS_GONE;
		for (size_t i = 0; i < rq->n_holds; i++)
			rq->holds[i].gone = rq->full;
		res->answered = res->looked = true;
		return 0;
	}
	if (rq->n_ops)
		r = subs_ops_run(db, host, rq, res, e);
	res->answered = r == 0;
	if (r == 0 && rq->look)
		r = subs_look(db, host, rq, res, e);
	if (r == 0 && rq->look && rq->full)
		r = subs_purge(db, host, rq, res, e);
	return r;
}
