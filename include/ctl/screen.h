/*
 * Text for a terminal. What rows say comes from anybody: control characters could clear the
 * screen or retype a command, direction marks could make one text look like another. Both are
 * shown as what they are.
 */
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
};

/** screen_open() - look at @out: a terminal, how wide, NO_COLOR, TERM=dumb; sets LC_CTYPE */
void screen_open(struct screen *screen, FILE *out);

enum screen_flags {
	SCREEN_LINES = 1 << 0, /* newlines stay, tabs become spaces */
};

/**
 * screen_text() - a printable copy
 * @max_chars: most characters, then an ellipsis; 0: all
 * Control characters become \n, \t, \x1b …; direction marks and other invisible ones \u202e …;
 * invalid bytes \xff.
 * Return: malloc'd; NULL when out of memory.
 */
MUST_CHECK char *screen_text(const char *s, size_t len, size_t max_chars, unsigned flags);

/** screen_put() - screen_text() of @s to @out */
void screen_put(FILE *out, const char *s, size_t len, unsigned flags);

/** screen_width() - columns that @s takes; @s is from screen_text() */
size_t screen_width(const char *s);

/** screen_cut() - bytes of @s that fit into @columns; @used: out, the columns they take */
size_t screen_cut(const char *s, size_t columns, size_t *used);

/** screen_time() - local time "2026-09-01 12:30"; the number where it is none; "-" for 0 */
void screen_time(int64_t t, char out[32]);
