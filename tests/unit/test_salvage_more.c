/* salvage: sidecars, deleted rows, unique keys, ends of all kinds; and noise.
 * test-timeout: 600 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/dbfile.h"
#include "kit/salvage.h"
#include "kit/salvaged.h"
#include "kit/suite.h"
#include "salvage/page.h"
#include "salvage/salvage.h"
#include "util/error.h"
#include "util/fs.h"

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
	kit_salvage_ok("damaged.db", &r);
	ck_assert(r.wal && !r.header_lost && r.sidecar_frames >= 3);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	for (unsigned t = 0; t < KIT_TABLES; t++)
		ck_assert_int_eq(kit_rows("out.db", kit_tables[t]),
				 kit_rows("orig.db", kit_tables[t]));
	ck_assert_int_eq(kit_out_number("SELECT count(*) FROM tasks WHERE id = 't_0000abcd'"),
			 1);
	ck_assert_int_eq(kit_out_number("SELECT count(*) FROM task_links"), 0);
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
	kit_salvage_ok("damaged.db", &r);
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
	kit_overwrite("damaged.db", kit_root("orig.db", "task_events"), 4096);
	kit_overwrite("damaged.db", kit_root("orig.db", "tasks"), 4096);
	kit_salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	ck_assert(!r.freelist_damaged);
	salvage_report_deinit(&r);
	/* and the header that leads to the freelist as well */
	kit_overwrite("damaged.db", 1, 80);
	kit_salvage_ok("damaged.db", &r);
	ck_assert(r.freelist_damaged);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	salvage_report_deinit(&r);
	/* and no index to ask: the trunks of the freelist can still be found */
	kit_overwrite("damaged.db", kit_root("orig.db", "idx_events_task"), 4096);
	kit_overwrite("damaged.db", kit_root("orig.db", "idx_events_run"), 4096);
	kit_salvage_ok("damaged.db", &r);
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
	kit_overwrite("damaged.db", h.freelist_trunk, 4096);
	kit_overwrite("damaged.db", kit_root("orig.db", "task_events"), 4096);
	kit_salvage_ok("damaged.db", &r);
	ck_assert_int_eq(kit_invented("orig.db", NULL), 0);
	ck_assert_int_eq(kit_rows("out.db", "task_events"), kit_rows("orig.db", "task_events"));
	ck_assert(salvage_report_table(&r, "task_events")->lost_exact);
	salvage_report_deinit(&r);
}
END_TEST

/* --- schema ---------------------------------------------------------------------------------
 */

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
	kit_salvage_ok("orig.db", &r);
	t = salvage_report_table(&r, "t");
	ck_assert_uint_eq(salvage_table_rows(t), 3);
	ck_assert_uint_eq(t->conflicts, 1);
	ck_assert_uint_eq(t->duplicates, 1); /* 4 and 5 say the same */
	ck_assert(!t->clean);
	ck_assert_uint_ge(t->lost, 1);
	ck_assert_int_eq(kit_out_number("SELECT id FROM t WHERE k = 'a'"), 3);
	ck_assert_int_eq(kit_out_number("SELECT id FROM t WHERE k = 'c'"), 4);
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

Suite *test_suite(void)
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
	tcase_add_test(tc, unique_conflict);
	tcase_add_loop_test(tc, fuzz, 0, 8);
	suite_add_tcase(s, tc);
	return s;
}
