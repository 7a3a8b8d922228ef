/*
 * Reading the subscriptions of a board that a look considers.
 */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "board.h"
#include "db/db.h"
#include "notice/kind.h"
#include "util/text.h"

/* clang-format off */
#define SUBS_UNSEEN                                                                            \
	"EXISTS (SELECT 1 FROM task_events e WHERE e.task_id = s.task_id"                      \
	"  AND e.id > coalesce(s.last_event_id, 0) AND e.kind IN (" NOTICE_SQL_KINDS "))"

static const char sql_look_all[] =
	"SELECT " SUBS_ROW " FROM kanban_notify_subs s WHERE " SUBS_UNSEEN " ORDER BY s.rowid";

static const char sql_look_new[] =
	"SELECT " SUBS_ROW " FROM kanban_notify_subs s WHERE s.rowid IN ("
	" SELECT n.rowid FROM task_events e CROSS JOIN kanban_notify_subs n"
	"  ON n.task_id = e.task_id"
	"  WHERE e.id > ?1 AND e.kind IN (" NOTICE_SQL_KINDS ") AND e.id > coalesce(n.last_event_id, 0)"
	" UNION"
	" SELECT s.rowid FROM kanban_notify_subs s WHERE s.rowid > ?2 AND " SUBS_UNSEEN ")"
	" ORDER BY s.rowid";

static const char sql_row[] =
	"SELECT " SUBS_ROW " FROM kanban_notify_subs s WHERE " SUBS_IS_KEY;
/* clang-format on */

int subs_oom(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

char *subs_text(sqlite3_stmt *s, int i, bool *oom)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	char *copy = text ? strdup(text) : NULL;

	if (!copy && sqlite3_column_type(s, i) != SQLITE_NULL)
		*oom = true;
	return copy;
}

void subs_row_deinit(struct subs_row *r)
{
	free(r->task);
	free(r->platform);
	free(r->chat);
	free(r->thread);
	free(r->profile);
	free(r->mode);
	*r = (struct subs_row){ 0 };
}

void subs_rows_deinit(struct subs_rows *rows)
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
	for (int i = SUBS_COL_PROFILE; i <= SUBS_COL_USER_ALT; i++)
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

struct subs_key subs_row_key(const struct subs_row *r)
{
	return (struct subs_key){ r->task, r->platform, r->chat, r->thread };
}

int subs_row_find(struct db *db, const struct subs_key *key, struct subs_row *r,
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

int subs_rows_parked(struct db *db, const struct subs_request *rq, struct subs_rows *rows,
		     struct error *e)
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

int subs_rows_load(struct db *db, const struct subs_request *rq, struct subs_rows *rows,
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
