/*
 * The one classifier: every result code of SQLite, of every caller, comes through here, and
 * here alone it is decided whether to come back later (transient), to treat the board as
 * damaged (corrupt), or to say that it is not a board (schema). It works on extended result
 * codes; messages are for people.
 */
#include <errno.h>

#include "db.h"
#include "db/db_result.h"
#include "util/clock.h"

/* 0, DB_ROW, an outcome of db.h, or -errno */
static int db_result_outcome(int rc)
{
	switch (rc) {
	case SQLITE_IOERR_CORRUPTFS:
		return DB_CORRUPT;
	case SQLITE_READONLY_DBMOVED: /* the file was replaced under us: reopen and look again
				       */
	case SQLITE_READONLY_RECOVERY:
	case SQLITE_READONLY_ROLLBACK:
	case SQLITE_READONLY_CANTINIT:
	case SQLITE_READONLY_CANTLOCK:
		return DB_TRANSIENT;
	default:
		break;
	}
	switch (rc & 0xFF) {
	case SQLITE_OK:
	case SQLITE_DONE:
		return 0;
	case SQLITE_ROW:
		return DB_ROW;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_INTERRUPT:
	case SQLITE_NOMEM:
	case SQLITE_FULL:
	case SQLITE_CANTOPEN:
	case SQLITE_PROTOCOL:
	case SQLITE_SCHEMA:
	case SQLITE_IOERR:
		return DB_TRANSIENT;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return DB_CORRUPT;
	case SQLITE_ERROR: /* a table or column that is not there */
		return DB_SCHEMA_BAD;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_TOOBIG:
		return -E2BIG;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	default:
		return -EIO;
	}
}

int db_result_errno(int rc)
{
	switch (rc & 0xFF) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_INTERRUPT:
		return -ECANCELED;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	default:
		return -EIO;
	}
}

int db_result_set(struct error *e, sqlite3 *db, int rc, const char *what)
{
	const char *why = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
	int r = db_result_errno(rc);

	switch (r) {
	case -EBUSY:
		return error_set(e, r, "%s: another process holds the board", what);
	case -ENOMEM:
		return error_set(e, r, "%s: out of memory", what);
	case -ENOSPC:
		return error_set(e, r, "%s: disk full", what);
	case -EROFS:
		return error_set(e, r, "%s: the file cannot be written", what);
	case -EBADMSG:
		return error_set(e, r, "%s: %s", what, why);
	default:
		return error_set(e, r, "%s: %s (SQLite result %d)", what, why, rc);
	}
}

void db_spend(struct db *db, int ms)
{
	db->budget.overrun = false;
	db->budget.until_ms = clock_mono_ms() + (uint64_t)ms;
}

int db_overrun(struct db *db, struct error *e)
{
	db->ioerr = false;
	return error_set(
		e, DB_OVERRUN,
		"it took longer than a board may (%d s a statement, %d s a check) and was "
		"stopped",
		db->statement_ms / 1000, DB_CHECK_MS / 1000);
}

bool db_is_torn(const struct db *db)
{
	return db_vfs_torn(db->sqlite);
}

/* Forward a result of SQLite: outcome as return value, SQLite's sentence in @e. */
int db_result(struct db *db, int rc, struct error *e)
{
	int r = db_result_outcome(rc);

	if (r == 0 || r == DB_ROW)
		return r;
	db->failed = rc;
	db->ioerr = (rc & 0xFF) == SQLITE_IOERR;
	db->busy = (rc & 0xFF) == SQLITE_BUSY;
	if (db->budget.overrun)
		return db_overrun(db, e);
	if (db->budget.cancel && atomic_load(db->budget.cancel) &&
	    (rc == SQLITE_INTERRUPT || db->ioerr)) {
		db->ioerr = false; /* ours */
		return error_set(e, DB_TRANSIENT, "cancelled");
	}
	if (db->ioerr && db_vfs_torn(db->sqlite))
		return error_set(e, DB_TRANSIENT,
				 "its -shm was cut while it was in use; it is opened anew");
	if ((rc & 0xFF) == SQLITE_FULL)
		return error_set(e, r,
				 "disk full: make room on the board's file system, unless the "
				 "numbers of its rows are used up (%s)",
				 sqlite3_errmsg(db->sqlite));
	if ((rc & 0xFF) == SQLITE_READONLY)
		return error_set(e, r,
				 "the board cannot be written: its file or file system is "
				 "read-only for this user (SQLite result %d)",
				 rc);
	if ((rc & 0xFF) == SQLITE_BUSY)
		return error_set(
			e, r, "another process holds the board's lock (SQLite result %d)", rc);
	if ((rc & 0xFF) == SQLITE_TOOBIG)
		return error_set(
			e, r,
			"a value in it is longer than the %d MiB that are read; shorten it",
			sqlite3_limit(db->sqlite, SQLITE_LIMIT_LENGTH, -1) >> 20);
	return error_set(e, r, "%s (SQLite result %d)", sqlite3_errmsg(db->sqlite), rc);
}

int db_failed(const struct db *db)
{
	return db->failed;
}

bool db_was_ioerr(const struct db *db)
{
	return db->ioerr;
}

bool db_was_busy(const struct db *db)
{
	return db->busy;
}

int db_exec(struct db *db, const char *sql, struct error *e)
{
	db_spend(db, db->statement_ms);
	return db_result(db, sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL), e);
}
