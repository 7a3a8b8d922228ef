/*
 * One tick and the claims that nobody holds any more: workers that outlive their run, expired
 * claims, orphans. Tasks belong to nemo, who has no profile, so that what is released stays
 * where the test can see it.
 */
#include <signal.h>
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

/* status, claim_lock, claim_expires, worker_pid, current_run_id, consecutive_failures */
#define RECLAIMED(task) LET_GO(task, rig_by_age("1", "0")) /* a failure, since September */
#define RELEASED(task)  LET_GO(task, "0")
#define LET_GO(task, failures)                                                                 \
	ck_sql(B, rig_printf("ready|-|-|-|-|%s", failures),                                    \
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, "        \
	       "consecutive_failures FROM tasks WHERE id=%Q",                                  \
	       task)

/* ---- a live worker keeps its claim ----------------------------------------------------- */

static void check_extended(int64_t heartbeat_age, const char *extra)
{
	const int64_t before = rig_now();
	int64_t run, was, until;
	pid_t pid;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .expires_in = -50, .heartbeat_age = heartbeat_age,
			  .set = extra);
	pid = rig_worker_row(B, T, run);
	was = rig_int(B, "SELECT claim_expires FROM tasks");
	ck_count(rig_tick(B), "reclaimed", 0);

	until = rig_int(B, "SELECT claim_expires FROM tasks");
	ck_assert_int_ge(until, before + 900);
	ck_assert_int_le(until, rig_now() + 900);
	ck_assert_int_eq(rig_int(B, "SELECT claim_expires FROM task_runs"), until);
	ck_sql(B, rig_printf("running|%s:123|%d|%lld", rig.host, (int)pid, (long long)run),
	       "SELECT status, claim_lock, worker_pid, current_run_id FROM tasks");
	ck_assert_str_eq(rig_kinds(B, T), "claimed,claim_extended");
	ck_event(B, T, "claim_extended",
		 "{\"reason\":\"pid_alive\",\"worker_pid\":%d,\"claim_lock\":\"%s:123\","
		 "\"claim_expires_was\":%lld,\"claim_expires_now\":%lld,"
		 "\"last_heartbeat_at\":%s}",
		 (int)pid, rig.host, (long long)was, (long long)until,
		 heartbeat_age ? "\"INT\"" : "null");
	ck_assert_int_eq(rig_event_run(B, T, "claim_extended"), run);
	ck_assert(rig_alive(pid));
	rig_invariant(B);
}

START_TEST(test_alive_without_heartbeat_is_extended)
{
	check_extended(0, NULL);
}
END_TEST

START_TEST(test_alive_with_young_heartbeat_is_extended)
{
	check_extended(3000, NULL);
}
END_TEST

START_TEST(test_claim_ttl_comes_from_the_environment)
{
	int64_t run;

	rig_env("HERMES_KANBAN_CLAIM_TTL_SECONDS", "77");
	rig_board(B, 0);
	run = rig_running(B, .id = T, .expires_in = -50);
	(void)rig_worker_row(B, T, run);
	(void)rig_tick(B);
	ck_assert_int_le(rig_int(B, "SELECT claim_expires FROM tasks"), rig_now() + 77);
	ck_assert_int_ge(rig_int(B, "SELECT claim_expires FROM tasks"), rig_now() + 70);
}
END_TEST

START_TEST(test_claim_that_has_not_expired_is_left_alone)
{
	int64_t run;
	char *before;

	rig_board(B, 0);
	run = rig_running(B, .id = T);
	(void)rig_worker_row(B, T, run);
	(void)rig_running(B, .id = "t_00000002", .lock = "elsewhere:7", .pid = rig_dead_pid());
	before = rig_dump(B);
	ck_count(rig_tick(B), "reclaimed", 0);
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

/* ---- reclaimed ------------------------------------------------------------------------- */

START_TEST(test_dead_worker_is_reclaimed)
{
	const pid_t pid = rig_dead_pid();
	int64_t run, expires;
	json_t *board;

	rig_board(B, 0);
	run = rig_running(B, .id = T, .expires_in = -50, .pid = pid, .heartbeat_age = 500);
	expires = rig_int(B, "SELECT claim_expires FROM tasks");
	board = rig_tick(B);
	ck_count(board, "reclaimed", 1);
	ck_ids(board, "crashed", "");

	RECLAIMED(T);
	ck_sql(B, rig_by_age(rig_printf("stale_lock=%s:123", rig.host), "-"),
	       "SELECT last_failure_error FROM tasks");
	/* A reclaim leaves the heartbeat of the task. */
	ck_assert_int_gt(rig_int(B, "SELECT last_heartbeat_at FROM tasks"), 0);
	ck_assert_str_eq(rig_kinds(B, T), rig_by_age("claimed,reclaimed,skipped_nonspawnable",
						     "claimed,reclaimed"));
	ck_event(B, T, "reclaimed",
		 "{\"stale_lock\":\"%s:123\",\"worker_pid\":%d,\"claim_expires\":%lld,"
		 "\"last_heartbeat_at\":\"INT\",\"now\":\"INT\",\"host_local\":true,"
		 "\"heartbeat_stale\":false,\"prev_pid\":%d,\"termination_attempted\":true,"
		 "\"terminated\":true,\"sigkill\":false}",
		 rig.host, (int)pid, (long long)expires, (int)pid);
	ck_assert_int_eq(rig_event_run(B, T, "reclaimed"), run);
	ck_sql(B,
	       rig_printf("reclaimed|reclaimed|stale_lock=%s:123|-|%s", rig.host,
			  rig_closed(pid)),
	       "SELECT status, outcome, error, summary, claim_lock, claim_expires, worker_pid "
	       "FROM task_runs");
	ck_assert_int_ge(rig_int(B, "SELECT ended_at FROM task_runs"), rig_now() - 5);
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    rig_printf("{\"prev_pid\":%d,\"host_local\":true,\"termination_attempted\":"
			       "true,\"terminated\":true,\"sigkill\":false}",
			       (int)pid),
		    "metadata");
	rig_invariant(B);
}
END_TEST

START_TEST(test_other_host_is_reclaimed_without_a_signal)
{
	/* The number of a live process here; over there it was somebody else. */
	const pid_t pid = rig_sleeper();

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .lock = "elsewhere:7", .expires_in = -50, .pid = pid);
	ck_count(rig_tick(B), "reclaimed", 1);
	RECLAIMED(T);
	ck_assert(rig_alive(pid));
	ck_event(B, T, "reclaimed",
		 "{\"stale_lock\":\"elsewhere:7\",\"worker_pid\":%d,\"claim_expires\":\"INT\","
		 "\"last_heartbeat_at\":null,\"now\":\"INT\",\"host_local\":false,"
		 "\"heartbeat_stale\":false,\"prev_pid\":%d,\"termination_attempted\":false,"
		 "\"terminated\":false,\"sigkill\":false}",
		 (int)pid, (int)pid);
}
END_TEST

START_TEST(test_host_name_is_compared_whole)
{
	/* A host whose name begins as ours is another host. */
	const pid_t pid = rig_sleeper();

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .lock = rig_printf("%s-b:7", rig.host), .expires_in = -50,
			  .pid = pid);
	ck_count(rig_tick(B), "reclaimed", 1);
	ck_assert(rig_alive(pid));
	rig_json_is(json_object_get(rig_event(B, T, "reclaimed"), "host_local"), "false",
		    "host_local");
}
END_TEST

START_TEST(test_own_claim_without_pid_is_not_host_local)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .expires_in = -50);
	ck_count(rig_tick(B), "reclaimed", 1);
	RECLAIMED(T);
	ck_event(B, T, "reclaimed",
		 "{\"stale_lock\":\"%s:123\",\"worker_pid\":null,\"claim_expires\":\"INT\","
		 "\"last_heartbeat_at\":null,\"now\":\"INT\",\"host_local\":false,"
		 "\"heartbeat_stale\":false,\"prev_pid\":null,\"termination_attempted\":false,"
		 "\"terminated\":false,\"sigkill\":false}",
		 rig.host);
}
END_TEST

START_TEST(test_old_heartbeat_ends_the_worker_and_all_it_started)
{
	int64_t run;
	pid_t pid, child, escaped;

	rig_board(B, 0);
	rig_do(T, "child\nescape\nwait stop\n");
	run = rig_running(B, .id = T, .expires_in = -50, .heartbeat_age = 4000);
	pid = rig_worker_row(B, T, run);
	child = rig_child_pid(T, run, "child");
	escaped = rig_child_pid(T, run, "escape");
	ck_count(rig_tick(B), "reclaimed", 1);
	RECLAIMED(T);
	rig_json_is(rig_event(B, T, "reclaimed"),
		    rig_printf("{\"stale_lock\":\"%s:123\",\"worker_pid\":%d,\"claim_expires\":"
			       "\"INT\",\"last_heartbeat_at\":\"INT\",\"now\":\"INT\","
			       "\"host_local\":true,\"heartbeat_stale\":true,\"prev_pid\":%d,"
			       "\"termination_attempted\":true,\"terminated\":true,"
			       "\"sigkill\":false}",
			       rig.host, (int)pid, (int)pid),
		    "reclaimed");
	ck_assert(!rig_alive(pid));
	RIG_UNTIL(!rig_alive(child), 3000);
	RIG_UNTIL(!rig_alive(escaped), 3000);
}
END_TEST

START_TEST(test_worker_that_ignores_sigterm_is_killed)
{
	int64_t run, began;
	pid_t pid;

	rig_board(B, 0);
	rig_do(T, "ignore 15\ntouch deaf\nwait stop\n");
	run = rig_running(B, .id = T, .expires_in = -50, .heartbeat_age = 4000);
	pid = rig_worker_row(B, T, run);
	RIG_UNTIL(rig_exists("deaf"), 10000);
	began = rig_mono_us();
	ck_count(rig_tick(B), "reclaimed", 1);
	ck_assert_msg(rig_mono_us() - began >= 4900000, "after %lld us: %s",
		      (long long)(rig_mono_us() - began),
		      rig_list(B, "SELECT kind, payload FROM task_events"));
	RECLAIMED(T);
	ck_assert(!rig_alive(pid));
	rig_json_is(json_object_get(rig_event(B, T, "reclaimed"), "sigkill"), "true",
		    "sigkill");
	rig_json_is(json_object_get(rig_event(B, T, "reclaimed"), "terminated"), "true",
		    "terminated");
}
END_TEST

/* After a reboot the number belongs to somebody else: released, and nobody is signalled. */
START_TEST(test_stranger_is_never_signalled)
{
	const pid_t pid = rig_sleeper(), other = rig_sleeper();

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .expires_in = -50, .pid = pid, .started = "x:1|2");
	(void)rig_running(B, .id = "t_00000002", .expires_in = -50, .heartbeat_age = 4000,
			  .pid = other, .started = rig_printf("%s0", rig_started(other)));
	ck_count(rig_tick(B), "reclaimed", 2);
	RECLAIMED(T);
	RECLAIMED("t_00000002");
	ck_assert(rig_alive(pid));
	ck_assert(rig_alive(other));
}
END_TEST

START_TEST(test_worker_of_another_run_is_a_stranger)
{
	int64_t run;
	pid_t pid;

	rig_board(B, RIG_AUGUST);
	run = rig_running(B, .id = T, .expires_in = -50);
	pid = rig_worker(B, T, run + 41);
	rig_sql(B, "UPDATE tasks SET worker_pid=%d; UPDATE task_runs SET worker_pid=%d",
		(int)pid, (int)pid);
	ck_count(rig_tick(B), "reclaimed", 1);
	RELEASED(T);
	ck_assert(rig_alive(pid));
}
END_TEST

/*
 * A worker that lives on whatever is done: here one that the dispatcher has no right to signal.
 * Its claim is held a little longer, and nobody else gets the task.
 */
START_TEST(test_survivor_is_held)
{
	struct rig_out *out;
	int64_t runs[2], now;
	pid_t pids[2];

	rig_write("kanband.conf",
		  "[kanband]\nmemory_guard = no\n[worker]\nterminate_grace = 100ms\n");
	rig_config("dispatch_stale_timeout_seconds: 7200");
	rig_board(B, 0);
	runs[0] = rig_running(B, .id = T, .expires_in = -50, .heartbeat_age = 4000);
	runs[1] = rig_running(B, .id = "t_00000002", .age = 8000);
	pids[0] = rig_worker_row(B, T, runs[0]);
	pids[1] = rig_worker_row(B, "t_00000002", runs[1]);
	out = rig_once_as_nobody();
	if (!out)
		return;
	now = rig_now();
	ck_count(rig_of(out, B), "reclaimed", 0);
	ck_count(rig_of(out, B), "stale", 0);
	for (int i = 0; i < 2; i++) {
		const char *id = i ? "t_00000002" : T;

		ck_assert(rig_alive(pids[i]));
		ck_sql(B,
		       rig_printf("running|%s:123|%d|%lld", rig.host, (int)pids[i],
				  (long long)runs[i]),
		       "SELECT status, claim_lock, worker_pid, current_run_id FROM tasks WHERE "
		       "id=%Q",
		       id);
		ck_assert_str_eq(rig_kinds(B, id), "claimed,reclaim_deferred");
		rig_json_is(json_object_get(rig_event(B, id, "reclaim_deferred"), "reason"),
			    i ? "\"heartbeat_stale_worker_alive\""
			      : "\"ttl_expired_worker_alive\"",
			    "reason");
		ck_assert_int_ge(rig_int(B, "SELECT claim_expires FROM tasks WHERE id=%Q", id),
				 now + 100);
		ck_assert_int_le(rig_int(B, "SELECT claim_expires FROM tasks WHERE id=%Q", id),
				 now + 120);
	}
	rig_invariant(B);
}
END_TEST

START_TEST(test_claim_from_review_goes_back_to_review)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .expires_in = -50, .pid = rig_dead_pid(),
			  .from = "review");
	ck_count(rig_tick(B), "reclaimed", 1);
	ck_sql(B, "review|-|-|-|-",
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id FROM "
	       "tasks");
}
END_TEST

START_TEST(test_reclaim_is_a_failure)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .expires_in = -50, .pid = rig_dead_pid(), .failures = 1);
	ck_ids(rig_tick(B), "auto_blocked", rig_by_age(T, ""));
	ck_sql(B, rig_by_age("blocked|2", "ready|1"),
	       "SELECT status, consecutive_failures FROM tasks");
	if (!rig.age)
		rig_json_is(json_object_get(rig_event(B, T, "gave_up"), "trigger_outcome"),
			    "\"reclaimed\"", "trigger_outcome");
}
END_TEST

/* Released and ready in one tick: it is claimed again in the same one. */
START_TEST(test_reclaimed_task_starts_again_in_the_same_tick)
{
	json_t *board;

	rig_board(B, 0);
	(void)rig_running(B, .id = T, .assignee = "jimmy", .expires_in = -50,
			  .pid = rig_dead_pid());
	board = rig_tick(B);
	ck_count(board, "reclaimed", 1);
	ck_spawned(board, T);
	ck_assert_str_eq(rig_kinds(B, T),
			 "claimed,reclaimed,claimed,tip_scratch_workspace,spawned");
	ck_sql(B, "reclaimed,running", "SELECT status FROM task_runs ORDER BY id");
	rig_invariant(B);
}
END_TEST

/* ---- orphans --------------------------------------------------------------------------- */

static void check_orphan(const char *set)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T);
	rig_sql(B, "UPDATE tasks SET %s", set);
	(void)rig_tick(B);
	RELEASED(T);
	ck_assert_str_eq(rig_kinds(B, T), rig_by_age("claimed,reconciled,skipped_nonspawnable",
						     "claimed,reconciled"));
	rig_json_is(json_object_get(rig_event(B, T, "reconciled"), "reason"),
		    "\"orphaned_running\"", "reason");
	ck_sql(B, "dispatcher", "SELECT author FROM task_comments WHERE task_id=%Q", T);
	ck_sql(B, "reclaimed|reclaimed", "SELECT status, outcome FROM task_runs");
	rig_invariant(B);
}

START_TEST(test_orphan_without_lock)
{
	check_orphan("claim_lock=NULL, claim_expires=NULL");
}
END_TEST

START_TEST(test_orphan_without_expiry)
{
	check_orphan("claim_expires=NULL");
}
END_TEST

START_TEST(test_orphan_without_a_run)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .assignee = "nemo", .status = "running");
	(void)rig_tick(B);
	RELEASED(T);
	ck_assert_str_eq(rig_kinds(B, T),
			 rig_by_age("reconciled,skipped_nonspawnable", "reconciled"));
}
END_TEST

/* What it was claimed from is not asked: an orphan is ready. */
START_TEST(test_orphan_from_review)
{
	rig_board(B, 0);
	(void)rig_running(B, .id = T, .from = "review");
	rig_sql(B, "UPDATE tasks SET claim_lock=NULL, claim_expires=NULL");
	(void)rig_tick(B);
	RELEASED(T);
}
END_TEST

START_TEST(test_orphan_with_live_worker_is_left_alone)
{
	int64_t run;
	pid_t pid;
	char *before;

	rig_board(B, 0);
	run = rig_running(B, .id = T);
	pid = rig_worker_row(B, T, run);
	rig_sql(B, "UPDATE tasks SET claim_lock=NULL, claim_expires=NULL");
	before = rig_dump(B);
	(void)rig_tick(B);
	ck_assert_str_eq(rig_dump(B), before);
	ck_assert(rig_alive(pid));
}
END_TEST

/* ---- workers that outlive their run ---------------------------------------------------- */

static pid_t ended_run_with_worker(int64_t ended_ago, const char *started)
{
	int64_t run;
	pid_t pid;

	rig_board(B, 0);
	rig_add(B, .id = T, .status = "done");
	run = rig_add_run(B, T, "completed", ended_ago);
	pid = rig_worker(B, T, run);
	/* Both places where a release keeps the number of the worker. */
	rig_sql(B,
		"UPDATE tasks SET worker_pid=%d, worker_started_at=%Q; UPDATE task_runs SET "
		"worker_pid=%d, worker_started_at=%Q",
		(int)pid, started ? started : rig_started(pid), (int)pid,
		started ? started : rig_started(pid));
	return pid;
}

START_TEST(test_terminal_worker_is_ended)
{
	const pid_t pid = ended_run_with_worker(200, NULL);

	(void)rig_tick(B);
	ck_assert(!rig_alive(pid));
	ck_assert_str_eq(rig_kinds(B, T), "terminal_worker_reaped");
	ck_sql(B, "done", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_terminal_worker_has_two_minutes)
{
	const pid_t pid = ended_run_with_worker(60, NULL);

	(void)rig_tick(B);
	ck_assert(rig_alive(pid));
	ck_assert_str_eq(rig_kinds(B, T), "");
}
END_TEST

START_TEST(test_terminal_stranger_is_left_alone)
{
	const pid_t pid = ended_run_with_worker(200, "x:1|2");

	(void)rig_tick(B);
	ck_assert(rig_alive(pid));
	ck_assert_str_eq(rig_kinds(B, T), "");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages expired = rig_ages("expired claims", 30);
	struct rig_ages orphans = rig_ages("orphans", 30);
	TCase *terminal = rig_tcase("terminal workers", 30);

	rig_ages_test(&expired, test_alive_without_heartbeat_is_extended);
	rig_ages_test(&expired, test_alive_with_young_heartbeat_is_extended);
	rig_ages_test(&expired, test_claim_ttl_comes_from_the_environment);
	rig_ages_test(&expired, test_claim_that_has_not_expired_is_left_alone);
	rig_ages_test(&expired, test_dead_worker_is_reclaimed);
	rig_ages_test(&expired, test_other_host_is_reclaimed_without_a_signal);
	rig_ages_test(&expired, test_host_name_is_compared_whole);
	rig_ages_test(&expired, test_own_claim_without_pid_is_not_host_local);
	rig_ages_test(&expired, test_old_heartbeat_ends_the_worker_and_all_it_started);
	rig_ages_test(&expired, test_worker_that_ignores_sigterm_is_killed);
	tcase_add_test(expired.newer, test_stranger_is_never_signalled);
	rig_ages_test(&expired, test_worker_of_another_run_is_a_stranger);
	/* in August its worker would have to be as old as its run */
	tcase_add_test(expired.newer, test_survivor_is_held);
	rig_ages_test(&expired, test_claim_from_review_goes_back_to_review);
	rig_ages_test(&expired, test_reclaim_is_a_failure);
	rig_ages_test(&expired, test_reclaimed_task_starts_again_in_the_same_tick);
	rig_ages_test(&orphans, test_orphan_without_lock);
	rig_ages_test(&orphans, test_orphan_without_expiry);
	rig_ages_test(&orphans, test_orphan_without_a_run);
	rig_ages_test(&orphans, test_orphan_from_review);
	rig_ages_test(&orphans, test_orphan_with_live_worker_is_left_alone);
	tcase_add_test(terminal, test_terminal_worker_is_ended);
	tcase_add_test(terminal, test_terminal_worker_has_two_minutes);
	tcase_add_test(terminal, test_terminal_stranger_is_left_alone);
	return rig_suite("once: reclaim", expired.newer, expired.august, orphans.newer,
			 orphans.august, terminal, NULL);
}
