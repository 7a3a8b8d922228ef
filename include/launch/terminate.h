/*
 * Ending a worker with everything it started.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "launch/identity.h"
#include "util/error.h"

/* What a termination came to: CONTRACT §6.3. */
struct termination {
	bool attempted;  /* a signal was sent */
	bool terminated; /* the worker is gone now */
	bool sigkill;    /* SIGKILL was needed */
};

struct terminator;

/* Terminations that share a loop: each looks through /proc, and when there are hundreds at once
 * only a few do so at a time, so that the pool serves others, too. Zeroed at first. */
struct terminate_queue {
	unsigned looking;         /* that look now */
	struct terminator *first; /* that wait for their turn */
};

typedef void (*terminate_fn)(void *arg, struct termination result);

/**
 * terminate_start() - end a worker and all of its descendants: SIGTERM to the worker's process
 * group if it leads one (else to the process), after @grace_ms SIGKILL to the group, then
 * SIGKILL to every process that carries the run's HERMES_KANBAN_RUN_ID with its
 * HERMES_KANBAN_TASK. The identity is checked again right before each signal; a stranger is
 * left alone and counts as terminated.
 * @queue: that it waits in, borrowed; NULL: it waits for nobody
 * @fn: once, on the loop thread, when the worker is gone, or 2 s after SIGKILL
 * Return: 0 or -errno, then @fn is not called.
 */
MUST_CHECK int terminate_start(uv_loop_t *loop, struct terminate_queue *queue,
			       const struct identity_claim *claim, unsigned grace_ms,
			       terminate_fn fn, void *arg);

/**
 * terminate_now() - terminate_start() that waits: for --once and for jobs
 * @out: as @fn's result
 * Thread: any but the loop.  Blocks: at most @grace_ms and 2 s more.
 * Return: 0 or -errno, then nothing was signalled.
 */
MUST_CHECK int terminate_now(const struct identity_claim *claim, unsigned grace_ms,
			     struct termination *out);

/**
 * terminate_leftovers() - SIGKILL every descendant that outlived its run: each process that
 * carries the environment of @task and @run. Cheap when there is none.
 * @db: only where HERMES_KANBAN_DB is it; NULL: whatever it is
 * Thread: pool (reads /proc).  Return: how many were signalled, or -errno.
 */
MUST_CHECK int terminate_leftovers(const char *task, int64_t run, const char *db);
