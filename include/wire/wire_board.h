/*
 * A board, its health record and the sum of its tasks as JSON: what GET /v1/boards and
 * `kanbanctl boards --json` say, with and without a daemon. conf/openapi.yaml has the shapes.
 */
#pragma once

#include <jansson.h>

struct board_place;
struct health;

/* What both can tell of a board. All borrowed. */
struct wire_board {
	const char *root;
	const struct board_place *place;
	const char *state;
	const char *error;        /* NULL or "": none */
	const char *journal_mode; /* or NULL: not known */
	json_t *tasks;            /* per status, or NULL: not counted */
	json_t *waiting;          /* as waiting_count(), or NULL: not counted */
};

/** wire_board() - NULL: out of memory */
json_t *wire_board(const struct wire_board *b);

/** wire_record() - NULL: out of memory */
json_t *wire_record(const struct health *h);

/** wire_tasks_add() - add the counts of @tasks to those in @sum, an object. Given away: @sum.
 * @tasks NULL or null adds nothing. Return: @sum; NULL: out of memory */
json_t *wire_tasks_add(json_t *sum, json_t *tasks);
