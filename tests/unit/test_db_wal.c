/* Checkpoints, and which journal mode a database keeps. */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/connection.h"
#include "util/clock.h"

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

/* ---- checkpoints --------------------------------------------------------------------- */

static sqlite3 *wal_with_frames(void)
{
	sqlite3 *o;

	kit_board(KIT_WAL);
	o = connection_other();
	connection_exec(
		o, "PRAGMA wal_autocheckpoint = 0; INSERT INTO task_comments (task_id, author,"
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

	connection_exec(o, "BEGIN IMMEDIATE");
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
	connection_exec(o, "COMMIT");
	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), 0);
	ck_assert_str_ne(sums(), before);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
}
END_TEST

START_TEST(checkpoint_waits_for_readers)
{
	sqlite3 *o = wal_with_frames(), *w = connection_other();

	connection_exec(o, "BEGIN; SELECT count(*) FROM task_comments");
	connection_exec(w, "PRAGMA wal_autocheckpoint = 0; DELETE FROM task_comments");
	ck_assert_int_eq(db_checkpoint(kit.db, &kit.e), DB_TRANSIENT);
	/* and gives the writer lock back */
	connection_exec(w, "BEGIN IMMEDIATE; COMMIT");
	connection_exec(o, "COMMIT");
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

KIT_SUITE("db_wal", checkpoint_truncates, checkpoint_is_never_passive,
	  checkpoint_waits_for_readers, checkpoint_is_for_wal, our_commits_do_not_checkpoint,
	  leave_wal_or_not, versions_with_the_wal_reset_bug)
