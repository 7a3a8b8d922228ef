/*
 * One tick and the workers that died. A single tick never watched the worker, so how it ended
 * is unknown: a crash, counted. What the running daemon knows is tested with the daemon.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

#define TASK(id, expected)                                                                     \
	ck_sql(B, expected,                                                                    \
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, "        \
	       "consecutive_failures FROM tasks WHERE id=%Q",                                  \
	       id)

START_TEST(test_crash_is_released_and_counted)
{
	const pid_t pid = rig_dead_pid();
	int64_t run;
	json_t *board;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .pid = pid, .heartbeat_age = 7);
	board = rig_tick(B);
	ck_ids(board, "crashed", T);
	ck_ids(board, "auto_blocked", "");
	ck_count(board, "reclaimed", 0);
	TASK(T, "ready|-|-|-|-|1");
	ck_sql(B, rig_printf("pid %d not alive", (int)pid),
	       "SELECT last_failure_error FROM tasks");
	ck_assert_int_gt(rig_int(B, "SELECT last_heartbeat_at FROM tasks"), 0);
	ck_assert_str_eq(rig_kinds(B, T),
			 rig_by_age("claimed,crashed,skipped_nonspawnable", "claimed,crashed"));
	ck_event(B, T, "crashed", "{\"pid\":%d,\"claimer\":\"%s:123\"}", (int)pid, rig.host);
	ck_assert_int_eq(rig_event_run(B, T, "crashed"), run);
	ck_sql(B,
	       rig_printf("crashed|crashed|pid %d not alive|-|%s", (int)pid, rig_closed(pid)),
	       "SELECT status, outcome, error, summary, claim_lock, claim_expires, worker_pid "
	       "FROM task_runs");
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    rig_printf("{\"pid\":%d,\"claimer\":\"%s:123\"}", (int)pid, rig.host),
		    "metadata");
	rig_invariant(B);
}
END_TEST

START_TEST(test_crash_at_the_limit_gives_up)
{
	const pid_t pid = rig_dead_pid();
	int64_t run;
	json_t *board;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .pid = pid, .failures = 1);
	board = rig_tick(B);
	ck_ids(board, "crashed", T);
	ck_ids(board, "auto_blocked", T);
	TASK(T, "blocked|-|-|-|-|2");
	ck_assert_str_eq(rig_kinds(B, T), "claimed,crashed,gave_up");
	ck_event(B, T, "gave_up",
		 "{\"failures\":2,\"effective_limit\":2,\"limit_source\":\"dispatcher\","
		 "\"error\":\"pid %d not alive\",\"trigger_outcome\":\"crashed\",\"pid\":%d,"
		 "\"claimer\":\"%s:123\"}",
		 (int)pid, (int)pid, rig.host);
	ck_assert_int_eq(rig_event_run(B, T, "gave_up"), run);
	ck_sql(B, "crashed", "SELECT outcome FROM task_runs");
	rig_invariant(B);
}
END_TEST

START_TEST(test_max_retries_of_the_task_wins)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .pid = rig_dead_pid(), .set = "max_retries=1");
	(void)rig_running(B, .id = "t_00000002", .lock = rig_printf("%s:9", rig.host),
			  .pid = rig_dead_pid(), .set = "max_retries=5", .failures = 3);
	board = rig_tick(B);
	ck_ids(board, "crashed", "t_00000001,t_00000002");
	ck_ids(board, "auto_blocked", T);
	TASK(T, "blocked|-|-|-|-|1");
	TASK("t_00000002", "ready|-|-|-|-|4");
	rig_json_is(json_object_get(rig_event(B, T, "gave_up"), "limit_source"), "\"task\"",
		    "limit_source");
	rig_json_is(json_object_get(rig_event(B, T, "gave_up"), "effective_limit"), "1",
		    "effective_limit");
}
END_TEST

START_TEST(test_failure_limit_is_configured)
{
	rig_config("failure_limit: 4");
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .pid = rig_dead_pid(), .failures = 2);
	(void)rig_running(B, .id = "t_00000002", .pid = rig_dead_pid(), .failures = 3);
	ck_ids(rig_tick(B), "auto_blocked", "t_00000002");
	TASK(T, "ready|-|-|-|-|3");
	rig_json_is(json_object_get(rig_event(B, "t_00000002", "gave_up"), "effective_limit"),
		    "4", "effective_limit");
}
END_TEST

/* ---- grace ----------------------------------------------------------------------------- */

START_TEST(test_a_new_task_has_grace)
{
	char *before;

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 10, .pid = rig_dead_pid());
	before = rig_dump(B);
	ck_ids(rig_tick(B), "crashed", "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_grace_can_be_zero)
{
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 2, .pid = rig_dead_pid());
	ck_ids(rig_tick(B), "crashed", T);
}
END_TEST

START_TEST(test_grace_counts_from_the_first_start)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 5, .task_age = 500, .pid = rig_dead_pid());
	ck_ids(rig_tick(B), "crashed", T);
}
END_TEST

/* ---- who is dead ----------------------------------------------------------------------- */

START_TEST(test_a_zombie_is_dead)
{
	const pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	ck_assert_int_gt(pid, 0);
	RIG_UNTIL(!rig_alive(pid), 3000);
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .pid = pid);
	ck_ids(rig_tick(B), "crashed", T);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(test_the_living_and_the_distant_are_left_alone)
{
	int64_t run;
	char *before;

	rig_board(B, 0);
	run = rig_running(B, .id = T);
	(void)rig_worker_row(B, T, run);
	(void)rig_running(B, .id = "t_00000002", .lock = "elsewhere:7", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000003");
	before = rig_dump(B);
	ck_ids(rig_tick(B), "crashed", "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

/* Its start is recorded, and it bears nothing: it holds the claim, and is not ended. */
START_TEST(test_a_worker_that_bears_nothing)
{
	const pid_t pid = rig_sleeper();

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .pid = pid, .started = rig_started(pid));
	(void)rig_running(B, .id = "t_00000002", .pid = pid, .started = "unverified",
			  .expires_in = -10);
	ck_ids(rig_tick(B), "crashed", "");
	ck_sql(B, "running,running", "SELECT status FROM tasks ORDER BY id");
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "claimed,claim_extended");
	ck_assert(rig_alive(pid));
}
END_TEST

START_TEST(test_a_reused_pid_is_a_dead_worker)
{
	const pid_t pid = rig_sleeper();

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .pid = pid, .started = "x:1|2");
	ck_ids(rig_tick(B), "crashed", T);
	ck_assert(rig_alive(pid));
}
END_TEST

START_TEST(test_crash_in_review_goes_back_to_review)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .pid = rig_dead_pid(), .from = "review");
	ck_ids(rig_tick(B), "crashed", T);
	TASK(T, "review|-|-|-|-|1");
}
END_TEST

START_TEST(test_a_crash_may_start_again_in_the_same_tick)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .assignee = "jimmy", .pid = rig_dead_pid());
	board = rig_tick(B);
	ck_ids(board, "crashed", T);
	ck_spawned(board, T);
	ck_assert_str_eq(rig_kinds(B, T),
			 "claimed,crashed,claimed,tip_scratch_workspace,spawned");
	/* A spawn never resets the count. */
	ck_sql(B, "1", "SELECT consecutive_failures FROM tasks");
}
END_TEST

/* ---- a wave of equal errors ------------------------------------------------------------ */

START_TEST(test_three_equal_errors_trip_at_once)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = "t_00000001", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000002", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000003", .pid = rig_dead_pid());
	board = rig_tick(B);
	ck_ids(board, "crashed", "t_00000001,t_00000002,t_00000003");
	ck_ids(board, "auto_blocked", "t_00000001,t_00000002,t_00000003");
	TASK("t_00000001", "blocked|-|-|-|-|1");
	rig_json_is(json_object_get(rig_event(B, "t_00000002", "gave_up"), "effective_limit"),
		    "1", "effective_limit");
	rig_json_is(json_object_get(rig_event(B, "t_00000002", "gave_up"), "failures"), "1",
		    "failures");
	rig_invariant(B);
	/* Below the everyday limit, and all the same not promoted again by the next tick. */
	board = rig_tick(B);
	ck_count(board, "promoted", 0);
	TASK("t_00000001", "blocked|-|-|-|-|1");
}
END_TEST

START_TEST(test_max_retries_wins_in_a_wave)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = "t_00000001", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000002", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000003", .pid = rig_dead_pid(), .set = "max_retries=5");
	board = rig_tick(B);
	ck_ids(board, "auto_blocked", "t_00000001,t_00000002");
	TASK("t_00000003", "ready|-|-|-|-|1");
}
END_TEST

START_TEST(test_two_equal_errors_are_no_wave)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = "t_00000001", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000002", .pid = rig_dead_pid());
	board = rig_tick(B);
	ck_ids(board, "crashed", "t_00000001,t_00000002");
	ck_ids(board, "auto_blocked", "");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages counted = rig_ages("counted", 30);
	struct rig_ages grace = rig_ages("grace", 30);
	struct rig_ages dead = rig_ages("who is dead", 30);
	struct rig_ages wave = rig_ages("wave", 30);

	rig_ages_test(&counted, test_crash_is_released_and_counted);
	rig_ages_test(&counted, test_crash_at_the_limit_gives_up);
	rig_ages_test(&counted, test_max_retries_of_the_task_wins);
	rig_ages_test(&counted, test_failure_limit_is_configured);
	rig_ages_test(&grace, test_a_new_task_has_grace);
	rig_ages_test(&grace, test_grace_can_be_zero);
	rig_ages_test(&grace, test_grace_counts_from_the_first_start);
	rig_ages_test(&dead, test_a_zombie_is_dead);
	rig_ages_test(&dead, test_the_living_and_the_distant_are_left_alone);
	tcase_add_test(dead.newer, test_a_worker_that_bears_nothing);
	tcase_add_test(dead.newer, test_a_reused_pid_is_a_dead_worker);
	rig_ages_test(&dead, test_crash_in_review_goes_back_to_review);
	rig_ages_test(&dead, test_a_crash_may_start_again_in_the_same_tick);
	rig_ages_test(&wave, test_three_equal_errors_trip_at_once);
	rig_ages_test(&wave, test_max_retries_wins_in_a_wave);
	rig_ages_test(&wave, test_two_equal_errors_are_no_wave);
	return rig_suite("once: crash", counted.newer, counted.august, grace.newer,
			 grace.august, dead.newer, dead.august, wave.newer, wave.august, NULL);
}
