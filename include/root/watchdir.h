/*
 * What inotify tells of a root: a commit by anyone else wakes its board within milliseconds; a
 * board or a profile that comes, goes, or is made anew under its old name is found at once.
 */
#pragma once

#include "root/root.h"

/**
 * watchdir_update() - watch the folder of each board's database, of its board.json, the folders
 * that boards and profiles come and go in, and no other
 * A folder that cannot be watched because this user's watches are used up is told once, and its
 * board is looked at every few seconds; one on a network file system costs latency: the sweep
 * finds the change. Loop thread.
 */
void watchdir_update(struct root *root);

/** watchdir_moved() - the board's database is another file than before: its folder may be */
void watchdir_moved(struct root *root, const char *slug);

/** watchdir_wanting() - are there folders that could not be watched */
bool watchdir_wanting(const struct root *root);

/** watchdir_close() - stop watching */
void watchdir_close(struct root *root);
