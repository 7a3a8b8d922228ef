/* Plain SQL on a connection of the test's. What goes wrong fails the test. */
#pragma once

#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/** rows_run() - statements without parameters */
void rows_run(sqlite3 *db, const char *sql);

/** rows_vrun() - the same, written as for sqlite3_vmprintf() */
void rows_vrun(sqlite3 *db, const char *fmt, va_list ap);

/** rows_vtext() - rows as text: columns joined by '|', rows by @between, NULL as "-"; malloc'd
 */
char *rows_vtext(sqlite3 *db, char between, const char *fmt, va_list ap);

/** rows_vint() - first column of the first row; -1: there is none */
int64_t rows_vint(sqlite3 *db, const char *fmt, va_list ap);

/* ---- what a board of an older release has not got: statements on a new one ---- */

extern const char rows_first_release[]; /* of none: two columns had other names */
extern const char rows_august[];        /* of August 2026 */

/* ---- damage ---- */

/** rows_unindexed() - statements, with an index out of the schema meanwhile: it does not know
 * what they write */
void rows_unindexed(sqlite3 *db, const char *index, const char *sql);

/** rows_overwrite() - the first @len bytes of a page of 4096, from 1, become rubbish */
void rows_overwrite(const char *path, int64_t page, size_t len);
