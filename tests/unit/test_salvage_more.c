/* salvage: sidecars, schemas, deleted rows, unique keys, ends of all kinds; and noise. */
#include "salvage/salvage.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/dbfile.h"
#include "kit/salvage.h"
#include "kit/suite.h"
#include "salvage/page.h"
#include "util/error.h"

static int64_t out_number(const char *sql)
{
	sqlite3 *db = dbfile_open("out.db");
	int64_t n = dbfile_number(db, sql);

	dbfile_close(db);
	return n;
}

static void overwrite(const char *name, uint32_t pgno, size_t page_size)
{
	CLEANUP(bytes_free) struct bytes b = dbfile_bytes(name);

	ck_assert_uint_le(pgno * page_size, b.len);
	dbfile_noise(b.p + (pgno - 1) * page_size, page_size, pgno);
	dbfile_write(name, b.p, b.len);
}

static void salvage_ok(const char *name, struct salvage_report *r)
{
	struct error e;
	int code = kit_salvage(name, r, &e);

	ck_assert_msg(code == 0, "%s: %d %s", name, code, e.text);
	ck_assert_str_eq(r->integrity, "ok");
}

/* --- ends -----------------------------------------------------------------------------------
 */

START_TEST(nothing)
{
	struct salvage_report r;
	struct error e;
	uint8_t noise[9000];

	dbfile_write("empty", "", 0);
	ck_assert_int_eq(kit_salvage("empty", &r, &e), SALVAGE_NOTHING);
	ck_assert_ptr_nonnull(strstr(e.text, "the file is empty"));
	salvage_report_deinit(&r);
	dbfile_noise(noise, sizeof(noise), 4);
	dbfile_write("noise", noise, sizeof(noise));
	ck_assert_int_eq(kit_salvage("noise", &r, &e), SALVAGE_NOTHING);
	ck_assert_ptr_nonnull(strstr(e.text, "no page of a database"));
	ck_assert_int_eq(access(dbfile_at("out.db"), F_OK), -1);
	salvage_report_deinit(&r);
	ck_assert_int_eq(kit_salvage("missing", &r, &e), -ENOENT);
	salvage_report_deinit(&r);
	ck_assert_int_eq(mkfifo(dbfile_at("fifo"), 0600), 0);
	ck_assert_int_eq(kit_salvage("fifo", &r, &e), -EINVAL);
	salvage_report_deinit(&r);
	ck_assert_int_eq(access(dbfile_at("out.db"), F_OK), -1);
}
END_TEST

START_TEST(out_exists)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct salvage_report r;
	struct error e = ERROR_NULL;

	kit_make("orig.db", &(struct kit_board){ .seed = 1, .tasks = 20 });
	dbfile_write("out.db", "mine", 4);
	ck_assert_int_eq(
		salvage_database(dbfile_at("orig.db"), dbfile_at("out.db"), NULL, &r, &e),
		-EEXIST);
	salvage_report_deinit(&r);
	b = dbfile_bytes("out.db");
	ck_assert_uint_eq(b.len, 4);
	ck_assert_int_eq(
		salvage_database(dbfile_at("orig.db"), dbfile_at("no/out.db"), NULL, &r, &e),
		-ENOENT);
	salvage_report_deinit(&r);
}
END_TEST

struct progress {
	uint64_t last, total;
	unsigned calls, cancel_at;
	atomic_bool cancel;
};

static void progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	ck_assert_uint_ge(done, p->last);
	ck_assert_uint_le(done, total);
	p->last = done;
	p->total = total;
	if (++p->calls == p->cancel_at)
		atomic_store(&p->cancel, true);
}

START_TEST(progress_and_cancel)
{
	struct progress p = { .cancel_at = 0 };
	struct salvage_options opt = { .cancel = &p.cancel, .progress = progress, .arg = &p };
	struct salvage_report r;
	struct error e = ERROR_NULL;
	unsigned calls;
	sqlite3 *db;

	kit_make("orig.db", &(struct kit_board){ .seed = 1, .tasks = 300 });
	db = dbfile_open("orig.db");
	dbfile_sql(db, "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x "
		       "< 4000) INSERT INTO task_comments(task_id, author, body, created_at) "
		       "SELECT 't_00000001', 'x', hex(zeroblob(500)), 1770000000 FROM n");
	dbfile_close(db);
	ck_assert_int_eq(
		salvage_database(dbfile_at("orig.db"), dbfile_at("out.db"), &opt, &r, &e), 0);
	ck_assert_uint_eq(p.last, p.total);
	ck_assert_uint_ge(p.calls, 8);
	calls = p.calls;
	salvage_report_deinit(&r);
	ck_assert_int_eq(unlink(dbfile_at("out.db")), 0);
	/* at any time; and the last call is after the work is done */
	for (unsigned at = 0; at < calls - 1; at++) {
		p = (struct progress){ .cancel_at = at };
		atomic_store(&p.cancel, at == 0);
		ck_assert_int_eq(salvage_database(dbfile_at("orig.db"), dbfile_at("out.db"),
						  &opt, &r, &e),
				 SALVAGE_CANCELLED);
		salvage_report_deinit(&r);
		ck_assert_int_eq(access(dbfile_at("out.db"), F_OK), -1);
		ck_assert_int_eq(access(dbfile_at("out.db-journal"), F_OK), -1);
	}
}
END_TEST

/* --- sidecars -------------------------------------------------------------------------------
 */

/* The newest rows are in the WAL only, and the main file's first pages are garbage. */
START_TEST(wal)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct salvage_report r;
	sqlite3 *db;

	kit_make("live.db", &(struct kit_board){ .seed = 3 });
	db = dbfile_open("live.db");
	dbfile_sql(db, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
		       "CREATE TABLE touch_page_1(a); INSERT INTO tasks(id, title, status, "
		       "created_at) VALUES('t_0000abcd', 'newest', 'ready', 1770009999);"
		       "DELETE FROM task_links");
	dbfile_copy("live.db", "damaged.db");
	dbfile_copy("live.db-wal", "damaged.db-wal");
	dbfile_sql(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	dbfile_copy("live.db", "orig.db");
	dbfile_close(db);
	b = dbfile_bytes("damaged.db");
	dbfile_noise(b.p, 4096, 1);
	dbfile_write("damaged.db", b.p, b.len);
	salvage_ok("damaged.db", &r);
	ck_assert(r.wal && !r.header_lost && r.sidecar_frames >= 3);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	for (unsigned t = 0; t < KIT_TABLES; t++)
		ck_assert_int_eq(kit_rows("out.db", kit_tables[t]),
				 kit_rows("orig.db", kit_tables[t]));
	ck_assert_int_eq(out_number("SELECT count(*) FROM tasks WHERE id = 't_0000abcd'"), 1);
	ck_assert_int_eq(out_number("SELECT count(*) FROM task_links"), 0);
	salvage_report_deinit(&r);
}
END_TEST

/* A transaction that never ended is not in the result, though half of it is in the file. */
START_TEST(journal)
{
	struct salvage_report r;
	sqlite3 *db;

	kit_make("orig.db", &(struct kit_board){ .seed = 3 });
	dbfile_copy("orig.db", "live.db");
	db = dbfile_open("live.db");
	dbfile_sql(db,
		   "PRAGMA cache_size = 3; PRAGMA cache_spill = 3; BEGIN; UPDATE tasks SET "
		   "title = 'never', body = hex(randomblob(3000)); DELETE FROM task_events;");
	dbfile_copy("live.db", "damaged.db");
	dbfile_copy("live.db-journal", "damaged.db-journal");
	dbfile_sql(db, "ROLLBACK");
	dbfile_close(db);
	salvage_ok("damaged.db", &r);
	ck_assert(r.journal && r.sidecar_frames > 5);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	for (unsigned t = 0; t < KIT_TABLES; t++)
		ck_assert_int_eq(kit_rows("out.db", kit_tables[t]),
				 kit_rows("orig.db", kit_tables[t]));
	salvage_report_deinit(&r);
}
END_TEST

/* --- deleted rows ---------------------------------------------------------------------------
 */

/* secure_delete off, so that free pages are full of deleted rows: none of them comes back. */
START_TEST(deleted_stays_deleted)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct salvage_report r;
	sqlite3 *db;

	kit_make("orig.db",
		 &(struct kit_board){ .seed = 3, .keep_deleted = true, .tasks = 120 });
	db = dbfile_open("orig.db");
	dbfile_sql(db, "PRAGMA secure_delete = 0; DELETE FROM task_events WHERE id BETWEEN 300 "
		       "AND 700; DELETE FROM tasks WHERE rowid BETWEEN 20 AND 60");
	ck_assert_int_gt(dbfile_number(db, "PRAGMA freelist_count"), 10);
	dbfile_close(db);
	b = dbfile_bytes("orig.db");
	dbfile_write("damaged.db", b.p, b.len);
	/* roots gone: every leaf has to be found */
	overwrite("damaged.db", kit_root("orig.db", "task_events"), 4096);
	overwrite("damaged.db", kit_root("orig.db", "tasks"), 4096);
	salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	ck_assert(!r.freelist_damaged);
	salvage_report_deinit(&r);
	/* and the header that leads to the freelist as well */
	overwrite("damaged.db", 1, 80);
	salvage_ok("damaged.db", &r);
	ck_assert(r.freelist_damaged);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	salvage_report_deinit(&r);
	/* and no index to ask: the trunks of the freelist can still be found */
	overwrite("damaged.db", kit_root("orig.db", "idx_events_task"), 4096);
	overwrite("damaged.db", kit_root("orig.db", "idx_events_run"), 4096);
	salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	salvage_report_deinit(&r);
}
END_TEST

/* Without freelist and trunk, the index still knows which of the stray rows were live. */
START_TEST(index_is_witness)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct salvage_report r;
	struct page_header h;
	sqlite3 *db;

	kit_make("orig.db",
		 &(struct kit_board){ .seed = 3, .keep_deleted = true, .tasks = 120 });
	db = dbfile_open("orig.db");
	dbfile_sql(db, "PRAGMA secure_delete = 0; DELETE FROM task_events WHERE id BETWEEN 300 "
		       "AND 700");
	dbfile_close(db);
	b = dbfile_bytes("orig.db");
	ck_assert(page_header_parse(b.p, &h));
	dbfile_write("damaged.db", b.p, b.len);
	overwrite("damaged.db", h.freelist_trunk, 4096);
	overwrite("damaged.db", kit_root("orig.db", "task_events"), 4096);
	salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	ck_assert(salvage_report_table(&r, "task_events")->lost_exact);
	salvage_report_deinit(&r);
}
END_TEST

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
	salvage_ok("damaged.db", &r);
	ck_assert(r.schema_damaged && r.header_lost && r.geometry_guessed);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	for (unsigned t = 0; t < KIT_TABLES; t++) {
		ck_assert_msg(kit_rows("out.db", kit_tables[t]) ==
				      kit_rows("orig.db", kit_tables[t]),
			      "%s", kit_tables[t]);
		ck_assert(!salvage_report_table(&r, kit_tables[t])->original);
	}
	ck_assert_int_eq(out_number("SELECT seq FROM sqlite_sequence WHERE name = "
				    "'task_events'"),
			 salvage_report_table(&r, "task_events")->sequence);
	ck_assert_int_eq(out_number("SELECT count(*) FROM sqlite_schema WHERE name = "
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
	salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), 90);
	ck_assert_int_eq(kit_rows("out.db", "task_events"), 90);
	ck_assert_int_eq(
		out_number("SELECT count(*) FROM tasks WHERE spawn_failures = rowid % 3 "
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
	salvage_ok("damaged.db", &r);
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		ck_assert_msg(out_number(same[i]) == want[i], "%s: %ld, not %ld", same[i],
			      (long)out_number(same[i]), (long)want[i]);
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
	overwrite("damaged.db", kit_root("orig.db", "one"), 4096);
	overwrite("damaged.db", kit_root("orig.db", "two"), 4096);
	salvage_ok("damaged.db", &r);
	ck_assert_int_eq(out_number("SELECT count(*) FROM one WHERE a = 'one ' || rowid"),
			 2000);
	ck_assert_int_eq(
		out_number("SELECT count(*) FROM two WHERE a = 'two ' || rowid AND b = "
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
		salvage_ok("damaged.db", &r);
		ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
		ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
		ck_assert_int_eq(out_number("SELECT count(*) FROM sqlite_schema WHERE name IN "
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
	overwrite("damaged.db", kit_root("orig.db", "sqlite_sequence"), 4096);
	salvage_ok("damaged.db", &r);
	ck_assert_int_eq(salvage_report_table(&r, "task_events")->sequence_found, -1);
	ck_assert_int_eq(
		out_number("SELECT seq FROM sqlite_sequence WHERE name = 'task_events'"), 9000);
	ck_assert_int_eq(out_number("SELECT seq FROM sqlite_sequence WHERE name = 'task_runs'"),
			 8000);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	salvage_report_deinit(&r);
}
END_TEST

/* A drifted index let a second row with the same key in: the later one stays, and it is told.
 */
START_TEST(unique_conflict)
{
	const struct salvage_table *t;
	struct salvage_report r;
	sqlite3 *db = dbfile_open("orig.db");

	dbfile_sql(db,
		   "CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, v TEXT); CREATE INDEX ui "
		   "ON t(k); INSERT INTO t VALUES(1, 'a', 'old'), (2, 'b', 'x'), (3, 'a', "
		   "'new'), (4, 'c', 'y'), (5, 'c', 'y');"
		   "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE UNIQUE "
		   "INDEX ui ON t(k)' WHERE name = 'ui'");
	dbfile_close(db);
	salvage_ok("orig.db", &r);
	t = salvage_report_table(&r, "t");
	ck_assert_uint_eq(salvage_table_rows(t), 3);
	ck_assert_uint_eq(t->conflicts, 1);
	ck_assert_uint_eq(t->duplicates, 1); /* 4 and 5 say the same */
	ck_assert(!t->clean);
	ck_assert_uint_ge(t->lost, 1);
	ck_assert_int_eq(out_number("SELECT id FROM t WHERE k = 'a'"), 3);
	ck_assert_int_eq(out_number("SELECT id FROM t WHERE k = 'c'"), 4);
	salvage_report_deinit(&r);
}
END_TEST

/* --- noise ----------------------------------------------------------------------------------
 */

/* Flipped bits and noise anywhere: it ends, in time, with a sound database or with nothing. */
START_TEST(fuzz)
{
	static const struct kit_board fuzzed[] = {
		{ .seed = 11, .tasks = 24 },
		{ .seed = 12, .tasks = 20, .page_size = 512, .keep_deleted = true },
		{ .seed = 13, .tasks = 20, .page_size = 1024, .auto_vacuum = 1 },
		{ .seed = 14, .tasks = 24, .encoding = "UTF-16le" },
	};
	CLEANUP(bytes_free) struct bytes b = { 0 };
	CLEANUP(freep) uint8_t *d = NULL;
	uint64_t rng = 1000 + (uint64_t)_i;

	kit_make("orig.db", &fuzzed[_i % 4]);
	b = dbfile_bytes("orig.db");
	d = malloc(b.len);
	ck_assert_ptr_nonnull(d);
	for (int it = 0; it < 250; it++) {
		struct salvage_report r;
		struct error e;
		uint32_t n = 1u << dbfile_random(&rng, 10), len = (uint32_t)b.len;
		int code;

		memcpy(d, b.p, b.len);
		while (n--) {
			uint32_t at = dbfile_random(&rng, 3) ? dbfile_random(&rng, len)
							     : dbfile_random(&rng, 4096);

			if (dbfile_random(&rng, 50) == 0)
				dbfile_noise(d + at, len - at < 600 ? len - at : 600, at);
			else
				d[at] = (uint8_t)((uint32_t)d[at] ^
						  1u << dbfile_random(&rng, 8));
		}
		if (dbfile_random(&rng, 8) == 0)
			len = dbfile_random(&rng, len);
		dbfile_write("damaged.db", d, len);
		code = kit_salvage("damaged.db", &r, &e);
		ck_assert_msg(code == 0 || code == SALVAGE_NOTHING, "%d: %d %s", it, code,
			      e.text);
		if (code == 0)
			ck_assert_str_eq(r.integrity, "ok");
		salvage_report_deinit(&r);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("salvage_more");
	TCase *tc = tcase_create("salvage_more");

	tcase_add_checked_fixture(tc, dbfile_setup, dbfile_teardown);
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, nothing);
	tcase_add_test(tc, out_exists);
	tcase_add_test(tc, progress_and_cancel);
	tcase_add_test(tc, wal);
	tcase_add_test(tc, journal);
	tcase_add_test(tc, deleted_stays_deleted);
	tcase_add_test(tc, index_is_witness);
	tcase_add_test(tc, schema_lost);
	tcase_add_test(tc, schema_lost_legacy);
	tcase_add_test(tc, odd_schema);
	tcase_add_test(tc, fits_by_required);
	tcase_add_test(tc, hostile_schema);
	tcase_add_test(tc, sequence_lost);
	tcase_add_test(tc, unique_conflict);
	tcase_add_loop_test(tc, fuzz, 0, 8);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return suite_main(suite());
}
