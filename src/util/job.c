#include "util/job.h"

void jobs_init(struct jobs *jobs, uv_loop_t *loop)
{
	*jobs = (struct jobs){ .loop = loop };
}

static void job_work(uv_work_t *work)
{
	struct job *job = work->data;

	job->run(job);
}

static void job_after(uv_work_t *work, int status)
{
	struct job *job = work->data;

	(void)status; /* uv_cancel() is never called, so it is always 0 */
	if (job->prev)
		job->prev->next = job->next;
	else
		job->jobs->first = job->next;
	if (job->next)
		job->next->prev = job->prev;
	job->jobs->count--;
	job->done(job);
}

int job_submit(struct jobs *jobs, struct job *job, const char *name, job_fn run, job_fn done,
	       uint64_t limit_ms)
{
	int r;

	job->jobs = jobs;
	job->run = run;
	job->done = done;
	job->name = name;
	job->deadline_ms = uv_now(jobs->loop) + limit_ms;
	job->work.data = job;
	atomic_store(&job->cancel, false);
	r = uv_queue_work(jobs->loop, &job->work, job_work, job_after);
	if (r < 0)
		return r;
	job->prev = NULL;
	job->next = jobs->first;
	if (jobs->first)
		jobs->first->prev = job;
	jobs->first = job;
	jobs->count++;
	return 0;
}

const struct job *jobs_overdue(const struct jobs *jobs)
{
	uint64_t now = uv_now(jobs->loop);

	for (const struct job *j = jobs->first; j; j = j->next)
		if (now > j->deadline_ms)
			return j;
	return NULL;
}

void jobs_cancel(struct jobs *jobs)
{
	for (struct job *j = jobs->first; j; j = j->next)
		atomic_store(&j->cancel, true);
}
