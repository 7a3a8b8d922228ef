/*
 * Starting workers for real: what the process finds (arguments, environment, descriptors,
 * signals, session, folder), and the log.
 */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/launch.h"
#include "launch/identity.h"
#include "util/fs.h"
#include "util/strv.h"

static void setup(void)
{
	help_setup();
	help_probe();
}

static char *report(const char *name, size_t *len)
{
	CLEANUP(freep) char *path = help_path("report/%s", name);

	return help_read(path, len);
}

/* ---- the environment ---- */

static int order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Does the worker's environment consist of exactly these, in any order (NULL-terminated)? */
static void expect_environ(const char *const *want)
{
	size_t len, n = 0, wanted = 0;
	CLEANUP(freep) char *data = report("environ", &len);
	const char *have[64];

	for (const char *p = data; p < data + len; p += strlen(p) + 1)
		have[n++] = p;
	while (want[wanted])
		wanted++;
	qsort(have, n, sizeof(*have), order);
	for (size_t i = 0; i < n || i < wanted; i++) {
		ck_assert_msg(i < n, "missing: %s", want[i]);
		ck_assert_msg(i < wanted, "too much: %s", have[i]);
		ck_assert_str_eq(have[i], want[i]);
	}
}

START_TEST(test_environ_whole)
{
	struct launch_result result;
	struct help_launch h;
	CLEANUP(freep) char *text[20] = { 0 };
	const char *want[20] = { 0 };
	size_t n = 0;

	help_launch_init(&h);
	/* of a chat session, of another task, of systemd: none of it gets through */
	help_env(&h, "HERMES_TUI=1");
	help_env(&h, "HERMES_SESSION_CHAT_ID=9");
	help_env(&h, "HERMES_CRON_AUTO_DELIVER_THREAD_ID=9");
	help_env(&h, "HERMES_KANBAN_BRANCH=other");
	help_env(&h, "HERMES_KANBAN_GOAL_MODE=1");
	help_env(&h, "HERMES_KANBAN_TASK=t_other");
	help_env(&h, "HERMES_HOME=/elsewhere");
	help_env(&h, "NOTIFY_SOCKET=/run/x");
	help_env(&h, "WATCHDOG_USEC=1");
	help_env(&h, "LISTEN_FDS=1");
	help_env(&h, "INVOCATION_ID=1");
	help_env(&h, "UV_THREADPOOL_SIZE=9");
	help_env(&h, "NOT_A_VARIABLE");
	/* these do */
	help_env(&h, "HERMES_TENANT=inherited");
	help_env(&h, "HERMES_TUIX=kept");
	if (_i)
		ck_assert_int_eq(launcher_init(&h.launcher), 0);
	help_run(&h, &result);

	text[n++] = help_dup("HERMES_HOME=");
#define WANT(fmt, ...)                                                                         \
	do {                                                                                   \
		ck_assert_int_ge(asprintf(&text[n], fmt, __VA_ARGS__), 0);                     \
		want[n] = text[n];                                                             \
		n++;                                                                           \
	} while (0)
	free(text[--n]);
	WANT("HERMES_HOME=%s/root/profiles/jimmy", help_dir);
	WANT("HERMES_KANBAN_BOARD=%s", "b1");
	WANT("HERMES_KANBAN_CLAIM_LOCK=%s", "host:1");
	WANT("HERMES_KANBAN_DB=%s/root/kanban.db", help_dir);
	WANT("HERMES_KANBAN_RUN_ID=%d", 7);
	WANT("HERMES_KANBAN_TASK=%s", "t_0000abcd");
	WANT("HERMES_KANBAN_WORKSPACE=%s/root/ws/t_0000abcd", help_dir);
	WANT("HERMES_KANBAN_WORKSPACES_ROOT=%s/root/ws", help_dir);
	WANT("HERMES_PROFILE=%s", "jimmy");
	WANT("HERMES_SESSION_SOURCE=%s", "kanban");
	WANT("HERMES_TENANT=%s", "inherited");
	WANT("HERMES_TUIX=%s", "kept");
	WANT("PATH=%s/bin:/usr/bin:/bin", help_dir);
	WANT("PROBE_NEWS=%s/news", help_dir);
	WANT("PROBE_REPORT=%s/report", help_dir);
	WANT("TERMINAL_CWD=%s/root/ws/t_0000abcd", help_dir);
	expect_environ(want);
	for (size_t i = 1; i < n; i++)
		freep(&text[i]);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

/* One variable of the worker: its value, or NULL if it is not there. Caller frees. */
static char *worker_var(const char *name)
{
	size_t len, n = strlen(name);
	CLEANUP(freep) char *data = report("environ", &len);

	for (const char *p = data; p < data + len; p += strlen(p) + 1)
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return help_dup(p + n + 1);
	return NULL;
}

static void expect_var(const char *name, const char *want)
{
	CLEANUP(freep) char *have = worker_var(name);

	if (want)
		ck_assert_str_eq(have ? have : "(not set)", want);
	else
		ck_assert_msg(!have, "%s=%s", name, have);
}

START_TEST(test_environ_of_task)
{
	struct launch_result result;
	struct help_launch h;

	help_launch_init(&h);
	help_env(&h, "HERMES_TENANT=inherited");
	help_env(&h, "HERMES_KANBAN_HOME=/another/root");
	help_set(&h.spec.row.tenant, "acme $(x) \"y\"\nz");
	help_set(&h.spec.row.branch_name, "feature/x");
	h.spec.row.goal_mode = true;
	h.spec.row.goal_max_turns = 12;
	help_run(&h, &result);
	expect_var("HERMES_TENANT", "acme $(x) \"y\"\nz");
	expect_var("HERMES_KANBAN_BRANCH", "feature/x");
	expect_var("HERMES_KANBAN_GOAL_MODE", "1");
	expect_var("HERMES_KANBAN_GOAL_MAX_TURNS", "12");
	expect_var("HERMES_KANBAN_HOME", h.spec.root);
	ck_assert_ptr_null(result.branch); /* worktrees only */
	launch_result_deinit(&result);

	help_set(&h.spec.row.branch_name, " \t\n");
	help_set(&h.spec.row.tenant, "");
	h.spec.row.goal_max_turns = 0;
	help_run(&h, &result);
	expect_var("HERMES_TENANT", "inherited");
	expect_var("HERMES_KANBAN_BRANCH", " \t\n"); /* as the task has it */
	expect_var("HERMES_KANBAN_GOAL_MODE", "1");
	expect_var("HERMES_KANBAN_GOAL_MAX_TURNS", NULL);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

static const struct {
	const char *set;
	int64_t runtime;
	const char *want;
} timeout_cases[] = {
	{ NULL, 0, NULL },
	{ "180", 0, "180" },
	{ "180", -5, "180" },
	{ NULL, 600, "570" },
	{ "180", 600, "570" },
	{ "570", 600, "570" },
	{ "571", 600, "571" },
	{ " 600 ", 600, " 600 " },
	{ "rubbish", 600, "570" },
	{ "12x", 600, "570" },
	{ "", 600, "570" },
	{ "99999999999999999999999", 600, "99999999999999999999999" },
	{ NULL, 10, "1" },
	{ NULL, 31, "1" },
	{ NULL, 32, "2" },
	{ "5", 10, "5" },
	{ NULL, INT64_MAX, "9223372036854775777" },
};

START_TEST(test_environ_timeout)
{
	struct launch_result result;
	struct help_launch h;

	help_launch_init(&h);
	if (timeout_cases[_i].set) {
		help_env(&h, "TERMINAL_TIMEOUT=%s", timeout_cases[_i].set);
		help_env(&h, "TERMINAL_MAX_FOREGROUND_TIMEOUT=%s", timeout_cases[_i].set);
	}
	h.spec.row.max_runtime_seconds = timeout_cases[_i].runtime;
	help_run(&h, &result);
	expect_var("TERMINAL_TIMEOUT", timeout_cases[_i].want);
	expect_var("TERMINAL_MAX_FOREGROUND_TIMEOUT", timeout_cases[_i].want);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

/* ---- the process ---- */

START_TEST(test_process)
{
	CLEANUP(freep) char *fds = NULL, *state = NULL, *args = NULL, *want = NULL;
	struct launch_result result;
	struct help_launch h;
	sigset_t block;
	size_t len;
	int leak;

	help_launch_init(&h);
	help_set(&h.spec.row.skills, "[\"a b\",\"$(touch x)\"]");
	/* what a worker must not inherit: a descriptor without close-on-exec, a blocked and an
	 * ignored signal, a handler is gone with the exec anyhow */
	leak = open("/dev/null", O_RDONLY); /* no O_CLOEXEC: that is the point */
	ck_assert_int_ge(leak, 3);
	ck_assert_int_ge(dup2(leak, 200), 0);
	ck_assert_int_eq(fcntl(200, F_GETFD), 0);
	(void)sigemptyset(&block);
	(void)sigaddset(&block, SIGUSR1);
	(void)sigaddset(&block, SIGTERM);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &block, NULL), 0);
	ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	ck_assert(signal(SIGINT, SIG_IGN) != SIG_ERR);
	help_run(&h, &result);

	fds = report("fds", NULL);
	ck_assert_str_eq(fds, "0 1 2 ");
	state = report("state", NULL);
	ck_assert_int_ge(asprintf(&want,
				  "cwd=%s/root/ws/t_0000abcd\nstdin=/dev/null\nleads=1\n"
				  "session=1\nblocked=0000000000000000\n"
				  "ignored=0000000000000000\nappend=1\n",
				  help_dir),
			 0);
	ck_assert_msg(strncmp(state, want, strlen(want)) == 0, "%s", state);
	args = report("args", &len);
	ck_assert_uint_eq(len,
			  sizeof("hermes\0-p\0jimmy\0--cli\0--accept-hooks\0--skills\0a b\0"
				 "--skills\0$(touch x)\0chat\0-q\0work kanban task "
				 "t_0000abcd"));
	ck_assert_int_eq(memcmp(args,
				"hermes\0-p\0jimmy\0--cli\0--accept-hooks\0--skills\0a b\0"
				"--skills\0$(touch x)\0chat\0-q\0work kanban task t_0000abcd",
				len),
			 0);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_result)
{
	CLEANUP(freep) char *want = help_path("root/ws/t_0000abcd");
	char started[PROC_STARTED_MAX];
	struct launch_result result;
	struct error e = ERROR_NULL;
	struct help_launch h;
	struct pollfd pfd;

	help_launch_init(&h);
	help_env(&h, "PROBE_ACT=hang");
	help_news_open();
	ck_assert_int_eq(help_worker(&h.launcher, &h.spec, &result, &e), 0);
	help_news_read(1, NULL, NULL);
	ck_assert_str_eq(result.workspace, want);
	identity_started(result.pid, started);
	ck_assert_str_eq(result.started, started);
	ck_assert_ptr_nonnull(strchr(started, '|'));
	ck_assert_int_eq(fcntl(result.pidfd, F_GETFD), FD_CLOEXEC);
	pfd = (struct pollfd){ .fd = result.pidfd, .events = POLLIN };
	ck_assert_int_eq(poll(&pfd, 1, 0), 0);
	ck_assert_int_eq(kill(result.pid, SIGKILL), 0);
	ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
	ck_assert(WIFSIGNALED(help_reap(result.pid)));
	launch_result_deinit(&result);
	ck_assert_int_eq(result.pidfd, -1);
	help_launch_deinit(&h);
}
END_TEST

/* A worker that was started and not recorded, also one that has nothing of its environment. */
START_TEST(test_find)
{
	static const char *const acts[] = { "hang", "bare" };
	struct launch_result result;
	struct error e = ERROR_NULL;
	struct help_launch h;
	struct launch_run run;
	pid_t pid = 0;

	help_launch_init(&h);
	help_env(&h, "PROBE_ACT=%s", acts[_i]);
	help_news_open();
	run = (struct launch_run){ .root = h.spec.root,
				   .board = h.spec.board,
				   .task = h.spec.task,
				   .run = h.spec.run,
				   .db = h.spec.db_path };
	ck_assert_int_eq(launch_find(&h.launcher, &run, &pid), 1);
	ck_assert_int_eq(help_worker(&h.launcher, &h.spec, &result, &e), 0);
	help_news_read(1, NULL, NULL);
	ck_assert_int_eq(launch_find(&h.launcher, &run, &pid), 0);
	ck_assert_int_eq(pid, result.pid);
	run.run++;
	ck_assert_int_eq(launch_find(&h.launcher, &run, &pid), 1);
	run.run--;
	run.db = "/another/kanban.db";
	ck_assert_int_eq(launch_find(&h.launcher, &run, &pid), 1);
	(void)kill(result.pid, SIGKILL);
	(void)help_reap(result.pid);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_nofile)
{
	struct launch_result result;
	struct help_launch h;
	struct rlimit limit, raised;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_ge(limit.rlim_max, 300);
	raised = (struct rlimit){ limit.rlim_max, limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &raised), 0);
	help_launch_init(&h);
	h.launcher.nofile = (struct rlimit){ 256, limit.rlim_max };
	/* the limit is set right after the start: let the probe look after that */
	help_env(&h, "PROBE_ACT=hang");
	help_news_open();
	{
		struct error e = ERROR_NULL;
		struct rlimit now;

		ck_assert_int_eq(help_worker(&h.launcher, &h.spec, &result, &e), 0);
		help_news_read(1, NULL, NULL);
		ck_assert_int_eq(prlimit(result.pid, RLIMIT_NOFILE, NULL, &now), 0);
		ck_assert_uint_eq(now.rlim_cur, 256);
		ck_assert_uint_eq(now.rlim_max, limit.rlim_max);
		(void)kill(result.pid, SIGKILL);
		(void)help_reap(result.pid);
	}
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_command)
{
	const char *const command[] = { "env", "PREFIX={board}/{task}/{run}/{profile}", NULL };
	struct launch_result result;
	struct help_launch h;

	help_launch_init(&h);
	h.launcher.command = command;
	help_run(&h, &result);
	expect_var("PREFIX", "b1/t_0000abcd/7/jimmy");
	expect_var("HERMES_KANBAN_TASK", "t_0000abcd");
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_std_closed)
{
	/* a daemon that was started with 0, 1 and 2 closed */
	CLEANUP(freep) char *fds = NULL, *state = NULL, *log = NULL, *path = NULL;
	struct launch_result result;
	struct error e = ERROR_NULL;
	struct help_launch h;
	int keep, r;

	help_launch_init(&h);
	help_env(&h, "PROBE_ACT=print");
	keep = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
	(void)fflush(NULL);
	for (int fd = 0; fd < 3; fd++)
		(void)close(fd);
	r = help_worker(&h.launcher, &h.spec, &result, &e);
	for (int fd = 0; fd < 3; fd++)
		(void)dup2(keep, fd);
	ck_assert_msg(r == 0, "%s", e.text);
	ck_assert_int_eq(help_reap(result.pid), 0);
	fds = report("fds", NULL);
	ck_assert_str_eq(fds, "0 1 2 ");
	state = report("state", NULL);
	ck_assert_ptr_nonnull(strstr(state, "stdin=/dev/null\n"));
	path = help_path("root/kanban/logs/t_0000abcd.log");
	log = help_read(path, NULL);
	ck_assert_str_eq(log, "out 7\nerr\n");
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_moved)
{
	/* what launcher_init() found is a memory, not a promise */
	CLEANUP(freep) char *hermes = help_path("bin/hermes");
	CLEANUP(freep) char *second = help_path("second");
	CLEANUP(freep) char *moved = help_path("second/hermes");
	struct launch_result result;
	struct help_launch h;

	help_launch_init(&h);
	free(h.env[0]);
	ck_assert_int_ge(asprintf(&h.env[0], "PATH=%s/bin:%s:/usr/bin:/bin", help_dir, second),
			 0);
	ck_assert_int_eq(mkdir(second, 0755), 0);
	if (_i) /* not there yet */
		ck_assert_int_eq(rename(hermes, moved), 0);
	ck_assert_int_eq(launcher_init(&h.launcher), 0);
	ck_assert_int_eq(_i ? rename(moved, hermes) : rename(hermes, moved), 0);
	help_run(&h, &result);
	ck_assert_str_ne(result.started, "unverified");
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

/* ---- the log ---- */

static void expect_log(const char *suffix, const char *want)
{
	CLEANUP(freep) char *path = help_path("root/kanban/logs/t_0000abcd.log%s", suffix);
	CLEANUP(freep) char *text = NULL;

	if (!want) {
		ck_assert_int_lt(access(path, F_OK), 0);
		return;
	}
	text = help_read(path, NULL);
	ck_assert_str_eq(text, want);
}

START_TEST(test_log)
{
	CLEANUP(freep) char *path = help_path("root/kanban/logs/t_0000abcd.log");
	struct launch_result result;
	struct help_launch h;
	struct stat st;

	help_launch_init(&h);
	help_env(&h, "PROBE_ACT=print");
	h.launcher.log_rotate_bytes = 20;
	h.launcher.log_backup_count = 2;
	help_run(&h, &result);
	launch_result_deinit(&result);
	expect_log("", "out 7\nerr\n");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0644);
	/* appended to while it is no larger than the limit: 20 bytes are not */
	for (h.spec.run = 8; h.spec.run <= 9; h.spec.run++) {
		help_run(&h, &result);
		launch_result_deinit(&result);
	}
	expect_log("", "out 7\nerr\nout 8\nerr\nout 9\nerr\n");
	expect_log(".1", NULL);
	/* 30 bytes are more than 20 */
	h.spec.run = 1;
	help_run(&h, &result);
	launch_result_deinit(&result);
	expect_log("", "out 1\nerr\n");
	expect_log(".1", "out 7\nerr\nout 8\nerr\nout 9\nerr\n");
	/* and on: .1 becomes .2, .2 falls off */
	h.launcher.log_rotate_bytes = 9;
	for (h.spec.run = 2; h.spec.run <= 3; h.spec.run++) {
		help_run(&h, &result);
		launch_result_deinit(&result);
	}
	expect_log("", "out 3\nerr\n");
	expect_log(".1", "out 2\nerr\n");
	expect_log(".2", "out 1\nerr\n");
	expect_log(".3", NULL);
	/* none kept */
	h.launcher.log_backup_count = 0;
	h.spec.run = 4;
	help_run(&h, &result);
	launch_result_deinit(&result);
	expect_log("", "out 4\nerr\n");
	expect_log(".1", "out 2\nerr\n");
	/* never */
	h.launcher.log_rotate_bytes = 0;
	h.spec.run = 5;
	help_run(&h, &result);
	launch_result_deinit(&result);
	expect_log("", "out 4\nerr\nout 5\nerr\n");
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_deinit_null)
{
	struct launch_spec spec = { 0 };
	struct launch_result result = { .pidfd = -1 };
	struct launcher launcher = { 0 };

	launch_spec_deinit(&spec);
	launch_result_deinit(&result);
	launcher_deinit(&launcher);
	ck_assert_ptr_null(strv_free(NULL));
	/* no environment at all is an environment */
	ck_assert_int_eq(launcher_init(&launcher), 0);
	ck_assert_int_eq(launcher_init(&launcher), 0);
	launcher_deinit(&launcher);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("launch");
	TCase *tc = tcase_create("launch");

	tcase_add_checked_fixture(tc, setup, help_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_environ_whole, 0, 2);
	tcase_add_test(tc, test_environ_of_task);
	tcase_add_loop_test(tc, test_environ_timeout, 0,
			    sizeof(timeout_cases) / sizeof(timeout_cases[0]));
	tcase_add_test(tc, test_process);
	tcase_add_test(tc, test_nofile);
	tcase_add_test(tc, test_command);
	tcase_add_test(tc, test_std_closed);
	tcase_add_loop_test(tc, test_moved, 0, 2);
	tcase_add_test(tc, test_log);
	tcase_add_test(tc, test_deinit_null);
	if (!help_in_valgrind())
		tcase_add_test(tc, test_result);
	tcase_add_loop_test(tc, test_find, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
