/* The boards of a root as its files say them, and boards as people read them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "util/error.h"

struct board_place;
struct ctl;
struct rules;

/**
 * boards_one() - one board: {"root", "slug", "db", "state", "error", "archived",
 * "duplicate_of", "journal_mode", "tasks", "waiting", "record"}; @rules: NULL: nobody asks what
 * its tasks wait for. A board whose health record says that
 * these very bytes are damaged is not opened. Return: a new reference; NULL when out of memory.
 */
json_t *boards_one(const struct ctl *ctl, const char *root, const struct board_place *place,
		   struct rules *rules);

/** boards_list() - all of @root; *@out an array. Return: 0, or an exit code after telling. */
MUST_CHECK int boards_list(const struct ctl *ctl, const char *root, json_t **out);

/** boards_any_bad() - is a board of the array in trouble */
bool boards_any_bad(const json_t *boards);

/** boards_remark() - what is to be said behind the numbers of a board; "" for nothing */
void boards_remark(const json_t *board, char *out, size_t size);

/** boards_put_waiting() - because of what the tasks of a board wait, a line each: the slug
 * first where @slug is given, nothing for what is not even ready unless @all */
void boards_put_waiting(const struct ctl *ctl, const json_t *board, const char *slug, bool all);

/** boards_print() - as a table. Return: 0, or an exit code after telling. */
MUST_CHECK int boards_print(const struct ctl *ctl, const json_t *boards);

/** boards_print_one() - everything that is known about a board, of the files or a daemon */
void boards_print_one(const struct ctl *ctl, const json_t *board);
