/*
 * Tables: cells are collected first, then columns are chosen and made to fit the width by
 * libsmartcols.
 */
#include "ctl/table.h"
#include "util/printable.h"

#include <ctype.h>
#include <errno.h>
#include <libsmartcols.h>
#include <stdint.h>
#include <string.h>

#define TABLE_CELL_MAX 1000 /* characters of a cell; more is for --json */
#define TABLE_COLUMNS  16

struct table_text {
	char *text; /* printable, owned */
	enum table_colour colour;
};

struct table {
	const struct table_column *columns;
	size_t n_columns;
	struct table_text *cells; /* row by row */
	size_t n_cells, cap;
};

struct table *table_new(const struct table_column *columns)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = columns;
	while (t->n_columns < TABLE_COLUMNS && columns[t->n_columns].title)
		t->n_columns++;
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
	return NULL;
}

int table_cell(struct table *t, const char *text, size_t len, enum table_colour colour)
{
	struct table_text *cell;

	if (t->n_cells == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct table_text *more = reallocarray(t->cells, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		t->cells = more;
		t->cap = cap;
	}
	cell = &t->cells[t->n_cells];
	cell->text = text ? printable_text(text, len, TABLE_CELL_MAX, 0) : strdup("-");
	if (!cell->text)
		return -ENOMEM;
	cell->colour = colour;
	t->n_cells++;
	return 0;
}

size_t table_rows(const struct table *t)
{
	return (t->n_cells + t->n_columns - 1) / t->n_columns;
}

/* ---- which columns ------------------------------------------------------------------- */

/* Does @name, of @len bytes, mean that column: its title in any case, a dash for a blank */
static bool table_is(const struct table_column *column, const char *name, size_t len)
{
	const char *title = column->title;

	for (size_t i = 0; i < len; i++) {
		char c = name[i] == '-' || name[i] == '_' ? ' ' : name[i];

		if (toupper((unsigned char)c) != title[i] || !title[i])
			return false;
	}
	return title[len] == '\0';
}

/* The columns that "a,b" names, all for NULL and "". @chosen: out, their
 * indices. Return: 0 or -EINVAL */
static int table_select(const struct table *t, const char *names, size_t *chosen, size_t *n,
			struct error *e)
{
	*n = 0;
	while (names && *names) {
		size_t len = strcspn(names, ","), c = 0;

		while (c < t->n_columns && !table_is(&t->columns[c], names, len))
			c++;
		if (c == t->n_columns || *n == TABLE_COLUMNS) {
			(void)error_set(e, -EINVAL, "there is no column %.*s, but", (int)len,
					names);
			for (c = 0; c < t->n_columns; c++)
				(void)error_set(e, -EINVAL, "%s%s %s", e->text,
						c == 0 ? "" : ",", t->columns[c].title);
			return -EINVAL;
		}
		chosen[(*n)++] = c;
		names += len + (names[len] != '\0');
	}
	if (*n == 0)
		for (; *n < t->n_columns; (*n)++)
			chosen[*n] = *n;
	return 0;
}

/* ---- libsmartcols -------------------------------------------------------------------- */

static const char *table_code(enum table_colour colour)
{
	static const char *const codes[] = { NULL,       "\033[1m",  "\033[2m", "\033[31m",
					     "\033[32m", "\033[33m", "\033[36m" };

	return codes[colour];
}

static void table_unref(struct libscols_table **t)
{
	scols_unref_table(*t);
	*t = NULL;
}

static int table_columns(const struct table *t, struct libscols_table *out,
			 const size_t *chosen, size_t n, bool titles)
{
	for (size_t i = 0; i < n; i++) {
		const struct table_column *c = &t->columns[chosen[i]];
		int flags = (c->right ? SCOLS_FL_RIGHT : 0) | (c->min ? SCOLS_FL_TRUNC : 0);
		struct libscols_column *column = scols_table_new_column(
			out, titles ? c->title : "", c->min ? (double)c->min : 1, flags);

		if (!column ||
		    scols_cell_set_color(scols_column_get_header(column), "\033[2m") < 0)
			return -ENOMEM;
	}
	return 0;
}

static int table_lines(const struct table *t, struct libscols_table *out, const size_t *chosen,
		       size_t n)
{
	for (size_t row = 0; row < table_rows(t); row++) {
		struct libscols_line *line = scols_table_new_line(out, NULL);

		for (size_t i = 0; line && i < n; i++) {
			size_t at = row * t->n_columns + chosen[i];
			const struct table_text *cell = &t->cells[at];

			if (at >= t->n_cells)
				continue;
			if (scols_line_set_data(line, i, cell->text) < 0 ||
			    (table_code(cell->colour) &&
			     scols_cell_set_color(scols_line_get_cell(line, i),
						  table_code(cell->colour)) < 0))
				return -ENOMEM;
		}
		if (!line)
			return -ENOMEM;
	}
	return 0;
}

/* As one text, each line after @indent spaces. */
static void table_indented(const char *text, unsigned indent, FILE *out)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		/* whoever closes @out looks at its error flag */
		(void)fprintf(out, "%*s", (int)indent, "");
		(void)fwrite(text, 1, n, out);
		(void)fputc('\n', out);
		text += n + (text[n] == '\n');
	}
}

int table_print(const struct table *t, const struct screen *screen, unsigned indent, FILE *out,
		struct error *e)
{
	CLEANUP(table_unref) struct libscols_table *s = scols_new_table();
	CLEANUP(freep) char *text = NULL;
	size_t chosen[TABLE_COLUMNS], n;
	int r = table_select(t, screen->columns, chosen, &n, e);

	if (r < 0)
		return r;
	r = s ? table_columns(t, s, chosen, n, !screen->no_headings) : -ENOMEM;
	if (r == 0)
		r = table_lines(t, s, chosen, n);
	if (r == 0)
		r = scols_table_set_termforce(s, screen->width > indent
							 ? SCOLS_TERMFORCE_ALWAYS
							 : SCOLS_TERMFORCE_NEVER);
	if (r == 0 && screen->width > indent)
		r = scols_table_set_termwidth(s, screen->width - indent);
	if (r == 0)
		r = scols_table_enable_colors(s, screen->colour);
	if (r == 0)
		r = scols_table_enable_noheadings(s, screen->no_headings);
	/* cells are printable already */
	if (r == 0 && !screen->raw)
		r = scols_table_enable_noencoding(s, 1);
	if (r == 0 && screen->raw)
		r = scols_table_enable_raw(s, 1);
	if (r == 0)
		r = scols_table_set_column_separator(s, screen->raw ? " " : "  ");
	if (r == 0)
		r = scols_print_table_to_string(s, &text);
	if (r != 0)
		return error_set(e, -ENOMEM, "out of memory");
	table_indented(text ? text : "", indent, out);
	return 0;
}

enum table_colour table_colour_of(const char *status)
{
	static const struct {
		const char *status;
		enum table_colour colour;
	} colours[] = {
		{ "running", TABLE_GREEN }, { "ready", TABLE_CYAN },
		{ "blocked", TABLE_RED },   { "review", TABLE_YELLOW },
		{ "triage", TABLE_YELLOW }, { "done", TABLE_DIM },
		{ "archived", TABLE_DIM },
	};

	for (size_t i = 0; status && i < sizeof(colours) / sizeof(colours[0]); i++)
		if (strcmp(colours[i].status, status) == 0)
			return colours[i].colour;
	return TABLE_PLAIN;
}

const char *table_colour_on(const struct screen *screen, enum table_colour colour)
{
	return screen->colour && table_code(colour) ? table_code(colour) : "";
}

const char *table_colour_off(const struct screen *screen, enum table_colour colour)
{
	return screen->colour && colour != TABLE_PLAIN ? "\033[0m" : "";
}
