#include "board.h"

#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "db/schema.h"
#include "files.h"
#include "rows.h"

struct kit kit;

/* What the first release did not have beside rows_first_release. */
static const char sql_legacy[] = "ALTER TABLE tasks DROP COLUMN last_heartbeat_at;"
				 "ALTER TABLE tasks DROP COLUMN max_runtime_seconds;"
				 "ALTER TABLE tasks DROP COLUMN worker_started_at;"
				 "ALTER TABLE task_runs DROP COLUMN worker_started_at;"
				 "ALTER TABLE task_runs DROP COLUMN summary;"
				 "DROP TABLE kanban_notify_subs;";

/* ---- the false world -------------------------------------------------------------------- */

static bool world_alive(void *arg, const struct tick_worker *w)
{
	(void)arg;
	for (size_t i = 0; i < kit.n_alive; i++)
		if (kit.alive[i] == w->pid)
			return true;
	return false;
}

static int64_t world_began(void *arg, const struct tick_worker *w)
{
	(void)arg;
	(void)w;
	return kit.began;
}

static bool world_elsewhere(void *arg, const char *started)
{
	(void)arg;
	return strncmp(started, "elsewhere", 9) == 0;
}

static bool world_profile(void *arg, const char *canonical)
{
	(void)arg;
	return !kit.no_profile || strcmp(canonical, kit.no_profile) != 0;
}

static bool world_owner(void *arg, struct error *why)
{
	(void)arg;
	kit.owner_asked++;
	if (kit.on_owner)
		kit.on_owner();
	if (kit.owner_left < 0)
		return true;
	if (kit.owner_left-- > 0)
		return true;
	kit.owner_left = 0;
	(void)error_set(why, -EPERM, "the lease is gone");
	return false;
}

static int world_pr_open(void *arg, const char *url)
{
	(void)arg;
	(void)url;
	kit.pr_asked++;
	return kit.pr_state;
}

static int64_t world_find(void *arg, const struct tick_worker *worker, bool ended)
{
	(void)arg;
	(void)worker;
	(void)ended;
	return kit.found;
}

static bool world_first_scratch(void *arg)
{
	bool first = kit.scratch;

	(void)arg;
	kit.scratch = false;
	return first;
}

void kit_lives(int64_t pid)
{
	ck_assert_uint_lt(kit.n_alive, 16);
	kit.alive[kit.n_alive++] = pid;
}

void kit_died(int64_t pid)
{
	for (size_t i = 0; i < kit.n_alive; i++)
		if (kit.alive[i] == pid)
			kit.alive[i] = -1;
}

/* ---- one case ---------------------------------------------------------------------------- */

static bool kit_forks(void)
{
	const char *fork = getenv("CK_FORK");

	return !fork || strcmp(fork, "no") != 0;
}

void kit_loop_ended(void)
{
	if (kit_forks())
		uv_library_shutdown();
}

void kit_setup(void)
{
	uv_loop_t loop;
	const char *tmp = getenv("TMPDIR");

	memset(&kit, 0, sizeof(kit));
	(void)snprintf(kit.dir, sizeof(kit.dir), "%s/kanband-board.XXXXXX",
		       tmp && *tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(kit.dir));
	(void)snprintf(kit.path, sizeof(kit.path), "%s/kanban.db", kit.dir);
	if (!kit_forks()) { /* descriptors that libuv opens once and keeps are not counted */
		ck_assert_int_eq(uv_loop_init(&loop), 0);
		ck_assert_int_eq(uv_loop_close(&loop), 0);
	}
	kit.fds = files_descriptors();
	kit.set = (struct settings){
		.dispatch_interval_s = 60,
		.max_spawn = -1,
		.max_in_progress = -1,
		.max_in_progress_per_profile = -1,
		.failure_limit = 2,
		.reconcile_orphans = true,
		.claim_ttl_s = 900,
		.heartbeat_stale_s = 3600,
		.reclaim_defer_s = 120,
		.crash_grace_s = 30,
		.rate_limit_cooldown_s = 300,
		.busy_timeout_ms = 50,
		.checkpoint_interval_s = 300,
		.terminate_grace_ms = 100,
		.integrity_interval_s = 21600,
		.hermes = "hermes",
	};
	kit.host = (struct tick_host){ .alive = world_alive,
				       .elsewhere = world_elsewhere,
				       .began = world_began,
				       .profile = world_profile,
				       .owner = world_owner,
				       .pr_open = world_pr_open,
				       .find = world_find,
				       .first_scratch = world_first_scratch };
	kit.owner_left = -1;
	kit.pr_state = -1;
	caps_init(&kit.caps, -1);
	kit.rq = (struct tick_request){
		.steps = TICK_ALL,
		.now = KIT_NOW,
		.hostname = KIT_HOST,
		.db = kit.path,
		.claim_lock = KIT_LOCK,
		.set = &kit.set,
		.host = &kit.host,
		.caps = &kit.caps,
		.turn = &kit.turn,
		.once = true,
	};
}

static int kit_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void kit_teardown(void)
{
	kit_close();
	plan_deinit(&kit.plan);
	caps_deinit(&kit.caps);
	for (size_t i = 0; i < kit.n_kept; i++)
		free(kit.kept[i]);
	ck_assert_int_eq(files_descriptors(), kit.fds);
	(void)sqlite3_shutdown();
	ck_assert_int_eq(sqlite3_memory_used(), 0);
	ck_assert_int_eq(nftw(kit.dir, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static TCase *kit_tcase_of(Suite *suite, const char *name, SFun setup)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, kit_teardown);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return tcase;
}

TCase *kit_tcase(Suite *suite, const char *name, const TTest *const *tests, size_t n)
{
	TCase *tcase = kit_tcase_of(suite, name, kit_setup);

	for (size_t i = 0; i < n; i++)
		tcase_add_test(tcase, tests[i]);
	return tcase;
}

static void kit_setup_august(void)
{
	kit_setup();
	kit.age = KIT_AUGUST;
}

TCase *kit_tcase_august(Suite *suite, const char *name)
{
	return kit_tcase_of(suite, name, kit_setup_august);
}

Suite *kit_suite(const char *name, const TTest *const *both, const TTest *const *newer)
{
	Suite *suite = suite_create(name);
	TCase *now = kit_tcase(suite, name, NULL, 0);
	TCase *august = kit_tcase_august(suite, "august");

	for (; *both; both++) {
		tcase_add_test(now, *both);
		tcase_add_test(august, *both);
	}
	for (; *newer; newer++)
		tcase_add_test(now, *newer);
	return suite;
}

const char *kit_by_age(const char *newer, const char *august)
{
	return kit.age == KIT_AUGUST ? august : newer;
}

static void *kit_keep(void *memory)
{
	ck_assert_ptr_nonnull(memory);
	ck_assert_uint_lt(kit.n_kept, sizeof(kit.kept) / sizeof(kit.kept[0]));
	kit.kept[kit.n_kept++] = memory;
	return memory;
}

char *kit_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&text, fmt, ap), 0);
	va_end(ap);
	return kit_keep(text);
}

/* ---- the board --------------------------------------------------------------------------- */

static sqlite3 *kit_raw(void)
{
	sqlite3 *raw = NULL;

	ck_assert_int_eq(sqlite3_open(kit.path, &raw), SQLITE_OK);
	(void)sqlite3_busy_timeout(raw, 2000);
	(void)sqlite3_exec(raw, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
	return raw;
}

void kit_board(unsigned flags)
{
	sqlite3 *raw = kit_raw();

	rows_run(raw,
		 flags & KIT_WAL ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
	rows_run(raw, schema_board_sql);
	if (flags & KIT_LEGACY) {
		rows_run(raw, rows_first_release);
		rows_run(raw, sql_legacy);
	}
	if (((flags | kit.age) & (KIT_AUGUST | KIT_LEGACY)) == KIT_AUGUST)
		rows_run(raw, rows_august);
	if (flags & KIT_SCHEDULED)
		rows_run(raw, "ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER");
	ck_assert_int_eq(sqlite3_close(raw), SQLITE_OK);
}

struct db *kit_open(void)
{
	struct db_options opt = { .path = kit.path, .busy_timeout_ms = 50 };

	ck_assert_msg(db_open(&kit.db, &opt, &kit.e) == 0, "%s", kit.e.text);
	return kit.db;
}

void kit_close(void)
{
	kit.db = db_free(kit.db);
}

void kit_sql(const char *fmt, ...)
{
	sqlite3 *raw = kit_raw();
	va_list ap;

	va_start(ap, fmt);
	rows_vrun(raw, fmt, ap);
	va_end(ap);
	ck_assert_int_eq(sqlite3_close(raw), SQLITE_OK);
}

char *kit_list(const char *fmt, ...)
{
	sqlite3 *raw = kit_raw();
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = rows_vtext(raw, ',', fmt, ap);
	va_end(ap);
	ck_assert_int_eq(sqlite3_close(raw), SQLITE_OK);
	return kit_keep(text);
}

int64_t kit_int(const char *fmt, ...)
{
	sqlite3 *raw = kit_raw();
	va_list ap;
	int64_t n;

	va_start(ap, fmt);
	n = rows_vint(raw, fmt, ap);
	va_end(ap);
	ck_assert_int_eq(sqlite3_close(raw), SQLITE_OK);
	return n;
}

void kit_unindexed(const char *sql)
{
	sqlite3 *raw = kit_raw();

	rows_unindexed(raw, "idx_events_task", sql);
	ck_assert_int_eq(sqlite3_close(raw), SQLITE_OK);
}

size_t kit_count(const char *pattern)
{
	glob_t g;
	size_t n;

	if (glob(kit_printf("%s/%s", kit.dir, pattern), 0, NULL, &g) != 0)
		return 0;
	n = g.gl_pathc;
	globfree(&g);
	return n;
}

void kit_task(const char *id, const char *status, const char *set)
{
	kit_sql("INSERT INTO tasks (id, title, assignee, status, created_at)"
		" VALUES (%Q, 'title', 'jimmy', %Q, 1770000000)",
		id, status);
	if (set)
		kit_sql("UPDATE tasks SET %s WHERE id = %Q", set, id);
}

int64_t kit_run(const char *id, int64_t pid, const char *set, const char *set_run)
{
	const int64_t from = KIT_NOW - 900;
	int64_t run;

	kit_sql("INSERT INTO task_runs (task_id, profile, status, claim_lock, claim_expires,"
		" worker_pid, started_at) VALUES (%Q, 'jimmy', 'running', %Q, %lld,"
		" nullif(%lld, 0), %lld)",
		id, KIT_LOCK, KIT_NOW + 600, pid, from);
	run = kit_int("SELECT max(id) FROM task_runs");
	kit_sql("INSERT INTO tasks (id, title, assignee, status, created_at, started_at,"
		" claim_lock, claim_expires, worker_pid, current_run_id) VALUES (%Q, 'title',"
		" 'jimmy', 'running', 1770000000, %lld, %Q, %lld, nullif(%lld, 0), %lld);"
		"INSERT INTO task_events (task_id, run_id, kind, payload, created_at)"
		" VALUES (%Q, %lld, 'claimed', '{\"lock\": \"h:77\"}', %lld)",
		id, from, KIT_LOCK, KIT_NOW + 600, pid, run, id, run, from);
	if (set)
		kit_sql("UPDATE tasks SET %s WHERE id = %Q", set, id);
	if (set_run)
		kit_sql("UPDATE task_runs SET %s WHERE id = %lld", set_run, run);
	return run;
}

int64_t kit_ended(const char *id, const char *outcome, int64_t at, const char *metadata)
{
	kit_sql("INSERT INTO task_runs (task_id, profile, status, started_at, ended_at,"
		" outcome, metadata) VALUES (%Q, 'jimmy', %Q, %lld, %lld, %Q, %Q)",
		id, outcome, at - 60, at, outcome, metadata);
	return kit_int("SELECT max(id) FROM task_runs");
}

void kit_event(const char *id, const char *kind, const char *payload, int64_t at)
{
	kit_sql("INSERT INTO task_events (task_id, kind, payload, created_at)"
		" VALUES (%Q, %Q, %Q, %lld)",
		id, kind, payload, at);
}

char *kit_kinds(const char *id)
{
	return kit_list("SELECT kind FROM task_events WHERE task_id = %Q ORDER BY id", id);
}

void kit_claim_invariant(void)
{
	ck_list("",
		"SELECT id FROM tasks t WHERE current_run_id IS NOT NULL AND NOT EXISTS (SELECT"
		" 1 FROM task_runs r WHERE r.id = t.current_run_id AND r.ended_at IS NULL)");
	ck_list("", "SELECT r.id FROM task_runs r WHERE ended_at IS NULL AND NOT EXISTS (SELECT"
		    " 1 FROM tasks t WHERE t.current_run_id = r.id AND t.status = 'running')");
	ck_list("", "SELECT id FROM tasks WHERE status <> 'running' AND (claim_lock IS NOT NULL"
		    " OR claim_expires IS NOT NULL OR worker_pid IS NOT NULL)");
}

/* ---- a tick ------------------------------------------------------------------------------ */

void kit_plan(void)
{
	plan_deinit(&kit.plan);
	kit.e = (struct error)ERROR_NULL;
}

const struct tick *kit_ctx(void)
{
	static struct tick t;

	t = (struct tick){ kit.db, &kit.rq, &kit.plan, &kit.e };
	return &t;
}

int kit_tick(unsigned steps)
{
	kit_plan();
	kit.rq.steps = steps;
	return tick_run(kit.db, &kit.rq, &kit.plan, &kit.e);
}

char *kit_ids(const struct strings *list)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	ck_assert_ptr_nonnull(out);
	for (size_t i = 0; i < list->n; i++)
		(void)fprintf(out, "%s%s", i ? "," : "", list->v[i]);
	ck_assert_int_eq(fclose(out), 0);
	return kit_keep(text);
}

void kit_refuse(const char *table, const char *where)
{
	/* the key of such a row cannot be computed: integer overflow */
	kit_sql("CREATE INDEX no ON %s(abs(-9223372036854775807 - 1 + 0 * length(task_id))) "
		"WHERE %s",
		table, where);
}

void kit_allow(void)
{
	kit_sql("DROP INDEX no");
}
