/*
 * The running daemon and its workers: it knows how each one ended, ends those that take too
 * long together with all they started, and finds them again after it was restarted or killed.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static bool status_is(const char *task, const char *status)
{
	return !strcmp(rig_list(B, "SELECT status FROM tasks WHERE id=%Q", task), status);
}

static bool has_kind(const char *task, const char *kind)
{
	return rig_int(B, "SELECT count(*) FROM task_events WHERE task_id=%Q AND kind=%Q", task,
		       kind) > 0;
}

/* The task goes to nemo as soon as it was claimed: once released, it stays. */
static void hold_after_release(void)
{
	rig_sql(B, "CREATE TRIGGER hold AFTER UPDATE OF worker_pid ON tasks WHEN "
		   "new.worker_pid IS NOT NULL BEGIN UPDATE tasks SET assignee='nemo' WHERE "
		   "id=new.id; END");
}

static struct rig_daemon *start_one(const char *script, const char *set)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	hold_after_release();
	rig_do(T, script);
	rig_add(B, .id = T, .set = set);
	d = rig_start();
	(void)rig_ran(T);
	return d;
}

/* ---- how it ended ---------------------------------------------------------------------- */

static void check_ended(const char *kind, const char *outcome, const char *error, int failures)
{
	RIG_UNTIL(has_kind(T, kind), 10000);
	ck_sql(B, rig_printf("ready|-|-|-|-|%d", failures),
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, "
	       "consecutive_failures FROM tasks");
	ck_sql(B, rig_printf("%s|%s|%s", outcome, outcome, error),
	       "SELECT status, outcome, error FROM task_runs");
	ck_sql(B, error, "SELECT last_failure_error FROM tasks");
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    rig_json_text(rig_event(B, T, kind)), "metadata");
	rig_invariant(B);
}

static int64_t worker_pid(void)
{
	return json_integer_value(json_object_get(rig_ran(T), "pid"));
}

START_TEST(test_nonzero_exit)
{
	struct rig_daemon *d = start_one("exit 3\n", NULL);
	const long long pid = worker_pid();

	check_ended("crashed", "crashed", rig_printf("pid %lld exited with code 3", pid), 1);
	ck_event(B, T, "crashed",
		 "{\"pid\":%lld,\"claimer\":\"%s:%d\",\"exit_kind\":\"nonzero_exit\","
		 "\"exit_code\":3}",
		 pid, rig.host, (int)d->pid);
}
END_TEST

START_TEST(test_killed_by_a_signal)
{
	struct rig_daemon *d = start_one("signal 9\n", NULL);
	const long long pid = worker_pid();
	json_t *event;

	check_ended("crashed", "crashed", rig_printf("pid %lld killed by signal 9", pid), 1);
	event = rig_event(B, T, "crashed");
	rig_json_is(json_object_get(event, "exit_kind"), "\"signaled\"", "exit_kind");
	rig_json_is(json_object_get(event, "pid"), rig_printf("%lld", pid), "pid");
	rig_json_is(json_object_get(event, "claimer"),
		    rig_printf("\"%s:%d\"", rig.host, (int)d->pid), "claimer");
}
END_TEST

START_TEST(test_quota_wall)
{
	struct rig_daemon *d = start_one("exit 75\n", NULL);
	const long long pid = worker_pid();

	RIG_UNTIL(has_kind(T, "rate_limited"), 10000);
	ck_event(B, T, "rate_limited", "{\"pid\":%lld,\"claimer\":\"%s:%d\",\"exit_code\":75}",
		 pid, rig.host, (int)d->pid);
	ck_sql(B, "ready|0|-", "SELECT status, consecutive_failures, claim_lock FROM tasks");
	ck_sql(B, "rate_limited", "SELECT outcome FROM task_runs");
	ck_assert_int_gt(rig_int(B, "SELECT length(last_failure_error) FROM tasks"), 0);
	/* And it waits for the end of the cooldown. */
	rig_sql(B, "UPDATE tasks SET assignee='jimmy'");
	RIG_UNTIL(has_kind(T, "respawn_guarded"), 5000);
	ck_event(B, T, "respawn_guarded", "{\"reason\":\"rate_limit_cooldown\"}");
	ck_assert_uint_eq(rig_ran_count(T), 1);
}
END_TEST

START_TEST(test_clean_exit_without_a_report)
{
	struct rig_daemon *d = start_one("exit 0\n", NULL);
	const long long pid = worker_pid();

	RIG_UNTIL(has_kind(T, "protocol_violation"), 10000);
	ck_event(B, T, "protocol_violation",
		 "{\"pid\":%lld,\"claimer\":\"%s:%d\",\"exit_code\":0,"
		 "\"protocol_violation\":true}",
		 pid, rig.host, (int)d->pid);
	ck_sql(B, "ready|0", "SELECT status, consecutive_failures FROM tasks");
	ck_sql(B, "crashed|crashed", "SELECT status, outcome FROM task_runs");
	ck_assert_int_gt(rig_int(B, "SELECT length(last_failure_error) FROM tasks"), 0);
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    rig_json_text(rig_event(B, T, "protocol_violation")), "metadata");
}
END_TEST

START_TEST(test_three_clean_exits_trip_the_breaker)
{
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_do(T, "exit 0\n");
	rig_add(B, .id = T);
	(void)rig_start();
	RIG_UNTIL(status_is(T, "blocked"), 20000);
	ck_assert_uint_eq(rig_ran_count(T), 3);
	ck_assert(has_kind(T, "gave_up"));
	ck_sql(B, "3", "SELECT count(*) FROM task_events WHERE kind='protocol_violation'");
	rig_invariant(B);
}
END_TEST

START_TEST(test_crashes_trip_the_breaker)
{
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_do(T, "exit 7\n");
	rig_add(B, .id = T);
	(void)rig_start();
	RIG_UNTIL(status_is(T, "blocked"), 20000);
	ck_assert_uint_eq(rig_ran_count(T), 2);
	ck_sql(B, "blocked|2", "SELECT status, consecutive_failures FROM tasks");
	rig_json_is(json_object_get(rig_event(B, T, "gave_up"), "trigger_outcome"),
		    "\"crashed\"", "trigger_outcome");
	rig_invariant(B);
}
END_TEST

/* The worker reported: how its process ends does not matter any more. */
START_TEST(test_done_and_then_any_exit)
{
	struct rig_daemon *d = start_one("done\nexit 9\n", NULL);

	RIG_UNTIL(status_is(T, "done"), 5000);
	RIG_UNTIL(!rig_alive((pid_t)worker_pid()), 5000);
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is("t_00000002", "running"), 5000);
	/* a fast worker may report before its pid is recorded */
	ck_assert_ptr_nonnull(strstr(rig_kinds(B, T), "spawned"));
	ck_assert_ptr_nonnull(strstr(rig_kinds(B, T), "completed"));
	ck_assert_ptr_null(strstr(rig_kinds(B, T), "crashed"));
	ck_sql(B, "done|0", "SELECT status, consecutive_failures FROM tasks WHERE id=%Q", T);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(test_nothing_outlives_a_run)
{
	pid_t child, escaped;
	int64_t run;

	(void)start_one("child\nescape\nexit 3\n", NULL);
	run = rig_int(B, "SELECT id FROM task_runs");
	child = rig_child_pid(T, run, "child");
	escaped = rig_child_pid(T, run, "escape");
	RIG_UNTIL(has_kind(T, "crashed"), 10000);
	RIG_UNTIL(!rig_alive(child), 5000);
	RIG_UNTIL(!rig_alive(escaped), 5000);
}
END_TEST

/* ---- too long -------------------------------------------------------------------------- */

START_TEST(test_over_time)
{
	pid_t child, escaped;
	int64_t run;

	(void)start_one("child\nescape\nwait stop\n", "max_runtime_seconds=1");
	run = rig_int(B, "SELECT id FROM task_runs");
	child = rig_child_pid(T, run, "child");
	escaped = rig_child_pid(T, run, "escape");
	RIG_UNTIL(has_kind(T, "timed_out"), 15000);
	ck_event(B, T, "timed_out",
		 "{\"pid\":%lld,\"elapsed_seconds\":\"INT\",\"limit_seconds\":1,"
		 "\"sigkill\":false}",
		 (long long)worker_pid());
	ck_sql(B, "ready|1|-|-",
	       "SELECT status, consecutive_failures, claim_lock, worker_pid FROM tasks");
	ck_assert(!rig_alive((pid_t)worker_pid()));
	RIG_UNTIL(!rig_alive(child), 5000);
	RIG_UNTIL(!rig_alive(escaped), 5000);
	ck_assert(!has_kind(T, "crashed"));
}
END_TEST

START_TEST(test_over_time_and_deaf)
{
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[worker]\nterminate_grace = "
				  "300ms\n");
	(void)start_one("ignore 15\nchild\nwait stop\n", "max_runtime_seconds=1");
	RIG_UNTIL(has_kind(T, "timed_out"), 15000);
	rig_json_is(json_object_get(rig_event(B, T, "timed_out"), "sigkill"), "true",
		    "sigkill");
	ck_assert(!rig_alive((pid_t)worker_pid()));
	RIG_UNTIL(!rig_alive(rig_child_pid(T, rig_int(B, "SELECT id FROM task_runs"), "child")),
		  5000);
}
END_TEST

/* ---- restarts -------------------------------------------------------------------------- */

/* Stopped in good order or killed: the worker goes on, and the next daemon knows it again. */
static void check_adopted(bool killed)
{
	struct rig_daemon *d = start_one("wait go\nexit 3\n", NULL);
	const pid_t pid = (pid_t)worker_pid();

	RIG_UNTIL(has_kind(T, "spawned"), 5000);
	if (killed)
		rig_kill9(d);
	else
		ck_assert_int_eq(rig_stop(d), 0);
	ck_assert(rig_alive(pid));
	ck_assert(status_is(T, "running"));
	(void)rig_start();
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is("t_00000002", "running"), 5000);
	ck_assert(rig_alive(pid));
	ck_sql(B, rig_printf("running|%d", (int)pid),
	       "SELECT status, worker_pid FROM tasks WHERE id=%Q", T);
	ck_assert_uint_eq(rig_ran_count(T), 1);
	/* It is watched: its end is seen, not found by an expired claim. */
	rig_write("go", "");
	RIG_UNTIL(!status_is(T, "running"), 5000);
	ck_sql(B, "ready", "SELECT status FROM tasks WHERE id=%Q", T);
	rig_invariant(B);
}

START_TEST(test_adopted_after_stop)
{
	check_adopted(false);
}
END_TEST

START_TEST(test_adopted_after_kill)
{
	check_adopted(true);
}
END_TEST

START_TEST(test_adopted_and_completed)
{
	struct rig_daemon *d = start_one("wait go\ndone\n", NULL);

	RIG_UNTIL(has_kind(T, "spawned"), 5000);
	rig_kill9(d);
	(void)rig_start();
	rig_write("go", "");
	RIG_UNTIL(status_is(T, "done"), 5000);
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is("t_00000002", "running"), 5000);
	ck_assert_str_eq(rig_kinds(B, T), "claimed,tip_scratch_workspace,spawned,completed");
}
END_TEST

/* Nobody watched when it died: a restart is not the worker's fault. */
START_TEST(test_died_while_nobody_watched)
{
	struct rig_daemon *d = start_one("wait go\nexit 3\n", NULL);

	RIG_UNTIL(has_kind(T, "spawned"), 5000);
	rig_kill9(d);
	rig_write("go", "");
	RIG_UNTIL(!rig_alive((pid_t)worker_pid()), 5000);
	(void)rig_start();
	RIG_UNTIL(has_kind(T, "reclaimed"), 10000);
	rig_json_is(json_object_get(rig_event(B, T, "reclaimed"), "reason"),
		    "\"dispatcher_restart\"", "reason");
	ck_sql(B, "ready|0", "SELECT status, consecutive_failures FROM tasks");
	ck_sql(B, "reclaimed", "SELECT outcome FROM task_runs");
	ck_assert(!has_kind(T, "crashed"));
	rig_invariant(B);
}
END_TEST

/* Three such in a row look like a fault of the task after all. */
START_TEST(test_three_unwatched_deaths_count)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_do(T, "wait go\nexit 3\n");
	rig_add(B, .id = T);
	for (int i = 1; i <= 3; i++) {
		d = rig_start();
		RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_events WHERE kind='spawned'") ==
				  i,
			  10000);
		RIG_UNTIL(rig_ran_count(T) == (unsigned)i, 5000);
		rig_kill9(d);
		rig_write("go", "");
		RIG_UNTIL(!rig_alive((pid_t)worker_pid()), 5000);
		ck_sql(B, "0", "SELECT consecutive_failures FROM tasks");
		rig_shell("rm go");
	}
	(void)rig_start();
	RIG_UNTIL(rig_int(B, "SELECT consecutive_failures FROM tasks") >= 1, 10000);
}
END_TEST

int main(void)
{
	TCase *end = rig_tcase("how it ended", 60);
	TCase *time = rig_tcase("too long", 60);
	TCase *restart = rig_tcase("restarts", 60);

	tcase_add_test(end, test_nonzero_exit);
	tcase_add_test(end, test_killed_by_a_signal);
	tcase_add_test(end, test_quota_wall);
	tcase_add_test(end, test_clean_exit_without_a_report);
	tcase_add_test(end, test_three_clean_exits_trip_the_breaker);
	tcase_add_test(end, test_crashes_trip_the_breaker);
	tcase_add_test(end, test_done_and_then_any_exit);
	tcase_add_test(end, test_nothing_outlives_a_run);
	tcase_add_test(time, test_over_time);
	tcase_add_test(time, test_over_time_and_deaf);
	tcase_add_test(restart, test_adopted_after_stop);
	tcase_add_test(restart, test_adopted_after_kill);
	tcase_add_test(restart, test_adopted_and_completed);
	tcase_add_test(restart, test_died_while_nobody_watched);
	tcase_add_test(restart, test_three_unwatched_deaths_count);
	return rig_main("daemon: workers", end, time, restart, NULL);
}
