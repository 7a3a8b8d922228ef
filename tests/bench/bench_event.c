/*
 * Ready → the worker runs: a task is committed by a process that is not kanband, and the worker
 * writes down when it came to run.
 *
 * The limit is the same chain without kanband: a process that sleeps in inotify, is woken by
 * that commit, commits a claim of its own, and starts the same worker. The two take turns, task
 * by task, so that whatever else the machine does is done to both.
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

#define TASKS       100
#define HOST_TASKS  200
#define HOST_BOARDS 20

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

/* A connection that stays open, as that of a gateway does. @journal: NULL, that of the file */
static sqlite3 *writer(const char *db_path, const char *journal)
{
	sqlite3 *db = NULL;
	char sql[200];

	(void)snprintf(sql, sizeof(sql),
		       "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0%s%s",
		       journal ? "; PRAGMA journal_mode=" : "", journal ? journal : "");
	if (sqlite3_open(db_path, &db) || sqlite3_busy_timeout(db, 60000) ||
	    sqlite3_exec(db, sql, NULL, NULL, NULL))
		bench_die("%s: %s", db_path, sqlite3_errmsg(db));
	return db;
}

static void commit(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL))
		bench_die("%s: %s", sql, sqlite3_errmsg(db));
}

/* From the return of the commit to the worker: the commit itself is not kanband's. */
static double one_task(sqlite3 *db, int i)
{
	char sql[256];
	double from;

	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO tasks (id, title, assignee, status, created_at) VALUES "
		       "('t_e%04d', 'ready', 'jimmy', 'ready', 1)",
		       i);
	(void)unlink(bench_path("stamp"));
	commit(db, sql);
	from = bench_now_ms();
	return bench_stamp_ms(20000) - from;
}

/* ---- limit ----------------------------------------------------------------------------- */

/* What is left without kanband; a process of its own. */
static void bare_dispatcher(const char *root, const char *folder, const char *journal)
{
	const int fd = inotify_init1(IN_CLOEXEC);
	char program[512], *argv[] = { program, NULL }, buffer[4096];
	sqlite3 *db = writer(bench_db(root, "default"), journal);

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

static pid_t bare_start(const char *root, bool wal, const char *journal)
{
	pid_t pid;

	bench_root(root, 600);
	bench_board(root, "default", 30, wal);
	pid = fork();
	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (pid == 0)
		bare_dispatcher(root, bench_path("%s", root), journal);
	return pid;
}

static void bare_stop(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

/* ---- rows ------------------------------------------------------------------------------ */

/* As its worker would, had it one: so that no other task is in the way of the next one. */
static void done(sqlite3 *db)
{
	bench_sleep_ms(20); /* its end is booked */
	commit(db,
	       "UPDATE tasks SET status='done', claim_lock=NULL, claim_expires=NULL, "
	       "worker_pid=NULL, current_run_id=NULL WHERE id LIKE 't_e%' AND status<>'done'");
	bench_sleep_ms(40);
}

/* The two of them in turn. @ms, @bare: TASKS each */
static void in_turn(const char *db_path, const char *bare_path, const char *journal, double *ms,
		    double *bare)
{
	sqlite3 *db = writer(db_path, journal), *bare_db = writer(bare_path, journal);

	for (int i = 0; i < TASKS; i++) {
		bare[i] = one_task(bare_db, i);
		done(bare_db);
		ms[i] = one_task(db, i);
		done(db);
	}
	(void)sqlite3_close(db);
	(void)sqlite3_close(bare_db);
}

static void add_rows(const char *name, const char *what, double *ms, double *bare)
{
	static char names[16][2][48], texts[16][2][80];
	static unsigned n;
	double p50 = bench_percentile(bare, TASKS, 50), p99 = bench_percentile(bare, TASKS, 99);
	struct bench_row row = { .name = names[n][0],
				 .what = texts[n][0],
				 .unit = "ms",
				 .value = bench_percentile(ms, TASKS, 50),
				 .worst = bench_percentile(ms, TASKS, 99),
				 .limit = p50,
				 .target = 1.3 * p50 };
	struct bench_row tail = { .name = names[n][1],
				  .what = texts[n][1],
				  .unit = "ms",
				  .value = row.worst,
				  .worst = -1,
				  .limit = p99,
				  .target = 2 * p99 };

	(void)snprintf(names[n][0], sizeof(names[n][0]), "%s", name);
	(void)snprintf(names[n][1], sizeof(names[n][1]), "%s_p99", name);
	(void)snprintf(texts[n][0], sizeof(texts[n][0]), "%s", what);
	(void)snprintf(texts[n][1], sizeof(texts[n][1]), "  its p99, beside that of the limit");
	n = (n + 1) % 16;
	bench_add(&row);
	bench_add(&tail);
}

static void row_ready(const char *name, const char *what, bool wal, const char *journal)
{
	double ms[TASKS], bare[TASKS];
	char root[64], limit[64];
	pid_t pid, other;

	(void)snprintf(root, sizeof(root), "%s", name);
	(void)snprintf(limit, sizeof(limit), "bare-%s", name);
	bench_root(root, 1);
	bench_board(root, "default", 30, wal);
	pid = bench_daemon(root, NULL);
	other = bare_start(limit, wal, journal);
	bench_sleep_ms(1500);
	in_turn(strdup(bench_db(root, "default")), strdup(bench_db(limit, "default")), journal,
		ms, bare);
	bench_stop(pid);
	bare_stop(other);
	add_rows(name, what, ms, bare);
}

static void copy(const char *from, const char *to)
{
	char buffer[65536];
	const int in = open(from, O_RDONLY | O_CLOEXEC);
	const int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n;

	if (in < 0 || out < 0)
		bench_die("%s: %s", to, strerror(errno));
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		if (write(out, buffer, (size_t)n) != n)
			bench_die("%s: %s", to, strerror(errno));
	(void)close(in);
	(void)close(out);
}

/* @count boards like the one of "model". */
static void many_boards(const char *root, int count)
{
	sqlite3 *db;

	bench_root(root, 600);
	bench_board(root, "model", 2, true);
	/* small pages: an empty board is 13 KiB then */
	db = writer(bench_db(root, "model"), "DELETE");
	commit(db, "PRAGMA page_size=512; VACUUM");
	(void)sqlite3_close(db);
	for (int i = 0; i < count; i++) {
		char slug[32];

		(void)snprintf(slug, sizeof(slug), "b%05d", i);
		if (mkdir(bench_path("%s/kanban/boards/%s", root, slug), 0755))
			bench_die("%s: %s", slug, strerror(errno));
		copy(bench_db(root, "model"), bench_db(root, slug));
	}
}

/* CPU time of a process over @ms */
static double used(pid_t pid, double ms)
{
	double from = bench_cpu_ms(pid);

	bench_sleep_ms(ms);
	bench_drain();
	return bench_cpu_ms(pid) - from;
}

/* From now until it is idle: the first snapshots are made some seconds after the rest. */
static double rest_s(pid_t pid, int boards)
{
	const double from = bench_now_ms();
	double last = from;

	while (bench_now_ms() - last < 30000) {
		if (used(pid, 1000) > 0)
			last = bench_now_ms();
		if (last - from > 900000)
			bench_die("%d boards do not come to rest", boards);
	}
	return (last - from) / 1000;
}

/* So many boards idle; one commit on one of them, beside the bare chain with one board. */
static void row_many(void)
{
	const char *count = getenv("BENCH_BOARDS");
	const int n = count && atoi(count) > 0 ? atoi(count) : 10000;
	struct bench_row start = { .name = "many_boards_start",
				   .what = "10,000 boards: start until idle",
				   .unit = "s",
				   .worst = -1 };
	struct bench_row idle = { .name = "many_boards_idle",
				  .what = "10,000 boards: CPU time of 10 s of idleness",
				  .unit = "ms",
				  .worst = -1 };
	double ms[TASKS], bare[TASKS];
	pid_t pid, other;

	many_boards("many", n);
	pid = bench_daemon("many", NULL);
	start.value = rest_s(pid, n);
	idle.value = used(pid, 10000);
	other = bare_start("bare-many", false, NULL);
	bench_sleep_ms(500);
	in_turn(strdup(bench_db("many", "b00777")), strdup(bench_db("bare-many", "default")),
		NULL, ms, bare);
	bench_stop(pid);
	bare_stop(other);
	bench_add(&start);
	bench_add(&idle);
	add_rows("many_boards_ready", "10,000 boards: ready to the worker's exec on one", ms,
		 bare);
}

/* ---- the host comes back --------------------------------------------------------------- */

/* Workers that ran: each adds a byte. */
static long ran(void)
{
	struct stat st;

	return stat(bench_path("ran"), &st) ? 0 : (long)st.st_size;
}

static double until_all_ran(double from)
{
	while (ran() < HOST_TASKS) {
		if (bench_now_ms() - from > 60000)
			bench_die("%ld of %d workers ran; see %s", ran(), HOST_TASKS,
				  bench_path("log"));
		bench_sleep_ms(1);
	}
	return bench_now_ms() - from;
}

static double bare_workers(const char *hermes)
{
	char program[512], *argv[] = { program, NULL };
	double from = bench_now_ms();

	(void)snprintf(program, sizeof(program), "%s", hermes);
	(void)unlink(bench_path("ran"));
	for (int i = 0; i < HOST_TASKS; i++) {
		pid_t pid;

		if (posix_spawn(&pid, program, NULL, NULL, argv, environ))
			bench_die("%s cannot be started", program);
	}
	from = until_all_ran(from);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return from;
}

/* hermes is renamed away under ready tasks on many boards, and comes back. */
static void row_host(void)
{
	struct bench_row row = { .name = "host_back",
				 .what = "hermes is back: 200 waiting tasks on 20 boards run",
				 .unit = "ms",
				 .worst = -1,
				 .target = 2000 };
	char hermes[512], away[512], slug[32], *was = strdup(getenv("HERMES_BIN"));
	pid_t pid;
	double from;

	(void)snprintf(hermes, sizeof(hermes), "%s", bench_path("bin/hermes"));
	(void)snprintf(away, sizeof(away), "%s", bench_path("bin/away"));
	bench_run("mkdir -p '%s'; printf '#!/bin/sh\\nprintf x >>%s\\n' >'%s'; chmod 755 '%s'",
		  bench_path("bin"), bench_path("ran"), hermes, hermes);
	bench_root("host", 600);
	bench_board("host", "default", 2, true);
	for (int i = 0; i < HOST_BOARDS; i++) {
		(void)snprintf(slug, sizeof(slug), "h%02d", i);
		bench_board("host", slug, 2, true);
	}
	(void)setenv("HERMES_BIN", hermes, 1);
	pid = bench_daemon("host", NULL);
	if (rename(hermes, away))
		bench_die("%s: %s", hermes, strerror(errno));
	for (int i = 0; i < HOST_BOARDS; i++) {
		(void)snprintf(slug, sizeof(slug), "h%02d", i);
		while (!bench_ready("host", slug, slug, HOST_TASKS / HOST_BOARDS))
			bench_sleep_ms(20);
	}
	bench_sleep_ms(30000); /* the back-off is at its longest by now */
	for (int i = 0; i < HOST_BOARDS; i++) {
		(void)snprintf(slug, sizeof(slug), "h%02d", i);
		if (bench_int("host", slug,
			      "SELECT count(*) FROM tasks WHERE id LIKE 't_h%' AND "
			      "consecutive_failures>0"))
			bench_die("%s: the host's fault was charged to a task", slug);
	}
	from = bench_now_ms();
	if (rename(away, hermes))
		bench_die("%s: %s", hermes, strerror(errno));
	row.value = until_all_ran(from);
	bench_stop(pid);
	row.limit = bare_workers(hermes);
	(void)setenv("HERMES_BIN", was, 1);
	bench_add(&row);
}

void bench_rows_ready(void)
{
	row_ready("ready_to_exec", "ready to the worker's exec (DELETE)", false, "DELETE");
	row_ready("ready_to_exec_truncate", "ready to the worker's exec (TRUNCATE)", false,
		  "TRUNCATE");
	row_ready("ready_to_exec_wal", "ready to the worker's exec (WAL)", true, NULL);
}

void bench_rows_host(void)
{
	row_host();
}

void bench_rows_boards(void)
{
	row_many();
}
