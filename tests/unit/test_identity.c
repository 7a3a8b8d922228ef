/* Who a pid really is: every order of evidence, on real processes. */
#include <check.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/claimant.h"
#include "kit/launch.h"
#include "launch/identity.h"
#include "launch/terminate.h"
#include "process/proc.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define TASK "HERMES_KANBAN_TASK=t_0000cafd"

/* ---- identity_started() ---- */

START_TEST(test_started)
{
	CLEANUP(freep) char *boot = help_read("/proc/sys/kernel/random/boot_id", NULL);
	const char *const vars[] = { "PROBE_ACT=hang", NULL };
	char out[PROC_STARTED_MAX], again[PROC_STARTED_MAX], want[PROC_STARTED_MAX];
	struct proc_stat init, self;
	pid_t pid;

	boot[strcspn(boot, "\n")] = '\0';
	ck_assert_int_eq(proc_stat(1, &init), 0);
	ck_assert_int_eq(proc_stat(getpid(), &self), 0);
	(void)snprintf(want, sizeof(want), "%s:%llu|%llu", boot, (unsigned long long)init.start,
		       (unsigned long long)self.start);
	identity_started(getpid(), out);
	ck_assert_str_eq(out, want);
	ck_assert_uint_eq(strlen(boot), 36);

	pid = claimant_start(vars);
	identity_started(pid, out);
	identity_started(pid, again);
	ck_assert_str_eq(out, again);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	/* of a zombie it can still be read: a worker may end at once */
	while (help_alive(pid))
		(void)poll(NULL, 0, 1);
	identity_started(pid, again);
	ck_assert_str_eq(out, again);
	(void)help_reap(pid);
	identity_started(pid, out);
	ck_assert_str_eq(out, "unverified");
	identity_started(0, out);
	ck_assert_str_eq(out, "unverified");
	identity_started(-1, out);
	ck_assert_str_eq(out, "unverified");
}
END_TEST

/* Another first process of the same boot is another pid namespace. */
START_TEST(test_elsewhere)
{
	CLEANUP(freep) char *boot = help_read("/proc/sys/kernel/random/boot_id", NULL);
	char text[PROC_STARTED_MAX];

	boot[strcspn(boot, "\n")] = '\0';
	identity_started(getpid(), text);
	ck_assert(!identity_elsewhere(text));
	(void)snprintf(text, sizeof(text), "%s:4711000|99", boot);
	ck_assert(identity_elsewhere(text));
	(void)snprintf(text, sizeof(text), "%s:|99", boot); /* hidepid: it was not read */
	ck_assert(!identity_elsewhere(text));
	ck_assert(!identity_elsewhere("6d3d2d4e-0000-4000-8000-000000000000:1|99"));
	ck_assert(!identity_elsewhere("99"));
	ck_assert(!identity_elsewhere("unverified"));
	ck_assert(!identity_elsewhere(NULL));
}
END_TEST

START_TEST(test_start_time)
{
	const char *const vars[] = { "PROBE_ACT=hang", NULL };
	int64_t before = clock_wall_us() / 1000, began;
	pid_t pid = claimant_start(vars);
	int64_t after = clock_wall_us() / 1000;
	struct proc_stat stat;

	ck_assert_int_eq(proc_stat(pid, &stat), 0);
	began = proc_start_wall_ms(stat.start);
	/* a clock tick of 10 ms, and reading two clocks one after the other */
	ck_assert_int_ge(began, before - 15);
	ck_assert_int_le(began, after + 15);
	claimant_stop(pid);
}
END_TEST

/* ---- identity_check() ---- */

START_TEST(test_dead)
{
	const char *const vars[] = { "PROBE_ACT=exit:0", TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7 };
	char started[PROC_STARTED_MAX];

	expect(&claim, IDENTITY_DEAD); /* pid 0 */
	claim.pid = -1;
	expect(&claim, IDENTITY_DEAD);
	claim.pid = 4194304; /* above what any kernel gives out */
	expect(&claim, IDENTITY_DEAD);
	claim.pid = help_start(vars, true);
	identity_started(claim.pid, started);
	claim.started = started;
	while (help_alive(claim.pid))
		(void)poll(NULL, 0, 1);
	expect(&claim, IDENTITY_DEAD); /* a zombie */
	claim.started = NULL;
	expect(&claim, IDENTITY_DEAD);
	(void)help_reap(claim.pid);
	expect(&claim, IDENTITY_DEAD);
}
END_TEST

START_TEST(test_by_started)
{
	const char *const vars[] = { "PROBE_ACT=hang", "HERMES_KANBAN_TASK=t_other", NULL };
	char started[PROC_STARTED_MAX], other[PROC_STARTED_MAX];
	const char *colon, *bar;
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7, .started = started };
	char *ticks;

	claim.pid = claimant_start(vars);
	identity_started(claim.pid, started);
	/* a row can name any process and when it began: that makes it nobody's worker */
	expect(&claim, IDENTITY_STRANGER);
	claim.child = true; /* but this is our own child, which we started for that run */
	expect(&claim, IDENTITY_OURS);
	claim.child = false;
	claim.task = "t_other";
	expect(&claim, IDENTITY_OURS);
	/* without what pid 1 began at, as with hidepid; and of the first days: the ticks alone
	 */
	colon = strchr(started, ':');
	bar = strchr(started, '|');
	(void)snprintf(other, sizeof(other), "%.*s%s", (int)(colon - started + 1), started,
		       bar);
	claim.started = other;
	expect(&claim, IDENTITY_OURS);
	(void)snprintf(other, sizeof(other), "%s", bar + 1);
	expect(&claim, IDENTITY_OURS);
	(void)strcat(other, "1");
	expect(&claim, IDENTITY_STRANGER);
	(void)memcpy(other, started, sizeof(other));
	claim.started = other;
	ticks = strchr(other, '|') + 1;
	ticks[0] = ticks[0] == '9' ? '1' : (char)(ticks[0] + 1);
	expect(&claim, IDENTITY_STRANGER); /* same boot, another start */
	(void)memcpy(other, started, sizeof(other));
	other[0] = other[0] == '0' ? '1' : '0';
	expect(&claim, IDENTITY_STRANGER); /* another boot */
	(void)memcpy(other, started, sizeof(other));
	other[strlen(other) - 1] = '\0';
	expect(&claim, IDENTITY_STRANGER);
	claim.started = "rubbish"; /* even though its environment fits */
	expect(&claim, IDENTITY_STRANGER);
	claimant_stop(claim.pid);
}
END_TEST

START_TEST(test_by_time)
{
	/* more environment than is read, so that the marks may be there */
	char *fill[4];
	const char *vars[] = { "PROBE_ACT=hang", NULL, NULL, NULL, NULL, NULL };
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7 };
	struct proc_stat stat;
	int64_t began;
	size_t i;
	const struct {
		int64_t offset;
		enum identity want;
	} cases[] = {
		{ 0, IDENTITY_UNSURE },      { 2, IDENTITY_UNSURE },
		{ 3, IDENTITY_STRANGER },    { -600, IDENTITY_UNSURE },
		{ -601, IDENTITY_STRANGER },
	};

	for (i = 0; i < 4; i++) {
		fill[i] = calloc(1, 100001);
		ck_assert_ptr_nonnull(fill[i]);
		memset(fill[i], 'x', 100000);
		fill[i][1] = '=';
		vars[1 + i] = fill[i];
	}

	claim.pid = claimant_start(vars);
	ck_assert_int_eq(proc_stat(claim.pid, &stat), 0);
	/* not too near to the turn of a second: two clocks are read to work it out */
	do
		began = proc_start_wall_ms(stat.start);
	while (began % 1000 < 20 && (claimant_stop(claim.pid), claim.pid = claimant_start(vars),
				     proc_stat(claim.pid, &stat) == 0));
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		claim.run_started_at = began / 1000 + cases[i].offset;
		expect(&claim, cases[i].want);
	}
	claim.run_started_at = 0;
	expect(&claim, IDENTITY_STRANGER);
	claim.run_started_at = INT64_MAX;
	expect(&claim, IDENTITY_STRANGER);
	claim.run_started_at = INT64_MIN;
	expect(&claim, IDENTITY_STRANGER);
	claimant_stop(claim.pid);
	for (i = 0; i < 4; i++)
		free(fill[i]);
}
END_TEST

START_TEST(test_by_number)
{
	CLEANUP(freep) char *db = help_path("kanban.db");
	char *const argv[] = { (char[]){ "sleep" }, (char[]){ "60" }, NULL };
	char *const none[] = { NULL };
	struct spawn how = { .file = "/bin/sleep", .argv = argv, .envp = none, .run = 0 };
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7, .db = db };
	CLEANUP(fs_closep) int out = spawn_fd_high(open("/dev/null", O_WRONLY | O_CLOEXEC));

	how.out = how.err = out;
	ck_assert_int_ge(out, 3);
	/* nothing in its environment */
	ck_assert_int_eq(spawn_process(&how, &claim.pid), 0);
	ck_assert_uint_eq(proc_run_of(claim.pid), 0);
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_STRANGER);
	claimant_stop(claim.pid);
	how.run = proc_run_number(db, 7);
	ck_assert_int_eq(spawn_process(&how, &claim.pid), 0);
	ck_assert_uint_eq(proc_run_of(claim.pid), how.run);
	expect(&claim, IDENTITY_OURS);
	claim.run = 8;
	expect(&claim, IDENTITY_STRANGER);
	claim.run = 7;
	claim.db = "/elsewhere/kanban.db";
	expect(&claim, IDENTITY_STRANGER);
	claimant_stop(claim.pid);
	/* the spawner is as it was */
	ck_assert_uint_eq(proc_run_of(getpid()), 0);
}
END_TEST

START_TEST(test_name)
{
	const char *const vars[] = { "PROBE_ACT=named", TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7 };
	struct proc_stat stat;

	claim.pid = claimant_start(vars);
	ck_assert_int_eq(proc_stat(claim.pid, &stat), 0);
	ck_assert_int_ne(stat.state, 'Z');
	ck_assert_int_eq(stat.ppid, getpid());
	ck_assert_int_eq(stat.pgrp, claim.pid);
	ck_assert_int_eq(stat.session, claim.pid);
	expect(&claim, IDENTITY_OURS);
	claimant_stop(claim.pid);
}
END_TEST

/* A sleeper in this pid namespace, with @env. */
static pid_t sleeper(char *const *env)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)execle("/bin/sleep", "sleep", "60", NULL, env);
		_exit(127);
	}
	return pid;
}

/* The init of a pid namespace of its own: gives one number to a worker and then to a stranger.
 */
static int reuse_a_number(void)
{
	static char task[] = TASK, run[] = RUN;
	char *const marked[] = { task, run, NULL }, *const plain[] = { NULL };
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7 };
	char started[PROC_STARTED_MAX];
	struct termination ended;
	int tries = 0;
	FILE *f;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0)
		return 2;
	claim.pid = sleeper(marked);
	while (identity_check(&claim) != IDENTITY_OURS && tries++ < 5000)
		(void)poll(NULL, 0, 1);
	identity_started(claim.pid, started);
	(void)kill(claim.pid, SIGKILL);
	if (waitpid(claim.pid, NULL, 0) != claim.pid)
		return 3;
	(void)poll(NULL, 0, 30); /* another clock tick, which is what the kernel notes */
	f = fopen("/proc/sys/kernel/ns_last_pid", "we");
	if (!f || fprintf(f, "%d", (int)claim.pid - 1) < 0 || fclose(f) != 0)
		return 4;
	if (sleeper(plain) != claim.pid)
		return 5;
	claim.started = started;
	if (identity_check(&claim) != IDENTITY_STRANGER)
		return 6;
	if (terminate_now(&claim, 50, &ended) < 0 || ended.attempted)
		return 7;
	claim.started = NULL;
	claim.run_started_at = clock_wall_s();
	/* until the exec is through it is a copy of ours, which has no marks either */
	if (terminate_now(&claim, 50, &ended) < 0 || ended.attempted)
		return 8;
	return waitpid(claim.pid, NULL, WNOHANG) == 0 ? 0 : 9;
}

/* A worker that says nothing of itself is not signalled, and nobody is started beside him while
 * the row has his start. Without it nothing speaks for him, but where he wrote over what he
 * bore. */
START_TEST(test_bears_nothing)
{
	const char *const bare[] = { "PROBE_ACT=hang", NULL };
	const char *const wiped[] = { "PROBE_ACT=wiped", TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000cafd", .run = 7 };
	char started[PROC_STARTED_MAX], text[PROC_STARTED_MAX];
	struct termination ended;

	for (int i = 0; i < 2; i++) {
		claim.pid = claimant_start(i ? wiped : bare);
		identity_started(claim.pid, started);
		claim.started = started;
		claim.run_started_at = clock_wall_s() - 10000;
		expect(&claim, IDENTITY_UNSURE);
		claim.started = "unverified";
		expect(&claim, IDENTITY_UNSURE);
		ck_assert_int_eq(terminate_now(&claim, 50, &ended), 0);
		ck_assert(!ended.terminated);
		/* of the first days, kept as a float */
		(void)snprintf(text, sizeof(text), "%s.0", strchr(started, '|') + 1);
		claim.started = text;
		expect(&claim, IDENTITY_UNSURE);
		(void)snprintf(text, sizeof(text), "%s.5", strchr(started, '|') + 1);
		expect(&claim, IDENTITY_STRANGER);
		claim.started = NULL;
		expect(&claim, IDENTITY_STRANGER);
		claim.run_started_at = clock_wall_s();
		expect(&claim, i ? IDENTITY_UNSURE : IDENTITY_STRANGER);
		ck_assert(help_alive(claim.pid));
		claimant_stop(claim.pid);
	}
}
END_TEST

START_TEST(test_number_reused)
{
	pid_t box, init;
	int status;

	if (geteuid() != 0) {
		(void)printf("test_number_reused needs root: left out\n");
		return;
	}
	box = fork();
	if (box == 0) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
			_exit(20);
		init = fork();
		if (init == 0)
			_exit(reuse_a_number()); /* and all in it ends */
		if (init < 0 || waitpid(init, &status, 0) != init)
			_exit(21);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 22);
	}
	status = help_reap(box);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "step %d",
		      WEXITSTATUS(status));
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("identity");
	TCase *tc = tcase_create("identity");

	tcase_add_checked_fixture(tc, claimant_setup, help_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_started);
	tcase_add_test(tc, test_elsewhere);
	tcase_add_test(tc, test_start_time);
	tcase_add_test(tc, test_dead);
	tcase_add_test(tc, test_by_started);
	tcase_add_test(tc, test_by_time);
	tcase_add_test(tc, test_by_number);
	tcase_add_test(tc, test_bears_nothing);
	tcase_add_test(tc, test_number_reused);
	tcase_add_test(tc, test_name);
	suite_add_tcase(suite, tc);
	return suite;
}
