/* Inside of src/board/repair*.c. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "recovery/repair.h"
#include "salvage/salvage.h"

#define REPAIR_WAIT_MS 5000 /* for the locks of others */

/** repair_sqlite() - a result of SQLite as outcome or -errno, its sentence in @e */
int repair_sqlite(sqlite3 *db, int rc, const char *what, struct error *e);

/**
 * repair_reindex() - make the indexes anew if nothing but indexes is damaged
 * One exclusive transaction: check, REINDEX, check, commit.
 * @found: out: what is damaged; unless it is REINDEX_INDEXES nothing was written
 * Return: 0; REPAIR_BUSY; -errno (also when REINDEX failed: the rebuild is next).
 */
enum reindex_verdict { REINDEX_OK, REINDEX_INDEXES, REINDEX_OTHER };
MUST_CHECK int repair_reindex(const char *db_path, bool dry_run, enum reindex_verdict *found,
			      struct error *e);

/* What to do when others have written to a board since its bytes were kept: once. */
struct repair_again {
	const char *evidence; /* the bytes that are there, once run() has said 0 */
	/*
	 * run() - with the board locked, keep its bytes anew, and make the source of them
	 * @fd: of the board, for evidence_keep_locked(); stays open
	 * No other descriptor of the board or its -shm may be closed: the lock would be gone.
	 * Return: 0; else nothing is written, and it is the result.
	 */
	int (*run)(void *arg, int fd, struct error *e);
	void *arg;
};

/** repair_write_again() - as repair_write_back(), but @again (may be NULL) is asked first where
 * @live has other bytes than @evidence */
MUST_CHECK int repair_write_again(const char *live, const char *source, const char *evidence,
				  const struct repair_again *again, struct error *e);

/**
 * repair_fill() - put rows into the rebuilt database that only the snapshot has, where the
 * original's pages are damaged; fills report->tables
 * @out: path of the rebuilt database
 */
MUST_CHECK int repair_fill(const char *out, const char *snapshot,
			   const struct salvage_report *salvage, struct repair_report *report,
			   struct error *e);
