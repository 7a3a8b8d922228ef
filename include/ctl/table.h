/* Tables that fit the terminal. Cells are made printable when they are added. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "ctl/screen.h"
#include "util/error.h"

enum table_colour {
	TABLE_PLAIN,
	TABLE_BOLD,
	TABLE_DIM,
	TABLE_RED,
	TABLE_GREEN,
	TABLE_YELLOW,
	TABLE_CYAN,
};

struct table_column {
	const char *title;
	bool right;   /* numbers */
	unsigned min; /* columns that it keeps when space is short; 0: it is never cut */
};

struct table;

/** table_new() - @columns borrowed, ended by a NULL title; NULL when out of memory */
MUST_CHECK struct table *table_new(const struct table_column *columns);
struct table *table_free(struct table *table);
DEFINE_FREEP(struct table, table_free)

/**
 * table_cell() - the next cell of the current row; a full row begins the next
 * @text: any bytes; NULL is shown as "-"
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int table_cell(struct table *table, const char *text, size_t len,
			  enum table_colour colour);

/** table_rows() - number of rows begun */
size_t table_rows(const struct table *table);

/**
 * table_print() - title line and rows to @out, each line after @indent spaces; which columns,
 * and whether with titles, @screen says Return: 0; -EINVAL a column that there is not; -ENOMEM.
 */
MUST_CHECK int table_print(const struct table *table, const struct screen *screen,
			   unsigned indent, FILE *out, struct error *e);

/** table_colour_of() - the colour of a task's status */
enum table_colour table_colour_of(const char *status);

/** table_colour_on(), table_colour_off() - escape sequences, "" without colour */
const char *table_colour_on(const struct screen *screen, enum table_colour colour);
const char *table_colour_off(const struct screen *screen, enum table_colour colour);
