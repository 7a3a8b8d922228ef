/*
 * The daemon and a board that it repairs: a stop waits for it and says so, and what is only in
 * the way is not told as a new damage.
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

static unsigned count_of(const char *text, const char *word)
{
	unsigned n = 0;

	for (; text && (text = strstr(text, word)); text++)
		n++;
	return n;
}

static unsigned errors(const struct rig_daemon *d, const char *word)
{
	return count_of(rig_read(d->err_path), word);
}

/* A row without an index entry. */
static void break_index(void)
{
	rig_unindexed(B, "idx_events_task",
		      "INSERT INTO task_events(task_id, kind, created_at)"
		      " VALUES('t_00000001', 'unseen', 1)");
}

/* Reads the board until it is closed: nobody gets the exclusive lock. */
static sqlite3 *reader(void)
{
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(rig_db(B), &db), SQLITE_OK);
	ck_assert_int_eq(
		sqlite3_exec(db, "BEGIN; SELECT count(*) FROM tasks", NULL, NULL, NULL),
		SQLITE_OK);
	return db;
}

/* The repair waits for a lock; the stop for the repair; the service manager for the stop. */
START_TEST(test_stop_during_a_repair)
{
	struct rig_daemon *d;
	sqlite3 *db;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	break_index();
	db = reader();
	d = rig_start();
	RIG_UNTIL(strstr(rig_read("root/kanban.db.health.json")
				 ? rig_read("root/kanban.db.health.json")
				 : "",
			 "repairing"),
		  10000);
	rig_notices(d);
	ck_assert_uint_eq(count_of(d->all, "EXTEND_TIMEOUT_USEC"), 0); /* not while it runs */
	ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
	RIG_UNTIL((rig_notices(d), count_of(d->all, "EXTEND_TIMEOUT_USEC=15000000") >= 2),
		  20000);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	RIG_UNTIL(rig_ended(d), 20000);
	ck_assert(WIFEXITED(d->wait_status) && WEXITSTATUS(d->wait_status) == 0);
	/* and the next start takes it up */
	d = rig_start();
	RIG_UNTIL(strcmp(rig_list(B, "PRAGMA integrity_check"), "ok") == 0, 20000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Some seconds of work: 100 MB, one page of which is none. */
static void damaged(void)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_sql(B, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
		   "25000)"
		   " INSERT INTO task_events(task_id, kind, payload, created_at)"
		   " SELECT 't_00000001', 'note', hex(zeroblob(2000)), i FROM n");
	rig_shell(
		"dd if=/dev/urandom of=root/kanban.db bs=4096 count=1 seek=12000 conv=notrunc "
		"2>/dev/null");
}

static bool repairing(void)
{
	const char *record = rig_read("root/kanban.db.health.json");

	return record && strstr(record, "repairing");
}

/* Nobody waits for a board that cannot be counted soon. */
START_TEST(test_others_do_not_wait)
{
	struct rig_daemon *d;

	damaged();
	rig_board("garden", 0);
	rig_add("garden", .id = "t_00000002");
	d = rig_start();
	RIG_UNTIL(!strcmp(rig_list("garden", "SELECT status FROM tasks"), "running"), 20000);
	ck_assert_uint_eq(errors(d, "is repaired") + errors(d, "is quarantined"), 0);
}
END_TEST

/* A repair that only reads as yet is given up by a stop, and made at the next start. */
START_TEST(test_a_repair_is_given_up)
{
	struct rig_daemon *d;
	int64_t asked;

	damaged();
	d = rig_start();
	RIG_UNTIL(repairing(), 60000);
	ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
	asked = rig_mono_us();
	RIG_UNTIL(rig_ended(d), 30000);
	ck_assert(WIFEXITED(d->wait_status) && WEXITSTATUS(d->wait_status) == 0);
	ck_assert_msg(strstr(rig_err(d), "is repaired") == NULL,
		      "it was repaired in %lld ms after the stop was asked for",
		      (long long)(rig_mono_us() - asked) / 1000);
	ck_assert_ptr_nonnull(strstr(rig_read("root/kanban.db.health.json"), "repairing"));
	ck_assert(!rig_exists("root/.kanban.db.repair"));
	d = rig_start();
	/* or quarantined, where the page had rows that nothing else has */
	RIG_UNTIL(errors(d, "is repaired") + errors(d, "is quarantined") == 1, 100000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What is under way hangs: a second signal waits for it a second, and no more. */
START_TEST(test_the_second_signal)
{
	struct rig_daemon *d;

	rig_write("bin/git", "#!/bin/sh\necho $$ >>\"$RIG_DIR/pids\"\nexec sleep 600\n");
	rig_shell("chmod 755 bin/git; mkdir repo");
	rig_env("PATH", rig_printf("%s:%s", rig_path("bin"), rig_env_get("PATH")));
	rig_env("RIG_DIR", rig.dir);
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/t_00000001"));
	d = rig_start();
	RIG_UNTIL(rig_exists("pids"), 10000);
	ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
	RIG_UNTIL((rig_notices(d), d->stopping), 10000);
	ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
	RIG_UNTIL(rig_ended(d), 10000);
	ck_assert(WIFEXITED(d->wait_status));
	ck_assert_int_eq(WEXITSTATUS(d->wait_status), 128 + SIGTERM);
	ck_assert_uint_eq(errors(d, "giving up what is under way"), 1);
	rig_shell("kill $(cat pids)");
}
END_TEST

START_TEST(test_told_once)
{
	struct rig_daemon *d;
	sqlite3 *db;

	rig_config("dispatch_interval_seconds: 1");
	rig_env("HERMES_KANBAN_BUSY_TIMEOUT_MS", "300");
	rig_write("kanband.conf", "[health]\nrepair_policy = never\n");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	break_index();
	d = rig_start("--config", rig_path("kanband.conf"));
	RIG_UNTIL(errors(d, "is quarantined") == 1, 10000);
	/* its bytes look changed, and somebody has it locked when it is looked at */
	ck_assert_int_eq(sqlite3_open(rig_db(B), &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	rig_shell("touch root/kanban.db");
	RIG_UNTIL(errors(d, "trying again") == 1, 40000);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	RIG_UNTIL(rig_status_has(d, "1 board not dispatched"), 40000);
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_uint_eq(errors(d, "is quarantined"), 1);
}
END_TEST

Suite *test_suite(void)
{
	TCase *tcase = rig_tcase("repair", 120);

	tcase_add_test(tcase, test_stop_during_a_repair);
	tcase_add_test(tcase, test_a_repair_is_given_up);
	tcase_add_test(tcase, test_others_do_not_wait);
	tcase_add_test(tcase, test_the_second_signal);
	tcase_add_test(tcase, test_told_once);
	return rig_suite("daemon_repair", tcase, NULL);
}
