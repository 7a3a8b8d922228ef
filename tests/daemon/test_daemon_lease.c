/*
 * Two daemons, one root: one owner at every instant, whoever is killed, whatever happens to the
 * lock file, and whoever else holds it.
 *
 * KANBAND_TORTURE=1 makes it 200 kills in a row instead of 40. test-timeout: 600
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kit/rig.h"

#define B    "default"
#define LOCK "root/kanban/.dispatcher.lock"

static int64_t owner_pid(void)
{
	return json_integer_value(json_object_get(rig_owner(), "pid"));
}

static bool is_running(const char *task)
{
	return !strcmp(rig_list(B, "SELECT status FROM tasks WHERE id=%Q", task), "running");
}

/*
 * Who wrote when: the dispatchers' pids in the order of the `claimed` events. Each may appear
 * in one stretch only; a second stretch means that two wrote in turns.
 */
static void check_one_writer_at_a_time(void)
{
	char *pids = rig_list(B,
			      "SELECT substr(json_extract(payload, '$.lock'), %d) FROM "
			      "task_events WHERE kind='claimed' ORDER BY id",
			      (int)strlen(rig.host) + 2);
	char *seen = rig_printf(",");
	const char *current = "";

	for (char *pid; (pid = strsep(&pids, ","));) {
		if (!strcmp(pid, current))
			continue;
		ck_assert_msg(!strstr(seen, rig_printf(",%s,", pid)),
			      "dispatcher %s wrote, then another, then it again", pid);
		seen = rig_printf("%s%s,", seen, pid);
		current = pid;
	}
}

/* Within a time that no poll and only a very busy machine needs. */
static void wait_epoch(int64_t epoch, struct rig_daemon *who)
{
	const int64_t until = rig_mono_us() + 10000000;

	while (rig_epoch() != epoch) {
		ck_assert_msg(rig_mono_us() < until,
			      "epoch is %lld, not %lld; pid %d (%s) says %s\n%s",
			      (long long)rig_epoch(), (long long)epoch, (int)who->pid,
			      rig_ended(who) ? "ended" : "alive",
			      (rig_notices(who), who->status), rig_err(who));
		rig_pause();
	}
}

START_TEST(test_owner_and_standby)
{
	struct rig_daemon *first, *second;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	first = rig_start();
	RIG_UNTIL(is_running("t_00000001"), 5000);
	second = rig_start();
	ck_assert_int_eq(owner_pid(), first->pid);
	RIG_UNTIL(rig_status_has(second, "standby"), 3000);
	ck_assert_msg(rig_status_has(second, rig_printf("%d", (int)first->pid)),
		      "standby does not say for whom: %s", second->status);
	ck_assert(!rig_status_has(first, "standby"));
	ck_assert_int_eq(rig_epoch(), 1);

	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(is_running("t_00000002"), 5000);
	ck_sql(B, rig_printf("%s:%d", rig.host, (int)first->pid),
	       "SELECT DISTINCT claim_lock FROM tasks");

	/* The owner leaves in good order: the standby takes over. */
	ck_assert_int_eq(rig_stop(first), 0);
	RIG_UNTIL(rig_epoch() == 2, 3000);
	ck_assert_int_eq(owner_pid(), second->pid);
	rig_add(B, .id = "t_00000003");
	RIG_UNTIL(is_running("t_00000003"), 5000);
	ck_assert_uint_eq(rig_ran_count("t_00000001"), 1);
	ck_sql(B, "running|0,running|0,running|0",
	       "SELECT status, consecutive_failures FROM tasks");
	check_one_writer_at_a_time();
}
END_TEST

/* A standby starts although there is nothing for it to own, and its end does not matter. */
START_TEST(test_standby_comes_and_goes)
{
	struct rig_daemon *owner, *standby;

	rig_board(B, 0);
	owner = rig_start();
	standby = rig_start();
	RIG_UNTIL(rig_status_has(standby, "standby"), 3000);
	rig_kill9(standby);
	ck_assert_int_eq(rig_epoch(), 1);
	standby = rig_start();
	ck_assert_int_eq(rig_stop(standby), 0);
	ck_assert_int_eq(owner_pid(), owner->pid);
	ck_assert_int_eq(rig_epoch(), 1);
}
END_TEST

START_TEST(test_takeover_after_kill9)
{
	struct rig_daemon *owner, *standby;
	int64_t killed, took;

	rig_config("dispatch_interval_seconds: 30");
	rig_board(B, 0);
	owner = rig_start();
	standby = rig_start();
	RIG_UNTIL(rig_status_has(standby, "standby"), 3000);
	rig_add(B, .id = "t_00000001");
	killed = rig_mono_us();
	rig_kill9(owner);
	RIG_UNTIL(rig_epoch() == 2, 3000);
	took = rig_mono_us() - killed;
	/* The benchmark measures; here a poll would show, and a busy machine would not. */
	ck_assert_msg(took < 1000000, "took over after %lld ms", (long long)took / 1000);
	RIG_UNTIL(is_running("t_00000001"), 3000);
	ck_sql(B, rig_printf("%s:%d", rig.host, (int)standby->pid),
	       "SELECT claim_lock FROM tasks");
}
END_TEST

/* ---- kills in a row -------------------------------------------------------------------- */

static int kills(void)
{
	const char *torture = getenv("KANBAND_TORTURE");

	return torture && atoi(torture) ? 200 : 40;
}

static void add_some(int *next, int count)
{
	for (int i = 0; i < count; i++)
		rig_add(B, .id = rig_printf("t_%08d", (*next)++));
}

START_TEST(test_kills_in_a_row)
{
	const int rounds = kills();
	struct rig_daemon *owner, *standby;
	int next = 1;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "1");
	rig_config("dispatch_interval_seconds: 1", "failure_limit: 50");
	/* three starts in a row that a kill cuts off are a failure, and that waits a minute */
	rig_write("kanband.conf", "[kanband]\nretry_backoff = 0\n");
	rig_do("default", "alone\ndone\n");
	rig_board(B, 0);
	owner = rig_start();
	for (int i = 0; i < rounds; i++) {
		standby = rig_start();
		ck_assert_int_eq(rig_epoch(), i + 1);
		ck_assert_int_eq(owner_pid(), owner->pid);
		add_some(&next, 4);
		/* At a different moment of its work each time. */
		for (int pause = i % 7; pause > 0; pause--)
			rig_pause();
		rig_kill9(owner);
		wait_epoch(i + 2, standby);
		owner = standby;
	}
	/* No task is lost … */
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status<>'done'") == 0, 60000);
	/* … none ran twice at once, and nobody wrote in anybody else's time. */
	ck_assert(!rig_exists("DOUBLE"));
	check_one_writer_at_a_time();
	rig_invariant(B);
	ck_sql(B, "ok", "PRAGMA integrity_check");
	ck_sql(B, "",
	       "SELECT a.task_id FROM task_runs a JOIN task_runs b ON a.task_id=b.task_id AND "
	       "a.id<b.id WHERE b.started_at<a.ended_at");
	ck_assert_int_eq(rig_stop(owner), 0);
}
END_TEST

/* ---- the lock file --------------------------------------------------------------------- */

START_TEST(test_lock_file_removed)
{
	struct rig_daemon *first, *second;

	rig_config("dispatch_interval_seconds: 1");
	rig_do("default", "alone\nwait stop\n");
	rig_board(B, 0);
	first = rig_start();
	rig_shell("rm " LOCK);
	/* Whoever comes now locks a file of its own; the first must see that it has nothing. */
	second = rig_start();
	for (int i = 1; i <= 8; i++) {
		char *task = rig_printf("t_%08d", i);

		rig_add(B, .id = task);
		RIG_UNTIL(is_running(task), 10000);
	}
	check_one_writer_at_a_time();
	ck_assert(!rig_exists("DOUBLE"));
	ck_assert(rig_exists(LOCK));
	/* One of them is owner, the other says that it stands by. */
	RIG_UNTIL(rig_status_has(first, "standby") != rig_status_has(second, "standby"), 5000);
	ck_assert_msg(strstr(rig_err(first), "lock") != NULL, "not a word about it: %s",
		      rig_err(first));
}
END_TEST

START_TEST(test_lock_file_removed_and_nobody_else)
{
	struct rig_daemon *d;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	d = rig_start();
	rig_shell("rm " LOCK);
	rig_add(B, .id = "t_00000001");
	RIG_UNTIL(is_running("t_00000001"), 10000);
	RIG_UNTIL(rig_exists(LOCK), 5000);
	RIG_UNTIL(rig_epoch() == 2, 5000);
	ck_assert_int_eq(owner_pid(), d->pid);
}
END_TEST

START_TEST(test_lock_file_replaced)
{
	struct rig_daemon *d;
	int fd;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	d = rig_start();
	/* at once: the daemon would have a new one within a moment */
	rig_write("new.lock", "");
	fd = rig_flock("new.lock");
	rig_shell("mv new.lock " LOCK);
	rig_add(B, .id = "t_00000001");
	RIG_UNTIL(rig_status_has(d, "standby"), 5000);
	ck_sql(B, "ready", "SELECT status FROM tasks");
	rig_unlock(fd);
	RIG_UNTIL(is_running("t_00000001"), 5000);
}
END_TEST

/* ---- a gateway ------------------------------------------------------------------------- */

START_TEST(test_a_gateway_holds_the_lock)
{
	struct rig_daemon *first, *second;
	int fd;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	fd = rig_flock(LOCK);
	first = rig_start();
	second = rig_start();
	RIG_UNTIL(rig_status_has(first, "standby"), 3000);
	RIG_UNTIL(rig_status_has(second, "standby"), 3000);
	/* Says who: this process, by its number. */
	ck_assert_msg(rig_status_has(first, rig_printf("%d", (int)getpid())), "status: %s",
		      first->status);
	ck_sql(B, "ready", "SELECT status FROM tasks");
	rig_unlock(fd);
	RIG_UNTIL(is_running("t_00000001"), 5000);
	RIG_UNTIL(rig_status_has(first, "standby") != rig_status_has(second, "standby"), 3000);
}
END_TEST

#define OWN "root/kanban/boards/%s/.dispatcher.lock"

/* Is it held by somebody? */
static bool is_owned(const char *slug)
{
	const int fd = open(rig_path(rig_printf(OWN, slug)), O_RDWR | O_CLOEXEC);
	const bool is = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;

	if (fd >= 0)
		(void)close(fd);
	return is;
}

/* An announced release asks for a lock of each board, and none of the root: the daemon holds
 * those of all boards that it dispatches, and leaves the board of another to it. */
START_TEST(test_a_dispatcher_of_one_board)
{
	struct rig_daemon *d;
	int fd;

	rig_env("HERMES_KANBAN_BUSY_TIMEOUT_MS", "500");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_board("garden", 0);
	rig_add(B, .id = "t_00000001");
	rig_add("garden", .id = "t_00000002");
	fd = rig_flock(rig_printf(OWN, "garden"));
	d = rig_start();
	RIG_UNTIL(is_running("t_00000001"), 5000);
	ck_assert(is_owned(B));
	RIG_UNTIL(strstr(rig_err(d), "board garden: another process dispatches it"), 10000);
	ck_sql("garden", "ready", "SELECT status FROM tasks");
	rig_unlock(fd);
	RIG_UNTIL(!strcmp(rig_list("garden", "SELECT status FROM tasks"), "running"), 10000);
	ck_assert(is_owned("garden"));
	/* somebody puts another file there: the next sweep has that one, too */
	ck_assert_int_eq(unlink(rig_path(rig_printf(OWN, "garden"))), 0);
	RIG_UNTIL(is_owned("garden"), 10000);
	rig_kill9(d);
	/* a child that was about to start has the locks, too, until its exec */
	RIG_UNTIL(!is_owned(B) && !is_owned("garden"), 10000);
}
END_TEST

/* More boards than descriptors: some go without their own lock, all are dispatched. */
START_TEST(test_more_boards_than_descriptors)
{
	const struct rlimit few = { .rlim_cur = 128, .rlim_max = 128 };

	rig_config("dispatch_interval_seconds: 1", "max_in_progress: 200");
	for (int i = 0; i < 100; i++) {
		rig_board(rig_printf("b%d", i), 0);
		rig_add(rig_printf("b%d", i), .id = "t_00000001");
	}
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	(void)rig_start();
	for (int i = 0; i < 100; i++) {
		char *slug = rig_printf("b%d", i);

		RIG_UNTIL(!strcmp(rig_list(slug, "SELECT status FROM tasks"), "running"),
			  20000);
	}
}
END_TEST

START_TEST(test_a_single_tick_beside_a_daemon)
{
	struct rig_daemon *d;
	struct rig_out *out;

	rig_board(B, 0);
	d = rig_start();
	out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root, "--once");
	ck_assert_int_eq(out->status, 75);
	ck_assert_msg(strstr(out->err, rig_printf("%d", (int)d->pid)) != NULL, "%s", out->err);
}
END_TEST

/* ---- several roots --------------------------------------------------------------------- */

START_TEST(test_two_roots_two_leases)
{
	const char *other = rig_path("other");
	struct rig_daemon *d;
	int fd;

	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_mkdir("other/kanban");
	rig_shell("cp root/kanban.db other/kanban.db && mkdir -p other/profiles/jimmy && cp "
		  "root/config.yaml other/");
	fd = rig_flock("other/kanban/.dispatcher.lock");
	d = rig_start("--root", other);
	RIG_UNTIL(is_running("t_00000001"), 5000);
	rig.root = rig_path("other");
	ck_sql(B, "ready", "SELECT status FROM tasks");
	rig_unlock(fd);
	RIG_UNTIL(is_running("t_00000001"), 5000);
	rig.root = rig_path("root");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *roles = rig_tcase("roles", 60);
	TCase *row = rig_tcase("kills in a row", 600);
	TCase *file = rig_tcase("lock file", 60);
	TCase *others = rig_tcase("others", 60);

	tcase_add_test(roles, test_owner_and_standby);
	tcase_add_test(roles, test_standby_comes_and_goes);
	tcase_add_test(roles, test_takeover_after_kill9);
	tcase_add_test(row, test_kills_in_a_row);
	tcase_add_test(file, test_lock_file_removed);
	tcase_add_test(file, test_lock_file_removed_and_nobody_else);
	tcase_add_test(file, test_lock_file_replaced);
	tcase_add_test(others, test_a_gateway_holds_the_lock);
	tcase_add_test(others, test_a_dispatcher_of_one_board);
	tcase_add_test(others, test_more_boards_than_descriptors);
	tcase_add_test(others, test_a_single_tick_beside_a_daemon);
	tcase_add_test(others, test_two_roots_two_leases);
	return rig_suite("daemon: lease", roles, row, file, others, NULL);
}
