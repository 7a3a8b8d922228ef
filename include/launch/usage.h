/* What workers use of this host, and where they are. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct launcher;

/* One worker. The texts of @root … @task are borrowed. */
struct usage {
	/* in */
	const char *root, *board, *task;
	int64_t run;
	pid_t pid;
	/* out: -1 and "" where it cannot be seen from here */
	int64_t memory; /* bytes, of all that it started, too */
	int64_t cpu_us; /* of a processor, so far */
	int64_t tasks;  /* threads */
	char unit[256]; /* of the service manager */
	char job[24];   /* of a cluster: its id */
};

/**
 * usage_read() - fill the second part of each of @list
 *
 * Where a worker has a control group of its own, the kernel says what that uses; what it does
 * not count there, and of other workers, is the sum over the processes of the group, else of
 * the worker's session. Of a job of a cluster its own commands are asked.
 * Thread: pool.  Blocks: reads /proc; with `slurm` for about a second.
 */
void usage_read(const struct launcher *launcher, struct usage *list, size_t n);
