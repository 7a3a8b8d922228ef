/*
 * Every call of the file system goes wrong once during what an operator does: repair, snapshot,
 * restore. Whatever happens, no row that was committed is lost, nothing damaged is called
 * healthy, and the next try works.
 *
 * test-timeout: 1800
 * test-in-memory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/mend.h"
#include "kit/faultboard.h"
#include "kit/suite.h"

/* No power is cut here: what is written is written. */
int fsync(int fd)
{
	(void)fd;
	return 0;
}

static struct mend_report rep;
static const struct snapshot_limits keep = { 24, 7, INT64_C(1) << 30 };

static const struct board_place *place(void)
{
	static struct board_place p;

	p = (struct board_place){ .slug = "default", .db_path = kit.path, .folder = kit.dir };
	return &p;
}

static int repair(void)
{
	kit.e = (struct error)ERROR_NULL;
	return mend_repair(place(), REPAIR_LOSSLESS, false, &rep, &kit.e);
}

static void repair_again(const struct sweep_fault *f)
{
	int r;

	fault_back_to_evidence(f);
	r = repair();
	sweep_assert(r == 0, "the next repair: %d %s", r, kit.e.text);
	sweep_same(fault_whole);
	fault_no_scraps(FAULT_NONE);
}

START_TEST(test_repair)
{
	static const struct sweep s = { repair, fault_repair_judge, repair_again };

	fault_damaged(_i / FAULT_HARMS ? KIT_WAL : 0, fault_harms[_i % FAULT_HARMS]);
	sweep_run(&s);
}
END_TEST

static int snapshot(void)
{
	char path[HEALTH_PATH_MAX];

	kit.e = (struct error)ERROR_NULL;
	return mend_snapshot(place(), &keep, path, &kit.e);
}

static void snapshot_judge(const struct sweep_fault *f, int r)
{
	sweep_same(fault_whole);
	fault_no_scraps(f->kind);
	fault_snapshots_sound();
	sweep_assert(r != 0 || sweep_count("snapshots/*.db") > 0, "%s", "there is none");
}

static void snapshot_again(const struct sweep_fault *f)
{
	int r = snapshot();

	(void)f;
	sweep_assert(r == 0, "the next snapshot: %d %s", r, kit.e.text);
	sweep_assert(sweep_count("snapshots/*.db") > 0, "%s", "there is none");
	sweep_same(fault_whole);
	fault_snapshots_sound();
	fault_no_scraps(FAULT_NONE);
}

START_TEST(test_snapshot)
{
	static const struct sweep s = { snapshot, snapshot_judge, snapshot_again };

	fault_fill(_i ? KIT_WAL : 0);
	fault_whole = sweep_rows();
	sweep_keep();
	sweep_run(&s);
}
END_TEST

/* Emptied by somebody; the snapshot has everything. */
static char *emptied;

static int restore(void)
{
	char used[HEALTH_PATH_MAX];
	struct health_good found;

	kit.e = (struct error)ERROR_NULL;
	/* from that copy, and no other */
	return mend_restore(place(), kit_printf("%s/snapshots/2026-01-01T000000Z.db", kit.dir),
			    0, false, used, &found, &kit.e);
}

static void restore_judge(const struct sweep_fault *f, int r)
{
	char *rows = sweep_rows();
	fault_no_scraps(f->kind);
	fault_snapshots_sound();
	if (!rows && f->kind == FAULT_SHORT && f->persists) /* as in fault_back_to_evidence() */
		sweep_assert(r != 0 && sweep_count("kanban.db.corrupt.*.bak") > 0, "%s",
			     "what was there is not kept");
	else if (r == 0 || !rows || strcmp(rows, emptied) != 0) /* not what was there before */
		sweep_equal(rows, fault_whole);
	free(rows);
	if (r == 0)
		sweep_assert(sweep_count("kanban.db.corrupt.*.bak") == 1, "%s",
			     "what was there is not kept");
}

static void restore_again(const struct sweep_fault *f)
{
	int r;

	(void)f;
	r = restore();
	sweep_assert(r == 0, "the next restore: %d %s", r, kit.e.text);
	sweep_same(fault_whole);
	fault_no_scraps(FAULT_NONE);
}

START_TEST(test_restore)
{
	static const struct sweep s = { restore, restore_judge, restore_again };

	fault_damaged(_i ? KIT_WAL : 0, fault_settle);
	kit_sql("DELETE FROM tasks; DELETE FROM task_events; DELETE FROM task_comments");
	fault_settle();
	emptied = sweep_rows();
	sweep_keep();
	sweep_run(&s);
	free(emptied);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("fault_mend");
	TCase *tcase = tcase_create("mend");

	tcase_add_checked_fixture(tcase, fault_setup, fault_teardown);
	tcase_set_timeout(tcase, 1700);
	tcase_add_loop_test(tcase, test_repair, 0, 2 * FAULT_HARMS);
	tcase_add_loop_test(tcase, test_snapshot, 0, 2);
	tcase_add_loop_test(tcase, test_restore, 0, 2);
	suite_add_tcase(suite, tcase);
	return suite;
}
