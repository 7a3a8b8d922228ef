/* The connection itself: what the files of db share. */
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdint.h>

#include "db/db.h"
#include "db/db_vfs.h"

#define DB_STATEMENT_MAX 96
#define DB_BEGIN_TRIES   5 /* of BEGIN and COMMIT, unless the caller says otherwise */

struct db_statement {
	const char *sql;
	sqlite3_stmt *stmt;
};

struct db {
	sqlite3 *sqlite;
	uint64_t columns;        /* bits of db_columns */
	struct db_budget budget; /* of the statement that runs */
	int statement_ms;        /* for one statement */
	uint64_t busy_until_ms;  /* end of the current busy wait */
	int busy_timeout_ms;     /* per wait */
	bool wal;                /* WAL on disk when opened */
	bool busy_interrupt;     /* giving up a busy wait interrupts */
	bool ioerr;              /* the last failure was an I/O error */
	int failed;              /* SQLite's result code of the last failure */
	int tries;               /* of BEGIN and COMMIT */
	bool busy;               /* the last failure was another's lock */
	struct db_statement statements[DB_STATEMENT_MAX]; /* cache by address of the text */
	size_t n_statements;
};

/**
 * db_result() - forward a result of SQLite through the classifier
 * Return: 0, DB_ROW, or what db_open() returns; SQLite's sentence is then in @e.
 */
MUST_CHECK int db_result(struct db *db, int rc, struct error *e);

/** db_exec() - run @sql, which returns nothing that is wanted */
MUST_CHECK int db_exec(struct db *db, const char *sql, struct error *e);

/** db_learn() - which columns are there; DB_SCHEMA_BAD where one that must be is not */
MUST_CHECK int db_learn(struct db *db, struct error *e);

/** db_overrun() - say that it was too long: DB_OVERRUN */
int db_overrun(struct db *db, struct error *e);

/** db_spend() - @ms from now on for what is done next */
void db_spend(struct db *db, int ms);

/* A -shm that is mapped (db_shm.c). */
struct db_shm {
	struct db_shm *next;    /* in the table; never freed */
	_Atomic uintptr_t from; /* 0: not in use */
	_Atomic size_t size;
	atomic_bool torn;
};

/** db_shm_add() - from now on a SIGBUS in there tears it. NULL: no memory. */
struct db_shm *db_shm_add(volatile void *from, size_t size);

/** db_shm_drop() - it is about to be unmapped */
void db_shm_drop(struct db_shm *shm);

/** db_shm_torn() - was it cut while it was in use */
bool db_shm_torn(struct db_shm *shm);
