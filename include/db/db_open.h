/*
 * The only opener of SQLite. Whoever needs more than `struct db` gives (a backup, a rebuild)
 * gets a plain connection here.
 */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct db_budget;
struct sqlite3;

enum db_open_how {
	DB_OPEN_READ = 1 << 0,      /* only read */
	DB_OPEN_WRITE = 1 << 1,     /* read and write a file that is there */
	DB_OPEN_CREATE = 1 << 2,    /* … and make it if it is not */
	DB_OPEN_IMMUTABLE = 1 << 3, /* a file that never changes: no locks, no sidecars */
	DB_OPEN_MEMORY = 1 << 4,    /* a scratch database; @path is not used */
};

/**
 * db_open_plain() - open a connection
 * @out: out; also set where opening failed and there is something to ask why; db_open_close()
 * @how: one of enum db_open_how
 * Extended result codes, no mutex of its own.
 * Return: SQLITE_OK, or SQLite's result.
 */
MUST_CHECK int db_open_plain(struct sqlite3 **out, const char *path, enum db_open_how how);

/** db_open_budget() - end what runs on @db, and its reads, once @b is spent; @b outlives @db */
void db_open_budget(struct sqlite3 *db, struct db_budget *b);

/** db_open_attach() - what ATTACH takes for a file that never changes. malloc'd or NULL. */
MUST_CHECK char *db_open_attach(const char *path);

/** db_open_close() - close it; no statement is left. Takes NULL. */
void db_open_close(struct sqlite3 **db);
