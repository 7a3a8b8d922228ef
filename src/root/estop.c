/*
 * Reading ESTOP: empty, or JSON {generation, reason, engaged_at, expires_at, allow}. Whatever
 * goes wrong leaves it engaged.
 */
#include "root/estop.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "util/fs.h"
#include "util/json.h"

#define ESTOP_FILE_MAX (64 * 1024)

/* ---- time ---------------------------------------------------------------------------- */

/* @n digits at *@s; -1 if they are not there. */
static int estop_digits(const char **s, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return -1;
		value = value * 10 + (**s - '0');
	}
	return value;
}

static bool estop_char(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

/* Z, +hh, +hhmm or +hh:mm; nothing is UTC. */
static int estop_zone(const char **s, int64_t *offset)
{
	int sign = **s == '-' ? -1 : 1, hours, minutes = 0;

	*offset = 0;
	if (**s == '\0' || estop_char(s, 'Z'))
		return 0;
	if (!estop_char(s, '+') && !estop_char(s, '-'))
		return -EINVAL;
	hours = estop_digits(s, 2);
	if (estop_char(s, ':') || isdigit((unsigned char)**s))
		minutes = estop_digits(s, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return -EINVAL;
	*offset = sign * (hours * 3600 + minutes * 60);
	return 0;
}

/* hh[:mm[:ss[.…]]] */
static int estop_clock(const char **s, struct tm *tm)
{
	tm->tm_hour = estop_digits(s, 2);
	if (estop_char(s, ':') || isdigit((unsigned char)**s)) {
		tm->tm_min = estop_digits(s, 2);
		if (estop_char(s, ':') || isdigit((unsigned char)**s))
			tm->tm_sec = estop_digits(s, 2);
	}
	if (tm->tm_hour < 0 || tm->tm_hour > 23 || tm->tm_min < 0 || tm->tm_min > 59 ||
	    tm->tm_sec < 0 || tm->tm_sec > 59)
		return -EINVAL;
	if (**s == '.' || **s == ',') {
		(*s)++;
		if (!isdigit((unsigned char)**s))
			return -EINVAL;
		while (isdigit((unsigned char)**s))
			(*s)++;
	}
	return 0;
}

/* Has that month such a day? A 30th of February must not count as the 1st of March. */
static bool estop_is_day(const struct tm *tm)
{
	struct tm day = { .tm_year = tm->tm_year,
			  .tm_mon = tm->tm_mon,
			  .tm_mday = tm->tm_mday };

	(void)timegm(&day);
	return day.tm_mday == tm->tm_mday && day.tm_mon == tm->tm_mon;
}

int estop_time(const char *text, int64_t *at)
{
	struct tm tm = { 0 };
	const char *s = text + strspn(text, " \t\r\n");
	int64_t offset = 0;
	bool dashes;

	tm.tm_year = estop_digits(&s, 4) - 1900;
	dashes = estop_char(&s, '-');
	tm.tm_mon = estop_digits(&s, 2) - 1;
	if (dashes && !estop_char(&s, '-'))
		return -EINVAL;
	tm.tm_mday = estop_digits(&s, 2);
	if (tm.tm_year <= -1900 || tm.tm_mon < 0 || tm.tm_mon > 11 || tm.tm_mday < 1 ||
	    !estop_is_day(&tm))
		return -EINVAL;
	if (estop_char(&s, 'T') || estop_char(&s, 't') || (*s == ' ' && isdigit(s[1]) && s++)) {
		if (estop_clock(&s, &tm) < 0 || estop_zone(&s, &offset) < 0)
			return -EINVAL;
	}
	if (s[strspn(s, " \t\r\n")])
		return -EINVAL;
	*at = (int64_t)timegm(&tm) - offset;
	return 0;
}

/* ---- the file ------------------------------------------------------------------------ */

void estop_parse(struct estop *stop, const char *text, size_t len, int64_t now)
{
	CLEANUP(json_freep) json_t *j = NULL;
	const char *expires, *reason;
	int64_t at;

	stop->engaged = true;
	if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
		text += 3;
		len -= 3;
	}
	j = json_loadb(text, len, 0, NULL);
	reason = json_string_value(json_object_get(j, "reason"));
	(void)snprintf(stop->reason, sizeof(stop->reason), "%s", reason ? reason : "");
	expires = json_string_value(json_object_get(j, "expires_at"));
	if (!expires || estop_time(expires, &at) < 0)
		return;
	stop->engaged = at > now;
	stop->until = stop->engaged ? at : 0;
}

/* Return: is there one, engaged or not. */
static bool estop_file(struct estop *stop, const char *folder, int64_t now)
{
	CLEANUP(freep) char *path = fs_path("%s/ESTOP", folder);
	CLEANUP(freep) char *text = NULL;
	struct stat st;
	size_t len = 0;

	*stop = (struct estop){ .engaged = true };
	if (!path)
		return true; /* no memory: it cannot be told */
	(void)snprintf(stop->path, sizeof(stop->path), "%s", path);
	if (lstat(path, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		*stop = (struct estop){ .engaged = false };
		return false;
	}
	if (fs_read_file(path, ESTOP_FILE_MAX, &text, &len) == 0)
		estop_parse(stop, text, len, now);
	return true;
}

void estop_look(struct estop *stop, const char *root, const char *home, int64_t now)
{
	struct estop other;

	(void)estop_file(stop, root, now);
	if (stop->engaged || !home || strcmp(home, root) == 0)
		return;
	if (estop_file(&other, home, now) && other.engaged)
		*stop = other;
}

void estop_sentence(const struct estop *stop, char *out, size_t size)
{
	char until[40] = "";
	time_t at = (time_t)stop->until;
	struct tm tm;

	if (stop->until && gmtime_r(&at, &tm))
		(void)strftime(until, sizeof(until), ", until %Y-%m-%dT%H:%M:%SZ", &tm);
	(void)snprintf(out, size, "paused by %s%s%.150s%s; nothing is started",
		       *stop->path ? stop->path : "ESTOP", *stop->reason ? ": " : "",
		       stop->reason, until);
}
