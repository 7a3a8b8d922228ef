/* Named pools: which of them a task runs in. */
#pragma once

#include <stdint.h>

#include "tick/tick.h"
#include "util/settings.h"

/** pools_match() - is a worker of @profile on @board (either may be NULL: none) in @pool */
bool pools_match(const struct settings_pool *pool, const char *board, const char *profile);

/** pools_of() - a bit for each pool that a worker of @profile on @board counts in */
uint64_t pools_of(const struct settings *set, const char *board, const char *profile);

/** pools_full() - is one of these pools full of what runs already */
bool pools_full(const struct tick *t, uint64_t pools);

/** pools_profile_limit() - how many may run for @profile on one board; -1 = no limit */
int64_t pools_profile_limit(const struct settings *set, const char *profile);

/** pools_count() - what runs on the board: rows, and live workers whose rows say otherwise */
MUST_CHECK int pools_count(const struct tick *t, struct caps_running *running);
