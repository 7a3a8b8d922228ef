/* Memory: the guard (may another worker start on this host now?) and the process's own heap. */
#pragma once

#include "util/error.h"

enum memory_level {
	MEMORY_PLENTY,
	MEMORY_ELEVATED, /* one worker per tick */
	MEMORY_CRITICAL, /* none */
};

/**
 * memory_level() - from /proc/meminfo and /proc/pressure/memory
 * critical: MemAvailable < max(64 MiB, 5 % of MemTotal), or PSI `full avg10` ≥ 10.
 * elevated: MemAvailable < 10 %, or PSI `some avg10` ≥ 10, or swap more than half used with
 * `some avg10` ≥ 1. What cannot be read does not count.
 * @why: out, filled unless plenty: "512 MiB of 16384 MiB available" …
 */
enum memory_level memory_level(struct error *why);

/** memory_level_from() - the decision alone, from the texts of the two files; for tests */
enum memory_level memory_level_from(const char *meminfo, const char *pressure,
				    struct error *why);

/** memory_default_in_progress() - clamp(MemTotal / 512 MiB, 2, 8): max_in_progress when unset
 */
long memory_default_in_progress(void);

/** memory_one_heap() - let all threads share one heap; before there is a second thread */
void memory_one_heap(void);

/** memory_give_back() - give what the heap has to spare back to the system */
void memory_give_back(void);
