/*
 * Filling gaps from the newest good snapshot. Only where the damaged file's own pages are gone:
 * a row that is in the snapshot and not in an intact page was deleted on purpose and stays
 * deleted.
 *
 * A row from the snapshot may be older than the one that was lost. Where newer events speak of
 * its task, it is: then the loss is not made good, and it goes on counting as lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/db_open.h"
#include "recovery.h"
#include "util/fs.h"

/* clang-format off */
/* Tables that may be filled, and how it is seen that a filled row is out of date: how many of the
 * rows put in (temp.filled) have events that are newer than the snapshot. */
static const struct fill_table {
	const char *name;
	const char *insert; /* ?1 < rowid <= ?2 */
	const char *stale;
} fill_tables[] = {
#define FILL(table, stale)                                                                        \
	{ table,                                                                               \
	  "INSERT OR IGNORE INTO temp.filled SELECT rowid FROM snap." table                    \
	  " WHERE rowid > ?1 AND rowid <= ?2 AND rowid NOT IN (SELECT rowid FROM main." table  \
	  ")", stale }
	FILL("tasks",
	     "SELECT count(*) FROM temp.filled f CROSS JOIN main.tasks t ON t.rowid = f.id WHERE"
	     " EXISTS (SELECT 1 FROM main.task_events e WHERE e.task_id = t.id AND e.id >"
	     " (SELECT coalesce(max(id), 0) FROM snap.task_events))"),
	FILL("task_runs",
	     "SELECT count(*) FROM temp.filled f CROSS JOIN main.task_runs r ON r.id = f.id WHERE"
	     " EXISTS (SELECT 1 FROM main.task_events e WHERE e.run_id = r.id AND e.id >"
	     " (SELECT coalesce(max(id), 0) FROM snap.task_events))"),
	FILL("task_links", NULL),
	FILL("task_events", NULL),
	FILL("task_comments", NULL),
	FILL("task_attachments", NULL),
	FILL("kanban_notify_subs", NULL),
};
/* clang-format on */

static int fill_int(sqlite3 *db, const char *sql, int64_t *value)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	if (rc == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		*value = sqlite3_column_int64(s, 0);
	else if (rc == SQLITE_OK)
		rc = sqlite3_errcode(db);
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int fill_exec2(sqlite3 *db, const char *sql, int64_t a, int64_t b)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 1, a);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 2, b);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Columns that both have, for INSERT … SELECT; names are quoted, for they come from a file. */
static char *fill_columns(sqlite3 *db, const char *table)
{
	sqlite3_stmt *s = NULL;
	char *list = sqlite3_mprintf("rowid");
	int rc;

	rc = sqlite3_prepare_v2(db,
				"SELECT name FROM pragma_table_info(?1, 'main') WHERE name IN"
				" (SELECT name FROM pragma_table_info(?1, 'snap'))",
				-1, &s, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(s, 1, table, -1, SQLITE_STATIC);
	while (rc == SQLITE_OK && list && sqlite3_step(s) == SQLITE_ROW) {
		char *more = sqlite3_mprintf("%z, \"%w\"", list,
					     (const char *)sqlite3_column_text(s, 0));

		list = more;
	}
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return list;
}

static int fill_insert(sqlite3 *db, const char *table)
{
	char *columns = fill_columns(db, table), *sql;
	int rc;

	sql = columns ? sqlite3_mprintf(
				"INSERT OR IGNORE INTO main.\"%w\" (%s) SELECT %s FROM"
				" snap.\"%w\" WHERE rowid IN (SELECT id FROM temp.filled)",
				table, columns, columns, table)
		      : NULL;
	rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
	sqlite3_free(sql);
	sqlite3_free(columns);
	return rc;
}

/* Fill one table; @filled: rows put in that are not out of date. */
static int fill_one(sqlite3 *db, const struct fill_table *ft, const struct salvage_report *sr,
		    size_t table, bool events_clean, int64_t *filled)
{
	int64_t put = 0, stale = 0;
	int rc = sqlite3_exec(db, "DELETE FROM temp.filled", NULL, NULL, NULL);

	for (size_t i = 0; rc == SQLITE_OK && i < sr->ndamage; i++)
		if (sr->damage[i].table == table)
			rc = fill_exec2(db, ft->insert, sr->damage[i].after,
					sr->damage[i].upto);
	if (rc == SQLITE_OK)
		rc = fill_insert(db, ft->name);
	if (rc == SQLITE_OK)
		put = sqlite3_changes(db);
	if (rc == SQLITE_OK && ft->stale && put > 0) {
		rc = fill_int(db, ft->stale, &stale);
		if (!events_clean) /* newer events may be lost as well */
			stale = put;
	}
	*filled = put - stale;
	return rc;
}

/* Rows lost of a table; -1: cannot be told. */
static int64_t fill_lost(const struct salvage_table *t, int64_t filled)
{
	if (t->clean && t->suspect == 0 && t->conflicts == 0)
		return 0;
	if (t->suspect > 0 || !t->lost_exact)
		return -1;
	return (int64_t)t->lost > filled ? (int64_t)t->lost - filled : 0;
}

static void fill_report(const struct salvage_table *t, int64_t filled,
			struct repair_report *rep)
{
	struct repair_table *out = &rep->tables[REPAIR_TABLES - 1];
	int64_t lost = fill_lost(t, filled);
	const char *name = "others";

	if (rep->n_tables < REPAIR_TABLES - 1) {
		out = &rep->tables[rep->n_tables];
		name = t->name;
	}
	if (rep->n_tables < REPAIR_TABLES)
		rep->n_tables++;
	(void)snprintf(out->name, sizeof(out->name), "%.60s", name);
	out->saved += (int64_t)salvage_table_rows(t) + filled;
	out->filled += filled;
	out->lost = lost < 0 || out->lost < 0 ? -1 : out->lost + lost;
}

static int fill_attach(sqlite3 *db, const char *snapshot)
{
	CLEANUP(freep) char *uri = db_open_attach(snapshot);
	sqlite3_stmt *s = NULL;
	int rc = uri ? sqlite3_prepare_v2(db, "ATTACH ?1 AS snap", -1, &s, NULL) : SQLITE_NOMEM;

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(s, 1, uri, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	if (rc != SQLITE_DONE)
		return rc;
	return sqlite3_exec(db, "CREATE TEMP TABLE filled (id INTEGER PRIMARY KEY)", NULL, NULL,
			    NULL);
}

/* Settings that stand in the header alone: where that is lost the snapshot knows them. */
static int fill_header(sqlite3 *db)
{
	/* and what it is then taken for; page 2 tells that there is auto_vacuum, not which */
	static const struct {
		const char *name;
		int64_t unknown;
	} pragmas[] = { { "user_version", 0 }, { "application_id", 0 }, { "auto_vacuum", 1 } };
	int rc = SQLITE_OK;

	for (size_t i = 0; rc == SQLITE_OK && i < sizeof(pragmas) / sizeof(pragmas[0]); i++) {
		int64_t ours = 0, theirs = 0;
		char sql[64];

		(void)snprintf(sql, sizeof(sql), "PRAGMA main.%s", pragmas[i].name);
		rc = fill_int(db, sql, &ours);
		(void)snprintf(sql, sizeof(sql), "PRAGMA snap.%s", pragmas[i].name);
		if (rc == SQLITE_OK)
			rc = fill_int(db, sql, &theirs);
		if (rc != SQLITE_OK || ours != pragmas[i].unknown || theirs == 0)
			continue;
		(void)snprintf(sql, sizeof(sql), "PRAGMA main.%s=%" PRId64, pragmas[i].name,
			       theirs);
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	}
	return rc;
}

static const struct fill_table *fill_find(const char *name)
{
	for (size_t i = 0; i < sizeof(fill_tables) / sizeof(fill_tables[0]); i++)
		if (strcmp(fill_tables[i].name, name) == 0)
			return &fill_tables[i];
	return NULL;
}

int repair_fill(const char *out, const char *snapshot, const struct salvage_report *sr,
		struct repair_report *report, struct error *e)
{
	const struct salvage_table *events = salvage_report_table(sr, "task_events");
	sqlite3 *db = NULL;
	bool attached = false;
	int rc;

	rc = db_open_plain(&db, out, DB_OPEN_WRITE);
	if (rc == SQLITE_OK && snapshot && *snapshot)
		attached = fill_attach(db, snapshot) ==
			   SQLITE_OK; /* else it is as if there was none */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	if (rc == SQLITE_OK && attached && sr->header_lost)
		rc = fill_header(db);
	/* the board's own first, for there is room for so many */
	for (size_t k = 0; rc == SQLITE_OK && k < 2 * sr->ntables; k++) {
		size_t i = k < sr->ntables ? k : k - sr->ntables;
		const struct salvage_table *t = &sr->tables[i];
		const struct fill_table *ft = fill_find(t->name);
		int64_t filled = 0;

		if ((ft != NULL) != (k < sr->ntables))
			continue;
		if (attached && ft && !t->clean)
			rc = fill_one(db, ft, sr, i, events && events->clean, &filled);
		fill_report(t, filled, report);
	}
	report->objects_lost = sr->objects_lost;
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		rc = recovery_sqlite(db, rc, "cannot fill the gaps from the snapshot", e);
	db_open_close(&db);
	return rc;
}
