/*
 * How workers end: being told of it, and making them. All on real processes, among them those
 * that do not want to, that hide, and that are somebody else.
 */
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "kit/launch.h"
#include "kit/worker.h"
#include "launch/ending.h"
#include "launch/watch.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define PIDFD_INFO_CMD _IOC(_IOC_READ | _IOC_WRITE, 0xFF, 11, 64)

/* Does this kernel tell how a process ended that is not our child? */
static bool kernel_tells(void)
{
	uint64_t info[8] = { 1u << 3 };
	pid_t pid = fork();
	int fd, r;

	if (pid == 0)
		_exit(0);
	fd = spawn_pidfd(pid);
	(void)help_reap(pid);
	r = ioctl(fd, PIDFD_INFO_CMD, info);
	(void)close(fd);
	return r == 0 && (info[0] & (1u << 3));
}

/* ---- watch ---- */

static const struct {
	const char *act;
	enum ending_kind kind;
	int value;
} ending_cases[] = {
	{ "exit:0", ENDING_EXITED, 0 },
	{ "exit:75", ENDING_EXITED, 75 },
	{ "exit:255", ENDING_EXITED, 255 },
	{ "kill", ENDING_SIGNALED, SIGKILL },
};

START_TEST(test_watch_child)
{
	struct observer told = { 0 };
	pid_t pid = worker_start(ending_cases[_i].act);

	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, spawn_pidfd(pid),
				    worker_on_end, &told),
			 0);
	ck_assert_int_eq(told.calls, 0);
	worker_run_until(&told.calls);
	worker_expect_ending(&told, ending_cases[_i].kind, ending_cases[_i].value);
	/* reaped, and not told again */
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1);
	(void)uv_run(&worker_loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(told.calls, 1);
	ck_assert_ptr_null(watch_close(told.watch));
	ck_assert_ptr_null(watch_close(NULL));
}
END_TEST

START_TEST(test_watch_zombie)
{
	/* ended before the watch began; the watch opens the pidfd itself and is closed in fn */
	struct observer told = { .close = true };
	pid_t pid = worker_start("exit:3");

	while (help_alive(pid))
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, -1, worker_on_end, &told),
			 0);
	ck_assert_int_eq(told.calls, 0);
	worker_run_until(&told.calls);
	worker_expect_ending(&told, ENDING_EXITED, 3);
}
END_TEST

START_TEST(test_watch_gone)
{
	struct observer told = { 0 };
	pid_t pid = worker_start("exit:3");

	(void)help_reap(pid);
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, -1, worker_on_end, &told),
			 -ESRCH);
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, -1, -1, worker_on_end, &told),
			 -EINVAL);
}
END_TEST

START_TEST(test_watch_closed_early)
{
	struct observer told = { 0 };
	pid_t pid = worker_start("hang");

	help_news_read(1, NULL, NULL);
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, -1, worker_on_end, &told),
			 0);
	(void)uv_run(&worker_loop, UV_RUN_NOWAIT);
	ck_assert_ptr_null(watch_close(told.watch));
	(void)uv_run(&worker_loop, UV_RUN_NOWAIT);
	(void)kill(pid, SIGKILL);
	(void)help_reap(pid); /* not taken by anybody else */
	ck_assert_int_eq(told.calls, 0);
}
END_TEST

START_TEST(test_watch_many)
{
	struct observer told[64] = { 0 };
	int left = 64;

	for (int i = 0; i < 64; i++) {
		char act[32];
		pid_t pid;

		(void)snprintf(act, sizeof(act), "exit:%d", i);
		pid = worker_start(act);
		told[i].close = true;
		ck_assert_int_eq(watch_open(&told[i].watch, &worker_loop, pid, -1,
					    worker_on_end, &told[i]),
				 0);
	}
	for (uint64_t end = clock_mono_ms() + 30000; left > 0 && clock_mono_ms() < end;) {
		(void)uv_run(&worker_loop, UV_RUN_ONCE);
		left = 0;
		for (int i = 0; i < 64; i++)
			left += told[i].calls == 0;
	}
	for (int i = 0; i < 64; i++)
		worker_expect_ending(&told[i], ENDING_EXITED, i);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

/* A grandchild, whose parent reaps it when it ends, or never does. */
static pid_t start_below(const char *act, bool reap, pid_t *middle)
{
	const char *const names[] = { "worker", NULL };
	pid_t pid;

	*middle = fork();
	ck_assert_int_ge(*middle, 0);
	if (*middle == 0) {
		pid_t below = worker_start(act);

		if (reap)
			(void)waitpid(below, NULL, 0);
		for (;;)
			(void)pause();
	}
	help_news_read(1, &pid, names);
	return pid;
}

START_TEST(test_watch_not_child)
{
	/* case 0: by the kernel, 1: a kernel that does not tell, 2: never reaped */
	bool tells = kernel_tells();
	struct observer told = { 0 };
	pid_t middle, pid = start_below("hang", _i != 2, &middle);
	uint64_t began;

	if (_i == 1)
		worker_forbid(SYS_ioctl, 1, PIDFD_INFO_CMD, ENOTTY);
	if (!tells)
		(void)printf("this kernel does not tell how others' children end\n");
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, -1, worker_on_end, &told),
			 0);
	(void)uv_run(&worker_loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(told.calls, 0);
	began = clock_mono_ms();
	ck_assert_int_eq(kill(pid, SIGUSR1), 0);
	worker_run_until(&told.calls);
	if (_i == 0 && tells)
		worker_expect_ending(&told, ENDING_SIGNALED, SIGUSR1);
	else
		worker_expect_ending(&told, ENDING_UNKNOWN, 0);
	ck_assert_uint_lt(clock_mono_ms() - began, 10000);
	(void)watch_close(told.watch);
	(void)kill(middle, SIGKILL);
	(void)help_reap(middle);
}
END_TEST

START_TEST(test_watch_debugged)
{
	/* a debugger follows our child: it looks first, and until it has, the end is not ours
	 */
	struct observer told = { .close = true };
	pid_t pid = worker_start("hang"), tracer;
	int go[2], ready[2];
	char byte = 0;

	help_news_read(1, NULL, NULL);
	ck_assert_int_eq(pipe2(go, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	tracer = fork();
	if (tracer == 0) {
		char ok = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0;

		(void)!write(ready[1], &ok, 1);
		(void)!read(go[0], &byte, 1);
		(void)waitpid(pid, NULL, __WALL);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(watch_open(&told.watch, &worker_loop, pid, -1, worker_on_end, &told),
			 0);
	(void)kill(pid, SIGKILL);
	if (byte) {
		/* long enough for every retry of the quarter of a second, were it given up */
		for (uint64_t end = clock_mono_ms() + 600; clock_mono_ms() < end;) {
			(void)uv_run(&worker_loop, UV_RUN_NOWAIT);
			(void)poll(NULL, 0, 5);
		}
		ck_assert_int_eq(told.calls, 0);
	} else {
		(void)printf("ptrace is not allowed here\n");
	}
	ck_assert_int_eq(write(go[1], &byte, 1), 1);
	worker_run_until(&told.calls);
	worker_expect_ending(&told, ENDING_SIGNALED, SIGKILL);
	(void)help_reap(tracer);
	for (int i = 0; i < 2; i++) {
		(void)close(go[i]);
		(void)close(ready[i]);
	}
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("ending");
	TCase *watch;

	if (help_in_valgrind()) {
		(void)printf("valgrind 3.19 has no pidfds: nothing to test in it\n");
		return suite;
	}
	watch = tcase_create("watch");
	tcase_add_checked_fixture(watch, worker_setup, worker_teardown);
	tcase_set_timeout(watch, 60);
	tcase_add_loop_test(watch, test_watch_child, 0,
			    sizeof(ending_cases) / sizeof(ending_cases[0]));
	tcase_add_test(watch, test_watch_zombie);
	tcase_add_test(watch, test_watch_gone);
	tcase_add_test(watch, test_watch_closed_early);
	tcase_add_test(watch, test_watch_many);
	tcase_add_loop_test(watch, test_watch_not_child, 0, 3);
	tcase_add_test(watch, test_watch_debugged);
	suite_add_tcase(suite, watch);
	return suite;
}
