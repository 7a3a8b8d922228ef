/*
 * The door: what a visit makes of a board, which bytes it holds for seen, and that whoever
 * commits beside it is never missed. Visits run on this thread; the fakes of the kit are their
 * outside.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "board/board.h"
#include "kit/board.h"
#include "kit/visit.h"
#include "recovery/repair.h"
#include "util/clock.h"
#include "util/fs.h"

static bool stamps_differ(void)
{
	char *wal = kit_printf("%s-wal", kit.path);
	struct board_place now = { .db = file_stamp_of(kit.path), .wal = file_stamp_of(wal) };

	return board_changed(&board, &now);
}

/* Make the files look older than the resolution of time stamps. */
static void age(void)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					   { .tv_sec = time(NULL) - 100 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, kit.path, times, 0), 0);
	(void)utimensat(AT_FDCWD, kit_printf("%s-wal", kit.path), times, 0);
}

static void add_ready(const char *id)
{
	kit_task(id, "ready", NULL);
}

/* ---- states ---------------------------------------------------------------------------------
 */

START_TEST(state_names)
{
	ck_assert_str_eq(board_state_name(BOARD_NEW), "new");
	ck_assert_str_eq(board_state_name(BOARD_HEALTHY), "healthy");
	ck_assert_str_eq(board_state_name(BOARD_MISSING), "missing");
	ck_assert_str_eq(board_state_name(BOARD_TROUBLED), "troubled");
	ck_assert_str_eq(board_state_name(BOARD_SCHEMA), "schema");
	ck_assert_str_eq(board_state_name(BOARD_QUARANTINED), "quarantined");
}
END_TEST

START_TEST(healthy)
{
	kit_board(0);
	add_ready("t");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(changed && board.checked);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_str_eq(board.reason, "");
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!changed);
	visit_cleanup();
}
END_TEST

START_TEST(missing_then_made)
{
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	ck_assert(!stamps_differ());
	/* nothing was made, not even lock files */
	ck_assert_int_eq(rmdir(kit.dir), 0);
	ck_assert_int_eq(mkdir(kit.dir, 0755), 0);
	(void)close(open(kit.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	kit_board(0);
	add_ready("t");
	ck_assert(stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	visit_cleanup();
}
END_TEST

START_TEST(schema_then_mended)
{
	kit_board(0);
	kit_sql("ALTER TABLE task_links RENAME TO other");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_SCHEMA);
	ck_assert_ptr_nonnull(strstr(board.reason, "task_links"));
	ck_assert_ptr_null(board.db);
	ck_assert(!stamps_differ()); /* judged by its bytes: not examined again */
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert_int_eq(board.state, BOARD_SCHEMA);
	ck_assert_ptr_nonnull(strstr(board.reason, "task_links")); /* still said */
	kit_sql("ALTER TABLE other RENAME TO task_links");
	ck_assert(stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_str_eq(board.reason, "");
	visit_cleanup();
}
END_TEST

static void overwrite(long at, const void *bytes, size_t n)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
	(void)close(fd);
}

START_TEST(quarantined_is_left_alone)
{
	char *good = kit_printf("%s.good", kit.path), *wal = kit_printf("%s-wal", kit.path);
	struct stat before, after;

	kit_board(0);
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s'", kit.path, good)), 0);
	kit.set.repair_policy = REPAIR_NEVER;
	overwrite(0, "no SQLite at all", 16);
	kit.set.repair_policy = REPAIR_NEVER;
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_str_ne(board.reason, "");
	ck_assert(!board.checked);
	/* a thousand looks later its file was not opened once */
	ck_assert_int_eq(system(kit_printf("touch -a -d @1 '%s'", kit.path)), 0);
	ck_assert_int_eq(visit(), BOARD_FAILED); /* the touch changed its stamp */
	ck_assert_int_eq(system(kit_printf("touch -a -d @1 '%s'", kit.path)), 0);
	board.seen_db = file_stamp_of(kit.path);
	ck_assert_int_eq(stat(kit.path, &before), 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert_int_eq(stat(kit.path, &after), 0);
	ck_assert_int_eq(before.st_atim.tv_sec, after.st_atim.tv_sec);
	ck_assert_int_ne(access(wal, F_OK), 0);
	ck_assert_str_ne(board.reason, ""); /* and why is still known */
	/* the operator puts a good copy in its place */
	ck_assert_int_eq(system(kit_printf("touch -d @5 '%s'", good)), 0);
	ck_assert_int_eq(rename(good, kit.path), 0);
	ck_assert(stamps_differ());
	ck_assert_msg(look() == BOARD_DONE, "%s", bj.error.text);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

START_TEST(damaged_while_open)
{
	char junk[4096 * 2];

	kit_board(0);
	for (int i = 0; i < 100; i++)
		kit_task(kit_printf("t%d", i), "todo",
			 "body = hex(zeroblob(300)), assignee = NULL");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	memset(junk, 0x7f, sizeof(junk));
	overwrite(4096L * (kit_int("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'") -
			   1),
		  junk, sizeof(junk));
	/* another process's commit makes the connection look at the file again */
	kit_sql("INSERT INTO task_comments (task_id, author, body, created_at) VALUES ('x', "
		"'a',"
		" 'b', 1)");
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_ptr_null(board.db);
	ck_assert(!board.checked); /* the next open looks at all of it */
	visit_cleanup();
}
END_TEST

START_TEST(troubled_keeps_the_connection)
{
	sqlite3 *o = NULL;

	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(o, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	age();
	ck_assert_int_eq(visit(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_TROUBLED);
	ck_assert_ptr_nonnull(board.db);
	ck_assert(stamps_differ()); /* it has seen nothing */
	ck_assert_int_eq(sqlite3_exec(o, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

/* ---- the file under the connection
 * ------------------------------------------------------------ */

START_TEST(replaced_while_open)
{
	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(unlink(kit.path), 0);
	kit_board(0);
	add_ready("t");
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_list("running", "SELECT status FROM tasks");
	visit_cleanup();
}
END_TEST

START_TEST(removed_while_open)
{
	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	ck_assert_ptr_null(board.db);
	ck_assert_int_ne(access(kit.path, F_OK), 0);
	visit_cleanup();
}
END_TEST

/* Emptied: whatever the open connection makes of it, one examination later it is said as it is.
 */
START_TEST(emptied_while_open)
{
	kit_board(0);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(truncate(kit.path, 0), 0);
	(void)visit();
	ck_assert_int_ne(board.state, BOARD_HEALTHY);
	if (board.state != BOARD_MISSING) {
		ck_assert(stamps_differ());
		(void)visit();
	}
	ck_assert_int_eq(board.state, BOARD_MISSING);
	visit_cleanup();
}
END_TEST

/* Hermes migrates the board while we have it open. */
START_TEST(migrated_while_open)
{
	kit_board(KIT_LEGACY);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	kit_sql("ALTER TABLE tasks RENAME COLUMN spawn_failures TO consecutive_failures;"
		"ALTER TABLE tasks RENAME COLUMN last_spawn_error TO last_failure_error");
	add_ready("t");
	(void)visit();
	if (board.state != BOARD_HEALTHY) {
		ck_assert(stamps_differ()); /* the next sweep looks again */
		ck_assert_int_eq(visit(), BOARD_DONE);
	}
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_list("running", "SELECT status FROM tasks");
	visit_cleanup();
}
END_TEST

/* ---- what was seen
 * ---------------------------------------------------------------------------- */

/* Our own commits are no news; somebody else's are. */
static void echo(unsigned flags)
{
	kit_board(flags);
	add_ready("a");
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert(stamps_differ()); /* written a moment ago: an equal stamp proves nothing */
	age();
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert(!stamps_differ());
	add_ready("b");
	ck_assert(stamps_differ());
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
	age();
	board.seen_db = file_stamp_of(kit.path);
	board.seen_wal = file_stamp_of(kit_printf("%s-wal", kit.path));
	board.seen_racy = false;
	ck_assert_int_eq(look(), BOARD_UNCHANGED);
	ck_assert_ptr_null(board.db); /* the stamps were enough */
	add_ready("t");
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	/* and once more, with a connection that comes and goes */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	add_ready("u");
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
	struct plan_victim gone = { .cause = VICTIM_TERMINAL, .task = x, .run = 1, .pid = 9 };

	kit_board(KIT_WAL);
	visit_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	add_ready("a");
	age();
	ck_assert_int_eq(bring((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert(stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	add_ready("b");
	ck_assert_int_eq(bring((struct board_job){ .settle = &gone, .n_settle = 1 }),
			 BOARD_DONE);
	ck_assert(bj.settled && bj.recorded);
	age();
	ck_assert(stamps_differ());
	ck_assert_int_eq(look(), BOARD_DONE);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	/* the first visit of a connection, too */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	ck_assert_int_eq(bring((struct board_job){ 0 }), BOARD_DONE);
	age();
	ck_assert(stamps_differ());
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
		add_ready("t");
		visit_setup();
		kit.owner_asked = 0;
		kit.on_owner = commit_at == 1 ? commits_mid_tick : NULL;
		ck_assert_int_eq(visit(), BOARD_DONE);
		if (commit_at == 1) {
			ck_assert_ptr_null(kit.on_owner); /* it did commit */
			age();
			ck_assert(stamps_differ());
			ck_assert_int_eq(look(), BOARD_DONE);
		}
		ck_assert_int_eq(look(), BOARD_UNCHANGED);
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
	add_ready("t");
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
		ck_assert(stamps_differ());
	}
	/* the promotion had committed while the lease was ours; the claim had not */
	ck_list("ready|-", "SELECT status, claim_lock FROM tasks");
	kit.owner_left = -1;
	ck_assert_int_eq(visit(), BOARD_DONE);
	visit_cleanup();
}
END_TEST

/* ---- settle, record, checkpoint, close
 * ------------------------------------------------------------ */

START_TEST(settle_and_record_say_what_is_committed)
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
	victim.run = kit_run("a", 101, NULL, NULL);
	launch.run = kit_run("b", 0, NULL, NULL);
	kit_sql("CREATE TRIGGER no BEFORE INSERT ON task_events WHEN new.kind = 'spawn_failed'"
		" BEGIN SELECT RAISE(ABORT, 'no'); END");
	visit_setup();
	ck_assert_int_eq(
		bring((struct board_job){
			.settle = &victim, .n_settle = 1, .record = &launched, .n_record = 1 }),
		BOARD_FAILED);
	ck_assert(bj.settled && !bj.recorded);
	ck_list("ready,running", "SELECT status FROM tasks ORDER BY rowid");
	kit_sql("DROP TRIGGER no");
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
	add_ready("t");
	visit_setup();
	kit.rq.steps = TICK_ALL;
	ck_assert_int_eq(visit_as((struct board_job){ .checkpoint = true }), BOARD_DONE);
	ck_assert_int_ge(board.checkpointed_at, clock_wall_s() - 5);
	ck_assert_int_eq(stat(wal, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	add_ready("u");
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
	add_ready("t");
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

KIT_SUITE("board", state_names, healthy, missing_then_made, schema_then_mended,
	  quarantined_is_left_alone, damaged_while_open, troubled_keeps_the_connection,
	  replaced_while_open, removed_while_open, emptied_while_open, migrated_while_open,
	  echo_delete, echo_wal, reopened_delete, reopened_wal,
	  a_visit_without_a_tick_has_seen_nothing, a_commit_during_the_tick_is_not_missed,
	  dispatch_lock_held_elsewhere, init_lock_is_taken_for_the_first_open_only,
	  lease_lost_mid_tick, settle_and_record_say_what_is_committed, checkpoint_when_due,
	  a_writer_in_the_way_of_a_checkpoint, submitted)
