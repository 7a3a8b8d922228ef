/* Commands that are printed to be pasted: whatever they name, a shell sees one word. */
#pragma once

#include "util/error.h"

/**
 * quote_command() - a command line
 * @fmt: %q: a text as one word of the shell; %s: a text as it is, a prefix or a number of ours;
 *       %d: an int; %%
 * Return: malloc'd; NULL when out of memory.
 */
MUST_CHECK char *quote_command(const char *fmt, ...);

/** quote_words() - @words (NULL-terminated) as a command line.  Return: as quote_command() */
MUST_CHECK char *quote_words(const char *const *words);
