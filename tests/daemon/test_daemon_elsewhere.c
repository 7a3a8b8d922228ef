/*
 * Workers and daemons in different pid namespaces of one host: a container that shares the root
 * with the host, or one that was started again. The pid in the row is nobody's, or somebody
 * else's; whether the worker lives is told by the lock on its log.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

#define INSIDE "unshare -fp --kill-child --mount-proc"

/* Can this machine do that? Else the case says nothing. */
static bool set_up(void)
{
	if (geteuid() != 0 || system(INSIDE " true 2>/dev/null"))
		return false;
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_env("HERMES_KANBAN_CLAIM_TTL_SECONDS", "1");
	rig_config("dispatch_interval_seconds: 1");
	rig_board(B, 0);
	rig_do(T, "wait go\ndone\n");
	rig_add(B, .id = T);
	return true;
}

static struct rig_daemon *start_inside(void)
{
	struct rig_daemon *d;

	ck_assert_int_eq(setenv("RIG_WRAP", INSIDE, 1), 0);
	rig_env("RIG_PID", "1"); /* whom a worker there outlives by no means */
	d = rig_start();
	ck_assert_int_eq(unsetenv("RIG_WRAP"), 0);
	rig_env("RIG_PID", rig_printf("%d", (int)getpid()));
	return d;
}

static int64_t count(const char *kind)
{
	return rig_int(B, "SELECT count(*) FROM task_events WHERE task_id=%Q AND kind=%Q", T,
		       kind);
}

/* From inside the worker of the host is not seen, but it holds its log: it keeps its task, time
 * after time, and nobody is started beside it. */
START_TEST(test_a_worker_of_the_host_seen_from_inside)
{
	struct rig_daemon *d;

	if (!set_up())
		return;
	d = rig_start();
	(void)rig_ran(T);
	RIG_UNTIL(count("spawned") == 1, 10000);
	rig_kill9(d);
	d = start_inside();
	RIG_UNTIL(count("claim_extended") >= 2, 20000);
	ck_assert_int_eq(count("spawned"), 1);
	ck_sql(B, "running", "SELECT status FROM tasks");
	/* what it reports counts as ever */
	rig_write("go", "");
	RIG_UNTIL(count("completed") == 1, 10000);
	ck_sql(B, "done|1",
	       "SELECT status, (SELECT count(*) FROM task_runs) FROM tasks WHERE id='" T "'");
	rig_kill9(d);
}
END_TEST

/* It dies unseen: its log is free then, and the task is started again, from inside. */
START_TEST(test_a_worker_of_the_host_that_dies)
{
	struct rig_daemon *d;
	int64_t pid;

	if (!set_up())
		return;
	d = rig_start();
	pid = json_integer_value(json_object_get(rig_ran(T), "pid"));
	RIG_UNTIL(count("spawned") == 1, 10000);
	rig_kill9(d);
	d = start_inside();
	RIG_UNTIL(count("claim_extended") >= 1, 20000);
	ck_assert_int_eq(count("spawned"), 1);
	ck_assert_int_eq(kill((pid_t)pid, SIGKILL), 0);
	RIG_UNTIL(count("spawned") == 2, 30000);
	rig_write("go", "");
	RIG_UNTIL(count("completed") == 1, 10000);
	rig_kill9(d);
}
END_TEST

/* A container ends with all that was in it: the host goes on with its task at once. */
START_TEST(test_a_worker_of_a_container_that_ended)
{
	struct rig_daemon *d;

	if (!set_up())
		return;
	rig_env("HERMES_KANBAN_CLAIM_TTL_SECONDS", "900");
	d = start_inside();
	(void)rig_ran(T);
	RIG_UNTIL(count("spawned") == 1, 10000);
	rig_kill9(d);
	(void)rig_start();
	RIG_UNTIL(count("spawned") == 2, 20000);
	rig_write("go", "");
	RIG_UNTIL(count("completed") == 1, 10000);
	ck_sql(B, "0", "SELECT count(*) FROM task_runs WHERE ended_at IS NULL");
}
END_TEST

Suite *test_suite(void)
{
	TCase *elsewhere = rig_tcase("elsewhere", 60);

	tcase_add_test(elsewhere, test_a_worker_of_the_host_seen_from_inside);
	tcase_add_test(elsewhere, test_a_worker_of_the_host_that_dies);
	tcase_add_test(elsewhere, test_a_worker_of_a_container_that_ended);
	return rig_suite("daemon: elsewhere", elsewhere, NULL);
}
