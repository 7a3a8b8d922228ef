#include "salvaged.h"

#include <check.h>
#include <sqlite3.h>
#include <stdint.h>

#include "dbfile.h"
#include "salvage.h"
#include "salvage/page.h"
#include "salvage/salvage.h"
#include "suite.h"
#include "util/error.h"

int64_t kit_out_number(const char *sql)
{
	sqlite3 *db = dbfile_open("out.db");
	int64_t n = dbfile_number(db, sql);

	dbfile_close(db);
	return n;
}

void kit_overwrite(const char *name, uint32_t pgno, size_t page_size)
{
	CLEANUP(bytes_free) struct bytes b = dbfile_bytes(name);

	ck_assert_uint_le(pgno * page_size, b.len);
	dbfile_noise(b.p + (pgno - 1) * page_size, page_size, pgno);
	dbfile_write(name, b.p, b.len);
}

void kit_salvage_ok(const char *name, struct salvage_report *r)
{
	struct error e;
	int code = kit_salvage(name, r, &e);

	ck_assert_msg(code == 0, "%s: %d %s", name, code, e.text);
	ck_assert_str_eq(r->integrity, "ok");
}
