/*
 * Evidence: the bytes of a damaged board, kept once. `<db>.corrupt.<first 16 hex of
 * SHA-256>.bak` with -wal, -shm and -journal beside it under the same name; the same bytes give
 * the same name, whoever asks and however often.
 *
 * The hash is that of the database file alone, which is the name that Hermes would give it. A
 * WAL or a journal is part of the database's content, though: if a set of that name exists and
 * holds another one, these bytes become a second set, named by the SHA-256 over the database,
 * the word "-wal", the WAL, the word "-journal" and the journal (nothing for a file that is not
 * there).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "recovery/health.h"
#include "util/error.h"

#define EVIDENCE_MAX_FILES 10
#define EVIDENCE_MAX_BYTES (INT64_C(1) << 30) /* where nobody says max_evidence_bytes */

/**
 * evidence_keep() - make sure that the bytes of @db_path are kept
 * This process has no connection to the file; others that write to it wait for as long as the
 * copying takes. Reflinks where the file system can, else copies;
 * temp, fsync, rename, fsync of the folder. Afterwards at most EVIDENCE_MAX_FILES sets and
 * @max bytes are kept beside the board, never removing the oldest or the newest.
 * @max:   bytes; 0: EVIDENCE_MAX_BYTES
 * @print: out: with sha256
 * @path:  out, at least HEALTH_PATH_MAX bytes: the evidence file
 * Return: 0 also when it was there already; -ENOENT no database; -EAGAIN somebody went on
 * writing it: later; -EFBIG it is larger than @max; other -errno (then nothing half-made is
 * left).
 */
MUST_CHECK int evidence_keep(const char *db_path, int64_t max, struct health_print *print,
			     char *path, struct error *e);

/**
 * evidence_keep_locked() - the same while this process has SQLite's exclusive lock on it
 * A journal beside it is that of the transaction that goes on, and the -shm must not be opened:
 * neither is kept.
 * @fd: the database, opened by the caller after SQLite has opened it, who closes it after
 * SQLite has closed it: closing it drops the lock
 */
MUST_CHECK int evidence_keep_locked(const char *db_path, int fd, int64_t max,
				    struct health_print *print, char *path, struct error *e);

/** evidence_copy() - a private copy of a database with its sidecars, as db_file_copy(), of at
 * most @max bytes (as in evidence_keep()) */
MUST_CHECK int evidence_copy(const char *from, const char *to, int64_t max);

/** evidence_same() - do two files hold the same bytes; one that is not there is as good as an
 * empty one. Return: 1, 0 or -errno. */
MUST_CHECK int evidence_same(const char *a, const char *b);

/** evidence_used() - what all evidence of the board takes on the disk, in bytes, Hermes's own
 * copies included. Blocks: one listing of the folder. */
int64_t evidence_used(const char *db_path);
