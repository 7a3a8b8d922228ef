/*
 * Steps 2 to 5 and 7 of a tick: which running tasks are let go, extended, held, or handed to
 * the loop because a live worker has to be ended first; and what is booked when that is over.
 */
#include <string.h>

#include "kit/board.h"
#include "tick/running.h"

/* What is over is no deadline: the loop would tick for ever. */
static void deadline_ahead(void)
{
	ck_assert_msg(kit.plan.deadline == 0 || kit.plan.deadline > kit.rq.now,
		      "deadline %lld is %lld s ago", (long long)kit.plan.deadline,
		      (long long)(kit.rq.now - kit.plan.deadline));
}

static void reclaim(void)
{
	ck_assert_msg(kit_tick(TICK_RECLAIM) == 0, "%s", kit.e.text);
	kit_claim_invariant();
	deadline_ahead();
}

static void settle(bool attempted, bool terminated, bool sigkill)
{
	struct plan_victim *v = kit.plan.victims;
	const size_t n = kit.plan.n_victims;
	struct plan plan = { 0 };

	for (size_t i = 0; i < n; i++) {
		v[i].attempted = attempted;
		v[i].terminated = terminated;
		v[i].sigkill = sigkill;
	}
	ck_assert_msg(tick_settle(kit.db, &kit.rq, v, n, &plan, &kit.e) == 0, "%s", kit.e.text);
	plan_deinit(&kit.plan);
	kit.plan = plan;
	kit_claim_invariant();
	deadline_ahead();
}

static char *row(const char *task)
{
	return kit_list(
		"SELECT t.status, t.claim_expires, r.outcome, r.error, r.claim_expires FROM"
		" tasks t JOIN task_runs r ON r.id = (SELECT max(id) FROM task_runs WHERE"
		" task_id = t.id) WHERE t.id = %Q",
		task);
}

/* ---- running_load, running_release ----------------------------------------------------------
 */

START_TEST(load_clamps_what_rows_hold)
{
	struct running_set set;

	kit_board(0);
	kit_run("a", 101, NULL, NULL);
	kit_run("b", 1,
		"claim_expires = -7, started_at = -1, last_heartbeat_at ="
		" 9223372036854775807, max_retries = -2, consecutive_failures = 'x',"
		" max_runtime_seconds = 1e300",
		"started_at = 'x'");
	kit_run("c", -5, "claim_lock = NULL, claim_expires = NULL, current_run_id = 999", NULL);
	kit_run("d", 2147483648, "claim_lock = 'hh:1'", "max_runtime_seconds = 60");
	kit_sql("INSERT INTO tasks (id, title, status, created_at) VALUES (NULL, 'x', "
		"'running',"
		" 1)");
	kit_lives(101);
	kit_open();
	ck_assert_int_eq(running_load(kit.db, &kit.rq, &set, &kit.e), 0);
	ck_assert_uint_eq(set.n, 4);
	ck_assert(set.v[0].host_local && set.v[0].alive && set.v[0].pid == 101);
	ck_assert_int_eq(set.v[0].max_retries, -1);
	ck_assert_int_eq(set.v[0].heartbeat, -1);
	ck_assert_int_eq(set.v[1].pid, 0);
	ck_assert_int_eq(set.v[1].expires, 0);
	ck_assert_int_eq(set.v[1].started_at, 0);
	ck_assert_int_eq(set.v[1].heartbeat, INT64_C(253402300799));
	ck_assert_int_eq(set.v[1].max_runtime, INT64_C(253402300799));
	ck_assert_int_eq(set.v[1].max_retries, 0);
	ck_assert_int_eq(set.v[1].run_started_at, 0);
	ck_assert_ptr_null(set.v[2].lock);
	ck_assert_int_eq(set.v[2].expires, -1);
	ck_assert_int_eq(set.v[2].run, 0);
	ck_assert_int_eq(set.v[2].current_run, 999);
	ck_assert(!set.v[3].host_local && !set.v[3].alive && set.v[3].pid == 0);
	ck_assert_int_eq(set.v[3].max_runtime, 60);
	running_deinit(&set);
	ck_assert_int_eq(running_time(-1), 0);
	ck_assert_int_eq(running_time(INT64_MAX), INT64_C(253402300799));
	ck_assert_int_eq(running_time(5), 5);
}
END_TEST

START_TEST(release_is_a_compare_and_swap)
{
	static const char *const changes[] = {
		"status = 'done'",     "claim_lock = 'h:78'",   "claim_lock = NULL",
		"current_run_id = 99", "current_run_id = NULL", "id = 'other'",
	};
	struct running_set set;

	kit_board(0);
	kit_run("t", 101, NULL, NULL);
	kit_open();
	ck_assert_int_eq(running_load(kit.db, &kit.rq, &set, &kit.e), 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct release release = { .status = "reclaimed", .metadata = json_object() };

		kit_sql("CREATE TABLE save AS SELECT * FROM tasks; UPDATE tasks SET %s",
			changes[i]);
		ck_assert_int_eq(running_release(kit.db, &kit.rq, &set.v[0], &release, &kit.e),
				 DB_CONFLICT);
		ck_assert_ptr_null(release.metadata);
		ck_list("running", "SELECT status FROM task_runs");
		kit_sql("DELETE FROM tasks; INSERT INTO tasks SELECT * FROM save; DROP TABLE "
			"save");
	}
	struct release release = { .to = "todo",
				   .status = "stale",
				   .error = "why",
				   .metadata = json_pack("{s:i}", "a", 1),
				   .clear_heartbeat = true };

	kit_sql("UPDATE tasks SET last_heartbeat_at = 5, worker_started_at = 'x'");
	ck_assert_int_eq(running_release(kit.db, &kit.rq, &set.v[0], &release, &kit.e), 0);
	ck_list("todo|-|-|-|-|-|-",
		"SELECT status, claim_lock, claim_expires, worker_pid,"
		" worker_started_at, current_run_id, last_heartbeat_at FROM tasks");
	ck_list("stale|stale|why|{\"a\": 1}|1780000000|-|-|-",
		"SELECT status, outcome, error, metadata, ended_at, claim_lock, claim_expires,"
		" worker_pid FROM task_runs");
	running_deinit(&set);
}
END_TEST

/* Two tasks that name one run: letting go of one does not end the other's. */
START_TEST(a_run_of_another_task)
{
	kit_board(0);
	kit_run("owner", 101, NULL, NULL);
	kit_run("thief", 102, "current_run_id = 1, claim_expires = 1", NULL);
	kit_sql("DELETE FROM task_runs WHERE task_id = 'thief'");
	kit_lives(101);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_list("owner|running,thief|ready", "SELECT id, status FROM tasks ORDER BY id");
	ck_list("running|101", "SELECT status, worker_pid FROM task_runs");
}
END_TEST

/* ---- expired --------------------------------------------------------------------------------
 */

START_TEST(expired_but_alive_is_extended)
{
	int64_t run;

	kit_board(0);
	run = kit_run("t", 101, "claim_expires = 1779999999", "claim_expires = 1779999999");
	kit_lives(101);
	kit_open();
	reclaim();
	ck_assert_str_eq(row("t"), "running|1780000900|-|-|1780000900");
	ck_list(kit_printf(
			"claim_extended|%lld|{\"reason\": \"pid_alive\", \"worker_pid\": 101,"
			" \"claim_lock\": \"h:77\", \"claim_expires_was\": 1779999999,"
			" \"claim_expires_now\": 1780000900, \"last_heartbeat_at\": null}",
			(long long)run),
		"SELECT kind, run_id, payload FROM task_events WHERE kind <> 'claimed'");
	ck_assert_int_eq(kit.plan.reclaimed, 0);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 901);
	reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed,claim_extended");
}
END_TEST

START_TEST(not_expired_yet)
{
	kit_board(0);
	kit_run("t", 101, "claim_expires = 1780000000", NULL);
	kit_lives(101);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
}
END_TEST

START_TEST(expired_and_dead_is_released)
{
	kit_board(0);
	kit_run("dead", 101, "claim_expires = 1779999999, last_heartbeat_at = 1779990000",
		NULL);
	kit_run("far", 102, "claim_lock = 'other:1', claim_expires = 1", NULL);
	kit_run("no_pid", 0, "claim_expires = 1", NULL);
	kit_lives(102);
	kit_open();
	reclaim();
	ck_assert_int_eq(kit.plan.reclaimed, 3);
	ck_assert_str_eq(row("dead"), "ready|-|reclaimed|stale_lock=h:77|-");
	ck_list("{\"stale_lock\": \"h:77\", \"worker_pid\": 101, \"claim_expires\": 1779999999,"
		" \"last_heartbeat_at\": 1779990000, \"now\": 1780000000, \"host_local\": true,"
		" \"heartbeat_stale\": true, \"prev_pid\": 101, \"termination_attempted\": "
		"true,"
		" \"terminated\": true, \"sigkill\": false}",
		"SELECT payload FROM task_events WHERE task_id = 'dead' AND kind = "
		"'reclaimed'");
	ck_list("{\"prev_pid\": 102, \"host_local\": false, \"termination_attempted\": false,"
		" \"terminated\": false, \"sigkill\": false}|0",
		"SELECT r.metadata, e.payload ->> 'host_local' FROM task_runs r JOIN "
		"task_events e"
		" ON e.run_id = r.id AND e.kind = 'reclaimed' WHERE r.task_id = 'far'");
	ck_list("-|0",
		"SELECT payload ->> 'prev_pid', payload ->> 'host_local' FROM task_events"
		" WHERE task_id = 'no_pid' AND kind = 'reclaimed'");
	ck_list("0", "SELECT sum(consecutive_failures) FROM tasks"); /* not a failure */
}
END_TEST

static void expired_victim(void)
{
	kit_board(0);
	kit_run("t", 101, "claim_expires = 1779999999, last_heartbeat_at = 1779996400", NULL);
	kit_lives(101);
	kit_open();
	reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_int_eq(kit.plan.victims[0].cause, VICTIM_EXPIRED);
	ck_assert_int_eq(kit.plan.victims[0].pid, 101);
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}

START_TEST(expired_without_heartbeat_is_a_victim)
{
	expired_victim();
	settle(true, true, true);
	ck_assert_int_eq(kit.plan.reclaimed, 1);
	ck_assert_str_eq(row("t"), "ready|-|reclaimed|stale_lock=h:77|-");
	ck_list("1|1|1|1",
		"SELECT payload ->> 'heartbeat_stale', payload ->> 'terminated',"
		" payload ->> 'sigkill', payload ->> 'host_local' FROM task_events WHERE"
		" kind = 'reclaimed'");
}
END_TEST

START_TEST(survivor_is_held)
{
	expired_victim();
	settle(true, false, true);
	ck_assert_int_eq(kit.plan.reclaimed, 0);
	ck_assert_str_eq(row("t"), "running|1780000120|-|-|1780000120");
	ck_list("ttl_expired_worker_alive|101|h:77|1779999999|1780000120|0|1",
		"SELECT payload ->> 'reason', payload ->> 'worker_pid', payload ->> "
		"'claim_lock',"
		" payload ->> 'claim_expires_was', payload ->> 'claim_expires_now', payload ->>"
		" 'terminated', payload ->> 'sigkill' FROM task_events WHERE kind ="
		" 'reclaim_deferred'");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 121);
}
END_TEST

START_TEST(settled_row_that_moved_on)
{
	expired_victim();
	kit_sql("UPDATE tasks SET status = 'done', claim_lock = NULL, claim_expires = NULL,"
		" worker_pid = NULL, current_run_id = NULL; UPDATE task_runs SET ended_at = 1,"
		" outcome = 'completed', claim_lock = NULL, claim_expires = NULL, worker_pid = "
		"NULL");
	settle(true, true, false);
	ck_assert_int_eq(kit.plan.reclaimed, 0);
	ck_list("done|completed", "SELECT t.status, r.outcome FROM tasks t, task_runs r");
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}
END_TEST

/* ---- no heartbeat ---------------------------------------------------------------------------
 */

START_TEST(no_heartbeat)
{
	kit.set.stale_timeout_s = 14400;
	kit_board(0);
	kit_run("never", 101, NULL, "started_at = 1779985599"); /* 14401 s */
	kit_run("old", 102, "last_heartbeat_at = 1779996400", "started_at = 1779985599");
	kit_run("fresh", 103, "last_heartbeat_at = 1779996401", "started_at = 1779985599");
	kit_run("young", 104, NULL, "started_at = 1779985600");
	kit_run("dead", 105, "started_at = 1779999990", "started_at = 1779985599");
	kit_run("far", 106, "claim_lock = 'other:1'", "started_at = 1779985599");
	for (int64_t pid = 101; pid <= 104; pid++)
		kit_lives(pid);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.stale), "dead,far");
	ck_assert_uint_eq(kit.plan.n_victims, 2);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
	settle(true, true, false);
	ck_assert_str_eq(kit_ids(&kit.plan.stale), "never,old");
	ck_list("never|no heartbeat ever after 14401s running,"
		"old|no heartbeat for 3600s after 14401s running,fresh|-,young|-,"
		"dead|no heartbeat ever after 14401s running,"
		"far|no heartbeat ever after 14401s running",
		"SELECT task_id, error FROM task_runs ORDER BY id");
	ck_list("{\"elapsed_seconds\": 14401, \"last_heartbeat_at\": 1779996400,"
		" \"heartbeat_age_seconds\": 3600, \"timeout_seconds\": 14400, \"pid\": 102,"
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
	reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 0);
	kit.set.stale_timeout_s = 60;
	reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	settle(true, false, true);
	ck_list("heartbeat_stale_worker_alive",
		"SELECT payload ->> 'reason' FROM task_events WHERE kind = 'reclaim_deferred'");
}
END_TEST

/* ---- over time ------------------------------------------------------------------------------
 */

START_TEST(over_time)
{
	kit_board(0);
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
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.timed_out), "dead");
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "dead");
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
	settle(true, true, true);
	ck_assert_str_eq(kit_ids(&kit.plan.timed_out), "t");
	ck_list("ready|1|elapsed 900s > limit 899s|-",
		"SELECT status, consecutive_failures, last_failure_error, last_heartbeat_at "
		"FROM"
		" tasks WHERE id = 't'");
	ck_list("{\"pid\": 101, \"elapsed_seconds\": 900, \"limit_seconds\": 899, \"sigkill\":"
		" true}|1|elapsed 900s > limit 899s",
		"SELECT e.payload, e.payload = r.metadata, r.error FROM task_events e JOIN"
		" task_runs r ON r.id = e.run_id WHERE e.task_id = 't' AND kind = 'timed_out'");
	ck_list("103|0|timed_out|2",
		"SELECT payload ->> 'pid', payload ->> 'sigkill', payload ->>"
		" 'trigger_outcome', payload ->> 'failures' FROM task_events"
		" WHERE kind = 'gave_up'");
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
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.timed_out), "max,min");
	ck_list("max|blocked,min|ready", "SELECT id, status FROM tasks ORDER BY rowid");
	ck_list("1", "SELECT consecutive_failures FROM tasks WHERE id = 'min'");
}
END_TEST

/* ---- orphans, cut-off claims, terminal workers ----------------------------------------------
 */

START_TEST(orphans)
{
	kit_board(0);
	kit_run("no_lock", 101, "claim_lock = NULL", NULL);
	kit_run("no_expiry", 0, "claim_expires = NULL", NULL);
	kit_run("alive", 102, "claim_lock = NULL", NULL);
	kit_run("no_run", 0, "claim_lock = NULL, current_run_id = NULL", NULL);
	kit_sql("DELETE FROM task_runs WHERE task_id = 'no_run'");
	kit_lives(102);
	kit_open();
	reclaim();
	ck_list("no_lock|ready,no_expiry|ready,alive|running,no_run|ready",
		"SELECT id, status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.plan.reclaimed, 3);
	ck_list("dispatcher|3", "SELECT author, count(*) FROM task_comments");
	ck_list("{\"reason\": \"orphaned_running\", \"claim_lock\": null, \"claim_expires\":"
		" 1780000600, \"worker_pid\": 101}",
		"SELECT payload FROM task_events WHERE task_id = 'no_lock' AND kind ="
		" 'reconciled'");
}
END_TEST

START_TEST(claims_that_a_kill_cut_off)
{
	static const char *const claimants[] = { "h:76", "h:77", NULL };

	kit.rq.claimants = claimants;
	kit_board(0);
	kit_run("t", 0, NULL, NULL);
	kit_run("theirs", 0, "claim_lock = 'h:9'", NULL);
	kit_open();
	reclaim();
	ck_assert_int_eq(kit.plan.reclaimed, 1);
	ck_assert_str_eq(row("t"), "ready|-|reclaimed|dispatcher restarted|-");
	ck_list("{\"reason\": \"dispatcher_restart\", \"stale_lock\": \"h:77\", \"worker_pid\":"
		" null, \"now\": 1780000000}",
		"SELECT payload FROM task_events WHERE kind = 'reclaimed'");
	ck_list("running", "SELECT status FROM tasks WHERE id = 'theirs'");
}
END_TEST

START_TEST(the_worker_of_a_cut_off_claim_is_adopted)
{
	static const char *const claimants[] = { "h:77", NULL };

	kit.rq.claimants = claimants;
	kit.found = 4711;
	kit_board(0);
	kit_run("t", 0, NULL, NULL);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_list("running|4711|4711", "SELECT t.status, t.worker_pid, r.worker_pid FROM tasks t,"
				     " task_runs r");
	ck_list("{\"pid\": 4711}", "SELECT payload FROM task_events WHERE kind = 'spawned'");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW); /* at once: it has to be watched */
	kit_lives(4711);
	reclaim();
	ck_assert_uint_eq(kit.plan.n_workers, 1);
	ck_assert_str_eq(kit_kinds("t"), "claimed,spawned");
}
END_TEST

START_TEST(terminal_workers)
{
	static const char *const cases[] = { "late", "fresh", "dead", "no_mark" };

	kit_board(0);
	for (int i = 0; i < 4; i++) {
		kit_task(cases[i], "done", NULL);
		kit_ended(cases[i], "completed", KIT_NOW - (i == 1 ? 119 : 120), NULL);
		kit_sql("UPDATE task_runs SET worker_pid = %d, worker_started_at = %Q WHERE"
			" task_id = %Q",
			101 + i, i == 3 ? NULL : "boot|1", cases[i]);
		if (i != 2)
			kit_lives(101 + i);
	}
	kit_sql("INSERT INTO task_runs (task_id, status, started_at, ended_at, worker_pid,"
		" worker_started_at) VALUES ('odd', 'x', 'x', 1, -1, 'b'), ('odd', 'x', 1, 1, "
		"1,"
		" 'b'), ('odd', 'x', 1, 1, 99999999999, x'00')");
	kit_lives(-1);
	kit_lives(1);
	kit_open();
	reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_str_eq(kit.plan.victims[0].task, "late");
	ck_assert_int_eq(kit.plan.victims[0].cause, VICTIM_TERMINAL);
	settle(true, true, false);
	ck_assert_str_eq(kit_kinds("late"), "terminal_worker_reaped");
	ck_list("101|1", "SELECT payload ->> 'pid', payload ->> 'terminated' FROM task_events");
	kit.rq.promote_after = 1; /* a tick that only follows events does not look */
	reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 0);
}
END_TEST

START_TEST(workers_are_listed)
{
	kit_board(0);
	kit_run("t", 101, NULL, "worker_started_at = 'boot|5'");
	kit_run("dead", 102, "started_at = 1779999999", NULL);
	kit_lives(101);
	kit_open();
	reclaim();
	ck_assert_uint_eq(kit.plan.n_workers, 1);
	ck_assert_str_eq(kit.plan.workers[0].task, "t");
	ck_assert_str_eq(kit.plan.workers[0].started, "boot|5");
	ck_assert_int_eq(kit.plan.workers[0].pid, 101);
	ck_assert_int_eq(kit.plan.workers[0].run_started_at, KIT_NOW - 900);
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
	reclaim();
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
	deadline_ahead();
	const int64_t events = kit_int("SELECT count(*) FROM task_events");

	for (int i = 0; i < 3; i++) {
		const unsigned asked = kit.owner_asked;

		ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
		deadline_ahead();
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
	reclaim();
	settle(true, true, false);
	ck_list("ready|0,ready|0,ready|1",
		"SELECT status, spawn_failures FROM tasks ORDER BY rowid");
}
END_TEST

KIT_SUITE("running", load_clamps_what_rows_hold, release_is_a_compare_and_swap,
	  a_run_of_another_task, expired_but_alive_is_extended, not_expired_yet,
	  expired_and_dead_is_released, expired_without_heartbeat_is_a_victim, survivor_is_held,
	  settled_row_that_moved_on, no_heartbeat, no_heartbeat_survivor_and_switched_off,
	  over_time, over_time_with_hostile_counts, orphans, claims_that_a_kill_cut_off,
	  the_worker_of_a_cut_off_claim_is_adopted, terminal_workers, workers_are_listed,
	  busy_rows_set_no_deadline, odd_times_settle_down, lease_lost_writes_nothing,
	  legacy_board)
