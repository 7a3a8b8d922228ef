/*
 * Getting, losing and closing the lease, against real processes.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "../../src/root/root.h"
#include "kit/lease.h"
#include "util/clock.h"
#include "util/fs.h"

/* lease_try(), lease_free() */
START_TEST(try_refuses_a_second_and_counts_on)
{
	struct lease *first = NULL, *second = NULL;
	struct error e = ERROR_NULL;
	char expect[600];
	int64_t epoch = 0;

	ck_assert_int_eq(try_root(&first, &epoch, &e), 0);
	ck_assert_int_eq(epoch, 1);
	ck_assert_int_eq(lease_check(first, &e), 0);
	ck_assert_int_eq(try_root(&second, &epoch, &e), LEASE_HELD);
	ck_assert_ptr_null(second);
	(void)snprintf(expect, sizeof(expect),
		       "the lease of %s is held by pid %d (kanband %s on %s); "
		       "ask it with kanbanctl, or stop it",
		       fix.root, (int)getpid(), KANBAND_VERSION, role_host());
	ck_assert_str_eq(e.text, expect);
	first = lease_free(first);
	ck_assert_ptr_null(first);
	ck_assert_int_eq(try_root(&second, &epoch, &e), 0);
	ck_assert_int_eq(epoch, 2);
	ck_assert_int_eq(access(fix.lock, F_OK), 0);
	lease_free(second);
}
END_TEST

START_TEST(try_says_what_is_wrong)
{
	CLEANUP(freep) char *none = fs_path("%s/none", fix.folder);
	struct lease_identity who = { .host = "h" };
	struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	ck_assert_int_eq(lease_try(&lease, none, &who, &epoch, &e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(e.text, "does not exist; create it with `kanbanctl init"));
	ck_assert_int_eq(access(none, F_OK), -1);
	files_write(none, "x");
	ck_assert_int_eq(lease_try(&lease, none, &who, &epoch, &e), -ENOTDIR);
	ck_assert_int_eq(fs_mkdir_p(fix.lock, 0755), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EINVAL);
	ck_assert_ptr_nonnull(strstr(e.text, "is not a regular file; move it away"));
	ck_assert_int_eq(rmdir(fix.lock), 0);
	ck_assert_int_eq(mkfifo(fix.lock, 0644), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EINVAL);
	ck_assert_int_eq(unlink(fix.lock), 0);
	ck_assert_int_eq(symlink("/dev/null", fix.lock), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EINVAL);
	ck_assert_ptr_null(lease);
}
END_TEST

START_TEST(try_on_a_read_only_file_system)
{
	struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		return; /* mounting is for root */
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0) {
		/* in a plain chroot / is no mount, and what is mounted below might be seen
		 * outside */
		(void)fprintf(stderr, "skipped: a read-only root: / is no mount point here\n");
		return;
	}
	ck_assert_int_eq(mount(fix.root, fix.root, "none", MS_BIND, NULL), 0);
	ck_assert_int_eq(
		mount("none", fix.root, "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EROFS);
	ck_assert_ptr_nonnull(strstr(e.text, "is read-only; remount it read-write"));
	ck_assert_int_eq(umount(fix.root), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	lease = lease_free(lease);
	ck_assert_int_eq(mount(fix.root, fix.root, "none", MS_BIND, NULL), 0);
	ck_assert_int_eq(
		mount("none", fix.root, "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EROFS);
	ck_assert_int_eq(umount(fix.root), 0);
}
END_TEST

START_TEST(try_that_cannot_write_gives_the_lock_back)
{
	struct rlimit old, none;
	struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EFBIG); /* a full disk's stand-in */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_ptr_nonnull(strstr(e.text, ".dispatcher.owner.json: File too large"));
	ck_assert_int_eq(lease_is_held(fix.root, NULL), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	lease_free(lease);
}
END_TEST

/* lease_open(), lease_close() */
START_TEST(open_takes_a_free_lease)
{
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct error e = ERROR_NULL;

	ck_assert_int_eq(lease_check(lease, &e), LEASE_LOST);
	ck_assert_ptr_nonnull(strstr(e.text, "does not own the lease"));
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(s.epoch, 1);
	ck_assert_int_eq(s.standby + s.failed + s.lost, 0);
	ck_assert_int_eq(lease_check(lease, &e), 0);
	close_lease(lease, &s);
	ck_assert_int_eq(lease_is_held(fix.root, NULL), 0);
}
END_TEST

START_TEST(open_takes_over_after_sigkill)
{
	struct seen s = { 0 };
	struct helper h;
	struct lease *lease;
	char expect[600];

	helper_start(&h, "hold", fix.root);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby);
	(void)snprintf(expect, sizeof(expect), "pid %d (kanband.service on %s)", (int)h.pid,
		       role_host());
	ck_assert_str_eq(s.holder, expect);
	ck_assert_int_eq(s.acquired, 0);
	helper_kill(&h);
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(s.epoch, h.epoch + 1);
	ck_assert_int_eq(s.standby, 1);
	close_lease(lease, &s);
}
END_TEST

START_TEST(open_waits_for_a_gateway)
{
	struct seen s = { 0 };
	struct helper h;
	struct lease *lease;
	char expect[600];

	fix_make_kanban();
	helper_start(&h, "gateway", fix.lock);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby);
	(void)snprintf(expect, sizeof(expect), "pid %d (python3), which is not a kanband",
		       (int)h.pid);
	ck_assert_str_eq(s.holder, expect);
	helper_kill(&h);
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(s.epoch, 1);
	close_lease(lease, &s);
}
END_TEST

START_TEST(open_waits_for_flock_1)
{
	char *const argv[] = { (char *)"flock",
			       (char *)"--no-fork",
			       fix.lock,
			       (char *)"sh",
			       (char *)"-c",
			       (char *)"echo 1 0; exec sleep 1000",
			       NULL };
	struct seen s = { 0 };
	struct helper h;
	struct lease *lease;

	fix_make_kanban();
	helper_start_argv(&h, argv);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby);
	ck_assert_ptr_nonnull(strstr(s.holder, "which is not a kanband"));
	ck_assert_int_eq(lease_is_held(fix.root, NULL), 1);
	helper_kill(&h);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
}
END_TEST

START_TEST(standby_names_the_next_holder)
{
	struct seen s = { 0 };
	struct helper h;
	struct lease *lease;
	char expect[600];
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (pidfd < 0)
		return; /* valgrind, old kernels: the name may grow old there */
	(void)close(pidfd);
	fix_make_kanban();
	helper_start(&h, "heir", fix.lock);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby == 1);
	(void)snprintf(expect, sizeof(expect), "a child of pid %d, which has ended",
		       (int)h.pid);
	helper_kill(&h);
	RUN_UNTIL(s.standby == 2);
	/* in a pid namespace of its own the kernel hides the locks of the dead */
	if (strcmp(s.holder, "another process") != 0)
		ck_assert_str_eq(s.holder, expect);
	ck_assert_int_eq(s.acquired, 0);
	ck_assert_int_eq(kill(h.child, SIGKILL), 0);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
}
END_TEST

START_TEST(epochs_rise_over_fifty_takeovers)
{
	int64_t last = 0;

	for (int i = 0; i < 25; i++) {
		struct seen s = { 0 };
		struct helper h;
		struct lease *lease;

		helper_start(&h, "hold", fix.root);
		ck_assert_int_eq(h.epoch, last + 1);
		lease = open_root(fix.root, &s);
		RUN_UNTIL(s.standby);
		helper_kill(&h);
		RUN_UNTIL(s.acquired);
		ck_assert_int_eq(s.epoch, last + 2);
		last = s.epoch;
		close_lease(lease, &s);
	}
}
END_TEST

START_TEST(a_child_of_the_owner_does_not_keep_the_lease)
{
	struct seen s = { 0 };
	struct helper h;
	struct lease *lease;

	helper_start(&h, "parent", fix.root);
	ck_assert_int_gt(h.child, 0);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby);
	helper_kill(&h);
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(kill(h.child, 0), 0); /* it lives, and has nothing */
	ck_assert_int_eq(kill(h.child, SIGKILL), 0);
	close_lease(lease, &s);
}
END_TEST

START_TEST(two_roots_in_one_loop)
{
	CLEANUP(freep) char *other = fs_path("%s/other/", fix.folder);
	struct seen a = { 0 }, b = { 0 };
	struct lease *la, *lb;
	struct helper h;

	ck_assert_int_eq(fs_mkdir_p(other, 0755), 0);
	helper_start(&h, "hold", other);
	la = open_root(fix.root, &a);
	lb = open_root(other, &b);
	RUN_UNTIL(a.acquired && b.standby);
	ck_assert_int_eq(b.acquired, 0);
	helper_kill(&h);
	RUN_UNTIL(b.acquired);
	ck_assert_int_eq(a.epoch, 1);
	ck_assert_int_eq(b.epoch, 2);
	close_lease(la, &a);
	ck_assert_int_eq(lease_check(lb, NULL), 0);
	close_lease(lb, &b);
}
END_TEST

START_TEST(close_at_once)
{
	for (int i = 0; i < 50; i++) {
		struct seen s = { 0 };
		struct lease *lease = open_root(fix.root, &s);

		if (i % 2)
			(void)uv_run(&fix.loop, UV_RUN_NOWAIT);
		close_lease(lease, &s);
		ck_assert_int_eq(lease_is_held(fix.root, NULL), 0);
	}
}
END_TEST

START_TEST(close_in_standby)
{
	struct helper h;

	helper_start(&h, "hold", fix.root);
	for (int i = 0; i < 50; i++) {
		struct seen s = { 0 };
		struct lease *lease = open_root(fix.root, &s);
		uint64_t before;

		RUN_UNTIL(s.standby);
		before = clock_mono_ms();
		close_lease(lease, &s);
		ck_assert_uint_lt(clock_mono_ms() - before, 2000);
		ck_assert_int_eq(s.acquired, 0);
	}
	ck_assert_int_eq(lease_is_held(fix.root, NULL), 1);
	helper_kill(&h);
}
END_TEST

/* SIGTERM and the others are the loop's: the waiter blocks all but its own */
START_TEST(waiter_takes_no_signals)
{
	CLEANUP(freep) char *main_task = fs_path("%d", (int)getpid());
	struct seen s = { 0 };
	struct helper h;
	struct lease *lease;
	const struct dirent *d;
	unsigned waiters = 0;
	DIR *tasks;

	helper_start(&h, "hold", fix.root);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby);
	tasks = opendir("/proc/self/task");
	ck_assert_ptr_nonnull(tasks);
	while ((d = readdir(tasks)) != NULL) {
		CLEANUP(freep) char *path = fs_path("/proc/self/task/%s/status", d->d_name);
		CLEANUP(freep) char *text = NULL;
		unsigned long long blocked = 0;

		if (d->d_name[0] == '.' || strcmp(d->d_name, main_task) == 0)
			continue;
		text = files_read(path);
		ck_assert_int_eq(sscanf(strstr(text, "SigBlk:"), "SigBlk: %llx", &blocked), 1);
		ck_assert(blocked >> (SIGTERM - 1) & 1);
		ck_assert(blocked >> (SIGHUP - 1) & 1);
		waiters++;
	}
	(void)closedir(tasks);
	ck_assert_uint_ge(waiters, 1);
	close_lease(lease, &s);
	helper_kill(&h);
}
END_TEST

/* a signal that comes when the thread is not yet in flock(2) must not be lost for good */
START_TEST(close_while_going_into_standby)
{
	struct helper h;

	helper_start(&h, "hold", fix.root);
	for (int i = 0; i < 200; i++) {
		struct seen s = { 0 };
		struct lease *lease = open_root(fix.root, &s);
		uint64_t until = clock_mono_us() + (uint64_t)(i * 2);

		while (clock_mono_us() < until)
			;
		close_lease(lease, &s);
	}
	helper_kill(&h);
}
END_TEST

START_TEST(close_from_inside_an_event)
{
	struct seen s = { 0 };
	struct helper h;

	s.close_me = open_root(fix.root, &s); /* acquired() */
	RUN_UNTIL(s.closed);
	ck_assert_int_eq(s.acquired, 1);

	helper_start(&h, "hold", fix.root);
	s = (struct seen){ 0 };
	s.close_me = open_root(fix.root, &s); /* standby() */
	RUN_UNTIL(s.closed);
	ck_assert_int_eq(s.standby, 1);
	helper_kill(&h);

	s = (struct seen){ 0 };
	s.close_me = open_root("/nonexistent/root", &s); /* failed() */
	RUN_UNTIL(s.closed);
	ck_assert_int_eq(s.failed, 1);
	ck_assert_int_eq(s.error.code, -ENOENT);

	s = (struct seen){ 0 };
	{
		struct lease *lease = open_root(fix.root, &s);

		RUN_UNTIL(s.acquired);
		ck_assert_int_eq(unlink(fix.lock), 0);
		s.close_me = lease;
		lease_step_down(lease, "gone"); /* lost() */
	}
	RUN_UNTIL(s.closed);
	ck_assert_int_eq(s.lost, 1);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("lease");
	TCase *tc = tcase_create("lease");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, try_refuses_a_second_and_counts_on);
	tcase_add_test(tc, try_says_what_is_wrong);
	tcase_add_test(tc, try_on_a_read_only_file_system);
	tcase_add_test(tc, try_that_cannot_write_gives_the_lock_back);
	tcase_add_test(tc, open_takes_a_free_lease);
	tcase_add_test(tc, open_takes_over_after_sigkill);
	tcase_add_test(tc, open_waits_for_a_gateway);
	tcase_add_test(tc, open_waits_for_flock_1);
	tcase_add_test(tc, standby_names_the_next_holder);
	tcase_add_test(tc, epochs_rise_over_fifty_takeovers);
	tcase_add_test(tc, a_child_of_the_owner_does_not_keep_the_lease);
	tcase_add_test(tc, two_roots_in_one_loop);
	tcase_add_test(tc, close_at_once);
	tcase_add_test(tc, close_in_standby);
	tcase_add_test(tc, waiter_takes_no_signals);
	tcase_add_test(tc, close_while_going_into_standby);
	tcase_add_test(tc, close_from_inside_an_event);
	suite_add_tcase(s, tc);
	return s;
}
