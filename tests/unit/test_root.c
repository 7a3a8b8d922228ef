/*
 * A root on a real loop, with a real lease and real workers (a shell script in the place of
 * hermes): scan, claim, launch, record, watch, end, stop. Every wait is "turn the loop until".
 */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/board.h"
#include "kit/board.h"
#include "kit/root.h"
#include "recovery/repair.h"
#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/root.h"
#include "util/clock.h"

/* The loop runs for a while: how many visits were there? */
static unsigned visits_in(unsigned ms)
{
	const unsigned before = w.visits;

	UNTIL_MS(false, ms);
	return w.visits - before;
}

/* What was written is looked for a few times more; then nothing is left to do. */
static void becomes_quiet(void)
{
	int i = 0;

	while (visits_in(300) > 3)
		ck_assert_msg(i++ < 60, "visited again and again");
}

/* @hook comes between a launch and its record, unless a visit is on just then: so at the next.
 */
static void begin_with(void (*hook)(void))
{
	w.on_changed = hook;
	kit_root_begin();
	for (int i = 1; w.on_changed; i++) {
		UNTIL(!w.on_changed ||
		      (kit_root_board("default") && !kit_root_board("default")->board.busy &&
		       kit_int("SELECT count(*) FROM task_events WHERE kind = 'spawned'") ==
			       i));
		if (w.on_changed)
			kit_root_ready(kit_printf("more%d", i));
	}
}

/* ---- from ready to blocked
 * --------------------------------------------------------------------- */

START_TEST(claim_launch_record_watch_book)
{
	kit_root_setup();
	kit_board(0);
	kit_root_ready("t");
	kit_root_begin();
	UNTIL(kit_root_board("default") && kit_root_board("default")->workers.n_exits == 1 &&
	      visit_idle(kit_root_board("default")));
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	ck_list("blocked|1", "SELECT status, consecutive_failures FROM tasks");
	ck_list("nonzero_exit|3", "SELECT payload ->> 'exit_kind', payload ->> 'exit_code' FROM"
				  " task_events WHERE kind = 'crashed'");
	kit_claim_invariant();
	ck_assert_ptr_null(kit_root_board("default")->workers.list);
	/* and then it is quiet */
	becomes_quiet();
	kit_root_end();
}
END_TEST

/* inotify brings a commit of others to a tick; the sweep is a minute away. */
static void woken(unsigned flags, unsigned open_max)
{
	kit_root_setup();
	w.env.open_max = open_max;
	kit_board(flags);
	kit_root_begin();
	UNTIL(kit_root_board("default") &&
	      kit_root_board("default")->board.state == BOARD_HEALTHY &&
	      kit_root_board("default")->adopted);
	(void)visits_in(150);
	for (int i = 0; i < 3; i++) {
		char *id = kit_printf("t%d", i);

		kit_root_ready(id);
		UNTIL(kit_root_kinds_are(
			id, i ? "claimed,spawned,crashed,gave_up"
			      : "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
		(void)visits_in(100);
	}
	kit_root_end();
}

START_TEST(woken_delete)
{
	woken(0, 16);
}
END_TEST

START_TEST(woken_wal)
{
	woken(KIT_WAL, 16);
}
END_TEST

START_TEST(woken_with_no_connection_open)
{
	woken(KIT_WAL, 0);
}
END_TEST

START_TEST(many_at_once_are_recorded_once)
{
	kit_root_setup();
	kit_board(0);
	for (int i = 0; i < 70; i++) /* three batches */
		kit_root_ready(kit_printf("t%d", i));
	kit_root_begin();
	UNTIL(kit_root_board("default") && !kit_root_board("default")->board.busy &&
	      kit_root_board("default")->workers.n_exits == 70 &&
	      visit_idle(kit_root_board("default")) &&
	      !kit_root_board("default")->workers.list &&
	      kit_int("SELECT count(*) FROM tasks WHERE status = 'blocked'") == 70);
	ck_list("70|70",
		"SELECT count(*), count(DISTINCT task_id) FROM task_events WHERE kind ="
		" 'spawned'");
	ck_list("70", "SELECT count(*) FROM task_runs WHERE outcome = 'crashed'");
	kit_claim_invariant();
	kit_root_end();
}
END_TEST

/* What is this host's fault is charged to no task, and goes on by itself. */
START_TEST(a_host_that_starts_nothing)
{
	kit_root_setup();
	w.launcher.hermes = kit_printf("%s/later/hermes", kit.dir);
	kit.set.hermes = w.launcher.hermes;
	kit_board(0);
	for (int i = 0; i < 40; i++)
		kit_root_ready(kit_printf("t%d", i));
	kit_root_begin();
	UNTIL(w.root->hostfault && visit_idle(kit_root_board("default")) &&
	      kit_root_board("default")->last.ready == 40);
	ck_list("40|0", "SELECT count(*), sum(consecutive_failures) FROM tasks WHERE status ="
			" 'ready'");
	ck_list("0", "SELECT count(*) FROM task_events WHERE kind = 'spawn_failed'");
	ck_assert_ptr_nonnull(strstr(hostfault_why(w.root, NULL, NULL), "does not exist"));
	/* while it holds, nothing is claimed */
	wakeup_want(kit_root_board("default"), WANT_FULL);
	(void)visits_in(200);
	ck_assert_int_eq(kit_root_board("default")->last.waits & WAIT_HOST, WAIT_HOST);
	ck_list("40", "SELECT count(*) FROM tasks WHERE status = 'ready'");
	ck_assert_int_eq(system(kit_printf("mkdir %s/later && ln -s /bin/false %s/later/hermes",
					   kit.dir, kit.dir)),
			 0);
	UNTIL(!w.root->hostfault);
	UNTIL(kit_int("SELECT count(*) FROM task_events WHERE kind = 'spawned'") >= 40);
	kit_root_end();
}
END_TEST

START_TEST(a_launch_that_fails_is_booked_and_held)
{
	kit_root_setup();
	kit.set.failure_limit = 3;
	kit_board(0);
	kit_root_begin();
	ck_assert_int_eq(system(kit_printf("mkdir -p %s/profiles/sudo", kit.dir)), 0);
	kit_task("t", "ready", "assignee = 'sudo'"); /* which hermes refuses */
	root_sweep(w.root);
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawn_failed"));
	ck_list("ready|1", "SELECT status, consecutive_failures FROM tasks");
	ck_assert_uint_eq(kit_root_board("default")->launches.n_holds, 1);
	/* not again before the interval is over */
	wakeup_want(kit_root_board("default"), WANT_FULL);
	(void)visits_in(200);
	UNTIL(visit_idle(kit_root_board("default")));
	ck_assert_str_eq(kit_kinds("t"), "claimed,tip_scratch_workspace,spawn_failed");
	kit_root_end();
}
END_TEST

/* ---- what cannot be booked now
 * -------------------------------------------------------------------- */

static sqlite3 *other;

static void lock_before_the_record(void)
{
	struct dispatch *d = kit_root_board("default");

	if (!d || !d->launches.launching || d->board.busy)
		return;
	ck_assert_int_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	w.on_changed = NULL;
}

START_TEST(a_failed_record_is_kept_and_tried_again)
{
	kit_root_setup();
	kit_board(0);
	kit_root_ready("t");
	kit_root_hermes(
		kit_printf("i=0; while ! [ -e %s/go ] && [ $i -lt 600 ]; do sleep 0.05; "
			   "i=$((i+1)); done; exit 3",
			   kit.dir));
	ck_assert_int_eq(sqlite3_open(kit.path, &other), SQLITE_OK);
	w.on_changed = lock_before_the_record;
	kit_root_begin();
	UNTIL(kit_root_board("default") && kit_root_board("default")->visit.locked > 0 &&
	      kit_root_board("default")->launches.finished);
	/* longer than the busy timeout: that is to be seen */
	UNTIL(kit_root_board("default")->board.state == BOARD_TROUBLED);
	ck_assert_uint_eq(kit_root_board("default")->visit.failures, 0);
	ck_assert_int_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned"));
	ck_assert_ptr_null(kit_root_board("default")->launches.finished);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	kit_root_end();
}
END_TEST

static char saved[100];

static void write_head(const char *bytes)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, sizeof(saved), 0), (ssize_t)sizeof(saved));
	(void)close(fd);
}

static void damage_before_the_record(void)
{
	struct dispatch *d = kit_root_board("default");
	int fd;

	if (!d || !d->launches.launching || d->board.busy)
		return;
	w.on_changed = NULL;
	fd = open(kit.path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, saved, sizeof(saved), 0), (ssize_t)sizeof(saved));
	(void)close(fd);
	write_head("this is no header of SQLite, and it is longer than a header has to be to "
		   "be one"
		   " hundred bytes long..");
}

/* A damaged board is left alone, also with something to bring home; mended, it gets it. */
START_TEST(a_record_for_a_damaged_board_waits)
{
	kit_root_setup();
	kit_board(0);
	kit_root_ready("t");
	kit_root_hermes(
		kit_printf("i=0; while ! [ -e %s/go ] && [ $i -lt 600 ]; do sleep 0.05; "
			   "i=$((i+1)); done; exit 3",
			   kit.dir));
	kit.set.repair_policy = REPAIR_NEVER;
	begin_with(damage_before_the_record);
	UNTIL(kit_root_board("default") &&
	      kit_root_board("default")->board.state == BOARD_QUARANTINED);
	UNTIL(!kit_root_board("default")->board.busy &&
	      kit_root_board("default")->launches.finished); /* kept */
	becomes_quiet();
	write_head(saved);
	root_sweep(w.root);
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned"));
	ck_assert_int_eq(kit_root_board("default")->board.state, BOARD_HEALTHY);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	kit_root_end();
}
END_TEST

static void remove_before_the_record(void)
{
	struct dispatch *d = kit_root_board("default");

	if (!d || !d->launches.launching || d->board.busy)
		return;
	w.on_changed = NULL;
	ck_assert_int_eq(unlink(kit.path), 0);
}

/* Tasks had been there: it is lost, not merely missing. */
START_TEST(a_record_for_a_lost_board_waits)
{
	kit_root_setup();
	kit_board(0);
	kit_root_ready("t");
	begin_with(remove_before_the_record);
	UNTIL(kit_root_board("default") &&
	      kit_root_board("default")->board.state == BOARD_LOST);
	UNTIL(!kit_root_board("default")->board.busy &&
	      kit_root_board("default")->launches.finished); /* kept */
	becomes_quiet();
	kit_root_end();
}
END_TEST

/* Others write to it all the time, so each sweep finds it busy. */
START_TEST(a_busy_board_is_checkpointed)
{
	struct dispatch *d;

	kit_root_setup();
	kit_board(KIT_WAL);
	kit_root_begin();
	UNTIL(kit_root_board("default") && kit_root_board("default")->adopted &&
	      visit_idle(kit_root_board("default")));
	d = kit_root_board("default");
	d->board.checkpointed_at = 0;
	wakeup_want(d, WANT_TICK);
	ck_assert(d->board.busy);
	dispatch_sweep(d, false);
	UNTIL(!d->board.busy && d->board.checkpointed_at > 0);
	kit_root_end();
}
END_TEST

/* ---- ending workers
 * ------------------------------------------------------------------------------------ */

START_TEST(over_time_is_ended_and_booked)
{
	char *deaf = kit_printf("%s/deaf", kit.dir);
	unsigned before;

	kit_root_setup();
	kit.set.terminate_grace_ms = 600;
	kit_board(0);
	kit_task("t", "ready", NULL);
	kit_root_hermes(kit_printf(
		"trap '' TERM; >%s; i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done",
		deaf));
	kit_root_begin();
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned"));
	while (access(deaf, F_OK) < 0)
		(void)uv_run(&w.loop, UV_RUN_NOWAIT);
	kit_sql("UPDATE task_runs SET max_runtime_seconds = 1, started_at = started_at - 2");
	UNTIL(kit_root_board("default")->workers.ending);
	before = w.visits;
	wakeup_want(kit_root_board("default"), WANT_FULL); /* a tick while it is being ended */
	UNTIL(!kit_root_board("default")->workers.ending);
	ck_assert_uint_le(w.visits - before, 12);
	UNTIL(kit_root_kinds_are("t",
				 "claimed,tip_scratch_workspace,spawned,timed_out,gave_up"));
	ck_list("1", "SELECT payload ->> 'sigkill' FROM task_events WHERE kind = 'timed_out'");
	kit_claim_invariant();
	kit_root_end();
}
END_TEST

/* So many sweeps, one after the other, by the counter; was it told again? */
static bool told_in_sweeps(struct dispatch *d, int sweeps)
{
	d->last.stuck_told_ms = d->last.stuck_told_ms ? 1 : 0; /* long ago */
	for (int i = 0; i < sweeps; i++) {
		d->last.stuck_ms = 0;
		dispatch_sweep(d, false);
		UNTIL(visit_idle(d));
	}
	return d->last.stuck_told_ms > 1;
}

/* A lane that people pull is told of once, not all day long; what else waits is told again. */
static void a_lane_of_people(unsigned flags)
{
	struct dispatch *d;

	kit_root_setup();
	kit_board(flags);
	kit_task("t", "ready", "assignee = 'orion'");
	kit_root_begin();
	UNTIL((d = kit_root_board("default")) && d->adopted && visit_idle(d) &&
	      d->last.left.nonspawnable == 1);
	ck_assert(told_in_sweeps(d, 8));
	ck_assert(!told_in_sweeps(d, 8));
	kit_task("u", "ready", "assignee = NULL");
	UNTIL(d->last.ready == 2 && visit_idle(d));
	ck_assert(told_in_sweeps(d, 8));
	kit_root_end();
}

START_TEST(a_lane_that_people_pull_is_told_once)
{
	a_lane_of_people(0);
}
END_TEST

START_TEST(a_lane_that_people_pull_is_told_once_in_august)
{
	a_lane_of_people(KIT_AUGUST);
}
END_TEST

KIT_SUITE("root", a_lane_that_people_pull_is_told_once,
	  a_lane_that_people_pull_is_told_once_in_august, claim_launch_record_watch_book,
	  woken_delete, woken_wal, woken_with_no_connection_open,
	  many_at_once_are_recorded_once, a_launch_that_fails_is_booked_and_held,
	  a_host_that_starts_nothing, a_failed_record_is_kept_and_tried_again,
	  a_record_for_a_damaged_board_waits, a_record_for_a_lost_board_waits,
	  a_busy_board_is_checkpointed, over_time_is_ended_and_booked)
