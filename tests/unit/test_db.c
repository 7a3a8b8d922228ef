/*
 * The only opener of SQLite: what it refuses, what it makes of every kind of result, and that a
 * checkpoint is never a passive one. A second connection of the same process stands in for
 * other processes; file contents are looked at by a child, because closing a descriptor here
 * would drop the locks.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/connection.h"
#include "util/clock.h"

static int try_open(void)
{
	return connection_as(&(struct db_options){ .path = kit.path, .busy_timeout_ms = 50 });
}

/* ---- db_open ------------------------------------------------------------------------- */

START_TEST(open_missing_and_empty)
{
	struct db_options opt = { .path = kit.path, .busy_timeout_ms = 50 };

	ck_assert_int_eq(try_open(), DB_MISSING);
	ck_assert_str_ne(kit.e.text, "");
	ck_assert_ptr_null(kit.db);
	ck_assert_int_ne(access(kit.path, F_OK), 0); /* nothing was made */
	connection_overwrite(0, "", 0);
	ck_assert_int_eq(try_open(), DB_MISSING);
	opt.create = true;
	ck_assert_int_eq(connection_as(&opt), 0);
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
	ck_assert_int_eq(connection_as(&(struct db_options){ .path = "/proc/self/mem/x" }),
			 -ENOTDIR);
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
		connection_overwrite(0, texts[i], strlen(texts[i]));
		ck_assert_int_eq(try_open(), DB_CORRUPT);
		ck_assert_str_ne(kit.e.text, "");
	}
	/* the right first line and rubbish after it: SQLite is the judge */
	connection_overwrite(0, "SQLite format 3\0rubbish rubbish rubbish rubbish rubbish", 55);
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
	connection_overwrite(
		4096L * (kit_int("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'") -
			 1),
		junk, sizeof(junk));
	ck_assert_int_eq(connection_integrity(), DB_CORRUPT);
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
	ck_assert_int_eq(connection_integrity(), DB_CORRUPT);
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

/* ---- statements ---------------------------------------------------------------------- */

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

/* ---- transactions -------------------------------------------------------------------- */

/* A reader keeps COMMIT from the file: after the last try nothing of it is left. */
START_TEST(commit_busy_is_rolled_back)
{
	sqlite3 *o;

	kit_board(0);
	kit_task("t_1", "done", NULL);
	o = connection_other();
	kit_open();
	connection_exec(o, "BEGIN; SELECT * FROM tasks");
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(db_run(kit.db, &kit.e, sql_comment, "t", "x"), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), DB_TRANSIENT);
	ck_assert(sqlite3_get_autocommit(db_handle(kit.db)));
	connection_exec(o, "COMMIT");
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

/* ---- checkpoints --------------------------------------------------------------------- */

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
	  statements_bind_what_they_have, hostile_values_pass_through,
	  commit_busy_is_rolled_back, free_rolls_back, data_version_tells_others_from_us,
	  library)
