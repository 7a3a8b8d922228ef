/*
 * What the daemon sees between its sweeps of boards and profiles that come, go and are made
 * anew, and what it does where inotify is no help. The interval is ten minutes: what is seen is
 * what woke it.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "kit/rig.h"

#define B    "default"
#define T    "t_00000001"
#define SOON 8000 /* ms */

static bool status_is(const char *slug, const char *task, const char *status)
{
	return !strcmp(rig_list(slug, "SELECT status FROM tasks WHERE id=%Q", task), status);
}

static void ck_recorded(const char *slug, const char *task, const char *kinds)
{
	const int64_t until = rig_mono_us() + SOON * 1000;

	while (strcmp(rig_kinds(slug, task), kinds) != 0) {
		ck_assert_msg(rig_mono_us() < until, "board %s, %s: %s", slug, task,
			      rig_kinds(slug, task));
		rig_pause();
	}
}

/* Its start is recorded. */
static void ck_settled(const char *slug, const char *task)
{
	ck_recorded(slug, task, "claimed,spawned");
}

/* At least one sweep is over: its first task runs, and has had the tip that a root gives once.
 */
static struct rig_daemon *start(void)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 600");
	/* the notifier's own visits would find what the watches should */
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[notify]\nnotify = off\n");
	rig_board(B, 0);
	rig_add(B, .id = "t_0000000f");
	d = rig_start();
	ck_recorded(B, "t_0000000f", "claimed,tip_scratch_workspace,spawned");
	return d;
}

static void ck_woken(const char *slug, const char *task)
{
	const int64_t until = rig_mono_us() + SOON * 1000;

	rig_add(slug, .id = task);
	while (!status_is(slug, task, "running")) {
		ck_assert_msg(rig_mono_us() < until, "board %s, %s", slug, task);
		rig_pause();
	}
}

/* SIGSTOP while it holds no lock of the board. */
static void stop_between_visits(struct rig_daemon *d, const char *slug)
{
	int fd = open(rig_printf("%s.dispatch.lock", rig_db(slug)), O_RDWR | O_CLOEXEC);
	const int64_t until = rig_mono_us() + 10000000;

	ck_assert_int_ge(fd, 0);
	for (;;) {
		ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
		rig_pause();
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			break;
		ck_assert_int_lt(rig_mono_us(), until);
		ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
		rig_pause();
	}
	ck_assert_int_eq(close(fd), 0);
}

START_TEST(test_a_new_board)
{
	(void)start();
	rig_board("garden", 0);
	ck_woken("garden", T);
	ck_woken("garden", "t_00000002");
}
END_TEST

/* Its folder is there for a while before there is a database in it, also before the start. */
START_TEST(test_a_folder_becomes_a_board)
{
	rig_mkdir("root/kanban/boards/early");
	(void)start();
	rig_mkdir("root/kanban/boards/late");
	ck_woken(B, "t_00000003"); /* what the folder woke is over */
	rig_board("early", RIG_WAL);
	ck_woken("early", T);
	rig_board("late", 0);
	ck_woken("late", T);
}
END_TEST

START_TEST(test_a_folder_is_made_anew)
{
	struct rig_daemon *d;

	rig_board("garden", 0);
	rig_board("kitchen", 0);
	d = start();
	ck_woken("garden", T);
	ck_woken("kitchen", T);
	ck_settled("garden", T);
	ck_settled("kitchen", T);
	/* a journal of a transaction that goes on would be left behind: SQLite's rule, not ours
	 */
	stop_between_visits(d, "kitchen");
	/* removed and made again; renamed away, and another takes its name */
	rig_shell("rm -r root/kanban/boards/garden; "
		  "mv root/kanban/boards/kitchen root/kanban/boards/kitchen-old");
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
	rig_board("garden", RIG_WAL);
	rig_board("kitchen", 0);
	for (int i = 2; i < 5; i++) {
		ck_woken("garden", rig_printf("t_%08d", i));
		ck_woken("kitchen", rig_printf("t_%08d", i));
	}
	/* the one that was renamed is a board under its new name */
	ck_woken("kitchen-old", "t_00000005");
}
END_TEST

/* The folder, or the database alone, is somewhere else. */
START_TEST(test_a_board_behind_a_link)
{
	rig_board("garden", RIG_WAL);
	rig_board("kitchen", RIG_WAL);
	rig_shell("mkdir away; mv root/kanban/boards/garden away; "
		  "ln -s \"$PWD/away/garden\" root/kanban/boards/garden; "
		  "mv root/kanban/boards/kitchen/kanban.db away/k.db; "
		  "ln -s \"$PWD/away/k.db\" root/kanban/boards/kitchen/kanban.db");
	(void)start();
	rig_writer("garden", "UPDATE tasks SET title=title", false);
	rig_writer("kitchen", "UPDATE tasks SET title=title", false);
	ck_woken("garden", T);
	ck_woken("kitchen", T);
	/* the link leads to another one now */
	rig_shell("cp -r away/garden away/other; sqlite3 away/other/kanban.db "
		  "\"DELETE FROM tasks\" 2>/dev/null || true; rm root/kanban/boards/garden; "
		  "ln -s \"$PWD/away/other\" root/kanban/boards/garden");
	ck_woken("garden", "t_00000002");
	ck_woken("garden", "t_00000003");
}
END_TEST

START_TEST(test_an_archived_board_comes_back)
{
	rig_board("garden", 0);
	rig_write("root/kanban/boards/garden/board.json", "{\"archived\": true}");
	(void)start();
	rig_add("garden", .id = T);
	ck_woken(B, "t_00000002");
	ck_assert(status_is("garden", T, "ready"));
	rig_write("root/kanban/boards/garden/board.json", "{\"archived\": false}");
	RIG_UNTIL(status_is("garden", T, "running"), SOON);
	ck_woken("garden", "t_00000002");
}
END_TEST

START_TEST(test_a_new_profile)
{
	(void)start();
	rig_add(B, .id = T, .assignee = "nemo");
	ck_woken(B, "t_00000002");
	ck_assert(status_is(B, T, "ready"));
	rig_profile("nemo");
	RIG_UNTIL(status_is(B, T, "running"), SOON);
}
END_TEST

/* There is no folder of boards, nor of profiles, when the daemon starts. */
START_TEST(test_a_root_that_is_bare)
{
	rig_shell("rm -rf root/kanban root/profiles");
	rig_config("dispatch_interval_seconds: 600");
	(void)rig_start();
	rig_profile("jimmy");
	rig_board("garden", 0);
	ck_woken("garden", T);
}
END_TEST

/* A file comes and one goes: at least @n events. */
static void make_noise(const char *folder, int n)
{
	for (int i = 0; i <= n; i++) {
		char *path = rig_printf("%s/n%d", rig_path(folder), i % 7);
		int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(close(fd), 0);
		ck_assert_int_eq(unlink(path), 0);
	}
}

/* More events than the kernel keeps, while the daemon stands still. */
START_TEST(test_a_queue_that_overflows)
{
	struct rig_daemon *d;

	rig_board("garden", RIG_WAL);
	rig_board("noise", 0);
	d = start();
	ck_woken("garden", T);
	ck_woken("noise", T);
	ck_settled("garden", T);
	ck_settled("noise", T);
	stop_between_visits(d, "garden");
	make_noise("root/kanban/boards/noise", atoi(rig_read("/proc/sys/fs/inotify/"
							     "max_queued_events")));
	rig_add("garden", .id = "t_00000002");
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
	RIG_UNTIL(status_is("garden", "t_00000002", "running"), SOON);
	RIG_UNTIL(strstr(rig_err(d), "max_queued_events") != NULL, SOON);
	ck_woken("garden", "t_00000003");
}
END_TEST

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/* A user namespace of our own has its own limits. */
static bool limits_of_our_own(void)
{
	char *uid = rig_printf("0 %u 1\n", geteuid()), *gid = rig_printf("0 %u 1\n", getegid());

	return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny") &&
	       write_file("/proc/self/uid_map", uid) && write_file("/proc/self/gid_map", gid) &&
	       write_file("/proc/sys/user/max_inotify_instances", "128");
}

static unsigned said(struct rig_daemon *d, const char *what)
{
	unsigned n = 0;

	for (const char *at = rig_err(d); (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* All instances, or all watches, are taken by other programs: said once, and polled. */
static void without_inotify(const char *limit, const char *named)
{
	char *path = rig_printf("/proc/sys/user/%s", limit);
	struct rig_daemon *d;

	if (!limits_of_our_own())
		return; /* this machine allows no user namespace */
	ck_assert(write_file(path, "0"));
	d = start();
	for (int i = 1; i < 3; i++) {
		rig_add(B, .id = rig_printf("t_%08d", i));
		RIG_UNTIL(status_is(B, rig_printf("t_%08d", i), "running"), 20000);
	}
	ck_assert_uint_eq(said(d, named), 1);
	ck_assert(write_file(path, "128"));
	RIG_UNTIL(said(d, "watches all folders of") == 1, 20000);
	ck_woken(B, "t_00000009");
	ck_assert_uint_eq(said(d, named), 1);
}

START_TEST(test_no_instance_is_left)
{
	without_inotify("max_inotify_instances", "fs.inotify.max_user_instances");
}
END_TEST

START_TEST(test_no_watch_is_left)
{
	without_inotify("max_inotify_watches", "fs.inotify.max_user_watches");
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("watch", 90), *anew = rig_tcase("anew", 90);

	tcase_add_test(anew, test_a_folder_is_made_anew);
	tcase_add_test(tc, test_a_new_board);
	tcase_add_test(tc, test_a_folder_becomes_a_board);
	tcase_add_test(tc, test_a_board_behind_a_link);
	tcase_add_test(tc, test_an_archived_board_comes_back);
	tcase_add_test(tc, test_a_new_profile);
	tcase_add_test(tc, test_a_root_that_is_bare);
	tcase_add_test(tc, test_a_queue_that_overflows);
	tcase_add_test(tc, test_no_instance_is_left);
	tcase_add_test(tc, test_no_watch_is_left);
	return rig_suite("daemon_watch", tc, anew, NULL);
}
