/*
 * Changing the journal mode of a board, which is done only when no other process has its file
 * open.
 *
 * Who has a file open? In WAL mode every open connection holds a lock, and SQLite itself
 * refuses to leave the mode while there is another one. In rollback mode an idle connection
 * holds nothing that SQLite could see; but the kernel grants a write lease on a file
 * (fcntl(2), F_SETLEASE) only to who has the only descriptor of it. It is given back at once:
 * whoever opens the board in the moment between finds either mode, and SQLite lets connections
 * follow a change.
 *
 * Failure modes: a file system without leases, or a file of another user, leaves the question
 * open; then nothing is changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "db.h"
#include "db/db_registry.h"
#include "util/fs.h"

/* This process has no connection to the file. */
static int db_mode_alone(const char *path, struct error *e)
{
	CLEANUP(db_registry_closep)
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return error_errno(e, -errno, "cannot open %s", path);
	/* who opens it meanwhile breaks the lease, which sends a signal: one that is ignored */
	if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
		if (errno == EAGAIN)
			return error_set(e, DB_TRANSIENT, "another process has its file open");
		return error_set(e, DB_TRANSIENT,
				 "it cannot be told whether another process has its file open: "
				 "%s",
				 strerror(errno));
	}
	(void)fcntl(fd, F_SETLEASE, F_UNLCK); /* closing does it, too */
	return 0;
}

static int db_mode_pragma(struct db *db, const char *mode, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	char pragma[48];
	int rc, r;

	(void)snprintf(pragma, sizeof(pragma), "PRAGMA journal_mode=%s", mode);
	rc = sqlite3_prepare_v2(db->sqlite, pragma, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	r = db_result(db, rc, e);
	if (r == DB_ROW) {
		const char *is = (const char *)sqlite3_column_text(stmt, 0);

		r = is && strcmp(is, mode) == 0
			    ? 0
			    : error_set(e, DB_TRANSIENT, "it stays %s", is ? is : "as it is");
	}
	/* it is committed after it has answered */
	rc = sqlite3_finalize(stmt);
	return r == 0 && rc != SQLITE_OK ? db_result(db, rc, e) : r;
}

int db_mode_change(const char *path, bool wal, int busy_timeout_ms, struct error *e)
{
	struct db_options opt = { .path = path, .busy_timeout_ms = busy_timeout_ms };
	CLEANUP(db_freep) struct db *db = NULL;
	int r = wal ? db_mode_alone(path, e) : 0;

	if (r == 0)
		r = db_open(&db, &opt, e);
	if (r != 0 || db->wal == wal)
		return r;
	r = db_mode_pragma(db, wal ? "wal" : "delete", e);
	if (r == DB_TRANSIENT && !wal && (db->failed & 0xFF) == SQLITE_BUSY)
		return error_set(e, r, "another process has its file open");
	return r;
}

int db_mode_truncate(struct db *db, struct error *e)
{
	return db->wal ? 0 : db_mode_pragma(db, "truncate", e);
}
