/* The connection itself: between db.c, db_result.c, db_stmt.c and db_txn.c only. */
#pragma once

#include <sqlite3.h>

#include "db/db.h"

#define DB_STATEMENT_MAX 96

struct db_statement {
	const char *sql;
	sqlite3_stmt *stmt;
};

struct db {
	sqlite3 *sqlite;
	uint64_t columns;          /* bits of db_columns */
	const atomic_bool *cancel; /* or NULL */
	uint64_t busy_until_ms;    /* end of the current busy wait */
	int busy_timeout_ms;       /* per wait */
	bool wal;                  /* WAL on disk when opened */
	bool busy_interrupt;       /* giving up a busy wait interrupts */
	bool ioerr;                /* the last failure was an I/O error */
	int failed;                /* SQLite's result code of the last failure */
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
