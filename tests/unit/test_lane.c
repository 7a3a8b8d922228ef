/* Steps 9 to 11 of a tick: which tasks may start, in which order, within which limits. */
#include <stdio.h>
#include <string.h>

#include "kit/board.h"
#include "tick/lane.h"
#include "tick/profile.h"

/* One tick of the lanes; the claimed tasks in order. */
static char *dispatch(void)
{
	char *text = kit_printf("%s", "");

	ck_assert_msg(kit_tick(TICK_DISPATCH) == 0, "%s", kit.e.text);
	kit_claim_invariant();
	ck_assert_msg(kit.plan.deadline == 0 || kit.plan.deadline > kit.rq.now,
		      "deadline %lld is over", (long long)kit.plan.deadline);
	ck_assert_int_eq(kit.plan.claimed, (int64_t)kit.plan.n_launches);
	ck_assert_int_eq(kit.turn.running, kit.plan.running);
	ck_assert_int_eq(kit.caps.turns.running, kit.plan.running);
	for (size_t i = 0; i < kit.plan.n_launches; i++)
		text = kit_printf("%s%s%s", text, i ? "," : "", kit.plan.launches[i].task);
	return text;
}

START_TEST(profile_names)
{
	static const struct {
		const char *assignee, *name; /* NULL: refused */
	} cases[] = {
		{ "jimmy", "jimmy" }, { " Jimmy\t\n", "jimmy" }, { "J-9_x", "j-9_x" },
		{ "", NULL },         { " \v\f ", NULL },        { ".", NULL },
		{ "..", NULL },       { "a/b", NULL },           { "../etc", NULL },
		{ "...", "..." },     { "a b", "a b" },          { "\xC3\x89", "\xC3\x89" },
		{ "12345678", NULL }, { "1234567", "1234567" },
	};
	char name[8];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool ok = profile_name(cases[i].assignee, name, sizeof(name));

		ck_assert_msg(ok == (cases[i].name != NULL), "%s", cases[i].assignee);
		if (ok)
			ck_assert_str_eq(name, cases[i].name);
	}
}
END_TEST

START_TEST(order)
{
	kit_board(0);
	kit_task("late", "ready", "created_at = 9");
	kit_task("early", "ready", "created_at = 1");
	kit_task("same", "ready", "created_at = 1");
	kit_task("urgent", "ready", "priority = 5, created_at = 99");
	kit_task("never", "ready", "priority = -1, created_at = 0");
	kit_task("no_priority", "ready", "priority = NULL, created_at = 0");
	kit_task("other", "scheduled", "priority = 9");
	kit_open();
	ck_assert_str_eq(dispatch(), "urgent,early,same,late,never,no_priority");
	ck_assert_int_eq(kit.plan.running, 6);
}
END_TEST

START_TEST(who_is_spawnable)
{
	static const char *const only[] = { "jimmy", NULL }, *const none[] = { NULL };

	kit.no_profile = "nemo";
	kit_board(0);
	kit_task("nobody", "ready", "assignee = NULL");
	kit_task("blank", "ready", "assignee = ' \t'");
	kit_task("nemo", "ready", "assignee = ' NEMO '");
	kit_task("path", "ready", "assignee = '../x'");
	kit_task("jimmy", "ready", "assignee = ' JIMMY '");
	kit_task("default", "ready", "assignee = 'Default'");
	kit_open();
	kit.set.max_spawn = 0;
	ck_assert_str_eq(dispatch(), "");
	kit.set.max_spawn = -1;
	kit.set.profiles_limited = true;
	kit.set.dispatch_profiles = none;
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(kit_ids(&kit.plan.nonspawnable), "nemo,path,jimmy,default");
	ck_assert_str_eq(kit_ids(&kit.plan.unassigned), "nobody,blank");
	ck_assert_uint_eq(kit.plan.waits, WAIT_ASSIGNEE | WAIT_PROFILE);
	kit.set.dispatch_profiles = only;
	ck_assert_str_eq(dispatch(), "jimmy");
	kit.set.profiles_limited = false;
	kit.no_profile = "default"; /* always there */
	ck_assert_str_eq(dispatch(), "nemo,default");
	ck_assert_str_eq(kit_ids(&kit.plan.nonspawnable), "path");
	ck_assert_int_eq(kit.plan.ready - kit.plan.claimed, 3);
}
END_TEST

START_TEST(default_assignee)
{
	kit.set.default_assignee = "jimmy";
	kit.no_profile = "jimmy";
	kit_board(0);
	kit_task("nobody", "ready", "assignee = NULL");
	kit_task("blank", "ready", "assignee = ' '");
	kit_open();
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(kit_ids(&kit.plan.unassigned), "nobody,blank");
	kit.no_profile = NULL;
	kit.set.max_in_progress_per_profile = 1;
	ck_assert_str_eq(dispatch(), "nobody");
	/* the other is assigned all the same, the cap came after */
	ck_list("jimmy,jimmy", "SELECT assignee FROM tasks");
	ck_list("{\"assignee\": \"jimmy\", \"source\": \"kanban.default_assignee\"}",
		"SELECT DISTINCT payload FROM task_events WHERE kind = 'assigned'");
	ck_assert_str_eq(kit_kinds("nobody"), "assigned,claimed");
	ck_assert_str_eq(kit_kinds("blank"), "assigned");
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(kit_ids(&kit.plan.profile_capped), "blank");
	ck_assert_str_eq(kit_kinds("blank"), "assigned");
}
END_TEST

START_TEST(caps_of_profiles_count_the_text)
{
	kit.set.max_in_progress_per_profile = 2;
	kit_board(0);
	kit_run("r", 101, NULL, NULL);
	kit_task("a", "ready", NULL);
	kit_task("b", "ready", NULL);
	kit_task("other_text", "ready", "assignee = 'JIMMY'");
	kit_task("sally", "ready", "assignee = 'sally'");
	kit_open();
	/* b would follow if the start of a failed: that is seen first */
	ck_assert_str_eq(dispatch(), "a");
	ck_assert(kit.plan.again);
	ck_assert_str_eq(kit_ids(&kit.plan.profile_capped), "");
	ck_assert_str_eq(dispatch(), "other_text,sally");
	ck_assert(!kit.plan.again);
	ck_assert_str_eq(kit_ids(&kit.plan.profile_capped), "b");
	ck_assert(kit.plan.waits & WAIT_BOARD);
}
END_TEST

START_TEST(budgets)
{
	kit_board(0);
	kit_run("r", 101, NULL, NULL);
	for (int i = 0; i < 5; i++)
		kit_task(kit_printf("t%d", i), "ready", NULL);
	kit_task("idle", "ready", "assignee = NULL, created_at = 9999999999");
	kit_open();
	kit.set.max_spawn = 1;
	ck_assert_str_eq(dispatch(), "");
	ck_assert_uint_eq(kit.plan.waits, WAIT_BOARD);
	/* past the budget nothing is judged */
	ck_assert_str_eq(kit_ids(&kit.plan.unassigned), "");
	kit.set.max_spawn = 2;
	ck_assert_str_eq(dispatch(), "t0");
	kit.set.max_spawn = -1;
	caps_set_max(&kit.caps, 3);
	ck_assert_str_eq(dispatch(), "t1");
	ck_assert(kit.plan.waits & WAIT_CAPACITY);
	ck_assert_str_eq(dispatch(), "");
	ck_assert_uint_eq(kit.plan.waits, WAIT_CAPACITY);
	caps_set_max(&kit.caps, -1);
	ck_assert_str_eq(dispatch(), "t2,t3,t4");
	ck_assert_int_eq(kit.plan.running, 6);
	/* over the cap already: none, and no negative budget */
	kit_task("more", "ready", NULL);
	kit.set.max_spawn = 2;
	caps_set_max(&kit.caps, 1);
	ck_assert_str_eq(dispatch(), "");
}
END_TEST

/* Another board took the last place between the look and the claim. */
START_TEST(a_place_that_others_took)
{
	struct turns_board other = { 0 };
	const struct caps_running one = { .all = 1 };

	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_task("b", "ready", NULL);
	kit_open();
	caps_set_max(&kit.caps, 2);
	caps_count(&kit.caps, &other, &one);
	ck_assert_int_eq(kit_tick(TICK_DISPATCH), 0);
	ck_assert_uint_eq(kit.plan.n_launches, 1);
	ck_assert_int_eq(kit.turn.running, 1);
	ck_assert_int_eq(caps_left(&kit.caps), 0);
	ck_assert(kit.plan.waits & WAIT_CAPACITY);
}
END_TEST

START_TEST(scheduled_and_held)
{
	struct tick_hold holds[] = { { "held", KIT_NOW + 50 }, { "over", KIT_NOW } };

	kit.rq.holds = holds;
	kit.rq.n_holds = 2;
	kit_board(KIT_SCHEDULED);
	kit_task("future", "ready", "scheduled_at = 1780000030");
	kit_task("now", "ready", "scheduled_at = 1780000000");
	kit_task("text", "ready", "scheduled_at = 'tomorrow'");
	kit_task("held", "ready", NULL);
	kit_task("over", "ready", NULL);
	kit_open();
	ck_assert_str_eq(dispatch(), "now,text,over");
	ck_assert_str_eq(kit_ids(&kit.plan.scheduled), "future");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 30); /* the hold is longer */
	kit.rq.now += 50;
	ck_assert_str_eq(dispatch(), "future,held");
}
END_TEST

/* The hold keeps 79 bytes of an id. */
START_TEST(long_ids_are_held_too)
{
	struct tick_hold hold = { .until = KIT_NOW + 50 };
	char *id = kit_printf("%0100d", 7);

	(void)snprintf(hold.task, sizeof(hold.task), "%s", id);
	kit.rq.holds = &hold;
	kit.rq.n_holds = 1;
	kit_board(0);
	kit_task(id, "ready", NULL);
	kit_task("0", "ready", NULL);
	kit_open();
	ck_assert_str_eq(dispatch(), "0");
}
END_TEST

/* Whatever the row says; but a single sweep of an older board has let its run go like Hermes.
 */
START_TEST(whose_worker_lives_waits)
{
	struct tick_living living[] = { { .task = "lives", .run = 7 }, { .task = "let_go" } };

	kit_board(0);
	kit_task("lives", "ready", NULL);
	kit_task("let_go", "ready", NULL);
	kit_task("free", "ready", NULL);
	living[1].run = kit_ended("let_go", "reclaimed", KIT_NOW - 9000, NULL);
	kit_event("let_go", "reclaimed", "{}", KIT_NOW - 9000);
	kit_open();
	kit_sql("UPDATE task_events SET run_id = (SELECT id FROM task_runs)");
	kit.rq.living = living;
	kit.rq.n_living = 2;
	ck_assert_int_eq(kit_tick(TICK_DISPATCH), 0);
	ck_list(kit_by_age("free", "free,let_go"),
		"SELECT id FROM tasks WHERE status = 'running' ORDER BY id");
}
END_TEST

START_TEST(guarded_once)
{
	kit_board(0);
	kit_task("t", "ready", "last_failure_error = 'quota'");
	kit_task("u", "ready", NULL);
	kit_ended("u", "completed", KIT_NOW - 60, NULL);
	kit_open();
	for (int i = 0; i < 3; i++) {
		ck_assert_str_eq(dispatch(), "");
		ck_assert_uint_eq(kit.plan.n_guarded, 2);
		ck_assert_str_eq(kit.plan.guarded[0].reason, "blocker_auth");
		ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 3541);
	}
	ck_list("t|{\"reason\": \"blocker_auth\"},u|{\"reason\": \"recent_success\"}",
		"SELECT task_id, payload FROM task_events WHERE kind = 'respawn_guarded'");
	kit.rq.now += 3600;
	ck_assert_str_eq(dispatch(), "u");
	ck_assert_str_eq(kit_kinds("t"), "respawn_guarded,respawn_guarded");
}
END_TEST

/* Times that are no times hold no deadline in the past: it would be a tick after the other. */
START_TEST(guarded_by_hostile_rows)
{
	kit_board(0);
	kit_task("t", "ready", NULL);
	kit_sql("INSERT INTO task_comments (task_id, author, body, created_at) VALUES ('t', "
		"'a',"
		" 'https://github.com/a/b/pull/1', 'once')");
	kit_task("u", "ready", NULL);
	kit_sql("INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at) VALUES"
		" ('u', 'done', 'completed', 1, '5 o''clock')");
	kit_open();
	/* nor do they hold the tasks: they lie ahead, and t never ran */
	ck_assert_str_eq(dispatch(), "t,u");
	ck_assert_uint_eq(kit.plan.n_guarded, 0);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 901);
}
END_TEST

/* Said once (in August not at all), and again after something else has happened to the task. */
START_TEST(an_assignee_without_a_profile)
{
	kit.no_profile = "orion";
	kit_board(0);
	kit_task("t", "ready", "assignee = 'Orion'");
	kit_open();
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(dispatch(), "");
	ck_list(kit_by_age("skipped_nonspawnable|{\"assignee\": \"Orion\"}", ""),
		"SELECT kind, payload FROM task_events");
	kit_event("t", "commented", NULL, KIT_NOW);
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(
		kit_kinds("t"),
		kit_by_age("skipped_nonspawnable,commented,skipped_nonspawnable", "commented"));
}
END_TEST

START_TEST(rejected_claims_give_their_place_back)
{
	kit_board(0);
	kit_task("p", "todo", NULL);
	kit_task("t", "ready", NULL);
	kit_sql("INSERT INTO task_links VALUES ('p', 't')");
	kit_open();
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(kit_kinds("t"), "claim_rejected");
	ck_assert_int_eq(kit.caps.turns.running, 0);
}
END_TEST

START_TEST(review_lane)
{
	kit_board(0);
	kit_task("r1", "review", NULL);
	kit_task("r2", "review", "assignee = NULL");
	kit_task("t1", "ready", NULL);
	kit_task("t2", "ready", NULL);
	kit_open();
	kit.set.max_spawn = 2;
	kit.set.review_dispatch = true;
	/* one place of the two is kept for the review */
	ck_assert_str_eq(dispatch(), "t1,r1");
	ck_assert(kit.plan.launches[1].review);
	kit.set.max_spawn = 3;
	ck_assert_str_eq(dispatch(), "t2"); /* no spawnable review left: nothing is kept */
	kit.set.max_spawn = -1;
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(kit_ids(&kit.plan.unassigned), "r2");
	kit.set.default_assignee = "jimmy"; /* is for those who implement */
	ck_assert_str_eq(dispatch(), "");
	ck_assert_str_eq(kit_ids(&kit.plan.unassigned), "r2");
	ck_assert_str_eq(kit_kinds("r2"), "");
}
END_TEST

/* No place is kept for a review that could not start: both ready tasks do. */
static void nothing_is_kept(const char *set)
{
	static const char *const pooled[] = { "pooled", NULL };
	static const struct settings_pool pool = { .name = "p", .profiles = pooled };
	static const struct settings_cap cap = { .profile = "capped", .limit = 0 };
	struct tick_hold hold = { "held", KIT_NOW + 50 };
	struct tick_living living = { .task = "lives" };
	const int64_t none = 0;

	kit_board(0);
	kit_task("r", "review", set);
	kit_task("open", "todo", "assignee = 'elsewhere'");
	kit_task("t1", "ready", NULL);
	kit_task("t2", "ready", NULL);
	kit_sql("INSERT INTO task_links VALUES ('open', 'parented')");
	kit_open();
	kit.no_profile = "elsewhere";
	kit.set.max_spawn = 3; /* "lives" is one of them */
	kit.set.review_dispatch = true;
	kit.set.default_assignee = "jimmy";
	kit.set.pools = &pool;
	kit.set.n_pools = 1;
	caps_set_pools(&kit.caps, &none, 1, kit.set.pools_generation);
	kit.set.profile_caps = &cap;
	kit.set.n_profile_caps = 1;
	kit.rq.holds = &hold;
	kit.rq.n_holds = 1;
	kit.rq.living = &living;
	kit.rq.n_living = 1;
	ck_assert(kit_tick(TICK_DISPATCH) == 0);
	ck_assert_msg(kit.plan.n_launches == 2, "%s: %zu", set, kit.plan.n_launches);
	ck_assert(!kit.plan.launches[0].review && !kit.plan.launches[1].review);
}

static const char *const reviews_held[] = {
	"assignee = NULL",
	"assignee = 'elsewhere'",
	"assignee = 'capped'",
	"assignee = 'pooled'",
	"last_failure_error = 'quota exceeded'",
	"id = 'parented'",
	"id = 'held'",
	"id = 'lives'",
};

START_TEST(nothing_is_kept_for_a_review_that_is_held)
{
	nothing_is_kept(reviews_held[_i]);
}
END_TEST

START_TEST(review_lane_is_off)
{
	kit_board(0);
	kit_task("r1", "review", NULL);
	kit_open();
	ck_assert_str_eq(dispatch(), "");
}
END_TEST

/* ---- faults -------------------------------------------------------------------------- */

START_TEST(lease_lost_claims_nothing)
{
	kit_board(0);
	kit_run("r", 101, NULL, NULL);
	kit_task("a", "ready", "assignee = NULL");
	kit_task("b", "ready", NULL);
	kit.set.default_assignee = "jimmy";
	kit_open();
	kit.owner_left = 1;
	ck_assert_int_ne(kit_tick(TICK_DISPATCH), 0);
	ck_assert(kit.plan.lease_lost);
	ck_assert_uint_eq(kit.plan.n_launches, 0);
	ck_list("running|jimmy,ready|-,ready|jimmy",
		"SELECT status, assignee FROM tasks ORDER BY rowid");
	ck_list("1", "SELECT count(*) FROM task_events");
	ck_assert_int_eq(kit.turn.running, 1); /* the places are given back */
	ck_assert_int_eq(kit.caps.turns.running, 1);
}
END_TEST

START_TEST(a_failed_write_gives_the_places_back)
{
	kit_board(0);
	kit_run("r", 101, NULL, NULL);
	kit_task("a", "ready", NULL);
	kit_task("b", "ready", NULL);
	kit_refuse("task_runs", "task_id = 'b'");
	kit_open();
	ck_assert_int_ne(kit_tick(TICK_DISPATCH), 0);
	ck_assert_uint_eq(kit.plan.n_launches, 0);
	ck_list("running,ready,ready", "SELECT status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.turn.running, 1);
	ck_assert_int_eq(kit.caps.turns.running, 1);
}
END_TEST

static sqlite3 *other;

static void lock_the_board(void)
{
	ck_assert_int_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	kit.on_owner = NULL;
}

/* A board that cannot be read for a moment keeps its share: else others would take its places.
 */
START_TEST(a_failed_read_keeps_the_share)
{
	kit_board(0);
	kit_run("r", 101, NULL, NULL);
	kit_task("a", "ready", NULL);
	kit_open();
	ck_assert_str_eq(dispatch(), "a");
	ck_assert_int_eq(kit.turn.running, 2);
	ck_assert_int_eq(sqlite3_open(kit.path, &other), SQLITE_OK);
	kit.on_owner = lock_the_board; /* after the tick's first read, before the lanes */
	ck_assert_int_eq(kit_tick(TICK_DISPATCH), DB_TRANSIENT);
	ck_assert_int_eq(kit.turn.running, 2);
	ck_assert_int_eq(kit.caps.turns.running, 2);
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
}
END_TEST

START_TEST(claimed_by_others_meanwhile)
{
	struct lane_plan lanes = { 0 };

	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_task("b", "ready", NULL);
	kit_open();
	ck_assert_int_eq(lane_find(kit_ctx(), &lanes), 0);
	kit_sql("UPDATE tasks SET claim_lock = 'other:1', status = 'running' WHERE id = 'a'");
	ck_assert_int_eq(lane_commit(kit_ctx(), &lanes), 0);
	lane_plan_deinit(&lanes);
	ck_assert_uint_eq(kit.plan.n_launches, 1);
	ck_assert_str_eq(kit.plan.launches[0].task, "b");
	ck_assert_int_eq(kit.caps.turns.running, 2); /* theirs runs, too */
	ck_list("other:1", "SELECT claim_lock FROM tasks WHERE id = 'a'");
}
END_TEST

START_TEST(hostile_rows)
{
	kit_board(0);
	kit_sql("INSERT INTO tasks (id, title, assignee, status, created_at, priority) VALUES"
		" (NULL, 'x', 'jimmy', 'ready', 1, 1), ('blob', 'x', x'00', 'ready', 'x', "
		"x'FF'),"
		" ('long', 'x', hex(zeroblob(1000000)), 'ready', 1, 1e300),"
		" ('utf', CAST(x'FFFE' AS TEXT), CAST(x'FFFE' AS TEXT), 'ready', -1, 'high'),"
		" ('', 'x', 'jimmy', 'ready', 9223372036854775807, -9223372036854775808)");
	kit_sql("UPDATE tasks SET last_failure_error = hex(zeroblob(3000000))");
	kit_open();
	ck_assert_str_eq(dispatch(), "utf,");
	ck_assert_str_eq(kit_ids(&kit.plan.nonspawnable), "long");
	ck_assert_str_eq(kit_ids(&kit.plan.unassigned), "blob");
}
END_TEST

Suite *test_suite(void)
{
	const int n = sizeof(reviews_held) / sizeof(reviews_held[0]);
	Suite *suite = kit_suite(
		"lane",
		KIT_TESTS(an_assignee_without_a_profile, profile_names, order, who_is_spawnable,
			  default_assignee, caps_of_profiles_count_the_text, budgets,
			  a_place_that_others_took, scheduled_and_held, long_ids_are_held_too,
			  whose_worker_lives_waits, guarded_once, guarded_by_hostile_rows,
			  rejected_claims_give_their_place_back, review_lane,
			  review_lane_is_off, lease_lost_claims_nothing,
			  a_failed_write_gives_the_places_back, a_failed_read_keeps_the_share,
			  claimed_by_others_meanwhile, hostile_rows),
		KIT_TESTS(NULL));
	TCase *tc = kit_tcase(suite, "reviews", NULL, 0);
	TCase *august = kit_tcase_august(suite, "reviews of august");

	tcase_add_loop_test(tc, nothing_is_kept_for_a_review_that_is_held, 0, n);
	tcase_add_loop_test(august, nothing_is_kept_for_a_review_that_is_held, 0, n);
	return suite;
}
