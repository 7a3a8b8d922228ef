/*
 * Ready → the worker runs: a task is committed by a process that is not kanband, and the worker
 * writes down when it came to run.
 *
 * The limit is the same chain without kanband: a process that sleeps in inotify, is woken by
 * that commit, commits a claim of its own, and starts the same worker.
 */
#include "bench_event.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

#define TASKS 100

double bench_stamp_ms(double patience_ms)
{
	const double until = bench_now_ms() + patience_ms;

	while (bench_now_ms() < until) {
		const int fd = open(bench_path("stamp"), O_RDONLY | O_CLOEXEC);
		int64_t ns = 0;
		const ssize_t n = fd < 0 ? 0 : read(fd, &ns, sizeof(ns));

		if (fd >= 0)
			(void)close(fd);
		if (n == sizeof(ns))
			return (double)ns / 1e6;
		bench_sleep_ms(0.2);
	}
	bench_die("no worker ran within %.0f ms; see %s", patience_ms, bench_path("log"));
}

/* A connection that stays open, as that of a gateway does. */
static sqlite3 *writer(const char *root)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(bench_db(root, "default"), &db) || sqlite3_busy_timeout(db, 60000) ||
	    sqlite3_exec(db, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0", NULL, NULL,
			 NULL))
		bench_die("%s: %s", bench_db(root, "default"), sqlite3_errmsg(db));
	return db;
}

static void commit(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL))
		bench_die("%s: %s", sql, sqlite3_errmsg(db));
}

static void add_task(sqlite3 *db, int i)
{
	char sql[256];

	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO tasks (id, title, assignee, status, created_at) VALUES "
		       "('t_e%04d', 'ready', 'jimmy', 'ready', 1)",
		       i);
	commit(db, sql);
}

/* From the return of the commit to the worker: the commit itself is not kanband's. */
static void measure(const char *root, double *ms)
{
	sqlite3 *db = writer(root);

	for (int i = 0; i < TASKS; i++) {
		double from;

		(void)unlink(bench_path("stamp"));
		add_task(db, i);
		from = bench_now_ms();
		ms[i] = bench_stamp_ms(20000) - from;
		/* Past the pause by which bursts are folded: each is a first one. */
		bench_sleep_ms(80);
	}
	(void)sqlite3_close(db);
}

/* ---- limit ----------------------------------------------------------------------------- */

/* What is left without kanband; a process of its own. */
static void bare_dispatcher(const char *root, const char *folder)
{
	const int fd = inotify_init1(IN_CLOEXEC);
	char program[512], *argv[] = { program, NULL }, buffer[4096];
	sqlite3 *db = writer(root);

	(void)snprintf(program, sizeof(program), "%s/tests/bench-stamp", bench.bin);
	if (fd < 0 || inotify_add_watch(fd, folder, IN_MODIFY) < 0)
		_exit(1);
	for (;;) {
		pid_t pid;

		if (read(fd, buffer, sizeof(buffer)) <= 0)
			_exit(1);
		commit(db, "BEGIN IMMEDIATE; UPDATE tasks SET status='running' WHERE "
			   "status='ready' AND assignee='jimmy'; COMMIT");
		if (!sqlite3_changes(db))
			continue;
		if (posix_spawn(&pid, program, NULL, NULL, argv, environ))
			_exit(1);
		(void)waitpid(pid, NULL, 0);
	}
}

static double limit(bool wal)
{
	const char *root = wal ? "bare-wal" : "bare-delete";
	double ms[TASKS];
	pid_t pid;

	bench_root(root, 600);
	bench_board(root, "default", 30, wal);
	pid = fork();
	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (pid == 0)
		bare_dispatcher(root, bench_path("%s", root));
	bench_sleep_ms(300);
	measure(root, ms);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return bench_percentile(ms, TASKS, 50);
}

void bench_row_ready(bool wal)
{
	struct bench_row row = {
		.name = wal ? "ready_to_exec_wal" : "ready_to_exec",
		.what = wal ? "ready to the worker's exec (WAL)" : "ready to the worker's exec",
		.unit = "ms",
		.target = 3,
		.limit_there = wal ? 0.5 : 1.5,
	};
	const char *root = wal ? "ready-wal" : "ready-delete";
	double ms[TASKS];
	pid_t pid;

	bench_root(root, 1);
	bench_board(root, "default", 30, wal);
	pid = bench_daemon(root, NULL);
	bench_sleep_ms(1500);
	measure(root, ms);
	bench_stop(pid);
	row.value = bench_percentile(ms, TASKS, 50);
	row.worst = bench_percentile(ms, TASKS, 99);
	row.limit = limit(wal);
	bench_add(&row);
}
