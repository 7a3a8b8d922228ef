/*
 * What the terminal can show: its width, the columns that a text takes, and spans, sizes and
 * times in the few columns that there are.
 */
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

void screen_bytes(int64_t bytes, char out[32])
{
	static const char units[] = "BKMGTP";
	double n = (double)bytes;
	size_t i = 0;

	for (; n >= 1024 && units[i + 1]; i++)
		n /= 1024;
	(void)snprintf(out, 32, i == 0 || n >= 100 ? "%.0f%c" : "%.1f%c", n, units[i]);
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
