/*
 * What an operator does about a board in trouble: look, repair, restore, accept, take a
 * snapshot. The same functions serve kanbanctl without a daemon and whoever asks the daemon.
 *
 * No connection to the board is open in this process: its file is looked at, and closing any
 * descriptor of it would drop the locks of that connection. All but mend_check(),
 * mend_snapshot() and dry runs change the board: for them the caller holds the root's lease.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/discover.h"
#include "recovery/health.h"
#include "recovery/repair.h"
#include "recovery/snapshot.h"
#include "util/error.h"

/* Positive outcomes */
enum mend_outcome {
	MEND_NOT_WELL = 1, /* the board is not well, or cannot be made so: @e says why */
	MEND_BUSY,         /* another process is at it: later */
};

struct mend_report {
	/* in, or NULL: called now and then by a repair, tried or done; bytes */
	void (*progress)(void *arg, int64_t done, int64_t total);
	void *arg;
	const atomic_bool *cancel;   /* in, or NULL: gives up what has not begun to write */
	int64_t max_bytes;           /* in: of a copy, as in evidence_keep() */
	enum health_state state;     /* what the board is, or would be */
	char what[ERROR_TEXT_MAX];   /* one sentence: what is wrong, or "sound" */
	char will[ERROR_TEXT_MAX];   /* what kanband does about it, or was done */
	struct health health;        /* as recorded */
	struct repair_report repair; /* mend_check() of a damaged board, mend_repair() */
};

/**
 * mend_check() - what is wrong with the board and what will be done about it
 * One that is recorded as being in trouble is looked at on a private copy, and no file of it is
 * opened by SQLite; nothing beside the board is written.
 * @report: out, but for progress, arg, cancel and max_bytes
 * Return: 0 sound; MEND_NOT_WELL (@report says it); MEND_BUSY; -ENOENT no file and never one;
 * -errno.
 */
MUST_CHECK int mend_check(const struct board_place *place, struct mend_report *report,
			  struct error *e);

/**
 * mend_repair() - try to make the board whole now
 * @dry_run: say what would be saved and lost, per table; write nothing (needs no lease)
 * Return: 0 sound now (or already, or would be); MEND_NOT_WELL; MEND_BUSY; -errno.
 */
MUST_CHECK int mend_repair(const struct board_place *place, enum repair_policy policy,
			   bool dry_run, struct mend_report *report, struct error *e);

/**
 * mend_restore() - make the board's content that of a copy
 * @from: the copy, or NULL: the newest sound candidate that has a task; of a board that is
 * well, one must be named
 * @max:  bytes of a copy, as in evidence_keep()
 * @used: out, HEALTH_PATH_MAX bytes: which one it was
 * Return: 0; MEND_NOT_WELL no such copy, or not a sound one, or the board is well; MEND_BUSY;
 * -errno.
 */
MUST_CHECK int mend_restore(const struct board_place *place, const char *from, int64_t max,
			    bool dry_run, char *used, struct health_good *found,
			    struct error *e);

/**
 * mend_extract() - write a copy of the board to a new file; the board stays as it is
 * @from, @max, @used: as in mend_restore(); @to: absolute; nothing is overwritten
 * Return: 0; MEND_NOT_WELL no such copy, or not a sound one; -EEXIST; other -errno.
 */
MUST_CHECK int mend_extract(const struct board_place *place, const char *from, const char *to,
			    int64_t max, bool dry_run, char *used, struct health_good *found,
			    struct error *e);

/** mend_accept() - go on with what is there: it becomes what is known to be good
 * Return: 0; MEND_NOT_WELL it is damaged; MEND_BUSY; -errno. */
MUST_CHECK int mend_accept(const struct board_place *place, struct health_good *found,
			   struct error *e);

/**
 * mend_snapshot() - take a snapshot now, unless the board is not well: none is taken of one
 * that is damaged or lost something
 * @limits: what of the older ones is kept: the settings in force
 * @path: out, HEALTH_PATH_MAX bytes
 * Return: 0; MEND_NOT_WELL; MEND_BUSY; -errno.
 */
MUST_CHECK int mend_snapshot(const struct board_place *place,
			     const struct snapshot_limits *limits, char *path, struct error *e);
