/* What a visit has seen of a board, its locks and its lease, what it brings and what it leaves.
 */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "board/board.h"
#include "kit/board.h"
#include "kit/stamp.h"
#include "kit/visit.h"
#include "recovery/repair.h"
#include "util/clock.h"
#include "util/fs.h"

/* ---- what was seen
 * ---------------------------------------------------------------------------- */

/* Our own commits are no news; somebody else's are. */
static void echo(unsigned flags)
{
	int64_t began;

	kit_board(flags);
	kit_ready("a");
	visit_setup();
	began = clock_wall_us();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	/* written a moment ago: an equal stamp proves nothing; where the machine stood still
	 * since, it does */
	ck_assert(kit_stamps_differ() || clock_wall_us() - began > 1000 * 1000);
	kit_age();
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert(!kit_stamps_differ());
	kit_ready("b");
	ck_assert(kit_stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	visit_cleanup();
}

START_TEST(echo_delete)
{
	echo(0);
}
END_TEST

START_TEST(echo_wal)
{
	echo(KIT_WAL);
}
END_TEST

/* The connection was closed in between: data_version of the new one says nothing. */
static void reopened(unsigned flags)
{
	kit_board(flags);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	ck_assert_ptr_null(board.db);
	kit_age();
	board.seen_db = fs_stamp_of(kit.path);
	board.seen_wal = fs_stamp_of(kit_printf("%s-wal", kit.path));
	board.seen_racy = false;
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert_ptr_null(board.db); /* the stamps were enough */
	kit_ready("t");
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	/* and once more, with a connection that comes and goes */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	kit_ready("u");
	kit.rq.steps = TICK_ALL;
	ck_assert_int_eq(visit_as((struct board_job){ .only_if_changed = true }), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	visit_cleanup();
}

START_TEST(reopened_delete)
{
	reopened(0);
}
END_TEST

START_TEST(reopened_wal)
{
	reopened(KIT_WAL);
}
END_TEST

/* A commit before a visit that does not tick (a checkpoint, a record) is still news after it.
 */
START_TEST(a_visit_without_a_tick_has_seen_nothing)
{
	static char x[] = "x";
	struct plan_victim gone = {
		.cause = VICTIM_TERMINAL, .task = x, .run = 1, .current_run = 1, .pid = 9
	};

	kit_board(KIT_WAL);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	kit_ready("a");
	kit_age();
	ck_assert_int_eq(bring((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert(kit_stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	kit_ready("b");
	ck_assert_int_eq(bring((struct board_job){ .ended = &gone, .n_ended = 1 }), BOARD_DONE);
	ck_assert(bj.ended_booked && bj.recorded);
	kit_age();
	ck_assert(kit_stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	/* the first visit of a connection, too */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	ck_assert_int_eq(bring((struct board_job){ 0 }), BOARD_DONE);
	kit_age();
	ck_assert(kit_stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	visit_cleanup();
}
END_TEST

static unsigned commit_at;

/* Somebody commits while the tick is at work, each time at another point of it. */
static void commits_mid_tick(void)
{
	if (kit.owner_asked == commit_at) {
		kit.on_owner = NULL;
		kit_sql("INSERT INTO task_events (task_id, kind, created_at) VALUES ('x', 'y', "
			"1)");
	}
}

START_TEST(a_commit_during_the_tick_is_not_missed)
{
	for (commit_at = 1; commit_at < 3; commit_at++) {
		(void)unlink(kit.path);
		kit_board(KIT_WAL); /* in DELETE mode our transaction would keep it out */
		kit_ready("t");
		visit_setup();
		kit.rq.once = false;
		kit.owner_asked = 0;
		kit.on_owner = commit_at == 1 ? commits_mid_tick : NULL;
		ck_assert_int_eq(visit(), BOARD_DONE);
		if (commit_at == 1) {
			ck_assert_ptr_null(kit.on_owner); /* it did commit */
			ck_assert(bj.pending);
			kit_age();
			ck_assert(kit_stamps_differ());
			ck_assert_int_eq(look(), BOARD_DONE);
		}
		ck_assert_int_eq(look(), BOARD_UNCHANGED);
		visit_cleanup();
		memset(&bj, 0, sizeof(bj));
	}
}
END_TEST

/* Its writes have woken us, its commit will not: it is looked for until it is there, or rolled
 * back.
 */
START_TEST(a_commit_behind_what_was_seen)
{
	for (unsigned wal = 0; wal < 2; wal++) {
		sqlite3 *o = NULL;

		(void)unlink(kit.path);
		kit_board(wal ? KIT_WAL : 0);
		visit_setup();
		kit.rq.once = false;
		ck_assert_int_eq(visit(), BOARD_DONE);
		ck_assert(!bj.pending);
		kit_ready("a");
		ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
		if (wal)
			ck_assert_int_eq(sqlite3_exec(o, "BEGIN IMMEDIATE", NULL, NULL, NULL),
					 SQLITE_OK);
		kit.rq.steps = TICK_PROMOTE; /* which has nothing to write */
		ck_assert_int_eq(visit_as((struct board_job){ .only_if_changed = true }),
				 BOARD_DONE);
		ck_assert(bj.pending == wal);
		ck_assert_int_eq(visit_as((struct board_job){ .only_if_changed = true }),
				 BOARD_UNCHANGED);
		ck_assert(bj.pending == wal);
		if (wal)
			ck_assert_int_eq(sqlite3_exec(o, "ROLLBACK", NULL, NULL, NULL),
					 SQLITE_OK);
		ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
		ck_assert_int_eq(visit_as((struct board_job){ .only_if_changed = true }),
				 BOARD_UNCHANGED);
		ck_assert(!bj.pending);
		visit_cleanup();
		memset(&bj, 0, sizeof(bj));
	}
}
END_TEST

/* ---- locks and leases
 * --------------------------------------------------------------------------- */

static int lock_file(const char *suffix)
{
	int fd = fs_lock_open(kit_printf("%s%s", kit.path, suffix));

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fs_lock_try(fd), 0);
	return fd;
}

START_TEST(dispatch_lock_held_elsewhere)
{
	int fd;

	kit_board(0);
	kit_ready("t");
	visit_setup();
	fd = lock_file(".dispatch.lock");
	ck_assert_int_eq(visit(), BOARD_LOCKED);
	ck_assert(!changed);
	ck_assert_int_eq(board.state, BOARD_NEW);
	ck_list("ready", "SELECT status FROM tasks");
	(void)close(fd);
	ck_assert_int_eq(visit(), BOARD_DONE);
	fd = lock_file(".dispatch.lock"); /* it was given back */
	ck_assert_int_eq(bring((struct board_job){ .checkpoint = true }), BOARD_LOCKED);
	ck_assert_ptr_nonnull(board.db);
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_LOCKED);
	ck_assert_ptr_null(board.db); /* closing needs no lock */
	(void)close(fd);
	visit_cleanup();
}
END_TEST

START_TEST(init_lock_is_taken_for_the_first_open_only)
{
	char *path;

	kit_board(0);
	path = kit_printf("%s.init.lock", kit.path);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(access(path, F_OK), 0);
	(void)close(lock_file(".init.lock")); /* free again */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_ne(access(path, F_OK), 0);
	visit_cleanup();
}
END_TEST

START_TEST(lease_lost_mid_tick)
{
	kit_board(0);
	kit_task("t", "todo", NULL);
	visit_setup();
	for (int left = 0; left < 3; left++) {
		kit.owner_left = left;
		ck_assert_int_eq(visit(), left < 2 ? BOARD_LEASE_LOST : BOARD_LEASE_LOST);
		ck_assert_uint_eq(bj.plan.n_launches, 0);
		ck_assert(!changed);
		ck_assert(kit_stamps_differ());
	}
	/* the promotion had committed while the lease was ours; the claim had not */
	ck_list("ready|-", "SELECT status, claim_lock FROM tasks");
	kit.owner_left = -1;
	ck_assert_int_eq(visit(), BOARD_DONE);
	visit_cleanup();
}
END_TEST

/* ---- ended, record, checkpoint, close
 * ------------------------------------------------------------ */

START_TEST(ended_and_record_say_what_is_committed)
{
	static char a[] = "a", b[] = "b", lock[] = KIT_LOCK;
	struct plan_launch launch = { .task = b, .claim_lock = lock, .max_retries = -1 };
	struct tick_launched launched = { .launch = &launch, .error = "no" };
	struct plan_victim victim = { .cause = VICTIM_EXPIRED,
				      .task = a,
				      .claim_lock = lock,
				      .pid = 101,
				      .claim_expires = -1,
				      .heartbeat = -1,
				      .attempted = true,
				      .terminated = true };

	kit_board(0);
	victim.run = victim.current_run = kit_run("a", 101, NULL, NULL);
	launch.run = kit_run("b", 0, NULL, NULL);
	/* a second event of the kind is refused */
	kit_event("c", "spawn_failed", NULL, 1);
	kit_sql("CREATE UNIQUE INDEX no ON task_events(kind) WHERE kind = 'spawn_failed'");
	visit_setup();
	ck_assert_int_eq(
		bring((struct board_job){
			.ended = &victim, .n_ended = 1, .record = &launched, .n_record = 1 }),
		BOARD_FAILED);
	ck_assert(bj.ended_booked && !bj.recorded);
	ck_list("ready,running", "SELECT status FROM tasks ORDER BY rowid");
	kit_allow();
	ck_assert_int_eq(bring((struct board_job){ .record = &launched, .n_record = 1 }),
			 BOARD_DONE);
	ck_assert(bj.recorded);
	ck_list("ready,ready", "SELECT status FROM tasks ORDER BY rowid");
	visit_cleanup();
}
END_TEST

START_TEST(checkpoint_when_due)
{
	char *wal = kit_printf("%s-wal", kit.path);
	struct stat st;

	kit_board(KIT_WAL);
	kit_ready("t");
	visit_setup();
	kit.rq.steps = TICK_ALL;
	ck_assert_int_eq(visit_as((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert_int_ge(board.checkpointed_at, clock_wall_s() - 5);
	ck_assert_int_eq(stat(wal, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	kit_ready("u");
	ck_assert_int_eq(visit_as((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert_int_eq(stat(wal, &st), 0);
	ck_assert_int_gt(st.st_size, 0); /* not due */
	/* closing for a while leaves the -wal, so that nothing looks changed */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	ck_assert_int_eq(access(wal, F_OK), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(
		bring((struct board_job){ .close = true, .last = true, .checkpoint = true }),
		BOARD_DONE);
	ck_assert_int_ne(access(wal, F_OK), 0);
	visit_cleanup();
}
END_TEST

START_TEST(a_writer_in_the_way_of_a_checkpoint)
{
	sqlite3 *o = NULL;

	kit_board(KIT_WAL);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	board.checkpointed_at = 0;
	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(o, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(bring((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert_int_eq(board.checkpointed_at, 0);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_int_eq(sqlite3_exec(o, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	ck_assert_int_eq(bring((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert_int_gt(board.checkpointed_at, 0);
	visit_cleanup();
}
END_TEST

/* ---- on the pool
 * ----------------------------------------------------------------------------------- */

static void on_done(struct job *job)
{
	board_publish((struct board_job *)job, &changed);
}

START_TEST(submitted)
{
	struct jobs jobs;
	uv_loop_t loop;

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	jobs_init(&jobs, &loop);
	kit_board(0);
	kit_ready("t");
	visit_setup();
	bj.board = &board;
	bj.rq = kit.rq;
	ck_assert_int_eq(board_submit(&jobs, &bj, on_done), 0);
	ck_assert(board.busy);
	while (jobs.count > 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert(!board.busy && changed);
	ck_assert_int_eq(bj.outcome, BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	visit_cleanup();
	kit_loop_ended();
}
END_TEST

KIT_SUITE("board_seen", echo_delete, echo_wal, reopened_delete, reopened_wal,
	  a_visit_without_a_tick_has_seen_nothing, a_commit_during_the_tick_is_not_missed,
	  a_commit_behind_what_was_seen, dispatch_lock_held_elsewhere,
	  init_lock_is_taken_for_the_first_open_only, lease_lost_mid_tick,
	  ended_and_record_say_what_is_committed, checkpoint_when_due,
	  a_writer_in_the_way_of_a_checkpoint, submitted)
