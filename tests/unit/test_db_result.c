/* The one classifier of what SQLite says: busy, cancelled, full, final, moved, damaged. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/connection.h"
#include "util/clock.h"

/* ---- the classifier ------------------------------------------------------------------ */

START_TEST(classify_busy)
{
	sqlite3 *o;
	uint64_t from;

	kit_board(0);
	o = connection_other();
	kit_open();
	connection_exec(o, "BEGIN EXCLUSIVE");
	from = clock_mono_ms();
	ck_assert_int_eq(db_begin(kit.db, &kit.e), DB_TRANSIENT);
	ck_assert_uint_ge(clock_mono_ms() - from, 5 * 50); /* five tries of the busy timeout */
	ck_assert_uint_lt(clock_mono_ms() - from, 20000);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "another process holds"));
	ck_assert_int_eq(db_run(kit.db, &kit.e, "SELECT count(*) FROM tasks", ""),
			 DB_TRANSIENT);
	connection_exec(o, "COMMIT");
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
	o = connection_other();
	ck_assert_int_eq(connection_as(&opt), 0);
	atomic_store(&cancel, true);
	ck_assert_int_eq(db_run(kit.db, &kit.e, endless, ""), DB_TRANSIENT);
	ck_assert_str_eq(kit.e.text, "cancelled");
	connection_exec(o, "BEGIN EXCLUSIVE"); /* a busy wait ends at once, too */
	ck_assert_int_eq(db_begin(kit.db, &kit.e), DB_TRANSIENT);
	connection_exec(o, "COMMIT");
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
	ck_assert_int_eq(connection_integrity(), 0);
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
	connection_overwrite(4096L * (kit_int("PRAGMA page_count") - 3), zero, sizeof(zero));
	kit_open();
	ck_assert_int_eq(db_run(kit.db, &kit.e, read_all, ""), DB_CORRUPT);
	ck_assert_int_eq(connection_integrity(), DB_CORRUPT);
}
END_TEST

KIT_SUITE("db_result", classify_busy, classify_cancel, classify_full, classify_what_is_final,
	  classify_moved, classify_ioerr, classify_corrupt)
