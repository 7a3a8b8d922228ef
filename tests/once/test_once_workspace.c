/*
 * Workspaces of all three kinds, what happens where one cannot be had or the worker cannot be
 * started, and the breaker.
 */
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static void start(void)
{
	ck_spawned(rig_tick(B), T);
}

static void in_folder(const char *path)
{
	ck_sql(B, path, "SELECT workspace_path FROM tasks WHERE id=%Q", T);
	ck_assert_str_eq(json_string_value(json_object_get(rig_ran(T), "cwd")), path);
	ck_assert_str_eq(rig_var(T, "HERMES_KANBAN_WORKSPACE"), path);
}

/* One start that fails for its workspace: counted, no path stored, no tip. */
static void fails_with(const char *part)
{
	json_t *board = rig_tick(B);
	const char *error;

	ck_spawned(board, "");
	error = json_string_value(json_object_get(rig_event(B, T, "spawn_failed"), "error"));
	ck_assert_msg(error && !strncmp(error, "workspace: ", 11), "error: %s", error);
	if (part)
		ck_assert_msg(strstr(error, part) != NULL, "no \"%s\" in: %s", part, error);
	ck_assert_str_eq(rig_kinds(B, T), "claimed,spawn_failed");
	ck_sql(B, rig_printf("ready|1|%s|-|-|-|-", error),
	       "SELECT status, consecutive_failures, last_failure_error, claim_lock, "
	       "claim_expires, worker_pid, current_run_id FROM tasks WHERE id=%Q",
	       T);
	ck_assert(!rig_exists("root/.scratch_tip_shown"));
	rig_invariant(B);
}

/* ---- scratch and dir ------------------------------------------------------------------- */

START_TEST(test_scratch_is_made)
{
	rig_board(B, 0);
	rig_add(B, .id = T);
	start();
	in_folder(rig_printf("%s/kanban/workspaces/" T, rig.root));
}
END_TEST

START_TEST(test_scratch_that_is_there_is_kept)
{
	rig_board(B, 0);
	rig_write("root/kanban/workspaces/" T "/notes", "from before");
	rig_add(B, .id = T);
	start();
	ck_assert_str_eq(rig_read("root/kanban/workspaces/" T "/notes"), "from before");
}
END_TEST

START_TEST(test_scratch_with_a_path)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_path = rig_path("deep/er/place"));
	start();
	in_folder(rig_path("deep/er/place"));
}
END_TEST

START_TEST(test_dir_is_made)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir", .workspace_path = rig_path("a/b"));
	start();
	in_folder(rig_path("a/b"));
}
END_TEST

START_TEST(test_dir_path_is_normalised)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir",
		.workspace_path = rig_printf("%s//a/./b/", rig.dir));
	start();
	in_folder(rig_path("a/b"));
}
END_TEST

START_TEST(test_tilde_is_home)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir", .workspace_path = "~/garden");
	start();
	in_folder(rig_path("home/garden"));
}
END_TEST

START_TEST(test_relative_dir_is_refused)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir", .workspace_path = "garden");
	fails_with("garden");
	ck_sql(B, "garden", "SELECT workspace_path FROM tasks");
}
END_TEST

START_TEST(test_dir_without_a_path_is_refused)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir");
	fails_with(NULL);
}
END_TEST

START_TEST(test_a_file_is_no_workspace)
{
	rig_board(B, 0);
	rig_write("garden", "a file");
	rig_add(B, .id = T, .workspace_kind = "dir", .workspace_path = rig_path("garden"));
	fails_with(NULL);
	ck_assert_str_eq(rig_read("garden"), "a file");
}
END_TEST

START_TEST(test_unknown_kind_is_refused)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "moon");
	fails_with("moon");
}
END_TEST

/* ---- worktree -------------------------------------------------------------------------- */

/* A checkout with one commit on main, at dir/repo. */
static void repo(void)
{
	rig_shell("git init -q -b main repo && cd repo && echo 1 > file && git add file && git "
		  "commit -q -m one");
}

static void branch_is(const char *path, const char *branch)
{
	rig_shell("test \"$(git -C '%s' rev-parse --abbrev-ref HEAD)\" = '%s'", path, branch);
}

START_TEST(test_worktree_of_the_board)
{
	const char *tree = rig_path("repo/.worktrees/" T);

	repo();
	rig_board("garden", 0);
	rig_write("root/kanban/boards/garden/board.json",
		  rig_printf("{\"slug\":\"garden\",\"default_workdir\":\"%s/repo\"}", rig.dir));
	rig_add("garden", .id = T, .workspace_kind = "worktree");
	ck_spawned(rig_tick("garden"), T);
	ck_sql("garden", tree, "SELECT workspace_path FROM tasks");
	ck_sql("garden", "wt/" T, "SELECT branch_name FROM tasks");
	ck_assert_str_eq(json_string_value(json_object_get(rig_ran(T), "cwd")), tree);
	branch_is(tree, "wt/" T);
	ck_assert_str_eq(rig_kinds("garden", T), "claimed,spawned");
}
END_TEST

START_TEST(test_worktree_of_a_folder_below_the_top)
{
	repo();
	rig_mkdir("repo/sub/folder");
	rig_board("garden", 0);
	rig_write("root/kanban/boards/garden/board.json",
		  rig_printf("{\"default_workdir\":\"%s/repo/sub/folder\"}", rig.dir));
	rig_add("garden", .id = T, .workspace_kind = "worktree", .branch_name = "feature/x");
	ck_spawned(rig_tick("garden"), T);
	branch_is(rig_path("repo/.worktrees/" T), "feature/x");
	ck_assert_str_eq(rig_var(T, "HERMES_KANBAN_BRANCH"), "feature/x");
}
END_TEST

START_TEST(test_blank_branch_is_none)
{
	repo();
	rig_board("garden", 0);
	rig_write("root/kanban/boards/garden/board.json",
		  rig_printf("{\"default_workdir\":\"%s/repo\"}", rig.dir));
	rig_add("garden", .id = T, .workspace_kind = "worktree", .branch_name = "  ");
	ck_spawned(rig_tick("garden"), T);
	branch_is(rig_path("repo/.worktrees/" T), "wt/" T);
}
END_TEST

START_TEST(test_worktree_at_a_new_path)
{
	repo();
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/mine"));
	start();
	branch_is(rig_path("repo/.worktrees/mine"), "wt/" T);
	in_folder(rig_path("repo/.worktrees/mine"));
}
END_TEST

START_TEST(test_existing_branch_is_checked_out)
{
	repo();
	rig_shell("git -C repo branch feature/y");
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree", .branch_name = "feature/y",
		.workspace_path = rig_path("repo/.worktrees/mine"));
	start();
	branch_is(rig_path("repo/.worktrees/mine"), "feature/y");
}
END_TEST

START_TEST(test_worktree_on_the_branch_is_reused)
{
	repo();
	rig_shell("cd repo && git worktree add -q -b wt/" T " .worktrees/" T
		  " && echo mine > .worktrees/" T "/notes");
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/" T));
	start();
	in_folder(rig_path("repo/.worktrees/" T));
	ck_assert_str_eq(rig_read("repo/.worktrees/" T "/notes"), "mine\n");
}
END_TEST

START_TEST(test_worktree_on_another_branch_is_left_alone)
{
	repo();
	rig_shell("cd repo && git worktree add -q -b other .worktrees/other");
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("repo/.worktrees/other"));
	start();
	branch_is(rig_path("repo/.worktrees/other"), "other");
	branch_is(rig_path("repo/.worktrees/" T), "wt/" T);
	in_folder(rig_path("repo/.worktrees/" T));
}
END_TEST

START_TEST(test_worktree_without_a_repository)
{
	rig_mkdir("plain");
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree",
		.workspace_path = rig_path("plain/tree"));
	fails_with(NULL);
}
END_TEST

START_TEST(test_worktree_without_any_anchor)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "worktree");
	fails_with(NULL);
}
END_TEST

START_TEST(test_relative_default_workdir_is_refused)
{
	repo();
	rig_board("garden", 0);
	rig_write("root/kanban/boards/garden/board.json", "{\"default_workdir\":\"repo\"}");
	rig_add("garden", .id = T, .workspace_kind = "worktree");
	ck_spawned(rig_tick("garden"), "");
	ck_assert_str_eq(rig_kinds("garden", T), "claimed,spawn_failed");
}
END_TEST

/* A branch name is data for git, never an option and never a command. */
START_TEST(test_hostile_branch_names)
{
	static const char *const names[] = {
		"--upload-pack=touch x", "-d", "a..b", "a b", "$(touch x)", "a~1", "/", "x.lock"
	};

	repo();
	rig_board(B, 0);
	for (int i = 0; i < 8; i++)
		rig_add(B, .id = rig_printf("t_0000000%d", i), .workspace_kind = "worktree",
			.branch_name = names[i],
			.workspace_path = rig_printf("%s/repo/.worktrees/w%d", rig.dir, i));
	ck_spawned(rig_tick(B), "");
	ck_assert(!rig_exists("x") && !rig_exists("repo/x"));
	branch_is("repo", "main");
}
END_TEST

/* ---- failed spawns --------------------------------------------------------------------- */

START_TEST(test_failed_spawn)
{
	json_t *board;
	int64_t run;
	const char *error;

	rig_env("HERMES_BIN", "/nonexistent/hermes");
	rig_board(B, 0);
	rig_add(B, .id = T);
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_ids(board, "auto_blocked", "");
	run = rig_int(B, "SELECT id FROM task_runs");
	ck_assert_str_eq(rig_kinds(B, T), "claimed,tip_scratch_workspace,spawn_failed");
	error = json_string_value(json_object_get(rig_event(B, T, "spawn_failed"), "error"));
	ck_assert_ptr_nonnull(strstr(error, "hermes"));
	rig_json_is(json_object_get(rig_event(B, T, "spawn_failed"), "failures"), "1",
		    "failures");
	ck_assert_int_eq(rig_event_run(B, T, "spawn_failed"), run);
	/* The workspace was ready: its path stays. */
	ck_sql(B, rig_printf("ready|-|-|-|-|1|%s|%s/kanban/workspaces/" T, error, rig.root),
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, "
	       "consecutive_failures, last_failure_error, workspace_path FROM tasks");
	ck_sql(B, rig_printf("spawn_failed|spawn_failed|%s|{\"failures\":1}", error),
	       "SELECT status, outcome, error, json(metadata) FROM task_runs");
	rig_invariant(B);
}
END_TEST

START_TEST(test_second_failed_spawn_gives_up)
{
	json_t *board;
	int64_t run;

	rig_env("HERMES_BIN", "/nonexistent/hermes");
	rig_board(B, 0);
	rig_add(B, .id = T, .failures = 1);
	board = rig_tick(B);
	ck_spawned(board, "");
	ck_ids(board, "auto_blocked", T);
	run = rig_int(B, "SELECT id FROM task_runs");
	ck_assert_str_eq(rig_kinds(B, T), "claimed,tip_scratch_workspace,gave_up");
	ck_event(B, T, "gave_up",
		 "{\"failures\":2,\"effective_limit\":2,\"limit_source\":\"dispatcher\","
		 "\"error\":\"TEXT\",\"trigger_outcome\":\"spawn_failed\"}");
	ck_assert_int_eq(rig_event_run(B, T, "gave_up"), run);
	ck_sql(B, "blocked|-|-|-|-|2",
	       "SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, "
	       "consecutive_failures FROM tasks");
	ck_sql(B, "gave_up|gave_up", "SELECT status, outcome FROM task_runs");
	rig_json_is(rig_json(rig_list(B, "SELECT metadata FROM task_runs")),
		    "{\"failures\":2,\"trigger_outcome\":\"spawn_failed\","
		    "\"effective_limit\":2,\"limit_source\":\"dispatcher\"}",
		    "metadata");
	rig_invariant(B);
	/* At the limit it stays blocked. */
	ck_count(rig_tick(B), "promoted", 0);
}
END_TEST

START_TEST(test_second_failed_workspace_gives_up)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .failures = 1, .workspace_kind = "dir", .workspace_path = "x");
	ck_ids(rig_tick(B), "auto_blocked", T);
	ck_assert_str_eq(rig_kinds(B, T), "claimed,gave_up");
	ck_sql(B, "blocked", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_max_retries_of_the_task)
{
	rig_env("HERMES_BIN", "/nonexistent/hermes");
	rig_board(B, 0);
	rig_add(B, .id = T, .set = "max_retries=1");
	ck_ids(rig_tick(B), "auto_blocked", T);
	ck_event(B, T, "gave_up",
		 "{\"failures\":1,\"effective_limit\":1,\"limit_source\":\"task\","
		 "\"error\":\"TEXT\",\"trigger_outcome\":\"spawn_failed\"}");
}
END_TEST

START_TEST(test_failed_review_goes_back_to_review)
{
	rig_config("review_dispatch: true");
	rig_env("HERMES_BIN", "/nonexistent/hermes");
	rig_board(B, 0);
	rig_add(B, .id = T, .status = "review");
	ck_spawned(rig_tick(B), "");
	ck_sql(B, "review|1", "SELECT status, consecutive_failures FROM tasks");
}
END_TEST

START_TEST(test_not_executable)
{
	rig_write("hermes", "#!/bin/sh\n");
	rig_env("HERMES_BIN", rig_path("hermes"));
	rig_board(B, 0);
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), "");
	ck_assert_ptr_nonnull(
		strstr(rig_list(B, "SELECT last_failure_error FROM tasks"), "xecut"));
}
END_TEST

/* hermes is looked for on PATH where HERMES_BIN is not set. */
START_TEST(test_hermes_on_the_path)
{
	rig_write("bin/hermes",
		  rig_printf("#!/bin/sh\nexec '%s' \"$@\"\n", rig_env_get("HERMES_BIN")));
	rig_shell("chmod +x bin/hermes");
	rig_env("HERMES_BIN", NULL);
	rig_env("PATH", rig_printf("%s/bin:%s", rig.dir, rig_env_get("PATH")));
	rig_board(B, 0);
	rig_add(B, .id = T);
	start();
	(void)rig_ran(T);
}
END_TEST

/* Errors are cut to 500 characters in tasks. */
START_TEST(test_long_errors_are_cut)
{
	char *path = rig_printf("relative");

	for (int i = 0; i < 60; i++)
		path = rig_printf("%s/0123456789", path);
	rig_board(B, 0);
	rig_add(B, .id = T, .workspace_kind = "dir", .workspace_path = path);
	ck_spawned(rig_tick(B), "");
	ck_assert_int_le(rig_int(B, "SELECT length(last_failure_error) FROM tasks"), 500);
	ck_assert_int_ge(rig_int(B, "SELECT length(last_failure_error) FROM tasks"), 20);
}
END_TEST

Suite *test_suite(void)
{
	TCase *plain = rig_tcase("scratch and dir", 30);
	TCase *tree = rig_tcase("worktree", 60);
	TCase *spawn = rig_tcase("failed spawns", 30);

	tcase_add_test(plain, test_scratch_is_made);
	tcase_add_test(plain, test_scratch_that_is_there_is_kept);
	tcase_add_test(plain, test_scratch_with_a_path);
	tcase_add_test(plain, test_dir_is_made);
	tcase_add_test(plain, test_dir_path_is_normalised);
	tcase_add_test(plain, test_tilde_is_home);
	tcase_add_test(plain, test_relative_dir_is_refused);
	tcase_add_test(plain, test_dir_without_a_path_is_refused);
	tcase_add_test(plain, test_a_file_is_no_workspace);
	tcase_add_test(plain, test_unknown_kind_is_refused);
	tcase_add_test(tree, test_worktree_of_the_board);
	tcase_add_test(tree, test_worktree_of_a_folder_below_the_top);
	tcase_add_test(tree, test_blank_branch_is_none);
	tcase_add_test(tree, test_worktree_at_a_new_path);
	tcase_add_test(tree, test_existing_branch_is_checked_out);
	tcase_add_test(tree, test_worktree_on_the_branch_is_reused);
	tcase_add_test(tree, test_worktree_on_another_branch_is_left_alone);
	tcase_add_test(tree, test_worktree_without_a_repository);
	tcase_add_test(tree, test_worktree_without_any_anchor);
	tcase_add_test(tree, test_relative_default_workdir_is_refused);
	tcase_add_test(tree, test_hostile_branch_names);
	tcase_add_test(spawn, test_failed_spawn);
	tcase_add_test(spawn, test_second_failed_spawn_gives_up);
	tcase_add_test(spawn, test_second_failed_workspace_gives_up);
	tcase_add_test(spawn, test_max_retries_of_the_task);
	tcase_add_test(spawn, test_failed_review_goes_back_to_review);
	tcase_add_test(spawn, test_not_executable);
	tcase_add_test(spawn, test_hermes_on_the_path);
	tcase_add_test(spawn, test_long_errors_are_cut);
	return rig_suite("once: workspace", plain, tree, spawn, NULL);
}
