/*
 * Background jobs on libuv's pool. A job owns its data: inputs are copied in before
 * job_submit(), results are read after the completion. `work` runs on a pool thread and may
 * block; `done` runs on the loop thread.
 *
 * What may take or wait long (job_submit_long()) gets a few of the pool's threads and queues
 * for them, so that it never keeps the rest waiting.
 *
 * Every job has a deadline. One that is past it is asked to end; where it does not, the
 * watchdog gate hears of it from jobs_overdue() and stops pinging, so a hung pool is noticed as
 * surely as a hung loop.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "util/error.h"

#define JOB_THREADS  8    /* of the pool; see job_threads_init() */
#define JOB_LONG_MAX 3    /* long jobs at a time */
#define JOB_GRACE_MS 5000 /* from being asked to end to being overdue */

struct job;
typedef void (*job_fn)(struct job *job);

struct job {
	uv_work_t work;          /* libuv's part */
	struct jobs *jobs;       /* the set it runs in */
	struct job *prev, *next; /* in the set or the queue, loop thread only */
	job_fn run;              /* pool thread */
	job_fn done;             /* loop thread; may free the job */
	uint64_t limit_ms;       /* from its start to its deadline */
	uint64_t deadline_ms;    /* uv_now() after which it is asked to end */
	const char *name;        /* static text for logs: "tick", "launch" … */
	atomic_bool cancel;      /* asks a long job to end early; read by the job */
	bool is_long;            /* of job_submit_long() */
};

struct jobs {
	uv_loop_t *loop;       /* borrowed */
	struct job *first;     /* running, or waiting for a thread of libuv's */
	struct job *queue;     /* long ones that have not begun, oldest first */
	unsigned count;        /* of both */
	unsigned long_running; /* long ones among the first */
	uint64_t grace_ms;     /* JOB_GRACE_MS; the tests shorten it */
};

/** job_threads_init() - have JOB_THREADS threads, unless the environment says how many; before
 * the first job of the process */
void job_threads_init(void);

/** jobs_init() - an empty set on @loop (borrowed) */
void jobs_init(struct jobs *jobs, uv_loop_t *loop);

/**
 * job_submit() - queue @job
 * @job:     embedded in the caller's request, zeroed before first use; must live until done
 * @run:     pool thread, may block
 * @done:    loop thread, exactly once; may free or resubmit the job
 * @limit_ms: from its start to its deadline, in milliseconds
 * Return: 0 or -errno, then neither callback runs.
 */
MUST_CHECK int job_submit(struct jobs *jobs, struct job *job, const char *name, job_fn run,
			  job_fn done, uint64_t limit_ms);

/** job_submit_long() - the same for one that may take or wait long: at most JOB_LONG_MAX of
 * them run, the others wait their turn */
MUST_CHECK int job_submit_long(struct jobs *jobs, struct job *job, const char *name, job_fn run,
			       job_fn done, uint64_t limit_ms);

/** jobs_overdue() - ask those past their deadline to end. Return: one that was asked and did
 * not within the grace, or NULL; loop thread */
const struct job *jobs_overdue(struct jobs *jobs);

/** job_cancel() - ask one to end; it still completes. One that does not run is left alone. */
void job_cancel(struct job *job);

/** jobs_cancel() - ask every job to end; they still complete
 * @only_long: those of job_submit_long() alone */
void jobs_cancel(struct jobs *jobs, bool only_long);
