/* What an operator does: look, repair, restore, accept, take a snapshot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "board/mend.h"
#include "kit/board.h"
#include "kit/rows.h"
#include "kit/visit.h"

static struct mend_report rep; /* too big for a stack */
static const struct snapshot_limits keep = { 24, 7, INT64_C(1) << 30 };

static const struct board_place *place(void)
{
	static struct board_place p;

	p = (struct board_place){ .slug = "default", .db_path = kit.path, .folder = kit.dir };
	return &p;
}

static void fill_board(void)
{
	kit_board(0);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'x', hex(zeroblob(400)), 'done', 1 FROM n");
}

static void break_leaf(void)
{
	rows_overwrite(kit.path,
		       kit_int("SELECT pageno FROM dbstat WHERE name='tasks' AND "
			       "pagetype='leaf' ORDER BY path LIMIT 1 OFFSET 3"),
		       4096);
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s/before.db'", kit.path, kit.dir)), 0);
}

static bool unchanged(void)
{
	return system(kit_printf("cmp -s '%s' '%s/before.db'", kit.path, kit.dir)) == 0;
}

START_TEST(test_check)
{
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), -ENOENT);
	fill_board();
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), 0);
	ck_assert_int_eq(rep.state, HEALTH_HEALTHY);
	ck_assert_ptr_nonnull(strstr(rep.what, "60 tasks"));
	break_leaf();
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), MEND_NOT_WELL);
	ck_assert_int_eq(rep.state, HEALTH_QUARANTINED);
	ck_assert_ptr_nonnull(strstr(rep.will, "lost"));
	ck_assert(unchanged());
	/* it is only looked at: nothing is written beside it */
	ck_assert_int_eq(system(kit_printf("test \"$(ls '%s' | wc -l)\" = 2", kit.dir)), 0);
}
END_TEST

/* What is larger than that is not copied: not to look at it, and not to repair it. */
START_TEST(test_too_large)
{
	fill_board();
	break_leaf();
	rep.max_bytes = 4096;
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), -EFBIG);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "max_evidence_bytes"));
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), -EFBIG);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "max_evidence_bytes"));
	ck_assert(unchanged());
	rep.max_bytes = 0;
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), MEND_NOT_WELL);
}
END_TEST

START_TEST(test_repair)
{
	fill_board();
	ck_assert_int_eq(mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e), 0);
	break_leaf();
	ck_assert_int_eq(mend_repair(place(), REPAIR_LOSSLESS, true, &rep, &kit.e),
			 MEND_NOT_WELL);
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, true, &rep, &kit.e), 0);
	ck_assert(unchanged());
	ck_assert_int_eq(mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e),
			 MEND_NOT_WELL);
	ck_assert(unchanged());
	ck_assert_int_eq(rep.health.state, HEALTH_QUARANTINED);
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), 0);
	ck_assert_int_eq(rep.state, HEALTH_HEALTHY);
	ck_list("ok", "PRAGMA integrity_check");
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), 0);
}
END_TEST

START_TEST(test_locked)
{
	int fd;

	fill_board();
	break_leaf();
	fd = open(kit_printf("%s.dispatch.lock", kit.path), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), MEND_BUSY);
	ck_assert(unchanged());
	ck_assert_int_eq(close(fd), 0);
}
END_TEST

START_TEST(test_snapshot_restore_accept)
{
	char path[HEALTH_PATH_MAX], used[HEALTH_PATH_MAX];
	struct health_good found;

	fill_board();
	ck_assert_int_eq(mend_restore(place(), NULL, 0, false, used, &found, &kit.e),
			 MEND_NOT_WELL); /* there is no copy */
	ck_assert_int_eq(mend_snapshot(place(), &keep, path, &kit.e), 0);
	ck_assert_int_eq(mend_accept(place(), &found, &kit.e), 0); /* known from now on */
	ck_assert_int_eq(found.tasks, 60);
	kit_sql("DELETE FROM tasks");
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), MEND_NOT_WELL);
	ck_assert_int_eq(rep.state, HEALTH_LOST);
	ck_assert_int_eq(mend_restore(place(), NULL, 0, true, used, &found, &kit.e), 0);
	ck_assert_str_eq(used, path);
	ck_list("0", "SELECT count(*) FROM tasks");
	ck_assert_int_eq(mend_restore(place(), NULL, 0, false, used, &found, &kit.e), 0);
	ck_list("60", "SELECT count(*) FROM tasks");
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), 0);
	kit_sql("DELETE FROM tasks");
	ck_assert_int_eq(mend_accept(place(), &found, &kit.e), 0);
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), 0);
	/* gone, and accepted as one that is still to be made */
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(mend_accept(place(), &found, &kit.e), 0);
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), -ENOENT);
}
END_TEST

START_TEST(test_accept_damaged)
{
	struct health_good found;

	fill_board();
	break_leaf();
	ck_assert_int_eq(mend_accept(place(), &found, &kit.e), MEND_NOT_WELL);
	ck_assert(unchanged());
}
END_TEST

/* ---- hands off ----------------------------------------------------------------------- */

static char *dir_list(void)
{
	FILE *p = popen(kit_printf("cd '%s' && ls -A && md5sum kanban.db*", kit.dir), "re");
	char text[8192];
	size_t n;

	ck_assert_ptr_nonnull(p);
	n = fread(text, 1, sizeof(text) - 1, p);
	text[n] = '\0';
	ck_assert_int_eq(pclose(p), 0);
	return kit_printf("%s", text);
}

/* Does anybody open the file of the board for writing, or its sidecars at all? */
static int watch_opens(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(inotify_add_watch(fd, kit.path, IN_CLOSE_WRITE | IN_MODIFY), 0);
	return fd;
}

static bool opened(int fd)
{
	char buf[4096];

	return read(fd, buf, sizeof(buf)) > 0;
}

/* What is recorded as damaged is looked at on copies: no lock, no -shm, nothing. */
START_TEST(test_hands_off)
{
	char path[HEALTH_PATH_MAX], *before;
	int fd;

	fill_board();
	break_leaf();
	ck_assert_int_eq(mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e),
			 MEND_NOT_WELL);
	ck_assert_int_eq(rep.health.state, HEALTH_QUARANTINED);
	before = dir_list();
	fd = watch_opens();
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), MEND_NOT_WELL);
	ck_assert_int_eq(rep.state, HEALTH_QUARANTINED);
	ck_assert_ptr_nonnull(strstr(rep.what, "integrity_check"));
	ck_assert_ptr_nonnull(strstr(rep.will, "lost"));
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, true, &rep, &kit.e), 0);
	ck_assert_uint_gt(rep.repair.n_tables, 0);
	ck_assert_int_eq(mend_snapshot(place(), &keep, path, &kit.e), MEND_NOT_WELL);
	ck_assert(!opened(fd));
	ck_assert_str_eq(dir_list(), before);
	ck_assert_int_eq(close(fd), 0);
	/* it was opened for writing, and this notices: the salvage */
	fd = watch_opens();
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), 0);
	ck_assert(opened(fd));
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(mend_snapshot(place(), &keep, path, &kit.e), 0);
}
END_TEST

/* No snapshot pushes out the good ones of a board that lost what it had. */
START_TEST(test_no_snapshot_of_a_lost_board)
{
	char path[HEALTH_PATH_MAX];
	struct health_good found;

	fill_board();
	ck_assert_int_eq(mend_accept(place(), &found, &kit.e), 0);
	kit_sql("DELETE FROM tasks");
	ck_assert_int_eq(mend_snapshot(place(), &keep, path, &kit.e), MEND_NOT_WELL);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "60 tasks"));
	ck_assert_int_ne(access(kit_printf("%s/snapshots", kit.dir), F_OK), 0);
}
END_TEST

/* Somebody reads on and on: no failed try is booked. */
START_TEST(test_busy)
{
	static struct health was, is;
	struct other o;

	fill_board();
	break_leaf();
	ck_assert_int_eq(mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e),
			 MEND_NOT_WELL);
	ck_assert_int_eq(health_read(kit.path, &was), 0);
	ck_assert_int_eq(was.attempts, 1);
	o = other_open("BEGIN; SELECT count(*) FROM sqlite_schema");
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), MEND_BUSY);
	ck_assert(unchanged());
	ck_assert_int_eq(health_read(kit.path, &is), 0);
	ck_assert_mem_eq(&was, &is, sizeof(was));
	other_close(&o);
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), 0);
	ck_list("ok", "PRAGMA integrity_check");
}
END_TEST

static int64_t seen_done, seen_total;

static void on_progress(void *arg, int64_t done, int64_t total)
{
	ck_assert_ptr_eq(arg, &rep);
	ck_assert_int_ge(done, seen_done);
	seen_done = done;
	seen_total = total;
}

START_TEST(test_progress)
{
	fill_board();
	break_leaf();
	rep.progress = on_progress;
	rep.arg = &rep;
	ck_assert_int_eq(mend_check(place(), &rep, &kit.e), MEND_NOT_WELL);
	ck_assert_int_gt(seen_total, 0);
	seen_done = seen_total = 0;
	ck_assert_int_eq(mend_repair(place(), REPAIR_SALVAGE, false, &rep, &kit.e), 0);
	ck_assert_int_gt(seen_total, 0);
	rep.progress = NULL;
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = {
		test_check,
		test_too_large,
		test_repair,
		test_locked,
		test_snapshot_restore_accept,
		test_accept_damaged,
		test_hands_off,
		test_no_snapshot_of_a_lost_board,
		test_busy,
		test_progress,
	};
	Suite *suite = suite_create("mend");
	TCase *tcase = kit_tcase(suite, "mend", tests, sizeof(tests) / sizeof(tests[0]));

	tcase_set_timeout(tcase, 120); /* locks are waited for */
	return suite;
}
