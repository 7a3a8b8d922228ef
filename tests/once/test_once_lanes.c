/*
 * One tick and who may start: order, assignees, budgets, the review lane.
 */
#include <stdio.h>
#include <string.h>

#include "kit/rig.h"

#define B "default"

/* ---- order ----------------------------------------------------------------------------- */

START_TEST(test_order_is_priority_age_rowid)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .priority = 1, .created_at = 500);
	rig_add(B, .id = "t_00000002", .priority = 9, .created_at = 700);
	rig_add(B, .id = "t_00000009", .priority = 9, .created_at = 600);
	rig_add(B, .id = "t_00000008", .priority = 9, .created_at = 600);
	rig_add(B, .id = "t_00000007", .priority = -3, .created_at = 100);
	ck_spawned(rig_tick(B), "t_00000009,t_00000008,t_00000002,t_00000001,t_00000007");
	ck_sql(B, "t_00000009,t_00000008,t_00000002,t_00000001,t_00000007",
	       "SELECT task_id FROM task_runs ORDER BY id");
}
END_TEST

START_TEST(test_ready_with_a_lock_is_not_claimed)
{
	char *before;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001",
		.set = "claim_lock='elsewhere:7', claim_expires=4102444800");
	before = rig_dump(B);
	ck_spawned(rig_tick(B), "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_scheduled_at)
{
	json_t *board;

	rig_board(B, 0);
	rig_sql(B, "ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER");
	rig_add(B, .id = "t_00000001",
		.set = rig_printf("scheduled_at=%lld", (long long)rig_now() + 3600));
	rig_add(B, .id = "t_00000002",
		.set = rig_printf("scheduled_at=%lld", (long long)rig_now() - 5));
	rig_add(B, .id = "t_00000003");
	board = rig_tick(B);
	ck_spawned(board, "t_00000002,t_00000003");
	ck_ids(board, "skipped.scheduled", "t_00000001");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"), "");
}
END_TEST

START_TEST(test_scheduled)
{
	json_t *board;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "scheduled");
	rig_add(B, .id = "t_00000002", .status = "scheduled");
	rig_add(B, .id = "t_00000003", .status = "scheduled");
	rig_sql(B, "INSERT INTO task_events (task_id, kind, payload, created_at) VALUES"
		   " ('t_00000001', 'scheduled', '{\"at\": 1700000000}', 1),"
		   " ('t_00000002', 'scheduled', '{\"at\": 4102444800}', 1),"
		   " ('t_00000003', 'scheduled', '{\"reason\": \"x\"}', 1)");
	board = rig_tick(B);
	ck_spawned(board, "t_00000001");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"),
			 "scheduled,unblocked,claimed,tip_scratch_workspace,spawned");
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "scheduled");
	ck_assert_str_eq(rig_kinds(B, "t_00000003"), "scheduled");
}
END_TEST

/* ---- assignees ------------------------------------------------------------------------- */

START_TEST(test_unassigned_is_skipped)
{
	json_t *board;
	char *before;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = RIG_NOBODY);
	before = rig_dump(B);
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_ids(board, "skipped.unassigned", "t_00000001");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_default_assignee)
{
	json_t *board;

	rig_config("default_assignee: franky");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = RIG_NOBODY);
	board = rig_tick(B);
	ck_spawned(board, "t_00000001");
	ck_ids(board, "skipped.unassigned", "");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"),
			 "assigned,claimed,tip_scratch_workspace,spawned");
	ck_event(B, "t_00000001", "assigned",
		 "{\"assignee\":\"franky\",\"source\":\"kanban.default_assignee\"}");
	ck_sql(B, "franky|franky",
	       "SELECT t.assignee, r.profile FROM tasks t JOIN task_runs r");
}
END_TEST

START_TEST(test_default_assignee_must_exist)
{
	json_t *board;

	rig_config("default_assignee: nemo");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = RIG_NOBODY);
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_ids(board, "skipped.unassigned", "t_00000001");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"), "");
}
END_TEST

START_TEST(test_assignee_without_profile_is_somebody_elses_lane)
{
	json_t *board;
	char *before;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = "orion-cc");
	/* newer boards say it, once */
	for (int i = 0; i < 2; i++) {
		board = rig_tick(B);
		ck_spawned(board, "");
		ck_ids(board, "skipped.nonspawnable", "t_00000001");
	}
	ck_assert_str_eq(rig_kinds(B, "t_00000001"), rig_by_age("skipped_nonspawnable", ""));
	before = rig_dump(B);
	ck_spawned(rig_tick(B), "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_default_profile_always_exists)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = "default");
	ck_spawned(rig_tick(B), "t_00000001");
	ck_assert_str_eq(rig_var("t_00000001", "HERMES_HOME"), rig.root);
	ck_assert_str_eq(rig_var("t_00000001", "HERMES_PROFILE"), "default");
}
END_TEST

START_TEST(test_assignee_is_trimmed_and_lowered)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = " Jimmy ");
	ck_spawned(rig_tick(B), "t_00000001");
	ck_sql(B, " Jimmy ", "SELECT profile FROM task_runs");
	ck_sql(B, " Jimmy ", "SELECT assignee FROM tasks");
	ck_assert_str_eq(rig_var("t_00000001", "HERMES_PROFILE"), "jimmy");
	ck_assert_str_eq(rig_var("t_00000001", "HERMES_HOME"),
			 rig_printf("%s/profiles/jimmy", rig.root));
	ck_assert_str_eq(rig_argv("t_00000001"), "-p jimmy --cli --accept-hooks chat -q work "
						 "kanban task t_00000001");
}
END_TEST

/* Assignees that must never become a path: skipped, and the others go on. */
START_TEST(test_hostile_assignees)
{
	static const char *const names[] = { "   ",           "../jimmy", "jimmy/../jimmy",
					     "jimmy\njimmy",  "..",       "/",
					     "jimmy; touch x" };
	json_t *board;

	rig_board(B, 0);
	rig_mkdir("root/profiles/jimmy; touch x");
	for (int i = 0; i < 7; i++)
		rig_add(B, .id = rig_printf("t_0000000%d", i), .assignee = names[i]);
	rig_add(B, .id = "t_00000009");
	board = rig_tick(B);
	ck_spawned(board, "t_00000009");
	ck_sql(B, "0", "SELECT count(*) FROM tasks WHERE status<>'ready' AND id<>'t_00000009'");
	(void)rig_ran("t_00000009");
	ck_assert(!rig_exists("x") && !rig_exists("root/x"));
}
END_TEST

START_TEST(test_dispatch_profiles_limits)
{
	json_t *board;

	rig_config("dispatch_profiles: [franky]");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_add(B, .id = "t_00000002", .assignee = "franky");
	board = rig_tick(B);
	ck_spawned(board, "t_00000002");
	ck_ids(board, "skipped.nonspawnable", "t_00000001");
}
END_TEST

START_TEST(test_dispatch_profiles_empty_is_none)
{
	rig_config("dispatch_profiles: []");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_add(B, .id = "t_00000002", .assignee = "default");
	ck_spawned(rig_tick(B), "");
}
END_TEST

/* ---- budget ---------------------------------------------------------------------------- */

static void add_ready(const char *slug, int from, int count)
{
	for (int i = from; i < from + count; i++)
		rig_add(slug, .id = rig_printf("t_%08d", i), .created_at = 1000 + i);
}

START_TEST(test_max_spawn_counts_what_runs)
{
	rig_config("max_spawn: 3");
	rig_board(B, 0);
	(void)rig_running(B, .id = "t_0000000a", .lock = "elsewhere:7");
	add_ready(B, 1, 4);
	ck_spawned(rig_tick(B), "t_00000001,t_00000002");
	ck_spawned(rig_tick(B), "");
}
END_TEST

START_TEST(test_max_spawn_is_per_board)
{
	struct rig_out *out;

	rig_config("max_spawn: 2");
	rig_board(B, 0);
	rig_board("other", 0);
	add_ready(B, 1, 3);
	add_ready("other", 11, 3);
	out = rig_once();
	ck_spawned(rig_of(out, B), "t_00000001,t_00000002");
	ck_spawned(rig_of(out, "other"), "t_00000011,t_00000012");
}
END_TEST

START_TEST(test_max_in_progress_is_for_all_boards)
{
	struct rig_out *out;

	rig_config("max_in_progress: 4");
	rig_board(B, 0);
	rig_board("other", 0);
	(void)rig_running("other", .id = "t_0000000a", .lock = "elsewhere:7");
	add_ready(B, 1, 9);
	add_ready("other", 11, 9);
	out = rig_once();
	ck_assert_int_eq(
		json_array_size(json_object_get(rig_of(out, B), "spawned")) +
			json_array_size(json_object_get(rig_of(out, "other"), "spawned")),
		3);
	out = rig_once();
	ck_spawned(rig_of(out, B), "");
	ck_spawned(rig_of(out, "other"), "");
}
END_TEST

static long long mem_total_kib(void)
{
	long long kib = 0;

	ck_assert_int_eq(sscanf(rig_read("/proc/meminfo"), "MemTotal: %lld", &kib), 1);
	return kib;
}

START_TEST(test_unset_max_in_progress_follows_memory)
{
	long long want = mem_total_kib() / (512 * 1024);

	want = want < 2 ? 2 : want > 8 ? 8 : want;
	rig_write("root/config.yaml", "kanban:\n  failure_limit: 2\n");
	rig_board(B, 0);
	add_ready(B, 1, 12);
	ck_assert_int_eq(json_array_size(json_object_get(rig_tick(B), "spawned")), want);
}
END_TEST

/* Rows past the budget are not looked at: no `assigned`, no `respawn_guarded`. */
START_TEST(test_rows_past_the_budget_are_untouched)
{
	json_t *board;

	rig_config("max_spawn: 1", "default_assignee: franky");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .priority = 9);
	rig_add(B, .id = "t_00000002", .assignee = RIG_NOBODY);
	rig_add(B, .id = "t_00000003", .last_failure_error = "quota exceeded");
	board = rig_tick(B);
	ck_spawned(board, "t_00000001");
	ck_ids(board, "respawn_guarded", "");
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "");
	ck_assert_str_eq(rig_kinds(B, "t_00000003"), "");
	ck_sql(B, "-", "SELECT assignee FROM tasks WHERE id='t_00000002'");
}
END_TEST

/* What does not come to run uses none of the budget. */
START_TEST(test_failures_use_no_budget)
{
	json_t *board;

	rig_config("max_spawn: 2");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .priority = 9, .workspace_kind = "dir",
		.workspace_path = "relative");
	rig_add(B, .id = "t_00000002", .priority = 8);
	rig_add(B, .id = "t_0000000a", .status = "triage");
	rig_link(B, "t_0000000a", "t_00000002");
	rig_add(B, .id = "t_00000003", .priority = 7, .assignee = "orion-cc");
	rig_add(B, .id = "t_00000004", .priority = 6, .last_failure_error = "quota exceeded");
	rig_add(B, .id = "t_00000005", .priority = 5);
	rig_add(B, .id = "t_00000006", .priority = 4);
	rig_add(B, .id = "t_00000007", .priority = 3);
	board = rig_tick(B);
	ck_spawned(board, "t_00000005,t_00000006");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"), "claimed,spawn_failed");
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "claim_rejected");
	ck_assert_str_eq(rig_kinds(B, "t_00000007"), "");
}
END_TEST

START_TEST(test_failed_spawns_use_no_budget)
{
	rig_config("max_spawn: 1");
	rig_env("HERMES_BIN", "/nonexistent/hermes");
	rig_board(B, 0);
	add_ready(B, 1, 3);
	ck_spawned(rig_tick(B), "");
	ck_sql(B, "1,1,1", "SELECT consecutive_failures FROM tasks");
}
END_TEST

/* ---- per profile ----------------------------------------------------------------------- */

START_TEST(test_profile_cap)
{
	json_t *board;

	rig_config("max_in_progress_per_profile: 2");
	rig_board(B, 0);
	(void)rig_running(B, .id = "t_0000000a", .assignee = "jimmy", .lock = "elsewhere:7");
	add_ready(B, 1, 3);
	rig_add(B, .id = "t_00000004", .assignee = "franky", .created_at = 9000);
	board = rig_tick(B);
	ck_spawned(board, "t_00000001,t_00000004");
	ck_ids(board, "skipped.profile_capped", "t_00000002,t_00000003");
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "");
}
END_TEST

/* A start that fails takes no place under the cap: who waits behind it there comes before those
 * of less priority, and has the tip that the first scratch workspace brings. */
START_TEST(test_profile_cap_and_a_failed_start)
{
	rig_config("max_in_progress_per_profile: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .priority = 9, .workspace_kind = "dir",
		.workspace_path = "relative");
	rig_add(B, .id = "t_00000002", .priority = 8);
	rig_add(B, .id = "t_00000003", .priority = 7);
	rig_add(B, .id = "t_00000004", .priority = 6, .assignee = "franky");
	rig_add(B, .id = "t_00000005", .priority = 5, .assignee = "franky");
	ck_spawned(rig_tick(B), "t_00000002,t_00000004");
	ck_sql(B, "t_00000001,t_00000002,t_00000004",
	       "SELECT task_id FROM task_events WHERE kind = 'claimed' ORDER BY id");
	ck_sql(B, "t_00000002",
	       "SELECT task_id FROM task_events WHERE kind = 'tip_scratch_workspace'");
	ck_sql(B, "ready,ready",
	       "SELECT status FROM tasks WHERE id IN ('t_00000003', 't_00000005')");
}
END_TEST

START_TEST(test_a_dry_run_looks_past_the_cap)
{
	struct rig_out *out;

	rig_config("max_in_progress_per_profile: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .priority = 9);
	rig_add(B, .id = "t_00000002", .priority = 8);
	rig_add(B, .id = "t_00000003", .priority = 7, .assignee = "franky");
	out = rig_once("--dry-run");
	ck_ids(rig_of(out, B), "spawned", "t_00000001,t_00000003");
	ck_ids(rig_of(out, B), "skipped.profile_capped", "t_00000002");
}
END_TEST

START_TEST(test_profile_cap_is_per_board)
{
	struct rig_out *out;

	rig_config("max_in_progress_per_profile: 1");
	rig_board(B, 0);
	rig_board("other", 0);
	add_ready(B, 1, 2);
	add_ready("other", 11, 2);
	out = rig_once();
	ck_spawned(rig_of(out, B), "t_00000001");
	ck_spawned(rig_of(out, "other"), "t_00000011");
}
END_TEST

/* The cap counts the text as it is stored. */
START_TEST(test_profile_cap_counts_the_text)
{
	json_t *board;

	rig_config("max_in_progress_per_profile: 1");
	rig_board(B, 0);
	(void)rig_running(B, .id = "t_0000000a", .assignee = "Jimmy", .lock = "elsewhere:7");
	rig_add(B, .id = "t_00000001", .assignee = "Jimmy");
	rig_add(B, .id = "t_00000002", .assignee = "jimmy");
	board = rig_tick(B);
	ck_spawned(board, "t_00000002");
	ck_ids(board, "skipped.profile_capped", "t_00000001");
}
END_TEST

START_TEST(test_profile_cap_comes_before_the_guard)
{
	json_t *board;

	rig_config("max_in_progress_per_profile: 1");
	rig_board(B, 0);
	(void)rig_running(B, .id = "t_0000000a", .assignee = "jimmy", .lock = "elsewhere:7");
	rig_add(B, .id = "t_00000001", .last_failure_error = "quota exceeded");
	board = rig_tick(B);
	ck_ids(board, "skipped.profile_capped", "t_00000001");
	ck_ids(board, "respawn_guarded", "");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"), "");
}
END_TEST

/* `assigned` is written before the cap and before the guard. */
START_TEST(test_assigned_comes_before_cap_and_guard)
{
	json_t *board;

	rig_config("default_assignee: franky", "max_in_progress_per_profile: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = RIG_NOBODY, .priority = 9,
		.last_failure_error = "quota exceeded");
	(void)rig_running(B, .id = "t_0000000a", .assignee = "franky", .lock = "elsewhere:7");
	rig_add(B, .id = "t_00000002", .assignee = RIG_NOBODY);
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_assert_str_eq(rig_kinds(B, "t_00000001"), "assigned");
	ck_assert_str_eq(rig_kinds(B, "t_00000002"), "assigned");
	ck_ids(board, "skipped.profile_capped", "t_00000001,t_00000002");
	ck_ids(board, "skipped.unassigned", "");
}
END_TEST

/* ---- review ---------------------------------------------------------------------------- */

START_TEST(test_review_is_off_by_default)
{
	char *before;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "review");
	before = rig_dump(B);
	ck_spawned(rig_tick(B), "");
	ck_assert_str_eq(rig_dump(B), before);
}
END_TEST

START_TEST(test_review_lane)
{
	int64_t run;

	rig_config("review_dispatch: true");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "review", .set = "skills='[\"lint\"]'");
	ck_spawned(rig_tick(B), "t_00000001");
	run = rig_int(B, "SELECT current_run_id FROM tasks");
	ck_sql(B, "running", "SELECT status FROM tasks");
	ck_event(B, "t_00000001", "claimed",
		 "{\"lock\":\"TEXT\",\"expires\":\"INT\",\"run_id\":%lld,"
		 "\"source_status\":\"review\"}",
		 (long long)run);
	ck_assert_ptr_nonnull(strstr(rig_argv("t_00000001"), "--skills sdlc-review"));
	ck_assert_ptr_nonnull(strstr(rig_argv("t_00000001"), "--skills lint"));
}
END_TEST

START_TEST(test_one_slot_is_kept_for_review)
{
	rig_config("review_dispatch: true", "max_spawn: 2");
	rig_board(B, 0);
	add_ready(B, 1, 3);
	rig_add(B, .id = "t_0000000a", .status = "review");
	rig_add(B, .id = "t_0000000b", .status = "review");
	ck_spawned(rig_tick(B), "t_00000001,t_0000000a");
}
END_TEST

START_TEST(test_no_slot_is_kept_for_reviews_that_cannot_start)
{
	rig_config("review_dispatch: true", "max_spawn: 2");
	rig_board(B, 0);
	add_ready(B, 1, 3);
	rig_add(B, .id = "t_0000000a", .status = "review", .assignee = "orion-cc");
	rig_add(B, .id = "t_0000000b", .status = "review", .assignee = RIG_NOBODY);
	ck_spawned(rig_tick(B), "t_00000001,t_00000002");
}
END_TEST

START_TEST(test_review_takes_what_ready_leaves)
{
	rig_config("review_dispatch: true", "max_spawn: 4");
	rig_board(B, 0);
	add_ready(B, 1, 2);
	for (int i = 0; i < 3; i++)
		rig_add(B, .id = rig_printf("t_0000000%c", 'a' + i), .status = "review",
			.created_at = 100 + i);
	ck_spawned(rig_tick(B), "t_00000001,t_00000002,t_0000000a,t_0000000b");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages order = rig_ages("order", 30);
	struct rig_ages who = rig_ages("assignees", 30);
	struct rig_ages budget = rig_ages("budget", 30);
	struct rig_ages profile = rig_ages("per profile", 30);
	struct rig_ages review = rig_ages("review", 30);

	rig_ages_test(&order, test_order_is_priority_age_rowid);
	rig_ages_test(&order, test_ready_with_a_lock_is_not_claimed);
	rig_ages_test(&order, test_scheduled_at);
	rig_ages_test(&order, test_scheduled);
	rig_ages_test(&who, test_unassigned_is_skipped);
	rig_ages_test(&who, test_default_assignee);
	rig_ages_test(&who, test_default_assignee_must_exist);
	rig_ages_test(&who, test_assignee_without_profile_is_somebody_elses_lane);
	rig_ages_test(&who, test_default_profile_always_exists);
	rig_ages_test(&who, test_assignee_is_trimmed_and_lowered);
	rig_ages_test(&who, test_hostile_assignees);
	rig_ages_test(&who, test_dispatch_profiles_limits);
	rig_ages_test(&who, test_dispatch_profiles_empty_is_none);
	rig_ages_test(&budget, test_max_spawn_counts_what_runs);
	rig_ages_test(&budget, test_max_spawn_is_per_board);
	rig_ages_test(&budget, test_max_in_progress_is_for_all_boards);
	rig_ages_test(&budget, test_unset_max_in_progress_follows_memory);
	rig_ages_test(&budget, test_rows_past_the_budget_are_untouched);
	rig_ages_test(&budget, test_failures_use_no_budget);
	rig_ages_test(&budget, test_failed_spawns_use_no_budget);
	rig_ages_test(&profile, test_profile_cap);
	rig_ages_test(&profile, test_profile_cap_and_a_failed_start);
	rig_ages_test(&profile, test_a_dry_run_looks_past_the_cap);
	rig_ages_test(&profile, test_profile_cap_is_per_board);
	rig_ages_test(&profile, test_profile_cap_counts_the_text);
	rig_ages_test(&profile, test_profile_cap_comes_before_the_guard);
	rig_ages_test(&profile, test_assigned_comes_before_cap_and_guard);
	rig_ages_test(&review, test_review_is_off_by_default);
	rig_ages_test(&review, test_review_lane);
	rig_ages_test(&review, test_one_slot_is_kept_for_review);
	rig_ages_test(&review, test_no_slot_is_kept_for_reviews_that_cannot_start);
	rig_ages_test(&review, test_review_takes_what_ready_leaves);
	return rig_suite("once: lanes", order.newer, order.august, who.newer, who.august,
			 budget.newer, budget.august, profile.newer, profile.august,
			 review.newer, review.august, NULL);
}
