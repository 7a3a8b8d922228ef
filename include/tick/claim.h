/* Claiming a task, and recording what became of its launch. */
#pragma once

#include "tick/tick.h"

/**
 * claim_task() - claim one task (the board contract, §6 "Claim"), inside the caller's
 * transaction A ready task whose parents are not all done goes back to `todo`; a row that is no
 * longer as expected is left alone. What was claimed is appended to plan->launches. Return: 0,
 * or as db_run().
 */
MUST_CHECK int claim_task(struct db *db, const struct tick_request *rq, const char *task,
			  bool review, struct plan *plan, struct error *e);
