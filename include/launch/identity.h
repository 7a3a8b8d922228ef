/*
 * Who a pid really is. A number is not a process: it is reused after a reboot, and on a busy
 * host much sooner. A stranger is never signalled.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "process/proc.h"
#include "util/error.h"

#define IDENTITY_TASK_MAX 128 /* longest task id of a worker, in bytes */

enum identity {
	IDENTITY_DEAD,     /* no such process, or a zombie */
	IDENTITY_OURS,     /* the worker of that run */
	IDENTITY_STRANGER, /* alive, and somebody else */
	IDENTITY_UNSURE, /* alive, and does not let us see: holds its claim, is not signalled */
};

/* What a board knows about a worker. Borrowed. */
struct identity_claim {
	pid_t pid;
	const char *task;    /* task id */
	int64_t run;         /* run id, 0 unknown */
	const char *started; /* worker_started_at, or NULL where the board has no such column */
	int64_t run_started_at; /* Unix seconds of the run's start */
	bool child; /* our own child that was not reaped: the number cannot be anybody else's */
	const char *db; /* the board's database, or NULL: copies of one board on one host have
			 * the same task and run ids, HERMES_KANBAN_DB tells them apart */
};

/**
 * identity_elsewhere() - was @started recorded in another pid namespace of this boot: its pid 1
 * is another one. What runs there is not seen from here, and its pids mean nothing.
 */
bool identity_elsewhere(const char *started);

/**
 * identity_check() - is that pid, now, the worker of that run
 * In this order: no process or a zombie → dead. `child` → ours. `started` present and not
 * "unverified" → another start is a stranger. The number of the run (proc_run_number()) → ours.
 * Its environment, where it can be read: HERMES_KANBAN_TASK (and _RUN_ID, _DB, where both
 * known) equal → ours, other ones → a stranger. Without them: unsure if there is a `started`,
 * which fits or says "unverified", else a stranger: a row alone makes nobody a worker that may
 * be signalled. Where it cannot be read, or was written over → unsure, but a stranger if there
 * is no `started` and it began earlier than 2 s before or later than 600 s after
 * run_started_at. Thread: any.  Reads /proc only.
 */
enum identity identity_check(const struct identity_claim *claim);

/**
 * identity_started() - the worker_started_at value of @pid:
 * `<boot_id>:<start ticks of pid 1>|<start ticks of the worker>`, "unverified" if unreadable
 */
void identity_started(pid_t pid, char out[PROC_STARTED_MAX]);

/* A live process that carries HERMES_KANBAN_RUN_ID. */
struct identity_found {
	pid_t pid;
	pid_t ppid;
	pid_t session;
	char task[IDENTITY_TASK_MAX + 1];
	int64_t run;
	char *db; /* HERMES_KANBAN_DB, malloc'd, or NULL */
};

/**
 * identity_scan() - every process of this host whose environment has HERMES_KANBAN_TASK and
 * HERMES_KANBAN_RUN_ID (zombies and unreadable ones are left out)
 * @found: out; malloc'd array, identity_found_free() frees it
 * Return: 0 or -errno.
 */
MUST_CHECK int identity_scan(struct identity_found **found, size_t *count);

/** identity_is_worker() - is @found[@i] the worker of a run of that board, and not what one has
 * started: its parent does not carry the run. @db: of the board; NULL: of any */
bool identity_is_worker(const struct identity_found *found, size_t count, size_t i,
			const char *db);

void identity_found_free(struct identity_found *found, size_t count);
