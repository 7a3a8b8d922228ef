/*
 * Who a pid really is. A number is not a process: it is reused after a reboot, and on a busy
 * host much sooner. A stranger is never signalled.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch/launch.h"
#include "util/error.h"

enum identity {
	IDENTITY_DEAD,     /* no such process, or a zombie */
	IDENTITY_OURS,     /* the worker of that run */
	IDENTITY_STRANGER, /* alive, and somebody else */
};

/* What a board knows about a worker. Borrowed. */
struct identity_claim {
	pid_t pid;
	const char *task;    /* task id */
	int64_t run;         /* run id, 0 unknown */
	const char *started; /* worker_started_at, or NULL where the board has no such column */
	int64_t run_started_at; /* Unix seconds of the run's start */
	const char *db; /* the board's database, or NULL: copies of one board on one host have
			 * the same task and run ids, HERMES_KANBAN_DB tells them apart */
};

/**
 * identity_check() - is that pid, now, the worker of that run
 * In this order: no process or a zombie → dead. `started` present and not "unverified" → equal
 * to the process's own value or stranger. HERMES_KANBAN_TASK (and _RUN_ID, where both known) in
 * its environment → ours if equal, stranger if different (also where both databases are known
 * and are not the same file). Neither → ours only if the process
 * began between 2 s before and 600 s after run_started_at. Thread: any.  Reads /proc only.
 */
enum identity identity_check(const struct identity_claim *claim);

/**
 * identity_started() - the worker_started_at value of @pid:
 * `<boot_id>:<start ticks of pid 1>|<start ticks of the worker>`, "unverified" if unreadable
 */
void identity_started(pid_t pid, char out[LAUNCH_STARTED_MAX]);

/* A live process that carries HERMES_KANBAN_RUN_ID. */
struct identity_found {
	pid_t pid;
	pid_t ppid;
	pid_t session;
	char task[LAUNCH_TASK_MAX + 1];
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
void identity_found_free(struct identity_found *found, size_t count);
