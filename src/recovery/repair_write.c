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
 *
 * What is written back was made from the evidence, and time has passed since that was taken:
 * another process may have committed meanwhile, and its rows would be gone. So the lock comes
 * first (a backup step of no pages takes it and keeps it), then the file and its WAL are
 * compared with the evidence, through SQLite's own descriptors, and only then the pages are
 * written.
 *
 * Where they differ the caller may make the source anew while the lock is kept, once: else a
 * board that others write to all the time would never be found as it was kept. The source has
 * no transaction open between two steps of the backup, so the next one reads what it has then.
 * Until the lock is done with no descriptor of the board or its -shm may be closed, for that
 * would drop the lock (https://sqlite.org/howtocorrupt.html, 2.2).
 *
 * What was written is read back; a disk that wrote something else gets a second chance
 * while the source is still there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db_file.h"
#include "db/db_open.h"
#include "db/db_registry.h"
#include "recovery.h"
#include "recovery/evidence.h"
#include "util/clock.h"
#include "util/fs.h"

#define WRITE_STEP_WAIT_MS 20
#define WRITE_TRIES        2
#define WRITE_CHUNK        (1 << 18)

/* ---- is it still what was kept ------------------------------------------------------- */

/* What the live file must still be, once the lock is ours. */
struct write_expect {
	const char *wal;      /* path of its WAL */
	const char *evidence; /* these bytes; or NULL */
	bool ours;            /* as we left it: these stamps */
	struct fs_stamp db_stamp, wal_stamp;
	const struct repair_again *again; /* if it is not; or NULL */
	int fd;                           /* of the live file, for that */
	int stop;                         /* out: nothing was written, and why not */
	struct error *e;                  /* … in words */
};

/* Does @path hold what @file does. Return: SQLITE_OK; SQLITE_DONE: no; an error of SQLite's. */
static int write_compare_file(sqlite3_file *file, const char *path)
{
	CLEANUP(db_registry_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	CLEANUP(freep) char *buf = malloc(2 * WRITE_CHUNK);
	sqlite3_int64 size = 0;
	struct stat st = { 0 };
	int rc;

	if (!buf)
		return SQLITE_NOMEM;
	if ((fd < 0 ? errno != ENOENT : fstat(fd, &st) < 0) || !file || !file->pMethods)
		return SQLITE_IOERR;
	rc = file->pMethods->xFileSize(file, &size);
	if (rc == SQLITE_OK && size != st.st_size)
		rc = SQLITE_DONE;
	for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += WRITE_CHUNK) {
		int n = size - at < WRITE_CHUNK ? (int)(size - at) : WRITE_CHUNK;

		rc = file->pMethods->xRead(file, buf, n, at);
		if (rc == SQLITE_OK && (pread(fd, buf + WRITE_CHUNK, (size_t)n, at) != n ||
					memcmp(buf, buf + WRITE_CHUNK, (size_t)n) != 0))
			rc = SQLITE_DONE;
	}
	return rc;
}

/*
 * With the lock held: are file and WAL those that @evidence has. As write_compare_file(). The
 * file through SQLite, because closing another descriptor of it would drop our lock; nobody
 * locks a WAL.
 */
static int write_compare(sqlite3 *live, const struct write_expect *expect)
{
	CLEANUP(freep) char *theirs = NULL;
	sqlite3_file *file = NULL;
	int rc;

	if (expect->ours) {
		struct fs_stamp db = fs_stamp_of(sqlite3_db_filename(live, "main"));
		struct fs_stamp wal = fs_stamp_of(expect->wal);

		return fs_stamp_equal(&db, &expect->db_stamp) &&
				       fs_stamp_equal(&wal, &expect->wal_stamp)
			       ? SQLITE_OK
			       : SQLITE_DONE;
	}
	theirs = db_file_path(expect->evidence, DB_WAL);
	if (!theirs)
		return SQLITE_NOMEM;
	rc = sqlite3_file_control(live, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	if (rc == SQLITE_OK)
		rc = write_compare_file(file, expect->evidence);
	if (rc == SQLITE_OK)
		rc = evidence_same(expect->wal, theirs) == 1 ? SQLITE_OK : SQLITE_DONE;
	return rc;
}

/* Is what we have open and locked what everybody finds there? */
static bool write_is_there(sqlite3 *live, int fd)
{
	struct stat open, there;
	int moved = 1;

	return sqlite3_file_control(live, "main", SQLITE_FCNTL_HAS_MOVED, &moved) ==
		       SQLITE_OK &&
	       !moved && fd >= 0 && fstat(fd, &open) == 0 &&
	       stat(sqlite3_db_filename(live, "main"), &there) == 0 &&
	       open.st_ino == there.st_ino && open.st_dev == there.st_dev;
}

/* The board was written to meanwhile, and is locked now. As write_compare(), with the new
 * evidence. */
static int write_again(sqlite3 *live, struct write_expect *expect)
{
	const struct repair_again *again = expect->again;

	if (!again || !write_is_there(live, expect->fd))
		return SQLITE_DONE;
	expect->again = NULL;
	expect->stop = again->run(again->arg, expect->fd, expect->e);
	if (expect->stop != 0)
		return SQLITE_ABORT;
	expect->evidence = again->evidence;
	return write_compare(live, expect);
}

/* ---- writing ------------------------------------------------------------------------- */

/* One step, which waits for the locks of others. */
static int write_step(sqlite3_backup *b, int pages)
{
	uint64_t until = clock_mono_ms() + REPAIR_WAIT_MS;
	int rc;

	do {
		rc = sqlite3_backup_step(b, pages);
		if (rc != SQLITE_BUSY && rc != SQLITE_LOCKED)
			break;
		sqlite3_sleep(WRITE_STEP_WAIT_MS);
	} while (clock_mono_ms() < until);
	return rc;
}

/* The lock, and the right bytes under it. */
static int write_begin(sqlite3 *live, sqlite3_backup *b, struct write_expect *expect)
{
	int rc = write_step(b, 0);

	if (rc == SQLITE_OK)
		rc = write_compare(live, expect);
	if (rc == SQLITE_DONE)
		rc = write_again(live, expect);
	if (rc == SQLITE_DONE)
		expect->stop = error_set(
			expect->e, REPAIR_BUSY,
			"another process wrote to the board since its bytes were kept");
	return rc;
}

/*
 * All pages in one step: one transaction. Return: SQLITE_OK, also where expect->stop says that
 * nothing was written, or what SQLite says.
 */
static int write_backup(sqlite3 *live, sqlite3 *source, struct write_expect *expect)
{
	sqlite3_backup *b = sqlite3_backup_init(live, "main", source, "main");
	int rc = SQLITE_OK, end;

	if (!b)
		return sqlite3_extended_errcode(live);
	if (expect->evidence || expect->ours)
		rc = write_begin(live, b, expect);
	if (rc == SQLITE_OK)
		rc = write_step(b, -1);
	end = sqlite3_backup_finish(b); /* gives up what did not come to its end */
	if (expect->stop != 0)
		return SQLITE_OK;
	return rc == SQLITE_DONE ? end : rc;
}

static int write_reset_backup(sqlite3 *live, sqlite3 *source, struct write_expect *expect)
{
	int rc, on = 0;

	(void)sqlite3_db_config(live, SQLITE_DBCONFIG_RESET_DATABASE, 1, &on);
	rc = write_backup(live, source, expect);
	(void)sqlite3_db_config(live, SQLITE_DBCONFIG_RESET_DATABASE, 0, &on);
	return rc;
}

/* What a database that cannot be read may have beside it is part of the damage: kept as
 * evidence, and in the way of a new one. */
static bool write_unreadable(int rc)
{
	return (rc & 0xFF) == SQLITE_NOTADB || (rc & 0xFF) == SQLITE_CORRUPT;
}

/* Read back what was written: from the file, not from the cache. */
static bool write_reads_once(sqlite3 *live)
{
	sqlite3_stmt *s = NULL;
	bool ok;

	(void)sqlite3_db_release_memory(live);
	ok = sqlite3_prepare_v2(live, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
	     sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0) &&
	     strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return ok;
}

/* Twice, for the reading may be what fails. */
static bool write_reads_twice(sqlite3 *db)
{
	bool ok = write_reads_once(db);

	return ok ? ok : write_reads_once(db);
}

static void write_encoding(sqlite3 *db, char name[16])
{
	sqlite3_stmt *s = NULL;

	name[0] = '\0';
	if (sqlite3_prepare_v2(db, "PRAGMA encoding", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0))
		(void)snprintf(name, 16, "%s", (const char *)sqlite3_column_text(s, 0));
	(void)sqlite3_finalize(s); /* repeats the error of the step */
}

/* A connection keeps the encoding that it met at first: where that was wrong another one reads.
 */
static bool write_reads_back(sqlite3 *live, sqlite3 *source)
{
	sqlite3 *other = NULL;
	char was[16], is[16];
	bool ok = false;

	write_encoding(live, was);
	write_encoding(source, is);
	if (strcmp(was, is) == 0)
		return write_reads_twice(live);
	if (db_open_plain(&other, sqlite3_db_filename(live, "main"), DB_OPEN_WRITE) ==
	    SQLITE_OK)
		ok = write_reads_twice(other);
	db_open_close(&other);
	return ok;
}

static int write_once(sqlite3 *live, sqlite3 *source, struct write_expect *expect,
		      struct error *e)
{
	int rc = write_backup(live, source, expect);

	if (write_unreadable(rc))
		rc = write_reset_backup(live, source, expect);
	if (expect->stop != 0)
		return expect->stop;
	return rc == SQLITE_OK ? 0
			       : recovery_sqlite(live, rc, "cannot write the board back", e);
}

static int write_replace(sqlite3 *live, sqlite3 *source, struct write_expect expect,
			 struct error *e)
{
	const char *path = sqlite3_db_filename(live, "main");
	CLEANUP(freep) char *wal = db_file_path(path, DB_WAL);
	int r;

	if (!wal)
		return error_set(e, -ENOMEM, "out of memory");
	expect.wal = wal;
	expect.e = e;
	for (int i = 0; i < WRITE_TRIES; i++) {
		r = write_once(live, source, &expect, e);
		if (r != 0)
			return r;
		/* nobody else's commit may be between this and a second time */
		expect = (struct write_expect){ .wal = wal,
						.ours = true,
						.db_stamp = fs_stamp_of(path),
						.wal_stamp = fs_stamp_of(wal),
						.e = e };
		if (write_reads_back(live, source))
			return 0;
		(void)sqlite3_db_release_memory(source); /* it may have misread that */
	}
	return error_set(e, -EIO, "what was written to the board does not read back");
}

static int write_open(const char *live_path, const char *source_path, sqlite3 **live,
		      sqlite3 **source, struct error *e)
{
	int rc = db_open_plain(source, source_path, DB_OPEN_READ);

	if (rc != SQLITE_OK)
		return recovery_sqlite(*source, rc, "cannot open what was rebuilt", e);
	rc = db_open_plain(live, live_path, DB_OPEN_CREATE);
	if (rc != SQLITE_OK)
		return recovery_sqlite(*live, rc, "cannot open the board", e);
	(void)sqlite3_busy_timeout(*live, REPAIR_WAIT_MS);
	/* the WAL is part of what is kept and compared: no close of ours folds it in */
	(void)sqlite3_db_config(*live, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	(void)sqlite3_exec(*live,
			   "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
			   "PRAGMA wal_autocheckpoint=0",
			   NULL, NULL, NULL); /* needs no readable file */
	return 0;
}

int repair_write_again(const char *live_path, const char *source_path, const char *evidence,
		       const struct repair_again *again, struct error *e)
{
	struct write_expect expect = { .evidence = evidence, .again = again, .fd = -1 };
	sqlite3 *live = NULL, *source = NULL;
	int r = write_open(live_path, source_path, &live, &source, e);

	if (r == 0) {
		if (again)
			expect.fd = open(live_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		r = write_replace(live, source, expect, e);
	}
	db_open_close(&live);
	db_open_close(&source);
	db_registry_closep(&expect.fd); /* not before SQLite is done with the file */
	return r;
}

int repair_write_back(const char *live_path, const char *source_path, const char *evidence,
		      struct error *e)
{
	return repair_write_again(live_path, source_path, evidence, NULL, e);
}
