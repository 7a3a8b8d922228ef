/*
 * Commands that an operator pastes, as root or not: what is done to the files of a root is done
 * as the account that owns it, and what is given to that account is reached through no link.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "util/error.h"

struct ctl;

struct remedy {
	char *as_owner; /* what a command begins with that works on the owner's files, or "" */
	const char *as_root; /* … that needs root, or "" */
	const char *root;    /* the kanban root, borrowed */
	uid_t uid;           /* its owner */
	gid_t gid;           /* … */
};

/** remedy_init() - for the owner of @root and whoever called us. 0 or -ENOMEM */
MUST_CHECK int remedy_init(struct remedy *remedy, const struct ctl *ctl, const char *root);
void remedy_deinit(struct remedy *remedy);

/** remedy_own() - the file at @path, in the root, becomes one that the owner may read and write
 * Where a link is on the way, in the root, the command only shows it.
 * malloc'd; NULL when out of memory */
MUST_CHECK char *remedy_own(const struct remedy *remedy, const char *path);

/** remedy_own_all() - the same of all folders and files in `kanban`; malloc'd */
MUST_CHECK char *remedy_own_all(const struct remedy *remedy);

/** remedy_aside() - the file, link or folder at @path is moved to @path.away; malloc'd */
MUST_CHECK char *remedy_aside(const struct remedy *remedy, const char *path);

/** remedy_within() - is @path a path in the root */
bool remedy_within(const struct remedy *remedy, const char *path);
