/* Step 8 of a tick, too: of a task that comes again and again the next one is made when the
 * last has ended. */
#pragma once

#include "tick/tick.h"

/*
 * The task that a series has now is the one whose idempotency_key begins with this; the next
 * takes the key over. Its newest event `recurs` says how: {calendar, at, workspace_path,
 * branch}, at being the time that this one was for. Without a calendar nothing follows.
 */
#define RECUR_KEY       "every:"
#define RECUR_KEY_AFTER "every;" /* no such key, and none that lies before it */

/**
 * recur_run() - make what follows those that are done or archived; a blocked one has not ended
 * One for each, at the calendar's next time from now on, however many passed meanwhile.
 * Return: 0, or as db_step(), db_commit().
 */
MUST_CHECK int recur_run(const struct tick *t);
