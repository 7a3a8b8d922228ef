/* The respawn guard: words, pull-request addresses, and the rules in their order. */
#include <stdlib.h>
#include <string.h>

#include "kit/board.h"
#include "tick/guard.h"

/* ---- words --------------------------------------------------------------------------- */

START_TEST(words_that_match)
{
	static const char *const texts[] = {
		"quota",
		"over quota.",
		"QUOTA exceeded",
		"rate limit",
		"rate_limit",
		"rate-limit",
		"ratelimit",
		"Rate Limit",
		"429",
		"HTTP 429",
		"(429)",
		"error=429;",
		"403",
		"auth",
		"auth: failed",
		"authenticate",
		"authentication failed",
		"not authorized",
		"authorization",
		"unauthorized",
		"Forbidden",
		"billing",
		"subscription ended",
		"access denied",
		"access_denied",
		"permission denied",
		"permission_denied",
		"invalid api key",
		"invalid_api_key",
		"invalid api_key",
		"Invalid API Key",
		"\xFFquota\xFF",
		"a\nquota\nb",
		"quota\xC3\xA9",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_msg(guard_is_auth(texts[i]), "%s", texts[i]);
}
END_TEST

START_TEST(words_that_do_not)
{
	static const char *const texts[] = {
		"",
		" ",
		"insufficient_quota",
		"rate limited",
		"rate  limit",
		"rate--limit",
		"quotas",
		"429s",
		"4290",
		"1429",
		"x403",
		"_403",
		"403_",
		"author",
		"author of it",
		"authors",
		"access-denied",
		"access  denied",
		"accessdenied",
		"permission-denied",
		"permissions denied",
		"invalid-api-key",
		"invalid api keys",
		"billings",
		"forbiddenly",
		"rate",
		"limit",
		"invalid",
		"invalid api",
		"access",
		"denied",
		"pid 7 exited with code 1",
		"rat",
		"r",
		"invalid api ke",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		ck_assert_msg(!guard_is_auth(texts[i]), "%s", texts[i]);
}
END_TEST

/* A hostile text costs little: what is far behind is not looked at. */
START_TEST(words_in_huge_texts)
{
	const size_t n = 10000000;
	char *text = malloc(n + 16);

	ck_assert_ptr_nonnull(text);
	memset(text, 'a', n);
	memcpy(text + n, " quota", 7);
	ck_assert(!guard_is_auth(text));
	memcpy(text, "quota ", 6);
	ck_assert(guard_is_auth(text));
	free(text);
}
END_TEST

START_TEST(pull_requests)
{
	static const struct {
		const char *text, *url;
	} cases[] = {
		{ "see https://github.com/a/b/pull/7", "https://github.com/a/b/pull/7" },
		{ "(http://github.com/a-b/c.d_e/pull/123).",
		  "http://github.com/a-b/c.d_e/pull/123" },
		{ "HTTPS://GitHub.com/a/b/pull/1/files", "HTTPS://GitHub.com/a/b/pull/1" },
		{ "http http://x https://github.com/a/b/pull/9",
		  "https://github.com/a/b/pull/9" },
		{ "https://github.com/a/b/pull/\nhttps://github.com/c/d/pull/2",
		  "https://github.com/c/d/pull/2" },
		{ "https://github.com/a/b/issues/7", NULL },
		{ "https://github.com/a/b/pull/", NULL },
		{ "https://github.com/a/b/pull/x", NULL },
		{ "https://github.com//b/pull/1", NULL },
		{ "https://github.com/a//pull/1", NULL },
		{ "https://github.com/a/b/c/pull/1", NULL },
		{ "https://github.org/a/b/pull/1", NULL },
		{ "https://notgithub.com/a/b/pull/1", NULL },
		{ "github.com/a/b/pull/1", NULL },
		{ "ftp://github.com/a/b/pull/1", NULL },
		{ "https://github.com/a b/c/pull/1", NULL },
		{ "https", NULL },
		{ "https://github.com/a", NULL },
		{ "", NULL },
	};
	char url[64], little[8];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool found = guard_find_pr(cases[i].text, url, sizeof(url));

		ck_assert_msg(found == (cases[i].url != NULL), "%s", cases[i].text);
		if (found)
			ck_assert_str_eq(url, cases[i].url);
	}
	ck_assert(guard_find_pr(cases[0].text, little, sizeof(little)));
	ck_assert_str_eq(little, "https:/");
}
END_TEST

/* ---- rules --------------------------------------------------------------------------- */

static int64_t until;

static const char *reason_of(const char *task, const char *error)
{
	const char *reason = "?";

	ck_assert_msg(guard_check(kit_ctx(), &(struct guard_task){ task, error, false },
				  &reason, &until) == 0,
		      "%s", kit.e.text);
	return reason ? reason : "";
}

static void comment(const char *task, const char *body, int64_t at)
{
	kit_sql("INSERT INTO task_comments (task_id, author, body, created_at)"
		" VALUES (%Q, 'a', %Q, %lld)",
		task, body, at);
}

static void fixture_board(void)
{
	kit_board(0);
	kit_open();
}

START_TEST(nothing_holds)
{
	fixture_board();
	ck_assert_str_eq(reason_of("t", NULL), "");
	ck_assert_int_eq(until, 0);
	ck_assert_str_eq(reason_of("", "worker died"), "");
}
END_TEST

START_TEST(rate_limit_cooldown)
{
	fixture_board();
	kit_ended("t", "completed", KIT_NOW - 50, NULL);
	kit_ended("t", "rate_limited", KIT_NOW - 10, NULL);
	ck_assert_str_eq(reason_of("t", "quota"), "rate_limit_cooldown");
	ck_assert_int_eq(until, KIT_NOW + 290);
	kit.rq.now = KIT_NOW + 289;
	ck_assert_str_eq(reason_of("t", NULL), "rate_limit_cooldown");
	/* over: no other rule is asked, neither the words nor the recent success */
	kit.rq.now = KIT_NOW + 290;
	ck_assert_str_eq(reason_of("t", "quota"), "");
	kit.set.rate_limit_cooldown_s = 0;
	kit.rq.now = KIT_NOW - 10;
	ck_assert_str_eq(reason_of("t", "quota"), "");
	/* a newer end takes its place */
	kit_ended("t", "crashed", KIT_NOW, NULL);
	kit.set.rate_limit_cooldown_s = 300;
	kit.rq.now = KIT_NOW;
	ck_assert_str_eq(reason_of("u", NULL), "");
	ck_assert_str_ne(reason_of("t", NULL), "rate_limit_cooldown");
}
END_TEST

START_TEST(blocker_auth)
{
	fixture_board();
	ck_assert_str_eq(reason_of("t", "401 unauthorized"), "blocker_auth");
	ck_assert_int_eq(until, 0);
	kit_ended("t", "spawn_failed", KIT_NOW - 10, NULL);
	ck_assert_str_eq(reason_of("t", "unauthorized"), "blocker_auth");
	/* a crash is no wall */
	kit_ended("t", "crashed", KIT_NOW - 5, NULL);
	ck_assert_str_eq(reason_of("t", "unauthorized"), "");
	/* a run that is still open does not count */
	kit_sql("INSERT INTO task_runs (task_id, status, started_at) VALUES ('u', 'crashed', "
		"1)");
	ck_assert_str_eq(reason_of("u", "unauthorized"), "blocker_auth");
}
END_TEST

START_TEST(recent_success)
{
	static const char *const lift[] = { "status", "promoted", "unblocked", "reclaimed" };

	fixture_board();
	kit_ended("t", "completed", KIT_NOW - 3600, NULL);
	ck_assert_str_eq(reason_of("t", NULL), "recent_success");
	ck_assert_int_eq(until, KIT_NOW + 1);
	kit.rq.now++;
	ck_assert_str_eq(reason_of("t", NULL), "");
	kit.rq.now--;
	kit_event("t", "commented", NULL, KIT_NOW - 5);
	kit_event("u", "unblocked", NULL, KIT_NOW - 5);
	kit_event("t", "unblocked", NULL, KIT_NOW - 3601);
	ck_assert_str_eq(reason_of("t", NULL), "recent_success");
	for (size_t i = 0; i < 4; i++) {
		kit_event("t", lift[i], NULL, KIT_NOW - 3600);
		ck_assert_str_eq(reason_of("t", NULL), "");
		kit_sql("DELETE FROM task_events WHERE kind = %Q AND created_at > %lld",
			lift[i], KIT_NOW - 3601);
		ck_assert_str_eq(reason_of("t", NULL), "recent_success");
	}
}
END_TEST

START_TEST(active_pr)
{
	static const char *const lift[] = { "unblocked", "review_reopened",
					    "respawn_guard_cleared" };

	fixture_board();
	kit_ended("t", "blocked", KIT_NOW - 90000, NULL); /* it ran */
	comment("t", "https://github.com/a/b/pull/1", KIT_NOW - 86400);
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
	ck_assert_int_eq(until, KIT_NOW + 1);
	kit.rq.now++;
	ck_assert_str_eq(reason_of("t", NULL), "");
	comment("t", "no address: github.com/x/pull/ or so", KIT_NOW - 1);
	ck_assert_str_eq(reason_of("t", NULL), "");
	comment("t", "https://github.com/a/b/pull/2", KIT_NOW - 100);
	for (size_t i = 0; i < 3; i++) {
		kit_event("t", lift[i], NULL, KIT_NOW - 101);
		ck_assert_str_eq(reason_of("t", NULL), "active_pr");
		kit_event("t", lift[i], NULL, KIT_NOW - 100);
		ck_assert_str_eq(reason_of("t", NULL), "");
		kit_sql("DELETE FROM task_events");
	}
	kit_event("t", "promoted", NULL, KIT_NOW);
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
}
END_TEST

START_TEST(pr_state_is_asked_where_configured)
{
	fixture_board();
	kit_ended("t", "blocked", KIT_NOW - 90000, NULL); /* it ran */
	comment("t", "https://github.com/a/b/pull/1", KIT_NOW - 1);
	kit.pr_state = 0;
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
	ck_assert_uint_eq(kit.pr_asked, 0);
	kit.set.guard_check_pr_state = true;
	ck_assert_str_eq(reason_of("t", NULL), "");
	ck_assert_uint_eq(kit.pr_asked, 1);
	kit.pr_state = 1;
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
	kit.pr_state = -1; /* unknown keeps the guard */
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
	kit.host.pr_open = NULL;
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
}
END_TEST

START_TEST(the_order_of_rules)
{
	fixture_board();
	kit_ended("t", "blocked", KIT_NOW - 90000, NULL); /* it ran */
	comment("t", "https://github.com/a/b/pull/1", KIT_NOW - 1);
	ck_assert_str_eq(reason_of("t", NULL), "active_pr");
	kit_ended("t", "completed", KIT_NOW - 30, NULL);
	ck_assert_str_eq(reason_of("t", NULL), "recent_success");
	ck_assert_str_eq(reason_of("t", "403"), "blocker_auth");
	kit_ended("t", "rate_limited", KIT_NOW - 20, NULL);
	ck_assert_str_eq(reason_of("t", "403"), "rate_limit_cooldown");
}
END_TEST

/* What time alone would end, unblocking and retrying end at once; a later failure counts anew,
 * and --once leaves it to Hermes's rules. */
START_TEST(released_by_hand)
{
	fixture_board();
	kit.rq.once = false;
	kit_ended("t", "rate_limited", KIT_NOW - 10, NULL);
	kit_event("t", "rate_limited", NULL, KIT_NOW - 10);
	ck_assert_str_eq(reason_of("t", NULL), "rate_limit_cooldown");
	kit_event("t", "unblocked", NULL, KIT_NOW);
	ck_assert_str_eq(reason_of("t", NULL), "");
	kit.rq.once = true;
	ck_assert_str_eq(reason_of("t", NULL), "rate_limit_cooldown");
	kit.rq.once = false;
	kit_event("t", "spawn_failed", NULL, KIT_NOW);
	kit_ended("t", "spawn_failed", KIT_NOW - 5, NULL);
	kit_sql("UPDATE task_runs SET metadata = '{\"infrastructure\": true}'");
	ck_assert_str_eq(reason_of("t", NULL), "infrastructure_cooldown");
	/* cleared for one pull request is not tried again */
	kit_event("t", "respawn_guard_cleared", "{\"reason\": \"operator\"}", KIT_NOW);
	ck_assert_str_eq(reason_of("t", NULL), "infrastructure_cooldown");
	kit_event("t", "respawn_guard_cleared", "{\"reason\": \"retry\"}", KIT_NOW);
	ck_assert_str_eq(reason_of("t", NULL), "");
	kit_event("u", "completed", NULL, KIT_NOW);
	kit_ended("u", "completed", KIT_NOW, NULL);
	ck_assert_str_eq(reason_of("u", NULL), "recent_success");
	kit_event("u", "respawn_guard_cleared", "{\"reason\": \"retry\"}", KIT_NOW);
	ck_assert_str_eq(reason_of("u", NULL), "");
}
END_TEST

START_TEST(hostile_rows)
{
	fixture_board();
	kit_sql("INSERT INTO task_runs (task_id, status, started_at, ended_at, outcome) VALUES"
		" ('t', 'x', 'then', 'now', x'FF00'), ('t', 'x', 1, 9223372036854775807, NULL),"
		" ('t', 'x', 1, -9223372036854775808, 'completed')");
	ck_assert_str_eq(reason_of("t", "403"), "blocker_auth");
	ck_assert_str_eq(reason_of("t", NULL), "");
	kit_sql("INSERT INTO task_runs (task_id, status, started_at, ended_at, outcome) VALUES"
		" ('u', 'x', 1, 'zz', 'rate_limited'), ('v', 'x', 1, 9223372036854775807,"
		" 'rate_limited'), ('w', 'x', 1, 9223372036854775807, 'completed')");
	ck_assert_str_eq(reason_of("u", NULL), ""); /* text counts as 0, long ago */
	/* what lies ahead is of a clock that was set back since */
	ck_assert_str_eq(reason_of("v", NULL), "");
	ck_assert_str_eq(reason_of("w", NULL), "");
	kit_sql("INSERT INTO task_comments (task_id, author, body, created_at) VALUES"
		" ('t', 'a', x'00687474703A2F2F6769746875622E636F6D2F612F622F70756C6C2F31', "
		"%lld),"
		" ('t', 'a', hex(zeroblob(2000000)), %lld)",
		KIT_NOW, KIT_NOW);
	ck_assert_str_eq(reason_of("t", NULL), "");
}
END_TEST

/* ---- news ---------------------------------------------------------------------------- */

static bool news(const char *reason)
{
	bool is = false;

	ck_assert_int_eq(guard_is_news(kit_ctx(), "t", reason, &is), 0);
	return is;
}

START_TEST(is_news)
{
	fixture_board();
	ck_assert(news("active_pr"));
	kit_event("t", "respawn_guarded", "{\"reason\": \"active_pr\"}", KIT_NOW - 3599);
	ck_assert(!news("active_pr"));
	ck_assert(news("blocker_auth"));
	kit.rq.now++;
	ck_assert(news("active_pr"));
	kit.rq.now--;
	kit_event("t", "respawn_guarded", "not json", KIT_NOW);
	ck_assert(news("active_pr"));
	kit_event("t", "respawn_guarded", NULL, KIT_NOW);
	ck_assert(news("active_pr"));
	kit_event("t", "respawn_guarded", "{\"reason\": 7}", KIT_NOW);
	ck_assert(news("active_pr"));
	kit_event("t", "respawn_guarded", "{\"reason\": \"blocker_auth\"}", KIT_NOW);
	kit_event("u", "respawn_guarded", "{\"reason\": \"active_pr\"}", KIT_NOW);
	ck_assert(!news("blocker_auth"));
}
END_TEST

KIT_SUITE_AGES("guard",
	       KIT_TESTS(words_that_match, words_that_do_not, words_in_huge_texts,
			 pull_requests, nothing_holds, rate_limit_cooldown, blocker_auth,
			 recent_success, active_pr, pr_state_is_asked_where_configured,
			 the_order_of_rules, released_by_hand, hostile_rows, is_news),
	       KIT_TESTS(NULL))
