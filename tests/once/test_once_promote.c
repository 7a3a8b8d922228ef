/* One tick and promotion: what waits for nothing any more becomes ready. */
#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static const char *status_of(const char *task)
{
	return rig_list(B, "SELECT status FROM tasks WHERE id=%Q", task);
}

/* All children belong to nemo: promoted, they stay ready. */
static void add_child(const char *id, const char *status)
{
	rig_add(B, .id = id, .assignee = "nemo", .status = status);
}

START_TEST(test_todo_without_parents)
{
	rig_board(B, 0);
	add_child(T, "todo");
	ck_count(rig_tick(B), "promoted", 1);
	ck_assert_str_eq(status_of(T), "ready");
	ck_sql(B, "promoted|-|-",
	       "SELECT kind, payload, run_id FROM task_events WHERE kind = 'promoted'");
	ck_assert_int_ge(rig_int(B, "SELECT created_at FROM task_events"), rig_now() - 10);
}
END_TEST

START_TEST(test_todo_with_done_and_archived_parents)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_0000000a", .status = "done");
	rig_add(B, .id = "t_0000000b", .status = "archived");
	add_child(T, "todo");
	rig_link(B, "t_0000000a", T);
	rig_link(B, "t_0000000b", T);
	ck_count(rig_tick(B), "promoted", 1);
	ck_assert_str_eq(status_of(T), "ready");
}
END_TEST

START_TEST(test_one_unfinished_parent_holds)
{
	static const char *const states[] = { "triage",  "todo",    "scheduled", "ready",
					      "running", "blocked", "review" };

	rig_board(B, 0);
	rig_add(B, .id = "t_0000000a", .status = "done");
	for (int i = 0; i < 7; i++) {
		char *parent = rig_printf("t_000000b%d", i), *child = rig_printf("t_c%d", i);

		if (i == 1) { /* a parent that itself waits */
			add_child(parent, "todo");
			rig_link(B, "t_000000b2", parent);
		} else if (i == 4) {
			(void)rig_running(B, .id = parent, .lock = "elsewhere:7");
		} else {
			add_child(parent, states[i]);
			if (i == 5)
				rig_add_event(B, parent, "blocked", NULL, 100);
		}
		add_child(child, "todo");
		rig_link(B, "t_0000000a", child);
		rig_link(B, parent, child);
	}
	ck_count(rig_tick(B), "promoted", 0);
	ck_sql(B, "7", "SELECT count(*) FROM tasks WHERE id GLOB 't_c*' AND status='todo'");
}
END_TEST

START_TEST(test_a_chain_moves_one_link)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_0000000a", .status = "done");
	add_child("t_00000001", "todo");
	add_child("t_00000002", "todo");
	rig_link(B, "t_0000000a", "t_00000001");
	rig_link(B, "t_00000001", "t_00000002");
	ck_count(rig_tick(B), "promoted", 1);
	ck_assert_str_eq(status_of("t_00000001"), "ready");
	ck_assert_str_eq(status_of("t_00000002"), "todo");
}
END_TEST

START_TEST(test_a_ring_stays)
{
	rig_board(B, 0);
	add_child("t_00000001", "todo");
	add_child("t_00000002", "todo");
	add_child("t_00000003", "todo");
	rig_link(B, "t_00000001", "t_00000002");
	rig_link(B, "t_00000002", "t_00000001");
	rig_link(B, "t_00000003", "t_00000003");
	ck_count(rig_tick(B), "promoted", 0);
	ck_sql(B, "todo,todo,todo", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_other_states_are_not_promoted)
{
	char *before;

	rig_board(B, 0);
	add_child("t_00000001", "triage");
	add_child("t_00000002", "scheduled");
	add_child("t_00000003", "review");
	add_child("t_00000004", "done");
	add_child("t_00000005", "archived");
	before = rig_dump(B);
	ck_count(rig_tick(B), "promoted", 0);
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

/*
 * Many waiting tasks at once: a board of that size must come to the same as asking each of
 * them. What must happen is worked out here, before, by the question itself.
 */
START_TEST(test_many_waiting_tasks)
{
	int64_t want;

	rig_board(B, 0);
	rig_sql(B,
		"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < 2999) "
		"INSERT INTO tasks (id, title, assignee, status, created_at) SELECT "
		"printf('t_%%08x', i), 'x', 'nemo', CASE WHEN i %% 7 = 0 THEN 'done' WHEN i %% "
		"11 = 0 THEN 'archived' WHEN i %% 13 = 0 THEN 'triage' WHEN i %% 17 = 0 THEN "
		"'blocked' ELSE 'todo' END, i FROM n;"
		/* up to three parents each, some of them not there, some the task itself */
		"INSERT OR IGNORE INTO task_links SELECT printf('t_%%08x', rowid * 7919 %% "
		"3100), id FROM tasks;"
		"INSERT OR IGNORE INTO task_links SELECT printf('t_%%08x', (rowid * 31 / 7) * "
		"7 "
		"%% 3100), id FROM tasks WHERE rowid %% 3 = 0;"
		"INSERT OR IGNORE INTO task_links SELECT id, id FROM tasks WHERE rowid %% 401 "
		"= "
		"0;"
		"DELETE FROM task_links WHERE child_id IN (SELECT id FROM tasks WHERE rowid %% "
		"5 "
		"= 0);"
		"CREATE TABLE wanted AS SELECT id FROM tasks c WHERE status IN ('todo', "
		"'blocked') AND NOT EXISTS (SELECT 1 FROM task_links l JOIN tasks p ON "
		"p.id=l.parent_id WHERE l.child_id=c.id AND p.status NOT IN ('done', "
		"'archived'))");
	want = rig_int(B, "SELECT count(*) FROM wanted");
	ck_assert_int_gt(want, 400);
	ck_count(rig_tick(B), "promoted", want);
	ck_sql(B, "", "SELECT id FROM wanted EXCEPT SELECT id FROM tasks WHERE status='ready'");
	ck_sql(B, "", "SELECT id FROM tasks WHERE status='ready' EXCEPT SELECT id FROM wanted");
	ck_assert_int_eq(rig_int(B, "SELECT count(*) FROM task_events WHERE kind='promoted'"),
			 want);
}
END_TEST

/* ---- blocked --------------------------------------------------------------------------- */

START_TEST(test_blocked_by_its_worker_is_sticky)
{
	rig_board(B, 0);
	add_child(T, "blocked");
	rig_add_event(B, T, "unblocked", NULL, 500);
	rig_add_event(B, T, "blocked", "{\"reason\": \"which colour?\"}", 100);
	rig_add_event(B, T, "commented", NULL, 50);
	ck_count(rig_tick(B), "promoted", 0);
	ck_assert_str_eq(status_of(T), "blocked");
}
END_TEST

START_TEST(test_unblocked_is_not_sticky)
{
	rig_board(B, 0);
	add_child(T, "blocked");
	rig_add_event(B, T, "blocked", "{\"reason\": \"which colour?\"}", 500);
	rig_add_event(B, T, "unblocked", NULL, 100);
	ck_count(rig_tick(B), "promoted", 1);
	ck_assert_str_eq(status_of(T), "ready");
}
END_TEST

/* Newest by order of writing: two events of one second. */
START_TEST(test_newest_is_the_last_written)
{
	rig_board(B, 0);
	add_child("t_00000001", "blocked");
	add_child("t_00000002", "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 100);
	rig_add_event(B, "t_00000001", "unblocked", NULL, 100);
	rig_add_event(B, "t_00000002", "unblocked", NULL, 100);
	rig_add_event(B, "t_00000002", "blocked", NULL, 100);
	ck_count(rig_tick(B), "promoted", 1);
	ck_assert_str_eq(status_of("t_00000001"), "ready");
	ck_assert_str_eq(status_of("t_00000002"), "blocked");
}
END_TEST

START_TEST(test_blocked_by_the_breaker)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = "nemo", .status = "blocked", .failures = 1);
	rig_add(B, .id = "t_00000002", .assignee = "nemo", .status = "blocked", .failures = 2);
	rig_add(B, .id = "t_00000003", .assignee = "nemo", .status = "blocked", .failures = 2,
		.set = "max_retries=5");
	rig_add(B, .id = "t_00000004", .assignee = "nemo", .status = "blocked", .failures = 1,
		.set = "max_retries=1");
	for (int i = 1; i < 5; i++)
		rig_add_event(B, rig_printf("t_0000000%d", i), "gave_up", NULL, 100);
	ck_count(rig_tick(B), "promoted", 2);
	ck_sql(B, "ready,blocked,ready,blocked", "SELECT status FROM tasks ORDER BY id");
}
END_TEST

START_TEST(test_blocked_limit_is_configured)
{
	rig_config("failure_limit: 3");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = "nemo", .status = "blocked", .failures = 2);
	rig_add(B, .id = "t_00000002", .assignee = "nemo", .status = "blocked", .failures = 3);
	ck_count(rig_tick(B), "promoted", 1);
	ck_sql(B, "ready,blocked", "SELECT status FROM tasks ORDER BY id");
}
END_TEST

START_TEST(test_blocked_waits_for_its_parents_too)
{
	rig_board(B, 0);
	add_child("t_0000000a", "triage");
	add_child(T, "blocked");
	rig_link(B, "t_0000000a", T);
	ck_count(rig_tick(B), "promoted", 0);
	ck_assert_str_eq(status_of(T), "blocked");
}
END_TEST

/* Promoted and started in one tick. */
START_TEST(test_promoted_starts_at_once)
{
	json_t *board;

	rig_board(B, 0);
	rig_add(B, .id = T, .status = "todo");
	board = rig_tick(B);
	ck_count(board, "promoted", 1);
	ck_spawned(board, T);
	ck_assert_str_eq(rig_kinds(B, T), "promoted,claimed,tip_scratch_workspace,spawned");
}
END_TEST

/* What promotion need not touch it does not touch. */
START_TEST(test_promotion_changes_the_status_only)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .assignee = "nemo", .status = "todo", .failures = 1,
		.last_failure_error = "was so", .set = "started_at=17, last_heartbeat_at=18");
	(void)rig_tick(B);
	ck_sql(B, "ready|1|was so|17|18|-|-",
	       "SELECT status, consecutive_failures, last_failure_error, started_at, "
	       "last_heartbeat_at, completed_at, current_run_id FROM tasks");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages todo = rig_ages("todo", 30);
	struct rig_ages blocked = rig_ages("blocked", 30);

	rig_ages_test(&todo, test_todo_without_parents);
	rig_ages_test(&todo, test_todo_with_done_and_archived_parents);
	rig_ages_test(&todo, test_one_unfinished_parent_holds);
	rig_ages_test(&todo, test_a_chain_moves_one_link);
	rig_ages_test(&todo, test_a_ring_stays);
	rig_ages_test(&todo, test_other_states_are_not_promoted);
	rig_ages_test(&todo, test_many_waiting_tasks);
	rig_ages_test(&todo, test_promoted_starts_at_once);
	rig_ages_test(&todo, test_promotion_changes_the_status_only);
	rig_ages_test(&blocked, test_blocked_by_its_worker_is_sticky);
	rig_ages_test(&blocked, test_unblocked_is_not_sticky);
	rig_ages_test(&blocked, test_newest_is_the_last_written);
	rig_ages_test(&blocked, test_blocked_by_the_breaker);
	rig_ages_test(&blocked, test_blocked_limit_is_configured);
	rig_ages_test(&blocked, test_blocked_waits_for_its_parents_too);
	return rig_suite("once: promote", todo.newer, todo.august, blocked.newer,
			 blocked.august, NULL);
}
