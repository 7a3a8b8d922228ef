/*
 * The words of Slurm for how a job ended: whose fault it is decides what is counted.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/launch/slurm.h"
#include "kit/suite.h"

static const struct {
	const char *state, *code;
	bool over;
	struct ending ending;
} known[] = {
	{ "PENDING", "0:0", false, { .kind = ENDING_UNKNOWN } },
	{ "RUNNING", "0:0", false, { .kind = ENDING_UNKNOWN } },
	{ "COMPLETING", "1:0", false, { .kind = ENDING_UNKNOWN } },
	{ "SUSPENDED", "0:0", false, { .kind = ENDING_UNKNOWN } },
	{ "COMPLETED", "0:0", true, { ENDING_EXITED, 0, ENDING_BY_ITSELF } },
	{ "FAILED", "0:0", true, { ENDING_EXITED, 1, ENDING_BY_ITSELF } },
	{ "FAILED", "75:0", true, { ENDING_EXITED, 75, ENDING_BY_ITSELF } },
	{ "FAILED", "0:11", true, { ENDING_SIGNALED, SIGSEGV, ENDING_BY_ITSELF } },
	{ "FAILED", "0:53", true, { ENDING_UNKNOWN, 0, ENDING_BY_HOST } },
	{ "OUT_OF_MEMORY", "0:125", true, { ENDING_SIGNALED, SIGKILL, ENDING_OUT_OF_MEMORY } },
	{ "TIMEOUT", "0:1", true, { ENDING_SIGNALED, SIGTERM, ENDING_OVER_TIME } },
	{ "DEADLINE", "0:0", true, { ENDING_SIGNALED, SIGTERM, ENDING_OVER_TIME } },
	{ "CANCELLED by 0", "0:0", true, { ENDING_SIGNALED, SIGTERM, ENDING_BY_ITSELF } },
	{ "NODE_FAIL", "0:0", true, { ENDING_UNKNOWN, 0, ENDING_BY_HOST } },
	{ "BOOT_FAIL", "0:0", true, { ENDING_UNKNOWN, 0, ENDING_BY_HOST } },
	{ "PREEMPTED", "0:15", true, { ENDING_UNKNOWN, 0, ENDING_BY_HOST } },
	{ "FAILED", "garbage", true, { ENDING_EXITED, 1, ENDING_BY_ITSELF } },
	{ "FAILED_NOT", "1:0", false, { .kind = ENDING_UNKNOWN } },
	{ "", "", false, { .kind = ENDING_UNKNOWN } },
};

static void expect(const struct slurm_job *job, size_t i)
{
	ck_assert_msg(job->over == known[i].over, "%s: over", known[i].state);
	ck_assert_int_eq(job->ending.kind, known[i].ending.kind);
	ck_assert_int_eq(job->ending.value, known[i].ending.value);
	ck_assert_int_eq(job->ending.why, known[i].ending.why);
}

START_TEST(each_state)
{
	struct slurm_job job = { .over = false };

	slurm_state(known[_i].state, known[_i].code, &job);
	expect(&job, (size_t)_i);
}
END_TEST

START_TEST(what_scontrol_shows)
{
	struct slurm_job job = { .over = false };
	char text[512];

	(void)snprintf(text, sizeof(text),
		       "JobId=7 JobName=kanban-a-t_1-r3 UserId=root(0) JobState=%s Reason=None "
		       "BatchFlag=1 ExitCode=%s RunTime=00:00:01 Comment=JobState=RUNNING "
		       "JobState=COMPLETED ExitCode=0:0\n",
		       known[_i].state, known[_i].code);
	ck_assert(slurm_shown(text, &job));
	expect(&job, (size_t)_i);
}
END_TEST

START_TEST(what_is_no_job)
{
	struct slurm_job job = { .over = false };

	ck_assert(!slurm_shown("", &job));
	ck_assert(!slurm_shown("No jobs in the system\n", &job));
	ck_assert(!slurm_shown("JobId=7 JobState=COMPLETED", &job));
	ck_assert(!job.over);
}
END_TEST

Suite *test_suite(void)
{
	int n = (int)(sizeof(known) / sizeof(known[0]));
	Suite *s = suite_create("launch_slurm");
	TCase *tc = tcase_create("states");

	tcase_add_loop_test(tc, each_state, 0, n);
	tcase_add_loop_test(tc, what_scontrol_shows, 0, n);
	tcase_add_test(tc, what_is_no_job);
	suite_add_tcase(s, tc);
	return s;
}
