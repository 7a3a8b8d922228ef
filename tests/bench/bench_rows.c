/*
 * What is measured, and what it is measured against. A full sweep cannot be timed from outside
 * by a clock on the wall, because the daemon sleeps in between: it is told by the CPU time that
 * the process uses from one second to the next at an interval of one second.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "bench_event.h"

extern char **environ;

#define SWEEPS 7

/* CPU time of each of some sweeps: p50 and the largest. */
static void sweep_cost(pid_t pid, double *p50, double *worst)
{
	double cost[SWEEPS], before = bench_cpu_ms(pid);

	for (int i = 0; i < SWEEPS; i++) {
		bench_sleep_ms(1000);
		cost[i] = bench_cpu_ms(pid) - before;
		before += cost[i];
	}
	*p50 = bench_percentile(cost, SWEEPS, 50);
	*worst = bench_percentile(cost, SWEEPS, 100);
}

/* Until the first examination of all boards is over: two quiet seconds in a row. */
static void settle(pid_t pid)
{
	double before = bench_cpu_ms(pid);
	int quiet = 0;

	for (int i = 0; i < 60 && quiet < 2; i++) {
		double used;

		bench_sleep_ms(1000);
		used = bench_cpu_ms(pid) - before;
		before += used;
		quiet = used < 100 ? quiet + 1 : 0;
	}
}

/* ---- many boards ----------------------------------------------------------------------- */

/* This program in another role, until it says READY. */
static pid_t role(const char *const *argv, double *ready_ms)
{
	const double from = bench_now_ms();
	pid_t pid;

	(void)setenv("NOTIFY_SOCKET", bench_path("notify"), 1);
	if (posix_spawn(&pid, bench.self, NULL, NULL, (char *const *)(uintptr_t)argv, environ))
		bench_die("%s cannot be started", bench.self);
	bench_wait_ready(pid, from);
	if (ready_ms)
		*ready_ms = bench_now_ms() - from;
	return pid;
}

static void end_role(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static double bare_rss(const char *root, unsigned boards)
{
	const char *argv[BENCH_MANY_BOARDS + 3] = { bench.self, "bare" };
	double rss;
	pid_t pid;

	for (unsigned i = 0; i < boards; i++) {
		char slug[32];

		(void)snprintf(slug, sizeof(slug), "b%03u", i);
		argv[i + 2] = strdup(bench_db(root, slug));
	}
	pid = role(argv, NULL);
	rss = bench_rss_mib(pid);
	end_role(pid);
	for (unsigned i = 0; i < boards; i++)
		free((void *)(uintptr_t)argv[i + 2]);
	return rss;
}

static void make_boards(const char *root, unsigned boards, bool wal)
{
	char slug[32];

	bench_root(root, 1);
	bench_board(root, "b000", 30, wal);
	for (unsigned i = 1; i < boards; i++) {
		(void)snprintf(slug, sizeof(slug), "b%03u", i);
		bench_run("mkdir '%s' && cp '%s' '%s'",
			  bench_path("%s/kanban/boards/%s", root, slug), bench_db(root, "b000"),
			  bench_db(root, slug));
	}
}

static void row_memory(const char *root, unsigned boards, pid_t pid, double target)
{
	char what[80], name[40];
	struct bench_row row = {
		.name = name, .what = what, .unit = "MiB", .worst = -1, .target = target
	};

	(void)snprintf(name, sizeof(name), "resident_%u", boards);
	(void)snprintf(what, sizeof(what), "resident memory, %u board%s", boards,
		       boards > 1 ? "s" : "");
	row.value = bench_rss_mib(pid);
	row.limit = bare_rss(root, boards);
	bench_add(&row);
}

static void row_start(const char *root)
{
	struct bench_row row = { .name = "start_to_ready",
				 .what = "start to READY, 204 boards",
				 .unit = "ms",
				 .target = 100 };
	const char *argv[] = { bench.self, "ready", NULL };
	double ms[7], bare[7];

	for (int i = 0; i < 7; i++) {
		bench_stop(bench_daemon(root, &ms[i]));
		(void)waitpid(role(argv, &bare[i]), NULL, 0);
	}
	row.value = bench_percentile(ms, 7, 50);
	row.worst = bench_percentile(ms, 7, 100);
	row.limit = bench_percentile(bare, 7, 50);
	bench_add(&row);
}

/* Times that any thread of the process woke up by itself. */
static double wakeups(pid_t pid)
{
	char command[128];
	long count = 0;
	FILE *pipe;

	(void)snprintf(command, sizeof(command),
		       "awk '/^voluntary/ {n += $2} END {print n}' /proc/%d/task/*/status",
		       (int)pid);
	pipe = popen(command, "re");
	if (!pipe || fscanf(pipe, "%ld", &count) != 1 || pclose(pipe))
		bench_die("wake-ups of %d cannot be read", (int)pid);
	return (double)count;
}

static void row_idle(void)
{
	struct bench_row row = { .name = "idle_wakeups",
				 .what = "wake-ups of an idle daemon in 10 s, 204 boards",
				 .unit = "times",
				 .worst = -1 };
	double before;
	pid_t pid;

	bench_run("sed -i 's/interval_seconds: 1/interval_seconds: 600/' '%s'",
		  bench_path("many/config.yaml"));
	pid = bench_daemon("many", NULL);
	settle(pid);
	before = wakeups(pid);
	bench_sleep_ms(10000);
	row.value = wakeups(pid) - before;
	bench_stop(pid);
	bench_add(&row);
}

/* The sweep of many boards, and what the daemon that makes it needs. */
static void row_sweep(const char *root, bool wal)
{
	struct bench_row row = { .name = wal ? "sweep_204_boards_wal" : "sweep_204_boards",
				 .what = wal ? "idle sweep of 204 boards (WAL)"
					     : "idle sweep of 204 boards",
				 .unit = "ms CPU",
				 .target = 3 };
	pid_t pid;

	make_boards(root, BENCH_MANY_BOARDS, wal);
	row.limit = bench_versions_ms(root, BENCH_MANY_BOARDS);
	pid = bench_daemon(root, NULL);
	settle(pid);
	sweep_cost(pid, &row.value, &row.worst);
	bench_add(&row);
	if (!wal)
		row_memory(root, BENCH_MANY_BOARDS, pid, 12);
	bench_stop(pid);
}

void bench_rows_sweep(void)
{
	pid_t pid;

	make_boards("one", 1, false);
	pid = bench_daemon("one", NULL);
	settle(pid);
	row_memory("one", 1, pid, 6);
	bench_stop(pid);

	row_sweep("many", false);
	row_start("many");
	row_idle();
	row_sweep("many-wal", true);
}

/* ---- starting workers ------------------------------------------------------------------ */

#define WORKERS      200
#define SPAWN_ROUNDS 5

static double spawn_limit(void)
{
	char program[512], *argv[] = { program, NULL };
	double from;

	(void)snprintf(program, sizeof(program), "%s/tests/bench-stamp", bench.bin);
	from = bench_now_ms();
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid;

		if (posix_spawn(&pid, program, NULL, NULL, argv, environ) ||
		    waitpid(pid, NULL, 0) != pid)
			bench_die("%s cannot be started", program);
	}
	return WORKERS / (bench_now_ms() - from) * 1e3;
}

/* One tick with the tasks less one tick without: claim, start, record. */
static double spawn_rate(int round, bool wal)
{
	char empty[32], full[32];
	double without, with;

	(void)snprintf(empty, sizeof(empty), "empty%d%d", wal, round);
	(void)snprintf(full, sizeof(full), "full%d%d", wal, round);
	bench_root(empty, 60);
	bench_board(empty, "default", 30, wal);
	bench_root(full, 60);
	bench_board(full, "default", 30, wal);
	if (!bench_ready(full, "default", "r", WORKERS))
		bench_die("the board is locked");
	without = bench_once_ms(empty);
	with = bench_once_ms(full);
	if (bench_int(full, "default", "SELECT count(*) FROM task_runs WHERE worker_pid>0") !=
	    WORKERS)
		bench_die("not all of %d workers were started; see %s", WORKERS,
			  bench_path("log"));
	return WORKERS / (with - without) * 1e3;
}

static void row_spawn(bool wal)
{
	struct bench_row row = {
		.name = wal ? "spawn_200_wal" : "spawn_200",
		.what = wal ? "claim + spawn + record, 200 workers (WAL)"
			    : "claim + spawn + record, 200 workers",
		.unit = "per s",
		.more_is_good = true,
	};
	double rate[SPAWN_ROUNDS], limit[SPAWN_ROUNDS];

	for (int i = 0; i < SPAWN_ROUNDS; i++) {
		rate[i] = spawn_rate(i, wal);
		limit[i] = spawn_limit();
	}
	row.value = bench_percentile(rate, SPAWN_ROUNDS, 50);
	row.worst = bench_percentile(rate, SPAWN_ROUNDS, 0);
	row.limit = bench_percentile(limit, SPAWN_ROUNDS, 50);
	row.target = row.limit * 0.6;
	bench_add(&row);
}

void bench_rows_spawn(void)
{
	row_spawn(false);
	row_spawn(true);
}

/* ---- takeover -------------------------------------------------------------------------- */

#define TAKEOVERS 40

/* Wait until @pid holds the lock on @inode, by the kernel's own list. */
static double held_at(pid_t pid, ino_t inode, double patience_ms)
{
	const double until = bench_now_ms() + patience_ms;
	char text[65536], mine[64], file[64];
	const int fd = open("/proc/locks", O_RDONLY | O_CLOEXEC);

	(void)snprintf(mine, sizeof(mine), " WRITE %d ", (int)pid);
	(void)snprintf(file, sizeof(file), ":%llu ", (unsigned long long)inode);
	while (fd >= 0 && bench_now_ms() < until) {
		const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		char *rest = text;

		text[n > 0 ? n : 0] = '\0';
		for (char *line; (line = strsep(&rest, "\n"));)
			if (strstr(line, mine) && strstr(line, file) && !strstr(line, "->")) {
				(void)close(fd);
				return bench_now_ms();
			}
	}
	bench_die("process %d did not take over", (int)pid);
}

static double held_after_kill(pid_t owner, pid_t standby, ino_t inode, double *from)
{
	double at;

	*from = bench_now_ms();
	(void)kill(owner, SIGKILL);
	at = held_at(standby, inode, 20000);
	(void)waitpid(owner, NULL, 0);
	return at - *from;
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		bench_die("%s: %s", path, strerror(errno));
	return st.st_ino;
}

static double takeover_limit(void)
{
	const char *argv[] = { bench.self, "hold", bench_path("lock"), NULL };
	double ms[TAKEOVERS], from;
	pid_t owner = role(argv, NULL), standby;

	for (int i = 0; i < TAKEOVERS; i++) {
		if (posix_spawn(&standby, bench.self, NULL, NULL,
				(char *const *)(uintptr_t)argv, environ))
			bench_die("%s cannot be started", bench.self);
		bench_sleep_ms(20);
		ms[i] = held_after_kill(owner, standby, inode_of(argv[2]), &from);
		owner = standby;
	}
	end_role(owner);
	return bench_percentile(ms, TAKEOVERS, 50);
}

/* The owner is stopped first, so that it cannot start the task that the next one shall start.
 */
static void one_takeover(pid_t owner, pid_t standby, int i, double *held, double *first)
{
	char prefix[16];
	double from;

	(void)snprintf(prefix, sizeof(prefix), "%02d", i);
	for (;;) {
		(void)kill(owner, SIGSTOP);
		(void)unlink(bench_path("stamp"));
		if (bench_ready("takeover", "default", prefix, 1))
			break;
		(void)kill(owner, SIGCONT); /* it was stopped within a write of its own */
		bench_sleep_ms(20);
	}
	*held = held_after_kill(owner, standby,
				inode_of(bench_path("takeover/kanban/.dispatcher.lock")),
				&from);
	*first = bench_stamp_ms(20000) - from;
}

void bench_rows_takeover(void)
{
	struct bench_row held = { .name = "takeover_lease",
				  .what = "takeover after SIGKILL, to the lease held",
				  .unit = "ms",
				  .target = 5,
				  .worst_counts = true,
				  .limit_there = 0.2 };
	struct bench_row first = { .name = "takeover_worker",
				   .what = "takeover after SIGKILL, to the first worker's exec",
				   .unit = "ms",
				   .target = 20,
				   .worst_counts = true,
				   .limit_there = 0.2 };
	double a[TAKEOVERS], b[TAKEOVERS];
	pid_t owner, standby;

	bench_root("takeover", 60);
	bench_board("takeover", "default", 30, false);
	owner = bench_daemon("takeover", NULL);
	for (int i = 0; i < TAKEOVERS; i++) {
		standby = bench_daemon("takeover", NULL);
		one_takeover(owner, standby, i, &a[i], &b[i]);
		owner = standby;
	}
	bench_stop(owner);
	held.limit = first.limit = takeover_limit();
	held.value = bench_percentile(a, TAKEOVERS, 50);
	held.worst = bench_percentile(a, TAKEOVERS, 99);
	first.value = bench_percentile(b, TAKEOVERS, 50);
	first.worst = bench_percentile(b, TAKEOVERS, 99);
	bench_add(&held);
	bench_add(&first);
}
