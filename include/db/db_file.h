/*
 * The files of a database: the one that has its name, and what SQLite keeps beside it. One list
 * of suffixes, one copier, one remover.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/fs.h"

enum db_part {
	DB_MAIN,
	DB_WAL,     /* content: what was committed and not yet folded in */
	DB_JOURNAL, /* content while it is hot: what has to be put back */
	DB_SHM,     /* index of the WAL; made anew by whoever opens the database first */
	DB_PARTS
};

/** db_file_suffix() - "", "-wal", "-journal", "-shm" */
const char *db_file_suffix(enum db_part part);

/** db_file_path() - @path with the suffix of @part. malloc'd, NULL when out of memory. */
MUST_CHECK char *db_file_path(const char *path, enum db_part part);

/** db_file_real() - where the database really is: SQLite keeps the sidecars of a symbolic link
 * where it leads to. malloc'd; NULL and errno. */
MUST_CHECK char *db_file_real(const char *path);

/** db_file_is_part() - does @tail, what follows the database's name, name @part */
bool db_file_is_part(const char *tail, enum db_part part);

/** db_file_stamp() - the stamp of one part, of a link's where it leads to; all 0 where it is
 * not there */
struct fs_stamp db_file_stamp(const char *path, enum db_part part);

/** db_file_copy_part() - fs_copy() of one file, whose descriptor the registry closes */
MUST_CHECK int db_file_copy_part(const char *from, const char *to);

/**
 * db_file_copy() - copy a database with its -wal and -journal; no -shm
 * @max: most bytes that all of it may have, holes included; -EFBIG
 * @to: replaced if it is there. A private place: SQLite must find no stranger's sidecar there
 * Return: 0; -errno, -ENOENT for no database (@to may then be there in part: db_file_remove()).
 */
MUST_CHECK int db_file_copy(const char *from, const char *to, int64_t max);

/** db_file_remove() - remove a database and all that is beside it, as far as it is there */
void db_file_remove(const char *path);
