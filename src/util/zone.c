/*
 * The C library knows one time zone per process, and changing it is a change of the environment
 * under the feet of all threads. This reads the same files (TZif, RFC 9636): a list of instants
 * at which the offset changes, and, for the years behind the last of them, a rule in the form
 * of POSIX ("CET-1CEST,M3.5.0,M10.5.0/3").
 *
 * Leap seconds are not counted, as nowhere in Unix time. A file is refused when a count in it
 * does not fit its size.
 */
#include "util/zone.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "util/fs.h"

#define ZONE_FOLDER     "/usr/share/zoneinfo"
#define ZONE_LOCAL      "/etc/localtime"
#define ZONE_FILE_MAX   (256 * 1024)
#define ZONE_HEADER_LEN 44
#define DAY_S           86400

/* When in a year the offset changes: the @week-th (5: last) @weekday of @month, or day @day. */
struct zone_date {
	enum { ZONE_MONTH, ZONE_JULIAN, ZONE_DAY } kind;
	int month, week, weekday, day;
	int time; /* seconds after local midnight, may be negative or past a day */
};

struct zone_rule {
	bool there, summer;       /* is there a rule; does it have two offsets */
	int standard_s, summer_s; /* offsets, seconds east of Greenwich */
	struct zone_date begin, end;
};

struct zone_change {
	int64_t at;
	int offset_s;
};

struct zone {
	struct zone_change *changes;
	size_t n;
	int first_s; /* offset before the first change */
	struct zone_rule rule;
};

static int64_t zone_int(const unsigned char *p, size_t len)
{
	uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;

	for (size_t i = 0; i < len; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

/* The rule. Each reader moves @p and says whether it found what it looked for. */

static bool rule_name(const char **p)
{
	const char *s = *p;

	if (**p == '<') {
		s = strchr(*p, '>');
		if (!s)
			return false;
		*p = s + 1;
		return true;
	}
	while (isalpha((unsigned char)**p))
		(*p)++;
	return *p - s >= 3;
}

static bool rule_number(const char **p, int max, int *out)
{
	int v = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	while (isdigit((unsigned char)**p)) {
		v = v * 10 + *(*p)++ - '0';
		if (v > max)
			return false;
	}
	*out = v;
	return true;
}

/* [+-]hh[:mm[:ss]] in seconds */
static bool rule_time(const char **p, int *out)
{
	int h = 0, m = 0, s = 0, sign = 1;

	if (**p == '-' || **p == '+')
		sign = *(*p)++ == '-' ? -1 : 1;
	if (!rule_number(p, 167, &h))
		return false;
	if (**p == ':' && ((*p)++, !rule_number(p, 59, &m)))
		return false;
	if (**p == ':' && ((*p)++, !rule_number(p, 59, &s)))
		return false;
	*out = sign * (h * 3600 + m * 60 + s);
	return true;
}

static bool rule_date(const char **p, struct zone_date *d)
{
	bool ok;

	*d = (struct zone_date){ .kind = ZONE_DAY, .time = 2 * 3600 };
	if (*(*p)++ != ',')
		return false;
	if (**p == 'M') {
		(*p)++;
		d->kind = ZONE_MONTH;
		ok = rule_number(p, 12, &d->month) && d->month > 0 && *(*p)++ == '.' &&
		     rule_number(p, 5, &d->week) && d->week > 0 && *(*p)++ == '.' &&
		     rule_number(p, 6, &d->weekday);
	} else {
		if (**p == 'J') {
			(*p)++;
			d->kind = ZONE_JULIAN;
		}
		ok = rule_number(p, 365, &d->day);
	}
	if (ok && **p == '/')
		(*p)++, ok = rule_time(p, &d->time);
	return ok;
}

/* @text: what stands between the last two line ends of the file; "" is no rule */
static bool rule_parse(struct zone_rule *rule, const char *text)
{
	const char *p = text;

	*rule = (struct zone_rule){ .there = *p != '\0' };
	if (!rule->there)
		return true;
	if (!rule_name(&p) || !rule_time(&p, &rule->standard_s))
		return false;
	rule->standard_s = -rule->standard_s; /* POSIX counts west of Greenwich */
	if (*p == '\0')
		return true;
	rule->summer = true;
	if (!rule_name(&p))
		return false;
	rule->summer_s = rule->standard_s + 3600;
	if (*p != ',' && *p != '\0') {
		if (!rule_time(&p, &rule->summer_s))
			return false;
		rule->summer_s = -rule->summer_s;
	}
	return rule_date(&p, &rule->begin) && rule_date(&p, &rule->end) && *p == '\0';
}

static bool leap_year(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from 1970-01-01 to that day of the proleptic Gregorian calendar; @month from 1. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	int64_t y = year - 1;
	int64_t leaps = y / 4 - y / 100 + y / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);

	return (year - 1970) * 365 + leaps + before[month - 1] +
	       (month > 2 && leap_year(year)) + day - 1;
}

/* The local second, as if it were UTC, at which @d comes in @year. */
static int64_t date_in(const struct zone_date *d, int64_t year)
{
	int64_t first, day;
	int month = d->month;

	if (d->kind == ZONE_JULIAN) /* 29 February is never counted */
		return (days_from_civil(year, 1, 1) + d->day - 1 +
			(d->day >= 60 && leap_year(year))) *
			       DAY_S +
		       d->time;
	if (d->kind == ZONE_DAY)
		return (days_from_civil(year, 1, 1) + d->day) * DAY_S + d->time;
	first = days_from_civil(year, month, 1);
	day = first + (d->weekday - (first + 4) % 7 + 7) % 7 + (d->week - 1) * 7;
	while (day >= (month == 12 ? days_from_civil(year + 1, 1, 1)
				   : days_from_civil(year, month + 1, 1)))
		day -= 7;
	return day * DAY_S + d->time;
}

static int rule_offset(const struct zone_rule *rule, int64_t at)
{
	struct tm tm;
	time_t t = at + rule->standard_s;
	int64_t begin, end;
	bool in;

	if (!rule->summer || !gmtime_r(&t, &tm))
		return rule->standard_s;
	begin = date_in(&rule->begin, tm.tm_year + 1900) - rule->standard_s;
	end = date_in(&rule->end, tm.tm_year + 1900) - rule->summer_s;
	in = begin < end ? at >= begin && at < end : at >= begin || at < end;
	return in ? rule->summer_s : rule->standard_s;
}

static int zone_offset(const struct zone *zone, int64_t at)
{
	size_t low = 0, high = zone->n;

	if (zone->n == 0 || at < zone->changes[0].at)
		return zone->n == 0 && zone->rule.there ? rule_offset(&zone->rule, at)
							: zone->first_s;
	if (zone->rule.there && at >= zone->changes[zone->n - 1].at)
		return rule_offset(&zone->rule, at);
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (zone->changes[middle].at <= at)
			low = middle;
		else
			high = middle;
	}
	return zone->changes[low].offset_s;
}

/* The counts of a header: how many of what, and how long its data block is. */
struct zone_counts {
	uint32_t utc, std, leaps, changes, types, chars;
};

static bool counts_read(struct zone_counts *c, const unsigned char *p, size_t len)
{
	if (len < ZONE_HEADER_LEN || memcmp(p, "TZif", 4) != 0)
		return false;
	c->utc = (uint32_t)zone_int(p + 20, 4);
	c->std = (uint32_t)zone_int(p + 24, 4);
	c->leaps = (uint32_t)zone_int(p + 28, 4);
	c->changes = (uint32_t)zone_int(p + 32, 4);
	c->types = (uint32_t)zone_int(p + 36, 4);
	c->chars = (uint32_t)zone_int(p + 40, 4);
	return c->types > 0;
}

static size_t counts_bytes(const struct zone_counts *c, size_t word)
{
	return (size_t)c->changes * (word + 1) + (size_t)c->types * 6 + c->chars +
	       (size_t)c->leaps * (word + 4) + c->std + c->utc;
}

/* The data block at @p, whose size was checked. */
static int block_read(struct zone *zone, const struct zone_counts *c, const unsigned char *p,
		      size_t word)
{
	const unsigned char *types = p + (size_t)c->changes * word;
	const unsigned char *table = types + c->changes;

	zone->first_s = (int)zone_int(table, 4);
	zone->changes = calloc(c->changes ? c->changes : 1, sizeof(*zone->changes));
	if (!zone->changes)
		return -ENOMEM;
	for (size_t i = 0; i < c->changes; i++) {
		if (types[i] >= c->types)
			return -EBADMSG;
		zone->changes[i].at = zone_int(p + i * word, word);
		zone->changes[i].offset_s = (int)zone_int(table + types[i] * 6, 4);
		if (i > 0 && zone->changes[i].at <= zone->changes[i - 1].at)
			return -EBADMSG;
	}
	zone->n = c->changes;
	return 0;
}

/* What stands behind the second block: a line end, the rule, a line end. */
static int footer_read(struct zone *zone, const char *p, size_t len)
{
	char rule[128];
	const char *end = len > 1 && *p == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;
	size_t n = end ? (size_t)(end - p - 1) : 0;

	if (!end || n >= sizeof(rule) || memchr(p + 1, '\0', n))
		return -EBADMSG;
	memcpy(rule, p + 1, n);
	rule[n] = '\0';
	return rule_parse(&zone->rule, rule) ? 0 : -EBADMSG;
}

static int zone_parse(struct zone *zone, const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data;
	struct zone_counts c;
	size_t bytes;
	int r;

	if (!counts_read(&c, p, len))
		return -EBADMSG;
	bytes = counts_bytes(&c, 4);
	if (bytes > len - ZONE_HEADER_LEN)
		return -EBADMSG;
	if (p[4] == '\0') /* version 1: 32 bits and no rule */
		return block_read(zone, &c, p + ZONE_HEADER_LEN, 4);
	p += ZONE_HEADER_LEN + bytes;
	len -= ZONE_HEADER_LEN + bytes;
	if (!counts_read(&c, p, len))
		return -EBADMSG;
	bytes = counts_bytes(&c, 8);
	if (bytes > len - ZONE_HEADER_LEN)
		return -EBADMSG;
	r = block_read(zone, &c, p + ZONE_HEADER_LEN, 8);
	return r ? r
		 : footer_read(zone, (const char *)p + ZONE_HEADER_LEN + bytes,
			       len - ZONE_HEADER_LEN - bytes);
}

/* A name leads nowhere but into the folder of zones. */
static bool zone_name_ok(const char *name)
{
	if (*name == '/' || *name == '.' || strstr(name, "..") || strlen(name) > 100)
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_+-/", *p))
			return false;
	return *name != '\0' && name[strlen(name) - 1] != '/';
}

static int zone_read(struct zone *zone, const char *path)
{
	CLEANUP(freep) char *data = NULL;
	size_t len = 0;
	int r = fs_read_file(path, ZONE_FILE_MAX, &data, &len);

	return r ? r : zone_parse(zone, data, len);
}

static int zone_read_named(struct zone *zone, const char *name, struct error *e)
{
	char path[PATH_MAX];
	int r;

	if (strcasecmp(name, "UTC") == 0)
		return 0;
	if (!zone_name_ok(name))
		return error_set(e, -EINVAL, "\"%s\" is no name of a time zone", name);
	(void)snprintf(path, sizeof(path), ZONE_FOLDER "/%s", name);
	r = zone_read(zone, path);
	if (r == -ENOENT || r == -EISDIR || r == -ENOTDIR)
		return error_set(e, -ENOENT,
				 "there is no time zone \"%s\" on this host; timedatectl "
				 "list-timezones lists them",
				 name);
	return r ? error_errno(e, r, "cannot read %s", path) : 0;
}

static int zone_read_local(struct zone *zone)
{
	const char *tz = getenv("TZ");
	int r = -ENOENT;

	if (tz && *tz == ':')
		tz++;
	if (tz && *tz)
		r = zone_read_named(zone, tz, NULL);
	if (r && r != -ENOMEM) {
		free(zone->changes);
		*zone = (struct zone){ .changes = NULL };
		r = zone_read(zone, ZONE_LOCAL);
	}
	if (r && r != -ENOMEM) { /* as the C library: what cannot be read is UTC */
		free(zone->changes);
		*zone = (struct zone){ .changes = NULL };
		r = 0;
	}
	return r;
}

int zone_new(struct zone **out, const char *name, struct error *e)
{
	CLEANUP(zone_freep) struct zone *zone = calloc(1, sizeof(*zone));
	int r;

	if (!zone)
		return -ENOMEM;
	r = name && *name ? zone_read_named(zone, name, e) : zone_read_local(zone);
	if (r)
		return r;
	*out = STEAL(zone);
	return 0;
}

struct zone *zone_free(struct zone *zone)
{
	if (zone)
		free(zone->changes);
	free(zone);
	return NULL;
}

void zone_local(const struct zone *zone, int64_t at, struct tm *local)
{
	int offset = zone_offset(zone, at);
	time_t t = at + offset;

	if (!gmtime_r(&t, local)) /* a year that no int holds */
		*local = (struct tm){ .tm_mday = 1, .tm_year = 70 };
	local->tm_gmtoff = offset;
}

int zone_instant(const struct zone *zone, const struct tm *local, int64_t *at)
{
	int64_t wall = days_from_civil((int64_t)local->tm_year + 1900, local->tm_mon + 1,
				       local->tm_mday) *
			       DAY_S +
		       local->tm_hour * 3600 + local->tm_min * 60 + local->tm_sec;
	/* No offset changes twice in two days, so one of these two is in force then. */
	int64_t early = wall - zone_offset(zone, wall - DAY_S);
	int64_t late = wall - zone_offset(zone, wall + DAY_S);

	*at = early < late ? early : late;
	if (*at + zone_offset(zone, *at) == wall)
		return 0;
	*at = early < late ? late : early;
	return *at + zone_offset(zone, *at) == wall ? 0 : ZONE_SKIPPED;
}
