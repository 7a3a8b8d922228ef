/*
 * The lightest repair: where only indexes disagree with their tables they are made again, in
 * the board's own file.
 */
#include <errno.h>
#include <string.h>

#include "db/db_open.h"
#include "recovery.h"

#define REINDEX_MESSAGES 2000 /* more is no sign of indexes alone */

/* Does a line of integrity_check speak of an index and of nothing else? */
static bool reindex_is_index(const char *line)
{
	static const char *const parts[] = { "missing from index", "entries in index",
					     "entry in index", "differ from index" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strstr(line, parts[i]))
			return true;
	return false;
}

/* One row of integrity_check may hold several lines, the first of them a heading. */
static bool reindex_all_index(const char *text)
{
	while (*text) {
		const char *end = strchrnul(text, '\n');
		char line[512];
		size_t n = (size_t)(end - text);

		if (n >= sizeof(line))
			n = sizeof(line) - 1;
		memcpy(line, text, n);
		line[n] = '\0';
		if (strncmp(line, "***", 3) != 0 && !reindex_is_index(line))
			return false;
		text = *end ? end + 1 : end;
	}
	return true;
}

static enum reindex_verdict reindex_check(sqlite3 *db)
{
	enum reindex_verdict verdict = REINDEX_OTHER;
	sqlite3_stmt *s = NULL;
	int rc;

	rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(2000)", -1, &s, NULL);
	for (int n = 0; rc == SQLITE_OK; n++) {
		const char *text;

		if (sqlite3_step(s) != SQLITE_ROW)
			break;
		text = (const char *)sqlite3_column_text(s, 0);
		if (n == 0 && text && strcmp(text, "ok") == 0) {
			verdict = REINDEX_OK;
			break;
		}
		verdict = REINDEX_INDEXES;
		if (!text || !reindex_all_index(text) || n >= REINDEX_MESSAGES - 1) {
			verdict = REINDEX_OTHER;
			break;
		}
	}
	(void)sqlite3_finalize(s); /* repeats the error of the step */
	return verdict;
}

static int reindex_transaction(sqlite3 *db, bool dry_run, enum reindex_verdict *found,
			       struct error *e)
{
	int rc = sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);

	if (rc != SQLITE_OK && (rc & 0xFF) == SQLITE_BUSY)
		return recovery_sqlite(db, rc, "cannot lock the board", e);
	if (rc == SQLITE_OK)
		*found = reindex_check(db);
	if (*found != REINDEX_INDEXES || dry_run)
		return 0;
	rc = sqlite3_exec(db, "REINDEX", NULL, NULL, NULL);
	if (rc == SQLITE_OK && reindex_check(db) == REINDEX_OK)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	else if (rc == SQLITE_OK)
		rc = SQLITE_CORRUPT;
	if (rc == SQLITE_OK)
		return 0;
	*found = REINDEX_OTHER;
	return recovery_sqlite(db, rc, "REINDEX did not make the board whole", e);
}

int repair_reindex(const char *db_path, bool dry_run, enum reindex_verdict *found,
		   struct error *e)
{
	sqlite3 *db = NULL;
	int rc, r = 0;

	*found = REINDEX_OTHER;
	rc = db_open_plain(&db, db_path, DB_OPEN_WRITE);
	if (rc == SQLITE_OK) {
		(void)sqlite3_busy_timeout(db, REPAIR_WAIT_MS);
		/* a board that is not repaired is left as it was kept, with its WAL */
		(void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		(void)sqlite3_exec(db,
				   "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
				   "PRAGMA wal_autocheckpoint=0",
				   NULL, NULL, NULL); /* settings of the connection alone */
		r = reindex_transaction(db, dry_run, found, e);
	}
	/* closing rolls back what was not committed */
	db_open_close(&db);
	return r;
}
