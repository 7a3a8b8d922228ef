/*
 * The benchmark: what kanband takes, and beside it what this machine takes for the same work
 * when nothing but the machine is in the way, measured in the same run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

#define BENCH_MANY_BOARDS 204

/* Where things are; set once by main(). */
struct bench {
	const char *bin;      /* folder of kanband */
	const char *self;     /* this program */
	char dir[96];         /* temporary folder */
	const char *launcher; /* of daemons that are started */
	int notify;           /* the socket that stands in for the service manager */
};

/* One line of the result. */
struct bench_row {
	const char *name;  /* key in the JSON */
	const char *what;  /* for people */
	const char *unit;  /* of all the numbers */
	double value;      /* kanband */
	double worst;      /* p99 or the like; < 0: none */
	double limit;      /* the machine */
	double target;     /* what is aimed at; 0: nothing said */
	bool more_is_good; /* a rate: the value is to be above the target */
	bool worst_counts; /* it is the worst that is to be below the target */
	/* The limit on the machine that the target was set on, 0: not said. A machine on which
	 * the limit is so many times larger has so many times the target. */
	double limit_there;
};

void bench_die(const char *fmt, ...) PRINTF(1, 2) __attribute__((noreturn));
void bench_add(const struct bench_row *row);

/** bench_path() - a path below the temporary folder; one of eight buffers in turn */
const char *bench_path(const char *fmt, ...) PRINTF(1, 2);
void bench_run(const char *fmt, ...) PRINTF(1, 2); /* sh -c in the temporary folder */
double bench_now_ms(void);
double bench_percentile(double *values, size_t count, double p); /* sorts */

/* ---- roots ----------------------------------------------------------------------------- */

/** bench_root() - an empty root below the temporary folder, with the profile jimmy */
void bench_root(const char *name, unsigned interval_s);
/** bench_board() - a board of a root with @tasks that wait in a chain; @wal: journal mode */
void bench_board(const char *root, const char *slug, unsigned tasks, bool wal);
/** bench_ready() - @count tasks that may start; false if the board stays locked */
bool bench_ready(const char *root, const char *slug, const char *prefix, unsigned count);
int64_t bench_int(const char *root, const char *slug, const char *sql);
const char *bench_db(const char *root, const char *slug);
/** bench_scan_ms() - the promotion query alone, on an open connection; the fastest of a few */
double bench_scan_ms(const char *root, const char *slug);
/** bench_versions_of() - PRAGMA data_version of one board, in ms */
double bench_versions_of(const char *path);
/** bench_versions_ms() - PRAGMA data_version of all boards of a root, on open connections */
double bench_versions_ms(const char *root, unsigned boards);

/* ---- daemons --------------------------------------------------------------------------- */

/** bench_daemon() - start kanband on a root and wait for READY; @ready_ms: out, may be NULL */
pid_t bench_daemon(const char *root, double *ready_ms);
void bench_stop(pid_t pid);
/** bench_drain() - what it told its manager is read, as a manager would */
void bench_drain(void);
double bench_cpu_ms(pid_t pid);                /* CPU time of a process so far */
double bench_rss_mib(pid_t pid);               /* VmRSS */
double bench_once_ms(const char *root);        /* kanband --once, whole */
void bench_sleep_ms(double ms);                /* between two readings of a clock */
void bench_wait_ready(pid_t pid, double from); /* for READY=1 or the end of @pid */

/* ---- rows ------------------------------------------------------------------------------ */

void bench_rows_tick(void);
void bench_rows_sweep(void);
void bench_rows_spawn(void);
void bench_rows_takeover(void);
void bench_rows_ready(void);  /* one commit → its worker, in each journal mode */
void bench_rows_host(void);   /* hermes was away */
void bench_rows_launch(void); /* each launcher beside the bare call */
void bench_rows_boards(void); /* as bench_rows_ready(), with 10,000 boards */
/** bench_rows_alone() - of bench_rows_launch(), one launcher: see bench_launch.c */
void bench_rows_alone(const char *launcher);

/** bench_role() - this program as something else ("bare", "ready", "hold"): what a limit is
 * measured with. Return: exit status, or -1 if there is no such role. */
int bench_role(int argc, char **argv);

extern struct bench bench;
