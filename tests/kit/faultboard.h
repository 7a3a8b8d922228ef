/* Boards for fault sweeps (faultsweep.h), and what must hold of them after a fault. */
#pragma once

#include "faultsweep.h"

extern char *fault_whole;   /* all rows of the board, as they were or are to be again */
extern int64_t fault_epoch; /* of the lease */

/** fault_setup(), fault_teardown() - checked fixtures, kit and sweep included */
void fault_setup(void);
void fault_teardown(void);

/** fault_fill() - make the board, with rows in most tables */
void fault_fill(unsigned flags);
/** fault_settle() - nothing is left in the WAL, so that damage can be done to the file */
void fault_settle(void);

/* A wrong header; a leaf of tasks, of which the snapshot has the rows; rows that an index does
 * not know. */
enum { FAULT_HARMS = 3 };
extern void (*const fault_harms[FAULT_HARMS])(void);

/** fault_damaged() - a board with a good snapshot, damaged; every try begins with it */
void fault_damaged(unsigned flags, void (*harm)(void));

/** fault_no_scraps() - nothing temporary is left, unless the process died */
void fault_no_scraps(enum fault_kind kind);
/** fault_snapshots_sound() - whatever has the name of a snapshot is one */
void fault_snapshots_sound(void);
/** fault_evidence_kept() - the damaged bytes are in one of the sets */
void fault_evidence_kept(void);

/** fault_repair_judge() - a sweep's judge: whole and all rows, or damaged and not called
 * healthy
 */
void fault_repair_judge(const struct sweep_fault *f, int r);

/**
 * fault_back_to_evidence() - where the board was made worse, begin from the evidence
 * A file system that goes on hiding bytes makes SQLite write nonsense, which is noticed (it
 * does not read back) but not undone: the evidence has what was there.
 */
void fault_back_to_evidence(const struct sweep_fault *f);
