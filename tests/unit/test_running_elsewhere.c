/*
 * Claims that were made in another pid namespace of this host: a container that shares the
 * root, or this one before it was started again.
 */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/running.h"

/* A log of "t" that is held as a worker holds its own, or not. */
static int log_of_a_worker(bool held)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/t.log", kit.dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	if (held)
		ck_assert_int_eq(flock(fd, LOCK_SH | LOCK_NB), 0);
	kit.rq.logs = kit.dir;
	return fd;
}

/* Its pid is nobody's here, its time is over, nothing was heard of it: but it lives. */
START_TEST(a_worker_elsewhere_keeps_its_task)
{
	int fd;

	kit_board(0);
	kit_run("t", 101, "claim_expires = 1, worker_started_at = 'elsewhere|1'", NULL);
	kit_sql("UPDATE task_runs SET worker_started_at = 'elsewhere|1', started_at = 1,"
		" max_runtime_seconds = 1");
	kit.set.stale_timeout_s = 10;
	kit_open();
	fd = log_of_a_worker(true);
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed,claim_extended");
	ck_list("running|h:77|101", "SELECT status, claim_lock, worker_pid FROM tasks");
	ck_assert_uint_eq(kit.plan.n_victims, 0); /* that pid is somebody else's here */
	ck_assert_uint_eq(kit.plan.n_workers, 0);
	close(fd);
}
END_TEST

/* Started by a kanband, and its log is free: it has ended. */
START_TEST(a_worker_elsewhere_has_ended)
{
	static const char *const claimants[] = { "h:76", NULL };
	int fd;

	kit_board(0);
	kit_run("t", 101, "claim_lock = 'h:76', worker_started_at = 'elsewhere|1'", NULL);
	kit_sql("UPDATE task_runs SET worker_started_at = 'elsewhere|1'");
	kit.rq.claimants = claimants;
	kit_open();
	fd = log_of_a_worker(false);
	kit_reclaim();
	ck_list("ready", "SELECT status FROM tasks");
	close(fd);
}
END_TEST

/* Nobody here knows: as with another host, the claim has its time. */
START_TEST(a_stranger_elsewhere_has_its_ttl)
{
	kit_board(0);
	kit_run("t", 101, "claim_lock = 'h:9', worker_started_at = 'elsewhere|1'", NULL);
	kit_sql("UPDATE task_runs SET worker_started_at = 'elsewhere|1'");
	kit_open();
	kit_reclaim();
	ck_list("running", "SELECT status FROM tasks");
	kit_sql("UPDATE tasks SET claim_expires = 1");
	kit_reclaim();
	ck_list("ready", "SELECT status FROM tasks");
}
END_TEST

/* The host sees the processes of its containers, under other numbers. */
START_TEST(a_worker_elsewhere_that_is_seen)
{
	kit_board(0);
	kit_run("t", 101, "claim_expires = 1, worker_started_at = 'elsewhere|1'", NULL);
	kit_sql("UPDATE task_runs SET worker_started_at = 'elsewhere|1'");
	kit.found = 4711;
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed,claim_extended");
	ck_assert_uint_eq(kit.plan.n_workers, 1);
	ck_assert_int_eq(kit.plan.workers[0].pid, 4711);
	ck_assert_ptr_null(kit.plan.workers[0].started);
}
END_TEST

/* Once it is watched, under the number that it has here, it keeps its task from time to time.
 */
START_TEST(a_worker_elsewhere_that_is_watched)
{
	int64_t run;

	kit_board(0);
	run = kit_run("t", 101, "claim_expires = 1, worker_started_at = 'elsewhere|1'", NULL);
	kit_sql("UPDATE task_runs SET worker_started_at = 'elsewhere|1'");
	kit.found = 4711;
	kit.rq.watched = &run;
	kit.rq.n_watched = 1;
	kit_open();
	kit_reclaim();
	ck_assert_str_eq(kit_kinds("t"), "claimed,claim_extended");
	ck_list("running|h:77|101", "SELECT status, claim_lock, worker_pid FROM tasks");
}
END_TEST

KIT_SUITE("running_elsewhere", a_worker_elsewhere_keeps_its_task, a_worker_elsewhere_has_ended,
	  a_stranger_elsewhere_has_its_ttl, a_worker_elsewhere_that_is_seen,
	  a_worker_elsewhere_that_is_watched)
