/* UTF-8 from outside: decoded strictly, counted, cut between characters, repaired. */
#include "util/text.h"

#include <string.h>

size_t text_decode(const char *s, size_t len, uint32_t *cp)
{
	const unsigned char *u = (const unsigned char *)s;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = u[0];
	size_t n;

	*cp = c;
	if (c < 0x80)
		return 1;
	n = c >= 0xF0 && c < 0xF5   ? 4
	    : c >= 0xE0 && c < 0xF0 ? 3
	    : c >= 0xC2 && c < 0xE0 ? 2
				    : 0;
	*cp = TEXT_INVALID;
	if (n == 0 || n > len)
		return 1;
	c &= 0x7FU >> n;
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xC0) != 0x80)
			return 1;
		c = c << 6 | (u[i] & 0x3FU);
	}
	if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
		return 1;
	*cp = c;
	return n;
}

/* @cp as UTF-8 into @out; returns the number of bytes, no NUL is added */
static size_t text_encode(uint32_t cp, char out[4])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xC0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xE0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
		out[2] = (char)(0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
	out[3] = (char)(0x80 | (cp & 0x3F));
	return 4;
}

bool text_is_utf8(const char *s, size_t len)
{
	uint32_t cp;

	for (size_t i = 0; i < len;) {
		i += text_decode(s + i, len - i, &cp);
		if (cp == TEXT_INVALID)
			return false;
	}
	return true;
}

size_t text_chars(const char *s, size_t len)
{
	size_t chars = 0;
	uint32_t cp;

	for (size_t i = 0; i < len; chars++)
		i += text_decode(s + i, len - i, &cp);
	return chars;
}

size_t text_cut(const char *s, size_t len, size_t chars)
{
	size_t i = 0;
	uint32_t cp;

	while (i < len && chars-- > 0)
		i += text_decode(s + i, len - i, &cp);
	return i;
}

char *text_repair(const char *s, size_t len, size_t *out_len)
{
	size_t used = 0, bad = 0;
	uint32_t cp;
	char *out;

	for (size_t i = 0; i < len;) {
		i += text_decode(s + i, len - i, &cp);
		bad += cp == TEXT_INVALID;
	}
	out = malloc(len + bad * 2 + 1);
	if (!out)
		return NULL;
	for (size_t i = 0; i < len;) {
		size_t n = text_decode(s + i, len - i, &cp);

		if (cp == TEXT_INVALID)
			used += text_encode(0xFFFD, out + used);
		else {
			memcpy(out + used, s + i, n);
			used += n;
		}
		i += n;
	}
	out[used] = '\0';
	*out_len = used;
	return out;
}

static bool text_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool text_is_blank(const char *s)
{
	return !s || s[strspn(s, " \t\r\n\v\f")] == '\0';
}

void text_strip(const char **s, size_t *len)
{
	while (*len > 0 && text_is_space((*s)[0])) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && text_is_space((*s)[*len - 1]))
		(*len)--;
}

size_t text_clause(const char *s)
{
	const char *end = strstr(s, "; ");

	return end ? (size_t)(end - s) : strlen(s);
}
