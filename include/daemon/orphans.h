/*
 * What an ended worker leaves behind. The daemon is a child subreaper (prctl(2),
 * PR_SET_CHILD_SUBREAPER): a process whose parents are gone becomes our child, also when it
 * left the worker's session. It is ended unless its run goes on, and reaped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "root/root.h"

/** orphans_adopt() - become the subreaper; before the first worker. Return: 0 or -errno. */
MUST_CHECK int orphans_adopt(void);

/**
 * orphans_reap() - look at our unknown children: end those whose run has ended, reap the dead
 * Cheap when there is none: one small read. Loop thread.
 */
void orphans_reap(struct root *const *roots, size_t n);
