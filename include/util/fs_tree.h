/* Removing a folder with everything in it. */
#pragma once

#include <stdint.h>

#include "util/error.h"

/**
 * fs_tree_remove() - remove @name in the folder @dirfd, whatever it is
 * No link is followed, no other file system entered.
 * @bytes: out, may be NULL; of regular files that are gone
 * Return: 0; -ENOENT; -EXDEV something is mounted in it; other -errno: what could be removed
 * is.
 */
MUST_CHECK int fs_tree_remove(int dirfd, const char *name, int64_t *bytes);
