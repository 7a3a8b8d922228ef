/*
 * Each way to start a worker, beside the bare call that it is made of: fork (posix_spawn),
 * units (StartTransientUnit) and jobs of a cluster (sbatch), the latter two one after the other
 * without waiting in between, then all awaited.
 *
 * Units want a service manager. Where this process has none, the rows are measured by the same
 * program under one of its own (tests/systemd/with-systemd), and read off its output. So are
 * those of jobs, always in a cluster of its own (tests/slurm/with-cluster). What cannot be had
 * on this machine is told instead of its rows.
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

#define ROUNDS      3
#define SINGLES_MAX 40

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

/* As the launcher submits it, without what only names the job. Its end is seen by settle(). */
static void bare_job(const char *program, int i)
{
	char run[600];
	char *const argv[] = { (char[]){ "sbatch" },
			       (char[]){ "--quiet" },
			       (char[]){ "--no-requeue" },
			       (char[]){ "--export=ALL" },
			       (char[]){ "--propagate=NONE" },
			       (char[]){ "--nodes=1" },
			       (char[]){ "--ntasks=1" },
			       (char[]){ "--chdir=/" },
			       (char[]){ "--input=/dev/null" },
			       (char[]){ "--output=/dev/null" },
			       (char[]){ "--wrap" },
			       run,
			       NULL };
	pid_t pid;

	(void)i;
	(void)snprintf(run, sizeof(run), "exec '%s'", program);
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ))
		bench_die("sbatch cannot be started");
}

/*
 * Until no job is left, and no process of kanband that looks after one. The namespace of the
 * cluster has no other.
 */
static void settle_jobs(void)
{
	while (wait(NULL) > 0)
		;
	bench_run("n=0; while [ \"$(squeue --noheader)\" ] || pgrep -x kanband >/dev/null; do "
		  "n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done");
}

struct way {
	const char *launcher, *what; /* @what: the bare call */
	void (*bare)(const char *program, int i);
	void (*settle)(void); /* after a batch; NULL: nothing goes on */
	int launches;         /* of one batch */
	int singles;          /* one at a time */
	/* From a worker's start to the next task. The controller of a cluster starts jobs once
	 * per second: tasks come at all times of such a second, not all at the same one. */
	double pause_ms, spread_ms;
};

static int bare_count;

static void settle(const struct way *way)
{
	if (way->settle)
		way->settle();
}

static void pause_after(const struct way *way, int i)
{
	bench_sleep_ms(way->pause_ms + way->spread_ms * i / way->singles);
}

static double bare_rate(const struct way *way, const char *program)
{
	double from, rate;

	(void)unlink(bench_path("stamp"));
	from = bench_now_ms();
	for (int i = 0; i < way->launches; i++)
		way->bare(program, bare_count++);
	wait_stamps(way->launches);
	rate = way->launches / (bench_now_ms() - from) * 1e3;
	settle(way);
	return rate;
}

static double bare_ms(const struct way *way, const char *program)
{
	double ms[SINGLES_MAX], from;

	for (int i = 0; i < way->singles; i++) {
		(void)unlink(bench_path("stamp"));
		from = bench_now_ms();
		way->bare(program, bare_count++);
		ms[i] = bench_stamp_ms(20000) - from;
		pause_after(way, i);
	}
	settle(way);
	return bench_percentile(ms, (size_t)way->singles, 50);
}

/* ---- kanband --------------------------------------------------------------------------- */

/* On a busy disk, the daemon's own commit may hold the board for long. */
static void make_ready(const char *root, const char *prefix, int count)
{
	for (int i = 0; i < 20; i++)
		if (bench_ready(root, "default", prefix, (unsigned)count))
			return;
	bench_die("the board is locked");
}

/* @prefix: of its tasks; units of different roots must have different names */
static double daemon_rate(const struct way *way, const char *root, const char *prefix)
{
	double from, rate;
	pid_t pid;

	bench_root(root, 60);
	bench_board(root, "default", 30, true);
	pid = bench_daemon(root, NULL);
	bench_sleep_ms(1500);
	(void)unlink(bench_path("stamp"));
	make_ready(root, prefix, way->launches);
	from = bench_now_ms();
	wait_stamps(way->launches);
	rate = way->launches / (bench_now_ms() - from) * 1e3;
	bench_stop(pid);
	settle(way);
	return rate;
}

static void daemon_singles(const struct way *way, const char *root, double *ms)
{
	pid_t pid;

	bench_root(root, 60);
	bench_board(root, "default", 30, true);
	pid = bench_daemon(root, NULL);
	bench_sleep_ms(1500);
	for (int i = 0; i < way->singles; i++) {
		char prefix[16];
		double from;

		(void)snprintf(prefix, sizeof(prefix), "s%02d", i);
		(void)unlink(bench_path("stamp"));
		make_ready(root, prefix, 1);
		from = bench_now_ms();
		ms[i] = bench_stamp_ms(20000) - from;
		pause_after(way, i);
	}
	bench_stop(pid);
	settle(way);
}

static void rows_of(const struct way *way)
{
	char names[2][48], what[2][80], program[512], root[64], prefix[8];
	double rate[ROUNDS], limit[ROUNDS], ms[SINGLES_MAX];
	struct bench_row row = {
		.name = names[0], .what = what[0], .unit = "per s", .more_is_good = true
	};
	struct bench_row one = { .name = names[1], .what = what[1], .unit = "ms" };

	bench.launcher = way->launcher;
	(void)snprintf(program, sizeof(program), "%s/tests/bench-stamp", bench.bin);
	(void)snprintf(names[0], sizeof(names[0]), "launch_rate_%s", way->launcher);
	(void)snprintf(names[1], sizeof(names[1]), "launch_exec_%s", way->launcher);
	(void)snprintf(what[0], sizeof(what[0]), "%s: %d at once (limit: %s)", way->launcher,
		       way->launches, way->what);
	(void)snprintf(what[1], sizeof(what[1]), "  one: ready to the worker's exec");
	for (int i = 0; i < ROUNDS; i++) {
		(void)snprintf(root, sizeof(root), "rate-%s-%d", way->launcher, i);
		(void)snprintf(prefix, sizeof(prefix), "r%d", i);
		rate[i] = daemon_rate(way, root, prefix);
		limit[i] = bare_rate(way, program);
	}
	row.value = bench_percentile(rate, ROUNDS, 50);
	row.worst = bench_percentile(rate, ROUNDS, 0);
	row.limit = bench_percentile(limit, ROUNDS, 50);
	bench_add(&row);
	(void)snprintf(root, sizeof(root), "exec-%s", way->launcher);
	daemon_singles(way, root, ms);
	one.value = bench_percentile(ms, (size_t)way->singles, 50);
	one.worst = bench_percentile(ms, (size_t)way->singles, 99);
	one.limit = bare_ms(way, program);
	bench_add(&one);
	bench.launcher = "fork";
}

/* ---- under a service manager, in a cluster --------------------------------------------- */

static const struct way ways[] = {
	{ "fork", "posix_spawn", bare_fork, NULL, 100, 40, 100, 0 },
	{ "command", "posix_spawn", bare_fork, NULL, 100, 40, 100, 0 },
	{ "systemd", "StartTransientUnit", bare_unit, NULL, 100, 40, 100, 0 },
	{ "slurm", "bare sbatch", bare_job, settle_jobs, 30, 14, 100, 1000 },
};

/* "ROW name<TAB>what<TAB>unit<TAB>value<TAB>worst<TAB>limit<TAB>target<TAB>more" */
static bool row_read(const char *line)
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

/* Does it say why there are no rows? */
static bool row_reason(const char *line)
{
	static const char *const begins[] = { "SKIP: ", "bench: ", "not ok - " };

	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (strncmp(line, begins[i], strlen(begins[i])) == 0)
			return true;
	return false;
}

/* The same program, @with what it wants: what it says is read. */
static void rows_elsewhere(const char *launcher, const char *with)
{
	char command[2000], line[512] = "", why[512] = "it says nothing\n";
	bool told = false;
	FILE *pipe;

	(void)snprintf(command, sizeof(command),
		       "BENCH_ROWS=none BENCH_RAW=%s OUT='%s' %s '%s' '%s' 2>&1", launcher,
		       bench.bin, with, bench.self, bench.bin);
	pipe = popen(command, "re");
	if (!pipe)
		bench_die("popen: %s", strerror(errno));
	while (fgets(line, sizeof(line), pipe)) {
		if (row_read(line) || told)
			continue;
		told = row_reason(line);
		memcpy(why, line, sizeof(why));
	}
	if (pclose(pipe) != 0)
		(void)printf("%s: not measured: %s", launcher, why);
}

void bench_rows_launch(void)
{
	bench_rows_alone("fork");
	bench_rows_alone("command");
	if (access("/run/systemd/system", F_OK) == 0)
		bench_rows_alone("systemd");
	else
		rows_elsewhere("systemd", "tests/systemd/with-systemd --seconds 170");
	rows_elsewhere("slurm", "tests/slurm/with-cluster");
}

void bench_rows_alone(const char *launcher)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(ways[i].launcher, launcher) == 0)
			rows_of(&ways[i]);
}
