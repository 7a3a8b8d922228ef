/*
 * Steps 9 to 11 of a tick: which ready (and review) tasks may start now, in order, within what
 * the caps leave. lane_find() only reads; lane_commit() writes everything in one transaction.
 */
#pragma once

#include "tick/tick.h"

/* What is to be done with one row. */
enum lane_verdict {
	LANE_CLAIM,   /* take it */
	LANE_GUARDED, /* append respawn_guarded */
	LANE_ASSIGN,  /* only write the default assignee (a cap or the guard then skipped it) */
};

struct lane_choice {
	enum lane_verdict verdict;
	char *task;
	bool assign;        /* the default assignee is written first */
	bool review;        /* from the review lane */
	bool taken;         /* it holds a place of the caps */
	const char *reason; /* guarded: static text */
};

struct lane_plan {
	struct lane_choice *v;
	size_t n;
};

void lane_plan_deinit(struct lane_plan *lanes);

/**
 * lane_find() - walk both lanes
 * @lanes: out; the caller frees it also on error
 * Counts and skipped ids go to @plan. Return: 0, or as db_step().
 */
MUST_CHECK int lane_find(struct db *db, const struct tick_request *rq, struct lane_plan *lanes,
			 struct plan *plan, struct error *e);

/**
 * lane_commit() - assign, guard and claim what lane_find() chose, in one transaction
 * What was claimed is in plan->launches only when the transaction committed.
 */
MUST_CHECK int lane_commit(struct db *db, const struct tick_request *rq,
			   const struct lane_plan *lanes, struct plan *plan, struct error *e);
