/*
 * Snapshots: consistent, verified copies of a sound board. `<board folder>/snapshots/<UTC
 * time>.db`, published by rename, never changed afterwards.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recovery/candidates.h"
#include "recovery/health.h"
#include "util/error.h"

struct db;

struct snapshot_limits {
	int hourly;        /* newest of so many hours, 24 */
	int daily;         /* newest of so many days, 7 */
	int64_t max_bytes; /* of all snapshots of a board, 1 GiB; the newest always stays */
};

/**
 * snapshot_take() - copy the board by the online backup API, verify (integrity_check), fsync,
 * rename, fsync the folder; then drop what the limits do not keep
 * @db: open connection of the board (in its job); @folder: the board's metadata folder
 * @path: out, HEALTH_PATH_MAX bytes
 * The copy is in DELETE mode and needs no sidecars. Nothing half-made is ever visible under its
 * final name; left-over temp files of a killed process are removed.
 * Return: 0; as db_open() for errors of the board; -errno.
 */
MUST_CHECK int snapshot_take(struct db *db, const char *folder,
			     const struct snapshot_limits *limits, const atomic_bool *cancel,
			     char *path, struct error *e);

/**
 * snapshot_newest() - the newest snapshot of a board
 * @path: out, HEALTH_PATH_MAX bytes; "" if there is none
 * Return: Unix seconds of its time, 0 if there is none.
 */
int64_t snapshot_newest(const char *folder, char *path);

/** snapshot_at() - the same of the newest one that is not from after @at (Unix seconds) */
int64_t snapshot_at(const char *folder, int64_t at, char *path);
