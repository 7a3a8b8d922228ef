/*
 * One tick and the runs that take too long: no heartbeat for hours, or more time than the task
 * was given.
 */
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

#define TASK(expected)                                                                         \
	ck_sql(B, expected,                                                                    \
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, "        \
	       "last_heartbeat_at, consecutive_failures FROM tasks WHERE id=%Q",               \
	       T)
#define HELD() ck_sql(B, "running", "SELECT status FROM tasks WHERE id=%Q", T)

/* The number after @before in @text: "no heartbeat ever after 5000s running". */
static int64_t number_after(const char *text, const char *before)
{
	const char *at = strstr(text, before);

	ck_assert_msg(at != NULL, "no \"%s\" in \"%s\"", before, text);
	return atoll(at + strlen(before));
}

/* ---- no heartbeat ---------------------------------------------------------------------- */

START_TEST(test_stale_without_any_heartbeat)
{
	const pid_t pid = rig_dead_pid();
	int64_t run;
	json_t *board;
	char *error;

	rig_board(B, 0);
	/* A long crash grace keeps the crash of a dead worker out of the way. */
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "100000");
	rig_config("dispatch_stale_timeout_seconds: 7200");
	run = rig_running(B, .id = T, .age = 8000, .pid = pid);
	board = rig_tick(B);
	ck_count(board, "stale", 1);
	ck_count(board, "reclaimed", 0);
	TASK("ready|-|-|-|-|-|0");
	ck_assert_str_eq(rig_kinds(B, T),
			 rig_by_age("claimed,stale,skipped_nonspawnable", "claimed,stale"));
	ck_event(B, T, "stale",
		 "{\"elapsed_seconds\":\"INT\",\"last_heartbeat_at\":null,"
		 "\"heartbeat_age_seconds\":null,\"timeout_seconds\":7200,\"pid\":%d,"
		 "\"prev_pid\":%d,\"host_local\":true,\"termination_attempted\":true,"
		 "\"terminated\":true,\"sigkill\":false}",
		 (int)pid, (int)pid);
	ck_assert_int_eq(rig_event_run(B, T, "stale"), run);
	ck_sql(B,
	       rig_printf("stale|stale|%s",
			  rig_by_age(rig_printf("%s:123|-|1", rig.host), "-|-|-")),
	       "SELECT status, outcome, claim_lock, claim_expires, worker_pid>4194304 FROM "
	       "task_runs");
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    rig_json_text(rig_event(B, T, "stale")), "metadata");
	error = rig_list(B, "SELECT error FROM task_runs");
	ck_assert_int_ge(number_after(error, "no heartbeat ever after "), 8000);
	ck_assert_int_le(number_after(error, "no heartbeat ever after "), 8010);
	ck_assert_ptr_nonnull(strstr(error, "s running"));
	rig_invariant(B);
}
END_TEST

START_TEST(test_stale_with_old_heartbeat)
{
	char *error;

	/* Dead as well: but this step comes before the crashes. */
	rig_board(B, 0);
	rig_config("dispatch_stale_timeout_seconds: 7200");
	(void)rig_running(B, .id = T, .age = 8000, .pid = rig_dead_pid(),
			  .heartbeat_age = 3700);
	ck_count(rig_tick(B), "stale", 1);
	TASK("ready|-|-|-|-|-|0");
	error = rig_list(B, "SELECT error FROM task_runs");
	ck_assert_int_ge(number_after(error, "no heartbeat for "), 3700);
	ck_assert_int_le(number_after(error, "no heartbeat for "), 3710);
	ck_assert_int_ge(number_after(error, "s after "), 8000);
	rig_json_is(json_object_get(rig_event(B, T, "stale"), "heartbeat_age_seconds"),
		    "\"INT\"", "heartbeat_age_seconds");
}
END_TEST

/* One case that must not be stale: no write at all. */
static void check_not_stale(const char *timeout, int64_t age, int64_t heartbeat_age)
{
	int64_t run;
	char *before;

	rig_board(B, 0);
	rig_config(timeout);
	run = rig_running(B, .id = T, .age = age, .heartbeat_age = heartbeat_age);
	(void)rig_worker_row(B, T, run);
	before = rig_dump(B);
	ck_count(rig_tick(B), "stale", 0);
	ck_assert_str_eq(rig_dump(B), before);
}

START_TEST(test_young_heartbeat_is_not_stale)
{
	check_not_stale("dispatch_stale_timeout_seconds: 7200", 8000, 3400);
}
END_TEST

START_TEST(test_young_run_is_not_stale)
{
	check_not_stale("dispatch_stale_timeout_seconds: 7200", 7000, 0);
}
END_TEST

START_TEST(test_timeout_zero_is_off)
{
	check_not_stale("dispatch_stale_timeout_seconds: 0", 1000000, 0);
}
END_TEST

START_TEST(test_default_timeout_is_four_hours)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 14000, .lock = "elsewhere:7");
	(void)rig_running(B, .id = "t_00000002", .age = 14500, .lock = "elsewhere:7");
	ck_count(rig_tick(B), "stale", 1);
	ck_sql(B, "running,ready", "SELECT status FROM tasks ORDER BY id");
}
END_TEST

START_TEST(test_stale_releases_other_hosts_too_without_a_signal)
{
	const pid_t pid = rig_sleeper();

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 20000, .lock = "elsewhere:7", .pid = pid);
	ck_count(rig_tick(B), "stale", 1);
	TASK("ready|-|-|-|-|-|0");
	rig_json_is(json_object_get(rig_event(B, T, "stale"), "host_local"), "false",
		    "host_local");
	ck_assert(rig_alive(pid));
}
END_TEST

START_TEST(test_stale_ends_a_live_worker)
{
	int64_t run;
	pid_t pid, child;

	rig_board(B, 0);
	rig_do(T, "child\nwait stop\n");
	run = rig_running(B, .id = T, .age = 20000);
	pid = rig_worker_row(B, T, run);
	child = rig_child_pid(T, run, "child");
	ck_count(rig_tick(B), "stale", 1);
	TASK("ready|-|-|-|-|-|0");
	ck_assert(!rig_alive(pid));
	RIG_UNTIL(!rig_alive(child), 3000);
	rig_json_is(json_object_get(rig_event(B, T, "stale"), "terminated"), "true",
		    "terminated");
}
END_TEST

START_TEST(test_stale_claim_from_review_goes_back_to_review)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 20000, .lock = "elsewhere:7", .from = "review");
	ck_count(rig_tick(B), "stale", 1);
	ck_sql(B, "review", "SELECT status FROM tasks");
}
END_TEST

/* ---- max runtime ----------------------------------------------------------------------- */

START_TEST(test_over_time_is_ended_and_counted)
{
	int64_t run;
	pid_t pid, child, escaped;
	json_t *board;
	char *error;

	rig_board(B, 0);
	rig_do(T, "child\nescape\nwait stop\n");
	run = rig_running(B, .id = T, .age = 700, .max_runtime = 600, .heartbeat_age = 5);
	pid = rig_worker_row(B, T, run);
	child = rig_child_pid(T, run, "child");
	escaped = rig_child_pid(T, run, "escape");
	board = rig_tick(B);
	ck_ids(board, "timed_out", T);
	ck_ids(board, "crashed", "");
	TASK("ready|-|-|-|-|-|1");
	ck_assert(!rig_alive(pid));
	RIG_UNTIL(!rig_alive(child), 3000);
	RIG_UNTIL(!rig_alive(escaped), 3000);
	ck_assert_str_eq(rig_kinds(B, T), rig_by_age("claimed,timed_out,skipped_nonspawnable",
						     "claimed,timed_out"));
	ck_event(B, T, "timed_out",
		 "{\"pid\":%d,\"elapsed_seconds\":\"INT\",\"limit_seconds\":600,"
		 "\"sigkill\":false}",
		 (int)pid);
	ck_assert_int_eq(rig_event_run(B, T, "timed_out"), run);
	ck_sql(B, rig_printf("timed_out|timed_out|%s", rig_closed(pid)),
	       "SELECT status, outcome, claim_lock, claim_expires, worker_pid FROM task_runs");
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    rig_json_text(rig_event(B, T, "timed_out")), "metadata");
	error = rig_list(B, "SELECT error FROM task_runs");
	ck_assert_int_ge(number_after(error, "elapsed "), 700);
	ck_assert_int_le(number_after(error, "elapsed "), 715);
	ck_assert_ptr_nonnull(strstr(error, "s > limit 600s"));
	ck_sql(B, error, "SELECT last_failure_error FROM tasks");
	rig_invariant(B);
}
END_TEST

START_TEST(test_over_time_at_the_limit_gives_up)
{
	int64_t run;
	pid_t pid;
	json_t *board;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .age = 700, .max_runtime = 600, .failures = 1);
	pid = rig_worker_row(B, T, run);
	board = rig_tick(B);
	ck_ids(board, "timed_out", T);
	ck_ids(board, "auto_blocked", T);
	TASK("blocked|-|-|-|-|-|2");
	ck_assert_str_eq(rig_kinds(B, T), "claimed,timed_out,gave_up");
	ck_event(B, T, "gave_up",
		 "{\"failures\":2,\"effective_limit\":2,\"limit_source\":\"dispatcher\","
		 "\"error\":\"TEXT\",\"trigger_outcome\":\"timed_out\",\"pid\":%d,"
		 "\"sigkill\":false}",
		 (int)pid);
	ck_assert_int_eq(rig_event_run(B, T, "gave_up"), run);
	ck_sql(B, "timed_out", "SELECT outcome FROM task_runs");
	rig_invariant(B);
}
END_TEST

START_TEST(test_over_time_and_sigterm_ignored)
{
	int64_t run;
	pid_t pid;

	rig_board(B, 0);
	rig_do(T, "ignore 15\ntouch deaf\nwait stop\n");
	run = rig_running(B, .id = T, .age = 700, .max_runtime = 600);
	pid = rig_worker_row(B, T, run);
	RIG_UNTIL(rig_exists("deaf"), 10000);
	ck_ids(rig_tick(B), "timed_out", T);
	ck_assert(!rig_alive(pid));
	rig_json_is(json_object_get(rig_event(B, T, "timed_out"), "sigkill"), "true",
		    "sigkill");
}
END_TEST

/* The clock of a run starts with the run, not with the first start of its task. */
START_TEST(test_runtime_counts_from_the_run)
{
	int64_t run;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .age = 500, .task_age = 5000, .max_runtime = 600);
	(void)rig_worker_row(B, T, run);
	ck_ids(rig_tick(B), "timed_out", "");
	HELD();
}
END_TEST

START_TEST(test_within_time_is_left_alone)
{
	int64_t run;
	char *before;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .age = 500, .max_runtime = 600);
	(void)rig_worker_row(B, T, run);
	before = rig_dump(B);
	ck_ids(rig_tick(B), "timed_out", "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_over_time_elsewhere_is_left_alone)
{
	char *before;

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 5000, .max_runtime = 600, .lock = "elsewhere:7",
			  .pid = rig_dead_pid());
	before = rig_dump(B);
	ck_ids(rig_tick(B), "timed_out", "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_over_time_in_review_goes_back_to_review)
{
	int64_t run;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .age = 700, .max_runtime = 600, .from = "review");
	(void)rig_worker_row(B, T, run);
	ck_ids(rig_tick(B), "timed_out", T);
	ck_sql(B, "review|1", "SELECT status, consecutive_failures FROM tasks");
}
END_TEST

/* A dead worker over its time crashed: that step comes first. */
START_TEST(test_dead_over_time_is_a_crash)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .age = 700, .max_runtime = 600, .pid = rig_dead_pid());
	board = rig_tick(B);
	ck_ids(board, "crashed", T);
	ck_ids(board, "timed_out", "");
	ck_sql(B, "1", "SELECT consecutive_failures FROM tasks");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages stale = rig_ages("no heartbeat", 30);
	struct rig_ages runtime = rig_ages("max runtime", 30);

	rig_ages_test(&stale, test_stale_without_any_heartbeat);
	rig_ages_test(&stale, test_stale_with_old_heartbeat);
	rig_ages_test(&stale, test_young_heartbeat_is_not_stale);
	rig_ages_test(&stale, test_young_run_is_not_stale);
	rig_ages_test(&stale, test_timeout_zero_is_off);
	rig_ages_test(&stale, test_default_timeout_is_four_hours);
	rig_ages_test(&stale, test_stale_releases_other_hosts_too_without_a_signal);
	rig_ages_test(&stale, test_stale_ends_a_live_worker);
	rig_ages_test(&stale, test_stale_claim_from_review_goes_back_to_review);
	rig_ages_test(&runtime, test_over_time_is_ended_and_counted);
	rig_ages_test(&runtime, test_over_time_at_the_limit_gives_up);
	rig_ages_test(&runtime, test_over_time_and_sigterm_ignored);
	rig_ages_test(&runtime, test_runtime_counts_from_the_run);
	rig_ages_test(&runtime, test_within_time_is_left_alone);
	rig_ages_test(&runtime, test_over_time_elsewhere_is_left_alone);
	rig_ages_test(&runtime, test_over_time_in_review_goes_back_to_review);
	rig_ages_test(&runtime, test_dead_over_time_is_a_crash);
	return rig_suite("once: stale", stale.newer, stale.august, runtime.newer,
			 runtime.august, NULL);
}
