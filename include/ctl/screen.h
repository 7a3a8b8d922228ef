/* The terminal: how wide it is and what it shows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "util/error.h"

/* What the output is. */
struct screen {
	unsigned width; /* columns; 0: no terminal, lines are as long as they are */
	bool colour;    /* escape sequences are welcome */
	/* of tables: */
	const char *columns; /* "task,title": only these, in that order; NULL: all */
	bool no_headings;    /* without the line of titles */
	bool raw;            /* one blank between cells, blanks in them as \x20: for scripts */
};

/** screen_open() - look at @out: a terminal, how wide, NO_COLOR, TERM=dumb; sets LC_CTYPE */
void screen_open(struct screen *screen, FILE *out);

/** screen_width() - columns that @s takes; @s is from printable_text() */
size_t screen_width(const char *s);

/** screen_cut() - bytes of @s that fit into @columns; @used: out, the columns they take */
size_t screen_cut(const char *s, size_t columns, size_t *used);

/** screen_bytes() - "512B", "1.5M" */
void screen_bytes(int64_t bytes, char out[32]);

/** screen_time() - local time "2026-09-01 12:30"; the number where it is none; "-" for 0 */
void screen_time(int64_t t, char out[32]);
