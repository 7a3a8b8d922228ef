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
	LANE_REJECT,  /* a parent is open: back to todo; it takes no place */
	LANE_SKIPPED, /* append skipped_nonspawnable */
	LANE_ASSIGN,  /* only write the default assignee (a cap or the guard then skipped it) */
};

struct lane_choice {
	enum lane_verdict verdict;
	char *task;
	char *assignee;     /* skipped: as stored */
	bool assign;        /* the default assignee is written first */
	bool review;        /* from the review lane */
	int64_t priority;   /* of the task */
	uint64_t pools;     /* that it would run in: a bit for each */
	bool taken;         /* it holds a place of the caps */
	const char *reason; /* guarded: static text */
	int64_t next_try;   /* guarded by the back-off: until when; else 0 */
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
MUST_CHECK int lane_find(const struct tick *t, struct lane_plan *lanes);

/** lane_give_back() - what was chosen is not claimed: its places are free again */
void lane_give_back(const struct tick *t, const struct lane_plan *lanes);

/**
 * lane_commit() - assign, guard and claim what lane_find() chose, in one transaction
 * What was claimed is in plan->launches only when the transaction committed.
 */
MUST_CHECK int lane_commit(const struct tick *t, const struct lane_plan *lanes);
