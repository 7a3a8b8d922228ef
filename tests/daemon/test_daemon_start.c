/* start: exactly this task, at once; a rule that holds it is named, and only a judgement of the
 * past can be passed over. */
#include <string.h>

#include "kit/rig.h"
#include "kit/web.h"

#define B "default"

static struct rig_out *start(int exit, const char *task, const char *despite)
{
	const char *argv[10] = { "kanbanctl", "--root", rig.root, "start", task };
	struct rig_out *out;

	if (despite) {
		argv[5] = "--despite";
		argv[6] = despite;
	}
	out = rig_run(60, argv);
	ck_assert_msg(out->status == exit, "start %s: exit %d instead of %d: %s%s", task,
		      out->status, exit, out->text, out->err);
	return out;
}

static void refused(const char *task, const char *despite, const char *rule)
{
	struct rig_out *out = start(1, task, despite);

	ck_assert_msg(strstr(out->err, rig_printf("is held by %s:", rule)) != NULL, "%s",
		      out->err);
	ck_assert_uint_eq(rig_ran_count(task), 0);
}

static struct rig_daemon *world(const char *conf)
{
	struct rig_daemon *d;

	rig_board(B, 0);
	rig_sql(B, "ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER");
	rig_profile("jimmy");
	rig_write("k.conf", conf);
	d = rig_start("--config", rig_path("k.conf"));
	RIG_UNTIL(strcmp(web_text(web_json(web_get("/v1/boards/default"), 200), "state"),
			 "healthy") == 0,
		  5000);
	return d;
}

START_TEST(start_despite_a_guard)
{
	struct rig_daemon *d = world("[kanband]\n");
	json_t *p;

	rig_add(B, .id = "t_1", .last_failure_error = "401 unauthorized");
	rig_add(B, .id = "t_2", .last_failure_error = "429 rate limit");
	rig_add(B, .id = "t_3",
		.set = rig_printf("scheduled_at = %lld", (long long)rig_now() + 900));
	/* as nothing that a look could promote, before its failed run is there */
	rig_add(B, .id = "t_4", .status = "archived", .last_failure_error = "boom");
	(void)rig_add_run(B, "t_4", "crashed", 1);
	rig_sql(B, "UPDATE tasks SET status = 'ready' WHERE id = 't_4'");
	refused("t_1", NULL, "guard");
	refused("t_4", "guard", "retry_backoff");
	ck_assert_ptr_nonnull(strstr(start(1, "t_1", NULL)->err, "--despite blocker_auth"));
	refused("t_1", "active_pr", "guard");
	refused("t_3", "guard", "scheduled_at");
	ck_assert_ptr_nonnull(
		strstr(start(0, "t_1", "blocker_auth")->text, "t_1 is started: run "));
	(void)rig_ran("t_1");
	ck_sql(B, "running", "SELECT status FROM tasks WHERE id = 't_1'");
	(void)start(0, "t_3", "scheduled_at");
	(void)rig_ran("t_3");
	(void)start(0, "t_4", "retry_backoff");
	(void)rig_ran("t_4");
	/* nobody else was let go by it, and what runs is not started again */
	ck_sql(B, "ready", "SELECT status FROM tasks WHERE id = 't_2'");
	ck_assert_ptr_nonnull(strstr(start(1, "t_1", "guard")->err, "held by status"));
	ck_assert_uint_eq(rig_ran_count("t_1"), 1);
	p = web_post("/v1/boards/default/start", "{\"task\":\"t_2\"}")->json;
	ck_assert_str_eq(web_text(p, "held_by"), "guard");
	(void)start(66, "t_9", NULL);
	(void)start(64, "t_2", "estop");
	(void)web_problem(web_post("/v1/boards/default/start", "{}"), 400, "bad-request");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
	(void)start(69, "t_2", NULL);
}
END_TEST

/* What bounds the host, and what somebody stopped, holds whatever is said. */
START_TEST(start_never_past)
{
	struct rig_daemon *d = world("[kanband]\nmax_in_progress = 1\n[pool few]\nlimit = 1\n"
				     "profiles = jimmy\n");

	rig_add(B, .id = "t_1", .last_failure_error = "401 unauthorized");
	rig_write("root/ESTOP", "");
	refused("t_1", "guard", "estop");
	rig_shell("rm root/ESTOP");
	(void)web_json(web_post("/v1/boards/default/pause", NULL), 200);
	refused("t_1", "guard", "pause");
	(void)web_json(web_post("/v1/boards/default/resume", NULL), 200);
	(void)web_json(web_post("/v1/drain", "{\"wait\":false}"), 200);
	refused("t_1", "guard", "drain");
	(void)web_json(web_post("/v1/resume", NULL), 200);
	rig_add(B, .id = "t_2");
	(void)rig_ran("t_2");
	refused("t_1", "guard", "places");
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A second worker of a task is never started beside the first. */
START_TEST(start_never_beside_a_worker)
{
	struct rig_daemon *d;

	d = world("[kanband]\n");
	rig_add(B, .id = "t_1");
	(void)rig_ran("t_1");
	rig_sql(B,
		"UPDATE tasks SET status = 'ready', claim_lock = NULL, current_run_id = NULL,"
		" worker_pid = NULL WHERE id = 't_1'");
	ck_assert_ptr_nonnull(strstr(start(1, "t_1", "guard")->err, "held by worker"));
	ck_assert_uint_eq(rig_ran_count("t_1"), 1);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("start", 120);

	tcase_add_test(tc, start_despite_a_guard);
	tcase_add_test(tc, start_never_past);
	tcase_add_test(tc, start_never_beside_a_worker);
	return rig_suite("daemon_start", tc, NULL);
}
