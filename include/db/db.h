/*
 * The only opener of SQLite. One `struct db` is one connection; it belongs to whichever job has
 * the board, one thread at a time, and never to the loop thread. SQLite result codes stay below
 * this header: callers see 0, -errno, or one of the outcomes here, always from one classifier
 * that works on extended result codes.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct sqlite3;
struct sqlite3_stmt;
struct db;

/* Positive outcomes, in rising order of gravity. */
enum db_outcome {
	DB_ROW = 1,    /* db_step(): a row is there */
	DB_CONFLICT,   /* a compare-and-swap found the row changed by somebody else */
	DB_TRANSIENT,  /* BUSY, LOCKED, INTERRUPT, NOMEM, FULL, CANTOPEN, PROTOCOL, SCHEMA,
			* IOERR:  back off, copy nothing */
	DB_OVERRUN,    /* it took longer than it may: the board is left alone for a while */
	DB_MISSING,    /* no file, or a zero-length one: a fresh board, nothing to dispatch */
	DB_SCHEMA_BAD, /* a table or column that must be there is not */
	DB_LOST,       /* sound, but it went back in time (health.h) */
	DB_CORRUPT,    /* CORRUPT*, NOTADB, or integrity_check said something but ok */
};

/* Columns and tables that not every board has (CONTRACT §4, §4.2); read once per open. */
enum db_feature {
	DB_HAS_RUN_STARTED = 1 << 0,  /* task_runs.worker_started_at */
	DB_HAS_TASK_STARTED = 1 << 1, /* tasks.worker_started_at */
	DB_HAS_SCHEDULED_AT = 1 << 2, /* tasks.scheduled_at */
	DB_HAS_SUBS = 1 << 3,         /* kanban_notify_subs */
	DB_HAS_MAX_RETRIES = 1 << 4,  /* tasks.max_retries */
};

/* How long a board may take; waiting for the locks of others does not count. */
#define DB_STATEMENT_MS 30000  /* one statement */
#define DB_CHECK_MS     300000 /* a check of the whole board */

struct db_options {
	const char *path;    /* resolved path of the database; borrowed for the call */
	int busy_timeout_ms; /* CONTRACT §3; 0 is allowed */
	int tries;      /* of BEGIN and COMMIT where it is busy; 0: as the contract has it */
	bool create;    /* make the file if missing; kanbanctl init only */
	bool integrity; /* run integrity_check before use: first open, after corruption */
	bool *ioerr;    /* out: it failed because of an I/O error; or NULL */
	bool *busy;     /* out: it failed because another process has its lock; or NULL */
	bool immutable; /* a file that never changes: no locks, no sidecars, nothing written */
	int statement_ms;          /* for one statement; 0 = DB_STATEMENT_MS */
	const atomic_bool *cancel; /* or NULL: true ends long statements and busy waits */
};

/**
 * db_library_init() - SQLite's process-wide settings, once, before the first connection
 * No lookaside memory (120 KiB a connection) and no memory statistics (a lock per allocation):
 * with 200 boards both matter. Without effect when SQLite is in use already.
 */
void db_library_init(void);

/**
 * db_open() - open a board
 * @out: out; owned by the caller, db_free() closes it
 * @e:   filled on any result but 0
 * Whether the board's health record speaks against it is not asked: door_open() does. What is
 * opened and found damaged is closed as it was: no checkpoint of its WAL.
 * Looks at all its files and the header first (db_probe.h), trusts nothing in its schema
 * (db_guard.h, db_open.c), sets the pragmas of CONTRACT §3 without ever setting journal_mode,
 * reads the features, and checks that tasks, task_runs, task_events and the columns the
 * dispatcher writes are there. Thread: any.  Blocks: yes. Return: 0; DB_MISSING; DB_SCHEMA_BAD;
 * DB_CORRUPT; DB_TRANSIENT; -errno.
 */
MUST_CHECK int db_open(struct db **out, const struct db_options *opt, struct error *e);

/** db_free() - finalize every statement and close; takes NULL, returns NULL */
struct db *db_free(struct db *db);
DEFINE_FREEP(struct db, db_free)

/**
 * db_leave_wal() - whether closing leaves the -wal and -shm of a WAL board as they are
 * SQLite's last connection checkpoints and removes them, which looks like a change to whoever
 * compares file stamps, and would be made again at the next visit. On from db_open() of a
 * dispatcher until the last close.
 */
void db_leave_wal(struct db *db, bool leave);

/** db_features() - bits of enum db_feature */
unsigned db_features(const struct db *db);

/** db_handle() - the connection, for code inside src/board only */
struct sqlite3 *db_handle(struct db *db);

/** db_failed() - SQLite's result code of the last call that failed, for code inside src/board
 */
int db_failed(const struct db *db);

/** db_is_wal() - is the database in WAL mode on disk */
bool db_is_wal(const struct db *db);

/** db_has_column() - does @table (one of CONTRACT §4) have @column */
bool db_has_column(const struct db *db, const char *table, const char *column);

/**
 * db_prepare() - the statement for @sql, compiled once per connection and cached by address
 * @sql: static text. Two forms are expanded so that one text serves every release's columns:
 *       `{tasks.col}`      → the column, or NULL where the board lacks it
 *       `{tasks.col@t}`    → the same with an alias: t.col
 *       `{tasks.col?text}` → text where the column is there, nothing where it is not
 *       and {failures}, {failure_error} → the two columns renamed since the first release
 *       (unqualified; write `t.{failures}` with an alias).
 * @stmt: out, borrowed from @db, reset and with cleared bindings
 * Return: 0, or as db_open().
 */
MUST_CHECK int db_prepare(struct db *db, const char *sql, struct sqlite3_stmt **stmt,
			  struct error *e);

/**
 * db_step() - sqlite3_step() through the classifier; resets the statement unless DB_ROW
 * Return: DB_ROW; 0 when done; else as db_open().
 */
MUST_CHECK int db_step(struct db *db, struct sqlite3_stmt *stmt, struct error *e);

/**
 * db_run() - prepare, bind and step a statement that returns no row
 * @types: one letter per bound parameter (further ones than the expanded text has are ignored):
 * 'i' int64_t, 't' const char * (NULL binds NULL), 'n' binds NULL and takes no argument. Text
 * is bound SQLITE_STATIC: it must live until the call returns. Return: 0, or as db_step();
 * db_changes() tells how many rows changed.
 */
MUST_CHECK int db_run(struct db *db, struct error *e, const char *sql, const char *types, ...);

/** db_query() - as db_run() for a statement that returns rows: prepared and bound, not stepped
 */
MUST_CHECK int db_query(struct db *db, struct error *e, struct sqlite3_stmt **stmt,
			const char *sql, const char *types, ...);

/** db_one_int() - first column of the first row as an integer; @none where there is no row */
MUST_CHECK int db_one_int(struct db *db, struct error *e, int64_t *value, int64_t none,
			  const char *sql, const char *types, ...);

/** db_row_ints() - the first @n columns of the first row as integers; all 0 where there is no
 * row */
MUST_CHECK int db_row_ints(struct db *db, struct error *e, int64_t *values, int n,
			   const char *sql, const char *types, ...);

/** db_changes() - rows changed by the last statement */
int db_changes(struct db *db);

/** db_last_id() - rowid of the last insert */
int64_t db_last_id(struct db *db);

/**
 * db_begin() - BEGIN IMMEDIATE, with the retries of CONTRACT §5
 * Return: 0; DB_TRANSIENT when the writer lock was not to be had; else as db_step().
 */
MUST_CHECK int db_begin(struct db *db, struct error *e);

/**
 * db_commit() - COMMIT with the retries of CONTRACT §5; on failure the transaction is gone
 * Return: 0, or as db_step().
 */
MUST_CHECK int db_commit(struct db *db, struct error *e);

/**
 * db_rollback() - ROLLBACK if a transaction is still open (sqlite3_get_autocommit); after an
 * error SQLite may already have rolled back. Never fails in a way that needs handling.
 */
void db_rollback(struct db *db);

/**
 * db_data_version() - PRAGMA data_version: changes when another connection committed
 */
MUST_CHECK int db_data_version(struct db *db, int64_t *version, struct error *e);

/**
 * db_checkpoint() - TRUNCATE checkpoint of a WAL board; nothing to do for others
 * Call it under `<db>.dispatch.lock`. It waits for the writer lock at most the busy timeout and
 * then writes nothing: SQLite would otherwise carry on with a passive checkpoint, which on a
 * library with the WAL-reset bug (https://sqlite.org/wal.html#walresetbug) can corrupt the
 * file. Return: 0; DB_TRANSIENT when writer or readers were in the way; else as db_step().
 */
MUST_CHECK int db_checkpoint(struct db *db, struct error *e);

/** db_integrity_check() - PRAGMA integrity_check; as db_quick_check() */
MUST_CHECK int db_integrity_check(struct db *db, struct error *e);

/** db_quick_check() - PRAGMA quick_check. Return: 0; DB_CORRUPT (@e: what it says); as
 * db_step() */
MUST_CHECK int db_quick_check(struct db *db, struct error *e);

/** db_is_torn() - its -shm was cut while it was in use: close it, and open it anew */
bool db_is_torn(const struct db *db);

/** db_was_ioerr() - was the last failure of this connection an I/O error */
bool db_was_ioerr(const struct db *db);

/** db_was_busy() - was it that another process has the lock */
bool db_was_busy(const struct db *db);

/**
 * db_writing() - is another connection in the middle of a write transaction
 * Of a WAL database only, else false. Takes the writer lock for an instant, waits for nothing.
 */
bool db_writing(struct db *db);

/** db_drop_cache() - give the memory of pages that were read back */
void db_drop_cache(struct db *db);

/** db_trim() - finalize cached statements and give page-cache memory back */
void db_trim(struct db *db);

/** db_wal_reset_bug() - does the SQLite that is loaded have the WAL-reset bug (CONTRACT §3) */
bool db_wal_reset_bug(void);

/** db_wal_reset_bug_in() - does version @v (3040001 is 3.40.1) have it */
bool db_wal_reset_bug_in(int v);

/* What a board's journal mode is to be. */
enum db_mode {
	DB_MODE_KEEP,     /* whatever it is */
	DB_MODE_WAL,      /* write-ahead log */
	DB_MODE_TRUNCATE, /* rollback journal; our own connections truncate it at a commit */
	DB_MODE_DELETE,   /* rollback journal */
};

/**
 * db_mode_change() - put the database into WAL mode, or out of it
 * Under `<db>.dispatch.lock` and `<db>.init.lock`; this process has no connection to the file.
 * Nothing is changed while another process has it open.
 * Return: 0 it is in that mode now; DB_TRANSIENT somebody has it open, or that cannot be told;
 * else as db_open().
 */
MUST_CHECK int db_mode_change(const char *path, bool wal, int busy_timeout_ms, struct error *e);

/** db_mode_truncate() - a setting of this connection alone; nothing for a WAL board. As
 * db_step()
 */
MUST_CHECK int db_mode_truncate(struct db *db, struct error *e);

/** db_library_version() - of the SQLite that is loaded, "3.51.3" */
const char *db_library_version(void);
