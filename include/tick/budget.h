/* How many tasks may start on a board now. */
#pragma once

#include "tick/tick.h"

/**
 * budget_find() - count what runs on the board, and what may start beside it
 * @wanted: is there work that could start; else only the count is wanted
 * @budget: out; INT64_MAX without a limit
 * What holds work back is noted in the plan. Return: 0, or as db_step().
 */
MUST_CHECK int budget_find(const struct tick *t, bool wanted, int64_t *budget);
