/* The emergency stop: what lifts it, and that nothing else does. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "kit/suite.h"
#include "root/estop.h"

#define NOW INT64_C(1796083200) /* 2026-12-01T00:00:00Z */

static struct estop parse(const char *text)
{
	struct estop stop = { .engaged = false };

	estop_parse(&stop, text, strlen(text), NOW);
	return stop;
}

START_TEST(times)
{
	static const struct {
		const char *text;
		int64_t at;
	} cases[] = {
		{ "2026-12-01T00:00:00Z", NOW },
		{ "2026-12-01T00:00:00", NOW }, /* no zone: UTC */
		{ "2026-12-01T00:00:00.123456+00:00", NOW },
		{ "2026-12-01T01:30:00+01:30", NOW },
		{ "2026-11-30T19:00-0500", NOW },
		{ "2026-12-01 00:00:00+00", NOW },
		{ "2026-12-01", NOW },
		{ "2028-02-29", NOW + INT64_C(455) * 86400 },
		{ "20261201T000000Z", NOW },
		{ " 2026-12-01T00:00:00Z\n", NOW },
	};
	static const char *const bad[] = {
		"",
		"tomorrow",
		"2026",
		"2026-13-01",
		"2026-12-00",
		"2026-11-31",
		"2026-02-29",
		"0000-01-01",
		"2026-12-01T00:00:60Z",
		"2026-12-01T00:00:00z", /* no part of ISO 8601 as Hermes reads it */
		"2026-12-01T",
		"2026-12-01T25:00",
		"2026-12-01T00:00:00.",
		"2026-12-01T00:00:00+",
		"2026-12-01T00:00:00+99",
		"2026-12-01T00:00:00Zx",
		"1796083200",
		"2026-12-01T00:00:00 UTC",
	};
	int64_t at;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_msg(estop_time(cases[i].text, &at) == 0, "%s", cases[i].text);
		ck_assert_msg(at == cases[i].at, "%s is %lld", cases[i].text, (long long)at);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(estop_time(bad[i], &at) < 0, "%s", bad[i]);
}
END_TEST

START_TEST(only_a_time_that_is_over_lifts_it)
{
	static const char *const engaged[] = {
		"",
		"{",
		"stop",
		"[]",
		"null",
		"{\"expires_at\": null}",
		"{\"expires_at\": 1}",
		"{\"expires_at\": \"soon\"}",
		"{\"expires_at\": \"2026-12-01T00:00:01Z\"}",
		"{\"allow\": [\"x\"], \"reason\": \"r\"}",
	};

	for (size_t i = 0; i < sizeof(engaged) / sizeof(engaged[0]); i++)
		ck_assert_msg(parse(engaged[i]).engaged, "%s", engaged[i]);
	ck_assert(!parse("{\"expires_at\": \"2026-12-01T00:00:00Z\"}").engaged);
	ck_assert(!parse("\xEF\xBB\xBF{\"expires_at\": \"2026-11-30T00:00:00\"}").engaged);
	ck_assert_int_eq(parse("{\"expires_at\": \"2026-12-01T00:00:01Z\"}").until, NOW + 1);
	ck_assert_str_eq(parse("{\"reason\": \"incident\"}").reason, "incident");
}
END_TEST

START_TEST(the_sentence)
{
	struct estop stop = parse("{\"reason\": \"incident\", \"expires_at\": "
				  "\"2026-12-01T00:10:00Z\"}");
	char text[600];

	(void)snprintf(stop.path, sizeof(stop.path), "/r/ESTOP");
	estop_sentence(&stop, text, sizeof(text));
	ck_assert_str_eq(text,
			 "paused by /r/ESTOP: incident, until 2026-12-01T00:10:00Z; nothing "
			 "is started");
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("estop");
	TCase *tc = tcase_create("estop");

	tcase_add_test(tc, times);
	tcase_add_test(tc, only_a_time_that_is_over_lifts_it);
	tcase_add_test(tc, the_sentence);
	suite_add_tcase(suite, tc);
	return suite;
}
