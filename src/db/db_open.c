/*
 * The only place that opens a database. Nothing in it is trusted: it may come from anybody who
 * can write its folder (https://sqlite.org/security.html).
 */
#include "db/db_open.h"

#include <errno.h>
#include <sqlite3.h>

#include "db/db.h"
#include "db/db_probe.h"
#include "db/db_registry.h"
#include "db/db_vfs.h"
#include "util/fs.h"

/* Instructions between two looks at the clock, 3 us apart. Each may be a function over a value
 * as long as the limits below allow, which takes seconds. */
#define OPEN_OPS 100

char *db_open_attach(const char *path)
{
	/* what is special in a URI is escaped: SQLite decodes it, and '?' would end the path */
	return fs_uri(path, "?mode=ro&immutable=1");
}

static const struct {
	int id, value;
} open_limits[] = {
	{ SQLITE_LIMIT_LENGTH, 64 << 20 }, /* a value, a row; more has no use on a board */
	{ SQLITE_LIMIT_SQL_LENGTH, 1 << 20 },
	{ SQLITE_LIMIT_EXPR_DEPTH, 200 },
	{ SQLITE_LIMIT_COMPOUND_SELECT, 50 },
	{ SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50 }, /* times the length of the value */
	{ SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
	{ SQLITE_LIMIT_ATTACHED, 1 }, /* a snapshot, during a repair */
	{ SQLITE_LIMIT_WORKER_THREADS, 0 },
};

static const struct {
	int op, value;
} open_config[] = {
	{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
	{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
	{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
	{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
	{ SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
};

static void open_harden(sqlite3 *db)
{
	for (size_t i = 0; i < sizeof(open_limits) / sizeof(open_limits[0]); i++)
		(void)sqlite3_limit(db, open_limits[i].id, open_limits[i].value);
	/* fails only for what the library does not know; db_guard.c and the budget hold then */
	for (size_t i = 0; i < sizeof(open_config) / sizeof(open_config[0]); i++)
		(void)sqlite3_db_config(db, open_config[i].op, open_config[i].value, NULL);
}

/* What is not there may be made; what is there must be what SQLite may open. */
static int open_look(const char *path, enum db_open_how how)
{
	struct error e = ERROR_NULL;

	/* without locks of its own SQLite would close the file, and drop those of others */
	if (how == DB_OPEN_IMMUTABLE && db_registry_has(path))
		return SQLITE_BUSY;
	switch (db_probe_files(path, &e)) {
	case 0:
	case DB_MISSING:
		return SQLITE_OK; /* SQLite says what it thinks of that */
	case -ENOMEM:
		return SQLITE_NOMEM;
	case DB_CORRUPT:
		return SQLITE_CORRUPT;
	default:
		return SQLITE_CANTOPEN;
	}
}

int db_open_plain(sqlite3 **out, const char *path, enum db_open_how how)
{
	CLEANUP(freep) char *uri = how == DB_OPEN_IMMUTABLE ? db_open_attach(path) : NULL;
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI;
	const char *path_of_file = path;
	int rc;

	*out = NULL;
	switch (how) {
	case DB_OPEN_READ:
		flags = (flags & ~SQLITE_OPEN_URI) | SQLITE_OPEN_READONLY;
		break;
	case DB_OPEN_WRITE:
		flags = (flags & ~SQLITE_OPEN_URI) | SQLITE_OPEN_READWRITE;
		break;
	case DB_OPEN_CREATE:
		flags = (flags & ~SQLITE_OPEN_URI) | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
		break;
	case DB_OPEN_IMMUTABLE:
		if (!uri)
			return SQLITE_NOMEM;
		flags |= SQLITE_OPEN_READONLY;
		path = uri;
		break;
	case DB_OPEN_MEMORY:
		flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
		path = ":memory:";
		break;
	}
	if (how != DB_OPEN_MEMORY)
		rc = open_look(path_of_file, how);
	else
		rc = SQLITE_OK;
	if (rc == SQLITE_OK)
		rc = sqlite3_open_v2(path, out, flags,
				     how == DB_OPEN_MEMORY ? NULL : db_vfs_name());
	if (rc == SQLITE_OK)
		open_harden(*out);
	return rc;
}

static int open_progress(void *arg)
{
	return db_budget_spent(arg);
}

void db_open_budget(sqlite3 *db, struct db_budget *b)
{
	sqlite3_progress_handler(db, OPEN_OPS, open_progress, b);
	db_vfs_budget(db, b);
}

void db_open_close(sqlite3 **db)
{
	(void)sqlite3_close(*db); /* no statement is left, so it cannot be busy */
	*db = NULL;
}
