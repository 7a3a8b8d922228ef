/*
 * Calendar expressions and time zones: what is taken and what is not, and, where
 * systemd-analyze is there, the same answers as systemd's for expressions made at random.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kit/suite.h"
#include "util/calendar.h"
#include "util/zone.h"

#define BASE 1796040000 /* 2026-11-30 12:00:00 UTC, a Monday */

static int64_t utc(const char *text)
{
	struct tm tm = { .tm_mday = 1 };

	ck_assert_msg(strptime(text, "%Y-%m-%d %H:%M:%S", &tm) != NULL, "%s", text);
	return timegm(&tm);
}

/* The @n-th time after @base, or -1 for never; the expression must be taken. */
static int64_t nth(const char *text, int64_t base, int n)
{
	CLEANUP(calendar_freep) struct calendar *c = NULL;
	struct error e = ERROR_NULL;

	ck_assert_msg(calendar_new(&c, text, &e) == 0, "%s", e.text);
	for (int i = 0; i < n; i++)
		if (calendar_next(c, base, &base) == CALENDAR_NEVER)
			return -1;
	return base;
}

static void is(const char *text, const char *first, const char *second)
{
	ck_assert_msg(nth(text, BASE, 1) == utc(first), "%s: first", text);
	ck_assert_msg(nth(text, BASE, 2) == utc(second), "%s: second", text);
}

START_TEST(what_it_means)
{
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	is("12:30", "2026-11-30 12:30:00", "2026-12-01 12:30:00");
	is("Mon", "2026-12-07 00:00:00", "2026-12-14 00:00:00");
	is("Sat-Sun", "2026-12-05 00:00:00", "2026-12-06 00:00:00");
	is("*:0/15", "2026-11-30 12:15:00", "2026-11-30 12:30:00");
	is("*:*:*", "2026-11-30 12:00:01", "2026-11-30 12:00:02");
	is("*-*~01", "2026-12-31 00:00:00", "2027-01-31 00:00:00");
	is("*-*~07/1", "2026-12-25 00:00:00", "2026-12-26 00:00:00");
	is("*-*~5..30/7", "2026-12-06 00:00:00", "2026-12-13 00:00:00");
	is("Mon *-05~07/1", "2027-05-31 00:00:00", "2028-05-29 00:00:00");
	is("*-*-31", "2026-12-31 00:00:00", "2027-01-31 00:00:00");
	is("*-02-29", "2028-02-29 00:00:00", "2032-02-29 00:00:00");
	is("12-24", "2026-12-24 00:00:00", "2027-12-24 00:00:00");
	is("weekly", "2026-12-07 00:00:00", "2026-12-14 00:00:00");
	is("quarterly", "2027-01-01 00:00:00", "2027-04-01 00:00:00");
	is("Mon..Fri 9..17:00,30", "2026-11-30 12:30:00", "2026-11-30 13:00:00");
	is("daily Europe/Berlin", "2026-11-30 23:00:00", "2026-12-01 23:00:00");
	ck_assert_int_eq(nth("@1800000000", BASE, 1), 1800000000);
	ck_assert_int_eq(nth("@1800000000", BASE, 2), -1);
	ck_assert_int_eq(nth("@1800000000 UTC", BASE, 1), 1800000000);
	ck_assert_int_eq(nth("@1800000000 Europe/Berlin", BASE, 1), 1800000000);
	ck_assert_int_eq(nth("*-02-30", BASE, 1), -1);
	ck_assert_int_eq(nth("2026-01-01", BASE, 1), -1);
}
END_TEST

/* Hours that the clock jumps over, and hours that come twice. */
START_TEST(summer_time)
{
	int64_t t;

	ck_assert_int_eq(nth("02:30 Europe/Berlin", utc("2021-03-27 12:00:00"), 1),
			 utc("2021-03-29 00:30:00"));
	ck_assert_int_eq(nth("*:30 Europe/Berlin", utc("2021-03-28 00:10:00"), 2),
			 utc("2021-03-28 01:30:00"));
	t = utc("2020-10-25 00:10:00");
	ck_assert_int_eq(nth("*:15 Europe/Berlin", t, 1), utc("2020-10-25 00:15:00"));
	ck_assert_int_eq(nth("*:15 Europe/Berlin", t, 2), utc("2020-10-25 02:15:00"));
	/* midnight is what Havana leaves out; in years whose rules no parliament changes now */
	ck_assert_int_eq(nth("00:00 America/Havana", utc("2021-03-13 12:00:00"), 1),
			 utc("2021-03-15 04:00:00"));
	/* half an hour of summer time */
	ck_assert_int_eq(nth("02:00..30 Australia/Lord_Howe", utc("2020-10-03 14:00:00"), 1),
			 utc("2020-10-03 15:30:00"));
}
END_TEST

static const char *const refused[] = {
	"",
	" ",
	"12",
	"*",
	"UTC",
	"Fri..Mon",
	"24:00",
	"1:60",
	"1:2:60",
	"2200-1-1",
	"1969-1-1",
	"*-13-1",
	"*-*-32",
	"*-*~29",
	"*/2-*-*",
	"*:*/15",
	"*:0/60",
	"*:5/55",
	"*-*-1/31",
	"*:*:*/0",
	"*-*-10..5",
	"8:5..70",
	"tomorrow",
	"1:2:3:4",
	"1-2-3-4",
	"Mo",
	"Mond",
	"Mon 5",
	"Mon..",
	"Mon,,Tue",
	"Mon 12:00 ",
	" Mon",
	"*-*-1,*",
	"@-5",
	"@5.5",
	"+1:00",
	"12:",
	":30",
	"2027-",
	"2027--1",
	"0x1:00",
	"12:00:00.5",
	"daily Mars",
	"daily ../..",
	"daily /etc/passwd",
	"daily .",
	"99999999999999-1-1",
	"daily Europe",
};

START_TEST(what_is_refused)
{
	struct calendar *c = NULL;
	struct error e = ERROR_NULL;
	char list[400] = "1:";

	ck_assert_int_eq(calendar_new(&c, refused[_i], &e), -EINVAL);
	ck_assert_ptr_null(c);
	ck_assert_msg(strstr(e.text, "is no calendar expression: ") != NULL, "%s", e.text);
	for (int i = 0; i < 59; i++)
		(void)snprintf(list + strlen(list), sizeof(list) - strlen(list), "%d,", i);
	(void)strcat(list, "59");
	ck_assert_int_eq(calendar_new(&c, list, &e), -EINVAL); /* a list of 60 */
	memset(list, ' ', sizeof(list) - 1);
	list[sizeof(list) - 1] = '\0';
	ck_assert_int_eq(calendar_new(&c, list, &e), -EINVAL); /* 399 bytes */
}
END_TEST

/* Every half day of 80 years: the clock that the C library shows, and back. */
static void zone_agrees(const char *name)
{
	CLEANUP(zone_freep) struct zone *zone = NULL;
	struct error e = ERROR_NULL;

	ck_assert_int_eq(setenv("TZ", name, 1), 0);
	tzset();
	ck_assert_msg(zone_new(&zone, name, &e) == 0, "%s", e.text);
	for (int64_t t = utc("1965-01-01 00:00:00"); t < utc("2045-01-01 00:00:00");
	     t += 43211) {
		time_t at = t;
		struct tm want, got;
		int64_t back = 0;

		ck_assert_ptr_nonnull(localtime_r(&at, &want));
		zone_local(zone, t, &got);
		ck_assert_msg(got.tm_gmtoff == want.tm_gmtoff && got.tm_hour == want.tm_hour,
			      "%s at %lld: offset %ld, not %ld", name, (long long)t,
			      got.tm_gmtoff, want.tm_gmtoff);
		ck_assert_int_eq(zone_instant(zone, &got, &back), 0);
		ck_assert_msg(back == t || (back < t && t - back <= 3 * 3600),
			      "%s at %lld: %lld", name, (long long)t, (long long)back);
	}
}

START_TEST(zones_are_those_of_the_library)
{
	static const char *const names[] = { "UTC",
					     "Europe/Berlin",
					     "America/New_York",
					     "Australia/Lord_Howe",
					     "Asia/Kathmandu",
					     "America/Havana",
					     "Africa/Casablanca",
					     "Pacific/Apia",
					     "America/Nuuk",
					     "Asia/Tehran",
					     "Antarctica/Troll",
					     "Etc/GMT+5" };

	zone_agrees(names[_i]);
}
END_TEST

static unsigned seed = 1;

static int rnd(int n)
{
	seed = seed * 1103515245 + 12345;
	return (int)(seed >> 16 & 0x7fff) % n;
}

/* A list, a range, a step or a star with values from @min to @max. */
static void random_field(char *out, size_t size, int min, int max)
{
	int a = min + rnd(max - min + 1), b = a + rnd(max - a + 1);

	/* Some ranges of one value systemd 252 refuses, in seconds or with a step. Not so here.
	 */
	switch (a == b ? 1 : rnd(6)) {
	case 0:
		(void)snprintf(out, size, "*");
		break;
	case 1:
		(void)snprintf(out, size, "%d", a);
		break;
	case 2:
		(void)snprintf(out, size, "%d..%d", a, b);
		break;
	case 3:
		(void)snprintf(out, size, "%d/%d", a, 1 + rnd(max - min + 1));
		break;
	case 4:
		(void)snprintf(out, size, "%d..%d/%d", a, b, 1 + rnd(9));
		break;
	default:
		(void)snprintf(out, size, "%d,%02d", a, b);
	}
}

static void random_expression(char *out, size_t size)
{
	static const char *const days[] = { "",          "",          "Mon ",
					    "sat,Sun ",  "Tue..Fri ", "Mon,Wed-Sat ",
					    "thursday, " };
	static const char *const zones[] = { "", " UTC", " Europe/Berlin",
					     " Australia/Lord_Howe", "" };
	char f[6][24];
	bool from_end = rnd(3) == 0;

	random_field(f[0], sizeof(f[0]), 2026, 2031);
	random_field(f[1], sizeof(f[1]), 1, 12);
	/*
	 * Of days counted from the end systemd 252 takes no longer lists (it takes 3 from their
	 * limit again for each further value), and with a step it misses the first such day of
	 * a month that it comes to from the month before: neither is kept here, so neither is
	 * asked.
	 */
	do
		random_field(f[2], sizeof(f[2]), 1, rnd(2) ? 31 : 28);
	while (from_end && strpbrk(f[2], ",/"));
	random_field(f[3], sizeof(f[3]), 0, 23);
	random_field(f[4], sizeof(f[4]), 0, 59);
	random_field(f[5], sizeof(f[5]), 0, 59);
	(void)snprintf(out, size, "%s%s%s%s%s%s %s:%s:%s%s", days[rnd(7)], rnd(3) ? "*" : f[0],
		       "-", rnd(2) ? "*" : f[1], from_end ? "~" : "-", f[2], f[3], f[4],
		       rnd(2) ? "0" : f[5], zones[rnd(sizeof(zones) / sizeof(zones[0]))]);
}

/*
 * What systemd says: @n times, fewer if it never comes again; -1: refused; -2: it gave up the
 * search, as it does after 1000 steps.
 */
static int systemd_says(const char *text, int64_t base, int64_t *times, int n)
{
	char command[700], line[200];
	int got = 0;
	bool refused_it = false;
	FILE *f;

	(void)snprintf(command, sizeof(command),
		       "TZ=UTC systemd-analyze calendar --iterations=%d --base-time=@%lld '%s' "
		       "2>/dev/null",
		       n, (long long)base, text);
	f = popen(command, "re"); /* the expression is of our own making: no quote in it */
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		char *at = strstr(line, "Next elapse: "), *iter = strstr(line, "Iter");
		/* "Iter. #2: …", since systemd 256 "Iteration #2: …" */
		char *date = at ? at + 13 : iter ? strchr(iter, ':') + 2 : NULL;

		if (strstr(line, "Failed to parse"))
			refused_it = true;
		if (date && strncmp(date, "never", 5) != 0 && got < n)
			times[got++] = utc(date + 4);
	}
	return pclose(f) == 0 ? got : refused_it ? -1 : -2;
}

START_TEST(as_systemd_says)
{
	int taken = 0,
	    rounds = getenv("KANBAND_CALENDAR") ? atoi(getenv("KANBAND_CALENDAR")) : 150;

	if (system("command -v systemd-analyze >/dev/null") != 0) {
		puts("SKIP: systemd-analyze is not here");
		return;
	}
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	for (int i = 0; i < rounds; i++) {
		char text[200];
		int64_t want[3], t = BASE + rnd(30000) * 3600LL;
		CLEANUP(calendar_freep) struct calendar *c = NULL;
		struct error e = ERROR_NULL;
		int n, r;

		random_expression(text, sizeof(text));
		n = systemd_says(text, t, want, 3);
		if (n == -2)
			continue;
		r = calendar_new(&c, text, &e);
		ck_assert_msg((r == 0) == (n >= 0), "%s: systemd %s it: %s", text,
			      n < 0 ? "refuses" : "takes", e.text);
		taken += r == 0;
		for (int k = 0; k < n; k++) {
			ck_assert_msg(calendar_next(c, t, &t) == 0,
				      "%s: never, for the %d-th time", text, k + 1);
			ck_assert_msg(t == want[k], "%s: the %d-th time is %lld, not %lld",
				      text, k + 1, (long long)t, (long long)want[k]);
		}
		if (n >= 0 && n < 3)
			ck_assert_msg(calendar_next(c, t, &t) == CALENDAR_NEVER,
				      "%s: once more", text);
	}
	ck_assert_int_gt(taken, rounds / 3);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("calendar");
	TCase *tc = tcase_create("calendar");

	tcase_add_test(tc, what_it_means);
	tcase_add_test(tc, summer_time);
	tcase_add_loop_test(tc, what_is_refused, 0, sizeof(refused) / sizeof(refused[0]));
	tcase_add_loop_test(tc, zones_are_those_of_the_library, 0, 12);
	tcase_add_test(tc, as_systemd_says);
	suite_add_tcase(s, tc);
	return s;
}
