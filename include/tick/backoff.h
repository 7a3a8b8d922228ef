/* The pause before a task that failed is tried again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tick/tick.h"

/**
 * backoff_check() - does the task still wait after its last failure
 * @until: out; Unix seconds of the next try, 0 where it need not wait
 * Never with --once: whoever runs that says when. Return: 0, or as db_step().
 */
MUST_CHECK int backoff_check(const struct tick *t, const char *task, int64_t *until);

/** backoff_is_news() - is `respawn_guarded` to be appended: the newest one names another time
 */
MUST_CHECK int backoff_is_news(const struct tick *t, const char *task, int64_t until,
			       bool *news);
