/* why: the rule that holds a task is named, on files and by the daemon. */
#include <string.h>

#include "kit/rig.h"
#include "kit/web.h"

#define B "default"

/* Asks kanbanctl. Return: its answer, which must come from @source. */
static json_t *asked(const char *task, const char *source)
{
	const char *const argv[] = { "kanbanctl", "--root", rig_path("root"), "--json", "why",
				     task,        NULL };
	const struct rig_out *out = rig_run(20, argv);
	json_t *answer;

	ck_assert_msg(out->status == 0, "%s", out->err);
	answer = rig_json(out->text);
	ck_assert_str_eq(web_text(answer, "source"), source);
	return answer;
}

static json_t *rule_of(json_t *answer, const char *name)
{
	json_t *rule;
	size_t i;

	json_array_foreach(json_object_get(answer, "rules"), i, rule)
	{
		if (strcmp(web_text(rule, "rule"), name) == 0)
			return rule;
	}
	ck_abort_msg("no rule %s: %s", name, rig_json_text(answer));
}

static void held_by(const char *task, const char *rule)
{
	ck_assert_str_eq(web_text(asked(task, "files"), "held_by"), rule);
}

/* The daemon's answer once @rule is what holds @task; what has just begun takes a moment. */
static json_t *web_held_by(const char *task, const char *rule)
{
	json_t *web, *held;

	RIG_UNTIL((web = web_json(web_get(rig_printf("/v1/tasks/%s/why", task)), 200),
		   held = json_object_get(web, "held_by"), json_is_string(held)) &&
			  strcmp(json_string_value(held), rule) == 0,
		  10000);
	return web;
}

/* The daemon says that @rule holds @task, over HTTP and by kanbanctl, in the same words. */
static json_t *daemon_says(const char *task, const char *rule)
{
	json_t *web = web_held_by(task, rule), *ctl = asked(task, "daemon");

	ck_assert(json_equal(json_object_get(web, "rules"), json_object_get(ctl, "rules")));
	ck_assert_str_eq(web_text(ctl, "held_by"), rule);
	ck_assert_str_eq(web_text(web, "task"), task);
	ck_assert(json_is_true(json_object_get(rule_of(web, rule), "holds")));
	return rule_of(web, rule);
}

START_TEST(test_why_on_files)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .assignee = "nobody");
	rig_add(B, .id = "t_00000002", .status = "todo");
	rig_add(B, .id = "t_00000003", .status = "blocked");
	rig_add(B, .id = "t_00000004");
	held_by("t_00000001", "profile");
	held_by("t_00000002", "status");
	held_by("t_00000003", "status");
	/* an event of older Hermes does not say what the row does */
	rig_add_event(B, "t_00000003", "gave_up", "{\"failures\": 2}", 10);
	rig_sql(B, "UPDATE tasks SET last_failure_error = 'no quota' WHERE id = 't_00000003'");
	ck_assert_str_eq(web_text(rule_of(asked("t_00000003", "files"), "status"), "text"),
			 "it failed too often: no quota");
	rig_config("max_spawn: 0");
	held_by("t_00000004", "board_limit");
	ck_assert_str_eq(web_text(rule_of(asked("t_00000004", "files"), "board_limit"), "text"),
			 "max_spawn is 0: nothing is started here");
	rig_config("max_spawn: 1");
	/* nothing of the board holds this one, but nobody is there to start it */
	held_by("t_00000004", "daemon");
	rig_write("root/ESTOP", "{\"reason\": \"the cat is on fire\"}");
	held_by("t_00000004", "estop");
	ck_assert_ptr_nonnull(
		strstr(web_text(rule_of(asked("t_00000004", "files"), "estop"), "text"),
		       "the cat is on fire"));
}
END_TEST

/* A closed run whose worker still lives holds its task, and asking for it ends nobody. */
START_TEST(test_why_worker_lives)
{
	pid_t pid;

	rig_board(B, 0);
	rig_add(B, .id = "t_1");
	(void)rig_add_run(B, "t_1", "completed", 10);
	pid = rig_worker_row(B, "t_1", 1);
	rig_sql(B,
		"UPDATE tasks SET status = 'ready', worker_pid = NULL, current_run_id = NULL");
	ck_assert_str_eq(web_text(rule_of(asked("t_1", "files"), "guard"), "text"),
			 "it is held by the respawn guard: previous_worker");
	ck_assert(json_is_true(
		json_object_get(rule_of(asked("t_1", "files"), "worker"), "holds")));
	/* nothing of the board tells of it any more */
	rig_sql(B, "DELETE FROM task_runs; DELETE FROM task_events");
	held_by("t_1", "worker");
	ck_assert(rig_alive(pid));
	rig_let_go();
	RIG_UNTIL(!rig_alive(pid), 10000);
	ck_assert(!json_is_true(
		json_object_get(rule_of(asked("t_1", "files"), "worker"), "holds")));
}
END_TEST

/* What only the daemon knows, each in turn. */
START_TEST(test_why_by_the_daemon)
{
	struct rig_daemon *d;
	json_t *rule;

	rig_board(B, 0);
	rig_board("other", 0);
	rig_profile("jimmy");
	rig_profile("slow");
	rig_write("k.conf", "[kanband]\nmax_in_progress = 2\n[pool gpu]\nlimit = 1\n"
			    "profiles = slow\n");
	d = rig_start("--config", rig_path("k.conf"));
	(void)web_json(web_post("/v1/boards/default/pause", NULL), 200);
	rig_add(B, .id = "t_1", .assignee = "slow");
	(void)daemon_says("t_1", "pause");
	(void)web_json(web_post("/v1/drain", "{\"wait\":false}"), 200);
	(void)daemon_says("t_1", "drain");
	rig_write("root/ESTOP", "");
	(void)daemon_says("t_1", "estop");
	rig_shell("rm root/ESTOP");
	(void)web_json(web_post("/v1/resume", NULL), 200);
	(void)web_json(web_post("/v1/boards/default/resume", NULL), 200);
	(void)rig_ran("t_1");
	rig_add(B, .id = "t_2", .assignee = "slow");
	rule = daemon_says("t_2", "pool");
	ck_assert_str_eq(web_text(rule, "text"), "1 of 1 run in pool gpu");
	rig_add(B, .id = "t_3");
	(void)rig_ran("t_3");
	rig_add(B, .id = "t_4");
	rule = daemon_says("t_4", "places");
	ck_assert_str_eq(web_text(rule, "text"), "2 of 2 run over all boards");
	(void)daemon_says("t_1", "status");
	/* its row is ready again, and the worker is still there */
	rig_sql(B,
		"UPDATE tasks SET status = 'ready', claim_lock = NULL, current_run_id = NULL,"
		" worker_pid = NULL WHERE id = 't_3'");
	(void)daemon_says("t_3", "worker");
	(void)web_problem(web_get("/v1/tasks/t_1/why?board=other"), 404, "no-task");
	(void)web_problem(web_get("/v1/tasks/t_9/why"), 404, "no-task");
	ck_assert_int_eq(rig_kanbanctl("--root", rig.root, "why", "t_9")->status, 66);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* The group of @list whose first task is @task. */
static json_t *group_of(json_t *list, const char *task)
{
	json_t *group;
	size_t i;

	json_array_foreach(list, i, group)
	{
		const char *first =
			json_string_value(json_array_get(json_object_get(group, "tasks"), 0));

		if (first && strcmp(first, task) == 0)
			return group;
	}
	return NULL;
}

/* Is @task in @list held as `why` says it, with @n others? */
static bool counted(json_t *list, const char *task, const char *source, int n)
{
	json_t *group = group_of(list, task), *answer = asked(task, source), *rule;

	if (!group || json_integer_value(json_object_get(group, "count")) != n)
		return false;
	rule = rule_of(answer, web_text(answer, "held_by"));
	return strcmp(web_text(group, "text"), web_text(rule, "text")) == 0 &&
	       json_equal(json_object_get(group, "release"), json_object_get(rule, "release"));
}

/* A row of a list tells of its task what `why` does. */
static void same_as_why(json_t *row)
{
	json_t *answer = asked(web_text(row, "id"), "daemon");
	json_t *rule = rule_of(answer, web_text(answer, "held_by"));

	ck_assert_str_eq(web_text(json_object_get(row, "held"), "text"),
			 web_text(rule, "text"));
}

static json_t *board_said(const char *verb)
{
	const struct rig_out *out = rig_kanbanctl("--root", rig.root, "--json", verb);
	json_t *all = rig_json(out->text), *boards = json_object_get(all, "boards");

	return json_object_get(boards ? json_array_get(boards, 0) : all, "waiting");
}

static void some_tasks(void)
{
	rig_add(B, .id = "t_1", .assignee = "nobody");
	rig_add(B, .id = "t_2", .assignee = "nobody");
	rig_add(B, .id = "t_3", .assignee = "");
	rig_add(B, .id = "t_4", .status = "todo");
	rig_sql(B, "INSERT INTO task_links (parent_id, child_id) VALUES ('t_1', 't_4')");
	rig_add(B, .id = "t_5");
	(void)rig_add_run(B, "t_5", "completed", 10);
	rig_add(B, .id = "t_6");
}

/* Status, board and why count and say the same, without a daemon and with one. */
START_TEST(test_waiting_because)
{
	static const char *const verbs[] = { "status", "board" };
	static const char *const first[] = { "t_1", "t_3", "t_4", "t_5", "t_6" };
	static const int many[] = { 2, 1, 1, 1, 1 };
	const struct rig_out *out;
	struct rig_daemon *d;
	json_t *list;

	rig_board(B, 0);
	rig_board("other", 0);
	rig_write("k.conf", "[kanband]\nmax_in_progress = 1\n");
	some_tasks();
	for (size_t v = 0; v < 2; v++) {
		list = board_said(verbs[v]);
		for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
			ck_assert_msg(counted(list, first[i], "files", many[i]), "%s: %s: %s",
				      verbs[v], first[i], rig_json_text(list));
		ck_assert_str_eq(web_text(json_array_get(list, 0), "rule"), "profile");
		ck_assert_str_eq(web_text(group_of(list, "t_6"), "rule"), "daemon");
	}
	rig_sql(B, "DELETE FROM tasks WHERE id = 't_6'");
	rig_add("other", .id = "t_0");
	d = rig_start("--config", rig_path("k.conf"));
	(void)rig_ran("t_0");
	rig_add(B, .id = "t_6");
	for (size_t v = 0; v < 2; v++)
		for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
			RIG_UNTIL(counted(board_said(verbs[v]), first[i], "daemon", many[i]),
				  10000);
	out = rig_kanbanctl("--root", rig.root, "status");
	ck_assert_ptr_nonnull(strstr(
		out->text, "waiting  default: 2 are for nobody, which has no profile here"));
	ck_assert_ptr_nonnull(strstr(out->text, "1 waits because 1 of 1 run over all boards"));
	list = json_object_get(web_json(web_get("/v1/boards/default/tasks"), 200), "tasks");
	ck_assert_uint_eq(json_array_size(list), 6);
	for (size_t i = 0; i < 6; i++)
		same_as_why(json_array_get(list, i));
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Its place in the order is told over all boards. */
START_TEST(test_turn_over_boards)
{
	struct rig_daemon *d;
	json_t *rule;

	rig_board(B, 0);
	rig_board("other", 0);
	rig_write("k.conf", "[kanband]\nmax_in_progress = 1\n");
	d = rig_start("--config", rig_path("k.conf"));
	rig_add("other", .id = "t_1");
	(void)rig_ran("t_1");
	rig_add("other", .id = "t_2", .priority = 5);
	rig_add("other", .id = "t_3", .priority = 5);
	rig_add(B, .id = "t_4", .priority = 9);
	rig_add(B, .id = "t_5");
	RIG_UNTIL(strcmp(web_text(rule_of(asked("t_5", "daemon"), "turn"), "text"),
			 "1 tasks of this board come before it, 2 of other boards; 1 run over "
			 "all boards") == 0,
		  10000);
	rule = rule_of(asked("t_4", "daemon"), "turn");
	ck_assert_str_eq(web_text(rule, "text"),
			 "0 tasks of this board come before it, 0 of other boards; 1 run over "
			 "all boards");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What failed in the same way goes on, on all boards or on one; the rest stays. */
START_TEST(test_retry_all)
{
	struct rig_daemon *d;
	json_t *j;

	rig_board(B, 0);
	rig_board("other", 0);
	rig_add(B, .id = "t_1", .status = "blocked", .last_failure_error = "provider is down",
		.failures = 3);
	rig_add(B, .id = "t_2", .status = "blocked", .last_failure_error = "50% wrong");
	rig_sql(B, "INSERT INTO task_events (task_id, kind, created_at) VALUES ('t_2', "
		   "'blocked', 1)");
	rig_add("other", .id = "t_3", .status = "blocked", .last_failure_error = "is down");
	j = rig_json(rig_kanbanctl("--root", rig.root, "--json", "retry", "--all", "--error",
				   "is down")
			     ->text);
	ck_assert_int_eq(web_int(j, "retried"), 2);
	ck_sql(B, "t_1|ready|0,t_2|blocked|0",
	       "SELECT id, status, consecutive_failures FROM tasks ORDER BY id");
	ck_sql("other", "ready", "SELECT status FROM tasks");
	ck_sql(B, "unblocked", "SELECT kind FROM task_events WHERE task_id = 't_1'");
	ck_assert_int_eq(rig_kanbanctl("--root", rig.root, "retry")->status, 64);
	ck_assert_int_eq(rig_kanbanctl("--root", rig.root, "retry", "t_1", "--all")->status,
			 64);
	d = rig_start();
	RIG_UNTIL(web_get("/v1/boards/default")->status == 200, 5000);
	j = web_json(web_post("/v1/boards/default/retry", "{\"error\":\"nothing\"}"), 200);
	ck_assert_int_eq(web_int(j, "retried"), 0);
	j = web_json(web_post("/v1/boards/default/retry", NULL), 200);
	ck_assert_int_eq(web_int(j, "retried"), 1);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *files = rig_tcase("why", 60);

	tcase_add_test(files, test_why_on_files);
	tcase_add_test(files, test_why_worker_lives);
	tcase_add_test(files, test_why_by_the_daemon);
	tcase_add_test(files, test_waiting_because);
	tcase_add_test(files, test_turn_over_boards);
	tcase_add_test(files, test_retry_all);
	return rig_suite("ctl: why", files, NULL);
}
