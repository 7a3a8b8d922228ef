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
	bool force;           /* it trips whatever the count: another budget is used up */
	bool sticky;          /* a trip is not lifted by the next promotion */
	const char *error;    /* full text; cut to 500 characters where it is stored in tasks */
	const char *trigger; /* outcome that led here: "crashed", "timed_out", "spawn_failed" */
	const char *retry;   /* history_retry_status() */
	json_t *extra;       /* stolen: keys appended to the payload, or NULL */
};

#define FAILURE_ERROR_MAX 500 /* characters of last_failure_error */

/**
 * failure_limit() - the limit that holds for a task
 * @max_retries: of the task, -1 where NULL
 * @override:    limit of the dispatcher in place of the configured one, or 0
 */
int64_t failure_limit(const struct tick *t, int64_t max_retries, int64_t override,
		      bool *from_task);

/**
 * failure_count() - write the count and the error; at the limit block the task, append
 * `gave_up`, and note it in the plan. Inside the caller's transaction, after the release.
 * @tripped: out
 * Return: 0, or as db_run().
 */
MUST_CHECK int failure_count(const struct tick *t, const struct failure *f, bool *tripped);

/**
 * failure_of_victim() - count that @v had to be ended
 * @trigger, @error, @retry, @extra: as in struct failure; @extra is stolen
 * Return: 0, or as db_run().
 */
MUST_CHECK int failure_of_victim(const struct tick *t, const struct plan_victim *v,
				 const char *trigger, const char *error, const char *retry,
				 json_t *extra);

/** failure_headline() - how many bytes of @error stand before what the worker said last */
int failure_headline(const char *error);

/** failure_cut() - the first @max characters of UTF-8 @text; malloc'd, NULL out of memory */
char *failure_cut(const char *text, size_t max);
