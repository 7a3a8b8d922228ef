/* Events, runs and comments: what is written along with every change of a task. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct db;

/* JSON values that keep hostile text: bytes that are not UTF-8 become U+FFFD. NULL → null. */
json_t *history_text(const char *text);
/* An integer, or null where @value is negative (a NULL column). */
json_t *history_int(int64_t value);

/**
 * history_event() - append an event
 * @run:     run id, 0 for none
 * @payload: stolen; NULL for no payload. An object that could not be built is -ENOMEM.
 * Inside the caller's transaction.
 */
MUST_CHECK int history_event(struct db *db, const char *task, int64_t run, const char *kind,
			     json_t *payload, int64_t now, struct error *e);

/** history_event_plain() - an event whose payload is NULL */
MUST_CHECK int history_event_plain(struct db *db, const char *task, int64_t run,
				   const char *kind, int64_t now, struct error *e);

/**
 * history_end_run() - the open run gets its end; tasks.current_run_id is the caller's
 * @error: or NULL.  @metadata: stolen, or NULL to leave what is there.
 * Return: 0 also when the run had ended already.
 */
MUST_CHECK int history_end_run(struct db *db, int64_t run, const char *status,
			       const char *outcome, const char *error, json_t *metadata,
			       int64_t now, struct error *e);

MUST_CHECK int history_comment(struct db *db, const char *task, const char *author,
			       const char *body, int64_t now, struct error *e);

/** history_from_review() - was @run claimed from the review lane
 * Return: 1 yes, 0 no, else as db_open(). */
MUST_CHECK int history_from_review(struct db *db, int64_t run, bool *review, struct error *e);
