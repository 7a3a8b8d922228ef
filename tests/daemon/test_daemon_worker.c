/*
 * The running daemon and its workers: it knows how each one ended, ends those that take too
 * long together with all they started, and finds them again after it was restarted or killed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static struct rig_daemon *start_one(const char *script, const char *set)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	/* it goes to nemo as soon as it runs: once released, it stays */
	rig_do(T,
	       rig_printf("sql UPDATE tasks SET assignee='nemo' WHERE id='%s'\n%s", T, script));
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
	const char *text;

	check_ended("crashed", "crashed", rig_printf("pid %lld exited with code 3", pid), 1);
	ck_event(B, T, "crashed",
		 "{\"pid\":%lld,\"claimer\":\"%s:%d\",\"exit_kind\":\"nonzero_exit\","
		 "\"exit_code\":3}",
		 pid, rig.host, (int)d->pid);
	/* told once, and with how long it ran */
	text = strstr(rig_err(d), "exited with code 3");
	ck_assert(text && strncmp(text, "exited with code 3 after ", 25) == 0);
	ck_assert_ptr_null(strstr(text + 1, "exited with code 3"));
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
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nretry_backoff = 0\n");
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

/* The pause doubles, is told, and ends when somebody does something about the task. */
START_TEST(test_a_failed_task_waits)
{
	int64_t first, second;

	rig_write("kanband.conf",
		  "[worker]\nretry_backoff = 2s\n[kanband]\nmemory_guard = no\n");
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("failure_limit: 4");
	rig_board(B, 0);
	rig_do(T, "exit 7\n");
	rig_add(B, .id = T);
	(void)rig_start();
	RIG_UNTIL(rig_ran_count(T) == 2, 20000);
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_events WHERE kind='respawn_guarded'") ==
			  2,
		  10000);
	first = rig_int(B, "SELECT json_extract(payload, '$.next_try') FROM task_events WHERE "
			   "kind='respawn_guarded' ORDER BY id LIMIT 1");
	second = rig_int(B, "SELECT json_extract(payload, '$.next_try') FROM task_events WHERE "
			    "kind='respawn_guarded' ORDER BY id DESC LIMIT 1");
	ck_assert_int_ge(first - rig_int(B, "SELECT min(ended_at) FROM task_runs"), 2);
	ck_assert_int_ge(second - rig_int(B, "SELECT max(ended_at) FROM task_runs"), 4);
	rig_sql(B, "INSERT INTO task_events(task_id, kind, created_at) VALUES('" T
		   "', 'unblocked', 1900000000)");
	RIG_UNTIL(rig_ran_count(T) == 3, 1500);
	rig_invariant(B);
}
END_TEST

START_TEST(test_crashes_trip_the_breaker)
{
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nretry_backoff = 0\n");
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
	RIG_UNTIL(has_kind(T, "timed_out") || has_kind(T, "crashed"), 15000);
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

/* Of a start that takes long: the run began with its claim. What the worker wrote before the
 * start was settled is of this run, too. */
START_TEST(test_a_start_that_takes_long)
{
	struct rig_daemon *d;
	struct rig_out *out;
	json_t *w;

	/* until another second has begun than that of the claim */
	rig_write("bin/git", "#!/bin/sh\nif mkdir \"$RIG_DIR/slow\" 2>/dev/null; then\n"
			     "now=$(date +%s)\n"
			     "while [ $(date +%s) = $now ]; do :; done\nfi\n"
			     "PATH=${PATH#*:}\nexec git \"$@\"\n");
	rig_shell("chmod 755 bin/git; git init -q -b main repo; cd repo; git -c user.name=a -c "
		  "user.email=b commit -q --allow-empty -m first");
	rig_env("PATH", rig_printf("%s:%s", rig_path("bin"), rig_env_get("PATH")));
	rig_env("RIG_DIR", rig.dir);
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/" T));
	d = rig_start("--socket", rig_path("k.sock"));
	(void)rig_ran(T);
	ck_assert(rig_exists("slow"));
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE worker_pid > 0") == 1, 10000);
	out = rig_kanbanctl("--socket", rig_path("k.sock"), "--json", "workers");
	w = json_array_get(json_object_get(rig_json(out->text), "workers"), 0);
	ck_assert_msg(json_integer_value(json_object_get(w, "started_at")) ==
			      rig_int(B, "SELECT started_at FROM task_runs"),
		      "%s", out->text);
	ck_assert_int_eq(rig_stop(d), 0);
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

/* ---- what cannot be ended, and many ---------------------------------------------------- */

/* A group of the first version's freezer: what is frozen in it is in uninterruptible sleep,
 * which not even SIGKILL ends. */
static char freezer[128];

/* In the process that all cases are children of: what a case leaves frozen goes, too. */
static void freezer_name(void)
{
	(void)snprintf(freezer, sizeof(freezer), "/sys/fs/cgroup/freezer/kanband-test.%d",
		       (int)getpid());
}

static void freezer_away(void)
{
	char command[512];

	(void)snprintf(command, sizeof(command),
		       "cd %s 2>/dev/null && echo THAWED >freezer.state && "
		       "kill -KILL $(cat cgroup.procs) 2>/dev/null; rmdir %s 2>/dev/null",
		       freezer, freezer);
	(void)!system(command);
}

static void freezer_put(const char *file, const char *text)
{
	FILE *f = fopen(rig_printf("%s/%s", freezer, file), "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static bool in_deep_sleep(pid_t pid)
{
	FILE *f = fopen(rig_printf("/proc/%d/stat", (int)pid), "re");
	char state = '?';

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	(void)fclose(f);
	return state == 'D';
}

/* Its claim holds as long as it lives; then everything is as if it had ended in time. */
START_TEST(test_unkillable_holds_its_claim)
{
	pid_t pid;

	if (mkdir(freezer, 0755) < 0) {
		(void)printf("SKIP: no freezer of cgroup v1 to make a process unkillable\n");
		return;
	}
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nreclaim_defer = 1s\n[worker]\n"
				  "terminate_grace = 100ms\n");
	(void)start_one("wait stop\n", "max_runtime_seconds=3");
	/* not in the middle of a commit of its own */
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE assignee='nemo' AND "
			     "worker_pid > 1") == 1,
		  10000);
	pid = (pid_t)worker_pid();
	freezer_put("cgroup.procs", rig_printf("%d", (int)pid));
	freezer_put("freezer.state", "FROZEN");
	RIG_UNTIL(in_deep_sleep(pid), 5000);
	/* ended again and again, in vain */
	RIG_UNTIL(
		rig_int(B, "SELECT count(*) FROM task_events WHERE kind='reclaim_deferred'") >=
			2,
		30000);
	ck_assert(rig_alive(pid));
	ck_sql(B, rig_printf("running|%d|1", (int)pid),
	       "SELECT status, worker_pid, claim_lock IS NOT NULL FROM tasks");
	ck_assert_uint_eq(rig_ran_count(T), 1);
	ck_assert(!has_kind(T, "timed_out"));
	freezer_put("freezer.state", "THAWED");
	RIG_UNTIL(!rig_alive(pid), 5000);
	RIG_UNTIL(!status_is(T, "running"), 10000);
	ck_assert_uint_eq(rig_ran_count(T), 1);
	RIG_UNTIL(rmdir(freezer) == 0, 5000);
	rig_invariant(B);
}
END_TEST

#define MANY 200

/* All of them are waited for, and nothing else waits: what is ready is started meanwhile. */
START_TEST(test_many_ends_hold_nothing_up)
{
	pid_t pids[MANY];
	unsigned alive = 0;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\nmax_in_progress = 1000\n"
				  "failure_limit = 1\n[worker]\nterminate_grace = 8s\n");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_board("other", 0);
	for (int i = 0; i < MANY; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "t_%08d", i);
		rig_do(id, i > 0 ? "ignore 15\nwait stop\n" : "wait stop\n");
		rig_add(B, .id = id);
	}
	(void)rig_start();
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE worker_pid > 1") == MANY, 30000);
	for (int i = 0; i < MANY; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "t_%08d", i);
		pids[i] = (pid_t)json_integer_value(json_object_get(rig_ran(id), "pid"));
	}
	rig_sql(B, "UPDATE task_runs SET max_runtime_seconds=1");
	/* the one that listens tells that they are being ended */
	RIG_UNTIL(!rig_alive(pids[0]), 20000);
	rig_add("other", .id = "t_meanwhile");
	(void)rig_ran("t_meanwhile");
	for (int i = 0; i < MANY; i++)
		alive += rig_alive(pids[i]);
	ck_assert_uint_eq(alive, MANY - 1);
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_runs WHERE outcome='timed_out'") ==
			  MANY,
		  40000);
	for (int i = 0; i < MANY; i++)
		ck_assert(!rig_alive(pids[i]));
	rig_invariant(B);
}
END_TEST

/* ---- restarts -------------------------------------------------------------------------- */

/* Stopped in good order or killed: the worker goes on, and the next daemon knows it again. */
START_TEST(test_adopted)
{
	struct rig_daemon *d = start_one("wait go\nexit 3\n", NULL);
	const pid_t pid = (pid_t)worker_pid();

	RIG_UNTIL(has_kind(T, "spawned"), 5000);
	if (_i)
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
END_TEST

/* What an adopted worker leaves is no child of the daemon that sees it end. */
START_TEST(test_nothing_outlives_an_adopted_run)
{
	struct rig_daemon *d = start_one("child\nescape\nwait go\nexit 3\n", NULL);
	const int64_t run = rig_int(B, "SELECT id FROM task_runs");
	const pid_t child = rig_child_pid(T, run, "child");
	const pid_t escaped = rig_child_pid(T, run, "escape");

	RIG_UNTIL(has_kind(T, "spawned"), 5000);
	rig_kill9(d);
	(void)rig_start();
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(status_is("t_00000002", "running"), 5000);
	ck_assert(rig_alive(child) && rig_alive(escaped));
	rig_write("go", "");
	RIG_UNTIL(!status_is(T, "running"), 5000);
	RIG_UNTIL(!rig_alive(child), 5000);
	RIG_UNTIL(!rig_alive(escaped), 5000);
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

Suite *test_suite(void)
{
	TCase *end = rig_tcase("how it ended", 60);
	TCase *time = rig_tcase("too long", 60);
	TCase *hard = rig_tcase("what cannot be ended, and many", 90);
	TCase *restart = rig_tcase("restarts", 60);

	tcase_add_test(end, test_nonzero_exit);
	tcase_add_test(end, test_killed_by_a_signal);
	tcase_add_test(end, test_quota_wall);
	tcase_add_test(end, test_clean_exit_without_a_report);
	tcase_add_test(end, test_three_clean_exits_trip_the_breaker);
	tcase_add_test(end, test_a_failed_task_waits);
	tcase_add_test(end, test_crashes_trip_the_breaker);
	tcase_add_test(end, test_done_and_then_any_exit);
	tcase_add_test(end, test_nothing_outlives_a_run);
	tcase_add_test(time, test_over_time);
	tcase_add_test(time, test_over_time_and_deaf);
	tcase_add_test(time, test_a_start_that_takes_long);
	tcase_add_unchecked_fixture(hard, freezer_name, freezer_away);
	tcase_add_test(hard, test_unkillable_holds_its_claim);
	tcase_add_test(hard, test_many_ends_hold_nothing_up);
	tcase_add_loop_test(restart, test_adopted, 0, 2);
	tcase_add_test(restart, test_nothing_outlives_an_adopted_run);
	tcase_add_test(restart, test_adopted_and_completed);
	tcase_add_test(restart, test_died_while_nobody_watched);
	tcase_add_test(restart, test_three_unwatched_deaths_count);
	return rig_suite("daemon: workers", end, time, hard, restart, NULL);
}
