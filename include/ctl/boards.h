/* The boards of a root as its files say them, and boards as people read them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "util/error.h"

struct board_place;
struct ctl;

/**
 * boards_one() - one board: {"slug", "db", "state", "error", "archived", "duplicate_of",
 * "journal_mode", "tasks", "record"}
 * A board whose health record says that these very bytes are damaged is not opened.
 * Return: a new reference; NULL when out of memory.
 */
json_t *boards_one(const struct ctl *ctl, const struct board_place *place);

/** boards_list() - all of @root; *@out an array. Return: 0, or an exit code after telling. */
MUST_CHECK int boards_list(const struct ctl *ctl, const char *root, json_t **out);

/** boards_any_bad() - is a board of the array in trouble */
bool boards_any_bad(const json_t *boards);

/** boards_is_bad() - does this state need somebody */
bool boards_is_bad(const char *state);

/** boards_print() - as a table. Return: 0, or an exit code after telling. */
MUST_CHECK int boards_print(const struct ctl *ctl, const json_t *boards);

/** boards_print_one() - everything that is known about a board, of the files or a daemon */
void boards_print_one(const struct ctl *ctl, const json_t *board);
