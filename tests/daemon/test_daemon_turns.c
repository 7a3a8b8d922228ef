/*
 * Whose turn it is, in the running daemon: priorities and turns over boards and roots, pools
 * and caps that a reload changes. What decides is shown by test_turns.
 */
#include <signal.h>
#include <string.h>

#include "kit/rig.h"
#include "kit/web.h"

#define B    "default"
#define SOON 20000

static const char *status_of(const char *slug, const char *task)
{
	return rig_list(slug, "SELECT status FROM tasks WHERE id=%Q", task);
}

static bool running(const char *slug, const char *task)
{
	return !strcmp(status_of(slug, task), "running");
}

static int64_t run_on(const char *slug)
{
	return rig_int(slug, "SELECT count(*) FROM tasks WHERE status = 'running'");
}

static const char *held(const char *task)
{
	json_t *web = web_json(web_get(rig_printf("/v1/tasks/%s/why", task)), 200);
	json_t *by = json_object_get(web, "held_by");

	return json_is_string(by) ? json_string_value(by) : "";
}

static json_t *pool(const char *name)
{
	json_t *limits = json_object_get(web_json(web_get("/v1/status"), 200), "limits"), *one;
	size_t i;

	json_array_foreach(json_object_get(limits, "pools"), i, one)
	{
		if (strcmp(web_text(one, "name"), name) == 0)
			return one;
	}
	ck_abort_msg("no pool %s", name);
}

static bool pool_is(const char *name, int limit, int in, int waiting)
{
	json_t *p = pool(name);

	return json_integer_value(json_object_get(p, "limit")) == limit &&
	       json_integer_value(json_object_get(p, "running")) == in &&
	       json_integer_value(json_object_get(p, "waiting")) == waiting;
}

/* So many tasks of the board could start, as its last visit has seen it. */
static bool seen(const char *slug, int ready)
{
	json_t *boards = json_object_get(web_json(web_get("/v1/boards"), 200), "boards"), *one;
	size_t i;

	json_array_foreach(boards, i, one)
	{
		if (strcmp(web_text(one, "slug"), slug) == 0)
			return json_integer_value(json_object_get(one, "ready")) == ready;
	}
	return false;
}

/* Each ends when its own file is there. */
static void waits_for(const char *task)
{
	rig_do(task, rig_printf("wait go.%s\ndone\n", task));
}

static struct rig_daemon *start(const char *conf)
{
	rig_write("k.conf", conf);
	return rig_start("--config", rig_path("k.conf"));
}

static void reload(struct rig_daemon *d, const char *conf)
{
	rig_write("k.conf", conf);
	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
}

/* A place that comes free goes to the highest priority on any board, however long the queue of
 * the board that had it; among equals to the board that was served longest ago. */
START_TEST(test_priority_over_boards)
{
	struct rig_daemon *d;

	rig_board(B, 0);
	rig_board("other", 0);
	for (int i = 0; i < 5; i++) {
		waits_for(rig_printf("t_a%d", i));
		rig_add(B, .id = rig_printf("t_a%d", i));
	}
	d = start("[kanband]\nmax_in_progress = 1\n");
	RIG_UNTIL(running(B, "t_a0"), SOON);
	waits_for("t_equal");
	waits_for("t_high");
	rig_add("other", .id = "t_equal");
	rig_add("other", .id = "t_high", .priority = 1000);
	RIG_UNTIL(!strcmp(held("t_high"), "places") && !strcmp(held("t_equal"), "places"),
		  SOON);
	/* the rows are read by `why`; whose turn it is is known from visits, which bursts delay
	 */
	RIG_UNTIL(seen("other", 2), SOON);
	rig_write("go.t_a0", "");
	RIG_UNTIL(running("other", "t_high"), SOON);
	ck_assert_int_eq(run_on(B), 0);
	rig_write("go.t_high", "");
	/* "other" was served last */
	RIG_UNTIL(running(B, "t_a1"), SOON);
	rig_write("go.t_a1", "");
	RIG_UNTIL(running("other", "t_equal"), SOON);
	ck_assert_int_eq(run_on(B), 0);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Nobody knows at a start what the boards want, nor after a pause: the first that is visited
 * does not take every place. */
START_TEST(test_all_are_asked_before_any_is_served)
{
	static const char *const slugs[] = { B, "b1", "b2", "b3" };
	struct rig_daemon *d;
	int64_t all = 0, begun;
	bool prompt;

	for (size_t i = 0; i < 4; i++) {
		rig_board(slugs[i], 0);
		for (int k = 0; k < 5; k++) {
			char *id = rig_printf("t_%zu%d", i, k);

			waits_for(id);
			rig_add(slugs[i], .id = id, .priority = i == 3 ? 7 - k : 4);
		}
	}
	begun = rig_mono_us();
	d = start("[kanband]\nmax_in_progress = 6\n");
	while (all < 6) { /* two places are for b3 with 7 and 6, one for its 5; one a board */
		all = 0;
		for (size_t i = 0; i < 4; i++)
			all += run_on(slugs[i]);
		rig_pause();
	}
	/* a machine that is too slow to answer in time has places given without an answer */
	prompt = rig_mono_us() - begun < 500000;
	ck_assert(!prompt || run_on("b3") == 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert(!prompt || run_on(slugs[i]) == 1);
	(void)web_json(web_post("/v1/drain", "{\"wait\":false}"), 200);
	for (size_t i = 0; i < 4; i++)
		for (int k = 0; k < 3; k++)
			rig_write(rig_printf("go.t_%zu%d", i, k), "");
	for (size_t i = 0; i < 4; i++)
		RIG_UNTIL(run_on(slugs[i]) == 0, SOON);
	rig_add(B, .id = "t_high", .priority = 9);
	waits_for("t_high");
	(void)web_json(web_post("/v1/resume", NULL), 200);
	RIG_UNTIL(running(B, "t_high"), SOON);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* One limit for all roots of the daemon. */
START_TEST(test_one_limit_for_all_roots)
{
	const struct rig_out *out;
	struct rig_daemon *d;
	const char *second;

	rig_board(B, 0);
	rig_profile("jimmy");
	rig_shell("cp -r root root2");
	waits_for("t_1");
	rig_add(B, .id = "t_1");
	rig_write("k.conf", "[kanband]\nmax_in_progress = 1\n");
	d = rig_start("--config", rig_path("k.conf"), "--root", rig_path("root2"));
	RIG_UNTIL(running(B, "t_1"), SOON);
	out = rig_kanbanctl("--root", rig_path("root2"), "--json", "add", "--assignee", "jimmy",
			    "--priority", "9", "there");
	ck_assert_msg(out->status == 0, "%s", out->err);
	second = web_text(rig_json(out->text), "id");
	RIG_UNTIL(!strcmp(held(second), "places"), SOON);
	ck_assert_uint_eq(rig_ran_count(second), 0);
	rig_write("go.t_1", "");
	RIG_UNTIL(rig_ran_count(second) == 1, SOON);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A pool over boards: what is in it and what waits for it is shown, and a reload changes it. */
START_TEST(test_a_pool)
{
	static const char one[] = "[pool gpu]\nlimit = 1\nprofiles = slow\n",
			  two[] = "[pool gpu]\nlimit = 2\nprofiles = slow\n",
			  bad[] = "[pool gpu]\nlimit = many\nprofiles = slow\n";
	const struct rig_out *out;
	struct rig_daemon *d;

	rig_board(B, 0);
	rig_board("other", 0);
	rig_profile("slow");
	d = start(one);
	rig_add(B, .id = "t_1", .assignee = "slow");
	RIG_UNTIL(running(B, "t_1"), SOON);
	rig_add("other", .id = "t_2", .assignee = "slow");
	rig_add("other", .id = "t_3", .assignee = "slow");
	rig_add("other", .id = "t_4");
	RIG_UNTIL(running("other", "t_4"), SOON); /* it is in no pool */
	RIG_UNTIL(pool_is("gpu", 1, 1, 2), SOON);
	ck_assert_str_eq(held("t_2"), "pool");
	out = rig_kanbanctl("--root", rig.root, "status");
	ck_assert_ptr_nonnull(strstr(out->text, "pool     gpu: 1 of 1 run, 2 wait"));
	ck_assert_ptr_nonnull(
		strstr(out->text, "waiting  other: 2 wait because 1 of 1 run in pool gpu"));
	reload(d, two);
	RIG_UNTIL(running("other", "t_2"), SOON);
	RIG_UNTIL(pool_is("gpu", 2, 2, 1), SOON);
	/* a mistake opens nothing */
	reload(d, bad);
	RIG_UNTIL(strstr(rig_err(d), "limit") != NULL, SOON);
	ck_assert(pool_is("gpu", 2, 2, 1));
	reload(d, one);
	RIG_UNTIL(pool_is("gpu", 1, 2, 1), SOON);
	ck_assert_int_eq(run_on(B), 1);
	ck_assert_int_eq(run_on("other"), 2);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* Caps per profile as a map in config.yaml, per board, and how many of a board. */
START_TEST(test_caps_of_config_yaml)
{
	struct rig_daemon *d;

	rig_config("max_in_progress_per_profile: {jimmy: 1, '*': 2}");
	rig_board(B, 0);
	rig_board("small", 0);
	rig_profile("anna");
	for (int i = 0; i < 3; i++) {
		rig_add(B, .id = rig_printf("t_j%d", i));
		rig_add(B, .id = rig_printf("t_a%d", i), .assignee = "anna");
		rig_add("small", .id = rig_printf("t_s%d", i), .assignee = "anna");
	}
	d = start("[kanband]\nmax_in_progress = 20\n[board small]\nmax_spawn = 1\n");
	RIG_UNTIL(run_on(B) == 3 && run_on("small") == 1, SOON);
	RIG_UNTIL(!strcmp(held("t_j1"), "profile_limit") &&
			  !strcmp(held("t_a2"), "profile_limit") &&
			  !strcmp(held("t_s1"), "board_limit"),
		  SOON);
	ck_assert_int_eq(run_on(B), 3);
	rig_config("max_in_progress_per_profile: {jimmy: 2}");
	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
	RIG_UNTIL(run_on(B) == 5, SOON);
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *turns = rig_tcase("turns", 60), *limits = rig_tcase("limits", 60);

	tcase_add_test(turns, test_priority_over_boards);
	tcase_add_test(turns, test_all_are_asked_before_any_is_served);
	tcase_add_test(turns, test_one_limit_for_all_roots);
	tcase_add_test(limits, test_a_pool);
	tcase_add_test(limits, test_caps_of_config_yaml);
	return rig_suite("daemon: turns", turns, limits, NULL);
}
