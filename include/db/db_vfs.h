/*
 * SQLite's way to the file system, with a guard before it. Every connection of db_open.c goes
 * through it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct sqlite3;

/* What a connection may still take. Shared with the statements' own bookkeeping, by one thread.
 */
struct db_budget {
	const atomic_bool *cancel; /* or NULL: true ends it */
	uint64_t until_ms;         /* clock_mono_ms() at which it ends; 0 = never */
	bool overrun;              /* out: it ended because of that */
};

/** db_budget_spent() - is it over; @b may be NULL */
bool db_budget_spent(struct db_budget *b);

/** db_vfs_name() - the name to open with; registers it at the first call. NULL: no memory. */
const char *db_vfs_name(void);

/** db_vfs_budget() - reads of the database and its WAL fail once @b is spent; it outlives @db
 */
void db_vfs_budget(struct sqlite3 *db, struct db_budget *b);

/** db_vfs_torn() - was the -shm of the database cut while it was in use? Then the connection
 * answers everything with an I/O error, and only closing it helps. */
bool db_vfs_torn(struct sqlite3 *db);
