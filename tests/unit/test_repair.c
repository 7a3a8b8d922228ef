/*
 * Repairing: a sound database written into the file of a damaged one while another process has
 * it open, a repair that is killed at any instant, gaps filled from a snapshot.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit/board.h"
#include "recovery/evidence.h"
#include "recovery/repair.h"

#define N_TASKS 60
#define PAGE    4096

static char *path_of(const char *name)
{
	return kit_printf("%s/%s", kit.dir, name);
}

static void copy(const char *from, const char *to)
{
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s'", from, to)), 0);
}

static bool same(const char *a, const char *b)
{
	return system(kit_printf("cmp -s '%s' '%s'", a, b)) == 0;
}

static void overwrite(int64_t page, size_t len, int byte)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);
	char buf[PAGE];

	memset(buf, byte, sizeof(buf));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(page, 0);
	ck_assert_int_eq(pwrite(fd, buf, len, (page - 1) * PAGE), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

static int64_t leaf_of(const char *table, int n)
{
	return kit_int("SELECT pageno FROM dbstat WHERE name=%Q AND pagetype='leaf' ORDER BY "
		       "path LIMIT 1 OFFSET %d",
		       table, n);
}

static void fill_board(unsigned flags)
{
	kit_board(flags);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(400)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<10)"
		" INSERT INTO task_events(task_id, kind, payload, created_at)"
		" SELECT id, 'note', hex(zeroblob(50)), created_at+i FROM tasks, n");
	kit_sql("DELETE FROM task_events WHERE id > 590"); /* the sequence is ahead of them */
	kit_sql("PRAGMA user_version=7");
	if (flags & KIT_WAL)
		kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
}

/* A sound copy without sidecars. */
static char *sound_copy(const char *name)
{
	char *to = path_of(name);

	kit_sql("VACUUM INTO %Q", to);
	return to;
}

static char *content(void)
{
	return kit_printf("%s/%s/%s", kit_list("SELECT * FROM tasks ORDER BY id"),
			  kit_list("SELECT * FROM task_events ORDER BY id"),
			  kit_list("SELECT name, seq FROM sqlite_sequence ORDER BY name"));
}

/* ---- another process ------------------------------------------------------------------- */

struct other {
	pid_t pid;
	int to, from;
};

/* Says a byte when it holds its connection; then, told a byte, counts and inserts. */
static void other_child(int in, int out)
{
	sqlite3 *db = NULL;
	char *why = NULL;
	char c = 'r';
	int rc;

	(void)alarm(30);
	if (sqlite3_open(kit.path, &db) != SQLITE_OK)
		_exit(1);
	(void)sqlite3_busy_timeout(db, 5000);
	/* whatever comes of it: the file may be damaged already */
	(void)sqlite3_exec(db, "SELECT count(*) FROM tasks", NULL, NULL, NULL);
	if (write(out, &c, 1) != 1 || read(in, &c, 1) != 1)
		_exit(2);
	rc = sqlite3_exec(db,
			  "CREATE TEMP TABLE t(n CHECK (n = 60));"
			  "INSERT INTO t SELECT count(*) FROM tasks;"
			  "INSERT INTO task_events(task_id, kind, created_at)"
			  " VALUES('t_00000001', 'other', 1770009999)",
			  NULL, NULL, &why);
	if (rc != SQLITE_OK)
		(void)fprintf(stderr, "the other process: %s\n", why);
	(void)sqlite3_close(db);
	_exit(rc == SQLITE_OK ? 0 : 3);
}

static struct other other_start(void)
{
	struct other o;
	int to[2], from[2];
	char c;

	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	o.pid = fork();
	ck_assert_int_ge(o.pid, 0);
	if (o.pid == 0)
		other_child(to[0], from[1]);
	(void)close(to[0]);
	(void)close(from[1]);
	o.to = to[1];
	o.from = from[0];
	ck_assert_int_eq(read(o.from, &c, 1), 1);
	return o;
}

static void other_end(struct other *o)
{
	int status;

	ck_assert_int_eq(write(o->to, "g", 1), 1);
	ck_assert_int_eq(waitpid(o->pid, &status, 0), o->pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(close(o->to), 0);
	ck_assert_int_eq(close(o->from), 0);
}

/* ---- writing back ---------------------------------------------------------------------- */

enum damage { NONE, HEADER, TRUNCATED, LEAF, EMPTY, N_DAMAGE };

static void damage(enum damage kind)
{
	struct stat st;

	switch (kind) {
	case HEADER:
		overwrite(1, 64, 0x17);
		break;
	case TRUNCATED:
		ck_assert_int_eq(stat(kit.path, &st), 0);
		ck_assert_int_eq(truncate(kit.path, st.st_size * 6 / 10), 0);
		break;
	case LEAF:
		overwrite(leaf_of("tasks", 4), PAGE, 0xA5);
		break;
	case EMPTY:
		ck_assert_int_eq(truncate(kit.path, 0), 0);
		break;
	default:
		break;
	}
}

static void write_back(unsigned flags, enum damage kind)
{
	char *source, *before;
	struct stat was, is;
	struct other o;
	int r;

	fill_board(flags);
	source = sound_copy("source.db");
	before = content();
	ck_assert_int_eq(stat(kit.path, &was), 0);
	damage(kind);
	o = other_start();
	r = repair_write_back(kit.path, source, NULL, &kit.e);
	ck_assert_msg(r == 0, "damage %d: %d %s", (int)kind, r, kit.e.text);
	ck_list("ok", "PRAGMA integrity_check");
	ck_assert_str_eq(content(), before);
	other_end(&o);
	ck_assert_int_eq(stat(kit.path, &is), 0);
	ck_assert_int_eq(was.st_ino, is.st_ino);
	ck_list("1", "SELECT count(*) FROM task_events WHERE kind='other' AND id=601");
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("7", "PRAGMA user_version");
	ck_list("4096", "PRAGMA page_size");
	/* where the header could be read it is as it was */
	ck_list(flags & KIT_WAL && kind != HEADER && kind != EMPTY ? "wal" : "delete",
		"PRAGMA journal_mode");
}

START_TEST(test_write_back_delete)
{
	write_back(0, (enum damage)_i);
}
END_TEST

START_TEST(test_write_back_wal)
{
	write_back(KIT_WAL, (enum damage)_i);
}
END_TEST

/* Another page size in the file than in what is written. */
START_TEST(test_write_back_page_size)
{
	char *source;

	fill_board(0);
	source = sound_copy("source.db");
	ck_assert_int_eq(unlink(kit.path), 0);
	kit_sql("PRAGMA page_size=1024; CREATE TABLE x(y); PRAGMA user_version=3");
	ck_assert_int_eq(repair_write_back(kit.path, source, NULL, &kit.e), 0);
	ck_list("4096|7", "SELECT * FROM pragma_page_size, pragma_user_version");
	ck_list("60", "SELECT count(*) FROM tasks");
	ck_list("ok", "PRAGMA integrity_check");
}
END_TEST

/* ---- busy ------------------------------------------------------------------------------ */

static void busy_child(int in, int out)
{
	sqlite3 *db = NULL;
	char c = 'r';

	(void)alarm(60);
	if (sqlite3_open(kit.path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK ||
	    write(out, &c, 1) != 1 || read(in, &c, 1) != 1)
		_exit(1);
	(void)sqlite3_close(db);
	_exit(0);
}

START_TEST(test_busy)
{
	struct health_good good = { 0 };
	struct repair_report rep;
	struct health_print print;
	char evidence[HEALTH_PATH_MAX];
	struct repair_options opt = { .db_path = kit.path,
				      .evidence = evidence,
				      .good = &good };
	struct other o;
	int to[2], from[2], status;
	char c, *before = path_of("before.db");

	fill_board(0);
	copy(kit.path, before);
	ck_assert_int_eq(evidence_keep(kit.path, 0, &print, evidence, &kit.e), 0);
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	o.pid = fork();
	if (o.pid == 0)
		busy_child(to[0], from[1]);
	ck_assert_int_eq(read(from[0], &c, 1), 1);
	ck_assert_int_eq(repair_run(&opt, &rep, &kit.e), REPAIR_BUSY);
	ck_assert(!rep.written);
	ck_assert_int_eq(repair_write_back(kit.path, before, NULL, &kit.e), REPAIR_BUSY);
	ck_assert_int_eq(write(to[1], "g", 1), 1);
	ck_assert_int_eq(waitpid(o.pid, &status, 0), o.pid);
	ck_assert_int_eq(status, 0);
	for (int i = 0; i < 2; i++) {
		(void)close(to[i]);
		(void)close(from[i]);
	}
	ck_assert(same(kit.path, before));
}
END_TEST

/* ---- killed ---------------------------------------------------------------------------- */

static int run(enum repair_policy policy, const char *snapshot, struct repair_report *rep)
{
	static struct health_good good;
	struct health_print print;
	char evidence[HEALTH_PATH_MAX];
	struct repair_options opt = {
		.db_path = kit.path, .evidence = evidence, .good = &good, .policy = policy
	};

	good = (struct health_good){ 0 };
	(void)snprintf(good.snapshot, sizeof(good.snapshot), "%s", snapshot ? snapshot : "");
	if (evidence_keep(kit.path, 0, &print, evidence, &kit.e) < 0)
		return -1;
	return repair_run(&opt, rep, &kit.e);
}

/* Rows without an index entry. */
static void desync(void)
{
	kit_unindexed("INSERT INTO task_events(task_id, kind, created_at)"
		      " SELECT id, 'unseen', created_at FROM tasks");
}

static int64_t now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

/* A repair in a child that is killed after @us microseconds, < 0: never. Return: its time. */
static int64_t killed_after(int64_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
	int64_t begin = now_us();
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct repair_report rep;

		_exit(run(REPAIR_SALVAGE, NULL, &rep) == 0 ? 0 : 1);
	}
	if (us >= 0) {
		(void)nanosleep(&ts, NULL); /* any instant will do */
		(void)kill(pid, SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	return now_us() - begin;
}

/* All of it is there, or it is as damaged as it was. */
static bool whole_or_damaged(const char *whole)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	bool ok = false;

	ck_assert_int_eq(sqlite3_open(kit.path, &db), SQLITE_OK); /* rolls a journal back */
	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		ok = strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	if (ok)
		ck_assert_str_eq(content(), whole);
	return ok;
}

static void kill_loop(void (*harm)(void))
{
	char *damaged = path_of("damaged.db"), *whole;
	int64_t takes;
	int n_whole = 0;

	harm();
	copy(kit.path, damaged);
	takes = killed_after(-1);
	whole = content(); /* what a repair that is left alone makes of it */
	srandom(1);
	for (int i = 0; i < 30; i++) {
		ck_assert_int_eq(system(kit_printf("rm -f '%s'-*", kit.path)), 0);
		copy(damaged, kit.path);
		(void)killed_after(random() % (takes + 1));
		if (whole_or_damaged(whole)) {
			n_whole++;
			continue;
		}
		/* simply repeated */
		(void)killed_after(-1);
		ck_assert(whole_or_damaged(whole));
	}
	ck_assert_int_lt(n_whole, 30); /* some kill came in time */
}

static void harm_header(void)
{
	fill_board(0);
	damage(HEADER);
}

static void harm_leaf(void)
{
	fill_board(0);
	damage(LEAF);
}

static void harm_leaf_wal(void)
{
	fill_board(KIT_WAL);
	damage(LEAF);
}

static void harm_index(void)
{
	fill_board(0);
	desync();
}

START_TEST(test_killed)
{
	static void (*const harms[])(void) = { harm_header, harm_leaf, harm_leaf_wal,
					       harm_index };

	kill_loop(harms[_i]);
}
END_TEST

/* ---- what it says and does ------------------------------------------------------------- */

static const struct repair_table *table_of(const struct repair_report *rep, const char *name)
{
	for (unsigned i = 0; i < rep->n_tables; i++)
		if (strcmp(rep->tables[i].name, name) == 0)
			return &rep->tables[i];
	ck_abort_msg("no word of %s", name);
	return NULL;
}

START_TEST(test_reindex)
{
	struct repair_report rep;

	fill_board(0);
	desync();
	ck_assert_int_eq(run(REPAIR_NEVER, NULL, &rep), REPAIR_IMPOSSIBLE);
	ck_assert_int_eq(run(REPAIR_LOSSLESS, NULL, &rep), 0);
	ck_assert_str_eq(rep.method, "reindex");
	ck_assert(rep.written);
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("60", "SELECT count(*) FROM task_events WHERE kind='unseen'");
}
END_TEST

START_TEST(test_would_lose)
{
	struct repair_report rep;
	char *before = path_of("before.db");
	int64_t page, lost;

	fill_board(0);
	page = leaf_of("tasks", 4);
	lost = kit_int("SELECT ncell FROM dbstat WHERE pageno=%lld", (long long)page);
	overwrite(page, PAGE, 0xA5);
	copy(kit.path, before);
	ck_assert_int_eq(run(REPAIR_LOSSLESS, NULL, &rep), REPAIR_WOULD_LOSE);
	ck_assert(!rep.written);
	ck_assert(same(kit.path, before));
	ck_assert_int_eq(table_of(&rep, "tasks")->saved, N_TASKS - lost);
	ck_assert_int_eq(table_of(&rep, "task_events")->lost, 0);
	ck_assert_int_ne(table_of(&rep, "tasks")->lost, 0);
	ck_assert_int_eq(run(REPAIR_SALVAGE, NULL, &rep), 0);
	ck_assert_int_eq(kit_int("SELECT count(*) FROM tasks"), N_TASKS - lost);
}
END_TEST

/* ---- gaps ------------------------------------------------------------------------------ */

START_TEST(test_fill)
{
	struct repair_report rep;
	char *snapshot;
	int64_t page, on_page;

	fill_board(0);
	snapshot = sound_copy("snapshot.db");
	/* deleted on purpose, on a page that stays whole */
	kit_sql("DELETE FROM tasks WHERE id='t_00000002'");
	page = leaf_of("tasks", 4);
	on_page = kit_int("SELECT ncell FROM dbstat WHERE pageno=%lld", (long long)page);
	overwrite(page, PAGE, 0xA5);
	ck_assert_int_eq(run(REPAIR_LOSSLESS, snapshot, &rep), 0);
	ck_assert_str_eq(rep.method, "rebuild");
	ck_assert_int_eq(table_of(&rep, "tasks")->filled, on_page);
	ck_assert_int_eq(table_of(&rep, "tasks")->saved, N_TASKS - 1);
	ck_assert_int_eq(table_of(&rep, "tasks")->lost, 0);
	ck_list("59", "SELECT count(*) FROM tasks");
	ck_list("0", "SELECT count(*) FROM tasks WHERE id='t_00000002'");
	ck_list("ok", "PRAGMA integrity_check");
}
END_TEST

/* What the snapshot has of a task is older than what was lost: its events say so. */
START_TEST(test_fill_stale)
{
	struct repair_report rep;
	char *snapshot, *before = path_of("before.db");
	int64_t page, first;

	fill_board(0);
	snapshot = sound_copy("snapshot.db");
	page = leaf_of("tasks", 4);
	first = kit_int("SELECT sum(ncell)+1 FROM (SELECT ncell FROM dbstat WHERE name='tasks' "
			"AND pagetype='leaf' ORDER BY path LIMIT 4)");
	kit_sql("UPDATE tasks SET title='new title' WHERE rowid=%lld", (long long)first);
	kit_sql("INSERT INTO task_events(task_id, kind, created_at) SELECT id, 'edited',"
		" 1770001111 FROM tasks WHERE rowid=%lld",
		(long long)first);
	overwrite(page, PAGE, 0xA5);
	copy(kit.path, before);
	ck_assert_int_eq(run(REPAIR_LOSSLESS, snapshot, &rep), REPAIR_WOULD_LOSE);
	ck_assert_int_ne(table_of(&rep, "tasks")->lost, 0);
	ck_assert(same(kit.path, before));
}
END_TEST

/* Tables of a later release refer to others, and the one that refers comes first by name: rows
 * are saved and filled in whatever their order is, and those that refer to a lost one stay. */
START_TEST(test_foreign_keys)
{
	struct repair_report rep;
	char *snapshot;

	fill_board(0);
	kit_sql("CREATE TABLE a_steps (recipe TEXT NOT NULL REFERENCES recipes(id) ON DELETE"
		" CASCADE, n INTEGER NOT NULL, task TEXT NOT NULL REFERENCES tasks(id),"
		" PRIMARY KEY (recipe, n));"
		"CREATE TABLE recipes (id TEXT PRIMARY KEY, name TEXT NOT NULL);"
		"INSERT INTO recipes SELECT 'r' || rowid, hex(zeroblob(300)) FROM tasks;"
		"INSERT INTO a_steps SELECT 'r' || rowid, rowid, id FROM tasks");
	snapshot = sound_copy("snapshot.db");
	overwrite(leaf_of("tasks", 4), PAGE, 0xA5);
	ck_assert_int_eq(run(REPAIR_LOSSLESS, snapshot, &rep), 0);
	ck_list("60|60|60",
		"SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM recipes),"
		" (SELECT count(*) FROM a_steps)");
	ck_list("", "PRAGMA foreign_key_check");
	overwrite(leaf_of("recipes", 2), PAGE, 0xA5);
	ck_assert_int_eq(run(REPAIR_SALVAGE, NULL, &rep), 0);
	ck_assert_int_gt(table_of(&rep, "recipes")->lost, 0);
	ck_list("60|60", "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM a_steps)");
	ck_list("ok", "PRAGMA integrity_check");
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("repair");
	const TTest *const tests[] = { test_write_back_page_size, test_busy, test_reindex,
				       test_would_lose,           test_fill, test_fill_stale,
				       test_foreign_keys };
	TCase *tcase = kit_tcase(suite, "repair", tests, sizeof(tests) / sizeof(tests[0]));

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, test_write_back_delete, 0, N_DAMAGE);
	tcase_add_loop_test(tcase, test_write_back_wal, 0, N_DAMAGE);
	tcase_add_loop_test(tcase, test_killed, 0, 4);
	return suite;
}
