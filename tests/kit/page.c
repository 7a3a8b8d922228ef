#include "page.h"

#include <check.h>
#include <stdio.h>

#include "util/error.h"

struct page_file kit_page_open(const char *name, bool sidecars)
{
	struct page_file f;
	struct error e = ERROR_NULL;
	int r = page_file_open(&f, dbfile_at(name), sidecars, &e);

	if (r != 0)
		ck_abort_msg("%s: %d %s", name, r, e.text);
	return f;
}

bool kit_page_claim_any(void *arg, uint32_t pgno)
{
	(void)arg, (void)pgno;
	return true;
}

void kit_page_make(const char *name, int size, int reserve)
{
	sqlite3 *db = dbfile_open(name);
	char text[200];

	(void)snprintf(text, sizeof(text), "PRAGMA page_size = %d", size);
	dbfile_sql(db, text);
	if (reserve)
		ck_assert_int_eq(
			sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve),
			SQLITE_OK);
	dbfile_sql(
		db,
		"CREATE TABLE t(a, b); CREATE INDEX i ON t(a);"
		"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000)"
		"INSERT INTO t SELECT x, hex(randomblob(x % 60)) FROM n;"
		"DELETE FROM t WHERE a % 7 = 3");
	dbfile_close(db);
}

bool kit_page_see(void *arg, uint32_t pgno, bool dry)
{
	struct kit_page_list *l = arg;

	if (pgno >= sizeof(l->seen) || l->seen[pgno])
		return false;
	if (!dry) {
		l->seen[pgno] = 1;
		l->n++;
	}
	return true;
}
