#include "dbfile.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "util/error.h"
#include "util/fs.h"

static char dir[256];

void dbfile_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(dir, sizeof(dir), "%s/dbfile.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

void dbfile_teardown(void)
{
	files_remove(dir);
}

char *dbfile_at(const char *name)
{
	static char path[8][400];
	static unsigned n;
	char *p = path[n++ % 8];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

sqlite3 *dbfile_open(const char *name)
{
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(dbfile_at(name), &db), SQLITE_OK);
	dbfile_sql(db, "PRAGMA synchronous = OFF"); /* no power cut here */
	return db;
}

void dbfile_sql(sqlite3 *db, const char *text)
{
	char *err = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &err) != SQLITE_OK)
		ck_abort_msg("%s: %s", text, err);
}

int64_t dbfile_number(sqlite3 *db, const char *text)
{
	sqlite3_stmt *stmt = NULL;
	int64_t n;

	ck_assert_int_eq(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	n = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return n;
}

void bytes_free(struct bytes *b)
{
	free(b->p);
}

struct bytes dbfile_bytes(const char *name)
{
	struct bytes b = { 0 };
	char *p = NULL;

	ck_assert_int_eq(fs_read_file(dbfile_at(name), 1u << 30, &p, &b.len), 0);
	b.p = (uint8_t *)p;
	return b;
}

void dbfile_write(const char *name, const void *p, size_t len)
{
	int fd = open(dbfile_at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, p, len), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

void dbfile_copy(const char *from, const char *to)
{
	CLEANUP(bytes_free) struct bytes b = dbfile_bytes(from);

	dbfile_write(to, b.p, b.len);
}

void dbfile_close(sqlite3 *db)
{
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

uint32_t dbfile_random(uint64_t *state, uint32_t below)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return (uint32_t)(x >> 32) % below;
}

void dbfile_noise(void *p, size_t len, uint64_t seed)
{
	uint8_t *b = p;

	seed = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	for (size_t i = 0; i < len; i++)
		b[i] = (uint8_t)dbfile_random(&seed, 256);
}
