#include "ctl/table.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define TABLE_GAP      2    /* columns between cells */
#define TABLE_CELL_MAX 1000 /* characters of a cell; more is for --json */
#define TABLE_COLUMNS  16

struct table_text {
	const char *text; /* printable, owned but for titles */
	size_t width;     /* columns it takes */
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
		free((void *)(uintptr_t)t->cells[i].text);
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
	cell->text = text ? screen_text(text, len, TABLE_CELL_MAX, 0) : strdup("-");
	if (!cell->text)
		return -ENOMEM;
	cell->width = screen_width(cell->text);
	cell->colour = colour;
	t->n_cells++;
	return 0;
}

size_t table_rows(const struct table *t)
{
	return (t->n_cells + t->n_columns - 1) / t->n_columns;
}

/* Take columns away from the widest cell that may be cut until the line fits. */
static void table_fit(const struct table *t, size_t *widths, size_t room)
{
	for (;;) {
		size_t total = TABLE_GAP * (t->n_columns - 1), widest = SIZE_MAX;

		for (size_t c = 0; c < t->n_columns; c++) {
			total += widths[c];
			if (t->columns[c].min > 0 && widths[c] > t->columns[c].min &&
			    (widest == SIZE_MAX || widths[c] >= widths[widest]))
				widest = c;
		}
		if (total <= room || widest == SIZE_MAX)
			return;
		widths[widest]--;
	}
}

static void table_spaces(FILE *out, size_t n)
{
	while (n-- > 0)
		(void)fputc(' ', out); /* whoever closes @out looks at its error flag */
}

/* One cell. @owed: spaces that are only written once something follows them on the line. */
static void table_put(const struct table *t, const struct screen *screen, size_t c,
		      const struct table_text *cell, size_t room, size_t *owed, FILE *out)
{
	bool cut = cell->width > room;
	size_t used = cell->width, n = strlen(cell->text);

	if (cut)
		n = screen_cut(cell->text, room - 1, &used);
	used += cut;
	if (t->columns[c].right)
		*owed += room - used;
	if (n > 0 || cut) {
		table_spaces(out, *owed);
		*owed = 0;
		(void)fputs(table_colour_on(screen, cell->colour), out);
		(void)fwrite(cell->text, 1, n, out);
		if (cut)
			(void)fputs("…", out);
		(void)fputs(table_colour_off(screen, cell->colour), out);
	}
	*owed += TABLE_GAP + (t->columns[c].right ? 0 : room - used);
}

static void table_line(const struct table *t, const struct screen *screen, unsigned indent,
		       const struct table_text *cells, size_t n, const size_t *widths,
		       FILE *out)
{
	size_t owed = indent;

	for (size_t c = 0; c < n; c++)
		table_put(t, screen, c, &cells[c], widths[c], &owed, out);
	(void)fputc('\n', out);
}

void table_print(const struct table *t, const struct screen *screen, unsigned indent, FILE *out)
{
	struct table_text titles[TABLE_COLUMNS];
	size_t widths[TABLE_COLUMNS] = { 0 };

	if (t->n_columns == 0)
		return;
	for (size_t c = 0; c < t->n_columns; c++) {
		titles[c] = (struct table_text){ t->columns[c].title,
						 screen_width(t->columns[c].title), TABLE_DIM };
		widths[c] = titles[c].width;
	}
	for (size_t i = 0; i < t->n_cells; i++)
		if (t->cells[i].width > widths[i % t->n_columns])
			widths[i % t->n_columns] = t->cells[i].width;
	if (screen->width > indent)
		table_fit(t, widths, screen->width - indent);
	table_line(t, screen, indent, titles, t->n_columns, widths, out);
	for (size_t i = 0; i < t->n_cells; i += t->n_columns)
		table_line(t, screen, indent, t->cells + i,
			   t->n_cells - i < t->n_columns ? t->n_cells - i : t->n_columns,
			   widths, out);
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
	static const char *const codes[] = { "",         "\033[1m",  "\033[2m", "\033[31m",
					     "\033[32m", "\033[33m", "\033[36m" };

	return screen->colour ? codes[colour] : "";
}

const char *table_colour_off(const struct screen *screen, enum table_colour colour)
{
	return screen->colour && colour != TABLE_PLAIN ? "\033[0m" : "";
}
