/*
 * How workers end: being told of it, and making them. All on real processes, among them those
 * that do not want to, that hide, and that are somebody else.
 */
#include "kit/launch.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <uv.h>

#include "../../src/launch/launch.h"
#include "launch/ending.h"

#define RUN "HERMES_KANBAN_RUN_ID=7"

static uv_loop_t loop;
static char task[64]; /* of this case: tests run side by side on this host */
static char task_var[96];
static int descriptors;

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void setup(void)
{
	help_setup();
	help_news_open();
	(void)snprintf(task, sizeof(task), "t_end_%d", (int)getpid());
	(void)snprintf(task_var, sizeof(task_var), "HERMES_KANBAN_TASK=%s", task);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	/* whatever libuv keeps for its pool and for waking the loop is there before counting */
	descriptors = count_descriptors();
}

static void teardown(void)
{
	/* no handle is left, no descriptor is left */
	ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0);
	ck_assert_int_eq(count_descriptors(), descriptors);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	help_teardown();
}

static pid_t start(const char *act)
{
	CLEANUP(freep) char *var = NULL;
	const char *vars[] = { NULL, task_var, RUN, NULL };

	ck_assert_int_ge(asprintf(&var, "PROBE_ACT=%s", act), 0);
	vars[0] = var;
	return help_start(vars, true);
}

/* Make a system call fail with @error where argument @arg (its low half) is @value. */
static void forbid(long number, unsigned arg, uint32_t value, int error)
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

struct told {
	struct watch *watch;
	struct ending ending;
	int calls;
	bool close; /* close the watch in the callback */
};

static void on_end(void *arg, struct watch *watch, struct ending ending)
{
	struct told *told = arg;

	told->calls++;
	told->ending = ending;
	ck_assert_ptr_eq(watch, told->watch);
	if (told->close)
		told->watch = watch_close(watch);
}

/* Turn the loop until told, at most 20 s. */
static void run_until(const int *calls)
{
	uint64_t end = clock_mono_ms() + 20000;

	while (*calls == 0 && clock_mono_ms() < end)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ck_assert_int_gt(*calls, 0);
}

static void expect_ending(const struct told *told, enum ending_kind kind, int value)
{
	ck_assert_int_eq(told->calls, 1);
	ck_assert_int_eq(told->ending.kind, kind);
	ck_assert_int_eq(told->ending.value, value);
}

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
	struct told told = { 0 };
	pid_t pid = start(ending_cases[_i].act);

	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, spawn_pidfd(pid), on_end, &told),
			 0);
	ck_assert_int_eq(watch_pid(told.watch), pid);
	ck_assert_int_eq(told.calls, 0);
	run_until(&told.calls);
	expect_ending(&told, ending_cases[_i].kind, ending_cases[_i].value);
	/* reaped, and not told again */
	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(told.calls, 1);
	ck_assert_ptr_null(watch_close(told.watch));
	ck_assert_ptr_null(watch_close(NULL));
}
END_TEST

START_TEST(test_watch_zombie)
{
	/* ended before the watch began; the watch opens the pidfd itself and is closed in fn */
	struct told told = { .close = true };
	pid_t pid = start("exit:3");

	while (help_alive(pid))
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, -1, on_end, &told), 0);
	ck_assert_int_eq(told.calls, 0);
	run_until(&told.calls);
	expect_ending(&told, ENDING_EXITED, 3);
}
END_TEST

START_TEST(test_watch_gone)
{
	struct told told = { 0 };
	pid_t pid = start("exit:3");

	(void)help_reap(pid);
	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, -1, on_end, &told), -ESRCH);
	ck_assert_int_eq(watch_open(&told.watch, &loop, -1, -1, on_end, &told), -EINVAL);
}
END_TEST

START_TEST(test_watch_closed_early)
{
	struct told told = { 0 };
	pid_t pid = start("hang");

	help_news_read(1, NULL, NULL);
	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, -1, on_end, &told), 0);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_ptr_null(watch_close(told.watch));
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	(void)kill(pid, SIGKILL);
	(void)help_reap(pid); /* not taken by anybody else */
	ck_assert_int_eq(told.calls, 0);
}
END_TEST

START_TEST(test_watch_many)
{
	struct told told[64] = { 0 };
	int left = 64;

	for (int i = 0; i < 64; i++) {
		char act[32];
		pid_t pid;

		(void)snprintf(act, sizeof(act), "exit:%d", i);
		pid = start(act);
		told[i].close = true;
		ck_assert_int_eq(watch_open(&told[i].watch, &loop, pid, -1, on_end, &told[i]),
				 0);
	}
	for (uint64_t end = clock_mono_ms() + 30000; left > 0 && clock_mono_ms() < end;) {
		(void)uv_run(&loop, UV_RUN_ONCE);
		left = 0;
		for (int i = 0; i < 64; i++)
			left += told[i].calls == 0;
	}
	for (int i = 0; i < 64; i++)
		expect_ending(&told[i], ENDING_EXITED, i);
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
		pid_t below = start(act);

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
	struct told told = { 0 };
	pid_t middle, pid = start_below("hang", _i != 2, &middle);
	uint64_t began;

	if (_i == 1)
		forbid(SYS_ioctl, 1, PIDFD_INFO_CMD, ENOTTY);
	if (!tells)
		(void)printf("this kernel does not tell how others' children end\n");
	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, -1, on_end, &told), 0);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(told.calls, 0);
	began = clock_mono_ms();
	ck_assert_int_eq(kill(pid, SIGUSR1), 0);
	run_until(&told.calls);
	if (_i == 0 && tells)
		expect_ending(&told, ENDING_SIGNALED, SIGUSR1);
	else
		expect_ending(&told, ENDING_UNKNOWN, 0);
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
	struct told told = { .close = true };
	pid_t pid = start("hang"), tracer;
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
	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, -1, on_end, &told), 0);
	(void)kill(pid, SIGKILL);
	if (byte) {
		/* long enough for every retry of the quarter of a second, were it given up */
		for (uint64_t end = clock_mono_ms() + 600; clock_mono_ms() < end;) {
			(void)uv_run(&loop, UV_RUN_NOWAIT);
			(void)poll(NULL, 0, 5);
		}
		ck_assert_int_eq(told.calls, 0);
	} else {
		(void)printf("ptrace is not allowed here\n");
	}
	ck_assert_int_eq(write(go[1], &byte, 1), 1);
	run_until(&told.calls);
	expect_ending(&told, ENDING_SIGNALED, SIGKILL);
	(void)help_reap(tracer);
	for (int i = 0; i < 2; i++) {
		(void)close(go[i]);
		(void)close(ready[i]);
	}
}
END_TEST

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
	ck_assert_int_eq(terminate_start(&loop, claim, grace_ms, on_terminated, &ended), 0);
	ck_assert_int_eq(ended.calls, 0);
	run_until(&ended.calls);
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
	return (struct identity_claim){ .pid = pid, .task = task, .run = 7 };
}

START_TEST(test_polite)
{
	struct identity_claim claim;
	uint64_t began;
	pid_t pid = start("hang");

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
	pid_t pid = start("deaf");

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
	pid_t pid = start("deaf");

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
	worker = start("family");
	help_news_read(5, pids, family);
	if (_i >= 2)
		forbid(SYS_pidfd_send_signal, 3, 4, EINVAL);
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
	worker = start("deaf-child");
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
	struct identity_claim claim = { .task = task, .run = 7 };
	char started[LAUNCH_STARTED_MAX];
	pid_t pid = start_stranger();

	blocking = _i;
	claim.pid = pid;
	/* the start of init; then no start and no environment, and a run of long ago */
	identity_started(1, started);
	claim.started = started;
	ck_assert_int_eq(identity_check(&claim), IDENTITY_STRANGER);
	expect_termination(terminate(&claim, 100), false, true, false);
	claim.started = "unverified";
	claim.run_started_at = clock_wall_s() - 10000;
	expect_termination(terminate(&claim, 100), false, true, false);
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
	pid_t pids[2], stranger, worker = start("leave");

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
	pid_t pid = start("exit:4");

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
	const char *const vars[] = { var, task_var, RUN, NULL };
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
	struct told told = { .close = true };
	struct ended ended = { 0 };
	struct identity_claim claim;
	pid_t pid = start("hang");

	help_news_read(1, NULL, NULL);
	claim = claim_of(pid);
	ck_assert_int_eq(watch_open(&told.watch, &loop, pid, -1, on_end, &told), 0);
	ck_assert_int_eq(terminate_start(&loop, &claim, 60000, on_terminated, &ended), 0);
	run_until(&ended.calls);
	run_until(&told.calls);
	expect_termination(ended.result, true, true, false);
	expect_ending(&told, ENDING_SIGNALED, SIGTERM);
}
END_TEST

START_TEST(test_many)
{
	/* more at once than the pool has threads, all deaf: the waits hold no thread */
	struct ended ended[12] = { 0 };
	pid_t pids[12];
	uint64_t began;

	for (int i = 0; i < 12; i++)
		pids[i] = start("deaf");
	help_news_read(12, NULL, NULL);
	began = clock_mono_ms();
	for (int i = 0; i < 12; i++) {
		struct identity_claim claim = claim_of(pids[i]);

		ck_assert_int_eq(terminate_start(&loop, &claim, 1000, on_terminated, &ended[i]),
				 0);
	}
	for (int i = 0; i < 12; i++) {
		run_until(&ended[i].calls);
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
	pid_t pid = start("hang");
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
		r = terminate_start(&loop, &claim, 100, on_terminated, &ended);
		ck_assert_int_eq(r, -EMFILE);
		r = terminate_now(&claim, 100, &ended.result);
		ck_assert_int_eq(r, -EMFILE);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
	(void)uv_run(&loop, UV_RUN_NOWAIT);
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
	const char *vars[] = { "PROBE_ACT=leave", task_var, RUN, NULL, NULL };
	const char *const names[] = { "orphan", "second", NULL };
	pid_t pids[2], stranger = start_stranger(), worker;

	help_write(mine, "");
	help_write(copy, "");
	ck_assert_int_eq(terminate_leftovers(task, 7), 0);
	ck_assert_int_ge(asprintf(&var, "HERMES_KANBAN_DB=%s", mine), 0);
	vars[3] = var;
	worker = help_start(vars, true);
	help_news_read(2, pids, names);
	(void)help_reap(worker);
	/* another run, another task, another board that is a copy of this one, no run at all */
	ck_assert_int_eq(terminate_leftovers(task, 8), 0);
	ck_assert_int_eq(terminate_leftovers("t_other", 7), 0);
	ck_assert_int_eq(terminate_leftovers_of(task, 7, copy), 0);
	ck_assert_int_eq(terminate_leftovers(task, 0), 0);
	ck_assert_int_eq(terminate_leftovers(NULL, 7), 0);
	ck_assert(help_alive(pids[0]) && help_alive(pids[1]));
	ck_assert_int_eq(terminate_leftovers_of(task, 7, mine), 2);
	while (help_alive(pids[0]) || help_alive(pids[1]))
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(terminate_leftovers(task, 7), 0);
	ck_assert(help_alive(stranger));
	(void)kill(stranger, SIGKILL);
	(void)help_reap(stranger);
}
END_TEST

START_TEST(test_leftovers_not_ourselves)
{
	/* called from inside the run: its own process and those above are spared */
	const char *const vars[] = { "PROBE_ACT=clean", task_var, RUN, NULL };
	int status = help_reap(help_start(vars, true));

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 1);
}
END_TEST

static Suite *suite_of_all(void)
{
	Suite *suite = suite_create("ending");
	TCase *watch, *term;

	if (help_in_valgrind()) {
		(void)printf("valgrind 3.19 has no pidfds: nothing to test in it\n");
		return suite;
	}
	watch = tcase_create("watch");
	term = tcase_create("terminate");
	tcase_add_checked_fixture(watch, setup, teardown);
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
	tcase_add_checked_fixture(term, setup, teardown);
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

int main(int argc, char **argv)
{
	return help_main(argc, argv, suite_of_all);
}
