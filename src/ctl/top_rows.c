/* What stands in the list of top: workers, boards, events, each with its columns. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "board/state.h"
#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/daemon_words.h"
#include "ctl/top.h"
#include "ctl/workers_table.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/printable.h"

static const struct table_column top_row_workers[] = {
	{ "WORKERS", false, 8 }, { "TASK", false, 10 }, { "TITLE", false, 14 },
	{ "PROFILE", false, 6 }, { "AGE", true, 0 },    { "HEARTBEAT", true, 0 },
	{ "MEMORY", true, 0 },   { "CPU", true, 0 },    { "STATE", false, 0 },
	{ NULL, false, 0 },
};
static const struct table_column top_row_boards[] = {
	{ "BOARDS", false, 8 }, { "STATE", false, 0 },   { "READY", true, 0 },
	{ "RUNNING", true, 0 }, { "REVIEW", true, 0 },   { "BLOCKED", true, 0 },
	{ "DONE", true, 0 },    { "REMARK", false, 10 }, { NULL, false, 0 },
};
static const struct table_column top_row_events[] = {
	{ "EVENTS", false, 8 }, { "KIND", false, 8 },     { "BOARD", false, 6 },
	{ "TASK", false, 10 },  { "MESSAGE", false, 24 }, { NULL, false, 0 },
};

static const char *const top_row_sorts[] = { "age", "memory", "CPU", "board", "title" };

const struct table_column *top_row_titles(enum top_kind kind)
{
	return kind == TOP_WORKER  ? top_row_workers
	       : kind == TOP_BOARD ? top_row_boards
				   : top_row_events;
}

const char *top_rows_sort(const struct top *t)
{
	return top_row_sorts[t->sort % (sizeof(top_row_sorts) / sizeof(top_row_sorts[0]))];
}

json_t *top_root(const struct top *t)
{
	json_t *list = json_object_get(t->status, "roots"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (strcmp(json_text(one, "root"), t->root) == 0)
			return one;
	}
	return json_array_get(list, 0);
}

const char *top_role(const struct top *t)
{
	return json_text(top_root(t), "role");
}

/* "3 of 8 workers" */
static void top_workers(const struct top *t, char *out, size_t size)
{
	const json_t *limits = json_object_get(t->status, "limits");
	int64_t n = json_number(limits, "in_progress", 0);
	int64_t most = json_number(limits, "max_in_progress", 0);

	if (most > 0)
		(void)snprintf(out, size, "%lld of %lld worker%s", (long long)n,
			       (long long)most, most == 1 ? "" : "s");
	else
		(void)snprintf(out, size, "%lld worker%s", (long long)n, n == 1 ? "" : "s");
}

void top_sentence(const struct top *t, char *out, size_t size)
{
	const json_t *root = top_root(t);
	size_t n = json_array_size(json_object_get(root, "boards"));
	CLEANUP(freep)
	char *words = daemon_words(json_text(t->status, "sentence"), json_text(root, "root"));
	char workers[64];

	/* the lines around it say who owns what, and count the tasks */
	if (strcmp(top_role(t), "owner") != 0) {
		(void)snprintf(out, size, "%s", json_text(t->status, "sentence"));
		return;
	}
	top_workers(t, workers, sizeof(workers));
	(void)snprintf(out, size, "%zu board%s, %s%s%s", n, n == 1 ? "" : "s", workers,
		       words && *words ? ", " : "", words ? words : "");
}

bool top_root_well(const struct top *t)
{
	return json_flag(top_root(t), "well") &&
	       !json_is_object(json_object_get(t->status, "draining"));
}

/* ---- rows ---------------------------------------------------------------------------- */

static void top_row_free(struct top_row *row)
{
	for (size_t i = 0; i < TOP_CELLS; i++)
		free(row->cells[i]);
	json_decref(row->json);
}

void top_rows_free(struct top *t)
{
	for (size_t i = 0; i < t->n_rows; i++)
		top_row_free(&t->rows[i]);
	free(t->rows);
	t->rows = NULL;
	t->n_rows = 0;
}

/* A new row at the end; NULL: out of memory */
static struct top_row *top_row_add(struct top *t, enum top_kind kind, json_t *json)
{
	struct top_row *more = reallocarray(t->rows, t->n_rows + 1, sizeof(*more));

	if (!more)
		return NULL;
	t->rows = more;
	more += t->n_rows++;
	*more = (struct top_row){ .kind = kind, .json = json_incref(json) };
	return more;
}

static void top_row_cell(struct top_row *row, size_t i, const char *text,
			 enum table_colour colour)
{
	/* one that does not fit into memory is not shown */
	row->cells[i] = printable_text(text, strlen(text), 500, 0);
	row->colours[i] = colour;
}

static void top_row_number(struct top_row *row, size_t i, const json_t *of, const char *key)
{
	const json_t *value = json_object_get(of, key);
	char text[32] = "-";

	if (json_is_integer(value))
		(void)snprintf(text, sizeof(text), "%lld",
			       (long long)json_integer_value(value));
	top_row_cell(row, i, text, TABLE_PLAIN);
}

static void top_row_age(struct top_row *row, size_t i, int64_t at, int64_t now)
{
	char text[32] = "-";

	if (at > 0)
		clock_span(now > at ? now - at : 0, text);
	top_row_cell(row, i, text, TABLE_PLAIN);
}

static int top_row_worker(struct top *t, json_t *w, int64_t now)
{
	struct top_row *row = top_row_add(t, TOP_WORKER, w);
	const char *state = workers_state(w);
	int64_t bytes = json_number(w, "memory", -1);
	char text[32] = "-";

	if (!row)
		return -ENOMEM;
	top_row_cell(row, 0, json_text(w, "board"), TABLE_PLAIN);
	top_row_cell(row, 1, json_text(w, "task"), TABLE_PLAIN);
	top_row_cell(row, 2, json_text(w, "title"), TABLE_PLAIN);
	top_row_cell(row, 3, json_text(w, "profile"), TABLE_PLAIN);
	top_row_age(row, 4, json_number(w, "started_at", 0), now);
	top_row_age(row, 5, json_number(w, "heartbeat_at", 0), now);
	if (bytes >= 0)
		screen_bytes(bytes, text);
	top_row_cell(row, 6, text, TABLE_PLAIN);
	(void)snprintf(text, sizeof(text),
		       json_is_real(json_object_get(w, "cpu_s")) ? "%.1fs" : "-",
		       json_real_value(json_object_get(w, "cpu_s")));
	top_row_cell(row, 7, text, TABLE_PLAIN);
	top_row_cell(row, 8, state, strcmp(state, "running") == 0 ? TABLE_GREEN : TABLE_YELLOW);
	return 0;
}

static int top_row_board(struct top *t, json_t *b)
{
	static const char *const lanes[] = { "ready", "running", "review", "blocked", "done" };
	struct top_row *row = top_row_add(t, TOP_BOARD, b);
	const char *state = json_text(b, "state");
	char remark[ERROR_TEXT_MAX];

	if (!row)
		return -ENOMEM;
	top_row_cell(row, 0, json_text(b, "slug"), TABLE_PLAIN);
	top_row_cell(row, 1, state,
		     board_state_word_bad(state)     ? TABLE_RED
		     : strcmp(state, "healthy") == 0 ? TABLE_GREEN
						     : TABLE_YELLOW);
	for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++)
		top_row_number(row, 2 + i, json_object_get(b, "tasks"), lanes[i]);
	boards_remark(b, remark, sizeof(remark));
	top_row_cell(row, 7, remark, TABLE_PLAIN);
	return 0;
}

static int top_row_event(struct top *t, json_t *e)
{
	struct top_row *row = top_row_add(t, TOP_EVENT, e);
	const char *level = json_text(e, "level");
	double at = json_number_value(json_object_get(e, "at"));
	time_t s = (time_t)at;
	char time_text[32] = "-";
	struct tm tm;

	if (!row)
		return -ENOMEM;
	if (at > 0 && at < 253402300799.0 && localtime_r(&s, &tm))
		(void)strftime(time_text, sizeof(time_text), "%H:%M:%S", &tm);
	top_row_cell(row, 0, time_text, TABLE_DIM);
	top_row_cell(row, 1, json_text(e, "kind"),
		     strcmp(level, "error") == 0 || strcmp(level, "critical") == 0 ? TABLE_RED
		     : strcmp(level, "warning") == 0 ? TABLE_YELLOW
						     : TABLE_PLAIN);
	top_row_cell(row, 2, json_text(e, "board"), TABLE_PLAIN);
	top_row_cell(row, 3, json_text(e, "task"), TABLE_PLAIN);
	top_row_cell(row, 4, json_text(e, "message"), TABLE_PLAIN);
	return 0;
}

/* ---- which, and in which order ------------------------------------------------------- */

/* Has any cell of it what is looked for, in any case */
static bool top_row_matches(const struct top_row *row, const char *filter)
{
	if (!*filter)
		return true;
	for (size_t i = 0; i < TOP_CELLS; i++)
		if (row->cells[i] && strcasestr(row->cells[i], filter))
			return true;
	return false;
}

/* Drop from @first on what the filter does not want. */
static void top_rows_filter(struct top *t, size_t first)
{
	size_t keep = first;

	for (size_t i = first; i < t->n_rows; i++) {
		if (top_row_matches(&t->rows[i], t->filter))
			t->rows[keep++] = t->rows[i];
		else
			top_row_free(&t->rows[i]);
	}
	t->n_rows = keep;
}

static int top_row_more(double a, double b)
{
	return a < b ? 1 : a > b ? -1 : 0;
}

static int top_row_compare(const void *a, const void *b, void *arg)
{
	const struct top_row *x = a, *y = b;
	const struct top *t = arg;
	const char *by = top_rows_sort(t);

	if (strcmp(by, "memory") == 0)
		return top_row_more((double)json_number(x->json, "memory", -1),
				    (double)json_number(y->json, "memory", -1));
	if (strcmp(by, "CPU") == 0)
		return top_row_more(json_real_value(json_object_get(x->json, "cpu_s")),
				    json_real_value(json_object_get(y->json, "cpu_s")));
	if (strcmp(by, "board") == 0)
		return strcmp(json_text(x->json, "board"), json_text(y->json, "board"));
	if (strcmp(by, "title") == 0)
		return strcmp(json_text(x->json, "title"), json_text(y->json, "title"));
	/* the oldest first */
	return top_row_more((double)json_number(y->json, "started_at", 0),
			    (double)json_number(x->json, "started_at", 0));
}

/* In trouble, then with something to do, then the others. */
static int top_row_weight(const json_t *board)
{
	return board_state_word_bad(json_text(board, "state"))                              ? 0
	       : json_number(board, "running", 0) > 0 || json_number(board, "ready", 0) > 0 ? 1
											    : 2;
}

static int top_row_boards_compare(const void *a, const void *b, void *arg)
{
	const struct top_row *x = a, *y = b;
	int d = top_row_weight(x->json) - top_row_weight(y->json);

	(void)arg;
	return d ? d : strcmp(json_text(x->json, "slug"), json_text(y->json, "slug"));
}

static int top_rows_kind(struct top *t, enum top_kind kind, json_t *list)
{
	bool gap = t->roomy && t->n_rows > 0;
	struct top_row *head = gap ? top_row_add(t, TOP_HEAD, NULL) : NULL;
	int64_t now = clock_wall_s();
	size_t first;
	int r;

	if (gap && !head)
		return -ENOMEM;
	head = top_row_add(t, TOP_HEAD, NULL);
	first = t->n_rows;
	r = head ? 0 : -ENOMEM;
	if (head)
		head->of = kind;
	/* events: the newest first */
	for (size_t i = 0, n = json_array_size(list); r == 0 && i < n; i++)
		r = kind == TOP_WORKER  ? top_row_worker(t, json_array_get(list, i), now)
		    : kind == TOP_BOARD ? top_row_board(t, json_array_get(list, i))
					: top_row_event(t, json_array_get(list, n - 1 - i));
	if (r < 0)
		return r;
	top_rows_filter(t, first);
	if (kind != TOP_EVENT)
		qsort_r(t->rows + first, t->n_rows - first, sizeof(*t->rows),
			kind == TOP_WORKER ? top_row_compare : top_row_boards_compare, t);
	return 0;
}

/* ---- the one that is chosen ---------------------------------------------------------- */

static void top_row_key(const struct top_row *row, char key[256])
{
	if (row->kind == TOP_WORKER)
		(void)snprintf(key, 256, "w%.90s/%.120s", json_text(row->json, "board"),
			       json_text(row->json, "task"));
	else if (row->kind == TOP_BOARD)
		(void)snprintf(key, 256, "b%.200s", json_text(row->json, "slug"));
	else
		(void)snprintf(key, 256, "e%.200s", json_text(row->json, "id"));
}

static void top_rows_choose(struct top *t, size_t at)
{
	t->at = at;
	if (at < t->n_rows && t->rows[at].kind != TOP_HEAD)
		top_row_key(&t->rows[at], t->chosen);
}

const struct top_row *top_rows_chosen(const struct top *t)
{
	return t->at < t->n_rows && t->rows[t->at].kind != TOP_HEAD ? &t->rows[t->at] : NULL;
}

void top_rows_move(struct top *t, long by)
{
	long step = by < 0 ? -1 : 1, at = (long)t->at + by, last = (long)t->n_rows - 1;

	at = at < 0 ? 0 : at > last ? last : at;
	while (at >= 0 && at <= last && t->rows[at].kind == TOP_HEAD)
		at += step;
	if (at < 0 || at > last) { /* a head is at that end */
		at = (long)t->at + by < 0 ? 0 : last;
		while (at >= 0 && at <= last && t->rows[at].kind == TOP_HEAD)
			at -= step;
	}
	if (at >= 0 && at <= last)
		top_rows_choose(t, (size_t)at);
}

int top_rows_build(struct top *t)
{
	json_t *root = top_root(t);
	char key[256];
	size_t at = 0;
	int r = 0;

	top_rows_free(t);
	if (t->only == TOP_HEAD || t->only == TOP_WORKER)
		r = top_rows_kind(t, TOP_WORKER, json_object_get(t->work, "workers"));
	if (r == 0 && (t->only == TOP_HEAD || t->only == TOP_BOARD))
		r = top_rows_kind(t, TOP_BOARD, json_object_get(root, "boards"));
	if (r == 0 && (t->only == TOP_HEAD || t->only == TOP_EVENT))
		r = top_rows_kind(t, TOP_EVENT, t->events);
	for (; at < t->n_rows; at++) {
		if (t->rows[at].kind == TOP_HEAD)
			continue;
		top_row_key(&t->rows[at], key);
		if (strcmp(key, t->chosen) == 0)
			break;
	}
	if (at < t->n_rows)
		t->at = at;
	else
		top_rows_move(t, 0);
	return r;
}
