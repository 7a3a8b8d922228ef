/* Whole numbers as PyYAML (YAML 1.1) reads them: 0x1F, 0b11, 017, 1_000, 1:30, 60.0. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "util/fs.h"

/* Digits of @base up to the end (underscores may stand between), as strtoll would. */
static int yaml_digits(const char *s, int base, int64_t *number)
{
	int64_t n = 0;
	bool any = false;

	for (; *s; s++) {
		int d = isdigit((unsigned char)*s)    ? *s - '0'
			: isxdigit((unsigned char)*s) ? tolower((unsigned char)*s) - 'a' + 10
						      : 99;

		if (*s == '_' && any)
			continue;
		if (d >= base)
			return -EINVAL;
		any = true;
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, d, &n))
			return -ERANGE;
	}
	*number = n;
	return any ? 0 : -EINVAL;
}

/* 1:30 is 90 in YAML 1.1 */
static int yaml_sexagesimal(char *s, int64_t *number)
{
	int64_t n = 0, part = 0;
	char *first = s, *piece;

	while ((piece = strsep(&s, ":"))) {
		int r = yaml_digits(piece, 10, &part);

		if (r < 0)
			return r;
		/* behind the first colon at most two digits, and less than 60 */
		if (piece != first && (part > 59 || strlen(piece) > 2 || strchr(piece, '_')))
			return -EINVAL;
		if (__builtin_mul_overflow(n, 60, &n) || __builtin_add_overflow(n, part, &n))
			return -ERANGE;
	}
	*number = n;
	return 0;
}

int config_yaml_integer(const char *text, int64_t *number)
{
	bool negative = *text == '-';
	CLEANUP(freep) char *s = strdup(text + (negative || *text == '+'));
	char *dot;
	int r;

	if (!s)
		return -ENOMEM;
	/* 60.0 is a number without a fraction */
	dot = strchr(s, '.');
	if (dot && dot > s && dot[1] && dot[1 + strspn(dot + 1, "0")] == '\0')
		*dot = '\0';
	if (s[0] == '0' && s[1] == 'x')
		r = yaml_digits(s + 2 + strspn(s + 2, "_"), 16, number);
	else if (s[0] == '0' && s[1] == 'b')
		r = yaml_digits(s + 2 + strspn(s + 2, "_"), 2, number);
	else if (s[0] == '0' && s[1])
		r = yaml_digits(s, 8, number);
	else if (strchr(s, ':'))
		r = yaml_sexagesimal(s, number);
	else
		r = yaml_digits(s, 10, number);
	if (r == 0 && negative)
		*number = -*number;
	return r;
}
