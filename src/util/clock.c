/* Reads the clocks: wall time and monotonic time. */
#include "util/clock.h"

#include <stdio.h>
#include <time.h>

static struct timespec clock_get(clockid_t id)
{
	struct timespec ts = { 0 };

	/* cannot fail for these two clocks with a valid pointer */
	(void)clock_gettime(id, &ts);
	return ts;
}

int64_t clock_wall_s(void)
{
	return clock_get(CLOCK_REALTIME).tv_sec;
}

int64_t clock_wall_us(void)
{
	struct timespec ts = clock_get(CLOCK_REALTIME);

	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void)
{
	struct timespec ts = clock_get(CLOCK_MONOTONIC);

	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_mono_us(void)
{
	struct timespec ts = clock_get(CLOCK_MONOTONIC);

	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void clock_span(int64_t s, char out[32])
{
	long long n = (long long)s;

	if (n < 60)
		(void)snprintf(out, 32, "%llds", n);
	else if (n < 3600)
		(void)snprintf(out, 32, "%lldmin %llds", n / 60, n % 60);
	else if (n < 86400)
		(void)snprintf(out, 32, "%lldh %lldmin", n / 3600, n % 3600 / 60);
	else
		(void)snprintf(out, 32, "%lldd %lldh", n / 86400, n % 86400 / 3600);
}
