/*
 * Getting, losing and closing the lease, against real processes. `test_lease bench [N]`
 * measures N takeovers after a SIGKILL instead.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../../src/root/root.h"
#include "kit/lease.h"
#include "util/clock.h"

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
	ck_assert_int_eq(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL), 0);
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

START_TEST(failed_is_told_once_and_tried_again)
{
	CLEANUP(freep) char *late = fs_path("%s/late", fix.folder);
	CLEANUP(freep) char *kanban = fs_path("%s/late/kanban", fix.folder);
	CLEANUP(freep) char *draft = fs_path("%s/kanban", fix.root);
	struct seen s = { 0 };
	struct lease *lease = open_root(late, &s);
	uint64_t until;

	ck_assert_uint_eq(lease->retry_ms, 5000);
	lease->retry_ms = 5;
	RUN_UNTIL(s.failed);
	ck_assert_ptr_nonnull(strstr(s.error.text, "does not exist"));
	until = uv_now(&fix.loop) + 200; /* about 30 more tries */
	RUN_UNTIL(uv_now(&fix.loop) >= until);
	ck_assert_int_eq(s.failed, 1);
	files_write(draft, "not a folder");
	ck_assert_int_eq(rename(fix.root, late), 0);
	RUN_UNTIL(s.failed > 1);
	ck_assert_int_eq(s.failed, 2);
	ck_assert_ptr_nonnull(strstr(s.error.text, "Not a directory"));
	ck_assert_int_eq(unlink(kanban), 0);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
}
END_TEST

/* lease_check(), lease_step_down() */

START_TEST(removed_lock_file)
{
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct error e = ERROR_NULL;
	struct stat st;

	RUN_UNTIL(s.acquired);
	lease_step_down(lease, "nothing is wrong");
	ck_assert_int_eq(s.lost, 0);
	ck_assert_int_eq(unlink(fix.lock), 0);
	ck_assert_int_eq(lease_check(lease, &e), LEASE_LOST);
	ck_assert_int_eq(e.code, LEASE_LOST);
	ck_assert_ptr_nonnull(strstr(e.text, ".dispatcher.lock was removed"));
	lease_step_down(lease, e.text);
	ck_assert_int_eq(s.lost, 1);
	ck_assert_str_eq(s.why, e.text);
	ck_assert_int_eq(lease_check(lease, NULL), LEASE_LOST);
	lease_step_down(lease, "again"); /* while competing */
	ck_assert_int_eq(s.lost, 1);
	RUN_UNTIL(s.acquired == 2);
	ck_assert_int_eq(s.epoch, 2);
	ck_assert_int_eq(stat(fix.lock, &st), 0);
	ck_assert_int_eq(lease_check(lease, NULL), 0);
	lease_step_down(lease, "late report of the first loss");
	ck_assert_int_eq(s.lost, 1);
	ck_assert_int_eq(lease_check(lease, NULL), 0);
	close_lease(lease, &s);
}
END_TEST

START_TEST(replaced_lock_file)
{
	CLEANUP(freep) char *other = fs_path("%s/kanban/x", fix.root);
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct error e = ERROR_NULL;
	struct helper h;

	RUN_UNTIL(s.acquired);
	helper_start(&h, "gateway", other);
	ck_assert_int_eq(rename(other, fix.lock), 0);
	ck_assert_int_eq(lease_check(lease, &e), LEASE_LOST);
	ck_assert_ptr_nonnull(strstr(e.text, "was replaced by another"));
	lease_step_down(lease, e.text);
	RUN_UNTIL(s.standby); /* behind the holder of the new file */
	ck_assert_int_eq(s.acquired, 1);
	helper_kill(&h);
	RUN_UNTIL(s.acquired == 2);
	ck_assert_int_eq(s.epoch, 2);
	close_lease(lease, &s);
}
END_TEST

START_TEST(lost_with_the_whole_root)
{
	CLEANUP(freep) char *away = fs_path("%s/away", fix.folder);
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);

	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(rename(fix.root, away), 0);
	ck_assert_int_eq(lease_check(lease, NULL), LEASE_LOST);
	lease_step_down(lease, "moved");
	RUN_UNTIL(s.failed);
	ck_assert_int_eq(s.error.code, -ENOENT);
	close_lease(lease, &s);
}
END_TEST

START_TEST(standby_on_an_orphan_moves_on)
{
	struct seen s = { 0 };
	struct helper orphan, next;
	struct lease *lease;

	helper_start(&orphan, "hold", fix.root);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.standby == 1);
	ck_assert_int_eq(unlink(fix.lock), 0);
	helper_start(&next, "gateway", fix.lock);
	helper_kill(&orphan);
	RUN_UNTIL(s.standby == 2);
	ck_assert_ptr_nonnull(strstr(s.holder, "(python3)"));
	ck_assert_int_eq(s.acquired, 0);
	helper_kill(&next);
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(s.epoch, 2);
	ck_assert_int_eq(lease_check(lease, NULL), 0);
	close_lease(lease, &s);
}
END_TEST

struct checker {
	struct lease *lease;
	atomic_bool stop;
	unsigned owned, lost;
};

static void *check_in_a_thread(void *arg)
{
	struct checker *c = arg;

	while (!atomic_load(&c->stop)) {
		if (lease_check(c->lease, NULL) == 0)
			c->owned++;
		else
			c->lost++;
		if (c->owned % 64 == 1)
			(void)!lease_claimants_settled(c->lease, 1, NULL); /* LOST is fine */
	}
	return NULL;
}

/* for ThreadSanitizer, and against a stale owner file of an earlier epoch */
START_TEST(jobs_check_while_the_lease_changes_hands)
{
	struct seen s = { 0 };
	struct lease *lease = open_root(fix.root, &s);
	struct checker c[2] = { { .lease = lease }, { .lease = lease } };
	pthread_t threads[2];
	struct lease_owner owner;

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, check_in_a_thread, &c[i]),
				 0);
	for (int i = 1; i <= 20; i++) {
		RUN_UNTIL(s.acquired == i);
		ck_assert_int_eq(s.epoch, i);
		ck_assert_int_eq(unlink(fix.lock), 0);
		lease_step_down(lease, "removed");
	}
	RUN_UNTIL(s.acquired == 21);
	for (int i = 0; i < 2; i++) {
		atomic_store(&c[i].stop, true);
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_gt(c[i].owned + c[i].lost, 0);
	}
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), 0);
	ck_assert_int_eq(owner.epoch, 21);
	close_lease(lease, &s);
}
END_TEST

/* The bench, run by hand */

static int bench_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void bench_print(const char *what, uint64_t *us, size_t n)
{
	qsort(us, n, sizeof(us[0]), bench_compare);
	printf("%-34s p50 %6" PRIu64 " us  p99 %6" PRIu64 " us  max %6" PRIu64 " us\n", what,
	       us[n / 2], us[n * 99 / 100], us[n - 1]);
}

struct bench_raw {
	const char *path;
	atomic_bool ready;
	uint64_t got_us;
};

static void *bench_raw_wait(void *arg)
{
	struct bench_raw *raw = arg;
	int fd = open(raw->path, O_RDWR | O_CLOEXEC);

	atomic_store(&raw->ready, true);
	(void)flock(fd, LOCK_EX);
	raw->got_us = clock_mono_us();
	(void)close(fd);
	return NULL;
}

static size_t bench_n;

START_TEST(bench)
{
	size_t n = bench_n;
	uint64_t *lease_us = calloc(n, sizeof(uint64_t));
	uint64_t *raw_us = calloc(n, sizeof(uint64_t));

	ck_assert(lease_us && raw_us && n > 0);
	for (size_t i = 0; i < n; i++) {
		struct bench_raw raw = { .path = fix.lock };
		struct seen s = { 0 };
		struct helper h;
		struct lease *lease;
		pthread_t thread;
		uint64_t t;

		helper_start(&h, "hold", fix.root);
		lease = open_root(fix.root, &s);
		RUN_UNTIL(s.standby);
		(void)poll(NULL, 0, 5); /* let it be blocked, and the machine be quiet */
		t = clock_mono_us();
		ck_assert_int_eq(kill(h.pid, SIGKILL), 0);
		RUN_UNTIL(s.acquired);
		lease_us[i] = clock_mono_us() - t;
		ck_assert_int_eq(s.epoch, h.epoch + 1);
		ck_assert_int_eq(waitpid(h.pid, NULL, 0), h.pid);
		close_lease(lease, &s);

		helper_start(&h, "hold", fix.root);
		ck_assert_int_eq(pthread_create(&thread, NULL, bench_raw_wait, &raw), 0);
		while (!atomic_load(&raw.ready))
			(void)sched_yield();
		(void)poll(NULL, 0, 5);
		t = clock_mono_us();
		ck_assert_int_eq(kill(h.pid, SIGKILL), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		raw_us[i] = raw.got_us - t;
		ck_assert_int_eq(waitpid(h.pid, NULL, 0), h.pid);
	}
	bench_print("kill -> flock(2) returns, bare", raw_us, n);
	bench_print("kill -> acquired(), owner file", lease_us, n);
	free(lease_us);
	free(raw_us);
}
END_TEST

static Suite *bench_suite(void)
{
	Suite *s = suite_create("takeover");
	TCase *tc = tcase_create("takeover");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 0);
	tcase_add_test(tc, bench);
	suite_add_tcase(s, tc);
	return s;
}

static Suite *lease_suite(void)
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
	tcase_add_test(tc, failed_is_told_once_and_tried_again);
	tcase_add_test(tc, removed_lock_file);
	tcase_add_test(tc, replaced_lock_file);
	tcase_add_test(tc, lost_with_the_whole_root);
	tcase_add_test(tc, standby_on_an_orphan_moves_on);
	tcase_add_test(tc, jobs_check_while_the_lease_changes_hands);
	suite_add_tcase(s, tc);
	return s;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "bench") == 0)
		bench_n = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 200;
	return lease_test_main(argc, argv, bench_n ? bench_suite : lease_suite);
}
