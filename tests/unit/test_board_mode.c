/* The journal mode that a board is to have: when it is changed, and when that waits. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/faultvfs.h"
#include "kit/visit.h"

static void mode_waits_for(enum db_mode mode, unsigned flags, const char *is, const char *then)
{
	struct other o;

	kit_board(flags);
	kit_task("t", "ready", NULL);
	kit.set.journal_mode = mode;
	kit.set.checkpoint_interval_s = 300;
	o = other_open("SELECT count(*) FROM tasks");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1); /* work goes on */
	ck_assert(board.mode_waits);
	ck_assert(said("another process has its file open"));
	ck_list(is, "PRAGMA journal_mode");
	/* not at each visit, and told once */
	board.mode_tried_at -= 1;
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(board.mode_waits && bj.plan.n_notes == 0);
	board.mode_tried_at = 0;
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(board.mode_waits && board.mode_tried_at > 0 && bj.plan.n_notes == 0);
	other_close(&o);
	board.mode_tried_at = 0;
	kit_task("u", "ready", NULL);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!board.mode_waits);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert(said("is wal now") || said("is delete now"));
	ck_list(then, "PRAGMA journal_mode");
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!board.mode_waits && bj.plan.n_notes == 0);
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("2", "SELECT count(*) FROM tasks WHERE status='running'");
	visit_cleanup();
}

START_TEST(journal_mode_delete_to_wal)
{
	mode_waits_for(DB_MODE_WAL, 0, "delete", "wal");
}
END_TEST

START_TEST(journal_mode_wal_to_delete)
{
	mode_waits_for(DB_MODE_DELETE, KIT_WAL, "wal", "delete");
}
END_TEST

START_TEST(journal_mode_wal_to_truncate)
{
	mode_waits_for(DB_MODE_TRUNCATE, KIT_WAL, "wal", "delete");
}
END_TEST

/* The journal stays, empty, between our commits. */
START_TEST(journal_mode_truncate)
{
	struct stat st;

	kit_board(0);
	kit_task("t", "ready", NULL);
	kit.set.journal_mode = DB_MODE_TRUNCATE;
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!board.mode_waits && bj.plan.n_notes == 0);
	ck_assert_int_eq(stat(kit_printf("%s-journal", kit.path), &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	visit_cleanup();
}
END_TEST

START_TEST(journal_mode_keep)
{
	for (int i = 0; i < 2; i++) {
		(void)remove(kit.path);
		kit_board(i ? KIT_WAL : 0);
		kit_task("t", "ready", NULL);
		visit_setup();
		ck_assert_int_eq(visit(), BOARD_DONE);
		ck_assert(!board.mode_waits);
		ck_list(i ? "wal" : "delete", "PRAGMA journal_mode");
		visit_cleanup();
		kit.turn.running = kit.caps.turns.running = 0;
	}
}
END_TEST

/* A Hermes on a sound SQLite turns a board into WAL while we have it open: work goes on, and
 * nobody turns it back. */
static void turned_by_others(unsigned flags)
{
	kit_board(flags);
	kit_task("t", "ready", NULL);
	kit.set.checkpoint_interval_s = 300;
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_list("delete", "PRAGMA journal_mode");
	ck_list("wal", "PRAGMA journal_mode=WAL");
	kit_task("u", "ready", NULL);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert(!board.mode_waits);
	ck_list("wal", "PRAGMA journal_mode");
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("2", "SELECT count(*) FROM tasks WHERE status='running'");
	visit_cleanup();
}

START_TEST(turned_into_wal_by_others)
{
	turned_by_others(0);
}
END_TEST

START_TEST(turned_into_wal_by_others_in_august)
{
	turned_by_others(KIT_AUGUST);
}
END_TEST

/* Whatever call of the file system fails: it is not said to be changed when it is not. */
static void changed_or_not(bool wal)
{
	unsigned n = 0, failed = 0;

	faultvfs_install();
	kit_board(0);
	kit_task("t", "ready", NULL);
	do {
		int r;

		kit_sql("PRAGMA journal_mode=%s", wal ? "DELETE" : "WAL");
		faultvfs_arm(FAULT_IOERR, n++, false);
		r = db_mode_change(kit.path, wal, 50, &kit.e);
		(void)faultvfs_disarm();
		failed += r != 0;
		ck_assert_msg(r != 0 || !strcmp(kit_list("PRAGMA journal_mode"),
						wal ? "wal" : "delete"),
			      "call %u", n - 1);
		ck_list("t", "SELECT id FROM tasks");
	} while (faultvfs_fired() > 0);
	ck_assert_uint_gt(failed, 10);
}

START_TEST(journal_mode_fails_to_wal)
{
	changed_or_not(true);
}
END_TEST

START_TEST(journal_mode_fails_to_delete)
{
	changed_or_not(false);
}
END_TEST

KIT_SUITE("board_mode", turned_into_wal_by_others, turned_into_wal_by_others_in_august,
	  journal_mode_fails_to_wal, journal_mode_fails_to_delete, journal_mode_delete_to_wal,
	  journal_mode_wal_to_delete, journal_mode_wal_to_truncate, journal_mode_truncate,
	  journal_mode_keep)
