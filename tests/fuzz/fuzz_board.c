/*
 * Any bytes as a board, opened, checked, counted and written to, and a whole tick of the
 * dispatcher over it, in a world without processes. Its first bytes are made plausible, for
 * that is looked at elsewhere.
 */
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "db/db_file.h"
#include "fuzz.h"
#include "recovery/health.h"
#include "tick/tick.h"
#include "util/settings.h"

static bool yes(void *arg, struct error *why)
{
	(void)arg, (void)why;
	return true;
}

static bool nobody(void *arg, const struct tick_worker *worker)
{
	(void)arg, (void)worker;
	return false;
}

static bool any_profile(void *arg, const char *canonical)
{
	(void)arg, (void)canonical;
	return true;
}

static int64_t not_found(void *arg, const struct tick_worker *worker, bool whole)
{
	(void)arg, (void)worker, (void)whole;
	return 0;
}

static bool no_tip(void *arg)
{
	(void)arg;
	return false;
}

static void tick(struct db *db)
{
	const struct tick_host host = { .alive = nobody,
					.profile = any_profile,
					.owner = yes,
					.find = not_found,
					.first_scratch = no_tip };
	const struct settings set = { .dispatch_interval_s = 60,
				      .max_spawn = -1,
				      .max_in_progress = -1,
				      .max_in_progress_per_profile = -1,
				      .failure_limit = 2,
				      .reconcile_orphans = true,
				      .claim_ttl_s = 900,
				      .heartbeat_stale_s = 3600,
				      .hermes = "hermes" };
	struct turns_board turn = { 0 };
	struct error e = ERROR_NULL;
	struct plan plan = { 0 };
	struct caps caps;
	struct tick_request rq = { .steps = TICK_ALL,
				   .now = 1780000000,
				   .db = "/kanban.db",
				   .claim_lock = "h:1",
				   .set = &set,
				   .host = &host,
				   .caps = &caps,
				   .turn = &turn,
				   .once = true };

	caps_init(&caps, 4);
	if (tick_run(db, &rq, &plan, &e) < 0 && !e.text[0])
		abort();
	plan_deinit(&plan);
	caps_leave(&caps, &turn);
	caps_deinit(&caps);
}

static void use(struct db *db)
{
	struct error e = ERROR_NULL;
	struct health_good good;

	(void)!health_count(db, 1, &good, &e);
	if (db_begin(db, &e) != 0)
		return;
	(void)!db_run(
		db, &e,
		"UPDATE tasks SET status = 'running', claim_lock = ?1 WHERE status = 'ready'",
		"t", "h:1");
	(void)!db_run(db, &e,
		      "INSERT INTO task_events(task_id, kind, created_at) VALUES('t', 'x', 1)",
		      "");
	(void)!db_commit(db, &e);
	tick(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t fixed[] = { 1, 1, 0, 64, 32, 32 };
	static uint8_t copy[1 << 16];
	struct error e = ERROR_NULL;
	struct db_options opt = { .statement_ms = 2000 };
	struct db *db = NULL;

	if (size < 100 || size > sizeof(copy))
		return 0;
	memcpy(copy, data, size);
	memcpy(copy, "SQLite format 3", 16);
	memcpy(copy + 18, fixed, sizeof(fixed));
	db_file_remove(fuzz_path("kanban.db"));
	fuzz_put("kanban.db", copy, size);
	opt.path = fuzz_path("kanban.db");
	for (int i = 0; i < 2; i++) {
		opt.integrity = i == 0; /* and what a check would have kept out */
		if (db_open(&db, &opt, &e) == 0)
			use(db);
		db = db_free(db);
	}
	return 0;
}
