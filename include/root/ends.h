/*
 * How workers ended that were our children, in a file: the kernel tells that once, to us alone,
 * and a kanband that is killed before it is booked would take it along. The next owner of the
 * root asks for it (tick_host.ended).
 *
 * A launcher that knows how its workers ended, the service manager or Slurm, needs none of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/ending.h"

struct ends;
struct root;

/* The end of one run. Borrowed. */
struct ends_run {
	const char *db, *task;
	int64_t run;
	pid_t pid; /* ends_find(): 0, any */
};

/** ends_new() - Return: NULL when out of memory */
struct ends *ends_new(void);
struct ends *ends_free(struct ends *ends);

/** ends_load_work() - read what the owner before us left in `<root>/kanban/.kanband.ends`, and
 * open it for what is to come; @root: its path. Thread: pool. */
void ends_load_work(struct ends *ends, const char *root);

/** ends_trim_work() - set the file aside when it has grown. Thread: pool. */
void ends_trim_work(struct ends *ends);

/** ends_note() - @ended is known from now on, whatever becomes of this process
 * One write(2) without a sync: it survives us, not the host, whose workers end with it. */
void ends_note(struct ends *ends, const struct ends_run *ended, struct ending ending);

/** ends_find() - how did @run end. @pid: out, its pid. Return: is it known. Any thread. */
bool ends_find(struct ends *ends, const struct ends_run *run, struct ending *ending,
	       pid_t *pid);
