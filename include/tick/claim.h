/* Claiming a task, and recording what became of its launch. */
#pragma once

#include "tick/tick.h"

/** claim_has_open_parent() - is a parent of the task not done: its claim will be rejected. 0,
 * or as db_step() */
MUST_CHECK int claim_has_open_parent(const struct tick *t, const char *task, bool *open);

/** claim_reject() - send a task with an open parent back to todo; inside the caller's
 * transaction */
MUST_CHECK int claim_reject(const struct tick *t, const char *task, bool review);

/**
 * claim_task() - claim one task (the board contract, §6 "Claim"), inside the caller's
 * transaction A ready task whose parents are not all done goes back to `todo`; a row that is no
 * longer as expected is left alone. What was claimed is appended to plan->launches. Return: 0,
 * or as db_run().
 */
MUST_CHECK int claim_task(const struct tick *t, const char *task, bool review);
