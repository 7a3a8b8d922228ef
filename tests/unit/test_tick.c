/* One tick as a whole: the order of its steps, what is written when, and what stops it. */
#include <stdio.h>
#include <string.h>

#include "kit/board.h"

START_TEST(an_idle_tick_writes_nothing)
{
	int64_t before, after;

	kit_board(0);
	kit_run("r", 101, NULL, NULL);
	kit_lives(101);
	kit_task("p", "todo", NULL);
	kit_sql("INSERT INTO task_links VALUES ('r', 'p')");
	kit_open();
	before = kit_int("PRAGMA data_version");
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	after = kit_int("PRAGMA data_version");
	ck_assert_int_eq(before, after);
	ck_assert_uint_eq(kit.owner_asked, 1); /* no write transaction asked again */
	ck_assert_int_eq(kit.plan.last_event, 1);
	ck_assert_int_eq(kit.plan.running, 1);
	ck_assert_int_eq(kit.turn.running, 1);
}
END_TEST

/* A crash frees a task, its parent's end promotes another, both are claimed, in one tick. */
START_TEST(the_steps_come_in_order)
{
	kit.set.crash_grace_s = 0;
	kit_board(0);
	kit_run("crashed", 101, NULL, NULL);
	kit_task("parent", "done", NULL);
	kit_task("child", "todo", NULL);
	kit_sql("INSERT INTO task_links VALUES ('parent', 'child')");
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_str_eq(kit_kinds("crashed"), "claimed,crashed,claimed");
	ck_assert_str_eq(kit_kinds("child"), "promoted,claimed");
	ck_assert_uint_eq(kit.plan.n_launches, 2);
	ck_assert_int_eq(kit.plan.promoted, 1);
	/* taken before anything was read: the next tick looks at what this one wrote, too */
	ck_assert_int_eq(kit.plan.last_event, 1);
	kit_claim_invariant();
}
END_TEST

START_TEST(only_the_steps_asked_for)
{
	kit_board(0);
	kit_task("todo", "todo", NULL);
	kit_task("ready", "ready", NULL);
	kit_run("r", 101, "claim_expires = 5", NULL);
	kit_open();
	ck_assert_int_eq(kit_tick(0), 0);
	ck_assert_int_eq(kit_int("SELECT count(*) FROM task_events"), 1);
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	ck_list("ready,ready,running", "SELECT status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.turn.running, 1); /* counted all the same */
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_list("ready,ready,ready", "SELECT status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.turn.running, 0);
	ck_assert_int_eq(kit_tick(TICK_DISPATCH), 0);
	ck_assert_uint_eq(kit.plan.n_launches, 3);
}
END_TEST

START_TEST(not_the_owner_reads_nothing)
{
	kit_board(0);
	kit_task("t", "todo", NULL);
	kit_open();
	kit.owner_left = 0;
	ck_assert_int_eq(kit_tick(TICK_ALL), DB_TRANSIENT);
	ck_assert(kit.plan.lease_lost);
	ck_assert_str_eq(kit.e.text, "the lease is gone");
	ck_list("todo", "SELECT status FROM tasks");
}
END_TEST

/* The lease goes at the n-th question: nothing is written after it, and all before it stands.
 */
START_TEST(the_lease_goes_at_any_time)
{
	for (int left = 0; left < 5; left++) {
		(void)remove(kit.path);
		kit_board(0);
		kit.set.crash_grace_s = 0;
		kit_run("r", 101, NULL, NULL);
		kit_task("t", "todo", NULL);
		kit_open();
		kit.owner_left = left;
		const int r = kit_tick(TICK_ALL);

		ck_assert_int_eq(r, left < 4 ? DB_TRANSIENT : 0);
		ck_assert(kit.plan.lease_lost == (left < 4));
		ck_assert_int_eq(
			kit_int("SELECT count(*) FROM task_events WHERE kind = 'crashed'"),
			left >= 2);
		ck_assert_int_eq(
			kit_int("SELECT count(*) FROM task_events WHERE kind = 'promoted'"),
			left >= 3);
		ck_assert_int_eq((int64_t)kit.plan.n_launches, left >= 4 ? 2 : 0);
		/* what is undone is not told */
		ck_assert_uint_eq(kit.plan.crashed.n, left >= 2);
		ck_assert_int_eq(kit.plan.promoted, left >= 3);
		ck_assert_int_eq(kit.plan.claimed, left >= 4 ? 2 : 0);
		ck_assert_msg(left >= 2 || kit.plan.n_notes == 0, "%s",
			      kit.plan.n_notes ? kit.plan.notes[0].text : "");
		kit_claim_invariant();
		kit_close();
		kit.turn.running = kit.caps.turns.running = 0;
	}
}
END_TEST

/* The second of two cannot be booked: nothing of the first is told, counted or planned. */
static void second_fails(void)
{
	kit_refuse("task_events", "task_id = 'b' AND kind <> 'claimed'");
}

START_TEST(an_undone_booking_is_not_told)
{
	struct plan_victim v[3] = { 0 };
	static const char *const ids[] = { "a", "a2", "b" };
	static const enum victim_cause causes[] = { VICTIM_EXPIRED, VICTIM_STALE,
						    VICTIM_EXPIRED };

	kit_board(0);
	for (size_t i = 0; i < 3; i++)
		v[i] = (struct plan_victim){ .cause = causes[i],
					     .task = (char *)(uintptr_t)ids[i],
					     .claim_lock = (char *)(uintptr_t)KIT_LOCK,
					     .run = kit_run(ids[i], 101, NULL, NULL),
					     .pid = 101,
					     .heartbeat = -1,
					     .attempted = true,
					     .terminated = true };
	for (size_t i = 0; i < 3; i++)
		v[i].current_run = v[i].run;
	second_fails();
	kit_open();
	kit_plan();
	plan_note(&kit.plan, 6, NULL, "before", 0, "said before");
	ck_assert_int_ne(tick_ended(kit.db, &kit.rq, v, 3, &kit.plan, &kit.e), 0);
	ck_list("running,running,running", "SELECT status FROM tasks");
	ck_assert_int_eq(kit.plan.reclaimed, 0);
	ck_assert_uint_eq(kit.plan.stale.n, 0);
	ck_assert_uint_eq(kit.plan.n_notes, 1);
	ck_assert_str_eq(kit.plan.notes[0].text, "said before");
	kit_allow();
	ck_assert_int_eq(tick_ended(kit.db, &kit.rq, v, 3, &kit.plan, &kit.e), 0);
	ck_assert_int_eq(kit.plan.reclaimed, 2);
	ck_assert_uint_eq(kit.plan.stale.n, 1);
	ck_assert_uint_eq(kit.plan.n_notes, 4);
}
END_TEST

START_TEST(an_undone_record_is_not_told)
{
	struct plan_launch l[2] = { 0 };
	struct tick_launched done[2];
	static const char *const ids[] = { "a", "b" };

	kit_board(0);
	for (size_t i = 0; i < 2; i++) {
		l[i] = (struct plan_launch){ .task = (char *)(uintptr_t)ids[i],
					     .claim_lock = (char *)(uintptr_t)KIT_LOCK,
					     .run = kit_run(ids[i], 0, NULL, NULL),
					     .failures = 1,
					     .max_retries = -1 };
		done[i] = (struct tick_launched){ .launch = &l[i],
						  .workspace_ok = true,
						  .error = "no such program" };
	}
	second_fails();
	kit_open();
	kit_plan();
	ck_assert_int_ne(tick_record(kit.db, &kit.rq, done, 2, &kit.plan, &kit.e), 0);
	ck_assert_uint_eq(kit.plan.auto_blocked.n, 0);
	ck_assert_uint_eq(kit.plan.n_notes, 0);
	kit_allow();
	ck_assert_int_eq(tick_record(kit.db, &kit.rq, done, 2, &kit.plan, &kit.e), 0);
	ck_assert_uint_eq(kit.plan.auto_blocked.n, 2);
	ck_assert_uint_eq(kit.plan.n_notes, 2);
}
END_TEST

START_TEST(an_undone_reclaim_is_not_told)
{
	kit.set.crash_grace_s = 0;
	kit_board(0);
	kit_run("a", 101, NULL, NULL);
	kit_run("b", 102, NULL, NULL);
	second_fails();
	kit_open();
	ck_assert_int_ne(kit_tick(TICK_RECLAIM), 0);
	ck_list("running,running", "SELECT status FROM tasks");
	ck_assert_uint_eq(kit.plan.crashed.n, 0);
	ck_assert_uint_eq(kit.plan.n_notes, 0);
	ck_assert_uint_eq(kit.plan.n_victims, 0);
	kit_allow();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_assert_uint_eq(kit.plan.crashed.n, 2);
}
END_TEST

START_TEST(triage)
{
	kit_board(0);
	kit_task("b", "triage", "created_at = 5");
	kit_task("a", "triage", "created_at = 1");
	kit_task("c", "triage", "created_at = 9");
	kit_sql("INSERT INTO tasks (id, title, status, created_at) VALUES (NULL, 'x', "
		"'triage', 2)");
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_str_eq(kit_ids(&kit.plan.triage), "");
	kit.set.auto_decompose = true;
	kit.set.auto_decompose_per_tick = 3;
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_str_eq(kit_ids(&kit.plan.triage), ""); /* --once does not */
	kit.rq.once = false;
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_str_eq(kit_ids(&kit.plan.triage), "a,b");
	/* one that was blocked again and again wants a human, until somebody moves it */
	kit_event("a", "block_loop_detected", NULL, KIT_NOW);
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_str_eq(kit_ids(&kit.plan.triage), "b,c");
	kit_event("a", "status", "{\"status\": \"triage\"}", KIT_NOW);
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_str_eq(kit_ids(&kit.plan.triage), "a,b");
}
END_TEST

START_TEST(a_table_that_went_away)
{
	kit_board(0);
	kit_task("t", "todo", NULL);
	kit_open();
	kit_sql("DROP TABLE task_links");
	ck_assert_int_eq(kit_tick(TICK_ALL), DB_SCHEMA_BAD);
	ck_assert(sqlite3_get_autocommit(db_handle(kit.db)));
	ck_list("todo", "SELECT status FROM tasks");
}
END_TEST

START_TEST(a_writer_in_the_way)
{
	sqlite3 *o = NULL;

	kit_board(KIT_WAL);
	kit_task("t", "todo", NULL);
	kit_open();
	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(o, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(kit_tick(TICK_ALL), DB_TRANSIENT);
	ck_assert(!kit.plan.lease_lost);
	ck_assert_int_eq(sqlite3_exec(o, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	ck_assert_int_eq(kit_tick(TICK_ALL), 0);
	ck_assert_uint_eq(kit.plan.n_launches, 1);
}
END_TEST

KIT_SUITE_AGES("tick",
	       KIT_TESTS(an_idle_tick_writes_nothing, the_steps_come_in_order,
			 only_the_steps_asked_for, not_the_owner_reads_nothing,
			 the_lease_goes_at_any_time, an_undone_booking_is_not_told,
			 an_undone_record_is_not_told, an_undone_reclaim_is_not_told, triage,
			 a_table_that_went_away, a_writer_in_the_way),
	       KIT_TESTS(NULL))
