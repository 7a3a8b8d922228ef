/*
 * Writing a sound database back into the file of a damaged one.
 *
 * Everything is one transaction of SQLite: the backup API replaces all pages under an exclusive
 * lock with the old ones in the rollback journal (or the new ones in the WAL), so a kill at any
 * instant leaves the old content or the new one. The inode stays, and other processes'
 * connections read and write the new content from then on.
 *
 * Where page 1 cannot be read the backup is refused; SQLITE_DBCONFIG_RESET_DATABASE makes
 * SQLite take the file for an empty database
 * (https://sqlite.org/c3ref/c_dbconfig_defensive.html). It is set for the backup itself, not
 * for a VACUUM before it: that would be a transaction of its own, and a kill between the two
 * would leave an empty board. Tried on 3.40.1.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "board/repair_parts.h"
#include "util/clock.h"
#include "util/fs.h"

#define WRITE_STEP_WAIT_MS 20

int repair_sqlite(sqlite3 *db, int rc, const char *what, struct error *e)
{
	const char *why = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

	switch (rc & 0xFF) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return error_set(e, REPAIR_BUSY, "%s: another process holds the board", what);
	case SQLITE_NOMEM:
		return error_set(e, -ENOMEM, "%s: out of memory", what);
	case SQLITE_FULL:
		return error_set(e, -ENOSPC, "%s: disk full", what);
	case SQLITE_READONLY:
		return error_set(e, -EROFS, "%s: the file cannot be written", what);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return error_set(e, -EBADMSG, "%s: %s", what, why);
	default:
		return error_set(e, -EIO, "%s: %s (SQLite result %d)", what, why, rc);
	}
}

/* All pages in one step: one transaction. Waits for the locks of others. */
static int write_backup(sqlite3 *live, sqlite3 *source)
{
	uint64_t until = clock_mono_ms() + REPAIR_WAIT_MS;
	sqlite3_backup *b = sqlite3_backup_init(live, "main", source, "main");
	int rc, end;

	if (!b)
		return sqlite3_extended_errcode(live);
	do {
		rc = sqlite3_backup_step(b, -1);
		if (rc != SQLITE_BUSY && rc != SQLITE_LOCKED)
			break;
		sqlite3_sleep(WRITE_STEP_WAIT_MS);
	} while (clock_mono_ms() < until);
	end = sqlite3_backup_finish(b);
	return rc == SQLITE_DONE ? end : rc;
}

static int write_reset_backup(sqlite3 *live, sqlite3 *source)
{
	int rc, on = 0;

	(void)sqlite3_db_config(live, SQLITE_DBCONFIG_RESET_DATABASE, 1, &on);
	rc = write_backup(live, source);
	(void)sqlite3_db_config(live, SQLITE_DBCONFIG_RESET_DATABASE, 0, &on);
	return rc;
}

/* What a database that cannot be read may have beside it is part of the damage: kept as
 * evidence, and in the way of a new one. */
static bool write_unreadable(int rc)
{
	return (rc & 0xFF) == SQLITE_NOTADB || (rc & 0xFF) == SQLITE_CORRUPT;
}

int repair_write_back(const char *live_path, const char *source_path, struct error *e)
{
	sqlite3 *live = NULL, *source = NULL;
	int rc, r = 0;

	rc = sqlite3_open_v2(source_path, &source, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
			     NULL);
	if (rc != SQLITE_OK)
		r = repair_sqlite(source, rc, "cannot open what was rebuilt", e);
	if (r == 0) {
		rc = sqlite3_open_v2(live_path, &live,
				     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					     SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
				     NULL);
		if (rc != SQLITE_OK)
			r = repair_sqlite(live, rc, "cannot open the board", e);
	}
	if (r == 0) {
		(void)sqlite3_busy_timeout(live, REPAIR_WAIT_MS);
		(void)sqlite3_exec(live, "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON",
				   NULL, NULL, NULL); /* needs no readable file */
		rc = write_backup(live, source);
		if (write_unreadable(rc))
			rc = write_reset_backup(live, source);
		if (rc != SQLITE_OK)
			r = repair_sqlite(live, rc, "cannot write the board back", e);
	}
	(void)sqlite3_close(live); /* no statement is left */
	(void)sqlite3_close(source);
	return r;
}
