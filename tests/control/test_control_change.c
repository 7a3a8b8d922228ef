/* Tasks are changed over the API as kanbanctl changes them, and a typo is answered. */
#include <string.h>

#include "kit/rig.h"
#include "kit/web.h"

#define B    "default"
#define SOON 20000

static struct web_answer *ask(const char *what, const char *more)
{
	return web_post("/v1/boards/default/change",
			rig_printf("{\"change\":\"%s\",\"task\":%s}", what, more));
}

/* @what is done to @task ("\"ID\", …" for more members). Return: the answer */
static json_t *changed(const char *what, const char *more, const char *status)
{
	json_t *answer = web_json(ask(what, more), 200);

	ck_assert_str_eq(web_text(answer, "status"), status);
	ck_assert_str_eq(web_text(answer, "board"), B);
	return answer;
}

static bool status_is(const char *task, const char *status)
{
	return !strcmp(rig_list(B, "SELECT status FROM tasks WHERE id=%Q", task), status);
}

static struct rig_daemon *start(void)
{
	struct rig_daemon *d;

	rig_board(B, 0);
	rig_profile("anna");
	rig_add(B, .id = "t_1", .assignee = "nobody");
	rig_add(B, .id = "t_2", .assignee = "nobody");
	d = web_start();
	RIG_UNTIL(web_get("/v1/boards/default")->status == 200, SOON);
	return d;
}

START_TEST(change_what_waits)
{
	struct rig_daemon *d = start();

	(void)changed("edit", "\"t_1\",\"title\":\"new\",\"priority\":7", "ready");
	ck_sql(B, "new|7", "SELECT title, priority FROM tasks WHERE id = 't_1'");
	(void)changed("assign", "\"t_1\",\"assignee\":\"nemo\"", "ready");
	ck_sql(B, "nemo", "SELECT assignee FROM tasks WHERE id = 't_1'");
	(void)changed("link", "\"t_2\",\"parent\":\"t_1\"", "todo");
	ck_sql(B, "t_1|t_2", "SELECT parent_id, child_id FROM task_links");
	(void)changed("unlink", "\"t_2\",\"parent\":\"t_1\"", "todo");
	RIG_UNTIL(status_is("t_2", "ready"), SOON);
	ck_sql(B, "0", "SELECT count(*) FROM task_links");
	(void)changed("schedule", "\"t_2\",\"at\":4000000000", "scheduled");
	(void)changed("retry", "\"t_2\"", "ready");
	(void)changed("edit", "\"t_2\",\"every\":\"hourly\"", "ready");
	(void)changed("edit", "\"t_2\",\"every\":\"\"", "ready");
	(void)changed("subscribe", "\"t_2\",\"platform\":\"telegram\",\"chat\":\"7\"", "ready");
	ck_sql(B, "telegram|7", "SELECT platform, chat_id FROM kanban_notify_subs");
	(void)changed("archive", "\"t_2\"", "archived");
	(void)web_json(
		web_post("/v1/boards/default/gc", "{\"older_than_days\":1,\"dry_run\":true}"),
		200);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* What runs is ended before the answer. */
START_TEST(change_what_runs)
{
	static const char *const verbs[] = { "kill", "cancel", "archive", "schedule" };
	static const char *const then[] = { "ready", "archived", "archived", "scheduled" };
	struct rig_daemon *d = start();

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const char *task = rig_printf("t_run%zu", i);
		pid_t pid;

		/* it goes to nobody as soon as it runs: once it is let go, it stays */
		rig_do(task, rig_printf("sql UPDATE tasks SET assignee='nemo' WHERE id='%s'\n"
					"touch on.%s\nwait never\n",
					task, task));
		rig_add(B, .id = task, .assignee = "anna");
		RIG_UNTIL(rig_exists(rig_printf("on.%s", task)), SOON);
		RIG_UNTIL(rig_int(B, "SELECT count(worker_pid) FROM tasks WHERE id=%Q", task),
			  SOON);
		pid = (pid_t)rig_int(B, "SELECT worker_pid FROM tasks WHERE id=%Q", task);
		ck_assert(web_true(changed(verbs[i],
					   rig_printf("\"%s\",\"reason\":\"enough\"", task),
					   then[i]),
				   "worker_ended"));
		ck_assert(!rig_alive(pid));
		ck_assert(status_is(task, then[i]));
		ck_sql(B, "0", "SELECT consecutive_failures FROM tasks WHERE id=%Q", task);
	}
	rig_invariant(B);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(change_typos)
{
	struct rig_daemon *d = start();
	char *before = rig_list(B, "SELECT * FROM tasks");

	(void)web_problem(ask("assing", "\"t_1\""), 400, "bad-request");
	(void)web_problem(ask("edit", "\"t_9\",\"title\":\"x\""), 404, "no-task");
	(void)web_problem(ask("edit", "\"t_1\",\"titel\":\"x\""), 400, "bad-request");
	(void)web_problem(ask("edit", "\"t_1\",\"title\":\"\""), 400, "bad-request");
	(void)web_problem(ask("edit", "\"t_1\",\"priority\":\"high\""), 400, "bad-request");
	(void)web_problem(ask("edit", "\"t_1\",\"every\":\"noonish\""), 400, "bad-request");
	(void)web_problem(ask("assign", "\"t_1\",\"title\":\"x\""), 400, "bad-request");
	(void)web_problem(ask("assign", "\"t_1\""), 400, "bad-request");
	(void)web_problem(ask("assign", "\"t_1\",\"assignee\":\"-\""), 400, "bad-request");
	(void)web_problem(ask("link", "\"t_1\",\"parent\":\"t_9\""), 404, "no-task");
	(void)web_problem(ask("link", "\"t_1\",\"parent\":\"t_1\""), 400, "bad-request");
	(void)web_problem(ask("unlink", "\"t_1\",\"parent\":\"t_2\""), 409, "refused");
	(void)web_problem(ask("schedule", "\"t_1\",\"at\":\"soon\""), 400, "bad-request");
	(void)web_problem(ask("kill", "\"t_1\""), 409, "refused");
	(void)web_problem(ask("subscribe", "\"t_1\",\"platform\":\"telegram\""), 400,
			  "bad-request");
	(void)web_problem(
		ask("subscribe",
		    "\"t_1\",\"platform\":\"telegram\",\"chat\":\"7\",\"mode\":\"loud\""),
		400, "bad-request");
	(void)web_problem(web_post("/v1/boards/default/change", "{\"change\":\"edit\"}"), 400,
			  "bad-request");
	(void)web_problem(
		web_post("/v1/boards/none/change", "{\"change\":\"retry\",\"task\":\"t_1\"}"),
		404, "no-board");
	(void)web_problem(web_post("/v1/boards/default/gc", "{\"older_than_days\":\"all\"}"),
			  400, "bad-request");
	ck_assert_str_eq(rig_list(B, "SELECT * FROM tasks"), before);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *t = rig_tcase("changes", 60);

	tcase_add_test(t, change_what_waits);
	tcase_add_test(t, change_what_runs);
	tcase_add_test(t, change_typos);
	return rig_suite("control: changes", t, NULL);
}
