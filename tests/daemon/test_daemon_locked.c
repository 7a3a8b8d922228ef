/*
 * Boards whose locks another process keeps: each is tried again before long, told once, and no
 * other board notices.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "kit/rig.h"

#define B     "default"
#define T     "t_00000001"
#define STUCK 12
#define SOON  5000  /* ms; one that waits for the stuck ones takes longer */
#define LATER 20000 /* once nothing is in the way, on any machine */

static sqlite3 *stuck[STUCK];

static bool running(const char *slug, const char *task)
{
	return !strcmp(rig_list(slug, "SELECT status FROM tasks WHERE id=%Q", task), "running");
}

static const char *slug_of(int i)
{
	return rig_printf("s%d", i);
}

static void boards(unsigned flags)
{
	rig_config("dispatch_interval_seconds: 600");
	rig_board(B, 0);
	for (int i = 0; i < STUCK; i++)
		rig_board(slug_of(i), flags);
}

/* Every stuck board has something to do, and somebody in its way. */
static void stick(const char *lock)
{
	for (int i = 0; i < STUCK; i++) {
		rig_add(slug_of(i), .id = T);
		ck_assert_int_eq(sqlite3_open(rig_db(slug_of(i)), &stuck[i]), SQLITE_OK);
		ck_assert_int_eq(sqlite3_busy_timeout(stuck[i], 10000), SQLITE_OK);
		ck_assert_int_eq(sqlite3_exec(stuck[i], lock, NULL, NULL, NULL), SQLITE_OK);
	}
}

static void unstick(void)
{
	for (int i = 0; i < STUCK; i++)
		ck_assert_int_eq(sqlite3_close(stuck[i]), SQLITE_OK);
}

static void ck_others_run(const char *lock, unsigned flags)
{
	boards(flags);
	stick(lock);
	(void)rig_start();
	for (int i = 1; i < 6; i++) {
		const char *task = rig_printf("t_%08d", i);

		rig_add(B, .id = task);
		RIG_UNTIL(running(B, task), SOON);
	}
	/* a lock that goes without a commit wakes nobody: the tries find it */
	unstick();
	for (int i = 0; i < STUCK; i++)
		RIG_UNTIL(running(slug_of(i), T), LATER);
}

START_TEST(test_writers)
{
	ck_others_run("BEGIN IMMEDIATE", 0);
}
END_TEST

START_TEST(test_writers_in_wal_mode)
{
	ck_others_run("BEGIN IMMEDIATE", RIG_WAL);
}
END_TEST

/* The transaction begins, and cannot be committed. */
START_TEST(test_readers)
{
	ck_others_run("BEGIN; SELECT count(*) FROM tasks", 0);
}
END_TEST

START_TEST(test_exclusive)
{
	ck_others_run("BEGIN EXCLUSIVE", 0);
}
END_TEST

/* Somebody else opens every board for the first time, and takes its time. */
START_TEST(test_first_opens)
{
	int fd[STUCK];

	boards(0);
	for (int i = 0; i < STUCK; i++) {
		rig_add(slug_of(i), .id = T);
		fd[i] = rig_flock(rig_printf("%s.init.lock", rig_db(slug_of(i))));
	}
	rig_add(B, .id = T);
	(void)rig_start();
	RIG_UNTIL(running(B, T), SOON);
	for (int i = 0; i < STUCK; i++) {
		ck_assert(!running(slug_of(i), T));
		if (i > 0)
			rig_unlock(fd[i]);
	}
	for (int i = 1; i < STUCK; i++)
		RIG_UNTIL(running(slug_of(i), T), LATER);
	/* the contract: ten seconds, then on without */
	RIG_UNTIL(running(slug_of(0), T), 15000);
	rig_unlock(fd[0]);
}
END_TEST

/* Longer than its busy_timeout: told once, shown, and over when the lock is. */
START_TEST(test_told_once)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_BUSY_TIMEOUT_MS", "500");
	boards(0);
	stick("BEGIN IMMEDIATE");
	d = rig_start();
	RIG_UNTIL(strstr(rig_err(d), "board s0: another process holds the board's lock"),
		  10000);
	RIG_UNTIL(rig_status_has(d, rig_printf("%d boards being retried", STUCK)), 10000);
	unstick();
	RIG_UNTIL(!rig_status_has(d, "being retried"), 10000);
	ck_assert_ptr_nonnull(strstr(rig_err(d), "board s0 works again"));
	ck_assert_ptr_null(
		strstr(strstr(rig_err(d), "board s0: another") + 1, "board s0: another"));
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("locked", 60), *exclusive = rig_tcase("exclusive", 60);

	tcase_add_test(tc, test_writers);
	tcase_add_test(tc, test_writers_in_wal_mode);
	tcase_add_test(tc, test_readers);
	tcase_add_test(exclusive, test_exclusive);
	tcase_add_test(tc, test_first_opens);
	tcase_add_test(tc, test_told_once);
	return rig_suite("daemon_locked", tc, exclusive, NULL);
}
