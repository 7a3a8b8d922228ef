/* Memory: the guard (may another worker start on this host now?) and the process's own heap. */
#pragma once

#include "util/error.h"

enum memory_level {
	MEMORY_PLENTY,
	MEMORY_ELEVATED, /* one worker per tick */
	MEMORY_CRITICAL, /* none */
};

/**
 * memory_level() - from /proc/meminfo and /proc/pressure/memory, and of the control groups that
 * this process is in
 * critical: MemAvailable < max(64 MiB, 5 % of MemTotal), or PSI `full avg10` ≥ 10.
 * elevated: MemAvailable < 10 %, or PSI `some avg10` ≥ 10, or swap more than half used with
 * `some avg10` ≥ 1. Of a group: critical below 5 % of its limit, elevated below 10 %. What
 * cannot be read does not count.
 * @why: out, filled unless plenty: "512 MiB of 16384 MiB available" …
 */
enum memory_level memory_level(struct error *why);

/** memory_level_from() - the decision alone, from the texts of the two files; for tests */
enum memory_level memory_level_from(const char *meminfo, const char *pressure,
				    struct error *why);

/**
 * memory_level_of_group() - the same of control groups (v2) that have a limit: of @group and of
 * each above it, what memory.max leaves beside memory.current less the page cache
 * @mount: the folder of the root group
 * @group: a path below it that begins with /, or "/"
 */
enum memory_level memory_level_of_group(const char *mount, const char *group,
					struct error *why);

/** memory_default_in_progress() - clamp(MemTotal / 512 MiB, 2, 8): max_in_progress when unset
 */
long memory_default_in_progress(void);

/** memory_one_heap() - let all threads share one heap; before there is a second thread */
void memory_one_heap(void);

/** memory_give_back() - give what the heap has to spare back to the system */
void memory_give_back(void);
