/* The picture of top: three lines about the root, the list or a page, one line of what can be
 * done. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "ctl/terminal.h"
#include "ctl/top.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/printable.h"

#define TOP_GAP        2
#define TOP_HEAD_LINES 4

/* ---- the head ------------------------------------------------------------------------ */

/* Put anybody's text; returns the columns that it took. */
static unsigned top_view_text(unsigned row, unsigned column, const char *text, size_t room,
			      enum table_colour colour)
{
	CLEANUP(freep) char *plain = printable_text(text, strlen(text), 500, 0);
	size_t used = 0;

	if (!plain || column >= room)
		return column;
	(void)screen_cut(plain, room - column, &used);
	terminal_put(row, column, plain, room - column, colour, false);
	return column + (unsigned)used;
}

/* "9 todo, 24 ready, 8 running": as status has it */
static void top_view_tasks(const json_t *root, unsigned columns)
{
	json_t *tasks = json_object_get(root, "tasks"), *n;
	const char *status, *gap = "";
	char text[64];
	unsigned at = 0;

	json_object_foreach(tasks, status, n)
	{
		if (json_integer_value(n) == 0 || strcmp(status, "total") == 0)
			continue;
		(void)snprintf(text, sizeof(text), "%s%lld ", gap,
			       (long long)json_integer_value(n));
		at = top_view_text(2, at, text, columns, TABLE_PLAIN);
		at = top_view_text(2, at, status, columns, table_colour_of(status));
		gap = ", ";
	}
	if (at == 0 && json_object_size(tasks) > 0)
		(void)top_view_text(2, 0, "no tasks", columns, TABLE_PLAIN);
}

/* The end of a path says more than its beginning. */
static void top_view_path(unsigned at, const char *path, unsigned columns)
{
	CLEANUP(freep) char *plain = printable_text(path, strlen(path), 500, 0);
	const char *end = plain;

	if (!plain || columns < at + 2)
		return;
	if (screen_width(plain) > columns - at)
		at = top_view_text(0, at, "…", columns, TABLE_PLAIN);
	while (screen_width(end) > columns - at)
		do
			end++;
		while (((unsigned char)*end & 0xC0) == 0x80); /* inside of a character */
	(void)top_view_text(0, at, end, columns, TABLE_PLAIN);
}

static void top_view_head(const struct top *t, unsigned columns)
{
	const json_t *root = top_root(t);
	char text[96], up[32], sentence[ERROR_TEXT_MAX];
	unsigned at;

	clock_span(json_number(t->status, "uptime_s", 0), up);
	(void)snprintf(text, sizeof(text), "kanband %.20s", json_text(t->status, "version"));
	at = top_view_text(0, 0, text, columns, TABLE_BOLD);
	at = top_view_text(0, at + 2, top_role(t), columns, TABLE_PLAIN);
	(void)snprintf(text, sizeof(text), "epoch %lld, up %s",
		       (long long)json_number(root, "epoch", 0), up);
	at = top_view_text(0, at + 2, text, columns, TABLE_PLAIN);
	if (!t->client)
		at = top_view_text(0, at + 2, "the daemon is gone; waiting for it", columns,
				   TABLE_RED);
	top_view_path(at + 2, t->root, columns);
	top_sentence(t, sentence, sizeof(sentence));
	(void)top_view_text(1, 0, sentence, columns,
			    top_root_well(t) ? TABLE_PLAIN : TABLE_YELLOW);
	top_view_tasks(root, columns);
}

/* ---- the list ------------------------------------------------------------------------ */

struct top_view_widths {
	size_t of[TOP_CELLS]; /* 0: there is no room for this one */
	size_t n;
};

/* What is left out first where space is short. */
static const unsigned char top_view_spare[][4] = {
	[TOP_WORKER] = { 7, 6, 3, 5 }, /* CPU, memory, profile, heartbeat */
	[TOP_BOARD] = { 4, 6 },        /* review, done */
	[TOP_EVENT] = { 3 },           /* task */
};

/* The columns that the table takes; @least: when all that may be cut is. */
static size_t top_view_total(const struct table_column *titles, const struct top_view_widths *w,
			     bool least)
{
	size_t total = 0;

	for (size_t c = 0; c < w->n; c++) {
		size_t min = titles[c].min, width = w->of[c];

		if (width > 0)
			total += (least && min && width > min ? min : width) +
				 (total > 0 ? TOP_GAP : 0);
	}
	return total;
}

/* So wide as the widest cell of that kind; then without what can be spared; then from the
 * widest that may be cut, until it fits. */
static void top_view_fit(const struct top *t, enum top_kind kind, unsigned columns,
			 struct top_view_widths *w)
{
	const struct table_column *titles = top_row_titles(kind);

	*w = (struct top_view_widths){ .n = 0 };
	for (; w->n < TOP_CELLS && titles[w->n].title; w->n++)
		w->of[w->n] = strlen(titles[w->n].title);
	for (size_t i = 0; i < t->n_rows; i++)
		for (size_t c = 0; t->rows[i].kind == kind && c < w->n; c++) {
			size_t width =
				t->rows[i].cells[c] ? screen_width(t->rows[i].cells[c]) : 1;

			w->of[c] = width > w->of[c] ? width : w->of[c];
		}
	for (size_t i = 0; i < 4 && top_view_spare[kind][i]; i++)
		if (top_view_total(titles, w, true) > columns)
			w->of[top_view_spare[kind][i]] = 0;
	while (top_view_total(titles, w, false) > columns) {
		size_t widest = SIZE_MAX;

		for (size_t c = 0; c < w->n; c++)
			if (titles[c].min && w->of[c] > titles[c].min &&
			    (widest == SIZE_MAX || w->of[c] >= w->of[widest]))
				widest = c;
		if (widest == SIZE_MAX)
			return;
		w->of[widest]--;
	}
}

static void top_view_row(const struct top_row *row, unsigned y, unsigned columns,
			 const struct top_view_widths *w, bool marked)
{
	enum top_kind kind = row->kind == TOP_HEAD ? row->of : row->kind;
	const struct table_column *titles = top_row_titles(kind);
	unsigned x = 0;

	for (unsigned i = 0; marked && i < columns; i++)
		terminal_put(y, i, " ", 1, TABLE_PLAIN, true);
	for (size_t c = 0; c < w->n && x < columns; c++) {
		const char *text = row->kind == TOP_HEAD             ? titles[c].title
				   : row->cells[c] && *row->cells[c] ? row->cells[c]
				   : c + 1 == w->n                   ? ""
								     : "-";
		size_t width = screen_width(text), room = w->of[c];
		enum table_colour colour = row->kind == TOP_HEAD ? TABLE_BOLD
					   : marked              ? TABLE_PLAIN
								 : row->colours[c];
		unsigned pad = titles[c].right && width < room ? (unsigned)(room - width) : 0;

		if (room == 0)
			continue;
		if (x + room > columns)
			room = columns - x;
		terminal_put(y, x + pad, text, room > pad ? room - pad : 0, colour, marked);
		x += (unsigned)w->of[c] + TOP_GAP;
	}
}

static void top_view_list(struct top *t, unsigned columns, unsigned top, unsigned rows)
{
	struct top_view_widths widths[3];

	for (int k = 0; k < 3; k++)
		top_view_fit(t, TOP_WORKER + (unsigned)k, columns, &widths[k]);
	/* what is chosen is seen, and the head above the first row */
	if (t->at < t->first)
		t->first = t->at;
	if (t->at >= t->first + rows)
		t->first = t->at - rows + 1;
	if (t->first == 1)
		t->first = 0;
	for (unsigned y = 0; y < rows && t->first + y < t->n_rows; y++) {
		const struct top_row *row = &t->rows[t->first + y];
		enum top_kind kind = row->kind == TOP_HEAD ? row->of : row->kind;

		if (kind == TOP_HEAD) /* a blank line */
			continue;
		top_view_row(row, top + y, columns, &widths[kind - TOP_WORKER],
			     t->first + y == t->at && row->kind != TOP_HEAD);
	}
}

/* ---- a page -------------------------------------------------------------------------- */

static void top_view_page(struct top *t, unsigned columns, unsigned top, unsigned rows)
{
	const char *s = t->page.text;

	top_page_move(t, 0, rows - 1);
	terminal_put(top, 0, t->page.title ? t->page.title : "", columns, TABLE_BOLD, false);
	for (size_t line = 0; s && *s && line < t->page.first + rows - 1; line++) {
		size_t n = strcspn(s, "\n");
		CLEANUP(freep) char *one = strndup(s, n);

		if (one && line >= t->page.first)
			terminal_put(top + 1 + (unsigned)(line - t->page.first), 0, one,
				     columns, TABLE_PLAIN, false);
		s += n + (s[n] != '\0');
	}
}

/* ---- all of it ----------------------------------------------------------------------- */

static void top_view_foot(const struct top *t, unsigned row, unsigned columns)
{
	CLEANUP(freep) char *text = NULL;
	enum table_colour colour = TABLE_DIM;

	if (*t->kill_task) {
		text = fs_path("end the worker of %s? y ends it, any other key does not",
			       t->kill_task);
		colour = TABLE_RED;
	} else if (t->typing) {
		text = fs_path("only with: %s_", t->filter);
		colour = TABLE_PLAIN;
	} else if (*t->message) {
		text = strdup(t->message);
		colour = TABLE_YELLOW;
	} else if (t->page.text) {
		text = strdup("q back  arrows, space scroll");
	} else {
		text = fs_path(
			"? help  q quit  Enter show  l log  k kill  p pause  / filter%s%s  "
			"s by %s  Tab view",
			*t->filter ? " " : "", t->filter, top_rows_sort(t));
	}
	if (text)
		(void)top_view_text(row, 0, text, columns, colour);
}

void top_view_draw(struct top *t)
{
	unsigned columns, rows;

	terminal_size(&columns, &rows);
	terminal_clear();
	top_view_head(t, columns);
	if (rows > TOP_HEAD_LINES + 2) {
		if (t->page.text)
			top_view_page(t, columns, TOP_HEAD_LINES, rows - TOP_HEAD_LINES - 1);
		else
			top_view_list(t, columns, TOP_HEAD_LINES, rows - TOP_HEAD_LINES - 1);
		top_view_foot(t, rows - 1, columns);
	}
	terminal_show();
}
