/* page: the file format, read from databases that SQLite wrote, and from what is left of them.
 */
#include "salvage/page.h"

#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/page.h"
#include "kit/suite.h"
#include "util/error.h"

/* --- varint, header, record -----------------------------------------------------------------
 */

START_TEST(varint)
{
	static const struct {
		uint8_t b[9];
		unsigned n;
		uint64_t v;
	} cases[] = {
		{ { 0 }, 1, 0 },
		{ { 0x7F }, 1, 127 },
		{ { 0x81, 0x00 }, 2, 128 },
		{ { 0xFF, 0x7F }, 2, 16383 },
		{ { 0x81, 0x80, 0x00 }, 3, 16384 },
		{ { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF }, 9, UINT64_MAX },
		{ { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01 }, 9, 1 },
		{ { 0xC0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00 },
		  9,
		  UINT64_C(1) << 63 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t v = 42;

		ck_assert_uint_eq(page_varint(cases[i].b, 9, &v), cases[i].n);
		ck_assert_uint_eq(v, cases[i].v);
		for (unsigned cut = 0; cut < cases[i].n; cut++)
			ck_assert_uint_eq(page_varint(cases[i].b, cut, &v), 0);
	}
}
END_TEST

START_TEST(header_fields)
{
	struct page_header h;
	sqlite3 *db = dbfile_open("h.db");
	CLEANUP(bytes_free) struct bytes b = { 0 };

	dbfile_sql(
		db,
		"PRAGMA page_size = 8192; PRAGMA encoding = 'UTF-16le'; PRAGMA auto_vacuum = 2;"
		"PRAGMA user_version = 77; PRAGMA application_id = 99; CREATE TABLE t(a);");
	dbfile_close(db);
	b = dbfile_bytes("h.db");
	ck_assert(page_header_parse(b.p, &h));
	ck_assert(h.magic);
	ck_assert_uint_eq(h.page_size, 8192);
	ck_assert_uint_eq(h.reserved, 0);
	ck_assert_uint_eq(h.encoding, PAGE_UTF16LE);
	ck_assert_uint_eq(h.user_version, 77);
	ck_assert_uint_eq(h.application_id, 99);
	ck_assert_uint_eq(h.pages, b.len / 8192);
	ck_assert_uint_ne(h.largest_root, 0);
	ck_assert_uint_eq(h.incremental, 1);
	/* any one flipped bit leaves it trusted */
	for (size_t i = 0; i < 800; i++) {
		b.p[i / 8] ^= (uint8_t)(1 << i % 8);
		ck_assert(page_header_parse(b.p, &h));
		b.p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	/* two fields off: something else */
	b.p[0] = 'x';
	b.p[18] = 9;
	ck_assert(!page_header_parse(b.p, &h));
	ck_assert_uint_eq(h.user_version, 0);
	memset(b.p, 0, 100);
	ck_assert(!page_header_parse(b.p, &h));
	ck_assert_uint_eq(h.page_size, 0);
}
END_TEST

static const char *const record_values[] = {
	"NULL",
	"0",
	"1",
	"-1",
	"127",
	"128",
	"-129",
	"32767",
	"-32769",
	"8388607",
	"-8388609",
	"2147483647",
	"-2147483649",
	"140737488355327",
	"-140737488355329",
	"9223372036854775807",
	"-9223372036854775808",
	"1.5",
	"-2.25e300",
	"''",
	"'text'",
	"x''",
	"x'00ff00'",
	"zeroblob(300)",
	"'ünïcode'",
};

START_TEST(record_values_are_sqlites)
{
	size_t n = sizeof(record_values) / sizeof(*record_values);
	struct page_record rec;
	struct page_view v;
	struct page_cell c;
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = dbfile_open("r.db");
	struct page_file f;
	uint8_t buf[4096];

	dbfile_sql(db, "CREATE TABLE t(a, b)");
	for (size_t i = 0; i < n; i++) {
		char text[200];

		(void)snprintf(text, sizeof(text), "INSERT INTO t VALUES(%s, %zu)",
			       record_values[i], i);
		dbfile_sql(db, text);
	}
	ck_assert_int_eq(page_record_init(&rec), 0);
	f = kit_page_open("r.db", false);
	ck_assert(page_view_init(&v, f.usable, 2, buf, page_file_read(&f, 2, buf)));
	ck_assert_uint_eq(v.ncell, n);
	ck_assert_int_eq(
		sqlite3_prepare_v2(db, "SELECT a FROM t ORDER BY rowid", -1, &stmt, NULL),
		SQLITE_OK);
	for (uint32_t i = 0; i < n; i++) {
		const struct page_value *a = &rec.cols[0];

		ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
		ck_assert(page_cell(&v, i, &c));
		ck_assert(page_record_parse(c.local, c.local_len, c.payload, &rec));
		ck_assert(rec.exact);
		ck_assert_uint_eq(rec.ncol, 2);
		ck_assert_int_eq(c.rowid, (int64_t)i + 1);
		switch (sqlite3_column_type(stmt, 0)) {
		case SQLITE_NULL:
			ck_assert_int_eq(a->type, PAGE_NULL);
			break;
		case SQLITE_INTEGER:
			ck_assert_int_eq(a->type, PAGE_INT);
			ck_assert_int_eq(a->i, sqlite3_column_int64(stmt, 0));
			break;
		case SQLITE_FLOAT:
			ck_assert_int_eq(a->type, PAGE_REAL);
			ck_assert_double_eq(a->r, sqlite3_column_double(stmt, 0));
			break;
		default:
			ck_assert_int_eq(a->type, sqlite3_column_type(stmt, 0) == SQLITE_TEXT
							  ? PAGE_TEXT
							  : PAGE_BLOB);
			ck_assert_int_eq((int)a->len, sqlite3_column_bytes(stmt, 0));
			if (a->len)
				ck_assert_mem_eq(a->data, sqlite3_column_blob(stmt, 0), a->len);
		}
	}
	(void)sqlite3_finalize(stmt);
	page_file_close(&f);
	page_record_deinit(&rec);
	dbfile_close(db);
}
END_TEST

START_TEST(record_hostile)
{
	struct page_record rec;
	const uint8_t reserved[] = { 2, 10 }, overrun[] = { 9, 1, 1 }, odd[] = { 2, 0x81 },
		      big[] = { 6, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F }, empty[] = { 1 },
		      slack[] = { 2, 1, 5, 6 };
	uint8_t many[300];

	ck_assert_int_eq(page_record_init(&rec), 0);
	ck_assert(!page_record_parse(reserved, 2, 2, &rec));
	ck_assert(!page_record_parse(overrun, 3, 3, &rec)); /* header longer than the record */
	ck_assert(!page_record_parse(odd, 2, 2, &rec));     /* a varint that crosses its end */
	ck_assert(!page_record_parse(big, 6, 6, &rec));     /* a text of 4 GiB */
	ck_assert(!page_record_parse(NULL, 0, 0, &rec));
	ck_assert(page_record_parse(empty, 1, 1, &rec));
	ck_assert_uint_eq(rec.ncol, 0);
	ck_assert(rec.exact);
	ck_assert(page_record_parse(slack, 4, 4, &rec));
	ck_assert(!rec.exact);
	memset(many, 0, sizeof(many));
	many[0] = 0x82;
	many[1] = 0x2C; /* 300 */
	rec.limit = 298;
	ck_assert(page_record_parse(many, 300, 300, &rec));
	ck_assert_uint_eq(rec.ncol, 298);
	rec.limit = 297;
	ck_assert(!page_record_parse(many, 300, 300, &rec));
	/* only a part at hand: the columns that are whole */
	rec.limit = PAGE_COLUMNS_MAX;
	ck_assert(page_record_parse(many, 10, 300, &rec));
	ck_assert(!rec.complete);
	ck_assert_uint_eq(rec.ncol, 8);
	page_record_deinit(&rec);
}
END_TEST

/* --- overflow chains ------------------------------------------------------------------------
 */

static const int page_sizes[] = { 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536 };

/* Rows of all lengths around the limits of §1.6, read back to the byte. */
START_TEST(overflow_lengths)
{
	int size = page_sizes[_i];
	struct page_payload p = { .pages_max = UINT32_MAX };
	struct page_record rec;
	sqlite3 *db = dbfile_open("o.db");
	struct page_file f;
	uint8_t *buf = malloc(PAGE_SIZE_MAX), *map = malloc(PAGE_SIZE_MAX);
	uint64_t rows = 0;
	char text[300];

	ck_assert(buf && map);
	ck_assert_int_eq(page_record_init(&rec), 0);
	(void)snprintf(text, sizeof(text),
		       "PRAGMA page_size = %d; CREATE TABLE t(n INTEGER, a BLOB);", size);
	dbfile_sql(db, text);
	dbfile_sql(db, "BEGIN");
	for (int k = 0; k < 9; k++) {
		int around[] = { size - 35,
				 2 * size,
				 2 * size - 39,
				 3 * size + 100,
				 size - 39,
				 10 * size,
				 size / 8,
				 (size - 12) * 32 / 255 - 23 + size - 4,
				 20 };

		for (int d = -12; d <= 12; d++) {
			(void)snprintf(text, sizeof(text),
				       "INSERT INTO t VALUES(%d, randomblob(%d))",
				       around[k] + d, around[k] + d);
			dbfile_sql(db, text);
		}
	}
	dbfile_sql(db, "COMMIT");
	f = kit_page_open("o.db", false);
	ck_assert_uint_eq(f.page_size, size);
	for (uint32_t pgno = 2; pgno <= f.npages; pgno++) {
		struct page_view v;
		struct page_cell c;

		if (!page_view_init(&v, f.usable, pgno, buf, page_file_read(&f, pgno, buf)) ||
		    v.kind != PAGE_TABLE_LEAF || !page_view_audit(&v, map))
			continue;
		for (uint32_t i = 0; i < v.ncell; i++) {
			sqlite3_blob *blob = NULL;
			static char got[700000];

			ck_assert(page_cell(&v, i, &c));
			ck_assert_int_eq(
				page_payload_read(&f, &c, &p, kit_page_claim_any, NULL), 0);
			ck_assert(page_record_parse(p.data, p.len, c.payload, &rec));
			ck_assert(rec.exact);
			ck_assert_int_eq(rec.cols[0].i, (int)rec.cols[1].len);
			ck_assert_int_eq(
				sqlite3_blob_open(db, "main", "t", "a", c.rowid, 0, &blob),
				SQLITE_OK);
			ck_assert_int_eq(sqlite3_blob_bytes(blob), (int)rec.cols[1].len);
			ck_assert_uint_le(rec.cols[1].len, sizeof(got));
			ck_assert_int_eq(sqlite3_blob_read(blob, got, (int)rec.cols[1].len, 0),
					 SQLITE_OK);
			ck_assert_mem_eq(got, rec.cols[1].data, rec.cols[1].len);
			(void)sqlite3_blob_close(blob);
			rows++;
		}
	}
	ck_assert_uint_eq(rows, dbfile_number(db, "SELECT count(*) FROM t"));
	ck_assert_uint_eq(rows, 225);
	page_payload_deinit(&p);
	page_record_deinit(&rec);
	page_file_close(&f);
	free(buf);
	free(map);
	dbfile_close(db);
}
END_TEST

static bool claim_but(void *arg, uint32_t pgno)
{
	return pgno != *(uint32_t *)arg;
}

START_TEST(overflow_broken)
{
	struct page_payload p = { .pages_max = UINT32_MAX };
	struct page_view v;
	struct page_cell c;
	struct page_file f;
	uint8_t buf[512];
	uint32_t second;
	CLEANUP(bytes_free) struct bytes b = { 0 };
	sqlite3 *db = dbfile_open("c.db");
	static const uint32_t wrong[] = { 0, 1, 2, 7777, UINT32_MAX };

	dbfile_sql(db, "PRAGMA page_size = 512; CREATE TABLE t(a); INSERT INTO t VALUES(hex("
		       "randomblob(2000)))");
	dbfile_close(db);
	b = dbfile_bytes("c.db");
	f = kit_page_open("c.db", false);
	ck_assert(page_view_init(&v, f.usable, 2, buf, page_file_read(&f, 2, buf)));
	ck_assert(page_cell(&v, 0, &c));
	ck_assert_int_eq(page_payload_read(&f, &c, &p, kit_page_claim_any, NULL), 0);
	ck_assert_uint_ge(p.npages, 7);
	second = p.pages[1];
	ck_assert_int_eq(page_payload_read(&f, &c, &p, claim_but, &second), -EBADMSG);
	p.pages_max = 3; /* a budget */
	ck_assert_int_eq(page_payload_read(&f, &c, &p, kit_page_claim_any, NULL), -EBADMSG);
	p.pages_max = UINT32_MAX;
	page_file_close(&f);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong) + 2; i++) {
		uint8_t *next = b.p + (second - 1) * (size_t)512, keep[4];
		uint32_t to = i < 5 ? wrong[i] : i == 5 ? second : p.pages[0];

		memcpy(keep, next, 4);
		next[0] = (uint8_t)(to >> 24);
		next[1] = (uint8_t)(to >> 16);
		next[2] = (uint8_t)(to >> 8);
		next[3] = (uint8_t)to;
		dbfile_write("d.db", b.p, b.len);
		memcpy(next, keep, 4);
		f = kit_page_open("d.db", false);
		ck_assert_int_eq(page_payload_read(&f, &c, &p, kit_page_claim_any, NULL),
				 -EBADMSG);
		page_file_close(&f);
	}
	page_payload_deinit(&p);
}
END_TEST

/* --- geometry -------------------------------------------------------------------------------
 */

START_TEST(infer_geometry)
{
	static const int reserves[] = { 0, 8, 32 };

	for (size_t r = 0; r < 3; r++) {
		CLEANUP(bytes_free) struct bytes b = { 0 };
		struct page_file f;

		(void)unlink(dbfile_at("g.db"));
		kit_page_make("g.db", page_sizes[_i], reserves[r]);
		b = dbfile_bytes("g.db");
		memset(b.p, 0x5A, 100);
		dbfile_write("g.db", b.p, b.len);
		f = kit_page_open("g.db", false);
		ck_assert(f.guessed);
		ck_assert_uint_eq(f.page_size, page_sizes[_i]);
		ck_assert_uint_eq(f.usable, page_sizes[_i] - reserves[r]);
		page_file_close(&f);
		/* nor does it need page 1, or the last page whole */
		if (b.len > 3 * (size_t)page_sizes[_i]) {
			memset(b.p, 0, (size_t)page_sizes[_i]);
			dbfile_write("g.db", b.p, b.len - 100);
			f = kit_page_open("g.db", false);
			ck_assert_uint_eq(f.page_size, page_sizes[_i]);
			ck_assert_uint_eq(f.npages, b.len / (size_t)page_sizes[_i]);
			page_file_close(&f);
		}
	}
}
END_TEST

/* The header is there, but one field of it is a lie: its pages say otherwise. */
START_TEST(infer_reserved_flipped)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct page_file f;

	kit_page_make("g.db", 4096, 0);
	b = dbfile_bytes("g.db");
	b.p[20] = 4;
	dbfile_write("g.db", b.p, b.len);
	f = kit_page_open("g.db", false);
	ck_assert(f.guessed);
	ck_assert_uint_eq(f.usable, 4096);
	page_file_close(&f);
}
END_TEST

START_TEST(not_a_database)
{
	struct page_file f;
	struct error e = ERROR_NULL;
	uint8_t noise[10000];
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(noise); i++) {
		x = x * 1664525 + 1013904223;
		noise[i] = (uint8_t)(x >> 24);
	}
	dbfile_write("n", noise, sizeof(noise));
	ck_assert_int_eq(page_file_open(&f, dbfile_at("n"), true, &e), PAGE_NOT_A_DATABASE);
	page_file_close(&f);
	memset(noise, '\n', sizeof(noise)); /* 0x0A is also the flag of an index leaf */
	dbfile_write("n", noise, sizeof(noise));
	ck_assert_int_eq(page_file_open(&f, dbfile_at("n"), true, &e), PAGE_NOT_A_DATABASE);
	page_file_close(&f);
	dbfile_write("n", "", 0);
	ck_assert_int_eq(page_file_open(&f, dbfile_at("n"), true, &e), PAGE_NOT_A_DATABASE);
	ck_assert_str_eq(e.text, "the file is empty");
	page_file_close(&f);
	dbfile_write("n", "SQLite format 3", 10);
	ck_assert_int_eq(page_file_open(&f, dbfile_at("n"), true, &e), PAGE_NOT_A_DATABASE);
	page_file_close(&f);
	ck_assert_int_eq(page_file_open(&f, dbfile_at("none"), true, &e), -ENOENT);
	page_file_close(&f);
	ck_assert_int_eq(page_file_open(&f, dbfile_at("."), true, &e), -EINVAL);
	page_file_close(&f);
	ck_assert_int_eq(mkfifo(dbfile_at("fifo"), 0600), 0);
	ck_assert_int_eq(page_file_open(&f, dbfile_at("fifo"), true, &e), -EINVAL);
	page_file_close(&f);
}
END_TEST

/* --- audit, freelist, pointer map -----------------------------------------------------------
 */

START_TEST(audit)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	uint8_t map[4096], *page;
	struct page_view v;
	struct page_file f;
	uint32_t sound = 0;

	kit_page_make("a.db", 4096, 0);
	b = dbfile_bytes("a.db");
	f = kit_page_open("a.db", false);
	for (uint32_t pgno = 1; pgno <= f.npages; pgno++) {
		page = b.p + (size_t)(pgno - 1) * 4096;
		if (page_view_init(&v, 4096, pgno, page, 4096)) {
			ck_assert_msg(page_view_audit(&v, map), "page %u", pgno);
			sound++;
		}
	}
	ck_assert_uint_ge(sound, 20);
	/* a leaf of t: every bit of its header and pointers counts, but the fragment bytes'
	 * split */
	page = NULL;
	for (uint32_t pgno = 2; !page && pgno <= f.npages; pgno++)
		if (b.p[(size_t)(pgno - 1) * 4096] == PAGE_TABLE_LEAF)
			page = b.p + (size_t)(pgno - 1) * 4096;
	ck_assert_ptr_nonnull(page);
	for (uint32_t bit = 8; bit < 8 * 40; bit++) {
		page[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_msg(!page_view_init(&v, 4096, 9, page, 4096) ||
				      !page_view_audit(&v, map),
			      "bit %u", bit);
		page[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	page_file_close(&f);
}
END_TEST

START_TEST(freelist)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct kit_page_list l = { 0 };
	struct page_file f;
	uint8_t buf[512];
	int64_t count;
	uint8_t *trunk;
	sqlite3 *db;

	kit_page_make("f.db", 512, 0);
	db = dbfile_open("f.db");
	dbfile_sql(db, "DELETE FROM t WHERE a > 700");
	count = dbfile_number(db, "PRAGMA freelist_count");
	ck_assert_int_gt(count, 150); /* more than one trunk */
	dbfile_close(db);
	b = dbfile_bytes("f.db");
	f = kit_page_open("f.db", false);
	ck_assert(page_freelist_walk(&f, buf, kit_page_see, &l));
	ck_assert_int_eq(l.n, count);
	trunk = b.p + (size_t)(f.header.freelist_trunk - 1) * 512;
	page_file_close(&f);
	for (int k = 0; k < 4; k++) {
		uint8_t keep[16];

		memcpy(keep, trunk, 16);
		if (k == 0)
			trunk[4] = 1; /* too many leaves */
		else if (k == 1)
			memset(trunk + 8, 0xFF, 4); /* a leaf beyond the end */
		else if (k == 2)
			memcpy(trunk, b.p + 32, 4); /* its own next */
		else
			memset(trunk, 0, 4); /* the end, too early */
		dbfile_write("f2.db", b.p, b.len);
		memcpy(trunk, keep, 16);
		memset(&l, 0, sizeof(l));
		f = kit_page_open("f2.db", false);
		ck_assert(!page_freelist_walk(&f, buf, kit_page_see, &l));
		ck_assert_int_lt(l.n, count);
		if (k < 2)
			ck_assert_uint_eq(l.n, 0); /* nothing of a trunk that lies */
		page_file_close(&f);
	}
}
END_TEST

START_TEST(ptrmap)
{
	struct page_file f;
	uint8_t buf[512];
	sqlite3 *db = dbfile_open("p.db");

	dbfile_sql(
		db,
		"PRAGMA page_size = 512; PRAGMA auto_vacuum = 1; CREATE TABLE t(a, b);"
		"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000)"
		"INSERT INTO t SELECT x, hex(randomblob(x % 400)) FROM n; DELETE FROM t WHERE "
		"a % 7 = 3");
	dbfile_close(db);
	f = kit_page_open("p.db", false);
	ck_assert(page_is_ptrmap(&f, 2));
	ck_assert(!page_is_ptrmap(&f, 3));
	ck_assert(page_is_ptrmap(&f, 2 + 103));
	ck_assert(page_looks_ptrmap(&f, 2, buf, page_file_read(&f, 2, buf)));
	ck_assert(!page_looks_ptrmap(&f, 3, buf, page_file_read(&f, 3, buf)));
	ck_assert(page_looks_ptrmap(&f, 105, buf, page_file_read(&f, 105, buf)));
	page_file_close(&f);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("page");
	TCase *tc = tcase_create("page");

	tcase_add_checked_fixture(tc, dbfile_setup, dbfile_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, varint);
	tcase_add_test(tc, header_fields);
	tcase_add_test(tc, record_values_are_sqlites);
	tcase_add_test(tc, record_hostile);
	tcase_add_loop_test(tc, overflow_lengths, 0, 8);
	tcase_add_test(tc, overflow_broken);
	tcase_add_loop_test(tc, infer_geometry, 0, 8);
	tcase_add_test(tc, infer_reserved_flipped);
	tcase_add_test(tc, not_a_database);
	tcase_add_test(tc, audit);
	tcase_add_test(tc, freelist);
	tcase_add_test(tc, ptrmap);
	suite_add_tcase(s, tc);
	return s;
}
