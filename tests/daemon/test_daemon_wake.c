/*
 * The daemon between its sweeps: everything here happens at an interval of ten minutes, so what
 * is seen is what woke it. Deadlines of the tests are wide, for machines that have other things
 * to do; the benchmark measures.
 */
#include <poll.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kit/rig.h"

#define B    "default"
#define T    "t_00000001"
#define SOON 8000 /* ms */

static bool status_is(const char *slug, const char *task, const char *status)
{
	return !strcmp(rig_list(slug, "SELECT status FROM tasks WHERE id=%Q", task), status);
}

/* At least one sweep is over: its first task runs. */
static struct rig_daemon *start(const char *line)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 600", line ? line : "failure_limit: 2");
	rig_board(B, 0);
	rig_add(B, .id = "t_0000000f", .assignee = "franky");
	d = rig_start();
	RIG_UNTIL(status_is(B, "t_0000000f", "running"), 10000);
	return d;
}

START_TEST(test_a_new_task)
{
	(void)start(NULL);
	rig_add(B, .id = T);
	RIG_UNTIL(status_is(B, T, "running"), SOON);
}
END_TEST

START_TEST(test_a_new_task_in_wal_mode)
{
	rig_board("garden", RIG_WAL);
	(void)start(NULL);
	/* Somebody has it open, as a gateway does: the -wal is there all the time. */
	rig_writer("garden", "UPDATE tasks SET title=title", false);
	rig_add("garden", .id = T);
	RIG_UNTIL(status_is("garden", T, "running"), SOON);
}
END_TEST

/* SQLite's sync, as on a slow disk: the library finds this one in place of libc's. */
static int sync_takes_ms;

int fdatasync(int fd)
{
	(void)poll(NULL, 0, sync_takes_ms);
	return (int)syscall(SYS_fdatasync, fd);
}

/* A daemon that nothing wakes but the board "garden", in WAL mode, and a connection to that. */
static sqlite3 *slow_garden(void)
{
	sqlite3 *db = NULL;

	rig_board("garden", RIG_WAL);
	/* the notifier's own visits would find what is committed */
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[notify]\nnotify = off\n");
	(void)start(NULL);
	/* a connection of its own, so that none of this process drops the other's locks */
	rig_writer("garden", "UPDATE tasks SET title=title", false);
	ck_assert_int_eq(sqlite3_open(rig_db("garden"), &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "PRAGMA synchronous = FULL", NULL, NULL, NULL), 0);
	ck_assert_int_eq(sqlite3_busy_timeout(db, 10000), 0);
	return db;
}

/* Its worker runs, though the sync of its commit took @ms; a look at the board would wake us.
 */
static void slow_task(sqlite3 *db, const char *task, int ms)
{
	char *sql = rig_printf("INSERT INTO tasks (id, title, assignee, status, created_at) "
			       "VALUES ('%s', 'slow', 'jimmy', 'ready', 1)",
			       task);

	sync_takes_ms = ms;
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), 0);
	sync_takes_ms = 0;
	RIG_UNTIL(rig_ran_count(task) == 1, SOON);
}

/* All that wakes us comes before the sync of a commit, and what it wrote is seen after it. */
START_TEST(test_a_slow_disk)
{
	sqlite3 *db = slow_garden();

	slow_task(db, T, 150);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

/* The same with a sync that outlasts the first looks: nothing wakes us when it is over. */
START_TEST(test_a_very_slow_disk)
{
	sqlite3 *db = slow_garden();

	slow_task(db, T, 2500);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

/* One that comes while the one before it waits for its turn: the writes of both have woken us
 * before the first is seen. It gives us nothing to write, which would wake us again. */
START_TEST(test_a_slow_commit_behind_another)
{
	sqlite3 *db = slow_garden();

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(
				sqlite3_exec(db,
					     "INSERT INTO task_comments (task_id, author, "
					     "body, created_at) VALUES ('x', 'y', 'z', 1)",
					     NULL, NULL, NULL),
				0);
		slow_task(db, rig_printf("t_%08d", round), 1500);
	}
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

START_TEST(test_a_burst)
{
	(void)start(NULL);
	for (int i = 0; i < 40; i++)
		rig_add(B, .id = rig_printf("t_%08d", i + 100));
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status='running'") == 41,
		  2 * SOON);
	ck_sql(B, "1",
	       "SELECT max(n) FROM (SELECT count(*) AS n FROM task_runs GROUP BY task_id)");
}
END_TEST

START_TEST(test_a_parent_is_done)
{
	rig_do("t_00000002", "wait go\ndone\n");
	(void)start(NULL);
	rig_link(B, "t_00000002", T);
	rig_add(B, .id = "t_00000002");
	rig_add(B, .id = T, .status = "todo");
	RIG_UNTIL(status_is(B, "t_00000002", "running"), SOON);
	ck_assert(status_is(B, T, "todo"));
	rig_write("go", "");
	RIG_UNTIL(status_is(B, T, "running"), SOON);
	RIG_UNTIL(!strcmp(rig_kinds(B, T), "promoted,claimed,spawned"), SOON);
}
END_TEST

START_TEST(test_a_worker_crashes)
{
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nretry_backoff = 0\n");
	rig_do(T, "exit 4\n");
	(void)start(NULL);
	rig_add(B, .id = T);
	RIG_UNTIL(status_is(B, T, "blocked"), SOON);
	ck_assert_uint_eq(rig_ran_count(T), 2);
}
END_TEST

/* A place becomes free on one board; the task that waits for it is on another. */
START_TEST(test_a_place_becomes_free)
{
	rig_do("t_00000002", "wait go\ndone\n");
	rig_board("garden", 0);
	(void)start("max_in_progress: 2");
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is(B, "t_00000002", "running"), SOON);
	rig_add("garden", .id = T);
	rig_write("go", "");
	RIG_UNTIL(status_is("garden", T, "running"), SOON);
	ck_assert(status_is(B, "t_00000002", "done"));
}
END_TEST

/* ---- sweeps ----------------------------------------------------------------------------- */

/*
 * A parent became done without an event (an operator's sqlite3), and a visit that trusts events
 * came between that and the next sweep: the sweep trusts nothing all the same.
 */
START_TEST(test_a_sweep_trusts_nothing)
{
	int64_t written;

	rig_do("t_00000002", "done\nwait go\nexit 0\n");
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 2");
	rig_board(B, 0);
	rig_add(B, .id = "t_0000000a", .assignee = "nobody-here");
	rig_link(B, "t_0000000a", T);
	rig_add(B, .id = T, .status = "todo");
	rig_add(B, .id = "t_00000002");
	(void)rig_start();
	RIG_UNTIL(status_is(B, "t_00000002", "done"), SOON);
	rig_sql(B, "UPDATE tasks SET status='done' WHERE id='t_0000000a'");
	written = rig_mono_us();
	/* what is written in the last second is looked at again in any case */
	RIG_UNTIL(rig_mono_us() - written > 1200000, SOON);
	rig_write("go", "");
	RIG_UNTIL(status_is(B, T, "running"), SOON);
}
END_TEST

/* The clock goes an hour ahead of the one that timers run by: a sweep sees what is due. */
START_TEST(test_the_clock_jumps)
{
	const char *so = rig_path("host.so");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return; /* a sanitizer has to be the first that is preloaded */
#endif
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_env("HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS", "1800");
	rig_do(T, "exit 75\n");
	rig_config("dispatch_interval_seconds: 2");
	rig_board(B, 0);
	rig_add(B, .id = T);
	ck_assert_int_eq(
		system(rig_printf("${CC:-cc} -shared -fPIC -o '%s' tests/preload/host.c", so)),
		0);
	rig_env("LD_PRELOAD", so);
	rig_env("HOST_CLOCK_AHEAD", rig_path("ahead"));
	(void)rig_start();
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_runs WHERE outcome='rate_limited'") ==
			  1,
		  SOON);
	rig_write("ahead", "");
	RIG_UNTIL(rig_ran_count(T) == 2, SOON);
}
END_TEST

/* ---- deadlines ------------------------------------------------------------------------- */

START_TEST(test_the_cooldown_ends)
{
	rig_env("HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS", "2");
	rig_do(T, "exit 75\n");
	(void)start(NULL);
	rig_add(B, .id = T);
	RIG_UNTIL(rig_ran_count(T) == 2, SOON);
	ck_assert_int_ge(rig_int(B,
				 "SELECT max(started_at) - min(ended_at) FROM task_runs WHERE "
				 "task_id=%Q",
				 T),
			 2);
}
END_TEST

START_TEST(test_the_time_of_a_task_is_over)
{
	(void)start(NULL);
	rig_add(B, .id = T, .set = "max_runtime_seconds=1, max_retries=1");
	RIG_UNTIL(status_is(B, T, "blocked"), SOON);
	rig_json_is(json_object_get(rig_event(B, T, "gave_up"), "trigger_outcome"),
		    "\"timed_out\"", "trigger_outcome");
}
END_TEST

/* Its time is over while git still makes the worktree: it ends soon after it began. */
START_TEST(test_the_time_is_over_before_the_start)
{
	int64_t claimed;

	rig_write("bin/git", "#!/bin/sh\nwhile [ ! -e \"$RIG_DIR/go\" ]; do :; done\n"
			     "PATH=${PATH#*:}\nexec git \"$@\"\n");
	rig_shell("chmod 755 bin/git; git init -q -b main repo; cd repo; git -c user.name=a -c "
		  "user.email=b commit -q --allow-empty -m first");
	rig_env("PATH", rig_printf("%s:%s", rig_path("bin"), rig_env_get("PATH")));
	rig_env("RIG_DIR", rig.dir);
	(void)start(NULL);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/" T),
		.set = "max_runtime_seconds=1, max_retries=1");
	RIG_UNTIL(status_is(B, T, "running"), SOON);
	claimed = rig_int(B, "SELECT started_at FROM task_runs WHERE task_id=%Q", T);
	/* the tick at the end of its time finds a claim without a worker */
	RIG_UNTIL(time(NULL) > claimed + 3, 2 * SOON);
	rig_write("go", "");
	RIG_UNTIL(status_is(B, T, "blocked"), SOON);
	rig_json_is(json_object_get(rig_event(B, T, "gave_up"), "trigger_outcome"),
		    "\"timed_out\"", "trigger_outcome");
}
END_TEST

START_TEST(test_a_claim_expires)
{
	(void)start(NULL);
	(void)rig_running(B, .id = T, .assignee = "jimmy", .lock = "elsewhere:7",
			  .expires_in = 2);
	RIG_UNTIL(rig_ran_count(T) == 1, SOON);
	RIG_UNTIL(!strcmp(rig_kinds(B, T), "claimed,reclaimed,claimed,spawned"), SOON);
}
END_TEST

/* One that was left on a task that does not run, and that nobody can judge before its time. */
START_TEST(test_a_leftover_claim_expires)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .assignee = "jimmy", .lock = "elsewhere:123",
			  .expires_in = 4, .set = "status='ready'");
	(void)start(NULL);
	RIG_UNTIL(status_is(B, T, "running"), SOON);
}
END_TEST

START_TEST(test_a_claim_is_kept)
{
	pid_t pid;

	rig_env("HERMES_KANBAN_CLAIM_TTL_SECONDS", "1");
	(void)start(NULL);
	rig_add(B, .id = T);
	(void)rig_ran(T);
	pid = (pid_t)json_integer_value(json_object_get(rig_ran(T), "pid"));
	RIG_UNTIL(rig_int(B,
			  "SELECT count(*) FROM task_events WHERE task_id=%Q AND "
			  "kind='claim_extended'",
			  T) >= 2,
		  2 * SOON);
	ck_assert(rig_alive(pid));
	ck_assert_uint_eq(rig_ran_count(T), 1);
	ck_assert(status_is(B, T, "running"));
}
END_TEST

START_TEST(test_a_schedule_comes_due)
{
	(void)start(NULL);
	rig_sql(B, "ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER");
	rig_add(B, .id = T, .set = rig_printf("scheduled_at=%lld", (long long)rig_now() + 3));
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is(B, "t_00000002", "running"), SOON);
	RIG_UNTIL(status_is(B, T, "running"), SOON);
}
END_TEST

/* On a board without that column the time stands in the event. */
START_TEST(test_a_scheduled_task_comes_due)
{
	(void)start(NULL);
	rig_add(B, .id = T, .status = "scheduled");
	rig_sql(B,
		"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES"
		" (%Q, 'scheduled', json_object('at', %lld), %lld)",
		T, (long long)rig_now() + 3, (long long)rig_now());
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is(B, "t_00000002", "running"), SOON);
	ck_assert(status_is(B, T, "scheduled"));
	RIG_UNTIL(status_is(B, T, "running"), SOON);
}
END_TEST

/* Every two seconds another, when the last is done. */
START_TEST(test_a_series)
{
	(void)start(NULL);
	rig_add(B, .id = T, .status = "done", .set = "idempotency_key='every:x'");
	rig_sql(B,
		"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES"
		" (%Q, 'recurs', '{\"calendar\": \"*:*:0/2\"}', 1)",
		T);
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status='running' AND"
			     " idempotency_key='every:x'") == 1,
		  SOON);
	rig_sql(B, "UPDATE tasks SET status='archived', claim_lock=NULL, worker_pid=NULL,"
		   " current_run_id=NULL WHERE idempotency_key='every:x'");
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_events WHERE kind='recurred'") == 2,
		  SOON);
}
END_TEST

Suite *test_suite(void)
{
	TCase *news = rig_tcase("news", 60);
	TCase *times = rig_tcase("deadlines", 60);

	tcase_add_test(news, test_a_new_task);
	tcase_add_test(news, test_a_new_task_in_wal_mode);
	tcase_add_test(news, test_a_slow_disk);
	tcase_add_test(news, test_a_very_slow_disk);
	tcase_add_test(news, test_a_slow_commit_behind_another);
	tcase_add_test(news, test_a_sweep_trusts_nothing);
	tcase_add_test(news, test_the_clock_jumps);
	tcase_add_test(news, test_a_burst);
	tcase_add_test(news, test_a_parent_is_done);
	tcase_add_test(news, test_a_worker_crashes);
	tcase_add_test(news, test_a_place_becomes_free);
	tcase_add_test(times, test_the_cooldown_ends);
	tcase_add_test(times, test_the_time_of_a_task_is_over);
	tcase_add_test(times, test_the_time_is_over_before_the_start);
	tcase_add_test(times, test_a_claim_expires);
	tcase_add_test(times, test_a_leftover_claim_expires);
	tcase_add_test(times, test_a_claim_is_kept);
	tcase_add_test(times, test_a_schedule_comes_due);
	tcase_add_test(times, test_a_scheduled_task_comes_due);
	tcase_add_test(times, test_a_series);
	return rig_suite("daemon: wake", news, times, NULL);
}
