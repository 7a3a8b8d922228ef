/*
 * The only opener of SQLite: what it refuses, what it makes of every kind of result, and that a
 * checkpoint is never a passive one. A second connection of the same process stands in for
 * other processes; file contents are looked at by a child, because closing a descriptor here
 * would drop the locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/board.h"
#include "util/clock.h"

static int open_as(const struct db_options *opt)
{
	kit.e = (struct error)ERROR_NULL;
	kit.db = db_free(kit.db);
	return db_open(&kit.db, opt, &kit.e);
}

static int try_open(void)
{
	return open_as(&(struct db_options){ .path = kit.path, .busy_timeout_ms = 50 });
}

static int try_integrity(void)
{
	return open_as(&(struct db_options){
		.path = kit.path, .busy_timeout_ms = 50, .integrity = true });
}

static sqlite3 *other(void)
{
	sqlite3 *o = NULL;

	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	return o;
}

static void other_exec(sqlite3 *o, const char *sql)
{
	ck_assert_msg(sqlite3_exec(o, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql,
		      sqlite3_errmsg(o));
}

static void overwrite(long at, const void *bytes, size_t n)
{
	int fd = open(kit.path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	(void)close(fd);
}

/* checksums of the database and its -wal, by another process */
static char *sums(void)
{
	char line[512], *text = kit_printf("%s", "");
	FILE *p = popen(kit_printf("cksum '%s' '%s-wal' 2>&1", kit.path, kit.path), "re");

	ck_assert_ptr_nonnull(p);
	while (fgets(line, sizeof(line), p))
		text = kit_printf("%s%s", text, line);
	(void)pclose(p);
	return text;
}

/* ---- db_open ------------------------------------------------------------------------------
 */

START_TEST(open_missing_and_empty)
{
	struct db_options opt = { .path = kit.path, .busy_timeout_ms = 50 };

	ck_assert_int_eq(try_open(), DB_MISSING);
	ck_assert_str_ne(kit.e.text, "");
	ck_assert_ptr_null(kit.db);
	ck_assert_int_ne(access(kit.path, F_OK), 0); /* nothing was made */
	overwrite(0, "", 0);
	ck_assert_int_eq(try_open(), DB_MISSING);
	opt.create = true;
	ck_assert_int_eq(open_as(&opt), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, "CREATE TABLE t (a)", ""), 0);
}
END_TEST

START_TEST(open_refuses_what_is_no_file)
{
	ck_assert_int_eq(mkdir(kit.path, 0755), 0);
	ck_assert_int_eq(try_open(), -EINVAL);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "not a regular file"));
	ck_assert_int_eq(rmdir(kit.path), 0);
	ck_assert_int_eq(mkfifo(kit.path, 0644), 0);
	ck_assert_int_eq(try_open(), -EINVAL); /* and does not wait for a writer */
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(symlink("kanban.db", kit.path), 0);
	ck_assert_int_eq(try_open(), -ELOOP);
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(open_as(&(struct db_options){ .path = "/proc/self/mem/x" }), -ENOTDIR);
}
END_TEST

START_TEST(open_refuses_foreign_bytes)
{
	static const char *const texts[] = {
		"x", "SQLite format 4", "SQLite format 3",
		"<html><head>no database at all, but long</head>"
	};

	for (size_t i = 0; i < 4; i++) {
		(void)unlink(kit.path);
		overwrite(0, texts[i], strlen(texts[i]));
		ck_assert_int_eq(try_open(), DB_CORRUPT);
		ck_assert_str_ne(kit.e.text, "");
	}
	/* the right first line and rubbish after it: SQLite is the judge */
	overwrite(0, "SQLite format 3\0rubbish rubbish rubbish rubbish rubbish", 55);
	ck_assert_int_eq(try_open(), DB_CORRUPT);
}
END_TEST

/* A column that is needed is not there: each is named. */
START_TEST(open_names_what_is_missing)
{
	static const char *const needed[][2] = {
		{ "tasks", "id" },
		{ "tasks", "title" },
		{ "tasks", "assignee" },
		{ "tasks", "status" },
		{ "tasks", "created_at" },
		{ "tasks", "started_at" },
		{ "tasks", "workspace_kind" },
		{ "tasks", "workspace_path" },
		{ "tasks", "claim_lock" },
		{ "tasks", "claim_expires" },
		{ "tasks", "worker_pid" },
		{ "tasks", "current_run_id" },
		{ "task_runs", "id" },
		{ "task_runs", "task_id" },
		{ "task_runs", "profile" },
		{ "task_runs", "status" },
		{ "task_runs", "claim_lock" },
		{ "task_runs", "ended_at" },
		{ "task_runs", "outcome" },
		{ "task_runs", "metadata" },
		{ "task_runs", "error" },
		{ "task_events", "kind" },
		{ "task_events", "payload" },
		{ "task_events", "run_id" },
		{ "task_links", "parent_id" },
		{ "task_links", "child_id" },
	};

	kit_board(0);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		const char *t = needed[i][0], *c = needed[i][1];

		kit_sql("ALTER TABLE \"%w\" RENAME COLUMN \"%w\" TO was", t, c);
		ck_assert_int_eq(try_open(), DB_SCHEMA_BAD);
		ck_assert_msg(strstr(kit.e.text, kit_printf("%s.%s", t, c)) != NULL,
			      "%s.%s: %s", t, c, kit.e.text);
		kit_sql("ALTER TABLE \"%w\" RENAME COLUMN was TO \"%w\"", t, c);
	}
	ck_assert_int_eq(try_open(), 0);
	kit.db = db_free(kit.db);
	kit_sql("DROP TABLE task_events");
	ck_assert_int_eq(try_open(), DB_SCHEMA_BAD);
}
END_TEST

START_TEST(open_sets_pragmas_and_no_journal_mode)
{
	static const struct {
		const char *pragma;
		int64_t value;
	} wanted[] = { { "PRAGMA synchronous", 2 },
		       { "PRAGMA foreign_keys", 1 },
		       { "PRAGMA secure_delete", 1 },
		       { "PRAGMA cell_size_check", 1 } };
	static const char *const modes[] = { "delete", "wal" };
	static const char auto_sql[] = "PRAGMA wal_autocheckpoint";
	int64_t value;

	for (unsigned wal = 0; wal < 2; wal++) {
		(void)unlink(kit.path);
		kit_board(wal ? KIT_WAL : 0);
		kit_open();
		for (size_t i = 0; i < 4; i++) {
			ck_assert_int_eq(
				db_one_int(kit.db, &kit.e, &value, -1, wanted[i].pragma, ""),
				0);
			ck_assert_msg(value == wanted[i].value, "%s is %lld", wanted[i].pragma,
				      (long long)value);
		}
		ck_assert_int_eq(db_one_int(kit.db, &kit.e, &value, -1, auto_sql, ""), 0);
		ck_assert_int_eq(value, db_wal_reset_bug() ? 0 : 100);
		ck_assert(db_is_wal(kit.db) == (wal == 1));
		kit_close();
		ck_list(modes[wal], "PRAGMA journal_mode");
	}
}
END_TEST

START_TEST(integrity_finds_a_damaged_page)
{
	char junk[512];

	kit_board(0);
	for (int i = 0; i < 200; i++)
		kit_task(kit_printf("t_%08d", i), "done", "body = hex(zeroblob(400))");
	memset(junk, 0x5a, sizeof(junk));
	overwrite(4096L * (kit_int("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'") -
			   1),
		  junk, sizeof(junk));
	ck_assert_int_eq(try_integrity(), DB_CORRUPT);
	ck_assert_ptr_null(kit.db);
	ck_assert_str_ne(kit.e.text, "");
	/* without the check the open succeeds, and the first use says so */
	ck_assert_int_eq(try_open(), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT max(body) FROM tasks", ""), DB_CORRUPT);
}
END_TEST

/* An index that does not agree with its table is what the incidents looked like. */
START_TEST(integrity_finds_a_wrong_index)
{
	kit_board(0);
	kit_task("t_1", "ready", NULL);
	kit_sql("PRAGMA writable_schema = ON;"
		"UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE"
		" name = 'idx_tasks_tenant') WHERE name = 'idx_tasks_status'");
	ck_assert_int_eq(try_integrity(), DB_CORRUPT);
	ck_assert_ptr_null(strchr(kit.e.text, '\n'));
}
END_TEST

START_TEST(features_of_releases)
{
	kit_board(KIT_SCHEDULED);
	kit_open();
	ck_assert_uint_eq(db_features(kit.db), DB_HAS_RUN_STARTED | DB_HAS_TASK_STARTED |
						       DB_HAS_SCHEDULED_AT | DB_HAS_SUBS |
						       DB_HAS_MAX_RETRIES);
	ck_assert(db_has_column(kit.db, "tasks", "skills"));
	ck_assert(!db_has_column(kit.db, "tasks", "spawn_failures"));
	ck_assert(!db_has_column(kit.db, "tasks", "no_such_column"));
	ck_assert(!db_has_column(kit.db, "no_table", "skills"));
	kit_close();
	(void)unlink(kit.path);
	kit_board(KIT_LEGACY);
	kit_open();
	ck_assert_uint_eq(db_features(kit.db), 0);
	ck_assert(db_has_column(kit.db, "tasks", "spawn_failures"));
}
END_TEST

/* ---- statements ---------------------------------------------------------------------------
 */

static const char *expanded(const char *sql)
{
	sqlite3_stmt *s = NULL;

	ck_assert_msg(db_prepare(kit.db, sql, &s, &kit.e) == 0, "%s: %s", sql, kit.e.text);
	return sqlite3_sql(s);
}

START_TEST(statements_expand_for_their_board)
{
	static const char plain[] =
		"SELECT {tasks.max_retries}, {tasks.max_retries@t} FROM tasks t";
	static const char option[] = "SELECT id{tasks.max_retries?, max_retries} FROM tasks t "
				     "WHERE t.{failures} >= 0"
				     " ORDER BY {failure_error}";
	static const char open_brace[] = "SELECT '{' FROM tasks";
	static const char odd[] = "SELECT 1 {nonsense}{}{?x}{nothing.at.all?, 2} FROM tasks";

	kit_board(0);
	kit_open();
	ck_assert_str_eq(expanded(plain), "SELECT max_retries, t.max_retries FROM tasks t");
	ck_assert_str_eq(expanded(option),
			 "SELECT id, max_retries FROM tasks t WHERE t.consecutive_failures >= 0"
			 " ORDER BY last_failure_error");
	ck_assert_str_eq(expanded(open_brace), open_brace);
	ck_assert_str_eq(expanded(odd), "SELECT 1  FROM tasks");
	kit_close();
	(void)unlink(kit.path);
	kit_board(KIT_LEGACY);
	kit_open();
	ck_assert_str_eq(expanded(plain), "SELECT NULL, NULL FROM tasks t");
	ck_assert_str_eq(expanded(option),
			 "SELECT id FROM tasks t WHERE t.spawn_failures >= 0 ORDER BY"
			 " last_spawn_error");
}
END_TEST

START_TEST(statements_are_cached_by_address)
{
	static char texts[128][40];
	static const char bound[] = "SELECT ?1", null[] = "SELECT NULL";
	sqlite3_stmt *a = NULL, *b = NULL;
	int64_t value;
	int r = 0;

	kit_board(0);
	kit_open();
	ck_assert_int_eq(db_query(kit.db, &kit.e, &a, bound, "i", INT64_C(7)), 0);
	ck_assert_int_eq(db_step(kit.db, a, &kit.e), DB_ROW);
	ck_assert_int_eq(db_prepare(kit.db, bound, &b, &kit.e), 0);
	ck_assert_ptr_eq(a, b);
	ck_assert_int_eq(db_step(kit.db, b, &kit.e), DB_ROW); /* reset, and unbound */
	ck_assert_int_eq(sqlite3_column_type(b, 0), SQLITE_NULL);
	for (int i = 0; i < 128 && r == 0; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "SELECT %d", i);
		r = db_one_int(kit.db, &kit.e, &value, -1, texts[i], "");
		ck_assert_int_eq(value, r == 0 ? i : -1);
	}
	ck_assert_int_eq(r, -ENOSPC);
	db_trim(kit.db);
	ck_assert_int_eq(db_one_int(kit.db, &kit.e, &value, -1, null, ""), 0);
	ck_assert_int_eq(value, -1);
}
END_TEST

START_TEST(statements_bind_what_they_have)
{
	static const char three[] = "SELECT coalesce(?1, 0) + coalesce(?2, 10) + length(?3)";
	static const char one[] = "SELECT ?1";
	static const char none[] = "SELECT 1 WHERE 0";
	static const char null[] = "SELECT NULL";
	static const char returning[] = "INSERT INTO task_comments (task_id, author, body,"
					" created_at) VALUES (?1, 'a', ?2, 1) RETURNING id";
	int64_t value;

	kit_board(0);
	kit_open();
	ck_assert_int_eq(
		db_one_int(kit.db, &kit.e, &value, -1, three, "int", INT64_C(5), "abc"), 0);
	ck_assert_int_eq(value, 18);
	/* more than the text has: ignored */
	ck_assert_int_eq(
		db_one_int(kit.db, &kit.e, &value, -1, one, "iti", INT64_MIN, "x", INT64_C(3)),
		0);
	ck_assert_int_eq(value, INT64_MIN);
	ck_assert_int_eq(db_one_int(kit.db, &kit.e, &value, 42, none, ""), 0);
	ck_assert_int_eq(value, 42);
	ck_assert_int_eq(db_one_int(kit.db, &kit.e, &value, 42, null, ""), 0);
	ck_assert_int_eq(value, 42);
	ck_assert_int_eq(db_run(kit.db, &kit.e, returning, "tt", "t_1", "text"), 0);
	ck_assert_int_eq(db_changes(kit.db), 1);
	ck_assert_int_eq(db_last_id(kit.db), 1);
	/* a NULL text binds NULL: body is NOT NULL */
	ck_assert_int_eq(db_run(kit.db, &kit.e, returning, "tt", "t_1", (char *)NULL), -EEXIST);
	ck_list("t_1|text", "SELECT task_id, body FROM task_comments");
}
END_TEST

START_TEST(hostile_values_pass_through)
{
	static const char row[] =
		"SELECT title, length(title), created_at FROM tasks ORDER BY rowid";
	sqlite3_stmt *s = NULL;

	kit_board(0);
	kit_sql("INSERT INTO tasks (id, title, status, created_at) VALUES"
		" ('a', hex(zeroblob(5000000)), 'x', 9223372036854775807),"
		" ('b', CAST(x'FFFE00C3' AS TEXT), 'x', 'soon'), (NULL, x'0001', 'x', -1e300)");
	kit_open();
	ck_assert_int_eq(db_query(kit.db, &kit.e, &s, row, ""), 0);
	ck_assert_int_eq(db_step(kit.db, s, &kit.e), DB_ROW);
	ck_assert_int_eq(sqlite3_column_int64(s, 1), 10000000);
	ck_assert_int_eq(db_step(kit.db, s, &kit.e), DB_ROW);
	ck_assert_int_eq(sqlite3_column_int64(s, 2), 0);
	ck_assert_int_eq(db_step(kit.db, s, &kit.e), DB_ROW);
	ck_assert_int_eq(sqlite3_column_int64(s, 2), INT64_MIN);
	ck_assert_int_eq(db_step(kit.db, s, &kit.e), 0);
}
END_TEST

/* ---- the classifier -----------------------------------------------------------------------
 */

static const char sql_comment[] =
	"INSERT INTO task_comments (task_id, author, body, created_at)"
	" VALUES ('t', 'a', ?1, 1)";

START_TEST(classify_busy)
{
	sqlite3 *o;
	uint64_t from;

	kit_board(0);
	o = other();
	kit_open();
	other_exec(o, "BEGIN EXCLUSIVE");
	from = clock_mono_ms();
	ck_assert_int_eq(db_begin(kit.db, &kit.e), DB_TRANSIENT);
	ck_assert_uint_ge(clock_mono_ms() - from, 5 * 50); /* five tries of the busy timeout */
	ck_assert_uint_lt(clock_mono_ms() - from, 20000);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "another process holds"));
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT count(*) FROM tasks", ""),
			 DB_TRANSIENT);
	other_exec(o, "COMMIT");
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	db_rollback(kit.db);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
}
END_TEST

START_TEST(classify_cancel)
{
	static const char endless[] =
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
		" SELECT count(*) FROM n";
	atomic_bool cancel = false;
	struct db_options opt = { .path = kit.path,
				  .busy_timeout_ms = 60000,
				  .cancel = &cancel };
	sqlite3 *o;

	kit_board(0);
	o = other();
	ck_assert_int_eq(open_as(&opt), 0);
	atomic_store(&cancel, true);
	ck_assert_int_eq(db_run(kit.db, &kit.e, endless, ""), DB_TRANSIENT);
	ck_assert_str_eq(kit.e.text, "cancelled");
	other_exec(o, "BEGIN EXCLUSIVE"); /* a busy wait ends at once, too */
	ck_assert_int_eq(db_begin(kit.db, &kit.e), DB_TRANSIENT);
	other_exec(o, "COMMIT");
	atomic_store(&cancel, false);
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	kit_close(); /* @cancel is on this stack */
}
END_TEST

START_TEST(classify_full)
{
	static const char small[] = "PRAGMA max_page_count = 1",
			  big[] = "PRAGMA max_page_count = 9999";
	char *text = kit_printf("%*s", 100000, "x");

	kit_board(0);
	kit_open();
	ck_assert_int_eq(db_run(kit.db, &kit.e, small, ""), 0);
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", text), DB_TRANSIENT);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "disk full"));
	db_rollback(kit.db); /* whether SQLite did so already or not */
	db_rollback(kit.db);
	ck_assert(sqlite3_get_autocommit(db_handle(kit.db)));
	ck_assert_int_eq(db_run(kit.db, &kit.e, big, ""), 0);
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", text), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
	ck_list("1", "SELECT count(*) FROM task_comments");
}
END_TEST

static int deny(void *arg, int action, const char *a, const char *b, const char *c,
		const char *d)
{
	(void)arg, (void)a, (void)b, (void)c, (void)d;
	return action == SQLITE_DELETE ? SQLITE_DENY : SQLITE_OK;
}

START_TEST(classify_what_is_final)
{
	static const char only[] = "PRAGMA query_only = ON",
			  not_only[] = "PRAGMA query_only = OFF";
	static const char twice[] = "INSERT INTO task_links VALUES ('a', 'b')";

	kit_board(0);
	kit_open();
	ck_assert_int_eq(db_run(kit.db, &kit.e, only, ""), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), -EROFS);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "read-only"));
	ck_assert_int_eq(db_run(kit.db, &kit.e, not_only, ""), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, twice, ""), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, twice, ""), -EEXIST);
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT no_such FROM tasks", ""),
			 DB_SCHEMA_BAD);
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT 1 FROM no_such_table", ""),
			 DB_SCHEMA_BAD);
	ck_assert_int_eq(sqlite3_set_authorizer(db_handle(kit.db), deny, NULL), SQLITE_OK);
	ck_assert_int_eq(db_run(kit.db, &kit.e, "DELETE FROM tasks", ""), -EACCES);
	ck_assert_int_eq(sqlite3_set_authorizer(db_handle(kit.db), NULL, NULL), SQLITE_OK);
	(void)sqlite3_limit(db_handle(kit.db), SQLITE_LIMIT_LENGTH, 1000);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", kit_printf("%*s", 2000, "x")),
			 -E2BIG);
}
END_TEST

/* The file was removed under the connection: come back and look again. */
START_TEST(classify_moved)
{
	kit_board(0);
	kit_open();
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), DB_TRANSIENT);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "read-only"));
}
END_TEST

START_TEST(classify_ioerr)
{
	struct rlimit old, little = { 0 };
	char *text = kit_printf("%*s", 100000, "x");

	kit_board(0);
	kit_open();
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	little = old;
	little.rlim_cur = 8192;
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	int r = db_run(kit.db, &kit.e, sql_comment, "t", text);

	if (r == 0)
		r = db_commit(kit.db, &kit.e);
	db_rollback(kit.db);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(r, DB_TRANSIENT);
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
	kit_close();
	ck_assert_int_eq(try_integrity(), 0);
	ck_list("1", "SELECT count(*) FROM task_comments");
}
END_TEST

START_TEST(classify_corrupt)
{
	static const char read_all[] = "SELECT sum(length(body)) FROM task_comments";
	char zero[4096 * 3] = "";

	kit_board(0);
	kit_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
		" INSERT INTO task_comments (task_id, author, body, created_at)"
		" SELECT 't', 'a', hex(zeroblob(400)), i FROM n");
	overwrite(4096L * (kit_int("PRAGMA page_count") - 3), zero, sizeof(zero));
	kit_open();
	ck_assert_int_eq(db_run(kit.db, &kit.e, read_all, ""), DB_CORRUPT);
	ck_assert_int_eq(try_integrity(), DB_CORRUPT);
}
END_TEST

/* ---- transactions -------------------------------------------------------------------------
 */

/* A reader keeps COMMIT from the file: after the last try nothing of it is left. */
START_TEST(commit_busy_is_rolled_back)
{
	sqlite3 *o;

	kit_board(0);
	kit_task("t_1", "done", NULL);
	o = other();
	kit_open();
	other_exec(o, "BEGIN; SELECT * FROM tasks");
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), DB_TRANSIENT);
	ck_assert(sqlite3_get_autocommit(db_handle(kit.db)));
	other_exec(o, "COMMIT");
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	ck_list("0", "SELECT count(*) FROM task_comments");
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
}
END_TEST

START_TEST(free_rolls_back)
{
	kit_board(0);
	kit_open();
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
	kit_close();
	ck_list("0", "SELECT count(*) FROM task_comments");
	ck_assert_ptr_null(db_free(NULL));
}
END_TEST

START_TEST(data_version_tells_others_from_us)
{
	int64_t a, b;

	for (unsigned wal = 0; wal < 2; wal++) {
		(void)unlink(kit.path);
		kit_board(wal ? KIT_WAL : 0);
		kit_open();
		ck_assert_int_eq(db_data_version(kit.db, &a, &kit.e), 0);
		ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
		ck_assert_int_eq(db_data_version(kit.db, &b, &kit.e), 0);
		ck_assert_int_eq(a, b);
		kit_sql("DELETE FROM task_comments");
		ck_assert_int_eq(db_data_version(kit.db, &b, &kit.e), 0);
		ck_assert_int_ne(a, b);
		kit_close();
	}
}
END_TEST

/* ---- checkpoints --------------------------------------------------------------------------
 */

static sqlite3 *wal_with_frames(void)
{
	sqlite3 *o;

	kit_board(KIT_WAL);
	o = other();
	other_exec(o,
		   "PRAGMA wal_autocheckpoint = 0; INSERT INTO task_comments (task_id, author,"
		   " body, created_at) VALUES ('t', 'a', hex(zeroblob(20000)), 1)");
	kit_open();
	return o;
}

START_TEST(checkpoint_truncates)
{
	sqlite3 *o = wal_with_frames();
	struct stat st;

	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), 0);
	ck_assert_int_eq(stat(kit_printf("%s-wal", kit.path), &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	kit_close();
	ck_list("1|40000", "SELECT count(*), length(body) FROM task_comments");
}
END_TEST

/* While somebody holds the writer lock not one byte is written: no passive checkpoint. */
START_TEST(checkpoint_is_never_passive)
{
	sqlite3 *o = wal_with_frames();
	char *before;

	other_exec(o, "BEGIN IMMEDIATE");
	before = sums();
	ck_assert_ptr_nonnull(strstr(before, "-wal"));
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), DB_TRANSIENT);
		ck_assert_str_eq(sums(), before);
	}
	/* the connection is as good as before */
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT count(*) FROM tasks", ""), 0);
	ck_assert_int_eq(db_begin(kit.db, &kit.e), DB_TRANSIENT);
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT count(*) FROM tasks", ""), 0);
	other_exec(o, "COMMIT");
	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), 0);
	ck_assert_str_ne(sums(), before);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
}
END_TEST

START_TEST(checkpoint_waits_for_readers)
{
	sqlite3 *o = wal_with_frames(), *w = other();

	other_exec(o, "BEGIN; SELECT count(*) FROM task_comments");
	other_exec(w, "PRAGMA wal_autocheckpoint = 0; DELETE FROM task_comments");
	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), DB_TRANSIENT);
	/* and gives the writer lock back */
	other_exec(w, "BEGIN IMMEDIATE; COMMIT");
	other_exec(o, "COMMIT");
	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), 0);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(w), SQLITE_OK);
}
END_TEST

START_TEST(checkpoint_is_for_wal)
{
	kit_board(0);
	kit_open();
	ck_assert_int_eq(db_begin(kit.db, &kit.e),
			 0); /* even in a transaction: nothing to do */
	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), 0);
	db_rollback(kit.db);
}
END_TEST

START_TEST(our_commits_do_not_checkpoint)
{
	struct stat before, after;

	kit_board(KIT_WAL);
	kit_open();
	ck_assert_int_eq(stat(kit.path, &before), 0);
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(
			db_run(kit.db, &kit.e, sql_comment, "t", kit_printf("%*s", 9000, "x")),
			0);
	ck_assert_int_eq(stat(kit.path, &after), 0);
	if (db_wal_reset_bug())
		ck_assert_int_eq(after.st_size, before.st_size);
}
END_TEST

START_TEST(leave_wal_or_not)
{
	char *wal = kit_printf("%s-wal", kit.path);

	kit_board(KIT_WAL);
	kit_open();
	db_leave_wal(kit.db, true);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
	kit_close();
	ck_assert_int_eq(access(wal, F_OK), 0);
	kit_open();
	db_leave_wal(kit.db, true);
	db_leave_wal(kit.db, false);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "y"), 0);
	kit_close();
	ck_assert_int_ne(access(wal, F_OK), 0);
	ck_list("2", "SELECT count(*) FROM task_comments");
}
END_TEST

/* https://sqlite.org/wal.html#walresetbug: 3.7.0 to 3.51.2, but 3.50.7 and 3.44.6 on */
START_TEST(versions_with_the_wal_reset_bug)
{
	static const int with[] = { 3007000, 3008003, 3040001, 3044005, 3045000,
				    3046001, 3050006, 3051000, 3051002 };
	static const int without[] = { 3006023, 3044006, 3044009, 3050007,
				       3050009, 3051003, 3052000 };

	for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
		ck_assert_msg(db_wal_reset_bug_in(with[i]), "%d", with[i]);
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		ck_assert_msg(!db_wal_reset_bug_in(without[i]), "%d", without[i]);
	ck_assert(db_wal_reset_bug() == db_wal_reset_bug_in(sqlite3_libversion_number()));
}
END_TEST

START_TEST(library)
{
	const int v = sqlite3_libversion_number();
	const bool fixed =
		v >= 3051003 || (v >= 3050007 && v < 3051000) || (v >= 3044006 && v < 3045000);

	db_library_init();
	ck_assert(db_wal_reset_bug() == !fixed);
	kit_board(0);
	kit_open();
}
END_TEST

KIT_SUITE("db", open_missing_and_empty, open_refuses_what_is_no_file,
	  open_refuses_foreign_bytes, open_names_what_is_missing,
	  open_sets_pragmas_and_no_journal_mode, integrity_finds_a_damaged_page,
	  integrity_finds_a_wrong_index, features_of_releases,
	  statements_expand_for_their_board, statements_are_cached_by_address,
	  statements_bind_what_they_have, hostile_values_pass_through, classify_busy,
	  classify_cancel, classify_full, classify_what_is_final, classify_moved,
	  classify_ioerr, classify_corrupt, commit_busy_is_rolled_back, free_rolls_back,
	  data_version_tells_others_from_us, checkpoint_truncates, checkpoint_is_never_passive,
	  checkpoint_waits_for_readers, checkpoint_is_for_wal, our_commits_do_not_checkpoint,
	  leave_wal_or_not, versions_with_the_wal_reset_bug, library)
