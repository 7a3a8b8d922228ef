/* Moments and spans as people write them. */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit/suite.h"
#include "util/moment.h"

#define NOW 1796040000 /* 2026-11-30 12:00:00 UTC, a Monday */

static int64_t utc(const char *text)
{
	struct tm tm = { .tm_mday = 1 };

	ck_assert_ptr_nonnull(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
	return timegm(&tm);
}

static void is_at(const char *text, int64_t now, const char *when)
{
	struct error e = ERROR_NULL;
	int64_t at = 0;

	ck_assert_msg(moment_parse(text, now, &at, &e) == 0, "%s", e.text);
	ck_assert_msg(at == utc(when), "%s: %lld", text, (long long)at);
}

static void is(const char *text, const char *when)
{
	is_at(text, NOW, when);
}

START_TEST(moments)
{
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	is("now", "2026-11-30 12:00:00");
	is("+2h", "2026-11-30 14:00:00");
	is("+1h 30min", "2026-11-30 13:30:00");
	is("+1w", "2026-12-07 12:00:00");
	is("@1796040001", "2026-11-30 12:00:01");
	is("1796040001", "2026-11-30 12:00:01");
	is("2026-12-24 10:00", "2026-12-24 10:00:00");
	is("2026-12-24 10:00:07", "2026-12-24 10:00:07");
	is("Thu 2026-12-24", "2026-12-24 00:00:00");
	is("Thursday 2026-12-24 1:02", "2026-12-24 01:02:00");
	is("2026-12-24T10:00", "2026-12-24 10:00:00");
	is("2026-12-24T10:00:05Z", "2026-12-24 10:00:05");
	is("2020-02-29", "2020-02-29 00:00:00");
	is("tomorrow 09:00", "2026-12-01 09:00:00");
	is("today", "2026-11-30 00:00:00");
	is("yesterday 23:59:59", "2026-11-29 23:59:59");
	is("  13:00 ", "2026-11-30 13:00:00");
	is("12:00", "2026-12-01 12:00:00"); /* that is now: the next */
	is("11:00", "2026-12-01 11:00:00");
	is("today 11:00", "2026-11-30 11:00:00");
}
END_TEST

START_TEST(zones)
{
	ck_assert_int_eq(setenv("TZ", "America/New_York", 1), 0); /* 07:00 there */
	is("2026-12-24 10:00", "2026-12-24 15:00:00");
	is("2026-12-24 10:00 UTC", "2026-12-24 10:00:00");
	is("2026-12-24 10:00 Europe/Berlin", "2026-12-24 09:00:00");
	is("08:00", "2026-11-30 13:00:00");
	is("08:00 Europe/Berlin", "2026-12-01 07:00:00");
	/* in Auckland it is the 1st already */
	is("tomorrow 09:00 Pacific/Auckland", "2026-12-01 20:00:00");
	is("2026-12-24T10:00Z", "2026-12-24 10:00:00");
	/* two o'clock comes twice: the first */
	is("2026-11-01 01:30", "2026-11-01 05:30:00");
	is_at("tomorrow", utc("2026-12-31 23:00:00"), "2027-01-01 05:00:00");
}
END_TEST

START_TEST(no_moments)
{
	static const char *const bad[] = { "",
					   " ",
					   "soon",
					   "32:00",
					   "12:60",
					   "Mon",
					   "Mon 09:00",
					   "Fri 2026-12-24",
					   "2026-02-31",
					   "2026-13-01",
					   "2026-12-24 10:00 Mars/Base",
					   "2026-12-24 10:00 UTC UTC",
					   "2026-12-24 10:00 ../x",
					   "10:00 2026-12-24",
					   "+",
					   "+soon",
					   "+infinity",
					   "+nan",
					   "+1e300s",
					   "-5min",
					   "@",
					   "@-1",
					   "@9999999999999",
					   "12345",
					   "1969-01-01",
					   "2026-03-08 02:30 America/New_York" };

	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error e = ERROR_NULL;
		int64_t at;

		ck_assert_msg(moment_parse(bad[i], NOW, &at, &e) == -EINVAL, "%s", bad[i]);
		ck_assert_msg(e.text[0], "%s", bad[i]);
	}
}
END_TEST

START_TEST(of_any_length)
{
	char text[4096];
	int64_t at;

	memset(text, ' ', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	ck_assert_int_eq(moment_parse(text, NOW, &at, NULL), -EINVAL);
}
END_TEST

START_TEST(spans)
{
	static const struct {
		const char *text;
		double seconds;
	} t[] = { { "30", 30 }, { "30s", 30 },       { "2min", 120 }, { "500ms", 0.5 },
		  { "0", 0 },   { "1h 5min", 3900 }, { "", -1 },      { "soon", -1 },
		  { "-1", -1 }, { "1 parsec", -1 } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_msg(moment_span_s(t[i].text) == t[i].seconds, "%s: %g", t[i].text,
			      moment_span_s(t[i].text));
	ck_assert(isinf(moment_span_s("infinity")));
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("moment");
	TCase *tc = tcase_create("moment");

	tcase_add_test(tc, moments);
	tcase_add_test(tc, zones);
	tcase_add_test(tc, no_moments);
	tcase_add_test(tc, of_any_length);
	tcase_add_test(tc, spans);
	suite_add_tcase(s, tc);
	return s;
}
