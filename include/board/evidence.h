/*
 * Evidence: the bytes of a damaged board, kept once. `<db>.corrupt.<first 16 hex of
 * SHA-256>.bak` with -wal, -shm and -journal beside it under the same name; the same bytes give
 * the same name, whoever asks and however often.
 */
#pragma once

#include <stdint.h>

#include "board/health.h"
#include "util/error.h"

#define EVIDENCE_MAX_FILES 10
#define EVIDENCE_MAX_BYTES (INT64_C(1) << 30)

/**
 * evidence_keep() - make sure that the bytes of @db_path are kept
 * This process has no connection to the file. Reflinks where the file system can, else copies;
 * temp, fsync, rename, fsync of the folder. Afterwards at most EVIDENCE_MAX_FILES sets and
 * EVIDENCE_MAX_BYTES are kept beside the board, never removing the oldest or the newest.
 * @print: in and out: sha256 is filled
 * @path:  out, at least HEALTH_PATH_MAX bytes: the evidence file
 * Return: 0 also when it was there already; -ENOENT no database; other -errno.
 */
MUST_CHECK int evidence_keep(const char *db_path, struct health_print *print, char *path,
			     struct error *e);
