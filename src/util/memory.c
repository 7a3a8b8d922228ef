/* How much memory the host has left for another worker, and giving our own back. */
#include "util/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "util/fs.h"

#define MIB 1024LL /* in the kB of /proc/meminfo */

static long long memory_field(const char *meminfo, const char *name)
{
	const char *p = strstr(meminfo, name);
	long long kb = -1;

	if (!p || sscanf(p + strlen(name), ": %lld", &kb) != 1)
		return -1;
	return kb;
}

static double memory_pressure(const char *pressure, const char *line)
{
	const char *p = strstr(pressure, line);
	double avg10 = 0;

	if (!p || sscanf(p + strlen(line), " avg10=%lf", &avg10) != 1)
		return 0;
	return avg10;
}

enum memory_level memory_level_from(const char *meminfo, const char *pressure,
				    struct error *why)
{
	long long total = memory_field(meminfo, "MemTotal");
	long long available = memory_field(meminfo, "MemAvailable");
	long long swap_total = memory_field(meminfo, "SwapTotal");
	long long swap_free = memory_field(meminfo, "SwapFree");
	double some = memory_pressure(pressure, "some"),
	       full = memory_pressure(pressure, "full");
	long long floor = total / 20 > 64 * MIB ? total / 20 : 64 * MIB;
	enum memory_level level = MEMORY_PLENTY;

	if (total > 0 && available >= 0) {
		if (available < floor)
			level = MEMORY_CRITICAL;
		else if (available < total / 10)
			level = MEMORY_ELEVATED;
		if (level != MEMORY_PLENTY)
			(void)error_set(why, level, "%lld MiB of %lld MiB available",
					available / MIB, total / MIB);
	}
	if (full >= 10) {
		(void)error_set(why, MEMORY_CRITICAL,
				"tasks stalled on memory %.0f %% of the time (PSI full)", full);
		return MEMORY_CRITICAL;
	}
	if (level != MEMORY_PLENTY)
		return level;
	if (some >= 10) {
		(void)error_set(why, MEMORY_ELEVATED,
				"some tasks stalled on memory %.0f %% of the time (PSI some)",
				some);
		return MEMORY_ELEVATED;
	}
	if (swap_total > 0 && swap_free >= 0 && swap_free < swap_total / 2 && some >= 1) {
		(void)error_set(why, MEMORY_ELEVATED,
				"swap is more than half full (%lld of %lld MiB)",
				(swap_total - swap_free) / MIB, swap_total / MIB);
		return MEMORY_ELEVATED;
	}
	return MEMORY_PLENTY;
}

/* A file of one number; −1 where there is none, or "max". */
static long long memory_group_number(const char *folder, const char *file)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", folder, file);
	CLEANUP(freep) char *text = NULL;
	long long n = -1;

	if (!path || fs_read_file(path, 64, &text, NULL) < 0 || sscanf(text, "%lld", &n) != 1)
		return -1;
	return n;
}

/* The page cache of a group: it is given up before a worker has to be. */
static long long memory_group_cache(const char *folder)
{
	CLEANUP(freep) char *path = fs_path("%s/memory.stat", folder);
	CLEANUP(freep) char *text = NULL;
	const char *p;
	long long n = 0, sum = 0;

	if (!path || fs_read_file(path, 65536, &text, NULL) < 0)
		return 0;
	for (p = text; (p = strstr(p, "active_file ")) != NULL; p += 12)
		if (sscanf(p + 12, "%lld", &n) == 1) /* inactive_file, too */
			sum += n;
	return sum;
}

enum memory_level memory_level_of_group(const char *mount, const char *group, struct error *why)
{
	CLEANUP(freep) char *folder = fs_path("%s%s", mount, strcmp(group, "/") ? group : "");
	enum memory_level level = MEMORY_PLENTY;
	const size_t top = strlen(mount);
	char *slash;

	while (folder && strlen(folder) > top && (slash = strrchr(folder, '/')) != NULL) {
		long long max = memory_group_number(folder, "memory.max");
		long long current = memory_group_number(folder, "memory.current");
		long long left = max - current + memory_group_cache(folder);
		enum memory_level here = left < max / 20   ? MEMORY_CRITICAL
					 : left < max / 10 ? MEMORY_ELEVATED
							   : MEMORY_PLENTY;

		if (max > 0 && current >= 0 && here > level) {
			level = here;
			(void)error_set(why, here, "%lld MiB of the %lld MiB of %.200s left",
					left > 0 ? left >> 20 : 0, max >> 20, folder + top);
		}
		*slash = '\0';
	}
	return level;
}

static enum memory_level memory_level_own_group(struct error *why)
{
	CLEANUP(freep) char *text = NULL;
	char *path;

	if (fs_read_file("/proc/self/cgroup", 65536, &text, NULL) < 0)
		return MEMORY_PLENTY;
	path = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
	if (!path)
		return MEMORY_PLENTY;
	path = strchr(path, '/');
	path[strcspn(path, "\n")] = '\0';
	return memory_level_of_group("/sys/fs/cgroup", path, why);
}

enum memory_level memory_level(struct error *why)
{
	CLEANUP(freep) char *meminfo = NULL;
	CLEANUP(freep) char *pressure = NULL;
	struct error group_why = ERROR_NULL;
	enum memory_level host, group;

	if (fs_read_file("/proc/meminfo", 65536, &meminfo, NULL) < 0)
		meminfo = NULL;
	if (fs_read_file("/proc/pressure/memory", 4096, &pressure, NULL) < 0)
		pressure = NULL;
	host = memory_level_from(meminfo ? meminfo : "", pressure ? pressure : "", why);
	group = memory_level_own_group(&group_why);
	if (group <= host)
		return host;
	*why = group_why;
	return group;
}

long memory_default_in_progress(void)
{
	CLEANUP(freep) char *meminfo = NULL;
	long long n;

	if (fs_read_file("/proc/meminfo", 65536, &meminfo, NULL) < 0)
		return 2;
	n = memory_field(meminfo, "MemTotal") / (512 * MIB);
	return n < 2 ? 2 : n > 8 ? 8 : (long)n;
}

/* ---- the heap ------------------------------------------------------------------------ */

void memory_one_heap(void)
{
#ifdef M_ARENA_MAX
	/* an arena for each thread of the pool is 0.5 MiB more, for nothing: they rarely meet
	 */
	(void)mallopt(M_ARENA_MAX, 1); /* without it there is more of it */
#endif
}

void memory_give_back(void)
{
#ifdef __GLIBC__
	(void)malloc_trim(0); /* says whether there was any */
#endif
}
