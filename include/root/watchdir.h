/* inotify on the boards' folders: a commit by anyone else wakes the board within milliseconds.
 */
#pragma once

#include "root/root.h"

/**
 * watchdir_update() - watch the folder of each board's database, and no other
 * A folder that cannot be watched (limits, network file system) costs latency, nothing else:
 * the sweep finds the change. Loop thread.
 */
void watchdir_update(struct root *root);

/** watchdir_close() - stop watching; memory is freed when libuv is done with the handles */
void watchdir_close(struct root *root);
