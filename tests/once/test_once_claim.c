/*
 * One tick and the claim itself: what stands on the board after a task was started, what a
 * claim refuses, and what it tidies up. At the end: the same tick again changes nothing.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

START_TEST(test_rows_after_a_start)
{
	const int64_t before = rig_now();
	json_t *board, *spawned;
	int64_t run, expires, started;
	const char *born;
	pid_t pid;
	char *lock;

	rig_board(B, 0);
	rig_add(B, .id = T,
		.set = "current_step_key='draft', max_runtime_seconds=1800, "
		       "last_heartbeat_at=17, consecutive_failures=1, "
		       "last_failure_error='was so'");
	board = rig_tick(B);
	spawned = json_array_get(json_object_get(board, "spawned"), 0);
	pid = (pid_t)json_integer_value(json_object_get(rig_ran(T), "pid"));
	born = rig_by_age(rig_started(pid), "-");
	run = rig_int(B, "SELECT id FROM task_runs");
	rig_json_is(spawned,
		    rig_printf("{\"task\":\"" T "\",\"run\":%lld,\"assignee\":\"jimmy\","
			       "\"workspace\":\"%s/kanban/workspaces/" T "\",\"pid\":%d}",
			       (long long)run, rig.root, (int)pid),
		    "spawned");

	/* The lock is ours: host and the dispatcher's pid, which is no longer there. */
	lock = rig_list(B, "SELECT claim_lock FROM tasks");
	ck_assert_int_eq(strncmp(lock, rig_printf("%s:", rig.host), strlen(rig.host) + 1), 0);
	ck_assert_int_gt(atoi(lock + strlen(rig.host) + 1), 1);
	ck_assert(!rig_alive(atoi(lock + strlen(rig.host) + 1)));
	expires = rig_int(B, "SELECT claim_expires FROM tasks");
	ck_assert_int_ge(expires, before + 900);
	ck_assert_int_le(expires, rig_now() + 900);
	started = rig_int(B, "SELECT started_at FROM tasks");
	ck_assert(started >= before && started <= rig_now());
	ck_sql(B,
	       rig_printf("running|%lld|%d|%s/kanban/workspaces/" T "|17|1|was so|-|%s",
			  (long long)run, (int)pid, rig.root, born),
	       "SELECT status, current_run_id, worker_pid, workspace_path, last_heartbeat_at, "
	       "consecutive_failures, last_failure_error, completed_at, %s FROM tasks",
	       rig_by_age("worker_started_at", "'-'"));
	ck_sql(B,
	       rig_printf(T "|jimmy|draft|running|%s|%lld|%d|1800|-|-|-|-|-|-|%s", lock,
			  (long long)expires, (int)pid, born),
	       "SELECT task_id, profile, step_key, status, claim_lock, claim_expires, "
	       "worker_pid, "
	       "max_runtime_seconds, last_heartbeat_at, ended_at, outcome, summary, metadata, "
	       "error, %s FROM task_runs",
	       rig_by_age("worker_started_at", "'-'"));
	ck_assert_int_ge(rig_int(B, "SELECT started_at FROM task_runs"), before);

	ck_assert_str_eq(rig_kinds(B, T), "claimed,tip_scratch_workspace,spawned");
	ck_event(B, T, "claimed", "{\"lock\":\"%s\",\"expires\":%lld,\"run_id\":%lld}", lock,
		 (long long)expires, (long long)run);
	ck_event(B, T, "spawned", "{\"pid\":%d}", (int)pid);
	ck_assert_int_eq(rig_event_run(B, T, "claimed"), run);
	ck_assert_int_eq(rig_event_run(B, T, "spawned"), run);
	ck_assert_int_eq(rig_event_run(B, T, "tip_scratch_workspace"), 0);
	rig_invariant(B);
}
END_TEST

START_TEST(test_started_at_is_kept)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .set = "started_at=1234567");
	ck_spawned(rig_tick(B), T);
	ck_sql(B, "1234567", "SELECT started_at FROM tasks");
	ck_assert_int_gt(rig_int(B, "SELECT started_at FROM task_runs"), 1234567);
}
END_TEST

START_TEST(test_ttl_of_the_environment)
{
	rig_env("HERMES_KANBAN_CLAIM_TTL_SECONDS", "5000");
	rig_board(B, 0);
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), T);
	ck_assert_int_ge(rig_int(B, "SELECT claim_expires FROM tasks"), rig_now() + 4900);
	ck_assert_int_ge(rig_int(B, "SELECT claim_expires FROM task_runs"), rig_now() + 4900);
}
END_TEST

/* ---- the tip --------------------------------------------------------------------------- */

START_TEST(test_tip_once_per_root)
{
	rig_board(B, 0);
	rig_board("other", 0);
	rig_add(B, .id = "t_00000001");
	rig_add(B, .id = "t_00000002");
	rig_add("other", .id = "t_00000003");
	(void)rig_once();
	ck_assert(rig_exists("root/.scratch_tip_shown"));
	ck_assert_int_eq(
		rig_int(B, "SELECT count(*) FROM task_events WHERE kind GLOB 'tip_*'") +
			rig_int("other",
				"SELECT count(*) FROM task_events WHERE kind GLOB 'tip_*'"),
		1);
}
END_TEST

START_TEST(test_no_tip_when_it_was_shown)
{
	rig_write("root/.scratch_tip_shown", "");
	rig_board(B, 0);
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), T);
	ck_assert_str_eq(rig_kinds(B, T), "claimed,spawned");
}
END_TEST

START_TEST(test_tip_for_scratch_with_a_path)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_path = rig_path("elsewhere"));
	ck_spawned(rig_tick(B), T);
	ck_assert_str_eq(rig_kinds(B, T), "claimed,tip_scratch_workspace,spawned");
}
END_TEST

START_TEST(test_no_tip_for_a_folder)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir", .workspace_path = rig_path("elsewhere"));
	ck_spawned(rig_tick(B), T);
	ck_assert_str_eq(rig_kinds(B, T), "claimed,spawned");
	ck_assert(!rig_exists("root/.scratch_tip_shown"));
}
END_TEST

/* ---- refused --------------------------------------------------------------------------- */

START_TEST(test_unfinished_parent_rejects)
{
	json_t *board;

	rig_board(B, 0);
	rig_add(B, .id = "t_0000000a", .status = "triage");
	rig_add(B, .id = T);
	rig_link(B, "t_0000000a", T);
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_sql(B, "todo|-|-|-",
	       "SELECT status, claim_lock, current_run_id, started_at FROM tasks "
	       "WHERE id=%Q",
	       T);
	ck_assert_str_eq(rig_kinds(B, T), "claim_rejected");
	ck_event(B, T, "claim_rejected", "{\"reason\":\"parents_not_done\"}");
	ck_sql(B, "0", "SELECT count(*) FROM task_runs");
	/* And there it stays. */
	ck_count(rig_tick(B), "promoted", 0);
	ck_assert_str_eq(rig_kinds(B, T), "claim_rejected");
}
END_TEST

START_TEST(test_finished_and_missing_parents_do_not)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_0000000a", .status = "done");
	rig_add(B, .id = "t_0000000b", .status = "archived");
	rig_add(B, .id = T);
	rig_link(B, "t_0000000a", T);
	rig_link(B, "t_0000000b", T);
	rig_link(B, "t_deadbeef", T);
	ck_spawned(rig_tick(B), T);
}
END_TEST

/* ---- a leaked run ---------------------------------------------------------------------- */

static void leak_run(const char *summary)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	rig_sql(B,
		"INSERT INTO task_runs (id, task_id, profile, status, claim_lock, "
		"claim_expires, "
		"worker_pid, started_at, summary) VALUES (7, %Q, 'jimmy', 'running', 'x:1', "
		"17, "
		"%d, 18, %Q); UPDATE tasks SET current_run_id=7",
		T, (int)rig_dead_pid(), summary);
}

START_TEST(test_leaked_run_is_closed)
{
	leak_run(NULL);
	ck_spawned(rig_tick(B), T);
	ck_sql(B,
	       rig_by_age("reclaimed|reclaimed|invariant recovery on re-claim|-|x:1|-|1",
			  "reclaimed|reclaimed|invariant recovery on re-claim|-|-|-|-"),
	       "SELECT status, outcome, summary, error, claim_lock, claim_expires, worker_pid "
	       ">4194304 FROM task_runs WHERE id=7");
	ck_assert_int_ge(rig_int(B, "SELECT ended_at FROM task_runs WHERE id=7"),
			 rig_now() - 10);
	ck_assert_int_gt(rig_int(B, "SELECT current_run_id FROM tasks"), 7);
	rig_invariant(B);
}
END_TEST

START_TEST(test_leaked_run_keeps_its_summary)
{
	leak_run("half done");
	ck_spawned(rig_tick(B), T);
	ck_sql(B, "half done", "SELECT summary FROM task_runs WHERE id=7");
}
END_TEST

START_TEST(test_only_the_named_run_is_closed)
{
	leak_run(NULL);
	rig_sql(B,
		"INSERT INTO task_runs (id, task_id, profile, status, started_at) VALUES (5, "
		"%Q, 'jimmy', 'running', 17)",
		T);
	ck_spawned(rig_tick(B), T);
	ck_sql(B, "running|-", "SELECT status, ended_at FROM task_runs WHERE id=5");
}
END_TEST

/* ---- again ----------------------------------------------------------------------------- */

/* A board with some of everything; one tick, and a second one that finds nothing to do. */
START_TEST(test_the_same_again_changes_nothing)
{
	char *before;
	json_t *board;

	rig_board(B, 0);
	rig_config("max_spawn: 6");
	for (int i = 0; i < 12; i++)
		rig_add(B, .id = rig_printf("t_0000001%c", 'a' + i),
			.status = i < 4 ? "ready" : "todo");
	for (int i = 1; i < 12; i++)
		rig_link(B, rig_printf("t_0000001%c", 'a' + i - 1),
			 rig_printf("t_0000001%c", 'a' + i));
	rig_add(B, .id = "t_00000020", .assignee = RIG_NOBODY);
	rig_add(B, .id = "t_00000021", .assignee = "orion-cc");
	rig_add(B, .id = "t_00000022", .last_failure_error = "quota exceeded");
	rig_add(B, .id = "t_00000023", .status = "blocked", .failures = 2);
	rig_add(B, .id = "t_00000024", .status = "todo");
	(void)rig_running(B, .id = "t_00000025", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000026", .expires_in = -50, .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000027", .lock = "elsewhere:7");
	board = rig_tick(B);
	ck_ids(board, "crashed", "t_00000025");
	ck_count(board, "reclaimed", 1);
	ck_assert_int_gt(json_array_size(json_object_get(board, "spawned")), 0);
	rig_invariant(B);

	before = rig_dump(B);
	board = rig_tick(B);
	ck_assert_str_eq(rig_dump(B), before);
	ck_spawned(board, "");
	ck_count(board, "promoted", 0);
	ck_count(board, "reclaimed", 0);
	ck_ids(board, "respawn_guarded", "t_00000022");
}
END_TEST

/* The implementer asked for a review and has not ended yet; a row was put back beside its
 * worker. Whatever the rows say, no second one is started while the first lives. */
START_TEST(test_nobody_beside_the_living)
{
	const char *const tasks[] = { "t_00000001", "t_00000002" };

	rig_config("review_dispatch: true");
	rig_board(B, 0);
	for (int i = 0; i < 2; i++) {
		rig_add(B, .id = tasks[i], .status = i ? "ready" : "review");
		(void)rig_worker(
			B, tasks[i],
			rig_add_run(B, tasks[i], i ? "crashed" : "review_requested", 5));
	}
	ck_spawned(rig_tick(B), "");
	ck_sql(B, "review,ready", "SELECT status FROM tasks ORDER BY id");
	rig_let_go();
	for (int i = 0; i < 2; i++)
		RIG_UNTIL(!rig_alive((pid_t)json_integer_value(
				  json_object_get(rig_ran(tasks[i]), "pid"))),
			  10000);
	ck_spawned(rig_tick(B), "t_00000002,t_00000001");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages rows = rig_ages("rows", 30);
	struct rig_ages tip = rig_ages("tip", 30);
	struct rig_ages refused = rig_ages("refused", 30);
	struct rig_ages leaked = rig_ages("leaked run", 30);
	struct rig_ages again = rig_ages("again", 30);

	rig_ages_test(&rows, test_rows_after_a_start);
	rig_ages_test(&rows, test_started_at_is_kept);
	rig_ages_test(&rows, test_ttl_of_the_environment);
	rig_ages_test(&tip, test_tip_once_per_root);
	rig_ages_test(&tip, test_no_tip_when_it_was_shown);
	rig_ages_test(&tip, test_tip_for_scratch_with_a_path);
	rig_ages_test(&tip, test_no_tip_for_a_folder);
	rig_ages_test(&refused, test_unfinished_parent_rejects);
	rig_ages_test(&refused, test_finished_and_missing_parents_do_not);
	rig_ages_test(&refused, test_nobody_beside_the_living);
	rig_ages_test(&leaked, test_leaked_run_is_closed);
	rig_ages_test(&leaked, test_leaked_run_keeps_its_summary);
	rig_ages_test(&leaked, test_only_the_named_run_is_closed);
	rig_ages_test(&again, test_the_same_again_changes_nothing);
	return rig_suite("once: claim", rows.newer, rows.august, tip.newer, tip.august,
			 refused.newer, refused.august, leaked.newer, leaked.august,
			 again.newer, again.august, NULL);
}
