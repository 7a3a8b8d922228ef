/*
 * Workers as units of a service manager: each run is a transient service of its own, in
 * kanban.slice, so that it has its own limits, outlives whoever started it, and ends with all
 * its processes. How it ended is kept by the manager until it is collected.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

#define UNIT_WORKER_OPTION "--unit-worker" /* kanband is started by the manager with this */
#define UNIT_SLICE         "kanban.slice"

/* Who starts units for this account. */
enum unit_manager {
	UNIT_MANAGER_NONE,
	UNIT_MANAGER_OWN,    /* the account's own, at /run/user/UID */
	UNIT_MANAGER_SYSTEM, /* the system's: for root, or where polkit lets this account */
};

/**
 * unit_manager_find() - which one answers and lets us
 * @why: out, where there is none: why, and what to do about it
 * Thread: any but a running loop's.  Blocks: at most 4 s, where a bus hangs.
 */
enum unit_manager unit_manager_find(struct error *why);

/** unit_is_of() - is @unit (of @len bytes, no NUL) the name of one of the task's runs */
bool unit_is_of(const char *board, const char *task, const char *unit, size_t len);

/**
 * unit_worker_main() - what the manager starts: become the worker that standard input describes
 * Return: only when that fails, an exit status: 127 not there, 126 not to be started.
 */
int unit_worker_main(void);
