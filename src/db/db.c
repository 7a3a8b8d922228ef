/*
 * One connection to one board.
 *
 * Happy path: db_open() looks at the file, opens it, sets the pragmas, learns which columns are
 * there; the caller prepares statements by the address of their text and runs transactions;
 * db_free() closes.
 *
 * Failure modes: every result code of SQLite goes through the classifier in db_result.c.
 * Transactions are in db_transaction.c, statements in db_stmt.c, columns in db_columns.c.
 *
 * Locks: the file is looked at with open() only while this process has no connection to it,
 * because closing any descriptor drops the process's POSIX locks on it
 * (https://sqlite.org/howtocorrupt.html, 2.2).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db.h"

#include "db/db_guard.h"
#include "db/db_open.h"
#include "db/db_probe.h"
#include "util/clock.h"
#include "util/fs.h"

/*
 * Waits in growing steps of 0.1 to 50 ms, at most busy_timeout_ms, less when cancelled. Whoever
 * is about to let go, at the end of a commit that we were woken by, does so within the first of
 * them.
 */
static int db_busy(void *arg, int tries)
{
	struct db *db = arg;
	uint64_t now = clock_mono_ms();
	long step_us = tries < 4 ? 100L << tries : tries < 14 ? (tries - 3) * 1000L : 50000;
	struct timespec ts;

	if (tries == 0)
		db->busy_until_ms = now + (uint64_t)db->busy_timeout_ms;
	if (now >= db->busy_until_ms || (db->budget.cancel && atomic_load(db->budget.cancel))) {
		if (db->busy_interrupt)
			sqlite3_interrupt(db->sqlite);
		return 0;
	}
	ts = (struct timespec){ .tv_nsec = step_us * 1000 };
	(void)nanosleep(&ts, NULL); /* cut short by a signal: only an earlier try */
	if (db->budget.until_ms)    /* to wait is not to work */
		db->budget.until_ms += clock_mono_ms() - now;
	return 1;
}

/*
 * The pragmas of the board contract, §3. journal_mode is never set. On a library with the
 * WAL-reset bug our commits never checkpoint on their own; db_checkpoint() does it while it
 * holds the writer lock.
 */
static int db_pragmas(struct db *db, struct error *e)
{
	int r = db_exec(
		db,
		"PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON;"
		"PRAGMA cell_size_check=ON; PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY;"
		"PRAGMA mmap_size=0;",
		e);

	if (r != 0)
		return r;
	return db_exec(db,
		       db_wal_reset_bug() ? "PRAGMA wal_autocheckpoint=0"
					  : "PRAGMA wal_autocheckpoint=100",
		       e);
}

/* integrity_check tells of a page that could not be read as of any other fault. */
static bool db_check_unread(const char *text)
{
	static const char *const parts[] = { "unable to get the page. error code=",
					     "failed to get page " };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const char *at = strstr(text, parts[i]);

		if (at && i == 0) /* a number that is none of an I/O error is damage */
			return (strtol(at + strlen(parts[i]), NULL, 10) & 0xFF) == SQLITE_IOERR;
		if (at)
			return true;
	}
	return false;
}

static int db_check(struct db *db, const char *pragma, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc, r;

	db_spend(db, DB_CHECK_MS);
	rc = sqlite3_prepare_v2(db->sqlite, pragma, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	r = db_result(db, rc, e);
	if (r == DB_ROW && db->budget.overrun) /* it told of a page that it was not let read */
		r = db_overrun(db, e);
	if (r == DB_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		r = 0;
		if (text && strncmp(text, "***", 3) == 0 && strchr(text, '\n'))
			text = strchr(text, '\n') + 1; /* a heading that names no fault */
		if (text && db_check_unread(text)) {
			db->failed = SQLITE_IOERR;
			db->ioerr = true;
			r = error_set(e, DB_TRANSIENT, "a page cannot be read: %s", text);
		} else if (!text || strcmp(text, "ok") != 0) {
			r = error_set(e, DB_CORRUPT, "integrity_check: %s",
				      text ? text : "no answer");
		}
	}
	(void)sqlite3_finalize(stmt); /* repeats the error of the step */
	return r;
}

void db_library_init(void)
{
	/* refused when SQLite is in use already, as in a test that opened a board itself */
	(void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	/* no block of 20 pages for each connection, which it keeps until it is closed */
	(void)sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	(void)sqlite3_initialize();
}

/* SQLite opens what it does not know how to write (header, byte 18) to read it. */
static int db_writable(struct db *db, const char *path, struct error *e)
{
	if (sqlite3_db_readonly(db->sqlite, "main") != 1 ||
	    faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
		return 0;
	return error_set(e, DB_CORRUPT,
			 "its header is damaged: the format version for writing is none");
}

/*
 * SQLite gives the -wal and -shm that it makes the mode of the database. Of one that may only
 * be read they can never be written, by nobody, also when the database can be again: so none
 * are made then, and what somebody else made so gets the right of its database back.
 */
static int db_sidecars(const struct db_options *opt, struct error *e)
{
	CLEANUP(freep) char *shm = fs_path("%s-shm", opt->path);
	CLEANUP(freep) char *wal = fs_path("%s-wal", opt->path);
	const char *const sidecars[] = { shm, wal };
	struct stat st, side;

	if (!shm || !wal)
		return error_set(e, -ENOMEM, "out of memory");
	if (stat(opt->path, &st) < 0)
		return 0; /* the open tells */
	if (faccessat(AT_FDCWD, opt->path, W_OK, AT_EACCESS) < 0)
		return access(shm, F_OK) == 0
			       ? 0
			       : error_set(
					 e, -EROFS,
					 "the board cannot be written: its file or file system "
					 "is read-only for this user");
	for (size_t i = 0; i < 2; i++)
		if (lstat(sidecars[i], &side) == 0 && S_ISREG(side.st_mode) &&
		    side.st_uid == geteuid() && !(side.st_mode & S_IWUSR) &&
		    fchmodat(AT_FDCWD, sidecars[i], st.st_mode & 0666, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* the open tells */
	return 0;
}

int db_open(struct db **out, const struct db_options *opt, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_probe look = { 0 };
	int rc, r;

	if (opt->ioerr)
		*opt->ioerr = false;
	if (opt->busy)
		*opt->busy = false;
	r = db_probe(opt->path, &look, e);
	if (r == DB_MISSING && opt->create)
		r = 0;
	if (r == 0 && look.wal && !opt->create && !opt->immutable)
		r = db_sidecars(opt, e);
	if (r != 0)
		return r;
	db = calloc(1, sizeof(*db));
	if (!db)
		return error_set(e, -ENOMEM, "out of memory");
	db->wal = look.wal;
	db->budget.cancel = opt->cancel;
	db->statement_ms = opt->statement_ms > 0 ? opt->statement_ms : DB_STATEMENT_MS;
	db->busy_timeout_ms = opt->busy_timeout_ms;
	db->tries = opt->tries ? opt->tries : DB_BEGIN_TRIES;
	rc = db_open_plain(&db->sqlite, opt->path,
			   opt->create      ? DB_OPEN_CREATE
			   : opt->immutable ? DB_OPEN_IMMUTABLE
					    : DB_OPEN_WRITE);
	if (!db->sqlite)
		return error_set(e, -ENOMEM, "out of memory");
	if (rc != SQLITE_OK)
		return db_result(db, rc, e);
	db_leave_wal(db, true); /* not one byte is changed before it is known to be sound */
	(void)sqlite3_busy_handler(db->sqlite, db_busy, db);
	db_open_budget(db->sqlite, &db->budget);
	r = db_pragmas(db, e);
	if (r == 0 && !opt->create)
		r = db_guard_schema(db, e);
	if (r == 0 && !opt->create && !opt->immutable)
		r = db_writable(db, opt->path, e);
	if (r == 0 && opt->integrity)
		r = db_integrity_check(db, e);
	if (r == 0 && !opt->create)
		r = db_learn(db, e);
	if (opt->ioerr)
		*opt->ioerr = r == DB_TRANSIENT && db->ioerr;
	if (opt->busy)
		*opt->busy = r == DB_TRANSIENT && db->busy;
	/* with a WAL only SQLite can say whether the header counts; here it does */
	if (r == DB_CORRUPT && db->failed == SQLITE_NOTADB && look.header && look.hot &&
	    db_probe_header(look.head, sizeof(look.head)))
		return error_set(e, r, "%s", db_probe_header(look.head, sizeof(look.head)));
	if (r != 0)
		return r;
	db_leave_wal(db, false);
	*out = STEAL(db);
	return 0;
}

struct db *db_free(struct db *db)
{
	if (!db)
		return NULL;
	db_rollback(db);
	db_trim(db);
	db_open_close(&db->sqlite);
	free(db);
	return NULL;
}

int db_integrity_check(struct db *db, struct error *e)
{
	return db_check(db, "PRAGMA integrity_check(1)", e);
}

int db_quick_check(struct db *db, struct error *e)
{
	return db_check(db, "PRAGMA quick_check(1)", e);
}

void db_leave_wal(struct db *db, bool leave)
{
	int persist = leave;

	/* both only fail for a database that is not there */
	(void)sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
	(void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, (int)leave, NULL);
}

sqlite3 *db_handle(struct db *db)
{
	return db->sqlite;
}

bool db_is_wal(const struct db *db)
{
	return db->wal;
}

bool db_wal_reset_bug_in(int v)
{
	if (v < 3007000 || v >= 3051003)
		return false;
	return !(v >= 3050007 && v < 3051000) && !(v >= 3044006 && v < 3045000);
}

bool db_wal_reset_bug(void)
{
	return db_wal_reset_bug_in(sqlite3_libversion_number());
}

const char *db_library_version(void)
{
	return sqlite3_libversion();
}
