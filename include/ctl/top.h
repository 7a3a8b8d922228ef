/*
 * The live view: what it knows, its rows, its picture, its pages. The verb (verb_top.c) reads
 * keys and asks the daemon; everything else is here in parts: top_rows.c, top_view.c,
 * top_page.c.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/table.h"
#include "util/error.h"

struct client;
struct ctl;

#define TOP_CELLS 9

enum top_kind {
	TOP_HEAD, /* titles of what follows; cannot be chosen */
	TOP_WORKER,
	TOP_BOARD,
	TOP_EVENT,
};

struct top_row {
	enum top_kind kind;
	enum top_kind of; /* TOP_HEAD: of what; TOP_HEAD: a blank line */
	json_t *json;     /* NULL for a head */
	char *cells[TOP_CELLS];
	enum table_colour colours[TOP_CELLS];
};

/* What one reads instead of the list. */
struct top_page {
	char *title;
	char *text; /* NULL: none is open */
	size_t first;
	char *log; /* the file that it follows, or NULL */
	bool end;  /* it stays at its end */
};

struct top {
	struct ctl *ctl;
	char *root;
	struct client *client; /* for numbers; NULL while the daemon is away */
	json_t *status, *work; /* the last answers, or NULL */
	json_t *events;        /* array, newest last */
	char last[128];        /* id of the newest */
	bool news;             /* something happened since the last drawing */
	uint64_t drawn_ms;
	/* the list */
	struct top_row *rows;
	size_t n_rows;
	char chosen[256];   /* top_row_key() of the one that is chosen */
	size_t at, first;   /* its place; the first row that is seen */
	enum top_kind only; /* TOP_HEAD: all kinds */
	unsigned sort;      /* of the workers */
	bool roomy;         /* there is room for a line between the kinds */
	char filter[64];
	bool typing; /* the filter is being typed */
	/* the last line */
	char message[256];
	char kill_board[80], kill_task[256]; /* what is asked about, "" nothing */
	struct top_page page;
};

/* ---- top_rows.c ---- */

/** top_root() - our root in the status; borrowed, NULL before it came */
json_t *top_root(const struct top *t);

/** top_role() - owner, standby, …; top_sentence() - what the lines around it do not say;
 * top_root_well() - is the root well, and dispatched */
const char *top_role(const struct top *t);
void top_sentence(const struct top *t, char *out, size_t size);
bool top_root_well(const struct top *t);

/** top_rows_build() - the rows anew, filtered and sorted; keeps what is chosen. 0 or -ENOMEM */
MUST_CHECK int top_rows_build(struct top *t);
void top_rows_free(struct top *t);

/** top_rows_move() - choose the row @by further down, or up */
void top_rows_move(struct top *t, long by);

/** top_rows_chosen() - NULL: there is none */
const struct top_row *top_rows_chosen(const struct top *t);

/** top_rows_sort() - what the workers are sorted by */
const char *top_rows_sort(const struct top *t);

/** top_row_titles() - of the columns of that kind, NULL-terminated */
const struct table_column *top_row_titles(enum top_kind kind);

/* ---- top_view.c ---- */

/** top_view_draw() - the whole screen */
void top_view_draw(struct top *t);

/* ---- top_page.c ---- */

/** top_page_open() - show @text (given away; NULL: out of memory) */
void top_page_open(struct top *t, const char *title, char *text);

/** top_page_log() - show the end of that log, and what is added */
void top_page_log(struct top *t, const char *task, char *path);
void top_page_close(struct top *t);

/** top_page_refresh() - read the log again */
void top_page_refresh(struct top *t);

/** top_page_move() - @by lines; in a page of @rows lines on the screen */
void top_page_move(struct top *t, long by, unsigned rows);

/* ---- top_keys.c ---- */

#define TOP_QUIT 1 /* what ends the view: a key or a signal */

/** top_key() - what a key asks for, see terminal.h. Return: 0 or TOP_QUIT */
int top_key(struct top *t, int key);
