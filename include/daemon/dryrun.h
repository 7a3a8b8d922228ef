/* --dry-run works on copies: a private folder with one copied database per board. */
#pragma once

#include "board/discover.h"
#include "util/error.h"

struct dryrun;

MUST_CHECK int dryrun_new(struct dryrun **out, struct error *e);
/** dryrun_free() - remove the folder and all copies; takes NULL, returns NULL */
struct dryrun *dryrun_free(struct dryrun *dry);

/**
 * dryrun_redirect() - point a place at a copy of its database, -wal and -journal
 * The copy is taken again while the files change under it, at most 5 times. A board without a
 * file stays as it is.
 * @arg: the struct dryrun
 * Thread: any (a job: it copies).  Return: 0 or -errno.
 */
MUST_CHECK int dryrun_redirect(void *arg, struct board_place *place, struct error *e);
