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
#include "tick/tick.h"
#include "util/text.h"

#define SUBS_BATCH  256
#define SUBS_CLAIMS 4096
#define SUBS_EVENTS 20000
#define SUBS_EACH   1000

/* clang-format off */
#define SUBS_UNSEEN                                                                            \
	"EXISTS (SELECT 1 FROM task_events e WHERE e.task_id = s.task_id"                      \
	"  AND e.id > coalesce(s.last_event_id, 0) AND e.kind IN (" SUBS_KINDS "))"

static const char sql_look_all[] =
	"SELECT " SUBS_ROW " FROM kanban_notify_subs s WHERE " SUBS_UNSEEN " ORDER BY s.rowid";

static const char sql_look_new[] =
	"SELECT " SUBS_ROW " FROM kanban_notify_subs s WHERE s.rowid IN ("
	" SELECT n.rowid FROM task_events e CROSS JOIN kanban_notify_subs n"
	"  ON n.task_id = e.task_id"
	"  WHERE e.id > ?1 AND e.kind IN (" SUBS_KINDS ") AND e.id > coalesce(n.last_event_id, 0)"
	" UNION"
	" SELECT s.rowid FROM kanban_notify_subs s WHERE s.rowid > ?2 AND " SUBS_UNSEEN ")"
	" ORDER BY s.rowid";

static const char sql_last_event[] = "SELECT coalesce(max(id), 0) FROM task_events";
static const char sql_last_row[] = "SELECT coalesce(max(rowid), 0) FROM kanban_notify_subs";

static const char sql_row[] =
	"SELECT " SUBS_ROW " FROM kanban_notify_subs s WHERE " SUBS_IS_KEY;

/* a payload of more than a MiB is no payload that anybody writes */
static const char sql_events[] =
	"SELECT id, kind, CASE WHEN length(payload) <= 1048576 THEN payload END,"
	"  coalesce(run_id, 0), created_at FROM task_events"
	" WHERE task_id = ?1 AND id > ?2 AND kind IN (" SUBS_KINDS ") ORDER BY id LIMIT ?3";

static const char sql_task[] =
	"SELECT title, status, assignee, substr({tasks.result}, 1, 4096) FROM tasks WHERE id = ?1";

static const char sql_move[] =
	"UPDATE kanban_notify_subs AS s SET last_event_id = ?6 WHERE " SUBS_IS_KEY
	" AND coalesce(last_event_id, 0) = ?5";

static const char sql_oldest[] =
	"SELECT min(created_at) FROM task_events WHERE task_id = ?1 AND id > ?2"
	" AND kind IN (" SUBS_KINDS ") AND kind NOT IN ('archived', 'unblocked')";
/* clang-format on */

static const char *const subs_kinds[] = { "completed",
					  "blocked",
					  "gave_up",
					  "crashed",
					  "timed_out",
					  "review_requested",
					  "block_loop_detected",
					  "status",
					  "archived",
					  "unblocked" };

#define SUBS_SENT 8 /* so many of subs_kinds make a message */

bool subs_is_sent(const char *kind)
{
	for (size_t i = 0; i < SUBS_SENT; i++)
		if (strcmp(kind, subs_kinds[i]) == 0)
			return true;
	return false;
}

static const char *subs_kind(const char *kind)
{
	for (size_t i = 0; kind && i < sizeof(subs_kinds) / sizeof(subs_kinds[0]); i++)
		if (strcmp(kind, subs_kinds[i]) == 0)
			return subs_kinds[i];
	return "";
}

int subs_key_order(const struct subs_key *a, const struct subs_key *b)
{
	int r = strcmp(a->task, b->task);

	if (r == 0)
		r = strcmp(a->platform, b->platform);
	if (r == 0)
		r = strcmp(a->chat, b->chat);
	return r ? r : strcmp(a->thread, b->thread);
}

/* ---- memory --------------------------------------------------------------------------------
 */

void subs_claim_deinit(struct subs_claim *claim)
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

static int subs_oom(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

/* Column @i as a fresh string, NULL for NULL; @oom is set when there is no memory. */
static char *subs_text(sqlite3_stmt *s, int i, bool *oom)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	char *copy = text ? strdup(text) : NULL;

	if (!copy && sqlite3_column_type(s, i) != SQLITE_NULL)
		*oom = true;
	return copy;
}

/* ---- rows ----------------------------------------------------------------------------------
 */

/* A subscription as a look finds it. Strings are owned. */
struct subs_row {
	char *task, *platform, *chat, *thread, *profile, *mode;
	int64_t cursor;
	uint64_t row;
	bool text; /* its key is text that a command line can carry */
};

struct subs_rows {
	struct subs_row *v;
	size_t n, room;
};

static void subs_row_deinit(struct subs_row *r)
{
	free(r->task);
	free(r->platform);
	free(r->chat);
	free(r->thread);
	free(r->profile);
	free(r->mode);
	*r = (struct subs_row){ 0 };
}

static void subs_rows_deinit(struct subs_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++)
		subs_row_deinit(&rows->v[i]);
	free(rows->v);
	*rows = (struct subs_rows){ 0 };
}

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), the columns with their NULLs apart. */
static uint64_t subs_mix(uint64_t h, sqlite3_stmt *s, int i)
{
	int type = sqlite3_column_type(s, i); /* before the value is converted */
	const unsigned char *p = sqlite3_column_blob(s, i);
	int n = sqlite3_column_bytes(s, i);

	h = (h ^ (uint64_t)type) * UINT64_C(0x100000001b3);
	for (int k = 0; p && k < n; k++)
		h = (h ^ p[k]) * UINT64_C(0x100000001b3);
	return h;
}

static bool subs_column_is_text(sqlite3_stmt *s, int i)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	size_t n = (size_t)sqlite3_column_bytes(s, i);

	return text && strlen(text) == n && text_is_utf8(text, n);
}

static int subs_row_read(sqlite3_stmt *s, struct subs_row *r, struct error *e)
{
	bool oom = false;

	*r = (struct subs_row){ .row = UINT64_C(0xcbf29ce484222325), .text = true };
	for (int i = SUBS_COL_PROFILE; i <= SUBS_COL_CREATED; i++)
		r->row = subs_mix(r->row, s, i);
	for (int i = 0; i <= SUBS_COL_THREAD; i++)
		r->text &= subs_column_is_text(s, i);
	if (sqlite3_column_type(s, SUBS_COL_PROFILE) != SQLITE_NULL)
		r->text &= subs_column_is_text(s, SUBS_COL_PROFILE);
	r->task = subs_text(s, SUBS_COL_TASK, &oom);
	r->platform = subs_text(s, SUBS_COL_PLATFORM, &oom);
	r->chat = subs_text(s, SUBS_COL_CHAT, &oom);
	r->thread = subs_text(s, SUBS_COL_THREAD, &oom);
	r->profile = subs_text(s, SUBS_COL_PROFILE, &oom);
	r->mode = subs_text(s, SUBS_COL_MODE, &oom);
	r->cursor = sqlite3_column_int64(s, SUBS_COL_CURSOR);
	r->text &= r->task && r->platform && r->chat && r->thread;
	if (!oom)
		return 0;
	subs_row_deinit(r);
	return subs_oom(e);
}

static struct subs_key subs_row_key(const struct subs_row *r)
{
	return (struct subs_key){ r->task, r->platform, r->chat, r->thread };
}

/* The row of @key. Return: DB_ROW and @r, 0 if there is none, else as db_step(). */
static int subs_row_find(struct db *db, const struct subs_key *key, struct subs_row *r,
			 struct error *e)
{
	sqlite3_stmt *s = NULL;
	int rc = db_query(db, e, &s, sql_row, "tttt", key->task, key->platform, key->chat,
			  key->thread);

	if (rc == 0)
		rc = db_step(db, s, e);
	if (rc != DB_ROW)
		return rc;
	rc = subs_row_read(s, r, e);
	(void)sqlite3_reset(s); /* the key is unique */
	return rc == 0 ? DB_ROW : rc;
}

static bool subs_rows_room(struct subs_rows *rows)
{
	size_t room = rows->room ? rows->room * 2 : 64;
	struct subs_row *more;

	if (rows->n < rows->room)
		return true;
	more = reallocarray(rows->v, room, sizeof(*more));
	if (!more)
		return false;
	rows->v = more;
	rows->room = room;
	return true;
}

/* A look that is not full takes in what is parked and not what it was any more. */
static int subs_rows_parked(struct db *db, const struct subs_request *rq,
			    struct subs_rows *rows, struct error *e)
{
	for (size_t i = 0; i < rq->n_holds; i++) {
		const struct subs_hold *h = &rq->holds[i];
		struct subs_row row = { 0 };
		int r = h->parked ? subs_row_find(db, &h->key, &row, e) : 0;

		if (r == DB_ROW && (row.row != h->row || row.cursor != h->cursor)) {
			if (!subs_rows_room(rows)) {
				subs_row_deinit(&row);
				return subs_oom(e);
			}
			rows->v[rows->n++] = row;
		} else {
			subs_row_deinit(&row);
		}
		if (r != 0 && r != DB_ROW)
			return r;
	}
	return 0;
}

static int subs_rows_load(struct db *db, const struct subs_request *rq, struct subs_rows *rows,
			  struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = rq->full ? db_query(db, e, &s, sql_look_all, "")
			 : db_query(db, e, &s, sql_look_new, "ii", rq->after_event,
				    rq->after_row);

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		if (!subs_rows_room(rows)) {
			(void)sqlite3_reset(s); /* the rest of the rows is not wanted */
			return subs_oom(e);
		}
		r = subs_row_read(s, &rows->v[rows->n], e);
		if (r != 0) {
			(void)sqlite3_reset(s); /* … */
			return r;
		}
		rows->n++;
	}
	return r;
}

/* ---- which of them -------------------------------------------------------------------------
 */

static int subs_hold_order(const void *key, const void *hold)
{
	return subs_key_order(key, &((const struct subs_hold *)hold)->key);
}

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
		const char *k = subs_kind((const char *)sqlite3_column_text(s, 1));

		only &= strcmp(k, kind) == 0 || strcmp(k, "archived") == 0;
		r = 0;
	}
	return r ? r : only;
}

/* Is it held back: 1 yes, 0 no, else an error. */
static int subs_is_held(struct db *db, const struct subs_request *rq,
			const struct subs_row *row, struct subs_result *res, struct error *e)
{
	struct subs_key key = subs_row_key(row);
	struct subs_hold *h = NULL;
	int r;

	if (rq->n_holds)
		h = bsearch(&key, rq->holds, rq->n_holds, sizeof(*h), subs_hold_order);
	if (!h || h->until <= rq->now)
		return 0;
	if (h->parked)
		return h->cursor == row->cursor && h->row == row->row;
	if (h->only) {
		r = subs_only(db, row, h->only, e);
		if (r != 1)
			return r;
	}
	h->used = true;
	if (h->until != INT64_MAX && (!res->held_until || h->until < res->held_until))
		res->held_until = h->until;
	return 1;
}

/* Is that one to be claimed: 1 yes, 0 no, else an error. */
static int subs_wanted(struct db *db, const struct subs_request *rq, const struct subs_row *row,
		       struct subs_result *res, struct error *e)
{
	bool owned = rq->owns(rq->arg, row->profile);
	bool wake = row->mode && strcmp(row->mode, "wake") == 0;
	int r;

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

/* ---- claiming ------------------------------------------------------------------------------
 */

static int subs_events_read(struct db *db, struct subs_claim *c, bool *more, struct error *e)
{
	sqlite3_stmt *s = NULL;
	size_t room = 0;
	bool oom = false;
	int r = db_query(db, e, &s, sql_events, "tii", c->task, c->old, (int64_t)SUBS_EACH);

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
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
			.kind = subs_kind((const char *)sqlite3_column_text(s, 1)),
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
		sent |= subs_is_sent(c->events[i].kind);
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

static int subs_batch(struct db *db, const struct tick_outside *outside,
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
	if (r == 0 && !outside->owner(outside->arg, e)) {
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

static int subs_look(struct db *db, const struct tick_outside *outside,
		     const struct subs_request *rq, struct subs_result *res, struct error *e)
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
		r = subs_batch(db, outside, rq, rows.v + i, n, res, e);
		i += n;
	}
	subs_rows_deinit(&rows);
	res->looked = r == 0;
	return r;
}

int subs_run(struct db *db, const struct tick_outside *outside, struct subs_request *rq,
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
		r = subs_ops_run(db, outside, rq, res, e);
	res->answered = r == 0;
	if (r == 0 && rq->look)
		r = subs_look(db, outside, rq, res, e);
	return r;
}
