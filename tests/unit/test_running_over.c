/* Running tasks over their time, without a heartbeat, and ticks that settle down. */
#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "kit/board.h"
#include "kit/running.h"
#include "tick/running.h"

/* ---- no heartbeat -------------------------------------------------------------------- */

START_TEST(no_heartbeat)
{
	kit.set.stale_timeout_s = 14400;
	kit_board(KIT_AUGUST);
	kit_run("never", 101, NULL, "started_at = 1779985599"); /* 14401 s */
	kit_run("old", 102, "last_heartbeat_at = 1779996400", "started_at = 1779985599");
	kit_run("fresh", 103, "last_heartbeat_at = 1779996401", "started_at = 1779985599");
	kit_run("young", 104, NULL, "started_at = 1779985600");
	kit_run("dead", 105, "started_at = 1779999990", "started_at = 1779985599");
	kit_run("far", 106, "claim_lock = 'other:1'", "started_at = 1779985599");
	for (int64_t pid = 101; pid <= 104; pid++)
		kit_lives(pid);
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.stale), "dead,far");
	ck_assert_uint_eq(kit.plan.n_victims, 2);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
	kit_ended_so(true, true, false);
	ck_assert_str_eq(kit_ids(&kit.plan.stale), "never,old");
	ck_list("never|no heartbeat ever after 14401s running,"
		"old|no heartbeat for 3600s after 14401s running,fresh|-,young|-,"
		"dead|no heartbeat ever after 14401s running,"
		"far|no heartbeat ever after 14401s running",
		"SELECT task_id, error FROM task_runs ORDER BY id");
	ck_list("{\"elapsed_seconds\": 14401, \"last_heartbeat_at\": 1779996400,"
		" \"heartbeat_age_seconds\": 3600, \"timeout_seconds\": 14400, \"pid\": 102,"
		" \"retry_status\": \"ready\","
		" \"prev_pid\": 102, \"host_local\": true, \"termination_attempted\": true,"
		" \"terminated\": true, \"sigkill\": false}|1",
		"SELECT e.payload, e.payload = r.metadata FROM task_events e JOIN task_runs r "
		"ON"
		" r.id = e.run_id WHERE e.task_id = 'old' AND kind = 'stale'");
	ck_list("0|1", "SELECT sum(consecutive_failures), count(last_heartbeat_at) FROM tasks");
}
END_TEST

START_TEST(no_heartbeat_survivor_and_switched_off)
{
	kit_board(0);
	kit_run("t", 101, NULL, "started_at = 1");
	kit_lives(101);
	kit_open();
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 0);
	kit.set.stale_timeout_s = 60;
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	kit_ended_so(true, false, true);
	ck_list("heartbeat_stale_worker_alive",
		"SELECT payload ->> 'reason' FROM task_events WHERE kind = 'reclaim_deferred'");
}
END_TEST

/* ---- over time ----------------------------------------------------------------------- */

/* The clock was set back by an hour since it began: its process tells how long it runs. */
START_TEST(over_time_after_a_clock_was_set_back)
{
	kit_board(0);
	kit_run("over", 101, NULL, "max_runtime_seconds = 600");
	kit_run("not_yet", 102, NULL, "max_runtime_seconds = 3000");
	kit_sql("UPDATE task_runs SET started_at = %lld", (long long)KIT_NOW + 3600);
	kit_sql("UPDATE tasks SET started_at = %lld", (long long)KIT_NOW + 3600);
	kit_lives(101);
	kit_lives(102);
	kit.began = KIT_NOW - 700;
	kit_open();
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_str_eq(kit.plan.victims[0].task, "over");
	ck_assert_int_eq(kit.plan.victims[0].elapsed_s, 700);
}
END_TEST

START_TEST(over_time)
{
	kit_board(KIT_AUGUST);
	kit_run("t", 101, "last_heartbeat_at = 1779999999", "max_runtime_seconds = 899");
	kit_run("just", 102, NULL, "max_runtime_seconds = 900");
	kit_run("dead", 103, "started_at = 1779999990, consecutive_failures = 1",
		"max_runtime_seconds = 10");
	kit_run("far", 104, "claim_lock = 'other:1'", "max_runtime_seconds = 10");
	kit_run("no_limit", 105, NULL, "max_runtime_seconds = 0");
	kit_lives(101);
	kit_lives(102);
	kit_lives(105);
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.timed_out), "dead");
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "dead");
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
	kit_ended_so(true, true, true);
	ck_assert_str_eq(kit_ids(&kit.plan.timed_out), "t");
	ck_list("ready|1|elapsed 900s > limit 899s|-",
		"SELECT status, consecutive_failures, last_failure_error, last_heartbeat_at "
		"FROM"
		" tasks WHERE id = 't'");
	ck_list("{\"pid\": 101, \"elapsed_seconds\": 900, \"limit_seconds\": 899, \"sigkill\":"
		" true, \"retry_status\": \"ready\"}|1|elapsed 900s > limit 899s",
		"SELECT e.payload, e.payload = r.metadata, r.error FROM task_events e JOIN"
		" task_runs r ON r.id = e.run_id WHERE e.task_id = 't' AND kind = 'timed_out'");
	ck_list("103|0|timed_out|2",
		"SELECT payload ->> 'pid', payload ->> 'sigkill', payload ->>"
		" 'trigger_outcome', payload ->> 'failures' FROM task_events"
		" WHERE kind = 'gave_up'");
}
END_TEST

/* At the limit, and in August after it. */
START_TEST(over_time_at_the_limit)
{
	kit_board(0);
	kit_run("at", 101, NULL, "max_runtime_seconds = 900");
	kit_run("before", 102, NULL, "max_runtime_seconds = 901");
	kit_lives(101);
	kit_lives(102);
	kit_open();
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, kit.age ? 0 : 1);
	if (!kit.age)
		ck_assert_str_eq(kit.plan.victims[0].task, "at");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
}
END_TEST

/* A claim without a worker is left to its TTL. */
START_TEST(over_time_without_a_worker)
{
	kit_board(0);
	kit_run("t", 0, NULL, "max_runtime_seconds = 10");
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 601);
}
END_TEST

/* A heartbeat of the run before says nothing of this one; on newer boards 3600 s are not stale
 * yet. */
START_TEST(whose_heartbeat)
{
	kit_board(0);
	kit_run("before", 101, "claim_expires = 1, last_heartbeat_at = 1779990000", NULL);
	kit_run("just", 102, "claim_expires = 1, last_heartbeat_at = 1779996400",
		"started_at = 1779990000");
	kit_run("stale", 103, "claim_expires = 1, last_heartbeat_at = 1779996399",
		"started_at = 1779990000");
	for (int64_t pid = 101; pid <= 103; pid++)
		kit_lives(pid);
	kit_open();
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, kit.age ? 2 : 1);
	ck_assert_str_eq(kit.plan.victims[kit.plan.n_victims - 1].task, "stale");
	ck_list(kit_by_age("before,just", "before"),
		"SELECT task_id FROM task_events WHERE kind = 'claim_extended'");
}
END_TEST

/* A hostile count does not overflow. */
START_TEST(over_time_with_hostile_counts)
{
	kit_board(0);
	kit_run("max", 101,
		"consecutive_failures = 9223372036854775807, started_at = 1779999990",
		"max_runtime_seconds = 10");
	kit_run("min", 102,
		"consecutive_failures = -9223372036854775808, started_at = 1779999990",
		"max_runtime_seconds = 10");
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.timed_out), "max,min");
	ck_list("max|blocked,min|ready", "SELECT id, status FROM tasks ORDER BY rowid");
	ck_list("1", "SELECT consecutive_failures FROM tasks WHERE id = 'min'");
}
END_TEST

/* ---- no tick after tick for ever
 * -------------------------------------------------------------- */

/* A row that is being ended is left alone, and its time that is over is not waited for. */
START_TEST(busy_rows_set_no_deadline)
{
	int64_t busy[3];

	kit.set.stale_timeout_s = 14400;
	kit_board(0);
	busy[0] = kit_run("over", 101, NULL, "max_runtime_seconds = 10");
	busy[1] = kit_run("expired", 102, "claim_expires = 5", NULL);
	busy[2] = kit_run("stale", 103, NULL, "started_at = 5");
	kit.rq.busy = busy;
	kit.rq.n_busy = 3;
	kit_lives(101);
	kit_lives(102);
	kit_lives(103);
	kit_open();
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 0);
	ck_list("3", "SELECT count(*) FROM task_events");
}
END_TEST

/* Rows with odd times and a live worker: extended once, or left; never at every tick. */
START_TEST(odd_times_settle_down)
{
	static const char *const sets[] = {
		"claim_expires = -5",
		"claim_expires = 'soon'",
		"claim_expires = 1.5",
		"claim_expires = x'FF'",
		"claim_lock = NULL",
		"claim_expires = NULL",
		"started_at = -1",
		"started_at = NULL",
		"claim_expires = 9223372036854775807",
		"last_heartbeat_at = -9",
		"last_heartbeat_at = 'x'",
	};

	kit.set.stale_timeout_s = 14400;
	kit_board(0);
	for (int i = 0; i < 11; i++) {
		kit_run(kit_printf("t%d", i), 101 + i, sets[i],
			i == 6 || i == 7 ? "started_at = -1" : NULL);
		kit_lives(101 + i);
	}
	kit_run("old", 120, "claim_lock = NULL", "started_at = 5");
	kit_lives(120);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	kit_deadline_ahead();
	const int64_t events = kit_int("SELECT count(*) FROM task_events");

	for (int i = 0; i < 3; i++) {
		const unsigned asked = kit.owner_asked;

		ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
		kit_deadline_ahead();
		ck_assert_uint_eq(kit.owner_asked, asked + 1); /* no write transaction */
	}
	ck_assert_int_eq(kit_int("SELECT count(*) FROM task_events"), events);
}
END_TEST

START_TEST(lease_lost_writes_nothing)
{
	kit_board(0);
	kit_run("t", 101, "claim_expires = 1", NULL);
	kit_open();
	kit.owner_left = 1;
	ck_assert_int_ne(kit_tick(TICK_RECLAIM), 0);
	ck_assert(kit.plan.lease_lost);
	ck_list("running", "SELECT status FROM tasks");
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}
END_TEST

START_TEST(legacy_board)
{
	kit.set.stale_timeout_s = 14400;
	kit_board(KIT_LEGACY);
	kit_run("stale", 101, NULL, "started_at = 5");
	kit_run("expired", 102, "claim_expires = 5", NULL);
	kit_run("over", 103, "started_at = 1779999990", "max_runtime_seconds = 10");
	kit_lives(101);
	kit_open();
	kit_reclaim();
	kit_ended_so(true, true, false);
	ck_list("ready|0,ready|0,ready|1",
		"SELECT status, spawn_failures FROM tasks ORDER BY rowid");
}
END_TEST

KIT_SUITE_AGES("running_over",
	       KIT_TESTS(over_time_after_a_clock_was_set_back, over_time_at_the_limit,
			 over_time_without_a_worker, whose_heartbeat, no_heartbeat,
			 no_heartbeat_survivor_and_switched_off, over_time,
			 over_time_with_hostile_counts, busy_rows_set_no_deadline,
			 odd_times_settle_down, lease_lost_writes_nothing),
	       KIT_TESTS(legacy_board))
