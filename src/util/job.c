/*
 * Runs jobs on libuv's pool, the long ones few at a time so that the short ones never wait for
 * them, and cancels them.
 */
#include "util/job.h"

#include <stdio.h>
#include <stdlib.h>

void job_threads_init(void)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", JOB_THREADS);
	(void)setenv("UV_THREADPOOL_SIZE", text, 0); /* libuv's own number does as well */
}

void jobs_init(struct jobs *jobs, uv_loop_t *loop)
{
	*jobs = (struct jobs){ .loop = loop, .grace_ms = JOB_GRACE_MS };
}

static void job_unlink(struct job **list, struct job *job)
{
	if (job->prev)
		job->prev->next = job->next;
	else
		*list = job->next;
	if (job->next)
		job->next->prev = job->prev;
}

static void job_push(struct job **list, struct job *job)
{
	job->prev = NULL;
	job->next = *list;
	if (*list)
		(*list)->prev = job;
	*list = job;
}

static void job_work(uv_work_t *work)
{
	struct job *job = work->data;

	job->run(job);
}

static void job_after(uv_work_t *work, int status);

static int job_start(struct job *job)
{
	struct jobs *jobs = job->jobs;
	int r = uv_queue_work(jobs->loop, &job->work, job_work, job_after);

	if (r < 0)
		return r;
	job->deadline_ms = uv_now(jobs->loop) + job->limit_ms;
	job_push(&jobs->first, job);
	jobs->long_running += job->is_long;
	return 0;
}

static void job_start_next(struct jobs *jobs)
{
	struct job *job = jobs->queue;

	if (!job || jobs->long_running >= JOB_LONG_MAX)
		return;
	job_unlink(&jobs->queue, job);
	/* fails only without a callback */
	if (job_start(job) < 0)
		job_push(&jobs->queue, job);
}

static void job_after(uv_work_t *work, int status)
{
	struct job *job = work->data;
	struct jobs *jobs = job->jobs;

	(void)status; /* uv_cancel() is never called, so it is always 0 */
	job_unlink(&jobs->first, job);
	jobs->count--;
	jobs->long_running -= job->is_long;
	job_start_next(jobs);
	job->done(job);
}

static void job_fill(struct jobs *jobs, struct job *job, const char *name, job_fn run,
		     job_fn done, uint64_t limit_ms)
{
	job->jobs = jobs;
	job->run = run;
	job->done = done;
	job->name = name;
	job->limit_ms = limit_ms;
	job->work.data = job;
	atomic_store(&job->cancel, false);
	/* nobody looks at the clock where there is no watchdog */
	(void)jobs_overdue(jobs);
}

int job_submit(struct jobs *jobs, struct job *job, const char *name, job_fn run, job_fn done,
	       uint64_t limit_ms)
{
	int r;

	job_fill(jobs, job, name, run, done, limit_ms);
	job->is_long = false;
	r = job_start(job);
	jobs->count += r == 0;
	return r;
}

int job_submit_long(struct jobs *jobs, struct job *job, const char *name, job_fn run,
		    job_fn done, uint64_t limit_ms)
{
	struct job *last = jobs->queue;
	int r = 0;

	job_fill(jobs, job, name, run, done, limit_ms);
	job->is_long = true;
	if (jobs->long_running < JOB_LONG_MAX) {
		r = job_start(job);
		jobs->count += r == 0;
		return r;
	}
	while (last && last->next)
		last = last->next;
	job->next = NULL;
	job->prev = last;
	if (last)
		last->next = job;
	else
		jobs->queue = job;
	jobs->count++;
	return 0;
}

const struct job *jobs_overdue(struct jobs *jobs)
{
	uint64_t now = uv_now(jobs->loop);
	const struct job *overdue = NULL;

	for (struct job *j = jobs->first; j; j = j->next) {
		if (now <= j->deadline_ms)
			continue;
		atomic_store(&j->cancel, true);
		if (now - j->deadline_ms > jobs->grace_ms)
			overdue = j;
	}
	return overdue;
}

void job_cancel(struct job *job)
{
	atomic_store(&job->cancel, true); /* the next submission clears it */
}

void jobs_cancel(struct jobs *jobs, bool only_long)
{
	struct job *const lists[] = { jobs->first, jobs->queue };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (struct job *j = lists[i]; j; j = j->next)
			if (j->is_long || !only_long)
				atomic_store(&j->cancel, true);
}
