/*
 * Background jobs on libuv's pool. A job owns its data: inputs are copied in before
 * job_submit(), results are read after the completion. `work` runs on a pool thread and may
 * block; `done` runs on the loop thread. Every job has a deadline: the watchdog gate asks
 * jobs_overdue() and stops pinging when one is past it, so a hung pool is noticed as surely as
 * a hung loop.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "util/error.h"

struct job;
typedef void (*job_fn)(struct job *job);

struct job {
	uv_work_t work;          /* libuv's part */
	struct jobs *jobs;       /* the set it runs in */
	struct job *prev, *next; /* in the set, loop thread only */
	job_fn run;              /* pool thread */
	job_fn done;             /* loop thread; may free the job */
	uint64_t deadline_ms;    /* uv_now() after which it is overdue */
	const char *name;        /* static text for logs: "tick", "launch" … */
	atomic_bool cancel;      /* asks a long job to end early; read by the job */
};

struct jobs {
	uv_loop_t *loop;   /* borrowed */
	struct job *first; /* running or queued jobs */
	unsigned count;    /* their number */
};

/** jobs_init() - an empty set on @loop (borrowed) */
void jobs_init(struct jobs *jobs, uv_loop_t *loop);

/**
 * job_submit() - queue @job
 * @job:     embedded in the caller's request, zeroed before first use; must live until done
 * @run:     pool thread, may block
 * @done:    loop thread, exactly once; may free or resubmit the job
 * @limit_ms: from now to overdue, in milliseconds
 * Return: 0 or -errno, then neither callback runs.
 */
MUST_CHECK int job_submit(struct jobs *jobs, struct job *job, const char *name, job_fn run,
			  job_fn done, uint64_t limit_ms);

/** jobs_overdue() - a job past its deadline, or NULL; loop thread */
const struct job *jobs_overdue(const struct jobs *jobs);

/** jobs_cancel() - set the cancel flag of every job; they still complete */
void jobs_cancel(struct jobs *jobs);
