/*
 * A terminal that is used as a whole screen and is given back as it was, whatever ends us.
 * One at a time: signals need a place to find it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

/**
 * terminal_open() - the other screen, no echo, keys at once, no line wrap
 * Return: 0; -ENOTTY when standard input or output is none; -EBUSY; other -errno.
 */
MUST_CHECK int terminal_open(void);

/** terminal_close() - as it was before */
void terminal_close(void);

/** terminal_key() - a key that was pressed, 0 for none, -1 when there will be none any more */
int terminal_key(void);

/** terminal_ended() - the signal that asks us to end, 0 for none */
int terminal_ended(void);

/** terminal_resized() - since the last call: another size, or back from a stop */
bool terminal_resized(void);

/** terminal_size() - columns and rows */
void terminal_size(unsigned *columns, unsigned *rows);

/** terminal_draw() - show @text, of which each line is cut at the edge, and only @rows of them
 */
void terminal_draw(const char *text, size_t len, unsigned rows);
