/*
 * Text for a terminal. What rows say comes from anybody: control characters could clear the
 * screen or retype a command, direction marks could make one text look like another. Both are
 * shown as what they are. Everything that kanband and kanbanctl print goes through here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "util/error.h"

enum printable_flags {
	PRINTABLE_LINES = 1 << 0, /* newlines stay, tabs become spaces */
};

/** printable_hidden() - is it not seen, or does it change how others are seen */
bool printable_hidden(uint32_t c);

/**
 * printable_text() - a printable copy
 * @max_chars: most characters, then an ellipsis; 0: all
 * Control characters become \n, \t, \x1b …; direction marks and other invisible ones \u202e …;
 * invalid bytes \xff.
 * Return: malloc'd; NULL when out of memory.
 */
MUST_CHECK char *printable_text(const char *s, size_t len, size_t max_chars, unsigned flags);

/** printable_put() - the same of all of @s to @out; whoever closes @out looks at its error flag
 */
void printable_put(FILE *out, const char *s, size_t len, unsigned flags);
