/* Inside of src/board/repair*.c. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "board/repair.h"
#include "board/salvage.h"

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

/**
 * repair_fill() - put rows into the rebuilt database that only the snapshot has, where the
 * original's pages are damaged; fills report->tables
 * @out: path of the rebuilt database
 */
MUST_CHECK int repair_fill(const char *out, const char *snapshot,
			   const struct salvage_report *salvage, struct repair_report *report,
			   struct error *e);
