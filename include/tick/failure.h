/* Counting failures, and the breaker that blocks a task after too many. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tick/tick.h"

/* One counted failure. Borrowed for the call but @extra. */
struct failure {
	const char *task;
	int64_t run;          /* for the event */
	int64_t failures;     /* the new count */
	int64_t limit;        /* at which the breaker trips */
	bool limit_from_task; /* the limit is the task's max_retries */
	const char *error;    /* full text; cut to 500 characters where it is stored in tasks */
	const char *trigger; /* outcome that led here: "crashed", "timed_out", "spawn_failed" */
	json_t *extra;       /* stolen: keys appended to the payload, or NULL */
	bool sticky; /* a trip also appends `blocked`, so that it is not promoted again */
};

#define FAILURE_ERROR_MAX 500 /* characters of last_failure_error */

/**
 * failure_limit() - the limit that holds for a task
 * @max_retries: of the task, -1 where NULL
 * @override:    limit of the dispatcher in place of the configured one, or 0
 */
int64_t failure_limit(const struct tick_request *rq, int64_t max_retries, int64_t override,
		      bool *from_task);

/**
 * failure_count() - write the count and the error; at the limit block the task, append
 * `gave_up`, and note it in the plan. Inside the caller's transaction, after the release.
 * @tripped: out
 * Return: 0, or as db_run().
 */
MUST_CHECK int failure_count(struct db *db, const struct tick_request *rq,
			     const struct failure *f, struct plan *plan, bool *tripped,
			     struct error *e);

/** failure_cut() - the first @max characters of UTF-8 @text; malloc'd, NULL out of memory */
char *failure_cut(const char *text, size_t max);
