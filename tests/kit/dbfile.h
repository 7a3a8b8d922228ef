/* Databases to damage: a temporary folder, SQL, files as bytes. What goes wrong fails the test.
 */
#pragma once

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

/** dbfile_setup() - a fresh temporary folder for the case; dbfile_teardown() removes it */
void dbfile_setup(void);
void dbfile_teardown(void);

/** dbfile_at() - path of @name in the folder; a handful of calls later it is overwritten */
char *dbfile_at(const char *name);

/** dbfile_open() - a connection, which the caller closes */
sqlite3 *dbfile_open(const char *name);
void dbfile_close(sqlite3 *db);

/** dbfile_sql() - run statements */
void dbfile_sql(sqlite3 *db, const char *text);

/** dbfile_number() - first column of the first row */
int64_t dbfile_number(sqlite3 *db, const char *text);

struct bytes {
	uint8_t *p;
	size_t len;
};

void bytes_free(struct bytes *b);

/** dbfile_bytes() - the whole file; bytes_free() */
struct bytes dbfile_bytes(const char *name);

/** dbfile_write() - replace the file */
void dbfile_write(const char *name, const void *p, size_t len);
void dbfile_copy(const char *from, const char *to);

/** dbfile_noise() - fill with pseudo-random bytes that depend on @seed only */
void dbfile_noise(void *p, size_t len, uint64_t seed);

/** dbfile_random() - a number below @below; @state is not 0 */
uint32_t dbfile_random(uint64_t *state, uint32_t below);
