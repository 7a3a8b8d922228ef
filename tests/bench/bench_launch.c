/*
 * Each way to start a worker, beside the bare call that it is made of: fork (posix_spawn), and
 * units (StartTransientUnit, one after the other without waiting in between, then all awaited).
 *
 * Units want a service manager. Where this process has none, the rows are measured by the same
 * program under one of its own (tests/systemd/with-systemd), and read off its output.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "bench.h"
#include "bench_event.h"

#define LAUNCHES 100 /* of one batch */
#define ROUNDS   3
#define SINGLES  40 /* one at a time */

extern char **environ;

static long stamps(void)
{
	struct stat st;

	return stat(bench_path("stamp"), &st) == 0 ? (long)(st.st_size / 8) : 0;
}

static void wait_stamps(long n)
{
	const double until = bench_now_ms() + 60000;

	while (stamps() < n && bench_now_ms() < until)
		bench_sleep_ms(0.5);
	if (stamps() < n)
		bench_die("%ld of %ld workers ran; see %s", stamps(), n, bench_path("log"));
}

/* ---- the bare calls -------------------------------------------------------------------- */

static void bare_fork(const char *program, int i)
{
	char *const argv[] = { (char *)(uintptr_t)program, NULL };
	pid_t pid;

	(void)i;
	if (posix_spawn(&pid, program, NULL, NULL, argv, environ) ||
	    waitpid(pid, NULL, 0) != pid)
		bench_die("%s cannot be started", program);
}

/* As little as it takes. */
static void bare_unit(const char *program, int i)
{
	static sd_bus *bus;
	sd_bus_error e = SD_BUS_ERROR_NULL;
	char name[64], stamp[600];

	if (!bus && sd_bus_open_system(&bus) < 0)
		bench_die("no bus");
	(void)snprintf(name, sizeof(name), "bench-%d-%d.service", (int)getpid(), i);
	(void)snprintf(stamp, sizeof(stamp), "BENCH_STAMP=%s", bench_path("stamp"));
	if (sd_bus_call_method(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
			       "org.freedesktop.systemd1.Manager", "StartTransientUnit", &e,
			       NULL, "ssa(sv)a(sa(sv))", name, "fail", 3, "Type", "s", "exec",
			       "Environment", "as", 1, stamp, "ExecStart", "a(sasb)", 1,
			       program, 1, program, 0, 0) < 0)
		bench_die("StartTransientUnit: %s", e.message);
}

struct way {
	const char *launcher, *what; /* @what: the bare call */
	void (*bare)(const char *program, int i);
};

static int bare_count;

static double bare_rate(const struct way *way, const char *program)
{
	double from;

	(void)unlink(bench_path("stamp"));
	from = bench_now_ms();
	for (int i = 0; i < LAUNCHES; i++)
		way->bare(program, bare_count++);
	wait_stamps(LAUNCHES);
	return LAUNCHES / (bench_now_ms() - from) * 1e3;
}

static double bare_ms(const struct way *way, const char *program)
{
	double ms[SINGLES], from;

	for (int i = 0; i < SINGLES; i++) {
		(void)unlink(bench_path("stamp"));
		from = bench_now_ms();
		way->bare(program, bare_count++);
		ms[i] = bench_stamp_ms(20000) - from;
		bench_sleep_ms(20);
	}
	return bench_percentile(ms, SINGLES, 50);
}

/* ---- kanband --------------------------------------------------------------------------- */

/* @prefix: of its tasks; units of different roots must have different names */
static double daemon_rate(const char *root, const char *prefix)
{
	double from, rate;
	pid_t pid;

	bench_root(root, 60);
	bench_board(root, "default", 30, true);
	pid = bench_daemon(root, NULL);
	bench_sleep_ms(1500);
	(void)unlink(bench_path("stamp"));
	if (!bench_ready(root, "default", prefix, LAUNCHES))
		bench_die("the board is locked");
	from = bench_now_ms();
	wait_stamps(LAUNCHES);
	rate = LAUNCHES / (bench_now_ms() - from) * 1e3;
	bench_stop(pid);
	return rate;
}

static void daemon_singles(const char *root, double *ms)
{
	pid_t pid;

	bench_root(root, 60);
	bench_board(root, "default", 30, true);
	pid = bench_daemon(root, NULL);
	bench_sleep_ms(1500);
	for (int i = 0; i < SINGLES; i++) {
		char prefix[16];
		double from;

		(void)snprintf(prefix, sizeof(prefix), "s%02d", i);
		(void)unlink(bench_path("stamp"));
		if (!bench_ready(root, "default", prefix, 1))
			bench_die("the board is locked");
		from = bench_now_ms();
		ms[i] = bench_stamp_ms(20000) - from;
		bench_sleep_ms(100);
	}
	bench_stop(pid);
}

static void rows_of(const struct way *way)
{
	char names[2][48], what[2][80], program[512], root[64], prefix[8];
	double rate[ROUNDS], limit[ROUNDS], ms[SINGLES];
	struct bench_row row = {
		.name = names[0], .what = what[0], .unit = "per s", .more_is_good = true
	};
	struct bench_row one = { .name = names[1], .what = what[1], .unit = "ms" };

	bench.launcher = way->launcher;
	(void)snprintf(program, sizeof(program), "%s/tests/bench-stamp", bench.bin);
	(void)snprintf(names[0], sizeof(names[0]), "launch_rate_%s", way->launcher);
	(void)snprintf(names[1], sizeof(names[1]), "launch_exec_%s", way->launcher);
	(void)snprintf(what[0], sizeof(what[0]), "%s: %d at once (limit: %s)", way->launcher,
		       LAUNCHES, way->what);
	(void)snprintf(what[1], sizeof(what[1]), "  one: ready to the worker's exec");
	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(root, sizeof(root), "rate-%s-%d", way->launcher, i);
		(void)snprintf(prefix, sizeof(prefix), "r%d", i);
		rate[i] = daemon_rate(root, prefix);
		limit[i] = bare_rate(way, program);
	}
	row.value = bench_percentile(rate, ROUNDS, 50);
	row.worst = bench_percentile(rate, ROUNDS, 0);
	row.limit = bench_percentile(limit, ROUNDS, 50);
	bench_add(&row);
	(void)snprintf(root, sizeof(root), "exec-%s", way->launcher);
	daemon_singles(root, ms);
	one.value = bench_percentile(ms, SINGLES, 50);
	one.worst = bench_percentile(ms, SINGLES, 99);
	one.limit = bare_ms(way, program);
	bench_add(&one);
	bench.launcher = "fork";
}

/* ---- under a service manager ----------------------------------------------------------- */

static const struct way units = { "systemd", "StartTransientUnit", bare_unit };

/* "ROW name<TAB>what<TAB>unit<TAB>value<TAB>worst<TAB>limit<TAB>target<TAB>more" */
static bool row_read(char *line)
{
	char name[80], what[80], unit[80];
	struct bench_row row = { .name = name, .what = what, .unit = unit };
	int more;

	/* \t alone would take the blanks that @what begins with, too */
	if (sscanf(line, "ROW %79[^\t]%*1[\t]%79[^\t]%*1[\t]%79[^\t]%lf%lf%lf%lf%d", name, what,
		   unit, &row.value, &row.worst, &row.limit, &row.target, &more) != 8)
		return false;
	row.more_is_good = more;
	bench_add(&row);
	return true;
}

/* The same program, with a manager: what it says is read. */
static void rows_elsewhere(void)
{
	char command[1400], line[512];
	FILE *pipe;

	(void)snprintf(command, sizeof(command),
		       "BENCH_ROWS=units BENCH_RAW=1 tests/systemd/with-systemd --seconds 170 "
		       "'%s' '%s' 2>&1",
		       bench.self, bench.bin);
	pipe = popen(command, "re");
	if (!pipe)
		bench_die("popen: %s", strerror(errno));
	while (fgets(line, sizeof(line), pipe))
		if (!row_read(line) &&
		    (strncmp(line, "SKIP:", 5) == 0 || strncmp(line, "bench:", 6) == 0))
			(void)printf("systemd: not measured: %s", line);
	(void)pclose(pipe);
}

void bench_rows_launch(void)
{
	static const struct way ways[] = {
		{ "fork", "posix_spawn", bare_fork },
		{ "command", "posix_spawn", bare_fork },
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		rows_of(&ways[i]);
	if (access("/run/systemd/system", F_OK) == 0)
		rows_of(&units);
	else
		rows_elsewhere();
}

void bench_rows_units(void)
{
	rows_of(&units);
}
