/*
 * The one classifier: every result code of SQLite, of every caller, comes through here, and
 * here alone it is decided whether to come back later (transient), to treat the board as
 * damaged (corrupt), or to say that it is not a board (schema). It works on extended result
 * codes; messages are for people.
 */
#include "db.h"

#include <errno.h>

/* The one classifier: extended result code to outcome. */
static int db_classify(int rc)
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

/* Forward a result of SQLite: outcome as return value, SQLite's sentence in @e. */
int db_result(struct db *db, int rc, struct error *e)
{
	int r = db_classify(rc);

	if (r == 0 || r == DB_ROW)
		return r;
	db->failed = rc;
	db->ioerr = (rc & 0xFF) == SQLITE_IOERR;
	if (rc == SQLITE_INTERRUPT && db->cancel && atomic_load(db->cancel))
		return error_set(e, r, "cancelled");
	if ((rc & 0xFF) == SQLITE_FULL)
		return error_set(e, r, "disk full: make room on the board's file system (%s)",
				 sqlite3_errmsg(db->sqlite));
	if ((rc & 0xFF) == SQLITE_READONLY)
		return error_set(e, r,
				 "the board cannot be written: its file or file system is "
				 "read-only for this user (SQLite result %d)",
				 rc);
	if ((rc & 0xFF) == SQLITE_BUSY)
		return error_set(
			e, r, "another process holds the board's lock (SQLite result %d)", rc);
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
