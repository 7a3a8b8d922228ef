/*
 * Promotion. Random boards compare what promote_find() and promote_run() do with a model
 * written down here: from 500 waiting tasks on by striking out, below by asking each, and after
 * changes only what events name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/board.h"
#include "tick/promote.h"

#define MAX_TASKS 700
#define MAX_LINKS 1500

static const char *const statuses[] = { "todo",    "done",   "archived", "ready",    "running",
					"blocked", "review", "triage",   "scheduled" };

enum { TODO, DONE, ARCHIVED, BLOCKED = 5, N_STATUSES = 9 };

/* A board as the model knows it. */
static struct model {
	int n, n_links;
	int status[MAX_TASKS];
	bool sticky[MAX_TASKS]; /* newest of its blocked/unblocked events is blocked */
	int failures[MAX_TASKS], retries[MAX_TASKS]; /* retries -1: NULL */
	int parent[MAX_LINKS], child[MAX_LINKS];     /* ≥ n: no such task */
} m;

static uint64_t seed;

static int dice(int sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (int)((seed >> 33) % (uint64_t)sides);
}

static void exec(const char *sql)
{
	char *why = NULL;

	ck_assert_msg(sqlite3_exec(db_handle(kit.db), sql, NULL, NULL, &why) == SQLITE_OK,
		      "%s: %s", why, sql);
}

static void put(const char *sql, int a, const char *text, int b, int c)
{
	sqlite3_stmt *s = NULL;
	char id[16];

	ck_assert_int_eq(db_prepare(kit.db, sql, &s, &kit.e), 0);
	(void)snprintf(id, sizeof(id), "t_%d", a);
	(void)sqlite3_bind_text(s, 1, id, -1, SQLITE_TRANSIENT);
	(void)sqlite3_bind_text(s, 2, text, -1, SQLITE_TRANSIENT);
	(void)sqlite3_bind_int(s, 3, b);
	if (c >= 0)
		(void)sqlite3_bind_int(s, 4, c);
	ck_assert_int_eq(db_step(kit.db, s, &kit.e), 0);
}

static const char sql_put_task[] =
	"INSERT INTO tasks (id, title, status, created_at, consecutive_failures, max_retries)"
	" VALUES (?1, 'x', ?2, 1, ?3, ?4)";
static const char sql_put_event[] =
	"INSERT INTO task_events (task_id, kind, created_at) VALUES (?1, ?2, ?3)";
static const char sql_put_link[] =
	"INSERT OR IGNORE INTO task_links (child_id, parent_id) VALUES (?1, ?2)";

static void put_event(int task, const char *kind)
{
	put(sql_put_event, task, kind, 1, -1);
}

static void random_board(int n, int todo_of_ten, int links)
{
	exec("BEGIN; DELETE FROM tasks; DELETE FROM task_links; DELETE FROM task_events");
	m.n = n;
	m.n_links = links;
	for (int i = 0; i < n; i++) {
		int kind = dice(4);

		m.status[i] = dice(10) < todo_of_ten ? TODO : dice(N_STATUSES);
		m.failures[i] = dice(4);
		m.retries[i] = dice(3) ? -1 : dice(5);
		m.sticky[i] = kind == 1;
		put(sql_put_task, i, statuses[m.status[i]], m.failures[i], m.retries[i]);
		if (kind > 0 && dice(2))
			put_event(i, kind == 1 ? "unblocked" : "blocked");
		if (kind == 1)
			put_event(i, "blocked");
		else if (kind > 1)
			put_event(i, "unblocked");
		if (dice(3) == 0)
			put_event(i, "commented");
	}
	for (int i = 0; i < links; i++) {
		char parent[16];

		m.parent[i] = dice(n + n / 10 + 1); /* some do not exist */
		m.child[i] = dice(n);               /* cycles and self-links as they come */
		(void)snprintf(parent, sizeof(parent), "t_%d", m.parent[i]);
		put(sql_put_link, m.child[i], parent, 0, -1);
	}
	exec("COMMIT");
}

/* What the board contract says, §6.8. */
static bool model_promotes(int i)
{
	const int limit = m.retries[i] >= 0 ? m.retries[i] : (int)kit.set.failure_limit;

	if (m.status[i] != TODO &&
	    !(m.status[i] == BLOCKED && !m.sticky[i] && m.failures[i] < limit))
		return false;
	for (int k = 0; k < m.n_links; k++)
		if (m.child[k] == i && m.parent[k] < m.n && m.status[m.parent[k]] != DONE &&
		    m.status[m.parent[k]] != ARCHIVED)
			return false;
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *sorted(struct strings *ids)
{
	if (ids->n)
		qsort(ids->v, ids->n, sizeof(ids->v[0]), by_text);
	return kit_ids(ids);
}

static char *expected(void)
{
	struct strings ids = { 0 };
	struct plan carrier = { 0 };
	char id[16], *text;

	for (int i = 0; i < m.n; i++)
		if (model_promotes(i)) {
			(void)snprintf(id, sizeof(id), "t_%d", i);
			plan_id(&carrier, &ids, id);
		}
	text = sorted(&ids);
	strings_free(&ids);
	return text;
}

static char *found(int64_t after)
{
	struct strings ids = { 0 };
	char *text;

	kit.rq.promote_after = after;
	ck_assert_msg(promote_find(kit_ctx(), &ids) == 0, "%s", kit.e.text);
	text = sorted(&ids);
	strings_free(&ids);
	return text;
}

static void fast_board(void)
{
	kit_board(0);
	kit_open();
	exec("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY");
}

START_TEST(striking_out_is_exact)
{
	fast_board();
	for (seed = 1; seed <= 40; seed++) {
		uint64_t start = seed;

		kit.set.failure_limit = 1 + (int64_t)(seed % 3);
		random_board(620 + dice(80), 9, dice(MAX_LINKS));
		ck_assert_int_ge(kit_int("SELECT count(*) FROM tasks WHERE status = 'todo'"),
				 500);
		ck_assert_msg(strcmp(found(0), expected()) == 0, "seed %llu",
			      (unsigned long long)start);
		seed = start;
	}
}
END_TEST

START_TEST(asking_each_is_exact)
{
	fast_board();
	for (seed = 1; seed <= 150; seed++) {
		uint64_t start = seed;

		random_board(1 + dice(60), 4, dice(120));
		ck_assert_msg(strcmp(found(0), expected()) == 0, "seed %llu",
			      (unsigned long long)start);
		seed = start;
	}
}
END_TEST

/* After one complete promotion, every change that leaves an event is found by that event. */
START_TEST(incremental_is_complete)
{
	fast_board();
	for (seed = 1; seed <= 100; seed++) {
		uint64_t start = seed;
		struct strings ids = { 0 };
		int64_t after;

		random_board(seed % 10 ? 1 + dice(80) : 620, seed % 10 ? 5 : 9,
			     seed % 10 ? dice(160) : 900);
		kit.rq.promote_after = 0;
		kit_plan();
		ck_assert_int_eq(promote_find(kit_ctx(), &ids), 0);
		exec("BEGIN");
		ck_assert_int_eq(promote_run(kit_ctx(), &ids), 0);
		exec("COMMIT");
		ck_assert_int_eq(kit.plan.promoted, (int64_t)ids.n);
		strings_free(&ids);
		ck_assert_str_eq(found(0), "");
		after = kit_int("SELECT max(id) FROM task_events");
		exec("BEGIN");
		for (int i = 0; i < 12; i++) {
			int t = dice(m.n);
			char sql[200];

			(void)snprintf(sql, sizeof(sql),
				       "UPDATE tasks SET status = '%s', consecutive_failures ="
				       " %d WHERE id = 't_%d'",
				       statuses[dice(N_STATUSES)], dice(3), t);
			exec(sql);
			put_event(t, dice(2) ? "unblocked" : "status");
		}
		exec("COMMIT");
		ck_assert_msg(strcmp(found(after), found(0)) == 0, "seed %llu",
			      (unsigned long long)start);
		seed = start;
	}
}
END_TEST

/* ---- single rules -------------------------------------------------------------------- */

static int64_t promote(void)
{
	ck_assert_msg(kit_tick(TICK_PROMOTE) == 0, "%s", kit.e.text);
	return kit.plan.promoted;
}

START_TEST(parents)
{
	kit_board(0);
	kit_task("free", "todo", NULL);
	kit_task("p_done", "done", NULL);
	kit_task("p_archived", "archived", NULL);
	kit_task("p_running", "running", NULL);
	kit_task("c_ok", "todo", NULL);
	kit_task("c_waits", "todo", NULL);
	kit_task("c_lost", "todo", NULL);
	kit_task("itself", "todo", NULL);
	kit_sql("INSERT INTO task_links (parent_id, child_id) VALUES ('p_done', 'c_ok'),"
		" ('p_archived', 'c_ok'), ('p_done', 'c_waits'), ('p_running', 'c_waits'),"
		" ('no_such', 'c_lost'), ('itself', 'itself')");
	kit_open();
	ck_assert_int_eq(promote(), 3);
	ck_list("c_lost,c_ok,free", "SELECT id FROM tasks WHERE status = 'ready' ORDER BY id");
	ck_list("c_lost|promoted|-|-|1780000000,c_ok|promoted|-|-|1780000000,"
		"free|promoted|-|-|1780000000",
		"SELECT task_id, kind, payload, run_id, created_at FROM task_events ORDER BY "
		"1");
	ck_assert_int_eq(promote(), 0);
	kit_sql("UPDATE tasks SET status = 'done' WHERE id = 'p_running'");
	ck_assert_int_eq(promote(), 1);
}
END_TEST

START_TEST(blocked_ones)
{
	kit_board(0);
	kit_task("plain", "blocked", NULL);
	kit_task("sticky", "blocked", NULL);
	kit_task("undone", "blocked", NULL);
	kit_task("at_limit", "blocked", "consecutive_failures = 2");
	kit_task("own_limit", "blocked", "consecutive_failures = 2, max_retries = 3");
	kit_task("no_retries", "blocked", "max_retries = 0");
	kit_event("sticky", "unblocked", NULL, KIT_NOW + 50); /* the id decides, not the time */
	kit_event("sticky", "blocked", "{}", KIT_NOW);
	kit_event("undone", "blocked", "{}", KIT_NOW);
	kit_event("undone", "unblocked", "{}", KIT_NOW - 50);
	kit_event("undone", "gave_up", "{}", KIT_NOW);
	kit_open();
	ck_assert_int_eq(promote(), 3);
	ck_list("own_limit,plain,undone",
		"SELECT id FROM tasks WHERE status = 'ready' ORDER BY id");
}
END_TEST

START_TEST(legacy_board)
{
	kit_board(KIT_LEGACY);
	kit_task("a", "todo", NULL);
	kit_task("b", "blocked", "spawn_failures = 2");
	kit_task("c", "blocked", "spawn_failures = 1");
	kit_open();
	ck_assert_int_eq(promote(), 2);
	ck_list("a,c", "SELECT id FROM tasks WHERE status = 'ready' ORDER BY id");
}
END_TEST

/* What promote_find() saw may have changed by the time the writer lock is ours. */
START_TEST(checked_again_inside_the_transaction)
{
	struct strings ids = { 0 };

	kit_board(0);
	kit_task("a", "todo", NULL);
	kit_task("b", "todo", NULL);
	kit_task("c", "todo", NULL);
	kit_open();
	ck_assert_int_eq(promote_find(kit_ctx(), &ids), 0);
	ck_assert_uint_eq(ids.n, 3);
	kit_sql("UPDATE tasks SET status = 'running' WHERE id = 'a';"
		"DELETE FROM tasks WHERE id = 'b';"
		"INSERT INTO tasks (id, title, status, created_at) VALUES ('p', 'x', 'odd', 1);"
		"INSERT INTO task_links (parent_id, child_id) VALUES ('p', 'c')");
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(promote_run(kit_ctx(), &ids), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
	strings_free(&ids);
	ck_assert_int_eq(kit.plan.promoted, 0);
	ck_list("", "SELECT id FROM task_events");
}
END_TEST

/* Rows nobody writes: they must not stop the others, with few tasks and with many. */
START_TEST(hostile_rows)
{
	for (int many = 0; many < 2; many++) {
		(void)remove(kit.path);
		kit_board(0);
		if (many)
			kit_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
				" WHERE i < 600) INSERT INTO tasks (id, title, status,"
				" created_at) SELECT 'n' || i, 'x', 'todo', 1 FROM n;"
				"INSERT INTO task_links (parent_id, child_id)"
				" SELECT id, id FROM tasks");
		kit_sql("INSERT INTO tasks (id, title, status, created_at) VALUES"
			" (NULL, 'x', 'todo', 1), (NULL, 'x', 'todo', 1), ('', 'x', 'todo', 1),"
			" (hex(zeroblob(100000)), 'x', 'todo', 'never'),"
			" (CAST(x'FF80C3' AS TEXT), 'x', 'todo', -5), ('odd', 'x', 'odd', 1),"
			" ('child', 'x', 'todo', 1), ('good', 'x', 'todo', 1);"
			"INSERT INTO task_links VALUES ('odd', 'child'), ('', 'nobody'),"
			" (x'00FF', 'good')");
		kit_open();
		ck_assert_int_eq(promote(), 4);
		ck_list("good|ready,child|todo",
			"SELECT id, status FROM tasks WHERE id IN ('good', 'child') ORDER BY 1"
			" DESC");
		kit_close();
	}
}
END_TEST

START_TEST(lease_lost_writes_nothing)
{
	kit_board(0);
	kit_task("a", "todo", NULL);
	kit_open();
	kit.owner_left = 1; /* yes at the start, no before the commit */
	ck_assert_int_ne(kit_tick(TICK_PROMOTE), 0);
	ck_assert(kit.plan.lease_lost);
	ck_list("todo", "SELECT status FROM tasks");
	ck_list("", "SELECT id FROM task_events");
	kit.owner_left = -1;
	ck_assert_int_eq(promote(), 1);
}
END_TEST

/* Back to the lane that it came from, as the newest of the events that tell says. */
START_TEST(back_to_review)
{
	static const struct {
		const char *kind, *payload, *status;
	} cases[] = {
		{ "dependency_wait", "{\"source_status\": \"review\"}", "review" },
		{ "crashed", "{\"retry_status\": \"review\"}", "review" },
		{ "blocked", "{\"resume_status\": \"review\"}", "blocked" },
		{ "unblocked", "{\"resume_status\": \"review\"}", "review" },
		{ "timed_out", "{\"retry_status\": \"ready\"}", "ready" },
		{ "commented", "{\"retry_status\": \"review\"}", "ready" },
		{ "status", "no JSON", "ready" },
	};

	kit_board(0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *id = kit_printf("t%zu", i);

		kit_task(id, i == 2 ? "blocked" : "todo", NULL);
		kit_event(id, cases[i].kind, cases[i].payload, KIT_NOW);
	}
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(kit_list("SELECT status FROM tasks WHERE id = 't%d'", (int)i),
				 cases[i].status);
	ck_list("{\"status\": \"review\"}", "SELECT DISTINCT payload FROM task_events WHERE "
					    "kind = 'promoted' AND task_id IN"
					    " ('t0', 't1', 't3')");
	ck_list("-",
		"SELECT payload FROM task_events WHERE kind = 'promoted' AND task_id = 't4'");
}
END_TEST

/* Held until somebody unblocks it, whatever its count is. In August a card that was born
 * blocked started at once. */
START_TEST(sticky)
{
	kit_board(0);
	kit_task("gave_up", "blocked", NULL);
	kit_event("gave_up", "gave_up", "{\"sticky\": true}", KIT_NOW);
	kit_task("lifted", "blocked", NULL);
	kit_event("lifted", "gave_up", "{\"sticky\": true}", KIT_NOW);
	kit_event("lifted", "unblocked", NULL, KIT_NOW);
	kit_task("plain", "blocked", NULL);
	kit_event("plain", "gave_up", "{\"failures\": 1}", KIT_NOW);
	kit_task("broken", "blocked", NULL);
	kit_event("broken", "gave_up", "{\"sticky\": tru", KIT_NOW);
	kit_task("born", "blocked", NULL);
	kit_event("born", "created", "{\"status\": \"blocked\"}", KIT_NOW);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	ck_list("gave_up|blocked,lifted|ready,plain|ready,broken|ready",
		"SELECT id, status FROM tasks WHERE id <> 'born' ORDER BY rowid");
	ck_list(kit_by_age("blocked", "ready"), "SELECT status FROM tasks WHERE id = 'born'");
}
END_TEST

KIT_SUITE_AGES("promote",
	       KIT_TESTS(back_to_review, sticky, striking_out_is_exact, asking_each_is_exact,
			 incremental_is_complete, parents, blocked_ones,
			 checked_again_inside_the_transaction, hostile_rows,
			 lease_lost_writes_nothing),
	       KIT_TESTS(legacy_board))
