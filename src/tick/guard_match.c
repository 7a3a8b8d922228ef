/*
 * What the respawn guard looks for in texts: words that speak of quota and authentication, and
 * the addresses of pull requests.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tick/guard.h"

#define GUARD_TEXT_MAX 4096 /* how much of a hostile error text is looked at */

/*
 * The blocker words: case-insensitive, whole words where `_` and digits are letters. In a
 * pattern, ' ' stands for exactly one space or '_', '~' for at most one space, '_' or '-'.
 */
static const char *const guard_auth_words[] = {
	"quota",
	"rate~limit",
	"429",
	"403",
	"auth",
	"authenticate",
	"authenticates",
	"authenticated",
	"authenticating",
	"authentication",
	"authorize",
	"authorizes",
	"authorized",
	"authorizing",
	"authorization",
	"authorise",
	"authorises",
	"authorising",
	"authz",
	"authorised",
	"authorisation",
	"unauthorized",
	"unauthorised",
	"unauthenticated",
	"forbidden",
	"billing",
	"subscription",
	"access denied",
	"permission denied",
	"invalid api key",
};

static bool guard_letter(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* How many bytes of @text the pattern matches from its start; 0 = none. */
static size_t guard_match(const char *text, const char *pattern)
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		char c = text[n];

		if (*pattern == '~') {
			n += c == ' ' || c == '_' || c == '-';
		} else if (*pattern == ' ') {
			if (c != ' ' && c != '_')
				return 0;
			n++;
		} else if (tolower((unsigned char)c) == *pattern) {
			n++;
		} else {
			return 0;
		}
	}
	return guard_letter(text[n]) ? 0 : n;
}

bool guard_is_auth(const char *text)
{
	for (size_t i = 0; text[i] && i < GUARD_TEXT_MAX; i++) {
		if (i > 0 && guard_letter(text[i - 1]))
			continue;
		for (size_t w = 0; w < sizeof(guard_auth_words) / sizeof(guard_auth_words[0]);
		     w++)
			if (guard_match(text + i, guard_auth_words[w]))
				return true;
	}
	return false;
}

static size_t guard_segment(const char *p)
{
	size_t n = 0;

	while (isalnum((unsigned char)p[n]) || p[n] == '.' || p[n] == '_' || p[n] == '-')
		n++;
	return n;
}

/* Length of https?://github.com/OWNER/REPO/pull/NUMBER at @p, 0 if it is none. */
static size_t guard_pr_length(const char *p)
{
	const char *q = p;
	size_t n;

	if (strncasecmp(q, "http", 4) != 0)
		return 0;
	q += 4;
	if (*q == 's' || *q == 'S')
		q++;
	if (strncasecmp(q, "://github.com/", 14) != 0)
		return 0;
	q += 14;
	n = guard_segment(q);
	if (n == 0 || q[n] != '/')
		return 0;
	q += n + 1;
	n = guard_segment(q);
	if (n == 0 || strncmp(q + n, "/pull/", 6) != 0)
		return 0;
	q += n + 6;
	n = strspn(q, "0123456789");
	return n ? (size_t)(q + n - p) : 0;
}

const char *guard_find_pr(const char *text, char *url, size_t size)
{
	for (const char *p = strcasestr(text, "http"); p; p = strcasestr(p + 1, "http")) {
		size_t n = guard_pr_length(p);

		if (n > 0) {
			(void)snprintf(url, size, "%.*s", (int)(n < size ? n : size - 1), p);
			return p + n;
		}
	}
	return NULL;
}
