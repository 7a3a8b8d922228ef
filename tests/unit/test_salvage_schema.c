/* Salvage where the schema is lost, odd, or hostile. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "kit/dbfile.h"
#include "kit/salvage.h"
#include "kit/salvaged.h"
#include "kit/suite.h"
#include "salvage/page.h"
#include "salvage/salvage.h"
#include "util/error.h"

/* --- schema ---------------------------------------------------------------------------------
 */

/* Page 1 and all pages of the schema are gone: the tables are those that we know. */
static void schema_gone(const char *name)
{
	CLEANUP(bytes_free) struct bytes b = dbfile_bytes(name);
	struct page_view v;

	for (uint32_t pgno = 1; pgno <= b.len / 4096; pgno++) {
		uint8_t *p = b.p + (pgno - 1) * 4096ul;
		bool schema = pgno == 1 || memmem(p, 4096, "CREATE ", 7) != NULL;

		if (schema && (pgno == 1 || page_view_init(&v, 4096, pgno, p, 4096)))
			dbfile_noise(p, 4096, pgno);
	}
	dbfile_write("damaged.db", b.p, b.len);
}

START_TEST(schema_lost)
{
	struct salvage_report r;

	kit_make("orig.db", &(struct kit_board){ .seed = 5, .tasks = 80 });
	schema_gone("orig.db");
	kit_salvage_ok("damaged.db", &r);
	ck_assert(r.schema_damaged && r.header_lost && r.geometry_guessed);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	for (unsigned t = 0; t < KIT_TABLES; t++) {
		ck_assert_msg(kit_rows("out.db", kit_tables[t]) ==
				      kit_rows("orig.db", kit_tables[t]),
			      "%s", kit_tables[t]);
		ck_assert(!salvage_report_table(&r, kit_tables[t])->original);
	}
	ck_assert_int_eq(kit_out_number("SELECT seq FROM sqlite_sequence WHERE name = "
					"'task_events'"),
			 salvage_report_table(&r, "task_events")->sequence);
	ck_assert_int_eq(kit_out_number("SELECT count(*) FROM sqlite_schema WHERE name = "
					"'idx_events_task'"),
			 1);
	salvage_report_deinit(&r);
}
END_TEST

/* A board of the first public release, its schema gone: other columns in other places. */
START_TEST(schema_lost_legacy)
{
	struct salvage_report r;
	sqlite3 *db = dbfile_open("orig.db");

	dbfile_sql(
		db,
		"CREATE TABLE tasks (id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT, "
		"assignee TEXT, status TEXT NOT NULL, priority INTEGER DEFAULT 0, created_by "
		"TEXT, created_at INTEGER NOT NULL, started_at INTEGER, completed_at INTEGER, "
		"workspace_kind TEXT NOT NULL DEFAULT 'scratch', workspace_path TEXT, "
		"claim_lock TEXT, claim_expires INTEGER, tenant TEXT, result TEXT, "
		"idempotency_key TEXT, spawn_failures INTEGER NOT NULL DEFAULT 0, worker_pid "
		"INTEGER, last_spawn_error TEXT, max_runtime_seconds INTEGER, "
		"last_heartbeat_at INTEGER, current_run_id INTEGER, workflow_template_id TEXT, "
		"current_step_key TEXT, skills TEXT);"
		"CREATE TABLE task_events (id INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT "
		"NOT NULL, run_id INTEGER, kind TEXT NOT NULL, payload TEXT, created_at "
		"INTEGER NOT NULL);"
		"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 90)"
		"INSERT INTO tasks(id, title, body, status, created_at, claim_lock, "
		"claim_expires, spawn_failures) SELECT printf('t_%08x', x), 'title ' || x, "
		"hex(randomblob(200)), 'ready', 1770000000 + x, 'host:1', 1770000900, x % 3 "
		"FROM n; INSERT INTO task_events(task_id, kind, created_at) SELECT id, "
		"'created', created_at FROM tasks");
	dbfile_close(db);
	schema_gone("orig.db");
	kit_salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), 90);
	ck_assert_int_eq(kit_rows("out.db", "task_events"), 90);
	ck_assert_int_eq(
		kit_out_number("SELECT count(*) FROM tasks WHERE spawn_failures = rowid % 3 "
			       "AND claim_expires = 1770000900 AND title = 'title ' || "
			       "rowid"),
		90);
	salvage_report_deinit(&r);
}
END_TEST

/* Everything else that a schema can hold, and records older than the newest column. */
START_TEST(odd_schema)
{
	static const char *const same[] = {
		"SELECT sum(b) FROM v",
		"SELECT sum(g) + sum(s) FROM gen",
		"SELECT sum(rowid * k) FROM descpk",
		"SELECT sum(\"_rowid_\" + a) FROM \"we\"\"ird name\"",
		"SELECT count(*) FROM short WHERE added = 'later' AND n IS NULL",
		"SELECT sum(a * 1000) FROM real",
		"SELECT count(*) FROM sqlite_schema",
		"SELECT count(*) FROM log"
	};
	CLEANUP(bytes_free) struct bytes b = { 0 };
	int64_t want[sizeof(same) / sizeof(*same)];
	int reserve = 8;
	struct salvage_report r;
	sqlite3 *db = dbfile_open("orig.db");

	ck_assert_int_eq(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve),
			 SQLITE_OK);
	dbfile_sql(
		db,
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b INT, c BLOB);"
		"CREATE VIEW v AS SELECT a, b FROM t WHERE a > 2;"
		"CREATE TABLE log(x); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO "
		"log "
		"VALUES(new.a); END;"
		"INSERT INTO t VALUES(1, 10, x'00'), (-5, 7, zeroblob(9000)), (9, 8, '');"
		"CREATE TABLE gen(a INT, g INT AS (a * 2), s INT AS (a * 3) STORED, z);"
		"INSERT INTO gen(a, z) VALUES(1, 'x'), (2, 'y'), (3, 'z');"
		"CREATE TABLE descpk(k INTEGER PRIMARY KEY DESC, w);"
		"INSERT INTO descpk VALUES(7, 'a'), (3, 'b'), (5, 'c');"
		"CREATE TABLE \"we\"\"ird name\"(rowid TEXT, a INT);"
		"INSERT INTO \"we\"\"ird name\" VALUES('x', 4), ('y', 5);"
		"CREATE UNIQUE INDEX ui ON t(b); CREATE INDEX pi ON t(b) WHERE b > 7;"
		"CREATE INDEX ei ON t(b + 1); CREATE TABLE short(a);"
		"INSERT INTO short VALUES(1), (2); ALTER TABLE short ADD COLUMN added TEXT NOT "
		"NULL DEFAULT 'later'; ALTER TABLE short ADD COLUMN n;"
		"CREATE TABLE real(a REAL); INSERT INTO real VALUES(1), (2.5), (-3);"
		"CREATE TABLE wr(a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO wr VALUES(1, 2);"
		"ANALYZE");
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		want[i] = dbfile_number(db, same[i]);
	dbfile_close(db);
	b = dbfile_bytes("orig.db");
	b.p[0] = 'x'; /* the least damage there is */
	dbfile_write("damaged.db", b.p, b.len);
	kit_salvage_ok("damaged.db", &r);
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		ck_assert_msg(kit_out_number(same[i]) == want[i], "%s: %ld, not %ld", same[i],
			      (long)kit_out_number(same[i]), (long)want[i]);
	/* what cannot be read is not passed over */
	ck_assert(!salvage_report_table(&r, "wr")->clean);
	ck_assert(!salvage_report_table(&r, "wr")->lost_exact);
	ck_assert_uint_eq(r.objects_lost, 0);
	salvage_report_deinit(&r);
	bytes_free(&b);
	b = dbfile_bytes("out.db");
	ck_assert_uint_eq(b.p[20], 8);
}
END_TEST

/* Strays of two tables that differ in what must not be missing only. */
START_TEST(fits_by_required)
{
	struct salvage_report r;
	sqlite3 *db = dbfile_open("orig.db");

	dbfile_sql(db,
		   "CREATE TABLE one(a TEXT); CREATE TABLE two(a TEXT, b TEXT NOT NULL, c "
		   "TEXT);"
		   "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < "
		   "2000) INSERT INTO one SELECT 'one ' || x FROM n;"
		   "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < "
		   "2000) INSERT INTO two SELECT 'two ' || x, x, NULL FROM n");
	dbfile_close(db);
	dbfile_copy("orig.db", "damaged.db");
	kit_overwrite("damaged.db", kit_root("orig.db", "one"), 4096);
	kit_overwrite("damaged.db", kit_root("orig.db", "two"), 4096);
	kit_salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_out_number("SELECT count(*) FROM one WHERE a = 'one ' || rowid"),
			 2000);
	ck_assert_int_eq(
		kit_out_number("SELECT count(*) FROM two WHERE a = 'two ' || rowid AND b = "
			       "rowid"),
		2000);
	salvage_report_deinit(&r);
}
END_TEST

#define ENDLESS                                                                                \
	"CREATE TABLE x AS WITH n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT * FROM n"

/* CREATE texts are input: none of them is run but to define. */
START_TEST(hostile_schema)
{
	static const char *const texts[] = {
		ENDLESS,
		"CREATE TABLE x(a); ATTACH 'evil.db' AS e; CREATE TABLE e.y(a)",
		"CREATE VIRTUAL TABLE x USING fts5(a)",
		"DROP TABLE tasks",
		"CREATE TABLE other(a)",
		"CREATE TABLE x(",
		""
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct salvage_report r;
		sqlite3_stmt *stmt = NULL;
		sqlite3 *db;

		kit_make("orig.db", &(struct kit_board){ .seed = 5, .tasks = 30 });
		dbfile_copy("orig.db", "damaged.db");
		db = dbfile_open("damaged.db");
		dbfile_sql(db, "CREATE TABLE x(a); INSERT INTO x VALUES(1); PRAGMA "
			       "writable_schema = ON");
		ck_assert_int_eq(sqlite3_prepare_v2(db,
						    "UPDATE sqlite_schema SET sql = ?1 "
						    "WHERE name = 'x'",
						    -1, &stmt, NULL),
				 SQLITE_OK);
		(void)sqlite3_bind_text(stmt, 1, texts[i], -1, SQLITE_STATIC);
		ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
		(void)sqlite3_finalize(stmt);
		dbfile_close(db);
		kit_salvage_ok("damaged.db", &r);
		ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
		ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
		ck_assert_int_eq(
			kit_out_number("SELECT count(*) FROM sqlite_schema WHERE name IN "
				       "('x', 'other', 'y')"),
			0);
		ck_assert_uint_eq(r.objects_lost, 1);
		ck_assert_int_eq(access("evil.db", F_OK), -1);
		salvage_report_deinit(&r);
	}
}
END_TEST

/* sqlite_sequence is gone: ids that other rows refer to are not given out again. */
START_TEST(sequence_lost)
{
	struct salvage_report r;
	sqlite3 *db;

	kit_make("orig.db", &(struct kit_board){ .seed = 5 });
	db = dbfile_open("orig.db");
	dbfile_sql(db, "UPDATE kanban_notify_subs SET last_event_id = 9000 WHERE rowid = 3;"
		       "UPDATE tasks SET current_run_id = 8000 WHERE rowid = 3");
	dbfile_close(db);
	dbfile_copy("orig.db", "damaged.db");
	kit_overwrite("damaged.db", kit_root("orig.db", "sqlite_sequence"), 4096);
	kit_salvage_ok("damaged.db", &r);
	ck_assert_int_eq(salvage_report_table(&r, "task_events")->sequence_found, -1);
	ck_assert_int_eq(
		kit_out_number("SELECT seq FROM sqlite_sequence WHERE name = 'task_events'"),
		9000);
	ck_assert_int_eq(
		kit_out_number("SELECT seq FROM sqlite_sequence WHERE name = 'task_runs'"),
		8000);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	salvage_report_deinit(&r);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("salvage_schema");
	TCase *tc = tcase_create("salvage_more");

	tcase_add_checked_fixture(tc, dbfile_setup, dbfile_teardown);
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, schema_lost);
	tcase_add_test(tc, schema_lost_legacy);
	tcase_add_test(tc, odd_schema);
	tcase_add_test(tc, fits_by_required);
	tcase_add_test(tc, hostile_schema);
	tcase_add_test(tc, sequence_lost);
	suite_add_tcase(s, tc);
	return s;
}
