/* Workers that are ended: politely, deaf ones, whole families, never a stranger. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "kit/launch.h"
#include "kit/worker.h"
#include "launch/ending.h"
#include "launch/terminate.h"
#include "launch/watch.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

/* ---- terminate ---- */

struct ended {
	int calls;
	struct termination result;
};

static void on_terminated(void *arg, struct termination result)
{
	struct ended *ended = arg;

	ended->calls++;
	ended->result = result;
}

static bool blocking; /* which of the two variants the case runs */

static struct termination terminate(const struct identity_claim *claim, unsigned grace_ms)
{
	struct ended ended = { 0 };

	if (blocking) {
		ck_assert_int_eq(terminate_now(claim, grace_ms, &ended.result), 0);
		return ended.result;
	}
	ck_assert_int_eq(
		terminate_start(&worker_loop, NULL, claim, grace_ms, on_terminated, &ended), 0);
	ck_assert_int_eq(ended.calls, 0);
	worker_run_until(&ended.calls);
	ck_assert_int_eq(ended.calls, 1);
	return ended.result;
}

static void expect_termination(struct termination have, bool attempted, bool terminated,
			       bool sigkill)
{
	ck_assert_int_eq(have.attempted, attempted);
	ck_assert_int_eq(have.terminated, terminated);
	ck_assert_int_eq(have.sigkill, sigkill);
}

static struct identity_claim claim_of(pid_t pid)
{
	return (struct identity_claim){ .pid = pid, .task = worker_task, .run = 7 };
}

START_TEST(test_polite)
{
	struct identity_claim claim;
	uint64_t began;
	pid_t pid = worker_start("hang");

	blocking = _i;
	help_news_read(1, NULL, NULL);
	claim = claim_of(pid);
	began = clock_mono_ms();
	expect_termination(terminate(&claim, 60000), true, true, false);
	/* neither the grace nor the wait after a SIGKILL is sat out */
	ck_assert_uint_lt(clock_mono_ms() - began, 1900);
	ck_assert_int_eq(help_reap(pid), SIGTERM);
}
END_TEST

START_TEST(test_deaf)
{
	struct identity_claim claim;
	uint64_t began;
	pid_t pid = worker_start("deaf");

	blocking = _i;
	help_news_read(1, NULL, NULL);
	claim = claim_of(pid);
	began = clock_mono_ms();
	expect_termination(terminate(&claim, 300), true, true, true);
	ck_assert_uint_ge(clock_mono_ms() - began, 300);
	ck_assert_int_eq(help_reap(pid), SIGKILL);
}
END_TEST

START_TEST(test_no_grace)
{
	struct identity_claim claim;
	pid_t pid = worker_start("deaf");

	blocking = _i;
	help_news_read(1, NULL, NULL);
	claim = claim_of(pid);
	expect_termination(terminate(&claim, 0), true, true, true);
	ck_assert_int_eq(help_reap(pid), SIGKILL);
}
END_TEST

static const char *const family[] = { "worker", "child", "session", "bare", "orphan", NULL };

START_TEST(test_family)
{
	/* 0, 1: as it is; 2, 3: on a kernel that knows groups by number only */
	struct identity_claim claim;
	pid_t pids[5], worker;

	blocking = _i % 2;
	worker = worker_start("family");
	help_news_read(5, pids, family);
	if (_i >= 2)
		worker_forbid(SYS_pidfd_send_signal, 3, 4, EINVAL);
	claim = claim_of(worker);
	expect_termination(terminate(&claim, 60000), true, true, false);
	for (int i = 0; i < 5; i++)
		ck_assert_msg(!help_alive(pids[i]), "%s lives", family[i]);
	ck_assert_int_eq(help_reap(worker), SIGTERM);
}
END_TEST

START_TEST(test_deaf_child)
{
	/* the worker goes at once, one of its children does not: it gets the grace, then KILL
	 */
	const char *const names[] = { "worker", "child", NULL };
	struct identity_claim claim;
	pid_t pids[2], worker;
	uint64_t began;

	blocking = _i;
	worker = worker_start("deaf-child");
	help_news_read(2, pids, names);
	claim = claim_of(worker);
	began = clock_mono_ms();
	expect_termination(terminate(&claim, 300), true, true, false);
	ck_assert_uint_ge(clock_mono_ms() - began, 300);
	ck_assert(!help_alive(pids[1]));
	ck_assert_int_eq(help_reap(worker), SIGTERM);
}
END_TEST

/* A process that would die of any signal, and so tells by living that it got none. */
static pid_t start_stranger(void)
{
	const char *const vars[] = { "PROBE_ACT=hang", "PROBE_NAME=stranger", NULL };
	pid_t pid = help_start(vars, true);

	help_news_read(1, NULL, NULL);
	return pid;
}

START_TEST(test_stranger)
{
	struct identity_claim claim = { .task = worker_task, .run = 7 };
	char started[PROC_STARTED_MAX];
	pid_t pid = start_stranger();

	blocking = _i;
	claim.pid = pid;
	/* the start of init; then no start and no environment, and a run of long ago */
	identity_started(1, started);
	claim.started = started;
	ck_assert_int_eq(identity_check(&claim), IDENTITY_STRANGER);
	expect_termination(terminate(&claim, 100), false, true, false);
	claim.started = NULL;
	claim.run_started_at = clock_wall_s() - 10000;
	expect_termination(terminate(&claim, 100), false, true, false);
	/* nobody could read its start when it was recorded: it holds the claim, unharmed */
	claim.started = "unverified";
	expect_termination(terminate(&claim, 100), true, false, false);
	ck_assert(help_alive(pid));
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	(void)kill(pid, SIGKILL);
	(void)help_reap(pid);
}
END_TEST

START_TEST(test_gone_with_leftovers)
{
	/* the worker ended by itself and left two behind; its number is a stranger's by now */
	const char *const names[] = { "orphan", "second", NULL };
	struct identity_claim claim;
	pid_t pids[2], stranger, worker = worker_start("leave");

	blocking = _i % 2;
	help_news_read(2, pids, names);
	(void)help_reap(worker);
	stranger = start_stranger();
	claim = claim_of(_i < 2 ? worker : stranger);
	expect_termination(terminate(&claim, 100), false, true, false);
	ck_assert(!help_alive(pids[0]));
	ck_assert(!help_alive(pids[1]));
	ck_assert(help_alive(stranger));
	(void)kill(stranger, SIGKILL);
	(void)help_reap(stranger);
}
END_TEST

START_TEST(test_zombie)
{
	struct identity_claim claim;
	pid_t pid = worker_start("exit:4");

	blocking = _i;
	while (help_alive(pid))
		(void)poll(NULL, 0, 1);
	claim = claim_of(pid);
	expect_termination(terminate(&claim, 100), false, true, false);
	claim.pid = 0;
	expect_termination(terminate(&claim, 100), false, true, false);
	claim.pid = -1;
	expect_termination(terminate(&claim, 100), false, true, false);
	ck_assert_int_eq(help_reap(pid), 4 << 8);
}
END_TEST

START_TEST(test_no_leader)
{
	/* a worker in our own process group: it alone is signalled */
	CLEANUP(freep) char *var = help_dup("PROBE_ACT=hang");
	const char *const vars[] = { var, worker_task_var, RUN, NULL };
	const char *const other_vars[] = { var, NULL };
	struct identity_claim claim;
	pid_t pid, other;

	blocking = _i;
	pid = help_start(vars, false);
	other = help_start(other_vars, false);
	help_news_read(2, NULL, NULL);
	claim = claim_of(pid);
	expect_termination(terminate(&claim, 60000), true, true, false);
	ck_assert_int_eq(help_reap(pid), SIGTERM);
	ck_assert(help_alive(other));
	(void)kill(other, SIGKILL);
	(void)help_reap(other);
}
END_TEST

START_TEST(test_watched)
{
	/* as in the daemon: one watches and reaps, the other terminates */
	struct observer told = { .close = true };
	struct ended ended = { 0 };
	struct identity_claim claim;
	pid_t pid = worker_start("hang");

	help_news_read(1, NULL, NULL);
	claim = claim_of(pid);
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, -1, worker_on_end, &told),
			 0);
	ck_assert_int_eq(
		terminate_start(&worker_loop, NULL, &claim, 60000, on_terminated, &ended), 0);
	worker_run_until(&ended.calls);
	worker_run_until(&told.calls);
	expect_termination(ended.result, true, true, false);
	worker_expect_ending(&told, ENDING_SIGNALED, SIGTERM);
}
END_TEST

START_TEST(test_many)
{
	struct terminate_queue queue = { 0 };
	/* more at once than the pool has threads, all deaf: the waits hold no thread */
	struct ended ended[12] = { 0 };
	pid_t pids[12];
	uint64_t began;

	for (int i = 0; i < 12; i++)
		pids[i] = worker_start("deaf");
	help_news_read(12, NULL, NULL);
	began = clock_mono_ms();
	for (int i = 0; i < 12; i++) {
		struct identity_claim claim = claim_of(pids[i]);

		ck_assert_int_eq(terminate_start(&worker_loop, &queue, &claim, 1000,
						 on_terminated, &ended[i]),
				 0);
	}
	for (int i = 0; i < 12; i++) {
		worker_run_until(&ended[i].calls);
		ck_assert(ended[i].result.terminated);
		ck_assert_int_eq(help_reap(pids[i]), SIGKILL);
	}
	/* 12 graces of 1 s in 4 threads would take 3 s and more */
	ck_assert_uint_lt(clock_mono_ms() - began, 2900);
}
END_TEST

START_TEST(test_no_descriptors)
{
	struct identity_claim claim;
	struct ended ended = { 0 };
	struct rlimit limit, low;
	pid_t pid = worker_start("hang");
	int top, r;

	help_news_read(1, NULL, NULL);
	claim = claim_of(pid);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	top = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)close(top);
	low = limit;
	for (int room = 0; room < 2; room++) {
		low.rlim_cur = (rlim_t)top + (rlim_t)room;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		r = terminate_start(&worker_loop, NULL, &claim, 100, on_terminated, &ended);
		ck_assert_int_eq(r, -EMFILE);
		r = terminate_now(&claim, 100, &ended.result);
		ck_assert_int_eq(r, -EMFILE);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
	(void)uv_run(&worker_loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(ended.calls, 0);
	ck_assert(help_alive(pid));
	(void)kill(pid, SIGKILL);
	(void)help_reap(pid);
}
END_TEST

/* ---- terminate_leftovers() ---- */

START_TEST(test_leftovers)
{
	CLEANUP(freep) char *mine = help_path("kanban.db");
	CLEANUP(freep) char *copy = help_path("copy.db");
	CLEANUP(freep) char *var = NULL;
	const char *vars[] = { "PROBE_ACT=leave", worker_task_var, RUN, NULL, NULL };
	const char *const names[] = { "orphan", "second", NULL };
	pid_t pids[2], stranger = start_stranger(), worker;

	help_write(mine, "");
	help_write(copy, "");
	ck_assert_int_eq(terminate_leftovers(worker_task, 7, NULL), 0);
	ck_assert_int_ge(asprintf(&var, "HERMES_KANBAN_DB=%s", mine), 0);
	vars[3] = var;
	worker = help_start(vars, true);
	help_news_read(2, pids, names);
	(void)help_reap(worker);
	/* another run, another task, another board that is a copy of this one, no run at all */
	ck_assert_int_eq(terminate_leftovers(worker_task, 8, NULL), 0);
	ck_assert_int_eq(terminate_leftovers("t_other", 7, NULL), 0);
	ck_assert_int_eq(terminate_leftovers(worker_task, 7, copy), 0);
	ck_assert_int_eq(terminate_leftovers(worker_task, 0, NULL), 0);
	ck_assert_int_eq(terminate_leftovers(NULL, 7, NULL), 0);
	ck_assert(help_alive(pids[0]) && help_alive(pids[1]));
	ck_assert_int_eq(terminate_leftovers(worker_task, 7, mine), 2);
	while (help_alive(pids[0]) || help_alive(pids[1]))
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(terminate_leftovers(worker_task, 7, NULL), 0);
	ck_assert(help_alive(stranger));
	(void)kill(stranger, SIGKILL);
	(void)help_reap(stranger);
}
END_TEST

START_TEST(test_leftovers_not_ourselves)
{
	/* called from inside the run: its own process and those above are spared */
	const char *const vars[] = { "PROBE_ACT=clean", worker_task_var, RUN, NULL };
	int status = help_reap(help_start(vars, true));

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 1);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("terminate");
	TCase *term;

	if (help_in_valgrind()) {
		(void)printf("valgrind 3.19 has no pidfds: nothing to test in it\n");
		return suite;
	}
	term = tcase_create("terminate");
	tcase_add_checked_fixture(term, worker_setup, worker_teardown);
	tcase_set_timeout(term, 60);
	tcase_add_loop_test(term, test_polite, 0, 2);
	tcase_add_loop_test(term, test_deaf, 0, 2);
	tcase_add_loop_test(term, test_no_grace, 0, 2);
	tcase_add_loop_test(term, test_family, 0, 4);
	tcase_add_loop_test(term, test_deaf_child, 0, 2);
	tcase_add_loop_test(term, test_stranger, 0, 2);
	tcase_add_loop_test(term, test_gone_with_leftovers, 0, 4);
	tcase_add_loop_test(term, test_zombie, 0, 2);
	tcase_add_loop_test(term, test_no_leader, 0, 2);
	tcase_add_test(term, test_watched);
	tcase_add_test(term, test_many);
	tcase_add_test(term, test_no_descriptors);
	tcase_add_test(term, test_leftovers);
	tcase_add_test(term, test_leftovers_not_ourselves);
	suite_add_tcase(suite, term);
	return suite;
}
