/*
 * The lease against real processes: this program starts itself in the roles below, so that a
 * holder can be killed, and no fork happens beside threads.
 *
 *   test_lease hold ROOT        take the lease, print the epoch, wait to be killed
 *   test_lease parent ROOT      the same, with a child that outlives it
 *   test_lease gateway FILE     flock FILE as a Hermes gateway does, under another name
 *   test_lease heir FILE        flock FILE, leave the descriptor to a child and end
 *   test_lease bench [N]        N takeovers after SIGKILL; prints p50, p99, max
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "root/lease.h"
#include "util/clock.h"
#include "util/fs.h"

extern char **environ;

#define WAIT_MS 20000

/* The roles */

static const char *role_host(void)
{
	static char host[256];

	if (gethostname(host, sizeof(host)) < 0)
		abort(); /* also called outside of Check */
	return host;
}

static int role_hold(const char *root, bool with_child)
{
	struct lease_identity who = { .host = role_host(), .unit = "kanband.service" };
	char *const argv[] = { (char *)"sleep", (char *)"1000", NULL };
	struct error e = ERROR_NULL;
	struct lease *lease = NULL;
	int64_t epoch;
	pid_t child = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the test fails */
	if (lease_try(&lease, root, &who, &epoch, &e) != 0) {
		printf("0 %s\n", e.text);
		return 1;
	}
	if (with_child && posix_spawnp(&child, "sleep", NULL, NULL, argv, environ) != 0)
		return 1;
	printf("%" PRId64 " %d\n", epoch, (int)child);
	(void)fflush(stdout);
	for (;;)
		(void)pause();
}

static int role_gateway(const char *path, bool leave_to_child)
{
	int fd = open(path, O_RDWR | O_CREAT, 0644);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NAME, "python3");
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 1;
	if (leave_to_child) {
		pid_t child = fork();

		if (child != 0) {
			printf("1 %d\n", (int)child);
			(void)fflush(stdout);
		}
	} else {
		printf("1 0\n");
		(void)fflush(stdout);
	}
	for (;;)
		(void)pause();
}

struct helper {
	pid_t pid;
	pid_t child;   /* of the helper */
	int64_t epoch; /* what it printed first */
};

static void helper_start_argv(struct helper *h, char *const argv[])
{
	posix_spawn_file_actions_t actions;
	char line[512] = "";
	int child = 0, out[2];
	ssize_t n;

	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
	ck_assert_int_eq(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
	ck_assert_int_eq(posix_spawnp(&h->pid, argv[0], &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(out[1]);
	n = read(out[0], line, sizeof(line) - 1);
	(void)close(out[0]);
	ck_assert_msg(n > 0, "the helper %s said nothing", argv[1]);
	ck_assert_int_eq(sscanf(line, "%" SCNd64 " %d", &h->epoch, &child), 2);
	ck_assert_msg(h->epoch > 0, "helper: %s", line);
	h->child = child;
}

static void helper_start(struct helper *h, const char *role, const char *path)
{
	char *const argv[] = { (char *)"/proc/self/exe", (char *)role, (char *)path, NULL };

	helper_start_argv(h, argv);
}

static void helper_kill(struct helper *h)
{
	if (h->pid <= 0)
		return;
	ck_assert_int_eq(kill(h->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(h->pid, NULL, 0), h->pid);
	h->pid = 0;
}

/* The fixture: one loop, one folder with roots in it, and what the events said */

struct seen {
	int acquired, standby, lost, failed, closed;
	int64_t epoch;
	char holder[640];
	char why[640];
	struct error error;
	struct lease *close_me; /* close from inside the next event */
};

static struct {
	uv_loop_t loop;
	uv_timer_t guard;
	bool expired;
	char *folder;
	char *root;
	char *lock;
	char *owner;
	int fds;
} fix;

static int fix_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void fix_on_guard(uv_timer_t *timer)
{
	(void)timer;
	fix.expired = true;
}

static void fix_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	fix.folder = fs_path("%s/lease.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fix.folder));
	fix.root = fs_path("%s/root", fix.folder);
	fix.lock = fs_path("%s/kanban/.dispatcher.lock", fix.root);
	fix.owner = fs_path("%s/kanban/.dispatcher.owner.json", fix.root);
	ck_assert_int_eq(mkdir(fix.root, 0755), 0);
	ck_assert_int_eq(uv_loop_init(&fix.loop), 0);
	ck_assert_int_eq(uv_timer_init(&fix.loop, &fix.guard), 0);
	(void)uv_timer_start(&fix.guard, fix_on_guard, 0, 0);
	(void)uv_run(&fix.loop, UV_RUN_NOWAIT); /* libuv opens what it keeps */
	fix.fds = fix_count_fds();
}

static void fix_make_kanban(void)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", fix.root);

	ck_assert_int_eq(fs_mkdir_p(kanban, 0755), 0);
}

static void fix_teardown(void)
{
	char *const argv[] = { (char *)"rm", (char *)"-rf", fix.folder, NULL };
	pid_t pid;

	uv_close((uv_handle_t *)&fix.guard, NULL);
	ck_assert_int_eq(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
	ck_assert_int_eq(fix_count_fds(), fix.fds);
	ck_assert_int_eq(uv_loop_close(&fix.loop), 0);
	ck_assert_int_eq(posix_spawnp(&pid, "rm", NULL, NULL, argv, environ), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	free(fix.folder);
	free(fix.root);
	free(fix.lock);
	free(fix.owner);
}

/* Turn the loop until @cond holds; the guard makes a hang a failure. */
#define RUN_UNTIL(cond)                                                                        \
	do {                                                                                   \
		fix.expired = false;                                                           \
		ck_assert_int_eq(uv_timer_start(&fix.guard, fix_on_guard, WAIT_MS, 0), 0);     \
		while (!(cond) && !fix.expired)                                                \
			(void)uv_run(&fix.loop, UV_RUN_ONCE);                                  \
		(void)uv_timer_stop(&fix.guard);                                               \
		ck_assert_msg(!fix.expired, "waited in vain for %s", #cond);                   \
	} while (0)

static void on_closed(void *arg)
{
	struct seen *s = arg;

	s->closed++;
}

static void on_any(struct seen *s)
{
	if (s->close_me)
		lease_close(STEAL(s->close_me), on_closed, s);
}

static void on_acquired(void *arg, int64_t epoch)
{
	struct seen *s = arg;

	s->acquired++;
	s->epoch = epoch;
	on_any(s);
}

static void on_standby(void *arg, const char *holder)
{
	struct seen *s = arg;

	s->standby++;
	(void)snprintf(s->holder, sizeof(s->holder), "%s", holder);
	on_any(s);
}

static void on_lost(void *arg, const char *why)
{
	struct seen *s = arg;

	s->lost++;
	(void)snprintf(s->why, sizeof(s->why), "%s", why);
	on_any(s);
}

static void on_failed(void *arg, const struct error *e)
{
	struct seen *s = arg;

	s->failed++;
	s->error = *e;
	on_any(s);
}

static const struct lease_events events = { on_acquired, on_standby, on_lost, on_failed };

static struct lease *open_root(const char *root, struct seen *s)
{
	struct lease_identity who = { .host = role_host(),
				      .unit = "kanband.service",
				      .socket = "/run/kanband/control.sock" };
	struct lease *lease = NULL;

	ck_assert_int_eq(lease_open(&lease, &fix.loop, root, &who, &events, s), 0);
	ck_assert_int_eq(s->acquired + s->standby + s->lost + s->failed, 0);
	return lease;
}

static void close_lease(struct lease *lease, struct seen *s)
{
	lease_close(lease, on_closed, s);
	RUN_UNTIL(s->closed == 1);
}

static int try_root(struct lease **lease, int64_t *epoch, struct error *e)
{
	struct lease_identity who = { .host = role_host() };

	return lease_try(lease, fix.root, &who, epoch, e);
}

static void write_text(const char *path, const char *text)
{
	ck_assert_int_eq(fs_write_atomic(path, text, strlen(text), 0644), 0);
}

static char *read_text(const char *path)
{
	char *text = NULL;

	ck_assert_int_eq(fs_read_file(path, 1 << 20, &text, NULL), 0);
	return text;
}

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

START_TEST(try_writes_the_owner_file)
{
	struct lease_identity who = { "host-a", "my unit \n\xff", "/run/ä b.sock" };
	CLEANUP(freep) char *boot = read_text("/proc/sys/kernel/random/boot_id");
	CLEANUP(freep) char *text = NULL;
	CLEANUP(lease_freep) struct lease *lease = NULL;
	struct lease_owner owner;
	struct error e = ERROR_NULL;
	int64_t epoch, before = clock_wall_s();
	char expect[1024];

	ck_assert_int_eq(lease_try(&lease, fix.root, &who, &epoch, &e), 0);
	boot[strcspn(boot, "\n")] = '\0';
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), 0);
	ck_assert_int_eq(owner.epoch, epoch);
	ck_assert_int_eq(owner.pid, getpid());
	ck_assert_str_eq(owner.host, "host-a");
	ck_assert_str_eq(owner.boot_id, boot);
	ck_assert_str_eq(owner.unit, "my unit ??");
	ck_assert_str_eq(owner.version, KANBAND_VERSION);
	ck_assert_str_eq(owner.socket, "/run/ä b.sock");
	ck_assert_int_ge(owner.since, before);
	ck_assert_int_le(owner.since, clock_wall_s());
	text = read_text(fix.owner);
	(void)snprintf(expect, sizeof(expect),
		       "{\"epoch\":1,\"pid\":%d,\"host\":\"host-a\",\"boot_id\":\"%s\","
		       "\"unit\":\"my unit ??\",\"version\":\"%s\","
		       "\"socket\":\"/run/ä b.sock\",\"since\":%" PRId64 ",\"claimants\":[]}\n",
		       (int)getpid(), boot, KANBAND_VERSION, owner.since);
	ck_assert_str_eq(text, expect);
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
	write_text(none, "x");
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
	ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	ck_assert_int_eq(mount(fix.root, fix.root, NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, fix.root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), -EROFS);
	ck_assert_ptr_nonnull(strstr(e.text, "is read-only; remount it read-write"));
	ck_assert_int_eq(umount(fix.root), 0);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	lease = lease_free(lease);
	ck_assert_int_eq(mount(fix.root, fix.root, NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, fix.root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			 0);
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
	struct seen s = { 0 };
	struct lease *lease = open_root(late, &s);

	RUN_UNTIL(s.failed);
	ck_assert_ptr_nonnull(strstr(s.error.text, "does not exist"));
	ck_assert_int_eq(mkdir(late, 0755), 0);
	write_text(kanban, "not a folder");
	RUN_UNTIL(s.failed == 2); /* another reason is told */
	ck_assert_int_eq(unlink(kanban), 0);
	RUN_UNTIL(s.acquired);
	ck_assert_int_eq(s.failed, 2);
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
			(void)!lease_claimants_settled(c->lease, NULL); /* LOST is fine */
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

/* The owner file: epoch and claimants */

static int64_t epoch_with_owner_file(const char *text)
{
	struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	write_text(fix.owner, text);
	ck_assert_msg(try_root(&lease, &epoch, &e) == 0, "%s", e.text);
	lease_free(lease);
	return epoch;
}

START_TEST(a_corrupt_owner_file_does_not_turn_back_the_epoch)
{
	static const char *const bad[] = {
		"",
		"{",
		"null",
		"[]",
		"{\"epoch\":0,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":-7,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":1.5,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":9223372036854775807,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":99999999999999999999999,\"pid\":1,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":90,\"pid\":99999999999,\"host\":\"h\",\"since\":1}",
		"{\"epoch\":90,\"pid\":1,\"host\":7,\"since\":1}",
		"{\"epoch\":90,\"pid\":1,\"host\":\"h\"}",
		"{\"epoch\":90,\"epoch\":91,\"pid\":1,\"host\":\"h\",\"since\":1}",
	};
	CLEANUP(freep) char *deep = calloc(1, 60001);
	struct lease_owner owner;
	int64_t epoch;

	fix_make_kanban();
	epoch = epoch_with_owner_file("{\"epoch\":41,\"pid\":1,\"host\":\"h\",\"since\":1}");
	ck_assert_int_eq(epoch, 42);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_text(fix.owner, bad[i]);
		ck_assert_int_eq(lease_read_owner(fix.root, &owner), -EBADMSG);
		ck_assert_int_eq(owner.epoch, 0);
		ck_assert_int_eq(epoch_with_owner_file(bad[i]), ++epoch);
	}
	ck_assert_ptr_nonnull(deep);
	memset(deep, '[', 60000);
	ck_assert_int_eq(epoch_with_owner_file(deep), ++epoch);
	ck_assert_int_eq(unlink(fix.owner), 0);
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), -ENOENT);
	{
		struct seen s = { 0 };
		struct lease *lease = open_root(fix.root, &s);

		RUN_UNTIL(s.acquired);
		ck_assert_int_eq(s.epoch, ++epoch);
		close_lease(lease, &s);
	}
	/* the note in the lock file is only worth something when it is whole and ours */
	ck_assert_int_eq(unlink(fix.owner), 0);
	write_text(fix.lock, "kanband epoch 4");
	ck_assert_int_eq(epoch_with_owner_file("?"), 1);
	write_text(fix.lock, "kanband epoch 999999999999999999999999999\n");
	ck_assert_int_eq(epoch_with_owner_file("?"), 1);
	write_text(fix.lock, "12345\n");
	ck_assert_int_eq(epoch_with_owner_file("?"), 1);
	write_text(fix.lock, "kanband epoch 7\nmore");
	ck_assert_int_eq(epoch_with_owner_file("?"), 8);
	{
		CLEANUP(freep) char *text = read_text(fix.lock);

		ck_assert_str_eq(text, "kanband epoch 8\n");
	}
}
END_TEST

START_TEST(deep_nesting_does_not_reach_the_waiters_stack)
{
	CLEANUP(freep) char *deep = calloc(1, 60001);
	struct seen s = { 0 };
	struct lease *lease;

	ck_assert_ptr_nonnull(deep);
	memset(deep, '[', 60000);
	fix_make_kanban();
	write_text(fix.owner, deep);
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
	memset(deep, '[', 64); /* the deepest that is parsed */
	deep[64] = '\0';
	write_text(fix.owner, deep);
	s = (struct seen){ 0 };
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.acquired);
	close_lease(lease, &s);
}
END_TEST

START_TEST(claimants_of_a_chain_of_kills)
{
	struct seen s = { 0 };
	struct helper h[3];
	struct lease *lease;
	struct lease_owner owner;
	const char *const *list;
	char expect[300];
	size_t n = 0;

	for (int i = 0; i < 3; i++) {
		helper_start(&h[i], "hold", fix.root);
		h[i].child = h[i].pid;
		helper_kill(&h[i]);
	}
	lease = open_root(fix.root, &s);
	RUN_UNTIL(s.acquired);
	list = lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 3);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(expect, sizeof(expect), "%s:%d", role_host(),
			       (int)h[2 - i].child);
		ck_assert_str_eq(list[i], expect);
	}
	ck_assert_int_eq(lease_claimants_settled(lease, NULL), 0);
	(void)lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(lease_read_owner(fix.root, &owner), 0);
	ck_assert_int_eq(owner.epoch, s.epoch);
	ck_assert_int_eq(owner.pid, getpid());
	{
		CLEANUP(freep) char *text = read_text(fix.owner);

		ck_assert_ptr_nonnull(strstr(text, "\"claimants\":[]"));
	}
	/* stepping down and back, this process does not suspect itself */
	ck_assert_int_eq(unlink(fix.lock), 0);
	lease_step_down(lease, "removed");
	RUN_UNTIL(s.acquired == 2);
	(void)lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(unlink(fix.lock), 0);
	ck_assert_int_eq(lease_claimants_settled(lease, NULL), LEASE_LOST);
	close_lease(lease, &s);
}
END_TEST

START_TEST(claimants_are_checked_and_bounded)
{
	CLEANUP(lease_freep) struct lease *lease = NULL;
	char text[8192];
	char expect[300];
	const char *const *list;
	struct error e = ERROR_NULL;
	int64_t epoch;
	size_t n, len;

	fix_make_kanban();
	/* of another host: nothing is added; what is no claim lock is dropped */
	write_text(fix.owner, "{\"epoch\":5,\"pid\":3,\"host\":\"elsewhere\",\"since\":1,"
			      "\"claimants\":[\"a:1\",7,\"\",\"b\",\":2\",\"c:\",\"d:x\","
			      "\"e\\n:4\",\"a:1\",\"f:5\"]}");
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	ck_assert_int_eq(epoch, 6);
	list = lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 2);
	ck_assert_str_eq(list[0], "a:1");
	ck_assert_str_eq(list[1], "f:5");
	lease = lease_free(lease);
	/* a pid that came again after a reboot is an earlier owner all the same */
	len = (size_t)snprintf(text, sizeof(text),
			       "{\"epoch\":8,\"pid\":%d,\"host\":\"%s\",\"since\":1,"
			       "\"claimants\":[\"x:0\"",
			       (int)getpid(), role_host());
	for (int i = 1; i < 100; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",\"x:%d\"", i);
	(void)snprintf(text + len, sizeof(text) - len, "]}");
	write_text(fix.owner, text);
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	list = lease_claimants(lease, &n);
	ck_assert_uint_eq(n, 64);
	(void)snprintf(expect, sizeof(expect), "%s:%d", role_host(), (int)getpid());
	ck_assert_str_eq(list[0], expect);
	ck_assert_str_eq(list[1], "x:0");
	ck_assert_str_eq(list[63], "x:62");
}
END_TEST

START_TEST(litter_of_killed_owners_is_removed)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", fix.root);
	CLEANUP(freep) char *old = fs_path("%s/..dispatcher.owner.json.77.tmp", kanban);
	CLEANUP(freep) char *other = fs_path("%s/..dispatcher.other.77.tmp", kanban);
	CLEANUP(lease_freep) struct lease *lease = NULL;
	struct error e = ERROR_NULL;
	int64_t epoch;

	fix_make_kanban();
	write_text(old, "{");
	write_text(other, "{");
	ck_assert_int_eq(try_root(&lease, &epoch, &e), 0);
	ck_assert_int_eq(access(old, F_OK), -1);
	ck_assert_int_eq(access(other, F_OK), 0);
}
END_TEST

/* lease_is_held() */

START_TEST(is_held_touches_nothing)
{
	CLEANUP(freep) char *kanban = fs_path("%s/kanban", fix.root);
	struct helper h;
	pid_t pid = 1;

	ck_assert_int_eq(lease_is_held("/nonexistent/root", &pid), -ENOENT);
	ck_assert_int_eq(pid, 0);
	ck_assert_int_eq(lease_is_held(fix.root, &pid), 0);
	ck_assert_int_eq(access(kanban, F_OK), -1);
	helper_start(&h, "hold", fix.root);
	ck_assert_int_eq(lease_is_held(fix.root, &pid), 1);
	ck_assert_int_eq(pid, h.pid);
	helper_kill(&h);
	ck_assert_int_eq(lease_is_held(fix.root, &pid), 0);
	ck_assert_int_eq(pid, 0);
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
	tcase_add_test(tc, try_writes_the_owner_file);
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
	tcase_add_test(tc, close_while_going_into_standby);
	tcase_add_test(tc, close_from_inside_an_event);
	tcase_add_test(tc, failed_is_told_once_and_tried_again);
	tcase_add_test(tc, removed_lock_file);
	tcase_add_test(tc, replaced_lock_file);
	tcase_add_test(tc, lost_with_the_whole_root);
	tcase_add_test(tc, standby_on_an_orphan_moves_on);
	tcase_add_test(tc, jobs_check_while_the_lease_changes_hands);
	tcase_add_test(tc, a_corrupt_owner_file_does_not_turn_back_the_epoch);
	tcase_add_test(tc, deep_nesting_does_not_reach_the_waiters_stack);
	tcase_add_test(tc, claimants_of_a_chain_of_kills);
	tcase_add_test(tc, claimants_are_checked_and_bounded);
	tcase_add_test(tc, litter_of_killed_owners_is_removed);
	tcase_add_test(tc, is_held_touches_nothing);
	suite_add_tcase(s, tc);
	return s;
}

int main(int argc, char **argv)
{
	SRunner *runner;
	int failed;

	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		return role_hold(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "parent") == 0)
		return role_hold(argv[2], true);
	if (argc == 3 && strcmp(argv[1], "gateway") == 0)
		return role_gateway(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "heir") == 0)
		return role_gateway(argv[2], true);
	if (argc >= 2 && strcmp(argv[1], "bench") == 0)
		bench_n = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 200;
	runner = srunner_create(bench_n ? bench_suite() : lease_suite());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
