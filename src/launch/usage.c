/*
 * What workers use. One look at /proc for all of them: each process counts for the worker whose
 * control group it is in, or whose session where that has no group of its own.
 */
#include "launch/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "launch/group.h"
#include "process/proc.h"
#include "util/fs.h"

/* A worker while it is looked at. */
struct usage_at {
	char *path;             /* of its own control group, as /proc tells it, or NULL */
	uint64_t ticks;         /* of processors, of the processes that were found */
	int64_t pages, threads; /* … */
};

/* The last part of a path. */
static const char *usage_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Is the group one worker's alone: a unit of a run, or a group of group.c */
static bool usage_is_own(const char *path)
{
	const char *base = usage_base(path);
	size_t len = strlen(base);

	if (strncmp(base, "kanban-", 7) != 0)
		return false;
	return (len > 15 && strcmp(base + len - 8, ".service") == 0) ||
	       (len == 23 && strspn(base + 7, "0123456789abcdef") == 16);
}

static void usage_place(struct usage *u, struct usage_at *at)
{
	CLEANUP(freep) char *path = u->pid > 0 ? group_path(u->pid) : NULL;
	const char *base = path ? usage_base(path) : "";
	size_t len = strlen(base);

	if (!path || !usage_is_own(path))
		return;
	if (len > 8 && strcmp(base + len - 8, ".service") == 0)
		(void)snprintf(u->unit, sizeof(u->unit), "%s", base);
	at->path = STEAL(path);
}

/* The number in a file of a control group; -1: it has none. @key: behind which word, or NULL */
static int64_t usage_number(const char *folder, const char *file, const char *key)
{
	CLEANUP(freep) char *path = fs_path("%s/%s", folder, file);
	CLEANUP(freep) char *text = NULL;
	const char *p;

	if (!path || fs_read_file(path, 8192, &text, NULL) < 0)
		return -1;
	p = key ? strstr(text, key) : text;
	p = p && key ? p + strlen(key) : p;
	return p ? strtoll(p, NULL, 10) : -1;
}

/* What the kernel counts for the group as a whole, also of those that have ended. */
static void usage_group(const char *mount, const struct usage_at *at, struct usage *u)
{
	CLEANUP(freep) char *folder = fs_path("%s%s", mount, at->path);

	if (!folder)
		return;
	u->memory = usage_number(folder, "memory.current", NULL);
	u->cpu_us = usage_number(folder, "cpu.stat", "usage_usec ");
	u->tasks = usage_number(folder, "pids.current", NULL);
}

static bool usage_in(const char *path, const char *group)
{
	size_t n = strlen(group);

	return strncmp(path, group, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* One process: whose is it? */
static void usage_process(pid_t pid, const struct usage *list, struct usage_at *at, size_t n,
			  bool groups)
{
	CLEANUP(freep) char *path = NULL;
	struct proc_stat one;

	if (proc_stat(pid, &one) < 0)
		return;
	path = groups ? group_path(pid) : NULL;
	for (size_t i = 0; i < n; i++) {
		bool its = at[i].path ? path && usage_in(path, at[i].path)
				      : list[i].pid > 0 && one.session == list[i].pid;

		if (!its)
			continue;
		at[i].ticks += one.ticks;
		at[i].pages += one.rss;
		at[i].threads += one.threads;
		return;
	}
}

static void usage_processes(struct usage *list, struct usage_at *at, size_t n, bool groups)
{
	CLEANUP(freep) pid_t *pids = NULL;
	int64_t page = sysconf(_SC_PAGESIZE), hz = sysconf(_SC_CLK_TCK);
	size_t n_pids = 0;

	if (proc_pids(&pids, &n_pids) < 0)
		return;
	for (size_t i = 0; i < n_pids; i++)
		usage_process(pids[i], list, at, n, groups);
	for (size_t i = 0; i < n; i++) {
		struct usage *u = &list[i];

		if (at[i].threads == 0)
			continue;
		if (u->memory < 0)
			u->memory = at[i].pages * page;
		if (u->cpu_us < 0 && hz > 0)
			u->cpu_us = (int64_t)at[i].ticks * 1000000 / hz;
		if (u->tasks < 0)
			u->tasks = at[i].threads;
	}
}

void usage_read(const struct launcher *launcher, struct usage *list, size_t n)
{
	CLEANUP(freep) struct usage_at *at = calloc(n + 1, sizeof(*at));
	CLEANUP(freep) char *mount = group_mount();
	bool sums = false, groups = false;

	for (size_t i = 0; i < n; i++) {
		struct usage *u = &list[i];

		u->memory = u->cpu_us = u->tasks = -1;
		u->unit[0] = u->job[0] = '\0';
		if (!at)
			continue;
		usage_place(u, &at[i]);
		if (at[i].path && mount)
			usage_group(mount, &at[i], u);
		groups |= at[i].path != NULL;
		sums |= u->memory < 0 || u->cpu_us < 0 || u->tasks < 0;
	}
	if (at && sums)
		usage_processes(list, at, n, groups);
	for (size_t i = 0; at && i < n; i++)
		free(at[i].path);
	launch_usage(launcher, list, n);
}
