#include "root/stats.h"

static const uint64_t stats_bounds[STATS_BUCKETS] = {
	500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 500000, 1000000, 5000000, 30000000,
};

const uint64_t *stats_bounds_us(void)
{
	return stats_bounds;
}

void stats_time(struct stats_times *times, uint64_t us)
{
	size_t i = 0;

	while (i < STATS_BUCKETS && us > stats_bounds[i])
		i++;
	times->count[i]++;
	times->sum_us += us;
}
