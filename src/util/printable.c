/* Makes text from anybody safe to show: control characters and direction marks become visible.
 */
#include "util/printable.h"

#include <stdlib.h>
#include <string.h>

#include "util/text.h"

bool printable_hidden(uint32_t c)
{
	static const uint32_t ranges[][2] = {
		{ 0x00, 0x1F },       { 0x7F, 0x9F },       { 0xAD, 0xAD },
		{ 0x61C, 0x61C },     { 0x115F, 0x1160 },   { 0x17B4, 0x17B5 },
		{ 0x180B, 0x180F },   { 0x200B, 0x200C },   { 0x200E, 0x200F },
		{ 0x2028, 0x202E },   { 0x2060, 0x206F },   { 0x3164, 0x3164 },
		{ 0xFEFF, 0xFEFF },   { 0xFFA0, 0xFFA0 },   { 0xFFF0, 0xFFFB },
		{ 0xFFFE, 0xFFFF },   { 0x1BCA0, 0x1BCA3 }, { 0x1D173, 0x1D17A },
		{ 0xE0000, 0xE0FFF },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return c >= 0xE000 && c <= 0xF8FF; /* private use */
}

/* The printable form of the character @c, whose @n bytes are at @raw. */
static size_t printable_char(uint32_t c, const char *raw, size_t n, unsigned flags,
			     char out[16])
{
	if (c == TEXT_INVALID)
		return (size_t)snprintf(out, 16, "\\x%02x", (unsigned char)raw[0]);
	if ((flags & PRINTABLE_LINES) && c == '\n') {
		out[0] = '\n';
		return 1;
	}
	if ((flags & PRINTABLE_LINES) && c == '\t') {
		memcpy(out, "    ", 4);
		return 4;
	}
	if (!printable_hidden(c)) {
		memcpy(out, raw, n);
		return n;
	}
	if (c == '\n' || c == '\t' || c == '\r') {
		out[0] = '\\';
		out[1] = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
		return 2;
	}
	return (size_t)snprintf(out, 16, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
}

/* Nothing in it needs another form */
static bool printable_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] >= 0x7F)
			return false;
	return true;
}

char *printable_text(const char *s, size_t len, size_t max_chars, unsigned flags)
{
	char *text = NULL;
	size_t size = 0, chars = 0;
	FILE *out;
	bool bad;

	if ((max_chars == 0 || len <= max_chars) && printable_plain(s, len))
		return strndup(s, len);
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	for (size_t i = 0; i < len; chars++) {
		char form[16];
		uint32_t c;
		size_t n;

		if (max_chars && chars == max_chars) {
			(void)fputs("…", out); /* a failure shows in ferror() below */
			break;
		}
		n = text_decode(s + i, len - i, &c);
		(void)fwrite(form, 1, printable_char(c, s + i, n, flags, form), out);
		i += n;
	}
	bad = ferror(out) != 0;
	if (fclose(out) != 0 || bad) {
		free(text);
		return NULL;
	}
	return text;
}

void printable_put(FILE *out, const char *s, size_t len, unsigned flags)
{
	for (size_t i = 0; i < len;) {
		char form[16];
		uint32_t c;
		size_t n = text_decode(s + i, len - i, &c);

		/* whoever closes @out looks at its error flag */
		(void)fwrite(form, 1, printable_char(c, s + i, n, flags, form), out);
		i += n;
	}
}
