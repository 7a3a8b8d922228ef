/*
 * What jobs use, as sstat(1) tells it: of jobs that run, where the site gathers that
 * (JobAcctGatherType). Each step of a job is a line.
 */
#include "slurm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/usage.h"
#include "util/clock.h"

#define SLURM_USAGE_MS   1200 /* it asks the nodes */
#define SLURM_USAGE_JOBS 60   /* at a time: an answer is bounded */

/* "1204K"; -1 none */
static int64_t slurm_bytes(const char *text)
{
	static const char units[] = "KMGTP";
	char *end;
	double value = strtod(text, &end);
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (end == text || value < 0)
		return -1;
	for (int i = unit ? (int)(unit - units) : -1; i >= 0; i--)
		value *= 1024;
	return value < 9e18 ? (int64_t)value : -1;
}

/* "[D-][[H:]M:]S[.mmm]" in microseconds; -1 none */
static int64_t slurm_time(const char *text)
{
	double total = 0, value;
	char *end;

	for (const char *p = text;; p = end + 1) {
		value = strtod(p, &end);
		if (end == p || value < 0)
			return -1;
		total += value;
		if (*end == '-')
			total *= 24;
		else if (*end == ':')
			total *= 60;
		else
			break;
	}
	return total < 9e12 ? (int64_t)(total * 1e6) : -1;
}

static void slurm_add_to(int64_t *sum, int64_t value)
{
	if (value >= 0)
		*sum = (*sum < 0 ? 0 : *sum) + value;
}

/* "17.batch|1204K|00:01.000|1" */
static void slurm_step(char *line, struct usage *list, size_t n)
{
	char *memory = strchr(line, '|');
	char *cpu = memory ? strchr(memory + 1, '|') : NULL;
	char *tasks = cpu ? strchr(cpu + 1, '|') : NULL;
	int64_t each, of;

	if (!tasks)
		return;
	*memory++ = *cpu++ = *tasks++ = '\0';
	line[strcspn(line, ".")] = '\0';
	each = slurm_time(cpu);
	of = strtoll(tasks, NULL, 10);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i].job, line) != 0)
			continue;
		slurm_add_to(&list[i].memory, slurm_bytes(memory));
		slurm_add_to(&list[i].cpu_us, each >= 0 && of > 0 ? each * of : -1);
	}
}

/* Some of them, from @list on. Return: how many were looked at. */
static size_t slurm_usage_some(const struct slurm *slurm, struct usage *list, size_t n,
			       int limit_ms)
{
	char ids[SLURM_USAGE_JOBS * SLURM_ID_SIZE] = "";
	char *const argv[] = { (char *)"sstat",
			       (char *)"--noheader",
			       (char *)"--parsable2",
			       (char *)"--allsteps",
			       (char *)"--noconvert",
			       (char *)"--format=JobID,MaxRSS,AveCPU,NTasks",
			       (char *)"--jobs",
			       ids,
			       NULL };
	struct run_output output;
	char *end = ids, *rest = output.out, *line;
	size_t i;

	for (i = 0; i < n && i < SLURM_USAGE_JOBS; i++)
		if (list[i].job[0])
			end += sprintf(end, "%s%s", end > ids ? "," : "", list[i].job);
	/* a job that has just ended is told as an error, and the others all the same */
	if (end == ids || slurm_run(slurm, argv, limit_ms, &output) < 0)
		return i;
	while ((line = strsep(&rest, "\n")) != NULL)
		slurm_step(line, list, i);
	return i;
}

void slurm_usage(const struct slurm *slurm, struct usage *list, size_t n)
{
	uint64_t now = clock_mono_ms(), end = now + SLURM_USAGE_MS;

	for (size_t at = 0; at < n && now < end; now = clock_mono_ms())
		at += slurm_usage_some(slurm, list + at, n - at, (int)(end - now));
}
