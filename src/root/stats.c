/* Histograms: how long things took. */
#include "root/stats.h"

static const uint64_t stats_bounds[STATS_BUCKETS] = {
	500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 500000, 1000000, 5000000, 30000000,
};

static const uint64_t stats_long_bounds[STATS_BUCKETS] = {
	1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400,
};

static size_t stats_bucket(const uint64_t *bounds, uint64_t value)
{
	size_t i = 0;

	while (i < STATS_BUCKETS && value > bounds[i])
		i++;
	return i;
}

const uint64_t *stats_bounds_us(void)
{
	return stats_bounds;
}

const uint64_t *stats_long_bounds_s(void)
{
	return stats_long_bounds;
}

void stats_time(struct stats_times *times, uint64_t us)
{
	times->count[stats_bucket(stats_bounds, us)]++;
	times->sum_us += us;
}

void stats_long_time(struct stats_long_times *times, uint64_t s)
{
	times->count[stats_bucket(stats_long_bounds, s)]++;
	times->sum_s += s;
}
