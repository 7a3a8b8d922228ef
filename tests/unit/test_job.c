/* Jobs run elsewhere, end on the loop, are overdue and cancelled. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <uv.h>

#include "kit/files.h"
#include "kit/suite.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fs.h"
#include "util/job.h"
#include "util/log.h"

/* job */
struct work {
	struct job job;
	pthread_t ran_on;
	pthread_mutex_t *gate; /* held by the test as long as the job shall not end */
	struct jobs *jobs;
	int done;
	bool saw_cancel;
	bool again; /* submit once more from done */
};

static void work_run(struct job *job)
{
	struct work *w = (struct work *)job;

	w->ran_on = pthread_self();
	if (w->gate) {
		(void)pthread_mutex_lock(w->gate);
		(void)pthread_mutex_unlock(w->gate);
	}
	w->saw_cancel = atomic_load(&job->cancel);
}

static void work_done(struct job *job)
{
	struct work *w = (struct work *)job;

	w->done++;
	if (w->again) {
		w->again = false;
		ck_assert_int_eq(job_submit(w->jobs, job, "again", work_run, work_done, 1000),
				 0);
	}
}

static void work_done_free(struct job *job)
{
	free(job);
}

START_TEST(jobs_run_elsewhere_and_end_on_the_loop)
{
	uv_loop_t loop;
	struct jobs jobs;
	struct work w[5] = { 0 };
	struct work *freed = calloc(1, sizeof(*freed));

	ck_assert_ptr_nonnull(freed);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	jobs_init(&jobs, &loop);
	for (int i = 0; i < 5; i++) {
		w[i].jobs = &jobs;
		w[i].again = i == 2;
		ck_assert_int_eq(
			job_submit(&jobs, &w[i].job, "test", work_run, work_done, 60000), 0);
	}
	ck_assert_int_eq(
		job_submit(&jobs, &freed->job, "freed", work_run, work_done_free, 60000), 0);
	ck_assert_uint_eq(jobs.count, 6);
	ck_assert_ptr_null(jobs_overdue(&jobs));
	ck_assert_int_eq(w[0].done, 0);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(w[i].done, i == 2 ? 2 : 1);
		ck_assert(!pthread_equal(w[i].ran_on, pthread_self()));
	}
	ck_assert_uint_eq(jobs.count, 0);
	ck_assert_ptr_null(jobs.first);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* Long jobs that all block: quick ones find a thread, and those that wait have their turn. */
START_TEST(long_jobs_leave_threads_to_others)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	struct work slow[3 * JOB_THREADS] = { 0 }, quick = { 0 };
	const unsigned n = sizeof(slow) / sizeof(slow[0]);
	uv_loop_t loop;
	struct jobs jobs;
	uint64_t end;

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	jobs_init(&jobs, &loop);
	ck_assert_int_eq(pthread_mutex_lock(&gate), 0);
	for (unsigned i = 0; i < n; i++) {
		slow[i].gate = &gate;
		ck_assert_int_eq(job_submit_long(&jobs, &slow[i].job, "slow", work_run,
						 work_done, 600000),
				 0);
	}
	ck_assert_uint_eq(jobs.count, n);
	ck_assert_int_eq(job_submit(&jobs, &quick.job, "quick", work_run, work_done, 600000),
			 0);
	for (end = clock_mono_ms() + 10000; quick.done == 0 && clock_mono_ms() < end;)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert_int_eq(quick.done, 1);
	ck_assert_uint_eq(jobs.long_running, JOB_LONG_MAX);
	/* one of those that wait is told, too; a quick one is not */
	ck_assert_int_eq(job_submit(&jobs, &quick.job, "quick", work_run, work_done, 600000),
			 0);
	job_cancel(&slow[0].job);
	ck_assert(!atomic_load(&slow[n - 1].job.cancel));
	jobs_cancel(&jobs, true);
	ck_assert(!atomic_load(&quick.job.cancel));
	ck_assert_int_eq(pthread_mutex_unlock(&gate), 0);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(slow[i].done, 1);
		ck_assert(slow[i].saw_cancel);
	}
	ck_assert_uint_eq(jobs.count, 0);
	ck_assert_uint_eq(jobs.long_running, 0);
	ck_assert_ptr_null(jobs.queue);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(jobs_are_overdue_and_cancelled)
{
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	uv_loop_t loop;
	struct jobs jobs;
	struct work slow = { .gate = &gate }, quick = { 0 };
	const struct job *late;
	uint64_t end;

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	jobs_init(&jobs, &loop);
	ck_assert_int_eq(pthread_mutex_lock(&gate), 0);
	ck_assert_int_eq(job_submit(&jobs, &slow.job, "slow", work_run, work_done, 1), 0);
	ck_assert_int_eq(job_submit(&jobs, &quick.job, "quick", work_run, work_done, 600000),
			 0);
	for (end = clock_mono_ms() + 10000; quick.done == 0 && clock_mono_ms() < end;)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert_int_eq(quick.done, 1);
	while (clock_mono_ms() < slow.job.deadline_ms + 1)
		uv_update_time(&loop);
	uv_update_time(&loop);
	ck_assert_ptr_null(jobs_overdue(&jobs)); /* asked to end, and given time for that */
	ck_assert(atomic_load(&slow.job.cancel));
	jobs.grace_ms = 0;
	late = jobs_overdue(&jobs);
	ck_assert_ptr_eq(late, &slow.job);
	ck_assert_str_eq(late->name, "slow");
	ck_assert_int_eq(slow.done, 0); /* cancelling only asks */
	ck_assert_int_eq(pthread_mutex_unlock(&gate), 0);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(slow.done, 1);
	ck_assert(slow.saw_cancel);
	ck_assert(!quick.saw_cancel);
	ck_assert_ptr_null(jobs_overdue(&jobs));
	/* a job that is used again begins without the flag */
	ck_assert_int_eq(job_submit(&jobs, &slow.job, "slow", work_run, work_done, 600000), 0);
	ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	ck_assert(!slow.saw_cancel);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("job");
	TCase *job = tcase_create("clock and job");
	tcase_set_timeout(job, 60);
	tcase_add_test(job, jobs_run_elsewhere_and_end_on_the_loop);
	tcase_add_test(job, jobs_are_overdue_and_cancelled);
	tcase_add_test(job, long_jobs_leave_threads_to_others);
	suite_add_tcase(s, job);
	return s;
}
