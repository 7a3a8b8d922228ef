/*
 * Snapshots: consistent, verified copies of a sound board, and what a lost board can be
 * restored from. `<board folder>/snapshots/<UTC time>.db`, published by rename, never changed
 * afterwards.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* A file that a board can be restored from. */
struct candidate {
	char *path;
	char kind[16]; /* "snapshot", "backup" (Hermes's *.bak and *.corrupt.* files) */
	bool sound;    /* integrity_check ok (of a copy) and it is a board */
	int64_t tasks, links, runs, events, event_seq, newest_event_at;
	int64_t size;
	char why[128]; /* not sound: why */
};

/**
 * candidates_list() - snapshots and Hermes's backups beside the board, newest content first
 * Backups (`<db name>*.bak`, `<db name>.corrupt.*`, our evidence files too) are examined on
 * private copies together with their sidecars; nothing beside the board is opened by SQLite in
 * place.
 * @deep: integrity_check each (restore does), else only count
 * Return: 0 or -errno.
 */
MUST_CHECK int candidates_list(const char *db_path, const char *folder, bool deep,
			       struct candidate **list, size_t *n, struct error *e);
void candidates_free(struct candidate *list, size_t n);

/**
 * snapshot_restore() - make the board's content that of @from
 * What is there now is kept as evidence first (so a restore can be undone by another), @from is
 * verified on a copy, then written back by repair_write_back(). The caller holds the lease and
 * both locks and has no connection to the board.
 * @found: out: what the board has now, for health->good
 * Return: 0; REPAIR_BUSY (repair.h); -EBADMSG when @from is not sound; other -errno.
 */
MUST_CHECK int snapshot_restore(const char *db_path, const char *from,
				struct health_good *found, struct error *e);
