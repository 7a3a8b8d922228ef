/*
 * Every blocked task of a board that failed in the same way goes on, in one transaction: after
 * the cause is gone nobody wants to name two hundred of them.
 */
#include <sqlite3.h>

#include "board.h"
#include "board/edit_request.h"
#include "db/db.h"
#include "tick/plan.h"

static const char sql_failed[] =
	"SELECT id FROM tasks WHERE status = 'blocked' AND (?1 IS NULL"
	" OR instr(COALESCE({failure_error}, ''), ?1) > 0) ORDER BY created_at, id";

static int edit_retry_find(struct db *db, const char *text, struct strings *ids,
			   struct error *e)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(db, e, &s, sql_failed, "t", text);

	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		const char *id = (const char *)sqlite3_column_text(s, 0);

		r = id ? strings_add(ids, id) : 0;
		if (r != 0) {
			(void)sqlite3_reset(s); /* the list ends here */
			r = error_set(e, r, "out of memory");
		}
	}
	return r;
}

static int edit_retry_one(struct db *db, const char *id, int64_t now, struct error *e)
{
	CLEANUP(edit_row_deinit) struct edit_row row = { 0 };
	const struct edit_by by = { .now = now };
	struct edit_done done = { .status = "" };
	int r = edit_read(db, id, &row, e);

	return r == 0 ? edit_unblock_row(db, id, &by, &row, &done, e) : r;
}

int edit_retry_all(struct db *db, const char *text, int64_t now, int64_t *count,
		   struct error *e)
{
	struct strings ids = { 0 };
	int r = edit_check_text("error", text, EDIT_SHORT_MAX, e);

	*count = 0;
	if (r != 0)
		return r;
	r = db_begin(db, e);
	if (r == 0)
		r = edit_retry_find(db, text, &ids, e);
	for (size_t i = 0; r == 0 && i < ids.n; i++)
		r = edit_retry_one(db, ids.v[i], now, e);
	r = edit_end(db, r, e);
	if (r == 0)
		*count = (int64_t)ids.n;
	strings_free(&ids);
	return r;
}
