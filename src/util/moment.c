/* Reads a moment as people write it: forms of local time, a span from now, or Unix seconds. */
#include "util/moment.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "util/zone.h"

#define MOMENT_MAX        INT64_C(253402300799) /* the end of the year 9999 */
#define MOMENT_TEXT_MAX   160
#define MOMENT_BLANKS     " \t\r\n"
#define MOMENT_UNIX_LEAST 9 /* digits of Unix seconds without an @: 1973 and later */

/* What was written: a date, a time of day, a zone. */
struct moment {
	struct tm tm;
	bool has_date, has_time, has_weekday;
	int weekday;
	int days; /* from that date on: 1 is tomorrow */
	const char *zone;
};

static int moment_bad(const char *text, struct error *e)
{
	return error_set(
		e, -EINVAL,
		"\"%.60s\" is no time: 18:30, \"2026-12-01 08:00\", \"tomorrow "
		"09:00\", +90min or @UNIX seconds, each date with a time zone if it is "
		"not the local one",
		text);
}

/* ---- spans and numbers --------------------------------------------------------------- */

double moment_span_s(const char *text)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = { { "us", 1e-6 },
		      { "usec", 1e-6 },
		      { "ms", 1e-3 },
		      { "msec", 1e-3 },
		      { "s", 1 },
		      { "sec", 1 },
		      { "second", 1 },
		      { "seconds", 1 },
		      { "", 1 },
		      { "m", 60 },
		      { "min", 60 },
		      { "minute", 60 },
		      { "minutes", 60 },
		      { "h", 3600 },
		      { "hr", 3600 },
		      { "hour", 3600 },
		      { "hours", 3600 },
		      { "d", 86400 },
		      { "day", 86400 },
		      { "days", 86400 },
		      { "w", 7 * 86400 },
		      { "week", 7 * 86400 },
		      { "weeks", 7 * 86400 } };
	double sum = 0;

	text += strspn(text, MOMENT_BLANKS);
	if (strncmp(text, "infinity", 8) == 0)
		return INFINITY;
	if (!*text)
		return -1;
	while (*text) {
		char *end;
		double n = strtod(text, &end);
		size_t i = 0, len;

		if (end == text || n < 0)
			return -1;
		end += strspn(end, MOMENT_BLANKS);
		len = strspn(end, "abcdefghijklmnopqrstuvwxyz");
		while (i < sizeof(units) / sizeof(units[0]) &&
		       !(strlen(units[i].name) == len && strncmp(units[i].name, end, len) == 0))
			i++;
		if (i == sizeof(units) / sizeof(units[0]))
			return -1;
		sum += n * units[i].seconds;
		text = end + len;
		text += strspn(text, MOMENT_BLANKS);
	}
	return sum;
}

static bool moment_span(const char *text, int64_t now, int64_t *at)
{
	double s = moment_span_s(text);

	if (!isfinite(s) || s < 0 || s > (double)(MOMENT_MAX - now))
		return false;
	*at = now + (int64_t)s;
	return true;
}

static bool moment_unix(const char *text, size_t least, int64_t *at)
{
	size_t n = strspn(text, "0123456789");

	if (n < least || n > 12 || text[n])
		return false;
	*at = strtoll(text, NULL, 10);
	return *at <= MOMENT_MAX;
}

/* ---- dates --------------------------------------------------------------------------- */

static bool moment_weekday(struct moment *m, const char *word)
{
	static const char *const days[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
					    "Thursday", "Friday", "Saturday" };

	for (int i = 0; i < 7; i++)
		if (strcasecmp(word, days[i]) == 0 ||
		    (strlen(word) == 3 && strncasecmp(word, days[i], 3) == 0)) {
			m->has_weekday = true;
			m->weekday = i;
			return true;
		}
	return false;
}

/* All of @word as @format of strptime(3). */
static bool moment_as(struct moment *m, const char *word, const char *format)
{
	struct tm tm = m->tm;
	const char *end = *word >= '0' && *word <= '9' ? strptime(word, format, &tm) : NULL;

	if (!end || *end)
		return false;
	m->tm = tm;
	return true;
}

static bool moment_date(struct moment *m, const char *word)
{
	static const char *const names[] = { "yesterday", "today", "tomorrow" };
	struct tm day;

	for (int i = 0; i < 3; i++)
		if (strcasecmp(word, names[i]) == 0) {
			m->days = i - 1;
			m->has_date = true;
			return true;
		}
	if (moment_as(m, word, "%Y-%m-%dT%H:%M:%SZ") || moment_as(m, word, "%Y-%m-%dT%H:%MZ")) {
		m->has_time = true;
		m->zone = "UTC";
	} else if (moment_as(m, word, "%Y-%m-%dT%H:%M:%S") ||
		   moment_as(m, word, "%Y-%m-%dT%H:%M")) {
		m->has_time = true;
	} else if (!moment_as(m, word, "%Y-%m-%d")) {
		return false;
	}
	m->has_date = true;
	day = m->tm; /* is there such a day, and is it that day of the week? */
	return timegm(&day) >= 0 && day.tm_mday == m->tm.tm_mday &&
	       (!m->has_weekday || day.tm_wday == m->weekday);
}

/* The words of @text, one after the other. */
static bool moment_words(struct moment *m, char *text, const struct tm *today)
{
	char *rest, *word = strtok_r(text, MOMENT_BLANKS, &rest);

	m->tm = (struct tm){ .tm_year = today->tm_year,
			     .tm_mon = today->tm_mon,
			     .tm_mday = today->tm_mday };
	if (word && moment_weekday(m, word))
		word = strtok_r(NULL, MOMENT_BLANKS, &rest);
	if (word && moment_date(m, word))
		word = strtok_r(NULL, MOMENT_BLANKS, &rest);
	if (word && !m->has_time &&
	    (moment_as(m, word, "%H:%M:%S") || moment_as(m, word, "%H:%M"))) {
		m->has_time = true;
		word = strtok_r(NULL, MOMENT_BLANKS, &rest);
	}
	if (word && !m->zone && ((*word | 0x20) >= 'a' && (*word | 0x20) <= 'z')) {
		m->zone = word;
		word = strtok_r(NULL, MOMENT_BLANKS, &rest);
	}
	return !word && (m->has_date || (m->has_time && !m->has_weekday)) && m->tm.tm_sec < 60;
}

/* "today" is that of the zone, so the last word is looked at first. */
static int moment_zone(const char *text, struct zone **zone, struct error *e)
{
	const char *last = strrchr(text, ' ');

	last = last ? last + 1 : text;
	return zone_new(zone, strchr(last, '/') || strcasecmp(last, "UTC") == 0 ? last : NULL,
			e);
}

static int moment_wall(const char *text, int64_t now, int64_t *at, struct error *e)
{
	CLEANUP(zone_freep) struct zone *zone = NULL;
	struct moment m = { .zone = NULL };
	char copy[MOMENT_TEXT_MAX];
	struct tm today;
	int r = moment_zone(text, &zone, e);

	if (r != 0)
		return r == -ENOMEM ? r : -EINVAL;
	zone_local(zone, now, &today);
	(void)snprintf(copy, sizeof(copy), "%s", text);
	if (!moment_words(&m, copy, &today))
		return moment_bad(text, e);
	if (m.zone) {
		zone = zone_free(zone);
		r = zone_new(&zone, m.zone, e);
		if (r != 0)
			return r == -ENOMEM ? r : -EINVAL;
	}
	m.tm.tm_mday += m.days;
	r = zone_instant(zone, &m.tm, at);
	if (r == 0 && *at <= now && !m.has_date) { /* that is over today */
		m.tm.tm_mday++;
		r = zone_instant(zone, &m.tm, at);
	}
	if (r != 0)
		return error_set(e, -EINVAL,
				 "there is no \"%s\": the clock is put forward over it", text);
	return *at > 0 && *at <= MOMENT_MAX ? 0 : moment_bad(text, e);
}

int moment_parse(const char *text, int64_t now, int64_t *at, struct error *e)
{
	if (strcmp(text, "now") == 0) {
		*at = now;
		return 0;
	}
	if (text[0] == '+')
		return moment_span(text + 1, now, at) ? 0 : moment_bad(text, e);
	if (text[0] == '@')
		return moment_unix(text + 1, 1, at) ? 0 : moment_bad(text, e);
	if (moment_unix(text, MOMENT_UNIX_LEAST, at))
		return 0;
	return strlen(text) < MOMENT_TEXT_MAX ? moment_wall(text, now, at, e)
					      : moment_bad(text, e);
}
