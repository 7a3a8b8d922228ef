/* What a board can be restored from: its snapshots, and what others have left beside it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recovery/health.h"
#include "util/error.h"

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
 * @max:  bytes of a private copy, here and below; 0: EVIDENCE_MAX_BYTES
 * @cancel: or NULL: ends it early
 * Return: 0; -ECANCELED; other -errno.
 */
MUST_CHECK int candidates_list(const char *db_path, const char *folder, bool deep, int64_t max,
			       const atomic_bool *cancel, struct candidate **list, size_t *n,
			       struct error *e);
void candidates_free(struct candidate *list, size_t n);

/**
 * candidates_examine() - could @from be restored: it is copied and verified, nothing is changed
 * @found: out: what it holds
 * Return: 0; -EBADMSG when it is not sound; other -errno.
 */
MUST_CHECK int candidates_examine(const char *from, int64_t max, struct health_good *found,
				  struct error *e);

/**
 * candidates_restore() - make the board's content that of @from
 * What is there now is kept as evidence first (so a restore can be undone by another), @from is
 * verified on a copy, then written back by repair_write_back(). The caller holds the lease and
 * both locks and has no connection to the board.
 * @found: out: what the board has now, for health->good
 * Return: 0; REPAIR_BUSY (repair.h); -EBADMSG when @from is not sound; other -errno.
 */
MUST_CHECK int candidates_restore(const char *db_path, const char *from, int64_t max,
				  struct health_good *found, struct error *e);

/**
 * candidates_extract() - write @from to a new file, as a database in itself: verified, without
 * sidecars, mode 0600
 * Nothing is overwritten, no link is followed at @to, and the name is there only when it is
 * whole. @to and @from may be of any board; no connection to either is open in this process.
 * Return: 0; -EEXIST; -EBADMSG when @from is not sound; other -errno.
 */
MUST_CHECK int candidates_extract(const char *from, const char *to, int64_t max,
				  struct health_good *found, struct error *e);
