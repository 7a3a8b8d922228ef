/*
 * The transaction that every edit is: begin, read, check who speaks; append the event; end.
 */

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "board.h"
#include "db/db.h"
#include "util/text.h"

static const char sql_read_task[] =
	"SELECT status, claim_lock, COALESCE(current_run_id, 0), {tasks.block_kind},"
	" COALESCE({tasks.block_recurrences}, 0), COALESCE(claim_expires, 0),"
	" {tasks.completion_contract} FROM tasks WHERE id = ?1";

static const char sql_any_read[] = "SELECT COUNT(*) FROM sqlite_master";

static const char sql_event[] =
	"INSERT INTO task_events (run_id, task_id, kind, payload, created_at)"
	" VALUES (NULLIF(?1, 0), ?2, ?3, ?4, ?5)";

void edit_row_deinit(struct edit_row *row)
{
	free(row->status);
	free(row->claim_lock);
	free(row->block_kind);
	free(row->contract);
	*row = (struct edit_row){ 0 };
}

int edit_check_text(const char *what, const char *text, size_t max, struct error *e)
{
	size_t len = text ? strlen(text) : 0;

	if (len > max)
		return error_set(e, EDIT_INVALID, "the %s is too long: at most %zu bytes", what,
				 max);
	if (text && !text_is_utf8(text, len))
		return error_set(e, EDIT_INVALID, "the %s is not UTF-8 text", what);
	return 0;
}

/* Column @i as a fresh string, NULL for NULL; @ok turns false when out of memory. */
static char *edit_column(sqlite3_stmt *stmt, int i, bool *ok)
{
	const unsigned char *text = sqlite3_column_text(stmt, i);
	char *copy = text ? strdup((const char *)text) : NULL;

	if (!copy && sqlite3_column_type(stmt, i) != SQLITE_NULL)
		*ok = false;
	return copy;
}

int edit_read(struct db *db, const char *id, struct edit_row *row, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	bool ok = true;
	int r;

	r = db_query(db, e, &stmt, sql_read_task, "t", id);
	if (r == 0)
		r = db_step(db, stmt, e);
	if (r == 0)
		return error_set(e, EDIT_NO_TASK, EDIT_NO_TASK_TEXT, id);
	if (r != DB_ROW)
		return r;
	row->status = edit_column(stmt, 0, &ok);
	row->claim_lock = edit_column(stmt, 1, &ok);
	row->run = sqlite3_column_int64(stmt, 2);
	row->block_kind = edit_column(stmt, 3, &ok);
	row->block_recurrences = sqlite3_column_int64(stmt, 4);
	row->expires = sqlite3_column_int64(stmt, 5);
	row->contract = edit_column(stmt, 6, &ok);
	(void)sqlite3_reset(stmt); /* the one row was read */
	if (!row->status || !ok)
		return error_set(e, -ENOMEM, "out of memory");
	return 0;
}

/* A worker may only speak for the run that has the task now. */
static int edit_check_by(const char *id, const struct edit_by *by, const struct edit_row *row,
			 struct error *e)
{
	if (by->run != 0 && by->run != row->run) {
		if (row->run != 0)
			return error_set(e, EDIT_REFUSED,
					 "run %lld does not have task %s any more: run %lld "
					 "has it now; nothing was changed",
					 (long long)by->run, id, (long long)row->run);
		return error_set(e, EDIT_REFUSED,
				 "run %lld does not have task %s any more: the task is %s now; "
				 "nothing was changed",
				 (long long)by->run, id, row->status);
	}
	if (by->claim_lock &&
	    (!row->claim_lock || strcmp(by->claim_lock, row->claim_lock) != 0))
		return error_set(e, EDIT_REFUSED,
				 "the claim %s on task %s is not in force any more (%s%s); "
				 "nothing was changed",
				 by->claim_lock, id,
				 row->claim_lock ? "now claimed by " : "the task is ",
				 row->claim_lock ? row->claim_lock : row->status);
	return 0;
}

int edit_begin(struct db *db, const char *id, const struct edit_by *by, struct edit_row *row,
	       struct error *e)
{
	int r;

	r = edit_check_text("task id", id, EDIT_SHORT_MAX, e);
	if (r != 0)
		return r;
	r = db_begin(db, e);
	if (r != 0)
		return edit_end(db, r, e);
	r = edit_read(db, id, row, e);
	if (r == 0 && by)
		r = edit_check_by(id, by, row, e);
	return r == 0 ? 0 : edit_end(db, r, e);
}

int edit_exact(int code, struct error *e)
{
	switch (code & 0xFF) { /* to come back later does not help against these */
	case SQLITE_FULL:
		return error_set(e, -ENOSPC, "the disk is full: make room for the board");
	case SQLITE_IOERR:
		(void)error_prefix(e, "disk trouble: ");
		return -EIO;
	case SQLITE_NOMEM:
		return error_set(e, -ENOMEM, "out of memory");
	default:
		return DB_TRANSIENT;
	}
}

int edit_end(struct db *db, int r, struct error *e)
{
	int64_t n;

	if (r == 0)
		r = db_commit(db, e);
	db_rollback(db); /* nothing to do after a commit */
	if (r != DB_TRANSIENT)
		return r;
	r = edit_exact(db_failed(db), e);
	/*
	 * After a full disk SQLite leaves the journal for whoever reads next to play back. That
	 * is us: it gives the room back at once. Failing harms nothing, the next one tries.
	 */
	if (r == -ENOSPC || r == -EIO)
		(void)!db_one_int(db, NULL, &n, 0, sql_any_read, "");
	return r;
}

int edit_event(struct db *db, const char *id, int64_t run, const char *kind, json_t *payload,
	       bool want_payload, int64_t now, int64_t *event, struct error *e)
{
	CLEANUP(freep) char *text = NULL;
	int r;

	if (payload)
		text = json_dumps(payload, 0);
	json_decref(payload);
	if (want_payload && !text)
		return error_set(e, -ENOMEM, "out of memory");
	r = db_run(db, e, sql_event, "ittti", run, id, kind, text, now);
	if (r == 0 && event)
		*event = db_last_id(db);
	return r;
}

int edit_swapped(struct db *db, const char *id, struct error *e)
{
	if (db_changes(db) == 1)
		return 0;
	return error_set(e, DB_CONFLICT, "task %s changed under this command; nothing was done",
			 id);
}

bool edit_in(const char *status, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(status, *list) == 0)
			return true;
	return false;
}

void edit_set_done(struct edit_done *done, const char *status, int64_t run)
{
	(void)snprintf(done->status, sizeof(done->status), "%s", status);
	done->run = run;
}
