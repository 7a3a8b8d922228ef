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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "board/board.h"
#include "board/repair.h"
#include "lib/boardkit.h"
#include "util/clock.h"
#include "util/fs.h"

static struct board board;
static struct board_job bj;
static bool changed;

static void board_setup(void)
{
	struct board_place place = { .slug = "default", .db_path = strdup(kit.path) };

	ck_assert_ptr_nonnull(place.db_path);
	board_init(&board, &place);
	ck_assert_ptr_null(place.db_path); /* taken over */
	ck_assert_int_eq(board.state, BOARD_NEW);
}

static void board_cleanup(void)
{
	plan_deinit(&bj.plan);
	board_deinit(&board);
}

/* One visit, prepared by the caller in @how; what came of it is in bj. */
static enum board_outcome visit_as(struct board_job how)
{
	plan_deinit(&bj.plan);
	how.board = &board;
	how.rq = kit.rq;
	how.rq.now = clock_wall_s();
	how.rq.steps = how.rq.steps && !how.close ? how.rq.steps : 0;
	bj = how;
	board.busy = true;
	board_job_run(&bj);
	board_publish(&bj, &changed);
	ck_assert(!board.busy);
	return bj.outcome;
}

static enum board_outcome visit(void)
{
	kit.rq.steps = TICK_ALL;
	return visit_as((struct board_job){ 0 });
}

static enum board_outcome look(void)
{
	kit.rq.steps = TICK_ALL;
	return visit_as((struct board_job){ .only_if_changed = true });
}

/* A visit without a tick. */
static enum board_outcome bring(struct board_job how)
{
	kit.rq.steps = 0;
	return visit_as(how);
}

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
	board_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(changed && board.checked);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_str_eq(board.reason, "");
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!changed);
	board_cleanup();
}
END_TEST

START_TEST(missing_then_made)
{
	board_setup();
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
	board_cleanup();
}
END_TEST

START_TEST(schema_then_mended)
{
	kit_board(0);
	kit_sql("ALTER TABLE task_links RENAME TO other");
	board_setup();
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
	board_cleanup();
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
	board_setup();
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
	board_cleanup();
}
END_TEST

START_TEST(damaged_while_open)
{
	char junk[4096 * 2];

	kit_board(0);
	for (int i = 0; i < 100; i++)
		kit_task(kit_printf("t%d", i), "todo",
			 "body = hex(zeroblob(300)), assignee = NULL");
	board_setup();
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
	board_cleanup();
}
END_TEST

START_TEST(troubled_keeps_the_connection)
{
	sqlite3 *o = NULL;

	kit_board(0);
	board_setup();
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
	board_cleanup();
}
END_TEST

/* ---- the file under the connection
 * ------------------------------------------------------------ */

START_TEST(replaced_while_open)
{
	kit_board(0);
	board_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(unlink(kit.path), 0);
	kit_board(0);
	add_ready("t");
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_list("running", "SELECT status FROM tasks");
	board_cleanup();
}
END_TEST

START_TEST(removed_while_open)
{
	kit_board(0);
	board_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_MISSING);
	ck_assert_ptr_null(board.db);
	ck_assert_int_ne(access(kit.path, F_OK), 0);
	board_cleanup();
}
END_TEST

/* Emptied: whatever the open connection makes of it, one examination later it is said as it is.
 */
START_TEST(emptied_while_open)
{
	kit_board(0);
	board_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(truncate(kit.path, 0), 0);
	(void)visit();
	ck_assert_int_ne(board.state, BOARD_HEALTHY);
	if (board.state != BOARD_MISSING) {
		ck_assert(stamps_differ());
		(void)visit();
	}
	ck_assert_int_eq(board.state, BOARD_MISSING);
	board_cleanup();
}
END_TEST

/* Hermes migrates the board while we have it open. */
START_TEST(migrated_while_open)
{
	kit_board(KIT_LEGACY);
	board_setup();
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
	board_cleanup();
}
END_TEST

/* ---- what was seen
 * ---------------------------------------------------------------------------- */

/* Our own commits are no news; somebody else's are. */
static void echo(unsigned flags)
{
	kit_board(flags);
	add_ready("a");
	board_setup();
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
	board_cleanup();
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
	board_setup();
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
	board_cleanup();
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
	board_setup();
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
	board_cleanup();
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
		board_setup();
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
		board_cleanup();
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
	board_setup();
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
	board_cleanup();
}
END_TEST

START_TEST(init_lock_is_taken_for_the_first_open_only)
{
	char *path;

	kit_board(0);
	path = kit_printf("%s.init.lock", kit.path);
	board_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_eq(access(path, F_OK), 0);
	(void)close(lock_file(".init.lock")); /* free again */
	ck_assert_int_eq(bring((struct board_job){ .close = true }), BOARD_DONE);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert_int_ne(access(path, F_OK), 0);
	board_cleanup();
}
END_TEST

START_TEST(lease_lost_mid_tick)
{
	kit_board(0);
	kit_task("t", "todo", NULL);
	board_setup();
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
	board_cleanup();
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
	board_setup();
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
	board_cleanup();
}
END_TEST

START_TEST(checkpoint_when_due)
{
	char *wal = kit_printf("%s-wal", kit.path);
	struct stat st;

	kit_board(KIT_WAL);
	add_ready("t");
	board_setup();
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
	board_cleanup();
}
END_TEST

START_TEST(a_writer_in_the_way_of_a_checkpoint)
{
	sqlite3 *o = NULL;

	kit_board(KIT_WAL);
	board_setup();
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
	board_cleanup();
}
END_TEST

/* ---- the journal mode ----------------------------------------------------------------------
 */

/* Another process that has the board's file open and does nothing. */
struct other {
	pid_t pid;
	int hold;
};

static struct other other_open(void)
{
	struct other o;
	int ready[2], hold[2];
	char c = 'x';

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
	o.pid = fork();
	ck_assert_int_ge(o.pid, 0);
	if (o.pid == 0) {
		sqlite3 *db = NULL;

		(void)alarm(60);
		(void)close(hold[1]);
		if (sqlite3_open(kit.path, &db) != SQLITE_OK ||
		    sqlite3_exec(db, "SELECT count(*) FROM tasks", NULL, NULL, NULL) !=
			    SQLITE_OK ||
		    write(ready[1], &c, 1) != 1)
			_exit(1);
		(void)!read(hold[0], &c, 1); /* until the other end is closed */
		(void)sqlite3_close(db);
		_exit(0);
	}
	(void)close(hold[0]);
	(void)close(ready[1]);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	o.hold = hold[1];
	return o;
}

static void other_close(struct other *o)
{
	int status;

	(void)close(o->hold);
	ck_assert_int_eq(waitpid(o->pid, &status, 0), o->pid);
	ck_assert_int_eq(status, 0);
}

static bool said(const char *text)
{
	for (size_t i = 0; i < bj.plan.n_notes; i++)
		if (strstr(bj.plan.notes[i].text, text))
			return true;
	return false;
}

static void mode_waits_for(enum db_mode mode, unsigned flags, const char *is, const char *then)
{
	struct other o;

	kit_board(flags);
	add_ready("t");
	kit.set.journal_mode = mode;
	kit.set.checkpoint_interval_s = 300;
	o = other_open();
	board_setup();
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
	add_ready("u");
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!board.mode_waits);
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	ck_assert(said("is wal now") || said("is delete now"));
	ck_list(then, "PRAGMA journal_mode");
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!board.mode_waits && bj.plan.n_notes == 0);
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("2", "SELECT count(*) FROM tasks WHERE status='running'");
	board_cleanup();
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
	add_ready("t");
	kit.set.journal_mode = DB_MODE_TRUNCATE;
	board_setup();
	ck_assert_int_eq(visit(), BOARD_DONE);
	ck_assert(!board.mode_waits && bj.plan.n_notes == 0);
	ck_assert_int_eq(stat(kit_printf("%s-journal", kit.path), &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	board_cleanup();
}
END_TEST

START_TEST(journal_mode_keep)
{
	for (int i = 0; i < 2; i++) {
		(void)remove(kit.path);
		kit_board(i ? KIT_WAL : 0);
		add_ready("t");
		board_setup();
		ck_assert_int_eq(visit(), BOARD_DONE);
		ck_assert(!board.mode_waits);
		ck_list(i ? "wal" : "delete", "PRAGMA journal_mode");
		board_cleanup();
		kit.mine = kit.caps.running = 0;
	}
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
	board_setup();
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
	board_cleanup();
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
	  a_writer_in_the_way_of_a_checkpoint, journal_mode_delete_to_wal,
	  journal_mode_wal_to_delete, journal_mode_wal_to_truncate, journal_mode_truncate,
	  journal_mode_keep, submitted)
