/*
 * One look at the files of a database before SQLite opens them: a board is input from whoever
 * can write its folder.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define DB_HEADER_LEN 100

struct db_probe {
	bool wal;    /* the header says WAL mode */
	bool hot;    /* a -wal or -journal with content is beside it: the header need not be the
		      * one that counts */
	bool header; /* the header was read */
	unsigned char head[DB_HEADER_LEN];
};

/**
 * db_probe_files() - is everything what it should be: regular files, none of them a link that
 * another account has placed, and a -journal that does not name a super-journal
 * A symbolic link is followed if it belongs to root, to this process or to the owner of what it
 * leads to. Boards never take part in transactions over several files, and SQLite would remove
 * the file that such a journal names.
 * Return: 0; DB_MISSING no file; DB_CORRUPT a sidecar is not what it should be; -EINVAL it is
 * itself no regular file; -ELOOP; -EMLINK a sidecar is a hard link; other -errno. Nothing was
 * opened but a -journal.
 */
MUST_CHECK int db_probe_files(const char *path, struct error *e);

/**
 * db_probe() - db_probe_files(), and the header
 * Not read while this process has a connection to the file, which is then sound enough.
 * Return: as db_probe_files(); DB_MISSING also for an empty file; DB_CORRUPT also for a header
 * that cannot be right, unless the database is hot.
 */
MUST_CHECK int db_probe(const char *path, struct db_probe *look, struct error *e);

/** db_probe_header() - what is wrong with the first 24 bytes of a header, or NULL */
const char *db_probe_header(const unsigned char *head, size_t len);

/**
 * db_probe_super() - does a rollback journal name a super-journal
 * @name: out, malloc'd, or NULL if that is not wanted
 * @at: out: where in the journal its record begins; or NULL
 * Return: 1, 0 or -errno.
 */
MUST_CHECK int db_probe_super(int journal, char **name, uint64_t *at);
