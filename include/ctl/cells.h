/* From JSON values to cells and lines. */
#pragma once

#include <jansson.h>

#include "ctl/table.h"

/** cells_add() - @value as the next cell: text as it is, numbers in decimal, else "-" */
MUST_CHECK int cells_add(struct table *table, const json_t *value, enum table_colour colour);

/** cells_add_time() - Unix seconds as local time */
MUST_CHECK int cells_add_time(struct table *table, const json_t *value);

/** cells_add_json() - an object or array as one line of JSON, else as cells_add() */
MUST_CHECK int cells_add_json(struct table *table, const json_t *value);
