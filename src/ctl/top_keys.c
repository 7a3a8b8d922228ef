/* What the keys of top do. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/discover.h"
#include "board/view.h"
#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/client.h"
#include "ctl/task_text.h"
#include "ctl/terminal.h"
#include "ctl/top.h"
#include "db/db.h"
#include "util/fs.h"
#include "util/json.h"

#define TOP_POST_MS 20000L
#define TOP_BUSY_MS 1000

static void top_say(struct top *t, const char *text)
{
	(void)snprintf(t->message, sizeof(t->message), "%s", text);
}

/* Ask the daemon to do something; what came of it is said in the last line. @path, @body: given
 * away */
static void top_post(struct top *t, char *owned, json_t *body, const char *done)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(freep) char *path = owned;
	struct error e = ERROR_NULL;
	int r = t->client && path
			? client_request(t->client, "POST", path, body, TOP_POST_MS, &reply, &e)
			: error_set(&e, -ENOTCONN, "the daemon does not answer");

	json_decref(body);
	if (r == 0 && reply.status / 100 != 2)
		(void)client_problem(&reply, &e);
	top_say(t, r == 0 && reply.status / 100 == 2 ? done : e.text);
	t->news = true;
}

/* The same output as of a verb, as a page. */
static void top_page_of(struct top *t, const char *title, const json_t *json,
			int (*print)(const struct ctl *ctl, const json_t *json))
{
	struct ctl ctl = *t->ctl;
	char *text = NULL;
	size_t size = 0;

	ctl.screen = (struct screen){ .width = 0 };
	ctl.out = open_memstream(&text, &size);
	if (ctl.out) {
		(void)print(&ctl, json);
		if (fclose(ctl.out) != 0) {
			free(text);
			text = NULL;
		}
	}
	top_page_open(t, title, text);
}

static int top_print_board(const struct ctl *ctl, const json_t *board)
{
	boards_print_one(ctl, board);
	return 0;
}

static int top_print_event(const struct ctl *ctl, const json_t *event)
{
	CLEANUP(freep) char *text = json_plain(event, JSON_INDENT(2));

	(void)fputs(text ? text : "out of memory", ctl->out);
	return 0;
}

/* The board of a worker or an event, with its folder. */
static int top_place(const struct top *t, const json_t *json, struct board_place *place)
{
	struct error e = ERROR_NULL;

	return discover_one(t->root, NULL, json_text(json, "board"), place, &e);
}

static void top_show_task(struct top *t, const json_t *w)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	CLEANUP(json_freep) json_t *all = NULL;
	struct error e = ERROR_NULL;
	int r = top_place(t, w, &place);

	if (r == 0)
		r = view_open(&db, place.db_path, TOP_BUSY_MS, &e);
	if (r == 0)
		r = view_task(db, json_text(w, "task"), 20, &all, &e);
	if (r != 0)
		top_say(t, e.text[0] ? e.text : "the board cannot be read from here");
	else
		top_page_of(t, json_text(w, "task"), all, task_text);
}

static void top_show(struct top *t)
{
	const struct top_row *row = top_rows_chosen(t);

	if (!row)
		return;
	if (row->kind == TOP_BOARD)
		top_page_of(t, json_text(row->json, "slug"), row->json, top_print_board);
	else if (row->kind == TOP_EVENT && !*json_text(row->json, "task"))
		top_page_of(t, json_text(row->json, "kind"), row->json, top_print_event);
	else
		top_show_task(t, row->json);
}

static void top_log(struct top *t)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	const struct top_row *row = top_rows_chosen(t);
	const char *task = row ? json_text(row->json, "task") : "";

	if (!*task || strchr(task, '/') || top_place(t, row->json, &place) != 0)
		top_say(t, "choose a worker, or an event of a task");
	else
		top_page_log(t, task, fs_path("%s/%s.log", place.logs_dir, task));
}

static void top_kill(struct top *t)
{
	const struct top_row *row = top_rows_chosen(t);

	if (!row || row->kind != TOP_WORKER) {
		top_say(t, "choose a worker");
		return;
	}
	(void)snprintf(t->kill_task, sizeof(t->kill_task), "%s", json_text(row->json, "task"));
	(void)snprintf(t->kill_board, sizeof(t->kill_board), "%s",
		       json_text(row->json, "board"));
}

static void top_kill_answer(struct top *t, int key)
{
	if ((key == 'y' || key == 'Y') && t->client)
		top_post(t, client_path(t->client, NULL, "/v1/boards/%s/change", t->kill_board),
			 json_pack("{s:s, s:s}", "change", "kill", "task", t->kill_task),
			 "the worker was ended; its task is ready again");
	t->kill_task[0] = '\0';
}

static void top_pause(struct top *t)
{
	const struct top_row *row = top_rows_chosen(t);
	const char *slug =
		!row ? "" : json_text(row->json, row->kind == TOP_BOARD ? "slug" : "board");
	json_t *boards = json_object_get(top_root(t), "boards"), *b;
	bool paused = false;
	size_t i;

	json_array_foreach(boards, i, b)
	{
		if (strcmp(json_text(b, "slug"), slug) == 0)
			paused = json_is_object(json_object_get(b, "paused"));
	}
	if (!*slug || !t->client)
		top_say(t, "choose a board, or something of one");
	else
		top_post(t,
			 client_path(t->client, NULL, "/v1/boards/%s/%s", slug,
				     paused ? "resume" : "pause"),
			 NULL, paused ? "the board goes on" : "the board is paused");
}

static void top_help(struct top *t)
{
	top_page_open(
		t, "top: keys",
		strdup("arrows, PgUp, PgDn, Home, End, mouse   choose and scroll\n"
		       "Enter   show the task, the board or the event\n"
		       "l       the log of the task, and what is added to it\n"
		       "k       end the worker (asked); its task becomes ready, nothing is "
		       "counted\n"
		       "p       pause the board, or let it go on\n"
		       "/       only rows with that text; Enter or Esc ends, an empty one "
		       "shows all\n"
		       "s       sort the workers: age, memory, CPU, board, title\n"
		       "Tab     all, workers, boards, events\n"
		       "q, Esc  back; quit\n"));
}

/* While the filter is typed. */
static void top_type(struct top *t, int key)
{
	size_t n = strlen(t->filter);

	if (key == TERMINAL_ESCAPE)
		t->filter[0] = '\0';
	if (key == TERMINAL_ESCAPE || key == TERMINAL_ENTER)
		t->typing = false;
	else if (key == TERMINAL_ERASE && n > 0)
		t->filter[n - 1] = '\0';
	else if (key >= ' ' && key < 0x7F && n + 1 < sizeof(t->filter)) {
		t->filter[n] = (char)key;
		t->filter[n + 1] = '\0';
	}
}

static long top_step(const struct top *t, int key)
{
	unsigned columns, rows;

	terminal_size(&columns, &rows);
	switch (key) {
	case TERMINAL_UP:
		return -1;
	case TERMINAL_DOWN:
		return 1;
	case TERMINAL_WHEEL_UP:
		return -3;
	case TERMINAL_WHEEL_DOWN:
		return 3;
	case TERMINAL_PAGE_UP:
		return -(long)rows / 2;
	case TERMINAL_PAGE_DOWN:
	case ' ':
		return (long)rows / 2;
	case TERMINAL_HOME:
		return -1000000;
	case TERMINAL_END:
		return 1000000;
	case TERMINAL_CLICK:
		return (long)t->first + (long)terminal_click() - 4 - (long)t->at;
	default:
		return 0;
	}
}

int top_key(struct top *t, int key)
{
	unsigned columns, rows;
	long step = top_step(t, key);

	t->message[0] = '\0';
	if (*t->kill_task) {
		top_kill_answer(t, key);
		return 0;
	}
	if (t->typing) {
		top_type(t, key);
		return 0;
	}
	if (t->page.text) {
		terminal_size(&columns, &rows);
		if (key == 'q' || key == TERMINAL_ESCAPE || key == TERMINAL_ENTER ||
		    key == TERMINAL_LEFT)
			top_page_close(t);
		else if (step && key != TERMINAL_CLICK)
			top_page_move(t, step, rows > 6 ? rows - 6 : 1);
		return 0;
	}
	if (step)
		top_rows_move(t, step);
	else if (key == 'q' || key == 'Q' || key == TERMINAL_ESCAPE)
		return TOP_QUIT;
	else if (key == TERMINAL_ENTER || key == TERMINAL_RIGHT)
		top_show(t);
	else if (key == 'l')
		top_log(t);
	else if (key == 'k')
		top_kill(t);
	else if (key == 'p')
		top_pause(t);
	else if (key == '/')
		t->typing = true;
	else if (key == 's')
		t->sort++;
	else if (key == TERMINAL_TAB)
		t->only = t->only == TOP_EVENT ? TOP_HEAD : t->only + 1;
	else if (key == '?' || key == 'h')
		top_help(t);
	return 0;
}
