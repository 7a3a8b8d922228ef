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
 * Under `<db>.dispatch.lock`. A board in trouble whose next try is not due is refused without
 * opening a file of it but the record. Damage is kept as evidence once and repaired where that
 * loses nothing; a board that went back in time is left as it is. Notes for the log go to
 * bj->plan, the time of the next try to its deadline.
 * @opt: with ioerr
 * @locked: `<db>.init.lock` is ours, too: without it nothing is repaired, which is a passing
 *          fault
 * @failing: I/O errors came again and again: one more is taken for damage
 * Return: 0, b->db is open; DB_MISSING, DB_SCHEMA_BAD, DB_CORRUPT, DB_LOST, DB_TRANSIENT (also
 * when another process was in the way of a repair: nothing is booked then): it is not,
 * bj->error says why; -errno.
 */
MUST_CHECK int examine_open(struct board *b, struct board_job *bj, const struct db_options *opt,
			    bool locked, bool failing);

/**
 * examine_overrun() - a board that took longer than it may: it is closed, and quarantined until
 * its back-off ends or its bytes change Return: DB_CORRUPT, with bj->error as it was; -errno.
 */
MUST_CHECK int examine_overrun(struct board *b, struct board_job *bj);

/**
 * examine_sequence() - did the open board go back in time since it was looked at last
 * Return: 0; DB_LOST: it is closed and recorded, bj->error says why; as db_step().
 */
MUST_CHECK int examine_sequence(struct board *b, struct board_job *bj);

/**
 * examine_good() - record what a sound, open board has, if that changed since it was last
 * recorded
 * A failure to write it is no failure of the visit: the older record stays true.
 * Return: 0; DB_LOST as examine_sequence(): what it has is less than what was known to be good.
 */
MUST_CHECK int examine_good(struct board *b, struct board_job *bj);

/** examine_snapshot() - take a snapshot if one is due and the board changed since the last */
void examine_snapshot(struct board *b, struct board_job *bj);
