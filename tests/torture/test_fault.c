/*
 * Every call of the file system goes wrong once while a board is visited: a sound one, and one
 * whose damage the visit repairs. Whatever happens, no row that was committed is lost, nothing
 * damaged is called healthy, what passes is not called damage, and the next visit works.
 *
 * test-timeout: 1800
 * test-in-memory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/board.h"
#include "kit/faultboard.h"
#include "kit/suite.h"
#include "util/clock.h"

/* No power is cut here: what is written is written. */
int fsync(int fd)
{
	(void)fd;
	return 0;
}

/* ---- a visit ---------------------------------------------------------------------------- */

static struct board board;
static struct board_job bj;
static enum board_state was;     /* after act() */
static enum board_outcome ended; /* … */

/* As the daemon does it: tick, upkeep, close; then the daemon is gone. */
static int visit(void)
{
	struct board_place place = { .slug = "default",
				     .db_path = strdup(kit.path),
				     .folder = strdup(kit.dir) };

	ck_assert(place.db_path && place.folder);
	board_init(&board, &place);
	kit.rq.now = clock_wall_s();
	kit.rq.steps = TICK_ALL;
	caps_init(&kit.caps, -1);
	bj = (struct board_job){ .board = &board,
				 .rq = kit.rq,
				 .checkpoint = true,
				 .close = true,
				 .last = true,
				 .epoch = fault_epoch };
	board.busy = true;
	board_job_run(&bj);
	was = bj.state;
	ended = bj.outcome;
	plan_deinit(&bj.plan);
	caps_deinit(&kit.caps);
	board_deinit(&board);
	return ended == BOARD_DONE && was == BOARD_HEALTHY ? 0 : 1;
}

/* What was there before the visit is there: the tick only adds, and takes one task. */
static void nothing_lost(void)
{
	char *rows = sweep_rows(), *line = fault_whole, *end;

	sweep_assert(rows != NULL, "%s", "the board is not sound");
	for (; (end = strchr(line, '\n')); line = end + 1) {
		char *text = strndup(line, (size_t)(end - line) + 1);

		ck_assert_ptr_nonnull(text);
		/* the task that is claimed, and counters */
		if (!strstr(text, "t_ready") && strncmp(text, "task_", 5) != 0)
			sweep_assert(strstr(rows, text) != NULL, "lost: %s", text);
		free(text);
	}
	free(rows);
}

static void is(const char *sql, const char *want)
{
	char *got = sweep_text(sql);

	sweep_assert(got && strcmp(got, want) == 0, "%s: %s, not %s", sql, got ? got : "none",
		     want);
	free(got);
}

/* Either it was claimed, run and event with it, or it was not. */
static void claimed_whole(void)
{
	is("SELECT count(*) FROM tasks t WHERE (status='running') <> EXISTS (SELECT 1 FROM"
	   " task_runs r WHERE r.id=t.current_run_id AND r.ended_at IS NULL)",
	   "0");
	is("SELECT (SELECT count(*) FROM task_runs) = (SELECT count(*) FROM task_events WHERE"
	   " kind='claimed')",
	   "1");
}

static void visit_judge(const struct sweep_fault *f, int r)
{
	size_t evidence = sweep_count("kanban.db.corrupt.*.bak");

	nothing_lost();
	claimed_whole();
	fault_no_scraps(f->kind);
	fault_snapshots_sound();
	if (r == 0 && f->kind != FAULT_SHORT) /* rows it is not shown it cannot take */
		is("SELECT status FROM tasks WHERE id='t_ready'", "running");
	/* What passes is not called damage. Bytes that are not there look like it. */
	if (f->kind != FAULT_SHORT) {
		sweep_assert(evidence == 0, "%s", "evidence of a sound board");
		sweep_assert(f->kind == FAULT_DIE || was == BOARD_HEALTHY ||
				     was == BOARD_TROUBLED,
			     "%s: %s", board_state_name(was), bj.error.text);
	}
	sweep_assert(evidence <= 1, "%zu sets of evidence", evidence);
}

static void visit_again(const struct sweep_fault *f)
{
	/* what looked like damage is looked at again in the next fault_epoch */
	fault_epoch += f->kind == FAULT_SHORT;
	sweep_assert(visit() == 0, "the next visit: %s: %s", board_state_name(was),
		     bj.error.text);
	nothing_lost();
	claimed_whole();
	is("SELECT status FROM tasks WHERE id='t_ready'", "running");
	fault_no_scraps(FAULT_NONE);
	fault_snapshots_sound();
}

START_TEST(test_visit)
{
	static const struct sweep s = { visit, visit_judge, visit_again };

	fault_fill(_i ? KIT_WAL : 0);
	kit_task("t_ready", "ready", NULL);
	kit.set.snapshot_interval_s = 3600;
	kit.set.snapshot_keep_hourly = 24;
	kit.set.snapshot_max_bytes = 1 << 30;
	fault_whole = sweep_rows();
	sweep_keep();
	sweep_run(&s);
}
END_TEST

/* ---- a visit that repairs ------------------------------------------------------------ */

static void repair_visit_again(const struct sweep_fault *f)
{
	fault_back_to_evidence(f);
	fault_epoch++; /* the next try of one that was quarantined */
	sweep_assert(visit() == 0, "the next visit: %s: %s", board_state_name(was),
		     bj.error.text);
	sweep_same(fault_whole);
	fault_evidence_kept();
	fault_no_scraps(FAULT_NONE);
}

START_TEST(test_repair_by_visit)
{
	static const struct sweep s = { visit, fault_repair_judge, repair_visit_again };

	fault_damaged(_i / FAULT_HARMS ? KIT_WAL : 0, fault_harms[_i % FAULT_HARMS]);
	sweep_run(&s);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("fault");
	TCase *tcase = tcase_create("visit");

	tcase_add_checked_fixture(tcase, fault_setup, fault_teardown);
	tcase_set_timeout(tcase, 1700);
	tcase_add_loop_test(tcase, test_visit, 0, 2);
	tcase_add_loop_test(tcase, test_repair_by_visit, 0, 2 * FAULT_HARMS);
	suite_add_tcase(suite, tcase);
	return suite;
}
