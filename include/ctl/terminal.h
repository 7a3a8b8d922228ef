/*
 * A terminal that is used as a whole screen, by ncurses, and is given back as it was, whatever
 * ends us. One at a time: signals need a place to find it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ctl/table.h"
#include "util/error.h"

/* Keys beside characters. */
enum terminal_key {
	TERMINAL_NONE = 0,
	TERMINAL_GONE = -1, /* there will be none any more */
	TERMINAL_UP = 0x1000,
	TERMINAL_DOWN,
	TERMINAL_LEFT,
	TERMINAL_RIGHT,
	TERMINAL_PAGE_UP,
	TERMINAL_PAGE_DOWN,
	TERMINAL_HOME,
	TERMINAL_END,
	TERMINAL_ENTER,
	TERMINAL_ESCAPE,
	TERMINAL_TAB,
	TERMINAL_ERASE,
	TERMINAL_RESIZED,
	TERMINAL_WHEEL_UP,
	TERMINAL_WHEEL_DOWN,
	TERMINAL_CLICK, /* terminal_click() says where */
};

/**
 * terminal_open() - the other screen, no echo, keys at once, the mouse
 * @colour: where the terminal has any
 * Return: 0; -ENOTTY when standard input or output is none; -ENODEV a type of terminal that is
 * not known here; -EBUSY; other -errno.
 */
MUST_CHECK int terminal_open(bool colour);

/** terminal_close() - as it was before */
void terminal_close(void);

/** terminal_key() - a character or enum terminal_key; never waits */
int terminal_key(void);

/** terminal_click() - the row of the last TERMINAL_CLICK */
unsigned terminal_click(void);

/** terminal_ended() - the signal that asks us to end, 0 for none */
int terminal_ended(void);

/** terminal_size() - columns and rows */
void terminal_size(unsigned *columns, unsigned *rows);

/** terminal_clear() - begin a picture: nothing on it */
void terminal_clear(void);

/** terminal_put() - @text, printable, at most @room columns, what is cut ends in …; @marked:
 * the line is chosen */
void terminal_put(unsigned row, unsigned column, const char *text, size_t room,
		  enum table_colour colour, bool marked);

/** terminal_show() - the picture is complete */
void terminal_show(void);
