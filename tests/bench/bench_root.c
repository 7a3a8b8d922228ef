/* Roots and boards of the benchmark, and what SQLite alone takes on them. */
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "db/schema.h"

void bench_run(const char *fmt, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (system(command))
		bench_die("failed: %s", command);
}

void bench_root(const char *name, unsigned interval_s)
{
	bench_run("mkdir -p '%s/kanban/boards' '%s/profiles/jimmy' '%s'",
		  bench_path("%s", name), bench_path("%s", name), bench_path("home"));
	bench_run("printf 'kanban:\\n  dispatch_interval_seconds: %u\\n  max_in_progress: "
		  "100000\\n' > '%s'",
		  interval_s, bench_path("%s/config.yaml", name));
	bench_run("printf '[kanband]\\nmemory_guard = no\\n[worker]\\ncommand = /usr/bin/env "
		  "--\\n' > '%s'",
		  bench_path("kanband.conf"));
}

const char *bench_db(const char *root, const char *slug)
{
	return strcmp(slug, "default") ? bench_path("%s/kanban/boards/%s/kanban.db", root, slug)
				       : bench_path("%s/kanban.db", root);
}

static sqlite3 *bench_open(const char *root, const char *slug)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(bench_db(root, slug), &db) || sqlite3_busy_timeout(db, 60000))
		bench_die("%s: %s", bench_db(root, slug), sqlite3_errmsg(db));
	return db;
}

static void bench_exec(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message))
		bench_die("%s: %s", sql, message ? message : "?");
}

/* A chain: the first belongs to nobody here, each other waits for the one before it. */
static const char sql_chain[] =
	"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i+1 < %u) "
	"INSERT INTO tasks (id, title, body, assignee, status, created_at) SELECT "
	"printf('t_%%08x', i), 'task ' || i, hex(zeroblob(100)), CASE i WHEN 0 THEN 'nemo' "
	"ELSE "
	"'jimmy' END, CASE i WHEN 0 THEN 'ready' ELSE 'todo' END, 1770000000 + i FROM n;"
	"INSERT INTO task_links SELECT printf('t_%%08x', rowid - 2), id FROM tasks WHERE "
	"status='todo';"
	"INSERT INTO task_events (task_id, kind, payload, created_at) SELECT id, 'created', "
	"'{\"assignee\": \"jimmy\"}', created_at FROM tasks;";

void bench_board(const char *root, const char *slug, unsigned tasks, bool wal)
{
	char sql[2048];
	sqlite3 *db;

	if (strcmp(slug, "default"))
		bench_run("mkdir -p '%s'", bench_path("%s/kanban/boards/%s", root, slug));
	db = bench_open(root, slug);
	bench_exec(db, wal ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
	bench_exec(db, "PRAGMA synchronous=OFF");
	bench_exec(db, "BEGIN");
	bench_exec(db, schema_board_sql);
	if (tasks) {
		(void)snprintf(sql, sizeof(sql), sql_chain, tasks);
		bench_exec(db, sql);
	}
	bench_exec(db, "COMMIT");
	(void)sqlite3_close(db);
}

bool bench_ready(const char *root, const char *slug, const char *prefix, unsigned count)
{
	sqlite3 *db = bench_open(root, slug);
	char *sql = sqlite3_mprintf(
		"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i+1 < %u) "
		"INSERT INTO tasks (id, title, assignee, status, created_at) SELECT "
		"printf('t_%q%%04d', i), 'ready', 'jimmy', 'ready', 1780000000 FROM n",
		count, prefix);
	int rc;

	if (!sql || sqlite3_busy_timeout(db, 300))
		bench_die("out of memory");
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY)
		bench_die("%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_free(sql);
	(void)sqlite3_close(db);
	return rc == SQLITE_OK;
}

int64_t bench_int(const char *root, const char *slug, const char *sql)
{
	sqlite3 *db = bench_open(root, slug);
	sqlite3_stmt *stmt = NULL;
	int64_t value;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) || sqlite3_step(stmt) != SQLITE_ROW)
		bench_die("%s: %s", sql, sqlite3_errmsg(db));
	value = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return value;
}

/* ---- what SQLite alone takes ----------------------------------------------------------- */

static void bench_step_all(sqlite3_stmt *stmt)
{
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		;
	if (rc != SQLITE_DONE)
		bench_die("%s", sqlite3_errstr(rc));
	(void)sqlite3_reset(stmt);
}

double bench_scan_ms(const char *root, const char *slug)
{
	static const char sql[] =
		"SELECT c.id FROM tasks c WHERE c.status='todo' AND NOT EXISTS (SELECT 1 FROM "
		"task_links l JOIN tasks p ON p.id=l.parent_id WHERE l.child_id=c.id AND "
		"p.status NOT IN ('done', 'archived'))";
	sqlite3 *db = bench_open(root, slug);
	sqlite3_stmt *stmt = NULL;
	double best = 1e9;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL))
		bench_die("%s", sqlite3_errmsg(db));
	for (int i = 0; i < 5; i++) {
		const double from = bench_now_ms();
		double took;

		bench_step_all(stmt);
		took = bench_now_ms() - from;
		best = took < best ? took : best;
	}
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return best;
}

double bench_versions_of(const char *path)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	double best = 1e9;

	if (sqlite3_open(path, &db) ||
	    sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &stmt, NULL))
		bench_die("%s: %s", path, sqlite3_errmsg(db));
	for (int i = 0; i < 50; i++) {
		const double from = bench_now_ms();
		double took;

		bench_step_all(stmt);
		took = bench_now_ms() - from;
		best = took < best ? took : best;
	}
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return best;
}

double bench_versions_ms(const char *root, unsigned boards)
{
	sqlite3 **db = calloc(boards, sizeof(*db));
	sqlite3_stmt **stmt = calloc(boards, sizeof(*stmt));
	double best = 1e9;

	if (!db || !stmt)
		bench_die("out of memory");
	for (unsigned i = 0; i < boards; i++) {
		char slug[32];

		(void)snprintf(slug, sizeof(slug), "b%03u", i);
		db[i] = bench_open(root, slug);
		if (sqlite3_prepare_v2(db[i], "PRAGMA data_version", -1, &stmt[i], NULL))
			bench_die("%s", sqlite3_errmsg(db[i]));
	}
	for (int round = 0; round < 5; round++) {
		const double from = bench_now_ms();
		double took;

		for (unsigned i = 0; i < boards; i++)
			bench_step_all(stmt[i]);
		took = bench_now_ms() - from;
		best = took < best ? took : best;
	}
	for (unsigned i = 0; i < boards; i++) {
		(void)sqlite3_finalize(stmt[i]);
		(void)sqlite3_close(db[i]);
	}
	free(stmt);
	free(db);
	return best;
}
