/* Who a process is by its environment: large ones, cut ones, those of other users; all
 * processes of a run. */
#include <check.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/claimant.h"
#include "kit/launch.h"
#include "launch/ending.h"
#include "launch/identity.h"
#include "process/proc.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define TASK "HERMES_KANBAN_TASK=t_0000beed"

/* ---- identity_check() ---- */

START_TEST(test_by_environ)
{
	CLEANUP(freep) char *db = help_path("kanban.db");
	CLEANUP(freep) char *link = help_path("link.db");
	CLEANUP(freep) char *copy = help_path("copy.db");
	CLEANUP(freep) char *var = NULL;
	const char *vars[] = { "PROBE_ACT=hang", TASK, RUN, NULL, NULL };
	struct identity_claim claim = { .task = "t_0000beed", .run = 7 };
	const char *const none[] = { NULL, "", "unverified" };

	ck_assert_int_ge(asprintf(&var, "HERMES_KANBAN_DB=%s", db), 0);
	vars[3] = var;
	claim.pid = claimant_start(vars);
	for (size_t i = 0; i < 3; i++) {
		claim.started = none[i];
		expect(&claim, IDENTITY_OURS);
	}
	claim.run = 0;
	expect(&claim, IDENTITY_OURS);
	claim.run = 8;
	expect(&claim, IDENTITY_STRANGER);
	claim.run = 7;
	claim.task = "t_0000bee";
	expect(&claim, IDENTITY_STRANGER);
	claim.task = "t_0000beede";
	expect(&claim, IDENTITY_STRANGER);
	claim.task = "t_0000beed";
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
	claimant_stop(claim.pid);
	/* a worker without a run id, of the first release */
	vars[2] = "X=y";
	vars[3] = NULL;
	claim.pid = claimant_start(vars);
	expect(&claim, IDENTITY_OURS);
	claimant_stop(claim.pid);
	vars[2] = "HERMES_KANBAN_RUN_ID=7x";
	claim.pid = claimant_start(vars);
	expect(&claim, IDENTITY_OURS); /* no number: not known */
	claimant_stop(claim.pid);
	/* names that only look alike; the first of two counts */
	vars[1] = "XHERMES_KANBAN_TASK=t_0000beed";
	vars[2] = "HERMES_KANBAN_TASK=t_first";
	vars[3] = TASK;
	claim.pid = claimant_start(vars);
	expect(&claim, IDENTITY_STRANGER);
	claim.task = "t_first";
	expect(&claim, IDENTITY_OURS);
	claimant_stop(claim.pid);
}
END_TEST

START_TEST(test_large_environ)
{
	/* 400 KiB in front of the variables: more is not read, so they are not seen */
	size_t n = (size_t)100 * 1024;
	char *fill[4];
	const char *front[] = { "PROBE_ACT=hang", TASK, RUN, NULL, NULL, NULL, NULL, NULL };
	const char *back[] = { "PROBE_ACT=hang", NULL, NULL, NULL, NULL, TASK, RUN, NULL };
	struct identity_claim claim = { .task = "t_0000beed", .run = 7 };

	for (int i = 0; i < 4; i++) {
		fill[i] = malloc(n + 1);
		ck_assert_ptr_nonnull(fill[i]);
		memset(fill[i], 'x', n);
		fill[i][1] = '=';
		fill[i][n] = '\0';
		front[3 + i] = back[1 + i] = fill[i];
	}
	claim.pid = claimant_start(front);
	expect(&claim, IDENTITY_OURS);
	claimant_stop(claim.pid);
	claim.pid = claimant_start(back);
	expect(&claim, IDENTITY_STRANGER); /* no time given, either */
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_UNSURE);
	claimant_stop(claim.pid);
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
	struct identity_claim claim = { .task = "t_0000beed", .run = 7 };
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
	claim.pid = claimant_start(vars);
	expect(&claim, IDENTITY_STRANGER);
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_UNSURE); /* by the time: the id was not read at all */
	claim.task = "t_0000beedef";
	claim.run_started_at = 0;
	expect(&claim, IDENTITY_STRANGER);
	claimant_stop(claim.pid);
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
	claim.pid = claimant_start(vars);
	claim.run_started_at = clock_wall_s();
	expect(&claim, IDENTITY_STRANGER);
	checker = fork();
	if (checker == 0) {
		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
			_exit(9);
		if (identity_check(&claim) != IDENTITY_UNSURE)
			_exit(1);
		claim.run_started_at -= 1000;
		_exit(identity_check(&claim) == IDENTITY_STRANGER ? 0 : 2);
	}
	ck_assert_int_eq(help_reap(checker), 0);
	claimant_stop(claim.pid);
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

Suite *test_suite(void)
{
	Suite *suite = suite_create("identity_environ");
	TCase *tc = tcase_create("identity");

	tcase_add_checked_fixture(tc, claimant_setup, help_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_by_environ);
	tcase_add_test(tc, test_large_environ);
	tcase_add_test(tc, test_cut_environ);
	tcase_add_test(tc, test_other_user);
	tcase_add_test(tc, test_scan);
	suite_add_tcase(suite, tc);
	return suite;
}
