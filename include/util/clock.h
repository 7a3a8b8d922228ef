/* The two clocks: wall time for what is stored, monotonic time for every interval. */
#pragma once

#include <stdint.h>

/** clock_wall_s() - Unix seconds, for stored stamps only */
int64_t clock_wall_s(void);

/** clock_wall_us() - Unix microseconds */
int64_t clock_wall_us(void);

/** clock_mono_ms() - CLOCK_MONOTONIC in milliseconds; the same clock as uv_now() */
uint64_t clock_mono_ms(void);

/** clock_mono_us() - CLOCK_MONOTONIC in microseconds */
uint64_t clock_mono_us(void);

/** clock_span() - so many seconds: "42s", "5min 10s", "3h 2min", "2d 4h" */
void clock_span(int64_t seconds, char out[32]);
