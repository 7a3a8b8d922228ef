/*
 * Calendar expressions, systemd.time(7): [WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]]
 * [ZONE], or a word such as "weekly", or "@SECONDS".
 *
 * Each field is a list of ranges with a step; no list stands for "any". The next time is found
 * field by field from the year down: the smallest value not below that of the current time; as
 * soon as one rises, all behind it begin anew; where none is left, the field before rises.
 *
 * sd_calendar is not public. tests/unit/test_calendar.c holds this against
 * `systemd-analyze calendar`.
 */
#include "util/calendar.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "util/zone.h"

#define YEAR_MIN   1970
#define YEAR_MAX   2199
#define RANGES_MAX 32 /* of one field; more are refused */

enum field {
	FIELD_YEAR,
	FIELD_MONTH,
	FIELD_DAY,
	FIELD_HOUR,
	FIELD_MINUTE,
	FIELD_SECOND,
	FIELDS
};

static const struct {
	const char *name;
	int min, max;
} fields[FIELDS] = {
	{ "year", YEAR_MIN, YEAR_MAX },
	{ "month", 1, 12 },
	{ "day", 1, 31 },
	{ "hour", 0, 23 },
	{ "minute", 0, 59 },
	{ "second", 0, 59 },
};

struct range {
	int first, last, step; /* last: as written, or the first without a step, or the end */
};

struct calendar {
	struct range ranges[FIELDS][RANGES_MAX];
	unsigned n[FIELDS]; /* 0: any */
	bool from_end;      /* days count back from the end of the month */
	unsigned weekdays;  /* bit 0: Monday; 0: any */
	struct zone *zone;
};

/* Where the reader stands, and whom to tell. */
struct reader {
	const char *text, *p;
	struct error *e;
};

static int reader_bad(struct reader *r, const char *why)
{
	return error_set(r->e, -EINVAL,
			 "\"%s\" is no calendar expression: %s (as in \"Mon..Fri 09:00\", "
			 "\"*-*-01 04:30\", \"hourly\"; see systemd.time(7))",
			 r->text, why);
}

static int reader_bad_value(struct reader *r, enum field f, const char *why)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "%s %s", fields[f].name, why);
	return reader_bad(r, text);
}

static const char *const weekday_names[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
					     "Friday", "Saturday", "Sunday" };

static void skip_blanks(struct reader *r)
{
	r->p += strspn(r->p, " ");
}

/* A weekday, whole or its first three letters; -1: none stands here. */
static int weekday_read(struct reader *r)
{
	size_t len = strspn(r->p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

	for (int i = 0; i < 7; i++)
		if ((len == 3 || len == strlen(weekday_names[i])) &&
		    strncasecmp(r->p, weekday_names[i], len) == 0) {
			r->p += len;
			return i;
		}
	return -1;
}

/* "Mon", "Mon..Fri" or "Mon-Fri" */
static int weekday_range(struct reader *r, struct calendar *c)
{
	int first = weekday_read(r), last = first;

	if (first < 0)
		return reader_bad(r, "a weekday is wanted");
	if (strncmp(r->p, "..", 2) == 0 || *r->p == '-') {
		r->p += *r->p == '-' ? 1 : 2;
		last = weekday_read(r);
		if (last < 0)
			return reader_bad(r, "a range of weekdays has no end");
		if (last < first)
			return reader_bad(r, "a range of weekdays ends before it begins; write "
					     "both parts, as in Sat,Sun,Mon");
	}
	for (int i = first; i <= last; i++)
		c->weekdays |= 1U << i;
	return 0;
}

static int weekdays_read(struct reader *r, struct calendar *c)
{
	const char *begin = r->p;

	if (weekday_read(r) < 0)
		return 0; /* none: a date or a time begins here */
	r->p = begin;
	for (;;) {
		int bad = weekday_range(r, c);

		if (bad)
			return bad;
		if (*r->p == ',')
			r->p++;
		else if (*r->p && *r->p != ' ')
			return reader_bad(r, "weekdays are separated by commas");
		if (*r->p == '\0' || *r->p == ' ')
			break;
	}
	skip_blanks(r);
	return 0;
}

static bool number_read(struct reader *r, int *out)
{
	int v = 0;

	if (!isdigit((unsigned char)*r->p))
		return false;
	while (isdigit((unsigned char)*r->p)) {
		v = v * 10 + *r->p++ - '0';
		if (v > 1000000)
			return false;
	}
	*out = v;
	return true;
}

/* What a list was read as; which field it is, is known only when it was read. */
struct list {
	struct range ranges[RANGES_MAX];
	unsigned n; /* 0: "*" */
};

static int list_range(struct reader *r, struct list *list)
{
	struct range x = { .last = -1, .step = 0 };

	if (list->n == RANGES_MAX)
		return reader_bad(r, "a list is too long");
	if (!number_read(r, &x.first))
		return reader_bad(r, "a number is wanted");
	if (strncmp(r->p, "..", 2) == 0) {
		r->p += 2;
		if (!number_read(r, &x.last))
			return reader_bad(r, "a range has no end");
	}
	if (*r->p == '/') {
		r->p++;
		if (!number_read(r, &x.step) || x.step == 0)
			return reader_bad(r, "a step is a number from 1");
	}
	list->ranges[list->n++] = x;
	return 0;
}

static int list_read(struct reader *r, struct list *list)
{
	list->n = 0;
	if (*r->p == '*') {
		r->p++;
		if (*r->p == '/')
			return reader_bad(r, "a step needs a first value, as in 0/15");
		return 0;
	}
	for (;;) {
		int bad = list_range(r, list);

		if (bad || *r->p != ',')
			return bad;
		r->p++;
	}
}

static int year_full(int year)
{
	return year >= 100 ? year : year < 70 ? year + 2000 : year + 1900;
}

/*
 * A range with both its ends. Counted from the end of a month, the first is the farther one,
 * and a step without an end leads to the last day.
 */
static struct range range_bounds(struct range x, int max, bool from_end)
{
	struct range y = { x.first, x.last, x.step ? x.step : 1 };

	if (x.last < 0)
		y.last = x.step ? max : x.first;
	if (from_end) {
		y.first = x.last < 0 ? x.first : x.last;
		y.last = x.last < 0 && x.step ? 1 : x.first;
	}
	return y;
}

/* @list becomes the values of field @f, if it can have them. */
static int field_set(struct reader *r, struct calendar *c, enum field f,
		     const struct list *list)
{
	/* counted from its end, a month has 28 days at least, and no more are taken */
	bool from_end = f == FIELD_DAY && c->from_end;
	int max = from_end ? 28 : fields[f].max;

	for (unsigned i = 0; i < list->n; i++) {
		struct range x = list->ranges[i];
		int room;

		if (f == FIELD_YEAR) {
			x.first = year_full(x.first);
			x.last = x.last < 0 ? -1 : year_full(x.last);
		}
		if (x.first < fields[f].min || x.first > max)
			return reader_bad_value(r, f, "is out of range");
		if (x.last >= 0 && (x.last < x.first || x.last > fields[f].max))
			return reader_bad_value(r, f,
						"range ends before it begins, or too late");
		if (x.last >= 0 && x.step > 0)
			x.last = x.first + (x.last - x.first) / x.step * x.step;
		if (x.last > max)
			return reader_bad_value(r, f, "range ends too late");
		room = from_end ? x.first - 1 : max - x.first;
		if (x.last < 0 && x.step > room)
			return reader_bad_value(r, f, "step leads out of its range");
		c->ranges[f][i] = range_bounds(x, max, from_end);
	}
	c->n[f] = list->n;
	return 0;
}

static void field_set_one(struct calendar *c, enum field f, int value)
{
	c->ranges[f][0] = (struct range){ value, value, 1 };
	c->n[f] = 1;
}

/* The time of day whose first list was read already. */
static int time_read(struct reader *r, struct calendar *c, const struct list *hours)
{
	struct list list;
	int bad = field_set(r, c, FIELD_HOUR, hours);

	if (bad)
		return bad;
	r->p++; /* the colon */
	bad = list_read(r, &list);
	bad = bad ? bad : field_set(r, c, FIELD_MINUTE, &list);
	if (bad)
		return bad;
	field_set_one(c, FIELD_SECOND, 0);
	if (*r->p != ':')
		return 0;
	r->p++;
	bad = list_read(r, &list);
	if (!bad && *r->p == '.')
		return reader_bad(r, "fractions of a second are not kept here");
	return bad ? bad : field_set(r, c, FIELD_SECOND, &list);
}

/* The date whose first list was read already: "M-D", "M~D", "Y-M-D" or "Y-M~D". */
static int date_read(struct reader *r, struct calendar *c, const struct list *first)
{
	struct list second, third;
	bool three;
	int bad;

	c->from_end = *r->p++ == '~';
	bad = list_read(r, &second);
	if (bad)
		return bad;
	three = !c->from_end && (*r->p == '-' || *r->p == '~');
	if (!three) {
		bad = field_set(r, c, FIELD_MONTH, first);
		return bad ? bad : field_set(r, c, FIELD_DAY, &second);
	}
	c->from_end = *r->p++ == '~';
	bad = list_read(r, &third);
	bad = bad ? bad : field_set(r, c, FIELD_YEAR, first);
	bad = bad ? bad : field_set(r, c, FIELD_MONTH, &second);
	return bad ? bad : field_set(r, c, FIELD_DAY, &third);
}

static void midnight(struct calendar *c)
{
	for (enum field f = FIELD_HOUR; f < FIELDS; f++)
		field_set_one(c, f, 0);
}

/* Date and time of day; either may be missing, not both unless weekdays were there. */
static int fields_read(struct reader *r, struct calendar *c)
{
	struct list list;
	int bad;

	midnight(c);
	if (*r->p == '\0')
		return c->weekdays ? 0 : reader_bad(r, "it is empty");
	bad = list_read(r, &list);
	if (bad)
		return bad;
	if (*r->p == '-' || *r->p == '~') {
		bad = date_read(r, c, &list);
		if (bad || *r->p == '\0')
			return bad;
		if (*r->p != ' ')
			return reader_bad(
				r, "a date is YEAR-MONTH-DAY or MONTH-DAY, then a blank");
		skip_blanks(r);
		if (*r->p == '\0')
			return 0;
		bad = list_read(r, &list);
		if (bad)
			return bad;
	}
	if (*r->p != ':')
		return reader_bad(r, "a time of day is HOUR:MINUTE or HOUR:MINUTE:SECOND");
	bad = time_read(r, c, &list);
	if (!bad && *r->p)
		return reader_bad(r, "something stands behind the time of day");
	return bad;
}

/* "@SECONDS": that instant alone. */
static int epoch_read(struct reader *r, struct calendar *c)
{
	struct tm tm;
	time_t t;
	char *end = NULL;

	r->p++;
	skip_blanks(r);
	if (!isdigit((unsigned char)*r->p))
		return reader_bad(r, "behind @ stands a number of seconds");
	errno = 0;
	t = strtoll(r->p, &end, 10);
	if (errno || *end || !gmtime_r(&t, &tm) || tm.tm_year + 1900 > YEAR_MAX)
		return reader_bad(r,
				  "behind @ stands a number of seconds before the year 2200");
	field_set_one(c, FIELD_YEAR, tm.tm_year + 1900);
	field_set_one(c, FIELD_MONTH, tm.tm_mon + 1);
	field_set_one(c, FIELD_DAY, tm.tm_mday);
	field_set_one(c, FIELD_HOUR, tm.tm_hour);
	field_set_one(c, FIELD_MINUTE, tm.tm_min);
	field_set_one(c, FIELD_SECOND, tm.tm_sec);
	c->zone = zone_free(c->zone); /* a moment is the same in each */
	return zone_new(&c->zone, "UTC", r->e);
}

static const char *word_meaning(const char *word)
{
	static const struct {
		const char *word, *meaning;
	} words[] = {
		{ "minutely", "*-*-* *:*:00" },      { "hourly", "*-*-* *:00:00" },
		{ "daily", "*-*-* 00:00:00" },       { "weekly", "Mon *-*-* 00:00:00" },
		{ "monthly", "*-*-01 00:00:00" },    { "yearly", "*-01-01 00:00:00" },
		{ "annually", "*-01-01 00:00:00" },  { "anually", "*-01-01 00:00:00" },
		{ "quarterly", "*-1,4,7,10-1 0:0" }, { "semiannually", "*-1,7-1 0:0" },
		{ "semi-annually", "*-1,7-1 0:0" },  { "biannually", "*-1,7-1 0:0" },
		{ "bi-annually", "*-1,7-1 0:0" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(word, words[i].word) == 0)
			return words[i].meaning;
	return NULL;
}

/*
 * The last word is a time zone if it begins with a letter and is no weekday and no such word as
 * "weekly"; @text is cut before it.
 */
static int zone_take(struct reader *r, struct calendar *c, char *text)
{
	char *blank = strrchr(text, ' ');
	struct reader word = { .text = r->text, .p = blank ? blank + 1 : text, .e = r->e };
	const char *name = word.p;
	int bad;

	if (!blank || !isalpha((unsigned char)*name) || weekday_read(&word) >= 0)
		return zone_new(&c->zone, NULL, r->e);
	bad = zone_new(&c->zone, name, r->e);
	if (bad == -ENOMEM)
		return bad;
	if (bad)
		return error_prefix(r->e, "\"%s\" is no calendar expression: ", r->text),
		       -EINVAL;
	*blank = '\0';
	return 0;
}

int calendar_new(struct calendar **out, const char *text, struct error *e)
{
	CLEANUP(calendar_freep) struct calendar *c = calloc(1, sizeof(*c));
	char copy[CALENDAR_TEXT_MAX + 1];
	struct reader r = { .text = text, .p = copy, .e = e };
	const char *meaning;
	int bad;

	if (!c)
		return -ENOMEM;
	if (strlen(text) > CALENDAR_TEXT_MAX)
		return error_set(e, -EINVAL, "a calendar expression has at most %d bytes",
				 CALENDAR_TEXT_MAX);
	(void)snprintf(copy, sizeof(copy), "%s", text);
	bad = zone_take(&r, c, copy);
	if (bad)
		return bad;
	if (*copy == '@') {
		bad = epoch_read(&r, c);
	} else {
		meaning = word_meaning(copy);
		if (meaning)
			r.p = meaning;
		bad = weekdays_read(&r, c);
		bad = bad ? bad : fields_read(&r, c);
	}
	if (bad)
		return bad;
	*out = STEAL(c);
	return 0;
}

struct calendar *calendar_free(struct calendar *c)
{
	if (c)
		(void)zone_free(c->zone);
	free(c);
	return NULL;
}

static int month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* The smallest value of @x that is not below @from; -1: none */
static int range_next(const struct range *x, int from)
{
	int v = from <= x->first
			? x->first
			: x->first + (from - x->first + x->step - 1) / x->step * x->step;

	return v <= x->last ? v : -1;
}

/* The same of a whole field, on the date in @now; days may be counted from the month's end. */
static int field_next(const struct calendar *c, enum field f, int from, const int now[FIELDS])
{
	int max =
		f == FIELD_DAY ? month_days(now[FIELD_YEAR], now[FIELD_MONTH]) : fields[f].max;
	int best = -1;

	if (c->n[f] == 0)
		return from <= max ? from : -1;
	for (unsigned i = 0; i < c->n[f]; i++) {
		struct range x = c->ranges[f][i];
		int v;

		if (f == FIELD_DAY && c->from_end)
			x = (struct range){ max + 1 - x.first, max + 1 - x.last, x.step };
		v = range_next(&x, from);
		if (v >= 0 && v <= max && (best < 0 || v < best))
			best = v;
	}
	return best;
}

/* A weekday from days: 1970-01-01 was a Thursday. Monday is 0. */
static int weekday_of(const int now[FIELDS])
{
	struct tm tm = { .tm_year = now[FIELD_YEAR] - 1900,
			 .tm_mon = now[FIELD_MONTH] - 1,
			 .tm_mday = now[FIELD_DAY] };

	(void)timegm(&tm);
	return (tm.tm_wday + 6) % 7;
}

/* Fields @f and below begin anew; the one before has to rise. False: there is none. */
static bool carry(int now[FIELDS], enum field *f)
{
	for (enum field i = *f; i < FIELDS; i++)
		now[i] = fields[i].min;
	if (*f == FIELD_YEAR)
		return false;
	(*f)--;
	now[*f]++;
	return true;
}

/* Move @now to the first matching time that is not before it. False: none comes any more. */
static bool wall_next(const struct calendar *c, int now[FIELDS])
{
	enum field f = FIELD_YEAR;

	while (f < FIELDS) {
		int v = field_next(c, f, now[f], now);

		if (v < 0) {
			if (!carry(now, &f))
				return false;
			continue;
		}
		if (v > now[f]) {
			now[f] = v;
			for (enum field i = f + 1; i < FIELDS; i++)
				now[i] = fields[i].min;
		}
		if (f == FIELD_DAY && c->weekdays && !(c->weekdays >> weekday_of(now) & 1)) {
			now[f]++;
			for (enum field i = f + 1; i < FIELDS; i++)
				now[i] = fields[i].min;
			continue;
		}
		f++;
	}
	return true;
}

int calendar_next(const struct calendar *c, int64_t after, int64_t *next)
{
	struct tm tm;
	int now[FIELDS];

	zone_local(c->zone, after, &tm);
	now[FIELD_YEAR] = tm.tm_year + 1900;
	now[FIELD_MONTH] = tm.tm_mon + 1;
	now[FIELD_DAY] = tm.tm_mday;
	now[FIELD_HOUR] = tm.tm_hour;
	now[FIELD_MINUTE] = tm.tm_min;
	now[FIELD_SECOND] = tm.tm_sec + 1; /* one too many is carried */
	if (now[FIELD_YEAR] < YEAR_MIN)
		for (enum field f = FIELD_YEAR; f < FIELDS; f++)
			now[f] = fields[f].min;
	while (wall_next(c, now)) {
		tm = (struct tm){ .tm_year = now[FIELD_YEAR] - 1900,
				  .tm_mon = now[FIELD_MONTH] - 1,
				  .tm_mday = now[FIELD_DAY],
				  .tm_hour = now[FIELD_HOUR],
				  .tm_min = now[FIELD_MINUTE],
				  .tm_sec = now[FIELD_SECOND] };
		/* Skipped by the clock, or the second showing of an hour whose first is past.
		 */
		if (zone_instant(c->zone, &tm, next) == 0 && *next > after)
			return 0;
		now[FIELD_SECOND]++;
	}
	return CALENDAR_NEVER;
}
