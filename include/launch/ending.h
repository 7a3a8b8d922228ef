/*
 * How a worker ends: watching it by pidfd, and ending it with everything it started.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "launch/identity.h"
#include "util/error.h"

/* How a process ended, as far as it is known. */
enum ending_kind {
	ENDING_UNKNOWN,  /* it was not our child */
	ENDING_EXITED,   /* value = exit status */
	ENDING_SIGNALED, /* value = signal */
};

struct ending {
	enum ending_kind kind;
	int value;
};

struct watch;
typedef void (*watch_fn)(void *arg, struct watch *watch, struct ending ending);

/**
 * watch_open() - call @fn once on the loop thread when @pid ends; reaps it if it is our child
 * @pidfd: taken over (closed with the watch); -1 opens one, which is only safe for our own
 *         unreaped child or after identity_check(). A pid that is gone already reports at once,
 *         from the loop.
 * Return: 0 or -errno (-ESRCH: gone already and not our child).
 */
MUST_CHECK int watch_open(struct watch **watch, uv_loop_t *loop, pid_t pid, int pidfd,
			  watch_fn fn, void *arg);

/** watch_close() - stop watching; frees itself. Takes NULL, returns NULL. */
struct watch *watch_close(struct watch *watch);
pid_t watch_pid(const struct watch *watch);

/* What a termination came to: CONTRACT §6.3. */
struct termination {
	bool attempted;  /* a signal was sent */
	bool terminated; /* the worker is gone now */
	bool sigkill;    /* SIGKILL was needed */
};

struct terminator;
typedef void (*terminate_fn)(void *arg, struct termination result);

/**
 * terminate_start() - end a worker and all of its descendants: SIGTERM to the worker's process
 * group if it leads one (else to the process), after @grace_ms SIGKILL to the group, then
 * SIGKILL to every process that carries the run's HERMES_KANBAN_RUN_ID with its
 * HERMES_KANBAN_TASK. The identity is checked again right before each signal; a stranger is
 * left alone and counts as terminated.
 * @fn: once, on the loop thread, when the worker is gone, or 2 s after SIGKILL
 * Return: 0 or -errno, then @fn is not called.
 */
MUST_CHECK int terminate_start(uv_loop_t *loop, const struct identity_claim *claim,
			       unsigned grace_ms, terminate_fn fn, void *arg);

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
 * Thread: pool (reads /proc).  Return: how many were signalled, or -errno.
 */
MUST_CHECK int terminate_leftovers(const char *task, int64_t run);

/** terminate_leftovers_of() - the same, only where HERMES_KANBAN_DB is @db (NULL: any) */
MUST_CHECK int terminate_leftovers_of(const char *task, int64_t run, const char *db);
