/* Events, runs and comments: what is written along with every change of a task. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct tick;

/* An integer, or null where @value is negative (a NULL column). */
json_t *history_int(int64_t value);

/**
 * history_event() - append an event
 * @run:     run id, 0 for none
 * @payload: stolen; NULL for no payload. An object that could not be built is -ENOMEM.
 * Inside the caller's transaction.
 */
MUST_CHECK int history_event(const struct tick *t, const char *task, int64_t run,
			     const char *kind, json_t *payload);

/** history_event_plain() - an event whose payload is NULL */
MUST_CHECK int history_event_plain(const struct tick *t, const char *task, int64_t run,
				   const char *kind);

/**
 * history_end_run() - the open run gets its end; tasks.current_run_id is the caller's
 * @error: or NULL.  @metadata: stolen, or NULL to leave what is there.
 * Return: 0 also when the run had ended already.
 */
MUST_CHECK int history_end_run(const struct tick *t, int64_t run, const char *status,
			       const char *outcome, const char *error, json_t *metadata);

MUST_CHECK int history_comment(const struct tick *t, const char *task, const char *author,
			       const char *body);

/** history_retry_status() - the lane that a task goes back to when @run ends without a result:
 * "review" if it was claimed from there, else "ready"; static text. Return: 0, or as db_open()
 */
MUST_CHECK int history_retry_status(const struct tick *t, int64_t run, const char **status);

/** history_is_review() - does a payload (JSON text or NULL) name the review lane in @key */
bool history_is_review(const char *payload, const char *key);
