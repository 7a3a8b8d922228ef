/*
 * Opening a board that was not looked at yet, or not since it was last in trouble: the health
 * record says whether it may be tried now, SQLite says whether it is sound, the record of what
 * was known to be good says whether it is still the same board. Whatever comes of it is
 * recorded.
 */
#pragma once

#include "board/board.h"

struct db_options;

/**
 * examine_open() - open @b for the first time in this epoch or after damage
 * Under `<db>.dispatch.lock` and `<db>.init.lock`. A board in trouble whose next try is not due
 * is refused without opening its file. Damage is kept as evidence once and repaired where that
 * loses nothing; a board that went back in time is left as it is. Notes for the log go to
 * bj->plan, the time of the next try to its deadline. Return: 0, b->db is open; DB_MISSING,
 * DB_SCHEMA_BAD, DB_CORRUPT, DB_LOST, DB_TRANSIENT: it is not, bj->error says why; -errno.
 */
MUST_CHECK int examine_open(struct board *b, struct board_job *bj,
			    const struct db_options *opt);

/**
 * examine_good() - record what a sound, open board has, if that changed since it was last
 * recorded A failure to write it is no failure of the visit: the older record stays true.
 */
void examine_good(struct board *b, struct board_job *bj);

/** examine_snapshot() - take a snapshot if one is due and the board changed since the last */
void examine_snapshot(struct board *b, struct board_job *bj);
