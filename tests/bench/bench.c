/*
 * `make bench`: run every row, print a table, write the same as JSON.
 *
 *     bench BIN_FOLDER [JSON_FILE]
 *
 * It asserts nothing: numbers depend on the machine and on what else it does. That is what the
 * column "limit" is for: the same work, in the same run, without kanband.
 */
#include "bench.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct bench bench = { .launcher = "fork" };

static struct bench_row rows[64];
static size_t row_count;

void bench_die(const char *fmt, ...)
{
	va_list ap;

	(void)fputs("bench: ", stderr);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

const char *bench_path(const char *fmt, ...)
{
	static char buffers[8][512];
	static unsigned turn;
	char *out = buffers[turn++ % 8];
	int n = snprintf(out, 512, "%s/", bench.dir);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(out + n, 512 - (size_t)n, fmt, ap);
	va_end(ap);
	return out;
}

double bench_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int bench_by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(double *values, size_t count, double p)
{
	size_t i;

	qsort(values, count, sizeof(*values), bench_by_value);
	i = (size_t)ceil(p / 100 * (double)count);
	return values[i ? i - 1 : 0];
}

/* ---- output ---------------------------------------------------------------------------- */

static const char *bench_number(double value)
{
	static char buffers[4][32];
	static unsigned turn;
	char *out = buffers[turn++ % 4];

	if (value < 0)
		return "–";
	(void)snprintf(out, 32, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
	return out;
}

/* A dash is one column wide and three bytes long. */
static void bench_cell(const char *text, int width)
{
	(void)printf(" %*s", strcmp(text, "–") ? width : width + 2, text);
}

/* For the JSON, which is written when the row's own texts are gone. */
static const char *bench_kept(const char *text)
{
	const char *copy = strdup(text);

	if (!copy)
		bench_die("out of memory");
	return copy;
}

void bench_add(const struct bench_row *row)
{
	const bool known = row->target > 0;
	const double pace = row->limit_there > 0 && row->limit > row->limit_there
				    ? row->limit / row->limit_there
				    : 1;
	const double target = row->target * pace;
	const double judged = row->worst_counts ? row->worst : row->value;
	const bool met = row->more_is_good ? judged >= target : judged <= target;
	char note[64] = "";

	if (row_count == sizeof(rows) / sizeof(rows[0]))
		bench_die("too many rows");
	rows[row_count] = *row;
	rows[row_count].name = bench_kept(row->name);
	rows[row_count].what = bench_kept(row->what);
	rows[row_count].unit = bench_kept(row->unit);
	rows[row_count++].target = target;
	if (getenv("BENCH_RAW")) {
		(void)printf("ROW %s\t%s\t%s\t%f\t%f\t%f\t%f\t%d\n", row->name, row->what,
			     row->unit, row->value, row->worst, row->limit, row->target,
			     row->more_is_good);
		return;
	}
	if (known && pace > 1)
		(void)snprintf(note, sizeof(note),
			       " (target %s on a machine %.1f times as fast)",
			       bench_number(row->target), pace);
	(void)printf("%-52s", row->what);
	bench_cell(bench_number(row->value), 9);
	bench_cell(bench_number(row->worst), 9);
	bench_cell(bench_number(row->limit), 9);
	bench_cell(known ? bench_number(target) : "–", 9);
	(void)printf("  %-7s %s%s\n", row->unit, !known ? "" : met ? "met" : "NOT MET", note);
	(void)fflush(stdout);
}

static void bench_heading(void)
{
	char host[64] = "?";
	const long cores = sysconf(_SC_NPROCESSORS_ONLN);

	(void)gethostname(host, sizeof(host));
	(void)printf("kanband on %ld cores; limit: the same work on this machine without it\n\n"
		     "%-52s %9s %9s %9s %9s  unit\n",
		     cores, "", "p50", "p99", "limit", "target");
}

static void bench_json(const char *path)
{
	json_t *list = json_array(), *all;

	for (size_t i = 0; i < row_count; i++) {
		const struct bench_row *r = &rows[i];
		json_t *o =
			json_pack("{s:s, s:s, s:s, s:f, s:f}", "name", r->name, "what", r->what,
				  "unit", r->unit, "value", r->value, "limit", r->limit);

		if (r->worst >= 0)
			(void)json_object_set_new(o, "p99", json_real(r->worst));
		if (r->target > 0) {
			(void)json_object_set_new(o, "target", json_real(r->target));
			(void)json_object_set_new(
				o, "target_is",
				json_string(r->more_is_good ? "at least" : "at most"));
		}
		(void)json_array_append_new(list, o);
	}
	all = json_pack("{s:I, s:I, s:o}", "at", (json_int_t)time(NULL), "cores",
			(json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "rows", list);
	if (!all || json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)))
		bench_die("%s cannot be written: %s", path, strerror(errno));
	json_decref(all);
	(void)printf("\nas JSON: %s\n", path);
}

/* ---- main ------------------------------------------------------------------------------ */

static void bench_setup(const char *bin)
{
	static char self[PATH_MAX], folder[PATH_MAX];
	const char *tmp = getenv("TMPDIR");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0 || !realpath(bin, folder))
		bench_die("%s: %s", bin, strerror(errno));
	bench.self = self;
	bench.bin = folder;
	(void)snprintf(bench.dir, sizeof(bench.dir), "%s/kanband-bench.XXXXXX",
		       tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(bench.dir))
		bench_die("%s: %s", bench.dir, strerror(errno));
	bench.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/notify", bench.dir);
	if (bench.notify < 0 || bind(bench.notify, (const struct sockaddr *)&a, sizeof(a)))
		bench_die("%s: %s", a.sun_path, strerror(errno));
}

/* What all rows start for a worker writes down when it came to run. */
static void worker_setup(void)
{
	char stamp[512];

	(void)snprintf(stamp, sizeof(stamp), "%s/tests/bench-stamp", bench.bin);
	(void)setenv("HERMES_BIN", stamp, 1);
	(void)setenv("BENCH_STAMP", bench_path("stamp"), 1);
}

/* BENCH_ROWS="tick spawn" measures some groups of rows; unset or empty: all. */
static bool wanted(const char *group)
{
	const char *groups = getenv("BENCH_ROWS");

	return !groups || !*groups || strstr(groups, group);
}

int main(int argc, char **argv)
{
	const int role = argc > 1 ? bench_role(argc, argv) : -1;

	if (role >= 0)
		return role;
	if (argc < 2)
		bench_die("usage: bench BIN_FOLDER [JSON_FILE]");
	bench_setup(argv[1]);
	worker_setup();
	bench_heading();
	if (wanted("tick"))
		bench_rows_tick();
	if (wanted("sweep"))
		bench_rows_sweep();
	if (wanted("ready"))
		bench_rows_ready();
	if (wanted("host"))
		bench_rows_host();
	if (wanted("boards"))
		bench_rows_boards();
	if (wanted("spawn"))
		bench_rows_spawn();
	if (wanted("takeover"))
		bench_rows_takeover();
	if (wanted("launch"))
		bench_rows_launch();
	if (getenv("BENCH_RAW"))
		bench_rows_alone(getenv("BENCH_RAW"));
	if (argc > 2)
		bench_json(argv[2]);
	if (!getenv("BENCH_KEEP"))
		bench_run("rm -rf '%s'", bench.dir);
	return EXIT_SUCCESS;
}
