/*
 * One tick and the respawn guard: each rule, the order of the rules, and the words.
 */
#include <string.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static void check_guarded(const char *reason)
{
	json_t *board = rig_tick(B);

	ck_spawned(board, "");
	ck_ids(board, "respawn_guarded", T);
	rig_json_is(json_array_get(json_object_get(board, "respawn_guarded"), 0),
		    rig_printf("{\"task\":\"" T "\",\"reason\":\"%s\"}", reason), "guarded");
	ck_event(B, T, "respawn_guarded", "{\"reason\":\"%s\"}", reason);
	ck_sql(B, "ready|-", "SELECT status, claim_lock FROM tasks");
}

static void check_goes_ahead(void)
{
	json_t *board = rig_tick(B);

	ck_ids(board, "respawn_guarded", "");
	ck_spawned(board, T);
}

static void ready(const char *last_error)
{
	rig_board(B, 0);
	rig_add(B, .id = T, .last_failure_error = last_error);
}

/* One that never ran has opened no pull request. */
static void ran_once(const char *last_error)
{
	ready(last_error);
	(void)rig_add_run(B, T, "blocked", 90000);
}

/* ---- rate limit ------------------------------------------------------------------------ */

START_TEST(test_rate_limit_within_the_cooldown)
{
	ready(NULL);
	(void)rig_add_run(B, T, "rate_limited", 200);
	check_guarded("rate_limit_cooldown");
}
END_TEST

/* The cooldown is over: go ahead, whatever the words of the error are. */
START_TEST(test_rate_limit_after_the_cooldown)
{
	ready("rate limit reached, quota exceeded");
	(void)rig_add_run(B, T, "rate_limited", 400);
	check_goes_ahead();
}
END_TEST

START_TEST(test_rate_limit_cooldown_of_the_environment)
{
	rig_env("HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS", "1000");
	ready(NULL);
	(void)rig_add_run(B, T, "rate_limited", 400);
	check_guarded("rate_limit_cooldown");
}
END_TEST

START_TEST(test_rate_limit_cooldown_zero)
{
	rig_env("HERMES_KANBAN_RATE_LIMIT_COOLDOWN_SECONDS", "0");
	ready(NULL);
	(void)rig_add_run(B, T, "rate_limited", 1);
	check_goes_ahead();
}
END_TEST

START_TEST(test_only_the_newest_ended_run_counts)
{
	ready(NULL);
	(void)rig_add_run(B, T, "rate_limited", 200);
	(void)rig_add_run(B, T, "crashed", 100);
	check_goes_ahead();
}
END_TEST

/* ---- words of the last error ----------------------------------------------------------- */

static const struct {
	const char *error;
	bool guarded;
} words[] = {
	{ "quota exceeded", true },
	{ "Quota", true },
	{ "your (QUOTA) is used up", true },
	{ "insufficient_quota", false },
	{ "quotas", false },
	{ "quota2", false },
	{ "rate limit", true },
	{ "Rate-Limit reached", true },
	{ "rate_limit", true },
	{ "ratelimit", true },
	{ "rate limited", false },
	{ "rate  limit", false },
	{ "x_rate_limit", false },
	{ "HTTP 429", true },
	{ "error:429:", true },
	{ "429s", false },
	{ "1429", false },
	{ "4290", false },
	{ "HTTP 403 Forbidden", true },
	{ "(403)", true },
	{ "4031", false },
	{ "auth failed", true },
	{ "no auth", true },
	{ "authenticate first", true },
	{ "you must authorize this", true },
	{ "the author left", false },
	{ "authors", false },
	{ "unauthorized", true },
	{ "Unauthorized!", true },
	{ "forbidden", true },
	{ "forbidden_", false },
	{ "billing", true },
	{ "subscription", true },
	{ "subscriptions", false },
	{ "access denied", true },
	{ "access_denied", true },
	{ "access-denied", false },
	{ "accessdenied", false },
	{ "permission denied", true },
	{ "[Errno 13] Permission denied: '/x'", true },
	{ "permission_denied", true },
	{ "permission-denied", false },
	{ "invalid api key", true },
	{ "invalid_api_key", true },
	{ "Invalid API_key", true },
	{ "invalid apikey", false },
	{ "pid 4711 not alive", false },
	{ "pid 429429 not alive", false },
	{ "elapsed 700s > limit 600s", false },
	{ "", false },
};
#define WORDS (sizeof(words) / sizeof(words[0]))

START_TEST(test_words)
{
	json_t *board;
	char *guarded, *spawned;

	rig_board(B, 0);
	for (size_t i = 0; i < WORDS; i++)
		rig_add(B, .id = rig_printf("t_%08zu", i),
			.last_failure_error = words[i].error);
	board = rig_tick(B);
	guarded = rig_ids(board, "respawn_guarded", false);
	spawned = rig_ids(board, "spawned", false);
	for (size_t i = 0; i < WORDS; i++) {
		const char *id = rig_printf("t_%08zu", i);

		ck_assert_msg(!!strstr(guarded, id) == words[i].guarded,
			      "\"%s\" must %sbe guarded", words[i].error,
			      words[i].guarded ? "" : "not ");
		ck_assert_msg(!!strstr(spawned, id) != words[i].guarded, "\"%s\" must %sstart",
			      words[i].error, words[i].guarded ? "not " : "");
	}
	ck_event(B, "t_00000000", "respawn_guarded", "{\"reason\":\"blocker_auth\"}");
}
END_TEST

/* A crash says nothing about accounts. */
START_TEST(test_words_after_a_crash_do_not_count)
{
	ready("permission denied");
	(void)rig_add_run(B, T, "spawn_failed", 200);
	(void)rig_add_run(B, T, "crashed", 100);
	check_goes_ahead();
}
END_TEST

START_TEST(test_words_after_another_outcome_count)
{
	ready("permission denied");
	(void)rig_add_run(B, T, "crashed", 200);
	(void)rig_add_run(B, T, "spawn_failed", 100);
	check_guarded("blocker_auth");
}
END_TEST

/* ---- recent success -------------------------------------------------------------------- */

START_TEST(test_recent_success)
{
	ready(NULL);
	(void)rig_add_run(B, T, "completed", 1000);
	check_guarded("recent_success");
}
END_TEST

START_TEST(test_success_of_long_ago)
{
	ready(NULL);
	(void)rig_add_run(B, T, "completed", 3700);
	check_goes_ahead();
}
END_TEST

START_TEST(test_recent_success_and_a_later_failure)
{
	/* Any completed run of the last hour, not only the newest one. */
	ready(NULL);
	(void)rig_add_run(B, T, "completed", 1000);
	(void)rig_add_run(B, T, "reclaimed", 500);
	check_guarded("recent_success");
}
END_TEST

static void check_success_cleared_by(const char *kind, int64_t ago, bool cleared)
{
	ready(NULL);
	(void)rig_add_run(B, T, "completed", 1000);
	rig_add_event(B, T, kind, NULL, ago);
	if (cleared)
		check_goes_ahead();
	else
		check_guarded("recent_success");
}

START_TEST(test_success_cleared_by_status)
{
	check_success_cleared_by("status", 500, true);
}
END_TEST

START_TEST(test_success_cleared_by_promoted)
{
	check_success_cleared_by("promoted", 500, true);
}
END_TEST

START_TEST(test_success_cleared_by_unblocked)
{
	check_success_cleared_by("unblocked", 500, true);
}
END_TEST

START_TEST(test_success_cleared_by_reclaimed)
{
	check_success_cleared_by("reclaimed", 500, true);
}
END_TEST

START_TEST(test_success_not_cleared_by_what_was_before)
{
	check_success_cleared_by("promoted", 2000, false);
}
END_TEST

START_TEST(test_success_not_cleared_by_other_kinds)
{
	check_success_cleared_by("commented", 500, false);
}
END_TEST

/* ---- open pull request ----------------------------------------------------------------- */

#define PR "see https://github.com/acme/site/pull/17 please"

START_TEST(test_active_pull_request)
{
	ran_once(NULL);
	rig_add_comment(B, T, PR, 80000);
	check_guarded("active_pr");
}
END_TEST

START_TEST(test_old_pull_request)
{
	ran_once(NULL);
	rig_add_comment(B, T, PR, 90000);
	check_goes_ahead();
}
END_TEST

START_TEST(test_other_addresses_are_no_pull_request)
{
	ran_once(NULL);
	rig_add_comment(B, T, "https://github.com/acme/site/issues/17", 100);
	rig_add_comment(B, T, "https://github.com/acme/site/pulls", 100);
	rig_add_comment(B, T, "https://example.org/acme/site/pull/17", 100);
	rig_add_comment(B, T, "pull/17 in github.com", 100);
	check_goes_ahead();
}
END_TEST

static void check_pr_cleared_by(const char *kind, int64_t ago, bool cleared)
{
	ran_once(NULL);
	rig_add_comment(B, T, PR, 5000);
	rig_add_comment(B, T, PR, 1000);
	rig_add_event(B, T, kind, NULL, ago);
	if (cleared)
		check_goes_ahead();
	else
		check_guarded("active_pr");
}

START_TEST(test_pr_cleared_by_unblocked)
{
	check_pr_cleared_by("unblocked", 500, true);
}
END_TEST

START_TEST(test_pr_cleared_by_review_reopened)
{
	check_pr_cleared_by("review_reopened", 500, true);
}
END_TEST

START_TEST(test_pr_cleared_by_guard_cleared)
{
	check_pr_cleared_by("respawn_guard_cleared", 500, true);
}
END_TEST

START_TEST(test_pr_not_cleared_before_the_newest_comment)
{
	check_pr_cleared_by("unblocked", 3000, false);
}
END_TEST

START_TEST(test_pr_not_cleared_by_promoted)
{
	check_pr_cleared_by("promoted", 500, false);
}
END_TEST

/* At the very second of the comment counts as cleared. */
START_TEST(test_pr_cleared_at_the_same_second)
{
	const int64_t at = rig_now() - 1000;

	ran_once(NULL);
	rig_add_comment(B, T, PR, 0);
	rig_add_event(B, T, "unblocked", NULL, 0);
	rig_sql(B,
		"UPDATE task_comments SET created_at=%lld; UPDATE task_events SET "
		"created_at=%lld",
		at, at);
	check_goes_ahead();
}
END_TEST

/* … which in August makes no difference */
START_TEST(test_pr_of_a_task_that_never_ran)
{
	ready(NULL);
	rig_add_comment(B, T, PR, 1000);
	if (rig.age)
		check_guarded("active_pr");
	else
		check_goes_ahead();
}
END_TEST

static void check_pr_after(const char *kind, const char *payload, bool cleared)
{
	ran_once(NULL);
	rig_add_comment(B, T, PR, 1000);
	rig_add_event(B, T, kind, payload, 500);
	if (cleared)
		check_goes_ahead();
	else
		check_guarded("active_pr");
}

START_TEST(test_pr_cleared_by_changes_requested)
{
	check_pr_after("changes_requested", "{\"reason\": \"x\"}", true);
}
END_TEST

START_TEST(test_pr_cleared_by_a_hand_over)
{
	check_pr_after("assigned", "{\"assignee\": \"jimmy\", \"from\": \"franky\"}", true);
}
END_TEST

static const char *const no_hand_over[] = {
	"{\"assignee\": \"jimmy\", \"from\": \"jimmy\"}",
	"{\"assignee\": \"jimmy\"}",
	"{\"assignee\": \"jimmy\", \"from\": null}",
	"{\"assignee\": \"jimmy\", \"from\": \"x\", \"source\": \"kanban.default_assignee\"}",
	"no JSON",
};

START_TEST(test_pr_not_cleared_by_other_assignments)
{
	check_pr_after("assigned", no_hand_over[_i], false);
}
END_TEST

static void grant(const char *url, int64_t floor)
{
	rig_add_event(B, T, "existing_pr_authorized",
		      rig_printf("{\"task_id\": \"" T "\", \"pr_url\": \"%s\", \"operator\": "
				 "\"ann\", \"run_id_floor\": %lld}",
				 url, (long long)floor),
		      500);
}

#define PR_URL "https://github.com/acme/site/pull/17"

/* Good for one start. */
START_TEST(test_pr_grant_is_consumed)
{
	ran_once(NULL);
	rig_add_comment(B, T, "see " PR_URL, 1000);
	grant(PR_URL, 1);
	check_goes_ahead();
	ck_event(B, T, "existing_pr_authorization_consumed",
		 "{\"pr_url\":\"" PR_URL "\",\"operator\":\"ann\"}");
	ck_assert_int_eq(rig_event_run(B, T, "existing_pr_authorization_consumed"), 2);
	rig_let_go();
	rig_sql(B, "UPDATE tasks SET status='ready', claim_lock=NULL, claim_expires=NULL,"
		   " worker_pid=NULL, current_run_id=NULL;"
		   " UPDATE task_runs SET ended_at=1, outcome='blocked', worker_pid=NULL");
	check_guarded("active_pr");
}
END_TEST

START_TEST(test_pr_grant_for_another_pull_request)
{
	ran_once(NULL);
	rig_add_comment(B, T, "see " PR_URL, 1000);
	grant("https://github.com/acme/site/pull/18", 1);
	check_guarded("active_pr");
}
END_TEST

START_TEST(test_pr_grant_with_several_pull_requests)
{
	ran_once(NULL);
	rig_add_comment(B, T, "https://github.com/acme/site/pull/16 and " PR_URL, 1000);
	grant(PR_URL, 1);
	check_guarded("active_pr");
}
END_TEST

START_TEST(test_pr_grant_below_a_run)
{
	ran_once(NULL);
	rig_add_comment(B, T, "see " PR_URL, 1000);
	grant(PR_URL, 0);
	check_guarded("active_pr");
}
END_TEST

/* ---- the host's fault ------------------------------------------------------------------- */

START_TEST(test_infrastructure_cools_down)
{
	ready("quota exceeded");
	(void)rig_add_run(B, T, "spawn_failed", 200);
	rig_sql(B, "UPDATE task_runs SET metadata='{\"infrastructure\": true}'");
	check_guarded("infrastructure_cooldown");
	rig_sql(B, "UPDATE task_runs SET ended_at=ended_at-200");
	check_guarded("blocker_auth");
}
END_TEST

START_TEST(test_other_spawn_failures_do_not)
{
	ready(NULL);
	(void)rig_add_run(B, T, "spawn_failed", 200);
	rig_sql(B, "UPDATE task_runs SET metadata='{\"failures\": 1}'");
	check_goes_ahead();
}
END_TEST

/* ---- a clock that was set back ---------------------------------------------------------- */

START_TEST(test_times_ahead_hold_nothing)
{
	ran_once(NULL);
	(void)rig_add_run(B, T, "completed", -5000);
	rig_add_comment(B, T, PR, -5000);
	(void)rig_add_run(B, T, "rate_limited", -9000);
	check_goes_ahead();
}
END_TEST

/* ---- order and events ------------------------------------------------------------------ */

START_TEST(test_first_match_wins)
{
	ready("quota exceeded");
	rig_add_comment(B, T, PR, 100);
	(void)rig_add_run(B, T, "completed", 300);
	(void)rig_add_run(B, T, "rate_limited", 200);
	check_guarded("rate_limit_cooldown");
	rig_sql(B, "DELETE FROM task_runs WHERE outcome='rate_limited'");
	check_guarded("blocker_auth");
	rig_sql(B, "UPDATE tasks SET last_failure_error=NULL");
	check_guarded("recent_success");
	rig_sql(B, "UPDATE task_runs SET outcome='blocked'");
	check_guarded("active_pr");
	ck_assert_str_eq(rig_kinds(B, T), "respawn_guarded,respawn_guarded,respawn_guarded,"
					  "respawn_guarded");
}
END_TEST

/* The same reason again within the hour is not written again; the guard holds all the same. */
START_TEST(test_the_same_reason_is_written_once_an_hour)
{
	ready("quota exceeded");
	check_guarded("blocker_auth");
	check_guarded("blocker_auth");
	ck_assert_str_eq(rig_kinds(B, T), "respawn_guarded");
	rig_sql(B, "UPDATE task_events SET created_at=created_at-3700");
	check_guarded("blocker_auth");
	ck_assert_str_eq(rig_kinds(B, T), "respawn_guarded,respawn_guarded");
}
END_TEST

Suite *test_suite(void)
{
	struct rig_ages rate = rig_ages("rate limit", 30);
	struct rig_ages word = rig_ages("words", 60);
	struct rig_ages success = rig_ages("recent success", 30);
	struct rig_ages pr = rig_ages("pull request", 30);
	struct rig_ages order = rig_ages("order", 30);

	rig_ages_test(&rate, test_rate_limit_within_the_cooldown);
	rig_ages_test(&rate, test_rate_limit_after_the_cooldown);
	rig_ages_test(&rate, test_rate_limit_cooldown_of_the_environment);
	rig_ages_test(&rate, test_rate_limit_cooldown_zero);
	rig_ages_test(&rate, test_only_the_newest_ended_run_counts);
	rig_ages_test(&word, test_words);
	rig_ages_test(&word, test_words_after_a_crash_do_not_count);
	rig_ages_test(&word, test_words_after_another_outcome_count);
	rig_ages_test(&success, test_recent_success);
	rig_ages_test(&success, test_success_of_long_ago);
	rig_ages_test(&success, test_recent_success_and_a_later_failure);
	rig_ages_test(&success, test_success_cleared_by_status);
	rig_ages_test(&success, test_success_cleared_by_promoted);
	rig_ages_test(&success, test_success_cleared_by_unblocked);
	rig_ages_test(&success, test_success_cleared_by_reclaimed);
	rig_ages_test(&success, test_success_not_cleared_by_what_was_before);
	rig_ages_test(&success, test_success_not_cleared_by_other_kinds);
	rig_ages_test(&pr, test_active_pull_request);
	rig_ages_test(&pr, test_old_pull_request);
	rig_ages_test(&pr, test_other_addresses_are_no_pull_request);
	rig_ages_test(&pr, test_pr_cleared_by_unblocked);
	rig_ages_test(&pr, test_pr_cleared_by_review_reopened);
	rig_ages_test(&pr, test_pr_cleared_by_guard_cleared);
	rig_ages_test(&pr, test_pr_not_cleared_before_the_newest_comment);
	rig_ages_test(&pr, test_pr_not_cleared_by_promoted);
	rig_ages_test(&pr, test_pr_cleared_at_the_same_second);
	rig_ages_test(&pr, test_pr_of_a_task_that_never_ran);
	rig_ages_test(&pr, test_pr_cleared_by_changes_requested);
	rig_ages_test(&pr, test_pr_cleared_by_a_hand_over);
	tcase_add_loop_test(pr.newer, test_pr_not_cleared_by_other_assignments, 0, 5);
	tcase_add_loop_test(pr.august, test_pr_not_cleared_by_other_assignments, 0, 5);
	rig_ages_test(&pr, test_pr_grant_is_consumed);
	rig_ages_test(&pr, test_pr_grant_for_another_pull_request);
	rig_ages_test(&pr, test_pr_grant_with_several_pull_requests);
	rig_ages_test(&pr, test_pr_grant_below_a_run);
	rig_ages_test(&order, test_infrastructure_cools_down);
	rig_ages_test(&order, test_other_spawn_failures_do_not);
	rig_ages_test(&order, test_times_ahead_hold_nothing);
	rig_ages_test(&order, test_first_match_wins);
	rig_ages_test(&order, test_the_same_reason_is_written_once_an_hour);
	return rig_suite("once: guard", rate.newer, rate.august, word.newer, word.august,
			 success.newer, success.august, pr.newer, pr.august, order.newer,
			 order.august, NULL);
}
