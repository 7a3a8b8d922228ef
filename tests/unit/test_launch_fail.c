/*
 * Workers that do not start: hostile task ids, profiles that are none, programs that are not
 * there or are no programs, logs that are something else, no descriptors left. Each time one
 * whole sentence, and nothing left behind.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/launch/launch.h"
#include "kit/launch.h"
#include "util/fs.h"

static void setup(void)
{
	help_setup();
	help_probe();
}

static bool host_blamed; /* for the last failure */

/* A start that must fail: the outcome and the whole sentence. Caller frees nothing. */
static void expect_failure(struct help_launch *h, int outcome, const char *fmt, ...)
	PRINTF(3, 4);

static void expect_failure(struct help_launch *h, int outcome, const char *fmt, ...)
{
	struct launch_result result;
	struct error e = ERROR_NULL;
	char want[2048];
	va_list ap;
	int r = help_worker(&h->launcher, &h->spec, &result, &e);

	va_start(ap, fmt);
	(void)vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	host_blamed = launch_host_fault(r, &e);
	ck_assert_str_eq(e.text, want);
	ck_assert_int_eq(r, outcome);
	ck_assert_int_eq(e.code, r);
	ck_assert_int_eq(result.pid, 0);
	ck_assert_int_eq(result.pidfd, -1);
	if (outcome != LAUNCH_WORKSPACE_FAILED)
		ck_assert_ptr_nonnull(result.workspace);
	else
		ck_assert_ptr_null(result.workspace);
	launch_result_deinit(&result);
	/* nothing was left behind: no child at all */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}

START_TEST(test_log_bad)
{
	CLEANUP(freep) char *logs = help_path("root/kanban/logs");
	CLEANUP(freep) char *path = help_path("root/kanban/logs/t_0000abcd.log");
	CLEANUP(freep) char *victim = help_path("victim");
	CLEANUP(freep) char *text = NULL;
	struct help_launch h;

	help_launch_init(&h);
	ck_assert_int_eq(fs_mkdir_p(logs, 0755), 0);
	help_write(victim, "precious");
	ck_assert_int_eq(symlink(victim, path), 0);
	expect_failure(&h, LAUNCH_SPAWN_FAILED, "worker log %s is no plain file; move it away",
		       path);
	/* other tasks have logs: it is this one's trouble */
	ck_assert(!host_blamed);
	text = help_read(victim, NULL);
	ck_assert_str_eq(text, "precious");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	expect_failure(&h, LAUNCH_SPAWN_FAILED, "worker log %s is no plain file; move it away",
		       path);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "cannot write the worker log %s: Is a directory", path);
	ck_assert(!host_blamed);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rmdir(logs), 0);
	help_write(logs, "");
	expect_failure(&h, LAUNCH_PLACE_FAILED,
		       "cannot write the worker log %s: Not a directory", path);
	ck_assert(host_blamed);
	help_launch_deinit(&h);
}
END_TEST

static bool not_wanted(void *arg, struct error *e)
{
	const struct help_launch *h = arg;

	ck_assert(
		fs_is_dir(h->spec.workspaces_root)); /* asked when that is ready, not before */
	(void)error_set(e, LAUNCH_CALLED_OFF, "paused");
	return false;
}

START_TEST(test_called_off)
{
	struct help_launch h;

	help_launch_init(&h);
	h.spec.wanted = not_wanted;
	h.spec.wanted_arg = &h;
	expect_failure(&h, LAUNCH_CALLED_OFF, "paused");
	help_launch_deinit(&h);
}
END_TEST

/* ---- hostile task ids ---- */

#define LONG_64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LONG_128 LONG_64 LONG_64

static const struct {
	const char *id, *shown; /* shown NULL: it is good */
} id_cases[] = {
	{ "t_0000abcd", NULL },
	{ "x", NULL },
	{ "...", NULL },
	{ ".hidden", NULL },
	{ "$(touch_x);`y`&|'\"*?", NULL },
	{ LONG_128, NULL },
	{ "-rf", NULL },
	{ NULL, "" },
	{ "", "" },
	{ ".", "." },
	{ "..", ".." },
	{ "../x", "../x" },
	{ "a/b", "a/b" },
	{ "/etc/passwd", "/etc/passwd" },
	{ "a b", "a\\x20b" },
	{ "a\nb", "a\\x0ab" },
	{ "a\tb", "a\\x09b" },
	{ "\x1b[31m", "\\x1b[31m" },
	{ "\x7f", "\\x7f" },
	{ "\xc3\xa4", "\\xc3\\xa4" },
	{ "a\\/b", "a\\x5c/b" },
	{ LONG_128 "x", LONG_64 "..." },
};

START_TEST(test_task_id)
{
	const char *id = id_cases[_i].id;
	struct help_launch h;

	help_launch_init(&h);
	help_set(&h.spec.task, id);
	if (id_cases[_i].shown) {
		expect_failure(
			&h, LAUNCH_WORKSPACE_FAILED,
			"workspace: task id \"%s\" cannot name a folder; such a task must "
			"be made anew under another id",
			id_cases[_i].shown);
		ck_assert_int_lt(access(h.spec.workspaces_root, F_OK), 0);
		ck_assert_int_lt(access(h.spec.logs_dir, F_OK), 0);
	} else {
		CLEANUP(freep) char *ws = fs_path("%s/%s", h.spec.workspaces_root, id);
		struct launch_result result;

		help_run(&h, &result);
		ck_assert(fs_is_dir(ws));
		launch_result_deinit(&result);
	}
	help_launch_deinit(&h);
}
END_TEST

/* ---- programs that do not start ---- */

static const char *const bad_profiles[] = {
	"hermes", "root", "sudo", "test", "tmp", "",
	"Jimmy",  "a/b",  "../x", "-x",   "a b", "\xc3\xa4"
};

START_TEST(test_profile)
{
	struct help_launch h;

	help_launch_init(&h);
	help_set(&h.spec.profile, bad_profiles[_i]);
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "%s is no profile name that hermes accepts; assign the task to another "
		       "profile",
		       bad_profiles[_i]);
	help_launch_deinit(&h);
}
END_TEST

/* `boards rm`, or a rename, between the claim and the start: its folder is not made again. */
START_TEST(test_board_gone)
{
	CLEANUP(freep) char *board = help_path("root/kanban/boards/b");
	CLEANUP(freep) char *kept = help_path("kept");
	struct help_launch h;
	CLEANUP(freep) char *ws = NULL, *logs = NULL, *db = NULL;

	help_launch_init(&h);
	ws = fs_path("%s/workspaces", board);
	logs = fs_path("%s/logs", board);
	db = fs_path("%s/kanban.db", board);
	help_set(&h.spec.workspaces_root, ws);
	help_set(&h.spec.logs_dir, logs);
	help_set(&h.spec.db_path, db);
	expect_failure(&h, LAUNCH_WORKSPACE_FAILED, "workspace: %s is not there any more", db);
	ck_assert(!fs_is_dir(board));
	/* a workspace elsewhere is made, a log here is not */
	help_set(&h.spec.row.workspace_path, kept);
	expect_failure(
		&h, LAUNCH_SPAWN_FAILED,
		"cannot write the worker log %s/t_0000abcd.log: No such file or directory",
		logs);
	ck_assert(!fs_is_dir(board));
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_program_missing)
{
	CLEANUP(freep) char *bin = help_path("bin/hermes");
	CLEANUP(freep) char *own = help_path("own");
	const char *const command[] = { "no-such-launcher", NULL };
	struct help_launch h;

	help_launch_init(&h);
	ck_assert_int_eq(unlink(bin), 0);
	expect_failure(
		&h, LAUNCH_SPAWN_FAILED,
		"hermes is not on the PATH of the daemon (%s/bin:/usr/bin:/bin); install "
		"it or set HERMES_BIN",
		help_dir);
	h.launcher.hermes = own;
	expect_failure(&h, LAUNCH_SPAWN_FAILED, "%s does not exist", own);
	help_write(own, "#!/bin/sh\n");
	ck_assert_int_eq(chmod(own, 0644), 0);
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "%s is there, but not an executable file of this user", own);
	help_write(bin, "#!/bin/sh\n");
	ck_assert_int_eq(chmod(bin, 0644), 0);
	h.launcher.hermes = "hermes";
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "hermes is there, but not an executable file of this user");
	h.launcher.hermes = help_dir;
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "%s is there, but not an executable file of this user", help_dir);
	h.launcher.command = command;
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "no-such-launcher is not on the PATH of the daemon "
		       "(%s/bin:/usr/bin:/bin); install it or set HERMES_BIN",
		       help_dir);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_program_bad)
{
	CLEANUP(freep) char *own = help_path("own");
	struct help_launch h;

	help_launch_init(&h);
	h.launcher.hermes = own;
	help_write(own, "just text\n");
	ck_assert_int_eq(chmod(own, 0755), 0);
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "cannot start %s: neither a program nor a script with a #! line", own);
	help_write(own, "#!/no/such/interpreter\n");
	ck_assert_int_eq(chmod(own, 0755), 0);
	expect_failure(&h, LAUNCH_SPAWN_FAILED,
		       "cannot start %s: the interpreter of its #! line does not exist", own);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_path_relative)
{
	/* a `hermes` in the workspace, or where the daemon runs, is not the one */
	CLEANUP(freep) char *planted = help_path("root/ws/t_0000abcd");
	CLEANUP(freep) char *evil = help_path("root/ws/t_0000abcd/hermes");
	struct help_launch h;

	help_launch_init(&h);
	free(h.env[0]);
	h.env[0] = help_dup("PATH=.::bin:relative/bin");
	ck_assert_int_eq(fs_mkdir_p(planted, 0755), 0);
	help_write(evil, "#!/bin/sh\n");
	ck_assert_int_eq(chmod(evil, 0755), 0);
	ck_assert_int_eq(chdir(help_dir), 0);
	expect_failure(
		&h, LAUNCH_SPAWN_FAILED,
		"hermes is not on the PATH of the daemon (.::bin:relative/bin); install it "
		"or set HERMES_BIN");
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_program_relative)
{
	/* HERMES_BIN=bin/hermes is relative to the daemon's folder, not to the workspace */
	struct launch_result result;
	struct help_launch h;

	help_launch_init(&h);
	h.launcher.hermes = "bin/hermes";
	ck_assert_int_eq(chdir(help_dir), 0);
	help_run(&h, &result);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_too_long)
{
	/* one argument of more than 128 KiB: the kernel says E2BIG */
	size_t n = 200000;
	char *skills = malloc(n + 1);
	struct help_launch h;

	ck_assert_ptr_nonnull(skills);
	help_launch_init(&h);
	memset(skills, 'x', n);
	(void)memcpy(skills, "[\"", 2);
	(void)memcpy(skills + n - 2, "\"]", 2);
	skills[n] = '\0';
	h.spec.row.skills = skills;
	expect_failure(
		&h, LAUNCH_SPAWN_FAILED,
		"cannot start %s/bin/hermes: its arguments and environment are too long; "
		"shorten the task's skills or the daemon's environment",
		help_dir);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_no_descriptors)
{
	/*
	 * Every descriptor but one or two gone: somewhere on the way the launch fails, with a
	 * sentence, and a child that was already there is ended and reaped.
	 */
	struct help_launch h;
	struct rlimit limit;
	int failed = 0;

	help_launch_init(&h);
	help_env(&h, "PROBE_ACT=hang");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int room = 0; room < 8; room++) {
		struct launch_result result;
		struct error e = ERROR_NULL;
		struct rlimit low = limit;
		int probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
		int r;

		(void)close(probe);
		low.rlim_cur = (rlim_t)probe + (rlim_t)room;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		r = help_worker(&h.launcher, &h.spec, &result, &e);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		if (r == 0) {
			(void)kill(result.pid, SIGKILL);
			(void)help_reap(result.pid);
		} else {
			failed++;
			ck_assert_int_eq(r, LAUNCH_SPAWN_FAILED);
			ck_assert_ptr_nonnull(strstr(e.text, "Too many open files"));
			ck_assert_int_eq(result.pidfd, -1);
			ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
		}
		launch_result_deinit(&result);
	}
	ck_assert_int_gt(failed, 0);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_pidfd_fails)
{
	/* log and pidfd are one descriptor each: with room for one, the pidfd is what fails */
	struct help_launch h;
	struct rlimit limit, low;
	struct error e = ERROR_NULL;
	struct launch_result result;
	int log, r, top;

	help_launch_init(&h);
	help_env(&h, "PROBE_ACT=hang");
	ck_assert_int_eq(launcher_init(&h.launcher), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	log = logfile_open(&h.launcher, &h.spec, &e);
	ck_assert_int_ge(log, 3);
	top = log;
	(void)close(log);
	low.rlim_cur = (rlim_t)top + 1;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	r = help_worker(&h.launcher, &h.spec, &result, &e);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(r, LAUNCH_SPAWN_FAILED);
	ck_assert_str_eq(e.text,
			 "cannot watch the new worker, so it was ended: Too many open "
			 "files; raise LimitNOFILE of the daemon if it is about open files");
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

START_TEST(test_placeholder_option)
{
	const char *const command[] = { "env", _i ? "--name={task}" : "{task}", NULL };
	struct error e = ERROR_NULL;
	struct launch_result result;
	struct help_launch h;
	int r;

	help_launch_init(&h);
	help_set(&h.spec.task, "--ignore-environment");
	h.launcher.command = command;
	r = help_worker(&h.launcher, &h.spec, &result, &e);
	if (_i == 0) {
		ck_assert_int_eq(r, LAUNCH_SPAWN_FAILED);
		ck_assert_ptr_nonnull(strstr(e.text, "{task} would begin with -"));
		ck_assert_int_eq(result.pid, 0);
	} else {
		/* an argument that env does not know: started, and its own matter */
		ck_assert_msg(r == 0, "%s", e.text);
		(void)help_reap(result.pid);
	}
	launch_result_deinit(&result);
	help_launch_deinit(&h);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("launch_fail");
	TCase *tc = tcase_create("launch_fail");

	tcase_add_checked_fixture(tc, setup, help_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_log_bad);
	tcase_add_test(tc, test_called_off);
	tcase_add_loop_test(tc, test_task_id, 0, sizeof(id_cases) / sizeof(id_cases[0]));
	tcase_add_loop_test(tc, test_profile, 0,
			    sizeof(bad_profiles) / sizeof(bad_profiles[0]));
	tcase_add_loop_test(tc, test_placeholder_option, 0, 2);
	tcase_add_test(tc, test_board_gone);
	tcase_add_test(tc, test_program_missing);
	tcase_add_test(tc, test_path_relative);
	tcase_add_test(tc, test_program_relative);
	tcase_add_test(tc, test_no_descriptors);
	if (!help_in_valgrind()) {
		tcase_add_test(tc, test_program_bad);
		tcase_add_test(tc, test_too_long);
		tcase_add_test(tc, test_pidfd_fails);
	}
	suite_add_tcase(suite, tc);
	return suite;
}
