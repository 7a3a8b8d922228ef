/*
 * The tick itself, on a wall clock: called here as the daemon calls it, on a board with many
 * waiting tasks and nothing to do. Once as a sweep does it, every waiting task looked at; once
 * as after a commit by somebody else, when only what the newest events name is looked at.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "db/db.h"
#include "tick/tick.h"

#define TICKS 25

static bool host_alive(void *arg, const struct tick_worker *worker)
{
	(void)arg;
	(void)worker;
	return false;
}

static bool host_profile(void *arg, const char *canonical)
{
	(void)arg;
	return !strcmp(canonical, "jimmy");
}

static bool host_owner(void *arg, struct error *why)
{
	(void)arg;
	(void)why;
	return true;
}

static int64_t host_find(void *arg, const struct tick_worker *worker, bool ended)
{
	(void)arg;
	(void)worker;
	(void)ended;
	return 0;
}

static bool host_first_scratch(void *arg)
{
	(void)arg;
	return false;
}

static const struct tick_host host = { .alive = host_alive,
				       .profile = host_profile,
				       .owner = host_owner,
				       .find = host_find,
				       .first_scratch = host_first_scratch };

/* Nothing to do is part of what is measured: a tick that wrote something was another tick. */
static double tick_ms(struct db *db, const struct tick_request *rq)
{
	struct plan plan = { 0 };
	struct error e = ERROR_NULL;
	const double from = bench_now_ms();
	double took;

	if (tick_run(db, rq, &plan, &e) != 0)
		bench_die("tick: %s", e.text);
	took = bench_now_ms() - from;
	if (plan.promoted || plan.n_launches)
		bench_die("the tick found something to do");
	plan_deinit(&plan);
	return took;
}

/* Somebody else changes one task. Return: the newest event before it. */
static int64_t change(sqlite3 *other, int i)
{
	char sql[256];
	int64_t before;
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(other, "SELECT max(id) FROM task_events", -1, &stmt, NULL) ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		bench_die("%s", sqlite3_errmsg(other));
	before = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	(void)snprintf(
		sql, sizeof(sql),
		"BEGIN IMMEDIATE; UPDATE tasks SET body='%d' WHERE id='t_00000011'; INSERT "
		"INTO task_events (task_id, kind, created_at) VALUES ('t_00000011', "
		"'edited', 1); COMMIT",
		i);
	if (sqlite3_exec(other, sql, NULL, NULL, NULL))
		bench_die("%s: %s", sql, sqlite3_errmsg(other));
	return before;
}

static void measure(const char *path, double *full, double *after)
{
	const struct db_options opt = { .path = path, .busy_timeout_ms = 60000 };
	const struct settings set = { .max_spawn = -1,
				      .max_in_progress = -1,
				      .max_in_progress_per_profile = -1,
				      .failure_limit = 2,
				      .stale_timeout_s = 14400,
				      .claim_ttl_s = 900,
				      .heartbeat_stale_s = 3600,
				      .reclaim_defer_s = 120,
				      .crash_grace_s = 30,
				      .rate_limit_cooldown_s = 300,
				      .busy_timeout_ms = 60000 };
	struct turns_board turn = { 0 };
	struct caps caps;
	struct tick_request rq = { .steps = TICK_ALL,
				   .now = (int64_t)time(NULL),
				   .hostname = "bench",
				   .db = path,
				   .claim_lock = "bench:1",
				   .set = &set,
				   .host = &host,
				   .caps = &caps,
				   .turn = &turn };
	struct error e = ERROR_NULL;
	struct db *db = NULL;
	sqlite3 *other = NULL;

	caps_init(&caps, -1);
	if (db_open(&db, &opt, &e) != 0)
		bench_die("%s: %s", path, e.text);
	if (sqlite3_open(path, &other) || sqlite3_busy_timeout(other, 60000))
		bench_die("%s: %s", path, sqlite3_errmsg(other));
	(void)tick_ms(db, &rq); /* statements compiled, pages read */
	for (int i = 0; i < TICKS; i++) {
		(void)change(other,
			     i); /* the cache is cold, as at a sweep that finds a change */
		rq.promote_after = 0;
		full[i] = tick_ms(db, &rq);
		rq.promote_after = change(other, i);
		after[i] = tick_ms(db, &rq);
	}
	(void)sqlite3_close(other);
	db_free(db);
	caps_deinit(&caps);
}

static void row(const char *name, const char *what, unsigned tasks, double *ms, double limit,
		double target)
{
	char key[48], text[80];
	struct bench_row r = {
		.name = key, .what = text, .unit = "ms", .limit = limit, .target = target
	};

	(void)snprintf(key, sizeof(key), "%s_%u", name, tasks);
	(void)snprintf(text, sizeof(text), "%s, %u waiting tasks", what, tasks);
	r.value = bench_percentile(ms, TICKS, 50);
	r.worst = bench_percentile(ms, TICKS, 99);
	bench_add(&r);
}

static void rows(unsigned tasks, double full_target, double after_target)
{
	double full[TICKS], after[TICKS], scan;
	char root[32], path[512];

	(void)snprintf(root, sizeof(root), "tick%u", tasks);
	bench_root(root, 60);
	bench_board(root, "default", tasks, false);
	scan = bench_scan_ms(root, "default");
	(void)snprintf(path, sizeof(path), "%s", bench_db(root, "default"));
	measure(path, full, after);
	row("full_tick", "full tick", tasks, full, scan, full_target);
	row("tick_after_change", "tick after a change elsewhere", tasks, after,
	    bench_versions_of(path), after_target);
}

void bench_rows_tick(void)
{
	rows(100, 0, 0);
	rows(10000, 10, 1);
	rows(100000, 100, 2);
}
