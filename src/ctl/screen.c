#include "ctl/screen.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "util/text.h"

#define SCREEN_WIDTH_MIN 20

void screen_open(struct screen *screen, FILE *out)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR"), *columns;
	struct winsize size;

	/* only for the width of characters; what cannot be had costs alignment, no more */
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		(void)setlocale(LC_CTYPE, "");
	*screen = (struct screen){ 0 };
	if (!isatty(fileno(out)))
		return;
	screen->width = 80;
	columns = getenv("COLUMNS");
	if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		screen->width = size.ws_col;
	else if (columns && atoi(columns) > 0)
		screen->width = (unsigned)atoi(columns);
	if (screen->width < SCREEN_WIDTH_MIN)
		screen->width = SCREEN_WIDTH_MIN;
	screen->colour = !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

/* Characters that are not seen, or that change how others are seen. */
static bool screen_hidden(uint32_t c)
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
static size_t screen_char(uint32_t c, const char *raw, size_t n, unsigned flags, char out[16])
{
	if (c == TEXT_INVALID)
		return (size_t)snprintf(out, 16, "\\x%02x", (unsigned char)raw[0]);
	if ((flags & SCREEN_LINES) && c == '\n') {
		out[0] = '\n';
		return 1;
	}
	if ((flags & SCREEN_LINES) && c == '\t') {
		memcpy(out, "    ", 4);
		return 4;
	}
	if (!screen_hidden(c)) {
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
static bool screen_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] >= 0x7F)
			return false;
	return true;
}

char *screen_text(const char *s, size_t len, size_t max_chars, unsigned flags)
{
	char *text = NULL;
	size_t size = 0, chars = 0;
	FILE *out;
	bool bad;

	if ((max_chars == 0 || len <= max_chars) && screen_plain(s, len))
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
		(void)fwrite(form, 1, screen_char(c, s + i, n, flags, form), out);
		i += n;
	}
	bad = ferror(out) != 0;
	if (fclose(out) != 0 || bad) {
		free(text);
		return NULL;
	}
	return text;
}

void screen_put(FILE *out, const char *s, size_t len, unsigned flags)
{
	for (size_t i = 0; i < len;) {
		char form[16];
		uint32_t c;
		size_t n = text_decode(s + i, len - i, &c);

		/* whoever closes @out looks at its error flag */
		(void)fwrite(form, 1, screen_char(c, s + i, n, flags, form), out);
		i += n;
	}
}

static size_t screen_columns(uint32_t c)
{
	int w = c < 0x7F ? 1 : wcwidth((wchar_t)c);

	return w < 0 ? 1 : (size_t)w;
}

size_t screen_width(const char *s)
{
	size_t len = strlen(s), width = 0;
	uint32_t c;

	for (size_t i = 0; i < len;) {
		i += text_decode(s + i, len - i, &c);
		width += screen_columns(c);
	}
	return width;
}

size_t screen_cut(const char *s, size_t columns, size_t *used)
{
	size_t len = strlen(s), i = 0;

	*used = 0;
	while (i < len) {
		uint32_t c;
		size_t n = text_decode(s + i, len - i, &c), w = screen_columns(c);

		if (*used + w > columns)
			break;
		*used += w;
		i += n;
	}
	return i;
}

void screen_time(int64_t t, char out[32])
{
	time_t when = (time_t)t;
	struct tm tm;

	if (t == 0) {
		(void)snprintf(out, 32, "-");
		return;
	}
	/* years that have no four digits are nobody's time stamp: show what is stored */
	if (!localtime_r(&when, &tm) || tm.tm_year < -900 || tm.tm_year > 8099 ||
	    strftime(out, 32, "%Y-%m-%d %H:%M", &tm) == 0)
		(void)snprintf(out, 32, "%lld", (long long)t);
}
