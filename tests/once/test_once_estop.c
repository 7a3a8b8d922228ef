/*
 * The emergency stop beside --once and the daemon: nothing is started, the rest goes on.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static const char *estop_of(const struct rig_out *out)
{
	json_t *root = json_array_get(json_object_get(out->json, "roots"), 0);

	return json_string_value(json_object_get(root, "estop"));
}

static void check_stopped(const char *word)
{
	struct rig_out *out = rig_once();

	ck_spawned(rig_of(out, B), "");
	ck_assert_msg(estop_of(out) && strstr(estop_of(out), word), "%s", out->text);
	ck_sql(B, "ready", "SELECT status FROM tasks WHERE id=%Q", T);
}

static void check_starts(void)
{
	struct rig_out *out = rig_once();

	ck_spawned(rig_of(out, B), T);
	ck_assert_ptr_null(estop_of(out));
}

START_TEST(test_an_empty_file)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_write("root/ESTOP", "");
	check_stopped("root/ESTOP");
	ck_assert_int_eq(unlink(rig_path("root/ESTOP")), 0);
	check_starts();
}
END_TEST

START_TEST(test_the_reason_is_said)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_write("root/ESTOP", "{\"reason\": \"incident\", \"engaged_at\": \"2026-01-01\"}");
	check_stopped("incident");
}
END_TEST

START_TEST(test_expired)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_write("root/ESTOP", "{\"expires_at\": \"2020-01-01T00:00:00\"}");
	check_starts();
	ck_assert(rig_exists("root/ESTOP")); /* never removed */
}
END_TEST

/* What cannot be read is no permission: a folder, a link to nowhere. */
START_TEST(test_unreadable)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_mkdir("root/ESTOP");
	check_stopped("ESTOP");
	ck_assert_int_eq(rmdir(rig_path("root/ESTOP")), 0);
	ck_assert_int_eq(symlink("/nowhere/at/all", rig_path("root/ESTOP")), 0);
	check_stopped("ESTOP");
}
END_TEST

START_TEST(test_in_our_hermes_home)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_write("home/ESTOP", "");
	rig_env("HERMES_HOME", rig_path("home"));
	check_stopped("home/ESTOP");
}
END_TEST

/* A git whose `worktree add` takes so long that somebody pauses meanwhile. */
static void pausing_git(void)
{
	rig_shell("git init -q -b main repo && cd repo && echo 1 > file && git add file && git "
		  "-c user.name=a -c user.email=a@b commit -q -m first");
	rig_shell("mkdir pausing && printf '#!/bin/sh\\ncase \" $* \" in\\n*\" worktree add "
		  "\"*) : >%s/root/ESTOP\\nesac\\nexec %%s \"$@\"\\n' \"$(command -v git)\" "
		  ">pausing/git && chmod 755 pausing/git",
		  rig.dir);
	rig_env("PATH", rig_printf("%s/pausing:%s", rig.dir, rig_env_get("PATH")));
}

/* It is asked for once more when the workspace is ready: no worker, and no failure counted. */
START_TEST(test_paused_during_a_launch)
{
	pausing_git();
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/mine"));
	(void)rig_once();
	ck_assert(rig_exists("root/ESTOP"));
	ck_assert_uint_eq(rig_ran_count(T), 0);
	ck_sql(B, "ready,,0",
	       "SELECT status||','||IFNULL(claim_lock,'')||','||"
	       "consecutive_failures FROM tasks WHERE id=%Q",
	       T);
	ck_sql(B, "estop",
	       "SELECT json_extract(payload,'$.reason') FROM task_events "
	       "WHERE kind='reclaimed' AND task_id=%Q",
	       T);
	rig_env("PATH", rig_env_get("PATH") + strlen(rig_path("pausing")) + 1);
	ck_assert_int_eq(unlink(rig_path("root/ESTOP")), 0);
	check_starts();
}
END_TEST

/* Workers run on, and what ended is booked. */
START_TEST(test_the_rest_goes_on)
{
	json_t *board;

	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_add(B, .id = "t_00000002", .status = "todo");
	(void)rig_running(B, .id = "t_00000003", .pid = rig_dead_pid());
	rig_write("root/ESTOP", "");
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_ids(board, "crashed", "t_00000003");
	ck_count(board, "promoted", 1);
}
END_TEST

/* The daemon sees the file come and go. */
START_TEST(test_the_daemon_is_woken)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 600");
	rig_board(B, 0);
	rig_write("root/ESTOP", "");
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "paused by"), 10000);
	rig_add(B, .id = T);
	RIG_UNTIL(rig_status_has(d, "1 ready"), 10000);
	ck_assert_uint_eq(rig_ran_count(T), 0);
	ck_assert_int_eq(unlink(rig_path("root/ESTOP")), 0);
	RIG_UNTIL(rig_ran_count(T) == 1, 10000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* So it does with the one beside our own HERMES_HOME, and with a launch that was put back. */
START_TEST(test_the_daemon_is_woken_by_its_home)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 600");
	rig_board(B, 0);
	rig_write("home/ESTOP", "{\"reason\": \"lunch\"}");
	rig_env("HERMES_HOME", rig_path("home"));
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "home/ESTOP: lunch"), 10000);
	rig_add(B, .id = T);
	RIG_UNTIL(rig_status_has(d, "1 ready"), 10000);
	ck_assert_uint_eq(rig_ran_count(T), 0);
	ck_assert_int_eq(unlink(rig_path("home/ESTOP")), 0);
	RIG_UNTIL(rig_ran_count(T) == 1, 10000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(test_the_daemon_paused_during_a_launch)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 600");
	pausing_git();
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/mine"));
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "paused by"), 20000);
	RIG_UNTIL(rig_status_has(d, "1 ready"), 20000);
	ck_assert_uint_eq(rig_ran_count(T), 0);
	rig_shell("ln -sf \"$(PATH=${PATH#*:}; command -v git)\" pausing/git");
	ck_assert_int_eq(unlink(rig_path("root/ESTOP")), 0);
	RIG_UNTIL(rig_ran_count(T) == 1, 20000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages once = rig_ages("once", 60);
	struct rig_ages daemon = rig_ages("daemon", 60);

	rig_ages_test(&once, test_an_empty_file);
	rig_ages_test(&once, test_the_reason_is_said);
	rig_ages_test(&once, test_expired);
	rig_ages_test(&once, test_unreadable);
	rig_ages_test(&once, test_in_our_hermes_home);
	rig_ages_test(&once, test_paused_during_a_launch);
	rig_ages_test(&once, test_the_rest_goes_on);
	rig_ages_test(&daemon, test_the_daemon_is_woken);
	rig_ages_test(&daemon, test_the_daemon_is_woken_by_its_home);
	rig_ages_test(&daemon, test_the_daemon_paused_during_a_launch);
	return rig_suite("once: emergency stop", once.newer, once.august, daemon.newer,
			 daemon.august, NULL);
}
