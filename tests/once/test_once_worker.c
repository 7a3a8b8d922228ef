/*
 * What a worker is started with: arguments, environment, folder, descriptors, log.
 */
#include <stdlib.h>
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static void start(const char *set)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .set = set);
	ck_spawned(rig_tick(B), T);
}

static void var_is(const char *name, const char *value)
{
	const char *got = rig_var(T, name);

	if (value)
		ck_assert_msg(got && !strcmp(got, value), "%s is %s, not %s", name,
			      got ? got : "unset", value);
	else
		ck_assert_msg(!got, "%s is %s, not unset", name, got);
}

/* ---- arguments ------------------------------------------------------------------------- */

#define WORK "chat -q work kanban task " T

START_TEST(test_plain_argv)
{
	json_t *argv;

	start(NULL);
	ck_assert_str_eq(rig_argv(T), "-p jimmy --cli --accept-hooks " WORK);
	argv = json_object_get(rig_ran(T), "argv");
	ck_assert_int_eq(json_array_size(argv), 8);
	ck_assert_str_eq(json_string_value(json_array_get(argv, 7)), "work kanban task " T);
}
END_TEST

static void argv_is(const char *set, const char *middle)
{
	start(set);
	ck_assert_str_eq(rig_argv(T),
			 rig_printf("-p jimmy --cli --accept-hooks %s" WORK, middle));
}

START_TEST(test_skills)
{
	argv_is("skills='[\"listing-style\", \"price-check\"]'",
		"--skills listing-style --skills price-check ");
}
END_TEST

START_TEST(test_falsy_skills_are_dropped)
{
	argv_is("skills='[\"a\", \"\", null, 0, false, 7]'", "--skills a --skills 7 ");
}
END_TEST

START_TEST(test_skills_that_are_no_list)
{
	argv_is("skills='{\"a\": 1}'", "");
}
END_TEST

START_TEST(test_skills_that_are_no_json)
{
	argv_is("skills='[\"a\", '", "");
}
END_TEST

START_TEST(test_model_provider_reasoning)
{
	argv_is("model_override='small', provider_override='local', reasoning_effort='low', "
		"skills='[\"a\"]'",
		"--skills a -m small --provider local --reasoning low ");
}
END_TEST

START_TEST(test_provider_only_with_a_model)
{
	argv_is("provider_override='local'", "");
}
END_TEST

/* The tools that the profile chose; more of it in test_toolsets. */
START_TEST(test_toolsets)
{
	rig_write("root/profiles/jimmy/config.yaml",
		  "platform_toolsets: {cli: [web, file]}\nmcp_servers: {docs: {}}\n");
	rig_write("root/config.yaml", "platform_toolsets: {cli: [terminal]}\n");
	start("skills='[\"a\"]', model_override='m'");
	ck_assert_str_eq(rig_argv(T), "-p jimmy --cli --accept-hooks --skills a "
				      "--toolsets docs,file,kanban,web -m m " WORK);
}
END_TEST

/* The goal loop of August runs in quiet mode only. */
START_TEST(test_goal_mode)
{
	start("goal_mode=1, goal_max_turns=12");
	ck_assert_str_eq(rig_argv(T), rig_by_age("-p jimmy --cli --accept-hooks " WORK,
						 "-p jimmy --cli --accept-hooks " WORK " -Q"));
	var_is("HERMES_KANBAN_GOAL_MODE", "1");
	var_is("HERMES_KANBAN_GOAL_MAX_TURNS", "12");
}
END_TEST

START_TEST(test_goal_mode_without_turns)
{
	start("goal_mode=1, goal_max_turns=0");
	var_is("HERMES_KANBAN_GOAL_MODE", "1");
	var_is("HERMES_KANBAN_GOAL_MAX_TURNS", NULL);
}
END_TEST

START_TEST(test_no_goal_mode)
{
	start("goal_mode=0, goal_max_turns=12");
	var_is("HERMES_KANBAN_GOAL_MODE", NULL);
	var_is("HERMES_KANBAN_GOAL_MAX_TURNS", NULL);
}
END_TEST

/* Text of a task is data: it never meets a shell and never becomes an option of its own. */
START_TEST(test_hostile_values_stay_one_word)
{
	json_t *argv;

	start("model_override='$(touch x); `id`', skills='[\"a b; touch x\"]', "
	      "reasoning_effort='--yolo'");
	argv = json_object_get(rig_ran(T), "argv");
	ck_assert_str_eq(json_string_value(json_array_get(argv, 6)), "a b; touch x");
	ck_assert_str_eq(json_string_value(json_array_get(argv, 8)), "$(touch x); `id`");
	ck_assert(!rig_exists("x"));
}
END_TEST

/* ---- environment ----------------------------------------------------------------------- */

START_TEST(test_environment)
{
	json_t *ran;

	rig_env("SOMETHING_ELSE", "is passed on");
	start("tenant='ghi'");
	ran = rig_ran(T);
	var_is("SOMETHING_ELSE", "is passed on");
	var_is("HERMES_HOME", rig_printf("%s/profiles/jimmy", rig.root));
	var_is("HERMES_PROFILE", "jimmy");
	var_is("HERMES_TENANT", "ghi");
	var_is("HERMES_KANBAN_TASK", T);
	var_is("HERMES_KANBAN_WORKSPACE", rig_printf("%s/kanban/workspaces/" T, rig.root));
	var_is("TERMINAL_CWD", rig_printf("%s/kanban/workspaces/" T, rig.root));
	var_is("HERMES_KANBAN_DB", rig_db(B));
	var_is("HERMES_KANBAN_WORKSPACES_ROOT", rig_printf("%s/kanban/workspaces", rig.root));
	var_is("HERMES_KANBAN_BOARD", "default");
	var_is("HERMES_KANBAN_RUN_ID", rig_list(B, "SELECT current_run_id FROM tasks"));
	var_is("HERMES_KANBAN_CLAIM_LOCK", rig_list(B, "SELECT claim_lock FROM tasks"));
	var_is("HERMES_KANBAN_BRANCH", NULL);
	var_is("HERMES_SESSION_SOURCE", "kanban");
	var_is("HERMES_KANBAN_GOAL_MODE", NULL);
	var_is("TERMINAL_TIMEOUT", NULL);
	ck_assert_str_eq(json_string_value(json_object_get(ran, "cwd")),
			 rig_printf("%s/kanban/workspaces/" T, rig.root));
}
END_TEST

START_TEST(test_environment_of_another_board)
{
	rig_board("garden", 0);
	rig_add("garden", .id = T);
	ck_spawned(rig_tick("garden"), T);
	var_is("HERMES_KANBAN_BOARD", "garden");
	var_is("HERMES_KANBAN_DB", rig_db("garden"));
	var_is("HERMES_KANBAN_WORKSPACES_ROOT",
	       rig_printf("%s/kanban/boards/garden/workspaces", rig.root));
	var_is("HERMES_KANBAN_WORKSPACE",
	       rig_printf("%s/kanban/boards/garden/workspaces/" T, rig.root));
	RIG_UNTIL(rig_exists("root/kanban/boards/garden/logs/" T ".log"), 3000);
}
END_TEST

START_TEST(test_session_variables_are_removed)
{
	static const char *const gone[] = {
		"HERMES_TUI",
		"HERMES_SESSION_PLATFORM",
		"HERMES_SESSION_CHAT_ID",
		"HERMES_SESSION_CHAT_TYPE",
		"HERMES_SESSION_CHAT_NAME",
		"HERMES_SESSION_THREAD_ID",
		"HERMES_SESSION_USER_ID",
		"HERMES_SESSION_USER_NAME",
		"HERMES_SESSION_KEY",
		"HERMES_SESSION_ID",
		"HERMES_SESSION_MESSAGE_ID",
		"HERMES_SESSION_PROFILE",
		"HERMES_UI_SESSION_ID",
		"HERMES_CRON_SESSION",
		"HERMES_CRON_AUTO_DELIVER_PLATFORM",
		"HERMES_CRON_AUTO_DELIVER_CHAT_ID",
		"HERMES_CRON_AUTO_DELIVER_THREAD_ID",
		"HERMES_SESSION_OTHER",
		"HERMES_BROWSER_CONTROL_PORT",
		"HERMES_TURN_AUTHOR",
	};
	const size_t count = sizeof(gone) / sizeof(gone[0]);

	for (size_t i = 0; i < count; i++)
		rig_env(gone[i], "left over");
	rig_env("HERMES_SESSION_SOURCE", "left over");
	start(NULL);
	for (size_t i = 0; i < count; i++)
		var_is(gone[i], NULL);
	var_is("HERMES_SESSION_SOURCE", "kanban");
}
END_TEST

/* What the service manager told the daemon is not for its workers. */
START_TEST(test_tenant_of_the_dispatcher_stays)
{
	rig_env("HERMES_TENANT", "house");
	start(NULL);
	var_is("HERMES_TENANT", "house");
}
END_TEST

START_TEST(test_tenant_of_the_task_wins)
{
	rig_env("HERMES_TENANT", "house");
	start("tenant='ghi'");
	var_is("HERMES_TENANT", "ghi");
}
END_TEST

START_TEST(test_terminal_timeout_is_raised)
{
	rig_env("TERMINAL_TIMEOUT", "100");
	rig_env("TERMINAL_MAX_FOREGROUND_TIMEOUT", "5000");
	start("max_runtime_seconds=1800");
	var_is("TERMINAL_TIMEOUT", "1770");
	var_is("TERMINAL_MAX_FOREGROUND_TIMEOUT", "5000");
}
END_TEST

START_TEST(test_terminal_timeout_unset_or_odd)
{
	rig_env("TERMINAL_MAX_FOREGROUND_TIMEOUT", "soon");
	start("max_runtime_seconds=1800");
	var_is("TERMINAL_TIMEOUT", "1770");
	var_is("TERMINAL_MAX_FOREGROUND_TIMEOUT", "1770");
}
END_TEST

START_TEST(test_terminal_timeout_is_at_least_one)
{
	start("max_runtime_seconds=10");
	var_is("TERMINAL_TIMEOUT", "1");
}
END_TEST

START_TEST(test_terminal_timeout_without_a_limit)
{
	rig_env("TERMINAL_TIMEOUT", "100");
	start(NULL);
	var_is("TERMINAL_TIMEOUT", "100");
	var_is("TERMINAL_MAX_FOREGROUND_TIMEOUT", NULL);
}
END_TEST

START_TEST(test_workspaces_root_of_the_environment)
{
	rig_env("HERMES_KANBAN_WORKSPACES_ROOT", rig_path("fast disk"));
	start(NULL);
	var_is("HERMES_KANBAN_WORKSPACES_ROOT", rig_path("fast disk"));
	var_is("HERMES_KANBAN_WORKSPACE", rig_path("fast disk/" T));
	ck_assert(rig_exists("fast disk/" T));
}
END_TEST

/* ---- process --------------------------------------------------------------------------- */

START_TEST(test_process)
{
	json_t *ran, *fds;
	const char *log = rig_printf("%s/kanban/logs/" T ".log", rig.root);

	start(NULL);
	ran = rig_ran(T);
	fds = json_object_get(ran, "fds");
	rig_json_is(fds,
		    rig_printf("{\"0\":\"/dev/null\",\"1\":\"%s\",\"2\":\"%s\"}", log, log),
		    "descriptors");
	ck_assert_int_eq(json_integer_value(json_object_get(ran, "sid")),
			 json_integer_value(json_object_get(ran, "pid")));
	ck_assert_int_eq(json_integer_value(json_object_get(ran, "pgid")),
			 json_integer_value(json_object_get(ran, "pid")));
	ck_assert_str_eq(json_string_value(json_object_get(ran, "SigBlk")), "0000000000000000");
	ck_assert_str_eq(json_string_value(json_object_get(ran, "SigIgn")), "0000000000000000");
	var_is("NOTIFY_SOCKET", NULL);
	var_is("WATCHDOG_USEC", NULL);
	var_is("LISTEN_FDS", NULL);
}
END_TEST

/* With a prefix in front: the way onto another machine, or to another user. */
START_TEST(test_command_launcher)
{
	rig_write("kanband.conf",
		  "[kanband]\nmemory_guard = no\n[worker]\nlauncher = command\ncommand = "
		  "/usr/bin/env RIG_WHAT={board}/{task}/{run}/{profile}\n");
	rig_board("garden", 0);
	rig_add("garden", .id = T);
	ck_spawned(rig_of(rig_once("--launcher", "command"), "garden"), T);
	ck_assert_str_eq(rig_argv(T), "-p jimmy --cli --accept-hooks " WORK);
	var_is("RIG_WHAT", "garden/" T "/1/jimmy");
	ck_assert_int_eq(json_integer_value(json_object_get(rig_ran(T), "pid")),
			 rig_int("garden", "SELECT worker_pid FROM tasks"));
}
END_TEST

/* ---- log ------------------------------------------------------------------------------- */

#define LOG "root/kanban/logs/" T ".log"

static bool log_has(const char *path, const char *text)
{
	char *log = rig_read(path);

	return log && strstr(log, text);
}

/* The worker complains about an unknown word on stderr, which is the log. */
static void start_and_complain(void)
{
	rig_do(T, "complain\n");
	start(NULL);
	RIG_UNTIL(log_has(LOG, "what is \"complain\""), 5000);
}

START_TEST(test_log_is_appended_to)
{
	rig_write(LOG, "from an earlier run\n");
	start_and_complain();
	ck_assert(log_has(LOG, "from an earlier run"));
	ck_assert(!rig_exists(LOG ".1"));
}
END_TEST

static void big_logs(void)
{
	rig_write(LOG, "newest, and a little too long");
	rig_write(LOG ".1", "older");
}

START_TEST(test_log_is_rotated)
{
	rig_config("worker_log_rotate_bytes: 20");
	big_logs();
	start_and_complain();
	ck_assert(!log_has(LOG, "newest"));
	ck_assert(log_has(LOG ".1", "newest"));
	ck_assert(!rig_exists(LOG ".2"));
}
END_TEST

START_TEST(test_log_keeps_as_many_as_told)
{
	rig_config("worker_log_rotate_bytes: 20", "worker_log_backup_count: 2");
	big_logs();
	rig_write(LOG ".2", "oldest");
	start_and_complain();
	ck_assert(log_has(LOG ".1", "newest"));
	ck_assert(log_has(LOG ".2", "older"));
	ck_assert(!rig_exists(LOG ".3"));
}
END_TEST

START_TEST(test_log_without_backups_is_deleted)
{
	rig_config("worker_log_rotate_bytes: 20", "worker_log_backup_count: 0");
	rig_write(LOG, "newest, and a little too long");
	start_and_complain();
	ck_assert(!log_has(LOG, "newest"));
	ck_assert(!rig_exists(LOG ".1"));
}
END_TEST

START_TEST(test_small_log_is_not_rotated)
{
	rig_config("worker_log_rotate_bytes: 2000");
	big_logs();
	start_and_complain();
	ck_assert(log_has(LOG, "newest"));
	ck_assert(log_has(LOG ".1", "older"));
}
END_TEST

/* The log is there even when the worker is not. */
START_TEST(test_log_comes_before_the_worker)
{
	rig_env("HERMES_BIN", "/nonexistent/hermes");
	rig_board(B, 0);
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), "");
	ck_assert(rig_exists(LOG));
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages argv = rig_ages("arguments", 30);
	struct rig_ages env = rig_ages("environment", 30);
	struct rig_ages process = rig_ages("process", 30);
	struct rig_ages log = rig_ages("log", 30);

	rig_ages_test(&argv, test_plain_argv);
	rig_ages_test(&argv, test_skills);
	rig_ages_test(&argv, test_falsy_skills_are_dropped);
	rig_ages_test(&argv, test_skills_that_are_no_list);
	rig_ages_test(&argv, test_skills_that_are_no_json);
	rig_ages_test(&argv, test_model_provider_reasoning);
	rig_ages_test(&argv, test_provider_only_with_a_model);
	rig_ages_test(&argv, test_toolsets);
	rig_ages_test(&argv, test_goal_mode);
	rig_ages_test(&argv, test_goal_mode_without_turns);
	rig_ages_test(&argv, test_no_goal_mode);
	rig_ages_test(&argv, test_hostile_values_stay_one_word);
	rig_ages_test(&env, test_environment);
	rig_ages_test(&env, test_environment_of_another_board);
	rig_ages_test(&env, test_session_variables_are_removed);
	rig_ages_test(&env, test_tenant_of_the_dispatcher_stays);
	rig_ages_test(&env, test_tenant_of_the_task_wins);
	rig_ages_test(&env, test_terminal_timeout_is_raised);
	rig_ages_test(&env, test_terminal_timeout_unset_or_odd);
	rig_ages_test(&env, test_terminal_timeout_is_at_least_one);
	rig_ages_test(&env, test_terminal_timeout_without_a_limit);
	rig_ages_test(&env, test_workspaces_root_of_the_environment);
	rig_ages_test(&process, test_process);
	rig_ages_test(&process, test_command_launcher);
	rig_ages_test(&log, test_log_is_appended_to);
	rig_ages_test(&log, test_log_is_rotated);
	rig_ages_test(&log, test_log_keeps_as_many_as_told);
	rig_ages_test(&log, test_log_without_backups_is_deleted);
	rig_ages_test(&log, test_small_log_is_not_rotated);
	rig_ages_test(&log, test_log_comes_before_the_worker);
	return rig_suite("once: worker", argv.newer, argv.august, env.newer, env.august,
			 process.newer, process.august, log.newer, log.august, NULL);
}
