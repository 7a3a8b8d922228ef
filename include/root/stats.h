/* Numbers since the start, for monitoring; the loop's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "board/board.h"

#define STATS_BUCKETS 12

/* Durations by upper bound, as a histogram of OpenMetrics wants them. */
struct stats_times {
	uint64_t count[STATS_BUCKETS + 1]; /* the last one: longer than all bounds */
	uint64_t sum_us;
};

/* The same of what is counted in seconds and may last for days. */
struct stats_long_times {
	uint64_t count[STATS_BUCKETS + 1];
	uint64_t sum_s;
};

struct root_stats {
	uint64_t sweeps;
	uint64_t visits[BOARD_LEASE_LOST + 1]; /* by enum board_outcome */
	struct stats_times visit;              /* from its submission to its end */
	uint64_t claims, spawned, spawn_failed, adopted, reclaimed, promoted;
	struct stats_times exec; /* from the wake of a board to the start of a worker on it */
	struct stats_long_times ready; /* from a task being ready to the start of its worker */
	struct stats_long_times run;   /* of watched workers */
	uint64_t ended_ok, ended_failed, ended_signaled, ended_unknown; /* of workers */
};

/** stats_bounds_us() - the upper bounds, STATS_BUCKETS of them, in microseconds */
const uint64_t *stats_bounds_us(void);

/** stats_time() - one more that took @us */
void stats_time(struct stats_times *times, uint64_t us);

/** stats_long_bounds_s(), stats_long_time() - the same in seconds */
const uint64_t *stats_long_bounds_s(void);
void stats_long_time(struct stats_long_times *times, uint64_t s);
