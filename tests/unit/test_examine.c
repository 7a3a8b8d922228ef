/*
 * From one state of a board's health to the next: what is in the way of a repair, what is left
 * alone and how, what a restart finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/db.h"
#include "kit/board.h"
#include "kit/rows.h"
#include "kit/visit.h"
#include "recovery/door.h"
#include "recovery/health.h"
#include "recovery/repair.h"

#define N_TASKS 60

static struct health record; /* too big for a stack */

static void read_record(void)
{
	ck_assert_int_eq(health_read(kit.path, &record), 0);
}

static void keep_as(const char *name)
{
	ck_assert_int_eq(
		system(kit_printf("for i in '' -wal; do rm -f '%s/%s'$i; if [ -e '%s'$i ];"
				  " then cp '%s'$i '%s/%s'$i; fi; done",
				  kit.dir, name, kit.path, kit.path, kit.dir, name)),
		0);
}

static bool still(const char *name)
{
	return system(kit_printf("cmp -s '%s' '%s/%s' && if [ -e '%s/%s-wal' ]; then"
				 " cmp -s '%s-wal' '%s/%s-wal'; fi",
				 kit.path, kit.dir, name, kit.dir, name, kit.path, kit.dir,
				 name)) == 0;
}

static void fill_board(unsigned flags)
{
	kit_board(flags);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'x', hex(zeroblob(400)), 'done', 1 FROM n",
		N_TASKS);
	kit_sql("INSERT INTO task_events(task_id, kind, created_at)"
		" SELECT id, 'note', 1 FROM tasks");
	if (flags & KIT_WAL)
		kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
}

static void break_leaf(void)
{
	rows_overwrite(kit.path,
		       kit_int("SELECT pageno FROM dbstat WHERE name='tasks' AND "
			       "pagetype='leaf' ORDER BY path LIMIT 1 OFFSET 3"),
		       4096);
}

/* A row without an index entry: REINDEX mends it. */
static void break_index(void)
{
	kit_unindexed("INSERT INTO task_events(task_id, kind, created_at)"
		      " VALUES('t_00000001', 'unseen', 1)");
}

static enum board_outcome visit_in(int64_t epoch)
{
	kit.rq.steps = TICK_ALL;
	return visit_as((struct board_job){ .epoch = epoch });
}

/* ---- in the way of a repair ---------------------------------------------------------- */

/* A reader alone: the board can be examined, and not be locked. */
START_TEST(a_reader_in_the_way)
{
	struct other o;

	fill_board(0);
	break_index();
	o = other_open("BEGIN; SELECT count(*) FROM tasks");
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_TROUBLED);
	ck_assert_msg(strstr(board.reason, "another process holds the board") != NULL, "%s",
		      board.reason);
	/* no try is booked, and nothing keeps the next one from being soon */
	read_record();
	ck_assert_int_eq(record.state, HEALTH_REPAIRING);
	ck_assert_int_eq(record.attempts, 0);
	ck_assert_int_eq(record.begun, 0);
	ck_assert_int_eq(record.retry_at, 0);
	ck_assert_uint_eq(kit_count("*.bak"), 1);
	other_close(&o);
	ck_assert_int_eq(visit_in(1), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_list("ok", "PRAGMA integrity_check");
	read_record();
	ck_assert_int_eq(record.state, HEALTH_HEALTHY);
	visit_cleanup();
}
END_TEST

/* The same of a board that is in quarantine already: its record stays, but for the state. */
START_TEST(a_reader_in_the_way_of_the_next_try)
{
	struct other o;
	int64_t attempts, first_seen;

	fill_board(0);
	break_index();
	kit.set.repair_policy = REPAIR_NEVER;
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	read_record();
	attempts = record.attempts;
	first_seen = record.first_seen;
	ck_assert_int_eq(attempts, 1);
	kit.set.repair_policy = REPAIR_LOSSLESS;
	o = other_open("BEGIN; SELECT count(*) FROM tasks");
	ck_assert_int_eq(visit_in(2), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_TROUBLED);
	read_record();
	ck_assert_int_eq(record.attempts, attempts);
	ck_assert_int_eq(record.first_seen, first_seen);
	other_close(&o);
	ck_assert_int_eq(visit_in(2), BOARD_DONE); /* the same epoch */
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert_uint_eq(kit_count("*.bak"), 1);
	visit_cleanup();
}
END_TEST

/* Whoever opens the board first somewhere else may repair it at this moment, too. */
START_TEST(init_lock_in_the_way)
{
	int fd;

	fill_board(0);
	break_index();
	keep_as("before");
	fd = open(kit_printf("%s.init.lock", kit.path), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_TROUBLED);
	ck_assert_ptr_nonnull(strstr(board.reason, ".init.lock"));
	ck_assert(still("before"));
	ck_assert_uint_eq(kit_count("*.bak"), 0);
	read_record();
	ck_assert_int_eq(record.state, HEALTH_HEALTHY);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(visit_in(1), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

/* A disk with room for the record and not for the evidence: nothing is repaired. */
START_TEST(no_repair_without_evidence)
{
	struct rlimit old, little;

	fill_board(0);
	break_index();
	keep_as("before");
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	little = old;
	little.rlim_cur = 40000;
	(void)signal(SIGXFSZ, SIG_IGN);
	visit_setup();
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	ck_assert_int_eq(visit_in(1), BOARD_FAILED);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_ptr_nonnull(
		strstr(board.reason, "could not be kept, so nothing is repaired"));
	ck_assert(still("before"));
	ck_assert_uint_eq(kit_count("*.corrupt.*"), 0);
	read_record();
	ck_assert_int_eq(record.attempts, 1);
	ck_assert_str_eq(record.evidence, "");
	ck_assert_int_eq(visit_in(2), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

/* Killed in the middle of a repair, again and again: other boards are to be had, too. */
START_TEST(a_repair_that_ends_the_process)
{
	fill_board(0);
	break_index();
	keep_as("before");
	for (int64_t begun = 1; begun <= 3; begun++) {
		ck_assert_int_eq(system(kit_printf("cp '%s/before' '%s'", kit.dir, kit.path)),
				 0);
		read_record();
		record.state = HEALTH_REPAIRING;
		record.begun = begun;
		ck_assert_int_eq(health_write(kit.path, &record), 0);
		visit_setup();
		(void)visit_in(begun);
		ck_assert_int_eq(board.state, begun < 3 ? BOARD_HEALTHY : BOARD_QUARANTINED);
		visit_cleanup();
	}
	ck_assert(still("before"));
	read_record();
	ck_assert_int_eq(record.state, HEALTH_QUARANTINED);
	ck_assert_int_eq(record.begun, 0);
	ck_assert_ptr_nonnull(strstr(record.reason, "begun 3 times"));
	ck_assert_uint_eq(kit_count("*.bak"), 1);
	visit_setup();
	ck_assert_int_eq(visit_in(3), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	ck_assert_int_eq(visit_in(4), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	visit_cleanup();
}
END_TEST

/* ---- left alone ---------------------------------------------------------------------- */

/* Opens of any file of the board, but of its record and its locks. */
static int watch_opens(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	static const char *const parts[] = { "", "-wal", "-shm", "-journal" };

	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < 4; i++) {
		char *path = kit_printf("%s%s", kit.path, parts[i]);

		if (access(path, F_OK) == 0)
			ck_assert_int_ge(inotify_add_watch(fd, path, IN_OPEN | IN_MODIFY), 0);
	}
	return fd;
}

static bool opened(int fd)
{
	char buf[4096];

	return read(fd, buf, sizeof(buf)) > 0;
}

START_TEST(no_file_is_opened)
{
	int fd;

	fill_board(0);
	break_leaf();
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	fd = watch_opens();
	for (int i = 0; i < 1000; i++) {
		/* a visit that somebody insists on, not a look */
		ck_assert_int_eq(visit_in(1), BOARD_FAILED);
		ck_assert_int_eq(board.state, BOARD_QUARANTINED);
	}
	ck_assert(!opened(fd));
	ck_assert_int_eq(visit_in(2), BOARD_FAILED);
	ck_assert(opened(fd));
	ck_assert_int_eq(close(fd), 0);
	ck_assert_uint_eq(kit_count("*.bak"), 1);
	visit_cleanup();
}
END_TEST

/* Its WAL is part of it, and no close folds it in. */
START_TEST(not_a_byte_is_changed)
{
	struct other o;

	fill_board(KIT_WAL);
	break_leaf();
	o = other_open(
		"INSERT INTO task_events(task_id, kind, created_at) VALUES('a', 'b', 1)");
	other_close(&o); /* its end leaves a WAL with a commit */
	keep_as("before");
	visit_setup();
	for (int64_t epoch = 1; epoch < 4; epoch++) {
		ck_assert_int_eq(visit_in(epoch), BOARD_FAILED);
		ck_assert_int_eq(board.state, BOARD_QUARANTINED);
		ck_assert(still("before"));
		ck_assert_uint_eq(kit_count("*.bak"), 1);
		ck_assert_uint_eq(kit_count("*.bak-wal"), 1);
		/* and what is kept is what is there, all of it */
		ck_assert_int_eq(
			system(kit_printf("cmp '%s' '%s'.corrupt.*.bak &&"
					  " cmp '%s-wal' '%s'.corrupt.*.bak-wal &&"
					  " test -s '%s-wal'",
					  kit.path, kit.path, kit.path, kit.path, kit.path)),
			0);
	}
	visit_cleanup();
}
END_TEST

/* Nobody but the examiner opens what the record calls damaged. */
START_TEST(the_door)
{
	struct db_options opt = { .path = kit.path, .busy_timeout_ms = 50 };
	struct db *db = NULL;
	int fd;

	fill_board(0);
	break_leaf();
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_FAILED);
	visit_cleanup();
	fd = watch_opens();
	ck_assert_int_eq(door_open(&db, &opt, &kit.e), DB_CORRUPT);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "its bytes are kept as"));
	read_record();
	record.state = HEALTH_REPAIRING;
	ck_assert_int_eq(health_write(kit.path, &record), 0);
	ck_assert_int_eq(door_open(&db, &opt, &kit.e), DB_TRANSIENT);
	ck_assert(!opened(fd));
	ck_assert_int_eq(close(fd), 0);
	/* other bytes: the record says nothing about them */
	ck_assert_int_eq(unlink(kit.path), 0);
	fill_board(0);
	ck_assert_msg(door_open(&db, &opt, &kit.e) == 0, "%s", kit.e.text);
	ck_assert_ptr_null(db_free(db));
}
END_TEST

/* ---- back in time -------------------------------------------------------------------- */

/* Somebody writes an old copy into the file of a board that is open. */
START_TEST(lost_while_open)
{
	fill_board(0);
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_DONE);
	kit_task("t", "ready", NULL);
	kit_event("t", "created", NULL, 1);
	ck_assert_int_eq(look(), BOARD_DONE); /* seen, and recorded nowhere yet */
	ck_assert_uint_eq(bj.plan.n_launches, 1);
	kit_task("u", "ready", NULL);
	kit_sql("UPDATE sqlite_sequence SET seq = 60 WHERE name = 'task_events'");
	ck_assert_int_eq(look(), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_LOST);
	ck_assert_ptr_nonnull(strstr(board.reason, "went back in time"));
	ck_assert_uint_eq(bj.plan.n_launches, 0);
	ck_assert_ptr_null(board.db);
	ck_list("ready", "SELECT status FROM tasks WHERE id='u'");
	visit_cleanup();
	/* a restart does not bless it */
	visit_setup();
	ck_assert_int_eq(visit_in(2), BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_LOST);
	visit_cleanup();
}
END_TEST

/* What is recorded as good is never less than before. */
START_TEST(emptied_is_not_good)
{
	fill_board(0);
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_DONE);
	ck_assert_int_eq(bring((struct board_job){ .epoch = 1, .checkpoint = true }),
			 BOARD_DONE);
	kit_sql("DELETE FROM tasks");
	board.checkpointed_at = 0;
	ck_assert_int_eq(bring((struct board_job){ .epoch = 1, .checkpoint = true }),
			 BOARD_FAILED);
	ck_assert_int_eq(board.state, BOARD_LOST);
	read_record();
	ck_assert_int_eq(record.state, HEALTH_LOST);
	ck_assert_int_eq(record.good.tasks, N_TASKS);
	visit_cleanup();
}
END_TEST

/* ---- snapshots ----------------------------------------------------------------------- */

/* One that the record does not know fills the gap. */
START_TEST(the_newest_snapshot_fills)
{
	fill_board(0);
	ck_assert_int_eq(mkdir(kit_printf("%s/snapshots", kit.dir), 0755), 0);
	kit_sql("VACUUM INTO %Q", kit_printf("%s/snapshots/2026-01-01T000000Z.db", kit.dir));
	break_leaf();
	visit_setup();
	ck_assert_int_eq(visit_in(1), BOARD_DONE);
	ck_assert_int_eq(board.state, BOARD_HEALTHY);
	ck_assert(said("from the snapshot"));
	ck_list("60", "SELECT count(*) FROM tasks");
	ck_list("ok", "PRAGMA integrity_check");
	visit_cleanup();
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = {
		a_reader_in_the_way,
		a_reader_in_the_way_of_the_next_try,
		init_lock_in_the_way,
		no_repair_without_evidence,
		a_repair_that_ends_the_process,
		no_file_is_opened,
		not_a_byte_is_changed,
		the_door,
		lost_while_open,
		emptied_is_not_good,
		the_newest_snapshot_fills,
	};
	Suite *suite = suite_create("examine");
	TCase *tcase = kit_tcase(suite, "examine", tests, sizeof(tests) / sizeof(tests[0]));

	tcase_set_timeout(tcase, 120); /* locks are waited for */
	return suite;
}
