/* Who a pid really is: every order of evidence, on real processes. */
#include "kit/launch.h"

#include <grp.h>

#include "launch/identity.h"
#include "process/proc.h"

#define TASK "HERMES_KANBAN_TASK=t_0000abcd"
#define RUN  "HERMES_KANBAN_RUN_ID=7"

static void setup(void)
{
	help_setup();
	help_news_open();
}

/* A process that hangs with @vars in its environment; it is there when this returns. */
static pid_t start(const char *const *vars)
{
	pid_t pid = help_start(vars, true);

	help_news_read(1, NULL, NULL);
	return pid;
}

static void stop(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	(void)help_reap(pid);
}

static const char *name_of(enum identity who)
{
	return who == IDENTITY_DEAD ? "dead" : who == IDENTITY_OURS ? "ours" : "stranger";
}

#define expect(claim, want) ck_assert_str_eq(name_of(identity_check(claim)), name_of(want))

/* ---- identity_started() ---- */

START_TEST(test_started)
{
	CLEANUP(freep) char *boot = help_read("/proc/sys/kernel/random/boot_id", NULL);
	const char *const vars[] = { "PROBE_ACT=hang", NULL };
	char out[LAUNCH_STARTED_MAX], again[LAUNCH_STARTED_MAX], want[LAUNCH_STARTED_MAX];
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

	pid = start(vars);
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

START_TEST(test_start_time)
{
	const char *const vars[] = { "PROBE_ACT=hang", NULL };
	int64_t before = clock_wall_us() / 1000, began;
	pid_t pid = start(vars);
	int64_t after = clock_wall_us() / 1000;
	struct proc_stat stat;

	ck_assert_int_eq(proc_stat(pid, &stat), 0);
	began = proc_start_wall_ms(stat.start);
	/* a clock tick of 10 ms, and reading two clocks one after the other */
	ck_assert_int_ge(began, before - 15);
	ck_assert_int_le(began, after + 15);
	stop(pid);
}
END_TEST

/* ---- identity_check() ---- */

START_TEST(test_dead)
{
	const char *const vars[] = { "PROBE_ACT=exit:0", TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7 };
	char started[LAUNCH_STARTED_MAX];

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
	char started[LAUNCH_STARTED_MAX], other[LAUNCH_STARTED_MAX];
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7, .started = started };
	char *ticks;

	claim.pid = start(vars);
	identity_started(claim.pid, started);
	/* the recorded start settles it, whatever else is there */
	expect(&claim, IDENTITY_OURS);
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
	claim.started = "rubbish";
	claim.task = "t_other"; /* even though its environment fits */
	expect(&claim, IDENTITY_STRANGER);
	stop(claim.pid);
}
END_TEST

START_TEST(test_by_environ)
{
	CLEANUP(freep) char *db = help_path("kanban.db");
	CLEANUP(freep) char *link = help_path("link.db");
	CLEANUP(freep) char *copy = help_path("copy.db");
	CLEANUP(freep) char *var = NULL;
	const char *vars[] = { "PROBE_ACT=hang", TASK, RUN, NULL, NULL };
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7 };
	const char *const none[] = { NULL, "", "unverified" };

	ck_assert_int_ge(asprintf(&var, "HERMES_KANBAN_DB=%s", db), 0);
	vars[3] = var;
	claim.pid = start(vars);
	for (size_t i = 0; i < 3; i++) {
		claim.started = none[i];
		expect(&claim, IDENTITY_OURS);
	}
	claim.run = 0;
	expect(&claim, IDENTITY_OURS);
	claim.run = 8;
	expect(&claim, IDENTITY_STRANGER);
	claim.run = 7;
	claim.task = "t_0000abc";
	expect(&claim, IDENTITY_STRANGER);
	claim.task = "t_0000abcde";
	expect(&claim, IDENTITY_STRANGER);
	claim.task = "t_0000abcd";
	/* which database */
	claim.db = db;
	expect(&claim, IDENTITY_OURS);
	claim.db = copy;
	expect(&claim, IDENTITY_OURS); /* neither file is there: the texts prove nothing */
	help_write(db, "");
	help_write(copy, "");
	ck_assert_int_eq(symlink("kanban.db", link), 0);
	expect(&claim, IDENTITY_STRANGER);
	claim.db = link;
	expect(&claim, IDENTITY_OURS);
	stop(claim.pid);
	/* a worker without a run id, of the first release */
	vars[2] = "X=y";
	vars[3] = NULL;
	claim.pid = start(vars);
	expect(&claim, IDENTITY_OURS);
	stop(claim.pid);
	vars[2] = "HERMES_KANBAN_RUN_ID=7x";
	claim.pid = start(vars);
	expect(&claim, IDENTITY_OURS); /* no number: not known */
	stop(claim.pid);
	/* names that only look alike; the first of two counts */
	vars[1] = "XHERMES_KANBAN_TASK=t_0000abcd";
	vars[2] = "HERMES_KANBAN_TASK=t_first";
	vars[3] = TASK;
	claim.pid = start(vars);
	expect(&claim, IDENTITY_STRANGER);
	claim.task = "t_first";
	expect(&claim, IDENTITY_OURS);
	stop(claim.pid);
}
END_TEST

START_TEST(test_by_time)
{
	const char *const vars[] = { "PROBE_ACT=hang", RUN, NULL };
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7 };
	struct proc_stat stat;
	int64_t began;
	size_t i;
	const struct {
		int64_t offset;
		enum identity want;
	} cases[] = {
		{ 0, IDENTITY_OURS },    { 2, IDENTITY_OURS },        { 3, IDENTITY_STRANGER },
		{ -600, IDENTITY_OURS }, { -601, IDENTITY_STRANGER },
	};

	claim.pid = start(vars);
	ck_assert_int_eq(proc_stat(claim.pid, &stat), 0);
	/* not too near to the turn of a second: two clocks are read to work it out */
	do
		began = proc_start_wall_ms(stat.start);
	while (began % 1000 < 20 &&
	       (stop(claim.pid), claim.pid = start(vars), proc_stat(claim.pid, &stat) == 0));
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
	stop(claim.pid);
}
END_TEST

START_TEST(test_name)
{
	const char *const vars[] = { "PROBE_ACT=named", TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7 };
	struct proc_stat stat;

	claim.pid = start(vars);
	ck_assert_int_eq(proc_stat(claim.pid, &stat), 0);
	ck_assert_int_ne(stat.state, 'Z');
	ck_assert_int_eq(stat.ppid, getpid());
	ck_assert_int_eq(stat.pgrp, claim.pid);
	ck_assert_int_eq(stat.session, claim.pid);
	expect(&claim, IDENTITY_OURS);
	stop(claim.pid);
}
END_TEST

START_TEST(test_large_environ)
{
	/* 400 KiB in front of the variables: more is not read, so they are not seen */
	size_t n = (size_t)100 * 1024;
	char *fill[4];
	const char *front[] = { "PROBE_ACT=hang", TASK, RUN, NULL, NULL, NULL, NULL, NULL };
	const char *back[] = { "PROBE_ACT=hang", NULL, NULL, NULL, NULL, TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7 };

	for (int i = 0; i < 4; i++) {
		fill[i] = malloc(n + 1);
		ck_assert_ptr_nonnull(fill[i]);
		memset(fill[i], 'x', n);
		fill[i][1] = '=';
		fill[i][n] = '\0';
		front[3 + i] = back[1 + i] = fill[i];
	}
	claim.pid = start(front);
	expect(&claim, IDENTITY_OURS);
	stop(claim.pid);
	claim.pid = start(back);
	expect(&claim, IDENTITY_STRANGER); /* no time given, either */
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_OURS);
	stop(claim.pid);
	for (int i = 0; i < 4; i++)
		free(fill[i]);
}
END_TEST

START_TEST(test_cut_environ)
{
	/* the bound falls into a value: what is left of it happens to be the id of the claim */
	const char *const act = "PROBE_ACT=hang";
	const char *const long_task = TASK "ef";
	const char *vars[] = { act, NULL, NULL, NULL, long_task, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000abcd", .run = 7 };
	size_t left = PROC_ENVIRON_MAX - (strlen(act) + 1) - strlen(TASK);
	char *fill[3];

	for (int i = 0; i < 3; i++) {
		size_t n = i < 2 ? 100000 : left;

		fill[i] = malloc(n);
		ck_assert_ptr_nonnull(fill[i]);
		memset(fill[i], 'x', n - 1);
		fill[i][1] = '=';
		fill[i][n - 1] = '\0';
		vars[1 + i] = fill[i];
		left -= n;
	}
	ck_assert_uint_eq(left, 0);
	claim.pid = start(vars);
	expect(&claim, IDENTITY_STRANGER);
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_OURS); /* by the time: the id was not read at all */
	claim.task = "t_0000abcdef";
	claim.run_started_at = 0;
	expect(&claim, IDENTITY_STRANGER);
	stop(claim.pid);
	for (int i = 0; i < 3; i++)
		free(fill[i]);
}
END_TEST

START_TEST(test_other_user)
{
	/* what we may not read says nothing: the time decides */
	const char *const vars[] = { "PROBE_ACT=hang", TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_other", .run = 7 };
	pid_t checker;

	if (geteuid() != 0) {
		(void)printf("test_other_user needs root: left out\n");
		return;
	}
	claim.pid = start(vars);
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_STRANGER);
	checker = fork();
	if (checker == 0) {
		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
			_exit(9);
		if (identity_check(&claim) != IDENTITY_OURS)
			_exit(1);
		claim.run_started_at -= 1000;
		_exit(identity_check(&claim) == IDENTITY_STRANGER ? 0 : 2);
	}
	ck_assert_int_eq(help_reap(checker), 0);
	stop(claim.pid);
}
END_TEST

/* ---- identity_scan() ---- */

START_TEST(test_scan)
{
	CLEANUP(freep) char *db = help_path("kanban.db");
	CLEANUP(freep) char *db_var = NULL;
	char task[LAUNCH_TASK_MAX + 1], task_var[LAUNCH_TASK_MAX + 64];
	const char *vars[] = { "PROBE_ACT=family", NULL, RUN, NULL, NULL };
	const char *const names[] = { "worker", "child", "session", "bare", "orphan", NULL };
	struct identity_found *found = NULL;
	pid_t pids[5], worker;
	size_t count = 0;
	bool seen[5] = { false };

	/* a task of our own: tests run side by side on this host */
	(void)snprintf(task, sizeof(task), "t_scan_%d_", (int)getpid());
	memset(task + strlen(task), 'x', LAUNCH_TASK_MAX - strlen(task));
	task[LAUNCH_TASK_MAX] = '\0';
	(void)snprintf(task_var, sizeof(task_var), "HERMES_KANBAN_TASK=%s", task);
	ck_assert_int_ge(asprintf(&db_var, "HERMES_KANBAN_DB=%s", db), 0);
	vars[1] = task_var;
	vars[3] = db_var;
	worker = help_start(vars, true);
	help_news_read(5, pids, names);
	ck_assert_int_eq(worker, pids[0]);
	ck_assert_int_eq(identity_scan(&found, &count), 0);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(found[i].task, task) != 0)
			continue;
		ck_assert_int_eq(found[i].run, 7);
		ck_assert_str_eq(found[i].db, db);
		for (size_t k = 0; k < 5; k++) {
			if (found[i].pid != pids[k])
				continue;
			seen[k] = true;
			/* the session of child is the worker's, of the others their own */
			if (k == 1)
				ck_assert_int_eq(found[i].session, worker);
			if (k == 1 || k == 2)
				ck_assert_int_eq(found[i].ppid, worker);
			if (k == 2)
				ck_assert_int_eq(found[i].session, pids[2]);
			if (k == 4)
				ck_assert_int_ne(found[i].ppid, worker);
		}
	}
	identity_found_free(found, count);
	ck_assert(seen[0] && seen[1] && seen[2] && !seen[3] && seen[4]);
	for (size_t k = 0; k < 5; k++)
		(void)kill(pids[k], SIGKILL);
	/* the worker is a zombie now: not listed */
	while (help_alive(worker) || help_alive(pids[4]))
		(void)poll(NULL, 0, 1);
	ck_assert_int_eq(identity_scan(&found, &count), 0);
	for (size_t i = 0; i < count; i++)
		ck_assert_int_ne(found[i].pid, worker);
	identity_found_free(found, count);
	identity_found_free(NULL, 0);
	(void)help_reap(worker);
}
END_TEST

static Suite *suite_of_all(void)
{
	Suite *suite = suite_create("identity");
	TCase *tc = tcase_create("identity");

	tcase_add_checked_fixture(tc, setup, help_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_started);
	tcase_add_test(tc, test_start_time);
	tcase_add_test(tc, test_dead);
	tcase_add_test(tc, test_by_started);
	tcase_add_test(tc, test_by_environ);
	tcase_add_test(tc, test_by_time);
	tcase_add_test(tc, test_name);
	tcase_add_test(tc, test_large_environ);
	tcase_add_test(tc, test_cut_environ);
	tcase_add_test(tc, test_other_user);
	tcase_add_test(tc, test_scan);
	suite_add_tcase(suite, tc);
	return suite;
}

int main(int argc, char **argv)
{
	return help_main(argc, argv, suite_of_all);
}
