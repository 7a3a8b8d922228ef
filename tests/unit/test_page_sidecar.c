/* page: what stands beside the file, WAL and journal; and bytes that mean harm. */
#include "salvage/page.h"

#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kit/page.h"
#include "kit/suite.h"
#include "util/error.h"

/* --- sidecars -------------------------------------------------------------------------------
 */

/* Every page of @got is that of the database file @want, and there are as many. */
static void same_pages(struct page_file *got, const char *want)
{
	CLEANUP(bytes_free) struct bytes b = dbfile_bytes(want);
	uint8_t buf[4096];

	ck_assert_uint_eq(got->npages, b.len / got->page_size);
	for (uint32_t pgno = 1; pgno <= got->npages; pgno++) {
		const uint8_t *w = b.p + (size_t)(pgno - 1) * got->page_size;

		ck_assert_uint_eq(page_file_read(got, pgno, buf), got->page_size);
		if (pgno == 1) /* the checkpointer counts in the header */
			ck_assert_mem_eq(buf + 100, w + 100, got->page_size - 100);
		else
			ck_assert_mem_eq(buf, w, got->page_size);
	}
}

/* w.db with a WAL of three commits beside it; n.db the same, checkpointed after @commits. */
static void make_wal(int commits)
{
	sqlite3 *db = dbfile_open("live.db"), *other;

	kit_page_make("base.db", 1024, 0);
	dbfile_copy("base.db", "live.db");
	dbfile_close(db);
	db = dbfile_open("live.db");
	dbfile_sql(db, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;");
	for (int i = 0; i < 3; i++) {
		dbfile_sql(db,
			   i == 0   ? "UPDATE t SET b = b || 'x' WHERE a % 5 = 0"
			   : i == 1 ? "INSERT INTO t SELECT a + 10000, b FROM t WHERE a < 1000"
				    : "DELETE FROM t WHERE a % 3 = 1");
		if (i == commits - 1) {
			dbfile_copy("live.db", "n.db");
			dbfile_copy("live.db-wal", "n.db-wal");
		}
	}
	dbfile_copy("live.db", "w.db");
	dbfile_copy("live.db-wal", "w.db-wal");
	dbfile_close(db);
	other = dbfile_open("n.db");
	dbfile_sql(other, "PRAGMA wal_checkpoint(TRUNCATE)");
	dbfile_close(other);
}

START_TEST(wal_applied)
{
	struct page_file f;

	make_wal(3);
	f = kit_page_open("w.db", true);
	ck_assert_int_eq(f.overlay.source, PAGE_WAL);
	ck_assert_uint_eq(f.overlay.found, 3);
	same_pages(&f, "n.db");
	page_file_close(&f);
	f = kit_page_open("w.db", false);
	ck_assert_int_eq(f.overlay.source, PAGE_PLAIN);
	page_file_close(&f);
}
END_TEST

/* The main file's first page is garbage; if page 1 is in the WAL, that does not matter. */
START_TEST(wal_heals_header)
{
	CLEANUP(bytes_free) struct bytes b = { 0 };
	struct page_file f;

	make_wal(3);
	b = dbfile_bytes("w.db");
	memset(b.p, 0xAB, 1024);
	dbfile_write("w.db", b.p, b.len);
	f = kit_page_open("w.db", true);
	ck_assert(f.header.trusted);
	ck_assert(!f.guessed);
	same_pages(&f, "n.db");
	page_file_close(&f);
}
END_TEST

START_TEST(wal_torn)
{
	CLEANUP(bytes_free) struct bytes w = { 0 };
	struct page_file f;
	size_t frame = 24 + 1024, last;

	make_wal(2);
	w = dbfile_bytes("w.db-wal");
	/* where the second commit ends */
	for (last = 32; page_u32(w.p + last + 4) == 0; last += frame)
		;
	for (last += frame; page_u32(w.p + last + 4) == 0; last += frame)
		;
	last += frame;
	ck_assert_uint_lt(last + frame, w.len);
	/* cut inside the third transaction, and in the middle of a frame */
	dbfile_write("w.db-wal", w.p, last + frame + 500);
	f = kit_page_open("w.db", true);
	ck_assert_uint_eq(f.overlay.found, 2);
	same_pages(&f, "n.db");
	page_file_close(&f);
	/* one flipped bit in the third: the same */
	w.p[last + 24 + 77] ^= 4;
	dbfile_write("w.db-wal", w.p, w.len);
	f = kit_page_open("w.db", true);
	ck_assert_uint_eq(f.overlay.found, 2);
	same_pages(&f, "n.db");
	page_file_close(&f);
	/* other salts: frames of an earlier round */
	w.p[last + 24 + 77] ^= 4;
	w.p[last + 9] ^= 1;
	dbfile_write("w.db-wal", w.p, w.len);
	f = kit_page_open("w.db", true);
	ck_assert_uint_eq(f.overlay.found, 2);
	page_file_close(&f);
	/* a header that is none: as if there were no WAL */
	w.p[5] ^= 1;
	dbfile_write("w.db-wal", w.p, w.len);
	f = kit_page_open("w.db", true);
	ck_assert_int_eq(f.overlay.source, PAGE_PLAIN);
	page_file_close(&f);
}
END_TEST

/* A WAL of another page size is not this file's. */
START_TEST(wal_foreign)
{
	struct page_file f;

	make_wal(3);
	kit_page_make("x.db", 4096, 0);
	dbfile_copy("w.db-wal", "x.db-wal");
	f = kit_page_open("x.db", true);
	ck_assert_int_eq(f.overlay.source, PAGE_PLAIN);
	ck_assert_uint_eq(f.page_size, 4096);
	page_file_close(&f);
}
END_TEST

/* A writer is stopped in mid-transaction: file half written, journal hot. */
static void make_hot(void)
{
	sqlite3 *db;

	kit_page_make("base.db", 1024, 0);
	dbfile_copy("base.db", "live.db");
	db = dbfile_open("live.db");
	dbfile_sql(db, "PRAGMA cache_size = 5; PRAGMA cache_spill = 5; BEGIN;"
		       "UPDATE t SET b = b || 'yyyyyyyyyyyyyyyyyyyy' WHERE a % 2 = 0;"
		       "INSERT INTO t SELECT a + 10000, b FROM t;");
	dbfile_copy("live.db", "j.db");
	dbfile_copy("live.db-journal", "j.db-journal");
	dbfile_sql(db, "ROLLBACK");
	dbfile_close(db);
}

START_TEST(journal_rolled_back)
{
	CLEANUP(bytes_free) struct bytes before = { 0 }, half = { 0 };
	struct page_file f;

	make_hot();
	before = dbfile_bytes("base.db");
	half = dbfile_bytes("j.db");
	ck_assert(before.len != half.len || memcmp(before.p, half.p, half.len) != 0);
	f = kit_page_open("j.db", true);
	ck_assert_int_eq(f.overlay.source, PAGE_JOURNAL);
	same_pages(&f, "base.db");
	page_file_close(&f);
	/* also without a header in the main file */
	memset(half.p, 0xCD, 1024);
	dbfile_write("j.db", half.p, half.len);
	f = kit_page_open("j.db", true);
	same_pages(&f, "base.db");
	page_file_close(&f);
}
END_TEST

START_TEST(journal_not_hot)
{
	CLEANUP(bytes_free) struct bytes j = { 0 };
	uint8_t super[4 + 8 + 16] = { 0 };
	CLEANUP(freep) uint8_t *with = NULL;
	struct page_file f;

	make_hot();
	j = dbfile_bytes("j.db-journal");
	/* the name of a super-journal at its end */
	memcpy(super + 4, "xx-mj000", 8);
	super[15] = 8;
	memcpy(super + 20, j.p, 8);
	with = malloc(j.len + sizeof(super));
	ck_assert_ptr_nonnull(with);
	memcpy(with, j.p, j.len);
	memcpy(with + j.len, super, sizeof(super));
	dbfile_write("j.db-journal", with, j.len + sizeof(super));
	f = kit_page_open("j.db", true);
	ck_assert_int_eq(f.overlay.source, PAGE_PLAIN);
	page_file_close(&f);
	/* a header that was wiped: the transaction had ended */
	memset(j.p, 0, 28);
	dbfile_write("j.db-journal", j.p, j.len);
	f = kit_page_open("j.db", true);
	ck_assert_int_eq(f.overlay.source, PAGE_PLAIN);
	page_file_close(&f);
}
END_TEST

/* --- hostile --------------------------------------------------------------------------------
 */

static uint64_t rng;

static uint32_t rnd(uint32_t below)
{
	return dbfile_random(&rng, below);
}

static void read_everything(struct page_file *f, struct page_record *rec)
{
	struct page_payload p = { .pages_max = 64 };
	uint8_t *buf = malloc(PAGE_SIZE_MAX), *map = malloc(PAGE_SIZE_MAX);
	struct kit_page_list l = { 0 };
	struct page_view v;
	struct page_cell c;

	ck_assert(buf && map);
	(void)page_freelist_walk(f, buf, kit_page_see, &l);
	for (uint32_t pgno = 1; pgno <= f->npages; pgno++) {
		uint32_t avail = page_file_read(f, pgno, buf);

		(void)page_looks_ptrmap(f, pgno, buf, avail);
		if (!page_view_init(&v, f->usable, pgno, buf, avail))
			continue;
		(void)page_view_audit(&v, map);
		for (uint32_t i = 0; i <= v.ncell; i++) {
			if (v.kind == PAGE_TABLE_INTERIOR || v.kind == PAGE_INDEX_INTERIOR)
				(void)page_child(&v, i);
			if (i == v.ncell || !page_cell(&v, i, &c) || !c.payload ||
			    page_payload_read(f, &c, &p, kit_page_claim_any, NULL) != 0)
				continue;
			(void)page_record_parse(p.data, p.len, c.payload, rec);
		}
		for (uint32_t o = 0; o < v.avail; o += 7)
			(void)page_cell_at(&v, o, &c);
	}
	page_payload_deinit(&p);
	free(buf);
	free(map);
}

START_TEST(fuzz)
{
	CLEANUP(bytes_free) struct bytes b = { 0 }, w = { 0 }, j = { 0 };
	CLEANUP(freep) uint8_t *d = NULL;
	struct page_record rec;
	struct error e = ERROR_NULL;

	ck_assert_int_eq(page_record_init(&rec), 0);
	make_wal(3);
	(void)unlink(dbfile_at("base.db"));
	(void)unlink(dbfile_at("live.db"));
	make_hot();
	b = dbfile_bytes("w.db");
	w = dbfile_bytes("w.db-wal");
	j = dbfile_bytes("j.db-journal");
	d = malloc(w.len > b.len ? w.len : b.len);
	ck_assert_ptr_nonnull(d);
	rng = UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)_i;
	for (int it = 0; it < 400; it++) {
		struct bytes *what = it % 4 == 0 ? &w : it % 4 == 1 ? &j : &b;
		uint32_t n = 1 + rnd(40), len = (uint32_t)what->len;
		struct page_file f;

		memcpy(d, what->p, len);
		while (n--) {
			uint32_t o = rnd(4) ? rnd(len) : rnd(200);

			d[o] = (uint8_t)(rnd(2) ? (uint32_t)d[o] ^ 1u << rnd(8) : rnd(256));
		}
		if (rnd(4) == 0)
			len = rnd(len);
		dbfile_write("z.db", what == &b ? d : b.p, what == &b ? len : b.len);
		dbfile_write("z.db-wal", what == &w ? d : w.p, what == &w ? len : w.len);
		if (what == &j)
			dbfile_write("z.db-journal", d, len);
		if (page_file_open(&f, dbfile_at("z.db"), it % 3 != 2, &e) == 0)
			read_everything(&f, &rec);
		page_file_close(&f);
		(void)unlink(dbfile_at("z.db-journal"));
	}
	page_record_deinit(&rec);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("page_sidecar");
	TCase *tc = tcase_create("page_sidecar");

	tcase_add_checked_fixture(tc, dbfile_setup, dbfile_teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, wal_applied);
	tcase_add_test(tc, wal_heals_header);
	tcase_add_test(tc, wal_torn);
	tcase_add_test(tc, wal_foreign);
	tcase_add_test(tc, journal_rolled_back);
	tcase_add_test(tc, journal_not_hot);
	tcase_add_loop_test(tc, fuzz, 0, 5);
	suite_add_tcase(s, tc);
	return s;
}
