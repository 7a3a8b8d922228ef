/* --dry-run works on copies: a private folder with one copied database per board. */
#pragma once

#include "board/discover.h"
#include "util/error.h"

struct config;
struct dryrun;

/** dryrun_new() - a folder for the copies; @config is borrowed, and says how large one may be
 */
MUST_CHECK int dryrun_new(struct dryrun **out, const struct config *config, struct error *e);
/** dryrun_free() - remove the folder and all copies; takes NULL, returns NULL */
struct dryrun *dryrun_free(struct dryrun *dry);

/**
 * dryrun_redirect() - point a place at a copy of its database, -wal and -journal
 * The copy is taken again while the files change under it, at most 5 times. A board without a
 * file stays as it is. One that cannot be copied (no file, too large) is refused: its place
 * says why, and the others are worked on.
 * @arg: the struct dryrun
 * Thread: any (a job: it copies).  Return: 0 or -ENOMEM.
 */
MUST_CHECK int dryrun_redirect(void *arg, const char *root, struct board_place *place,
			       struct error *e);
