/*
 * Steps 2 to 5 and 7 of a tick: which running tasks are let go, extended, held, or handed to
 * the loop because a live worker has to be ended first; and what is booked when that is over.
 */
#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kit/board.h"
#include "kit/running.h"
#include "tick/running.h"

#define NOW_TEXT "1780000000" /* KIT_NOW, in SQL */

static char *row(const char *task)
{
	return kit_list(
		"SELECT t.status, t.claim_expires, r.outcome, r.error, r.claim_expires FROM"
		" tasks t JOIN task_runs r ON r.id = (SELECT max(id) FROM task_runs WHERE"
		" task_id = t.id) WHERE t.id = %Q",
		task);
}

/* ---- running_load, running_release --------------------------------------------------- */

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
	ck_assert_int_eq(running_load(kit_ctx(), &set), 0);
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
	ck_assert_int_eq(running_load(kit_ctx(), &set), 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct release release = { .status = "reclaimed", .metadata = json_object() };

		kit_sql("CREATE TABLE save AS SELECT * FROM tasks; UPDATE tasks SET %s",
			changes[i]);
		ck_assert_int_eq(running_release(kit_ctx(), &set.v[0], &release), DB_CONFLICT);
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
	ck_assert_int_eq(running_release(kit_ctx(), &set.v[0], &release), 0);
	ck_list("todo|-|-|-|-|-|-",
		"SELECT status, claim_lock, claim_expires, worker_pid,"
		" worker_started_at, current_run_id, last_heartbeat_at FROM tasks");
	ck_list("stale|stale|why|{\"a\": 1}|1780000000|h:77|-|101",
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

/* ---- expired ------------------------------------------------------------------------- */

START_TEST(expired_but_alive_is_extended)
{
	int64_t run;

	kit_board(0);
	run = kit_run("t", 101, "claim_expires = 1779999999", "claim_expires = 1779999999");
	kit_lives(101);
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(row("t"), "running|1780000900|-|-|1780000900");
	ck_list(kit_printf(
			"claim_extended|%lld|{\"reason\": \"pid_alive\", \"worker_pid\": 101,"
			" \"claim_lock\": \"h:77\", \"claim_expires_was\": 1779999999,"
			" \"claim_expires_now\": 1780000900, \"last_heartbeat_at\": null}",
			(long long)run),
		"SELECT kind, run_id, payload FROM task_events WHERE kind <> 'claimed'");
	ck_assert_int_eq(kit.plan.reclaimed, 0);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 901);
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed,claim_extended");
}
END_TEST

START_TEST(not_expired_yet)
{
	kit_board(0);
	kit_run("t", 101, "claim_expires = 1780000000", NULL);
	kit_lives(101);
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
}
END_TEST

START_TEST(expired_and_dead_is_released)
{
	kit_board(0);
	kit_run("dead", 101, "claim_expires = 1779999999, last_heartbeat_at = 1779990000",
		"started_at = 1779980000");
	kit_run("far", 102, "claim_lock = 'other:1', claim_expires = 1", NULL);
	kit_run("no_pid", 0, "claim_expires = 1", NULL);
	kit_lives(102);
	kit_open();
	kit_reclaim();
	ck_assert_int_eq(kit.plan.reclaimed, 3);
	ck_assert_str_eq(row("dead"), "ready|-|reclaimed|stale_lock=h:77|-");
	ck_list("{\"stale_lock\": \"h:77\", \"worker_pid\": 101, \"claim_expires\": 1779999999,"
		" \"last_heartbeat_at\": 1779990000, \"now\": 1780000000, \"host_local\": true,"
		" \"heartbeat_stale\": true, \"retry_status\": \"ready\", \"prev_pid\": 101, "
		"\"termination_attempted\": "
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
	/* each is a failure, on newer boards */
	ck_list(kit_by_age("3", "0"), "SELECT sum(consecutive_failures) FROM tasks");
}
END_TEST

static void expired_victim(void)
{
	kit_board(0);
	kit_run("t", 101, "claim_expires = 1779999999, last_heartbeat_at = 1779996399",
		"started_at = 1779990000");
	kit_lives(101);
	kit_open();
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_int_eq(kit.plan.victims[0].cause, VICTIM_EXPIRED);
	ck_assert_int_eq(kit.plan.victims[0].pid, 101);
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}

START_TEST(expired_without_heartbeat_is_a_victim)
{
	expired_victim();
	kit_ended_so(true, true, true);
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
	kit_ended_so(true, false, true);
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

START_TEST(ended_row_that_moved_on)
{
	expired_victim();
	kit_sql("UPDATE tasks SET status = 'done', claim_lock = NULL, claim_expires = NULL,"
		" worker_pid = NULL, current_run_id = NULL; UPDATE task_runs SET ended_at = 1,"
		" outcome = 'completed', claim_lock = NULL, claim_expires = NULL, worker_pid = "
		"NULL");
	kit_ended_so(true, true, false);
	ck_assert_int_eq(kit.plan.reclaimed, 0);
	ck_list("done|completed", "SELECT t.status, r.outcome FROM tasks t, task_runs r");
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}
END_TEST

/* ---- over time ----------------------------------------------------------------------- */

START_TEST(orphans_are_left_where_that_is_off)
{
	kit.set.reconcile_orphans = false;
	kit_board(0);
	kit_run("t", 0, "claim_lock = NULL", NULL);
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}
END_TEST

/* ---- orphans, cut-off claims, terminal workers --------------------------------------- */

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
	kit_reclaim();
	ck_list("no_lock|ready,no_expiry|ready,alive|running,no_run|ready",
		"SELECT id, status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.plan.reclaimed, 3);
	ck_list("dispatcher|3", "SELECT author, count(*) FROM task_comments");
	ck_list("{\"reason\": \"orphaned_running\", \"claim_lock\": null, \"claim_expires\":"
		" 1780000600, \"worker_pid\": 101, \"now\": 1780000000}",
		"SELECT payload FROM task_events WHERE task_id = 'no_lock' AND kind ="
		" 'reconciled'");
}
END_TEST

/* The host was renamed: its worker lives here, and nobody is started beside it. */
START_TEST(a_claim_of_a_renamed_host)
{
	kit.rq.once = false;
	kit_board(0);
	kit_run("t", 101, "claim_lock = 'old:1', claim_expires = 1", NULL);
	kit.found = 4711;
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed,claim_extended");
	ck_list("running|old:1", "SELECT status, claim_lock FROM tasks");
	ck_assert_uint_eq(kit.plan.n_workers, 1); /* watched from now on */
	ck_assert_int_eq(kit.plan.workers[0].pid, 4711);
	kit.found = 0;
	kit_sql("UPDATE tasks SET claim_expires = 1");
	kit_reclaim();
	ck_list("ready", "SELECT status FROM tasks");
}
END_TEST

/* A single sweep does so, too, but on boards of August, where it is as their Hermes. */
START_TEST(a_claim_of_a_renamed_host_in_one_sweep)
{
	kit_board(0);
	kit_run("t", 101, "claim_lock = 'old:1', claim_expires = 1", NULL);
	kit.found = 4711;
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"),
			 kit_by_age("claimed,claim_extended", "claimed,reclaimed"));
}
END_TEST

/* A claim on a task that does not run goes once nobody can be at work on it. */
START_TEST(leftover_claims)
{
	kit_board(0);
	kit_run("dead", 101, "status = 'ready'", NULL);
	kit_run("lives", 102, "status = 'ready'", NULL);
	kit_run("over", 0, "status = 'blocked', claim_expires = 1", NULL);
	kit_run("far", 103, "status = 'review', claim_lock = 'other:1'", NULL);
	kit_run("far_over", 104, "status = 'ready', claim_lock = 'other:1', claim_expires = 1",
		NULL);
	kit_lives(102);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	/* the one that lives is looked at again, the far one when its claim has run out */
	ck_assert_int_eq(kit.plan.full_at, KIT_NOW + 60);
	ck_assert_int_le(kit.plan.deadline, kit.plan.full_at);
	ck_list("dead|ready|-|-,lives|ready|h:77|2,over|blocked|-|-,far|review|other:1|4,"
		"far_over|ready|-|-",
		"SELECT id, status, claim_lock, current_run_id FROM tasks ORDER BY rowid");
	ck_list("dead|reclaimed,lives|-,over|reclaimed,far|-,far_over|reclaimed",
		"SELECT task_id, outcome FROM task_runs ORDER BY id");
	ck_assert_str_eq(kit_kinds("dead"), "claimed,reconciled");
	ck_list("leftover_claim|101",
		"SELECT payload ->> 'reason', payload ->> 'worker_pid' FROM task_events WHERE"
		" task_id = 'dead' AND kind = 'reconciled'");
	ck_list("0", "SELECT sum(consecutive_failures) FROM tasks");
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
	kit_reclaim();
	ck_assert_int_eq(kit.plan.reclaimed, 1);
	ck_assert_str_eq(row("t"), "ready|-|reclaimed|dispatcher restarted|-");
	ck_list("{\"reason\": \"dispatcher_restart\", \"stale_lock\": \"h:77\", \"worker_pid\":"
		" null, \"now\": 1780000000, \"retry_status\": \"ready\"}",
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
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_workers, 1);
	ck_assert_str_eq(kit_kinds("t"), "claimed,spawned");
}
END_TEST

/* In the second in which it expires a claim still holds. */
START_TEST(a_claim_holds_to_its_end)
{
	kit_board(0);
	kit_run("far", 0, "claim_lock = 'other:1', claim_expires = " NOW_TEXT, NULL);
	kit_run("far_over", 0, "claim_lock = 'other:1', claim_expires = " NOW_TEXT " - 1",
		NULL);
	kit_run("lives", 101, "claim_expires = " NOW_TEXT, NULL);
	kit_run("lives_over", 102, "claim_expires = " NOW_TEXT " - 1", NULL);
	kit_lives(101);
	kit_lives(102);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_list("far|running,far_over|ready,lives|running,lives_over|running",
		"SELECT id, status FROM tasks ORDER BY rowid");
	ck_list("lives_over", "SELECT task_id FROM task_events WHERE kind = 'claim_extended'");
}
END_TEST

static bool world_claimant(void *arg, const char *lock)
{
	(void)arg;
	return strcmp(lock, "h:77") == 0;
}

/* It lost the lease and lives: its git may be through in a moment. */
START_TEST(a_claimant_that_lives_keeps_its_claims)
{
	static const char *const claimants[] = { "h:76", "h:77", NULL };

	kit.rq.claimants = claimants;
	kit.host.claimant = world_claimant;
	kit_board(0);
	kit_run("lives", 0, NULL, NULL);
	kit_run("dead", 0, "claim_lock = 'h:76'", "claim_lock = 'h:76'");
	kit_open();
	kit_reclaim();
	ck_list("lives|running|h:77,dead|ready|-",
		"SELECT id, status, claim_lock FROM tasks ORDER BY rowid");
	/* it is looked at again soon, and whoever comes next hears of it */
	ck_assert(kit.plan.cut_off_left);
	ck_assert_int_le(kit.plan.deadline, KIT_NOW + 2);
	/* what it did start is known */
	kit.found = 4711;
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_list("4711", "SELECT worker_pid FROM tasks WHERE id = 'lives'");
}
END_TEST

/* … and no longer than any other claim. */
START_TEST(a_claimant_that_lives_has_its_ttl)
{
	static const char *const claimants[] = { "h:77", NULL };

	kit.rq.claimants = claimants;
	kit.host.claimant = world_claimant;
	kit_board(0);
	kit_run("t", 0, "claim_expires = 1", NULL);
	kit_open();
	kit_reclaim();
	ck_list("ready", "SELECT status FROM tasks");
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
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_victims, 1);
	ck_assert_str_eq(kit.plan.victims[0].task, "late");
	ck_assert_int_eq(kit.plan.victims[0].cause, VICTIM_TERMINAL);
	kit_ended_so(true, true, false);
	ck_assert_str_eq(kit_kinds("late"), "terminal_worker_reaped");
	ck_list("101|1", "SELECT payload ->> 'pid', payload ->> 'terminated' FROM task_events");
	kit.rq.promote_after = 1; /* a tick that only follows events does not look */
	kit_reclaim();
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
	kit_reclaim();
	ck_assert_uint_eq(kit.plan.n_workers, 1);
	ck_assert_str_eq(kit.plan.workers[0].task, "t");
	ck_assert_str_eq(kit.plan.workers[0].started, "boot|5");
	ck_assert_int_eq(kit.plan.workers[0].pid, 101);
	ck_assert_int_eq(kit.plan.workers[0].run_started_at, KIT_NOW - 900);
}
END_TEST

KIT_SUITE_AGES("running",
	       KIT_TESTS(leftover_claims, orphans_are_left_where_that_is_off,
			 load_clamps_what_rows_hold, a_run_of_another_task,
			 expired_but_alive_is_extended, not_expired_yet,
			 expired_and_dead_is_released, expired_without_heartbeat_is_a_victim,
			 survivor_is_held, ended_row_that_moved_on, orphans,
			 claims_that_a_kill_cut_off, the_worker_of_a_cut_off_claim_is_adopted,
			 a_claim_holds_to_its_end, a_claimant_that_lives_keeps_its_claims,
			 a_claimant_that_lives_has_its_ttl, a_claim_of_a_renamed_host,
			 a_claim_of_a_renamed_host_in_one_sweep),
	       KIT_TESTS(release_is_a_compare_and_swap, terminal_workers, workers_are_listed))
