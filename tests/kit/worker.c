#include "worker.h"

#include <check.h>
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>
#include <uv.h>

#include "files.h"
#include "launch.h"
#include "launch/ending.h"
#include "launch/watch.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

uv_loop_t worker_loop;
char worker_task[64];
char worker_task_var[96];
static int worker_descriptors;

void worker_setup(void)
{
	help_setup();
	help_news_open();
	(void)snprintf(worker_task, sizeof(worker_task), "t_end_%d", (int)getpid());
	(void)snprintf(worker_task_var, sizeof(worker_task_var), "HERMES_KANBAN_TASK=%s",
		       worker_task);
	ck_assert_int_eq(uv_loop_init(&worker_loop), 0);
	/* whatever libuv keeps for its pool and for waking the loop is there before counting */
	worker_descriptors = files_descriptors();
}

void worker_teardown(void)
{
	/* no handle is left, no descriptor is left */
	ck_assert_int_eq(uv_run(&worker_loop, UV_RUN_NOWAIT), 0);
	ck_assert_int_eq(files_descriptors(), worker_descriptors);
	ck_assert_int_eq(uv_loop_close(&worker_loop), 0);
	help_teardown();
}

pid_t worker_start(const char *act)
{
	CLEANUP(freep) char *var = NULL;
	const char *vars[] = { NULL, worker_task_var, RUN, NULL };

	ck_assert_int_ge(asprintf(&var, "PROBE_ACT=%s", act), 0);
	vars[0] = var;
	return help_start(vars, true);
}

void worker_forbid(long number, unsigned arg, uint32_t value, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 (uint32_t)(offsetof(struct seccomp_data, args) + (size_t)arg * 8)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

void worker_on_end(void *arg, struct watch *watch, struct ending ending)
{
	struct observer *told = arg;

	told->calls++;
	told->ending = ending;
	ck_assert_ptr_eq(watch, told->watch);
	if (told->close)
		told->watch = watch_close(watch);
}

void worker_run_until(const int *calls)
{
	uint64_t end = clock_mono_ms() + 20000;

	while (*calls == 0 && clock_mono_ms() < end)
		(void)uv_run(&worker_loop, UV_RUN_ONCE);
	ck_assert_int_gt(*calls, 0);
}

void worker_expect_ending(const struct observer *told, enum ending_kind kind, int value)
{
	ck_assert_int_eq(told->calls, 1);
	ck_assert_int_eq(told->ending.kind, kind);
	ck_assert_int_eq(told->ending.value, value);
}
