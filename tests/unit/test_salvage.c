/* salvage: what is left of a damaged board is saved, all of it and nothing else.
 * test-timeout: 600 */
#include "salvage/salvage.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kit/dbfile.h"
#include "kit/salvage.h"
#include "kit/suite.h"
#include "salvage/page.h"
#include "util/error.h"

static const struct kit_board boards[] = {
	{ .seed = 1 },
	{ .page_size = 512, .seed = 2, .tasks = 30 },
	{ .page_size = 1024, .auto_vacuum = 1, .seed = 3, .tasks = 30 },
	{ .page_size = 65536, .seed = 4, .tasks = 200 },
	{ .encoding = "UTF-16le", .seed = 5, .tasks = 40 },
	{ .page_size = 2048,
	  .encoding = "UTF-16be",
	  .auto_vacuum = 2,
	  .keep_deleted = true,
	  .seed = 6,
	  .tasks = 40 },
	{ .keep_deleted = true, .seed = 7 },
};
#define BOARDS ((int)(sizeof(boards) / sizeof(*boards)))

static char *schema_of(const char *name)
{
	sqlite3 *db = dbfile_open(name);
	sqlite3_stmt *stmt = NULL;
	char *all;

	ck_assert_int_eq(
		sqlite3_prepare_v2(db,
				   "SELECT group_concat(x, char(10)) FROM (SELECT type "
				   "|| name || tbl_name || coalesce(sql, '') AS x FROM "
				   "sqlite_schema ORDER BY type, name)",
				   -1, &stmt, NULL),
		SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	all = strdup((const char *)sqlite3_column_text(stmt, 0));
	(void)sqlite3_finalize(stmt);
	dbfile_close(db);
	return all;
}

static void same_settings(const char *a, const char *b)
{
	static const char *const pragmas[] = { "page_size", "auto_vacuum", "user_version",
					       "application_id" };
	sqlite3 *x = dbfile_open(a), *y = dbfile_open(b);
	sqlite3_stmt *sx = NULL, *sy = NULL;

	for (size_t i = 0; i < sizeof(pragmas) / sizeof(*pragmas); i++) {
		char q[50];

		(void)snprintf(q, sizeof(q), "PRAGMA %s", pragmas[i]);
		ck_assert_msg(dbfile_number(x, q) == dbfile_number(y, q), "%s", q);
	}
	ck_assert_int_eq(sqlite3_prepare_v2(x, "PRAGMA encoding", -1, &sx, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(y, "PRAGMA encoding", -1, &sy, NULL), SQLITE_OK);
	ck_assert(sqlite3_step(sx) == SQLITE_ROW && sqlite3_step(sy) == SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(sx, 0),
			 (const char *)sqlite3_column_text(sy, 0));
	(void)sqlite3_finalize(sx);
	(void)sqlite3_finalize(sy);
	dbfile_close(x);
	dbfile_close(y);
}

static int64_t sequence(const char *name, const char *table)
{
	sqlite3 *db = dbfile_open(name);
	char q[100];
	int64_t n;

	(void)snprintf(q, sizeof(q), "SELECT seq FROM sqlite_sequence WHERE name = '%s'",
		       table);
	n = dbfile_number(db, q);
	dbfile_close(db);
	return n;
}

/* A sound board comes back as it is: rows, rowids, schema, settings, sequences. */
START_TEST(whole)
{
	CLEANUP(freep) char *before = NULL;
	CLEANUP(freep) char *after = NULL;
	struct kit_map m;

	kit_make("orig.db", &boards[_i]);
	kit_map_read(&m, "orig.db");
	dbfile_copy("orig.db", "damaged.db");
	kit_expect(&m, NULL, 0, "whole");
	before = schema_of("orig.db");
	after = schema_of("out.db");
	ck_assert_str_eq(before, after);
	same_settings("orig.db", "out.db");
	ck_assert_int_eq(sequence("orig.db", "task_events"), sequence("out.db", "task_events"));
	ck_assert_int_eq(sequence("orig.db", "task_runs"), sequence("out.db", "task_runs"));
	ck_assert_int_eq(access(dbfile_at("out.db-journal"), F_OK), -1);
	kit_map_free(&m);
}
END_TEST

/* Each page in turn is overwritten, by noise and by zeros: only its own rows are lost. */
START_TEST(every_page)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct kit_board small = boards[_i];
	struct kit_map m;
	size_t size;

	small.tasks = small.page_size == 65536 ? 120 : small.page_size == 512 ? 10 : 24;
	kit_make("orig.db", &small);
	kit_map_read(&m, "orig.db");
	b = dbfile_bytes("orig.db");
	size = m.page_size;
	for (size_t from = 0; from < b.len; from += size) {
		CLEANUP(freep) uint8_t *keep = malloc(size);
		struct kit_range damage = { from, from + size };
		char what[80];

		ck_assert_ptr_nonnull(keep);
		memcpy(keep, b.p + from, size);
		if (from / size % 2)
			dbfile_noise(b.p + from, size, from);
		else
			memset(b.p + from, 0, size);
		dbfile_write("damaged.db", b.p, b.len);
		memcpy(b.p + from, keep, size);
		(void)snprintf(what, sizeof(what), "board %d page %zu", _i, from / size + 1);
		kit_expect(&m, &damage, 1, what);
	}
	kit_map_free(&m);
}
END_TEST

/* Several pages at once, page 1 among them. */
START_TEST(many_pages)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	uint64_t rng = 77;
	struct kit_map m;

	kit_make("orig.db", &boards[_i]);
	kit_map_read(&m, "orig.db");
	for (int round = 0; round < 12; round++) {
		struct kit_range damage[8];
		uint32_t n = 1 + dbfile_random(&rng, 7);
		char what[80];

		bytes_free(&b);
		b = dbfile_bytes("orig.db");
		for (uint32_t i = 0; i < n; i++) {
			size_t page =
				i == 0 && round % 2
					? 0
					: dbfile_random(&rng, (uint32_t)(b.len / m.page_size));

			damage[i].from = page * m.page_size;
			damage[i].to = damage[i].from + m.page_size;
			dbfile_noise(b.p + damage[i].from, m.page_size, page + 1);
		}
		dbfile_write("damaged.db", b.p, b.len);
		(void)snprintf(what, sizeof(what), "board %d round %d", _i, round);
		kit_expect(&m, damage, n, what);
	}
	kit_map_free(&m);
}
END_TEST

/* Cut at every page boundary, and in the middle of pages. */
START_TEST(truncated)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct kit_board small = boards[_i];
	struct kit_map m;

	small.tasks = small.page_size == 65536 ? 120 : small.page_size == 512 ? 10 : 24;
	kit_make("orig.db", &small);
	kit_map_read(&m, "orig.db");
	b = dbfile_bytes("orig.db");
	for (size_t page = 1; page * m.page_size <= b.len; page++) {
		for (size_t extra = 0; extra < 2; extra++) {
			size_t len =
				page * m.page_size - (extra ? (page * 97) % m.page_size : 0);
			struct kit_range damage = { len, b.len };
			char what[80];

			/* less than page 1: not even that is there */
			if (len < m.page_size)
				continue;
			dbfile_write("damaged.db", b.p, len);
			(void)snprintf(what, sizeof(what), "board %d cut to %zu", _i, len);
			kit_expect(&m, &damage, 1, what);
		}
	}
	kit_map_free(&m);
}
END_TEST

/* The first bytes are gone: 1 to 200 of them. */
START_TEST(header_overwritten)
{
	static const size_t lengths[] = { 1, 16, 20, 40, 64, 68, 80, 100, 108, 150, 200 };
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct kit_map m;

	kit_make("orig.db", &boards[_i]);
	kit_map_read(&m, "orig.db");
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct kit_range damage = { 0, lengths[i] };
		char what[80];

		bytes_free(&b);
		b = dbfile_bytes("orig.db");
		dbfile_noise(b.p, lengths[i], i + 1);
		dbfile_write("damaged.db", b.p, b.len);
		(void)snprintf(what, sizeof(what), "board %d, %zu bytes", _i, lengths[i]);
		kit_expect(&m, &damage, 1, what);
	}
	kit_map_free(&m);
}
END_TEST

/* A sector of a page is gone: the rows in the rest of the page are still cells of it. */
START_TEST(sectors)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	uint64_t rng = 5;
	struct kit_map m;

	kit_make("orig.db", &boards[0]);
	kit_map_read(&m, "orig.db");
	for (int round = 0; round < 40; round++) {
		struct kit_range damage;
		struct salvage_report r;
		struct error e;
		uint64_t hit = 0, kept = 0;

		bytes_free(&b);
		b = dbfile_bytes("orig.db");
		/* the first sectors of pages behind the schema, with header and pointers */
		damage.from =
			(30 + dbfile_random(&rng, (uint32_t)(b.len / 4096) - 30)) * 4096ul;
		damage.to = damage.from + 512;
		dbfile_noise(b.p + damage.from, 512, (uint64_t)round + 1);
		dbfile_write("damaged.db", b.p, b.len);
		for (size_t i = 0; i < m.nrows; i++)
			hit += kit_hit(&m, &m.rows[i], &damage, 1);
		ck_assert_int_eq(kit_salvage("damaged.db", &r, &e), 0);
		for (size_t i = 0; i < r.ntables; i++)
			kept += salvage_table_rows(&r.tables[i]);
		ck_assert_uint_ge(kept, m.nrows - hit);
		ck_assert_int_le(kit_invented("orig.db", NULL), (int64_t)hit);
		salvage_report_deinit(&r);
	}
	kit_map_free(&m);
}
END_TEST

static uint8_t *page_at(struct bytes *b, uint32_t pgno, size_t size)
{
	return b->p + (size_t)(pgno - 1) * size;
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

/* First leaf page of a table, going down on the left. */
static uint32_t first_leaf(struct bytes *b, uint32_t pgno, size_t size)
{
	struct page_view v;

	while (page_view_init(&v, (uint32_t)size, pgno, page_at(b, pgno, size),
			      (uint32_t)size) &&
	       v.kind == PAGE_TABLE_INTERIOR)
		pgno = page_child(&v, 0);
	return pgno;
}

/* Two pointers of a leaf are swapped: rowids out of order, no row lost. */
START_TEST(cells_swapped)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct kit_map m;
	uint8_t *leaf, two[2];

	kit_make("orig.db", &boards[0]);
	kit_map_read(&m, "orig.db");
	b = dbfile_bytes("orig.db");
	leaf = page_at(&b, first_leaf(&b, kit_root("orig.db", "task_events"), 4096), 4096);
	memcpy(two, leaf + 8, 2);
	memcpy(leaf + 8, leaf + 10, 2);
	memcpy(leaf + 10, two, 2);
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, NULL, 0, "swapped");
	/* a pointer that is lost altogether: the cell is found by what it is */
	memcpy(leaf + 10, leaf + 8, 2);
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, NULL, 0, "pointer lost");
	/* the number of cells: one less, and far too many */
	memcpy(leaf + 10, two, 2);
	leaf[4]--;
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, NULL, 0, "one cell less");
	leaf[3] = 7;
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, NULL, 0, "too many cells");
	kit_map_free(&m);
}
END_TEST

/* An interior page of tasks leads to a leaf of task_events, and the other way round. */
START_TEST(cross_linked)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct kit_map m;
	uint32_t tasks, events, cell;
	uint8_t *root;

	kit_make("orig.db", &boards[0]);
	kit_map_read(&m, "orig.db");
	b = dbfile_bytes("orig.db");
	tasks = kit_root("orig.db", "tasks");
	events = first_leaf(&b, kit_root("orig.db", "task_events"), 4096);
	root = page_at(&b, tasks, 4096);
	ck_assert_uint_eq(root[0], PAGE_TABLE_INTERIOR);
	cell = page_u16(root + 12);
	put32(root + cell, events);
	dbfile_write("damaged.db", b.p, b.len);
	/* the leaf that is no longer led to is a stray page, and comes back */
	kit_expect(&m, NULL, 0, "tasks to events");
	put32(root + cell, tasks); /* a cycle */
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, NULL, 0, "a cycle");
	put32(root + cell, 0x7FFFFFFF);
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, NULL, 0, "nowhere");
	kit_map_free(&m);
}
END_TEST

/* The chain of a long text is broken in ways that a page cannot show. */
START_TEST(chain_broken)
{
	struct kit_map m;

	kit_make("orig.db", &boards[0]);
	kit_map_read(&m, "orig.db");
	for (unsigned k = 0; k < 5; k++) {
		CLEANUP(bytes_free) struct bytes b = dbfile_bytes("orig.db");
		const struct kit_row *row = NULL;
		uint32_t wrong[] = { 0, 1, 0, 5000, 2 };
		struct kit_range damage;

		for (size_t i = 0; i < m.nrows && !row; i++)
			if (m.rows[i].n >= 4)
				row = &m.rows[i];
		ck_assert_ptr_nonnull(row);
		damage.from = m.ranges[row->first + 1].from;
		damage.to = damage.from + 4;
		wrong[2] = (uint32_t)(damage.from / 4096 + 1); /* itself */
		put32(b.p + damage.from, wrong[k]);
		dbfile_write("damaged.db", b.p, b.len);
		kit_expect(&m, &damage, 1, "chain");
	}
	kit_map_free(&m);
}
END_TEST

/* A row leads to the chain of a later row, which is as long as its own: it must not get it. */
START_TEST(chain_shared)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	const struct kit_row *first = NULL, *second = NULL;
	struct kit_range damage;
	struct kit_map m;
	sqlite3 *db;

	kit_make("orig.db", &boards[0]);
	db = dbfile_open("orig.db");
	dbfile_sql(db, "INSERT INTO task_comments(id, task_id, author, body, created_at) VALUES"
		       "(9001, 't_00000001', 'x', printf('%.9000c', 'a'), 1770000000),"
		       "(9002, 't_00000001', 'x', printf('%.9000c', 'b'), 1770000000)");
	dbfile_close(db);
	kit_map_read(&m, "orig.db");
	for (size_t i = 0; i < m.nrows; i++) {
		first = m.rows[i].rowid == 9001 ? &m.rows[i] : first;
		second = m.rows[i].rowid == 9002 ? &m.rows[i] : second;
	}
	ck_assert(first && second && first->n == second->n && first->n > 1);
	b = dbfile_bytes("orig.db");
	damage.to = m.ranges[first->first].to; /* the pointer is the cell's last 4 bytes */
	damage.from = damage.to - 4;
	put32(b.p + damage.from, (uint32_t)(m.ranges[second->first + 1].from / 4096 + 1));
	dbfile_write("damaged.db", b.p, b.len);
	kit_expect(&m, &damage, 1, "shared chain");
	kit_map_free(&m);
}
END_TEST

/* What the report says of a lost leaf: which rows, and to which tasks they belong. */
START_TEST(lost_is_named)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	const struct salvage_table *t;
	struct salvage_report r;
	struct page_view v;
	struct page_cell c;
	struct error e;
	uint32_t leaf;
	sqlite3 *db;

	kit_make("orig.db", &boards[0]);
	b = dbfile_bytes("orig.db");
	leaf = first_leaf(&b, kit_root("orig.db", "tasks"), 4096);
	ck_assert(page_view_init(&v, 4096, leaf, page_at(&b, leaf, 4096), 4096));
	ck_assert_uint_gt(v.ncell, 1);
	ck_assert(page_cell(&v, 0, &c));
	dbfile_noise(page_at(&b, leaf, 4096), 4096, 3);
	dbfile_write("damaged.db", b.p, b.len);
	ck_assert_int_eq(kit_salvage("damaged.db", &r, &e), 0);
	t = salvage_report_table(&r, "tasks");
	ck_assert_ptr_nonnull(t);
	ck_assert(t->lost_exact);
	ck_assert(!t->clean);
	ck_assert_uint_eq(t->lost, v.ncell);
	ck_assert_uint_eq(t->nlost_rows, v.ncell);
	ck_assert_int_eq(t->lost_rows[0].rowid, c.rowid);
	ck_assert_uint_eq(r.ndamage, 1);
	ck_assert_uint_eq(r.damage[0].pgno, leaf);
	ck_assert_int_eq(r.damage[0].reason, SALVAGE_PAGE_GARBAGE);
	ck_assert_str_eq(r.tables[r.damage[0].table].name, "tasks");
	ck_assert_int_ge(r.damage[0].upto, t->lost_rows[t->nlost_rows - 1].rowid);
	db = dbfile_open("orig.db");
	for (size_t i = 0; i < t->nlost_rows; i++) {
		char q[200];

		(void)snprintf(q, sizeof(q),
			       "SELECT count(*) FROM tasks WHERE rowid = %ld AND id = '%s'",
			       (long)t->lost_rows[i].rowid, t->lost_rows[i].key);
		ck_assert_int_eq(dbfile_number(db, q), 1);
	}
	dbfile_close(db);
	salvage_report_deinit(&r);
}
END_TEST

/* A text that cannot be one, on a page that is sound: the row stays, and is suspect. */
START_TEST(suspect)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	const struct salvage_table *t;
	struct salvage_report r;
	struct page_view v;
	struct page_cell c;
	struct error e;
	uint32_t leaf;

	kit_make("orig.db", &boards[0]);
	b = dbfile_bytes("orig.db");
	leaf = first_leaf(&b, kit_root("orig.db", "tasks"), 4096);
	ck_assert(page_view_init(&v, 4096, leaf, page_at(&b, leaf, 4096), 4096));
	ck_assert(page_cell(&v, 1, &c));
	memset(page_at(&b, leaf, 4096) + c.offset + c.size / 2, 0xFF, 3);
	dbfile_write("damaged.db", b.p, b.len);
	ck_assert_int_eq(kit_salvage("damaged.db", &r, &e), 0);
	t = salvage_report_table(&r, "tasks");
	ck_assert_uint_eq(t->suspect, 1);
	ck_assert_int_eq(t->suspect_rows[0], c.rowid);
	ck_assert_uint_eq(t->lost, 0);
	ck_assert_int_eq(kit_rows("out.db", "tasks"), kit_rows("orig.db", "tasks"));
	salvage_report_deinit(&r);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("salvage");
	TCase *tc = tcase_create("salvage");

	tcase_add_checked_fixture(tc, dbfile_setup, dbfile_teardown);
	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, whole, 0, BOARDS);
	tcase_add_loop_test(tc, every_page, 0, BOARDS);
	tcase_add_loop_test(tc, many_pages, 0, BOARDS);
	tcase_add_loop_test(tc, truncated, 0, BOARDS);
	tcase_add_loop_test(tc, header_overwritten, 0, BOARDS);
	tcase_add_test(tc, sectors);
	tcase_add_test(tc, cells_swapped);
	tcase_add_test(tc, cross_linked);
	tcase_add_test(tc, chain_broken);
	tcase_add_test(tc, chain_shared);
	tcase_add_test(tc, lost_is_named);
	tcase_add_test(tc, suspect);
	suite_add_tcase(s, tc);
	return s;
}
