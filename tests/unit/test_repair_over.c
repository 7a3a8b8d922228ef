/*
 * What a repair must leave as it was: commits that others make while it runs, the settings of
 * the database, and boards that are sound after all.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/board.h"
#include "recovery/evidence.h"
#include "recovery/repair.h"
#include "recovery/snapshot.h"

#define N_TASKS 60

static char *path_of(const char *name)
{
	return kit_printf("%s/%s", kit.dir, name);
}

static void fill_board(void)
{
	kit_sql("WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)"
		" INSERT INTO tasks(id, title, body, status, created_at)"
		" SELECT printf('t_%%08x', i), 'title ' || i, hex(zeroblob(3000)), 'done',"
		" 1770000000+i FROM n",
		N_TASKS);
	kit_sql("INSERT INTO task_events(task_id, kind, payload, created_at)"
		" SELECT id, 'note', hex(zeroblob(50)), created_at FROM tasks");
	kit_sql("DELETE FROM task_events WHERE id > 50"); /* the sequence is ahead of them */
}

/* The path of a page in the middle of the tasks. */
static int64_t leaf(void)
{
	return kit_int("SELECT pageno FROM dbstat WHERE name='tasks' AND pagetype='leaf'"
		       " ORDER BY path LIMIT 1 OFFSET 3");
}

static void break_leaf(void)
{
	int64_t page = leaf(), size = kit_int("PRAGMA page_size");
	char *junk = calloc(1, (size_t)size);
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_ptr_nonnull(junk);
	memset(junk, 0xA5, (size_t)size);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, junk, (size_t)size, (page - 1) * size), size);
	ck_assert_int_eq(close(fd), 0);
	free(junk);
}

static void break_header(void)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, "no SQLite at all", 16, 0), 16);
	ck_assert_int_eq(close(fd), 0);
}

static char *keep(void)
{
	struct health_print print;
	char path[HEALTH_PATH_MAX];

	ck_assert_msg(evidence_keep(kit.path, 0, &print, path, &kit.e) == 0, "%s", kit.e.text);
	return kit_printf("%s", path);
}

static char *sound_copy(void)
{
	char *to = path_of("source.db");

	kit_sql("VACUUM INTO %Q", to);
	return to;
}

/* A connection that stays open, as another process has it. */
static sqlite3 *connected(void)
{
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(kit.path, &db), SQLITE_OK);
	(void)sqlite3_exec(db, "SELECT count(*) FROM tasks", NULL, NULL, NULL);
	return db;
}

static int commit_by(sqlite3 *db, const char *id)
{
	char *sql = sqlite3_mprintf("INSERT INTO task_events(task_id, kind, created_at)"
				    " VALUES(%Q, 'late', 1770009999)",
				    id);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	sqlite3_free(sql);
	return rc;
}

/* ---- commits of others --------------------------------------------------------------- */

static void changed_since(unsigned flags)
{
	char *source, *evidence;
	sqlite3 *other;

	kit_board(flags);
	fill_board();
	source = sound_copy();
	other = connected();
	evidence = keep();
	ck_assert_int_eq(commit_by(other, "t_late"), SQLITE_OK);
	ck_assert_int_eq(repair_write_back(kit.path, source, evidence, &kit.e), REPAIR_BUSY);
	ck_list("1", "SELECT count(*) FROM task_events WHERE kind='late'");
	ck_assert_int_eq(commit_by(other, "t_later"), SQLITE_OK); /* the lock is given back */
	evidence = keep();
	ck_assert_msg(repair_write_back(kit.path, source, evidence, &kit.e) == 0, "%s",
		      kit.e.text);
	ck_list("0", "SELECT count(*) FROM task_events WHERE kind='late'");
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
}

START_TEST(test_changed_since_delete)
{
	changed_since(0);
}
END_TEST

/* There the commit is in the WAL alone: the file has not changed. */
START_TEST(test_changed_since_wal)
{
	changed_since(KIT_WAL);
}
END_TEST

/* No file when it was looked at, and one when it is written. */
START_TEST(test_made_meanwhile)
{
	char *source, *nothing = path_of("nothing");

	kit_board(0);
	fill_board();
	source = sound_copy();
	ck_assert_int_eq(unlink(kit.path), 0);
	ck_assert_int_eq(repair_write_back(kit.path, source, nothing, &kit.e), 0);
	ck_list("60", "SELECT count(*) FROM tasks");
	ck_assert_int_eq(repair_write_back(kit.path, source, nothing, &kit.e), REPAIR_BUSY);
}
END_TEST

/* A header that cannot be read is compared, too. */
START_TEST(test_changed_header)
{
	char *source, *evidence, *before = path_of("before.db");
	int fd;

	kit_board(0);
	fill_board();
	source = sound_copy();
	break_header();
	evidence = keep();
	fd = open(kit.path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "X", 1, 90), 1);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s'", kit.path, before)), 0);
	ck_assert_int_eq(repair_write_back(kit.path, source, evidence, &kit.e), REPAIR_BUSY);
	ck_assert_int_eq(system(kit_printf("cmp '%s' '%s'", kit.path, before)), 0);
	ck_assert_int_eq(repair_write_back(kit.path, source, keep(), &kit.e), 0);
	ck_list("60", "SELECT count(*) FROM tasks");
}
END_TEST

static sqlite3 *in_between; /* commits once while the repair is at it */

static void on_progress(void *arg, int64_t done, int64_t total)
{
	sqlite3 *db = in_between;

	(void)arg, (void)done, (void)total;
	in_between = NULL;
	if (db)
		ck_assert_int_eq(commit_by(db, "t_between"), SQLITE_OK);
}

static int run(char *evidence, struct repair_report *rep)
{
	static struct health_good good;
	struct repair_options opt = { .db_path = kit.path,
				      .evidence = evidence,
				      .good = &good,
				      .policy = REPAIR_SALVAGE,
				      .progress = on_progress };

	return repair_run(&opt, rep, &kit.e);
}

static void commit_in_between(unsigned flags)
{
	struct repair_report rep;
	sqlite3 *other;

	kit_board(flags);
	fill_board();
	if (flags & KIT_WAL)
		kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
	break_leaf();
	other = in_between = connected();
	ck_assert_int_eq(run(keep(), &rep), REPAIR_BUSY);
	ck_assert_ptr_null(in_between);
	ck_assert(!rep.written);
	ck_list("1", "SELECT count(*) FROM task_events WHERE kind='late'");
	ck_assert_msg(run(keep(), &rep) == 0, "%s", kit.e.text);
	ck_list("ok", "PRAGMA integrity_check");
	ck_list("t_between", "SELECT task_id FROM task_events WHERE kind='late'");
	/* and what it commits afterwards is in the repaired file */
	ck_assert_int_eq(commit_by(other, "t_after"), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
	ck_list("t_between,t_after", "SELECT task_id FROM task_events WHERE kind='late'");
	ck_list("ok", "PRAGMA integrity_check");
}

START_TEST(test_commit_during_repair_delete)
{
	commit_in_between(0);
}
END_TEST

START_TEST(test_commit_during_repair_wal)
{
	commit_in_between(KIT_WAL);
}
END_TEST

/* A restore keeps what it replaces, up to the last commit, and open connections go on. */
static void restored_under(unsigned flags)
{
	struct health_good found;
	sqlite3 *other;
	char *source, *wal;

	kit_board(flags);
	fill_board();
	source = sound_copy();
	kit_sql("DELETE FROM tasks WHERE rowid > 10");
	other = connected();
	ck_assert_int_eq(commit_by(other, "t_before"), SQLITE_OK);
	ck_assert_msg(candidates_restore(kit.path, source, 0, &found, &kit.e) == 0, "%s",
		      kit.e.text);
	ck_assert_int_eq(found.tasks, N_TASKS);
	ck_assert_int_eq(commit_by(other, "t_after"), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
	ck_list("60", "SELECT count(*) FROM tasks");
	ck_list("t_after", "SELECT task_id FROM task_events WHERE kind='late'");
	ck_list("ok", "PRAGMA integrity_check");
	ck_list(flags & KIT_WAL ? "wal" : "delete", "PRAGMA journal_mode");
	/* and back again */
	wal = kit_printf("ls '%s'/kanban.db.corrupt.*.bak | wc -l", kit.dir);
	ck_assert_int_eq(system(kit_printf("test \"$(%s)\" = 1", wal)), 0);
	ck_assert_int_eq(system(kit_printf("mv '%s'/kanban.db.corrupt.*.bak '%s'", kit.dir,
					   path_of("undo.db"))),
			 0);
	if (flags & KIT_WAL)
		ck_assert_int_eq(system(kit_printf("mv '%s'/kanban.db.corrupt.*.bak-wal "
						   "'%s-wal'",
						   kit.dir, path_of("undo.db"))),
				 0);
	ck_assert_msg(candidates_restore(kit.path, path_of("undo.db"), 0, &found, &kit.e) == 0,
		      "%s", kit.e.text);
	ck_assert_int_eq(found.tasks, 10);
	ck_list("t_before", "SELECT task_id FROM task_events WHERE kind='late'");
}

START_TEST(test_restored_under_delete)
{
	restored_under(0);
}
END_TEST

START_TEST(test_restored_under_wal)
{
	restored_under(KIT_WAL);
}
END_TEST

/* ---- sound after all ----------------------------------------------------------------- */

START_TEST(test_sound_after_all)
{
	static struct health_good good;
	struct repair_report rep;
	struct repair_options opt = { .db_path = kit.path,
				      .good = &good,
				      .policy = REPAIR_NEVER };
	char *before = path_of("before.db");

	kit_board(0);
	fill_board();
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s'", kit.path, before)), 0);
	ck_assert_int_eq(run(keep(), &rep), 0);
	ck_assert_str_eq(rep.method, "check");
	ck_assert(!rep.written);
	ck_assert_int_eq(system(kit_printf("cmp '%s' '%s'", kit.path, before)), 0);
	/* also where nothing may be repaired */
	opt.evidence = keep();
	ck_assert_int_eq(repair_run(&opt, &rep, &kit.e), 0);
	ck_assert_str_eq(rep.method, "check");
	kit_sql("CREATE TABLE extra(x)");
	break_leaf();
	opt.evidence = keep();
	ck_assert_int_eq(repair_run(&opt, &rep, &kit.e), REPAIR_IMPOSSIBLE);
}
END_TEST

/* What a killed repair left is gone after the next one, and in nobody's way. */
START_TEST(test_left_over)
{
	struct repair_report rep;

	kit_board(0);
	fill_board();
	break_leaf();
	ck_assert_int_eq(system(kit_printf("for i in '' -journal -wal -shm; do"
					   " echo junk > '%s/.kanban.db.repair'$i; done",
					   kit.dir)),
			 0);
	ck_assert_msg(run(keep(), &rep) == 0, "%s", kit.e.text);
	ck_list("ok", "PRAGMA integrity_check");
	ck_assert_int_ne(system(kit_printf("ls '%s'/.kanban.db.repair* 2>/dev/null", kit.dir)),
			 0);
}
END_TEST

/* Fewer events than were seen before: a loss that no page shows. */
START_TEST(test_compared_with_good)
{
	static struct health_good good;
	struct repair_report rep;
	char *before = path_of("before.db"), *evidence;
	struct repair_options opt = { .db_path = kit.path, .good = &good };

	kit_board(0);
	fill_board();
	break_header();
	ck_assert_int_eq(system(kit_printf("cp '%s' '%s'", kit.path, before)), 0);
	opt.evidence = evidence = keep();
	good = (struct health_good){ .event_seq = 1000, .tasks = N_TASKS };
	ck_assert_int_eq(repair_run(&opt, &rep, &kit.e), REPAIR_WOULD_LOSE);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "number 1000 was seen before"));
	ck_assert_int_eq(system(kit_printf("cmp '%s' '%s'", kit.path, before)), 0);
	opt.policy = REPAIR_SALVAGE;
	ck_assert_msg(repair_run(&opt, &rep, &kit.e) == 0, "%s", kit.e.text);
	ck_list("60", "SELECT count(*) FROM tasks");
	/* no number is given twice */
	kit_sql("INSERT INTO task_events(task_id, kind, created_at) VALUES('a', 'b', 1)");
	ck_list("1001", "SELECT max(id) FROM task_events");
	/* and what is as it was is repaired without a question */
	break_header();
	good.event_seq = 1001;
	opt.policy = REPAIR_LOSSLESS;
	opt.evidence = keep();
	ck_assert_msg(repair_run(&opt, &rep, &kit.e) == 0, "%s", kit.e.text);
}
END_TEST

/* ---- settings of the database -------------------------------------------------------- */

static const struct setting {
	const char *name, *pragmas;
	unsigned flags;
} settings[] = {
	{ "delete", "", 0 },
	{ "wal", "", KIT_WAL },
	{ "page_size 1024", "PRAGMA page_size=1024;", 0 },
	{ "page_size 16384, wal", "PRAGMA page_size=16384;", KIT_WAL },
	{ "page_size 65536", "PRAGMA page_size=65536;", 0 },
	{ "auto_vacuum full", "PRAGMA auto_vacuum=FULL;", 0 },
	{ "auto_vacuum incremental", "PRAGMA auto_vacuum=INCREMENTAL;", KIT_WAL },
	{ "UTF-16le", "PRAGMA encoding='UTF-16le';", 0 },
	{ "UTF-16be", "PRAGMA encoding='UTF-16be';", 0 },
};
#define N_SETTINGS ((int)(sizeof(settings) / sizeof(settings[0])))

static const char *const pragmas[] = { "journal_mode", "page_size",    "auto_vacuum",
				       "encoding",     "user_version", "application_id" };
#define N_PRAGMAS (sizeof(pragmas) / sizeof(pragmas[0]))

static char *pragma_list(void)
{
	char *all = kit_printf("%s", "");

	for (size_t i = 0; i < N_PRAGMAS; i++)
		all = kit_printf("%s%s=%s ", all, pragmas[i],
				 kit_list("PRAGMA %s", pragmas[i]));
	return kit_printf("%s%s", all,
			  kit_list("SELECT name, seq FROM sqlite_sequence"
				   " ORDER BY name"));
}

static void make_with(const struct setting *s)
{
	kit_sql("%s PRAGMA user_version=77; PRAGMA application_id=1262635364", s->pragmas);
	kit_board(s->flags);
	fill_board();
	kit_sql("INSERT INTO task_runs(id, task_id, status, started_at)"
		" VALUES(41, 't_00000001', 'done', 1)");
	kit_sql("DELETE FROM task_runs");
	if (s->flags & KIT_WAL)
		kit_sql("PRAGMA wal_checkpoint(TRUNCATE)");
}

static void as_before(const struct setting *s, void (*harm)(void), bool *rebuilt)
{
	struct repair_report rep;
	char *before;

	make_with(s);
	before = pragma_list();
	harm();
	ck_assert_msg(run(keep(), &rep) == 0, "%s: %s", s->name, kit.e.text);
	ck_assert_msg(rep.written, "%s", s->name);
	*rebuilt = strcmp(rep.method, "rebuild") == 0;
	ck_list("ok", "PRAGMA integrity_check");
	ck_assert_str_eq(pragma_list(), before);
}

START_TEST(test_settings_rebuild)
{
	bool rebuilt;

	as_before(&settings[_i], break_leaf, &rebuilt);
	ck_assert_msg(rebuilt, "%s", settings[_i].name);
}
END_TEST

/* Rows without an index entry. */
static void desync(void)
{
	kit_unindexed("INSERT INTO task_events(id, task_id, kind, created_at)"
		      " VALUES(55, 't_00000001', 'unseen', 1)");
}

START_TEST(test_settings_reindex)
{
	bool rebuilt;

	as_before(&settings[_i], desync, &rebuilt);
	ck_assert_msg(!rebuilt, "%s", settings[_i].name);
}
END_TEST

/* They stand in the header alone; where that is gone the newest snapshot has them. */
START_TEST(test_settings_header_lost)
{
	static struct health_good good;
	struct repair_report rep;
	struct repair_options opt = { .db_path = kit.path, .good = &good };
	char *before, junk[100];
	int fd;

	make_with(&settings[_i]);
	kit_sql("PRAGMA journal_mode=DELETE"); /* which it cannot be seen not to be */
	(void)snprintf(good.snapshot, sizeof(good.snapshot), "%s", sound_copy());
	before = pragma_list();
	memset(junk, 0x17, sizeof(junk));
	fd = open(kit.path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	ck_assert_int_eq(close(fd), 0);
	opt.evidence = keep();
	ck_assert_msg(repair_run(&opt, &rep, &kit.e) == 0, "%s: %s", settings[_i].name,
		      kit.e.text);
	ck_assert_str_eq(rep.method, "rebuild");
	ck_assert_str_eq(pragma_list(), before);
	ck_list("60", "SELECT count(*) FROM tasks");
}
END_TEST

/* A restore, too, leaves the journal mode; the rest is that of the copy. */
START_TEST(test_settings_restore)
{
	struct health_good found;
	char *source, *before;

	make_with(&settings[_i]);
	source = sound_copy();
	before = pragma_list();
	kit_sql("DELETE FROM tasks WHERE rowid > 10");
	ck_assert_msg(candidates_restore(kit.path, source, 0, &found, &kit.e) == 0, "%s: %s",
		      settings[_i].name, kit.e.text);
	ck_assert_str_eq(pragma_list(), before);
	ck_list("60", "SELECT count(*) FROM tasks");
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("repair_over");
	const TTest *const tests[] = {
		test_changed_since_delete,
		test_changed_since_wal,
		test_made_meanwhile,
		test_changed_header,
		test_commit_during_repair_delete,
		test_commit_during_repair_wal,
		test_restored_under_delete,
		test_restored_under_wal,
		test_sound_after_all,
		test_left_over,
		test_compared_with_good,
	};
	TCase *tcase = kit_tcase(suite, "over", tests, sizeof(tests) / sizeof(tests[0]));

	tcase_add_loop_test(tcase, test_settings_rebuild, 0, N_SETTINGS);
	tcase_add_loop_test(tcase, test_settings_reindex, 0, N_SETTINGS);
	tcase_add_loop_test(tcase, test_settings_header_lost, 0, N_SETTINGS);
	tcase_add_loop_test(tcase, test_settings_restore, 0, N_SETTINGS);
	return suite;
}
