/*
 * The caps hold for all boards of all roots: nothing is claimed before it is known what runs on
 * each. Whoever closes the barrier opens it again; the last one to open it lets claims begin.
 */
#pragma once

#include <stdbool.h>

struct dispatch;
struct root;

/** barrier_board() - the running tasks of a board are (not) known */
void barrier_board(struct dispatch *d, bool closed);

/** barrier_root() - the boards of a root are (not) known */
void barrier_root(struct root *root, bool closed);

/**
 * barrier_wait() - the root's boards are ours from now on: their first visits are waited for,
 * but not for long. One that cannot be counted in that time (to check a large one takes
 * seconds, and to repair it longer) counts as many places as it has living workers.
 */
void barrier_wait(struct root *root);

/** barrier_scan_work() - see which workers live; pool thread, with the first scan of an epoch
 */
void barrier_scan_work(struct root *root);

/** barrier_looked() - is it known which workers live: did the first scan of the epoch see them?
 */
bool barrier_looked(const struct root *root);

/** barrier_forget() - what barrier_scan_work() saw is of no use any more */
void barrier_forget(struct root *root);
