/*
 * Transactions and checkpoints of one connection. After an error SQLite may have rolled back by
 * itself; db_rollback() asks sqlite3_get_autocommit() first
 * (https://sqlite.org/c3ref/get_autocommit.html).
 */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "db.h"

static void db_jitter(void)
{
	unsigned char b = 0;
	struct timespec ts;

	if (getrandom(&b, 1, GRND_NONBLOCK) != 1)
		b = 128; /* the wait is then only less random */
	ts = (struct timespec){ .tv_nsec = (20 + (long)b * 130 / 255) * 1000000 };
	(void)nanosleep(&ts, NULL);
}

static bool db_busy_code(const struct db *db, int rc)
{
	return (rc & 0xFF) == SQLITE_BUSY &&
	       !(db->budget.cancel && atomic_load(db->budget.cancel));
}

int db_begin(struct db *db, struct error *e)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < db->tries; i++) {
		if (i > 0)
			db_jitter();
		db_spend(db, db->statement_ms);
		rc = sqlite3_exec(db->sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL);
		if (!db_busy_code(db, rc))
			break;
	}
	return db_result(db, rc, e);
}

int db_commit(struct db *db, struct error *e)
{
	int rc = SQLITE_OK, r;

	for (int i = 0; i < db->tries; i++) {
		if (i > 0)
			db_jitter();
		db_spend(db, db->statement_ms);
		rc = sqlite3_exec(db->sqlite, "COMMIT", NULL, NULL, NULL);
		if (!db_busy_code(db, rc))
			break;
	}
	r = db_result(db, rc, e);
	if (r != 0)
		db_rollback(db);
	return r;
}

void db_rollback(struct db *db)
{
	if (db->sqlite && !sqlite3_get_autocommit(db->sqlite))
		(void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
}

int db_data_version(struct db *db, int64_t *version, struct error *e)
{
	return db_one_int(db, e, version, 0, "PRAGMA data_version", "");
}

bool db_writing(struct db *db)
{
	int rc, timeout = db->busy_timeout_ms;
	bool interrupt = db->busy_interrupt;

	if (!db->wal || !sqlite3_get_autocommit(db->sqlite))
		return false;
	db->busy_timeout_ms = 0;
	db->busy_interrupt = false;
	db_spend(db, db->statement_ms);
	rc = sqlite3_exec(db->sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	db_rollback(db);
	db->busy_timeout_ms = timeout;
	db->busy_interrupt = interrupt;
	return (rc & 0xFF) == SQLITE_BUSY;
}

/* Another process may have changed it since the file was opened. */
static void db_wal_again(struct db *db)
{
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(db->sqlite, "PRAGMA journal_mode", -1, &stmt, NULL) ==
		    SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW) {
		const char *mode = (const char *)sqlite3_column_text(stmt, 0);

		if (mode)
			db->wal = strcmp(mode, "wal") == 0;
	}
	(void)sqlite3_finalize(stmt); /* as it was, then */
}

int db_checkpoint(struct db *db, struct error *e)
{
	int rc;

	db_wal_again(db);
	if (!db->wal)
		return 0;
	/*
	 * When the busy handler gives up on the writer lock SQLite goes on with a passive
	 * checkpoint (src: wal.c, sqlite3WalCheckpoint). The interrupt makes it stop before the
	 * first page is written.
	 */
	db->busy_interrupt = true;
	db_spend(db, DB_CHECK_MS);
	rc = sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
				       NULL);
	db->busy_interrupt = false;
	return db_result(db, rc, e);
}
