/* What finished tasks leave behind in files: scratch workspaces and logs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct board_place;
struct db;

struct gc_report {
	size_t workspaces, logs; /* removed, or that would be */
	int64_t bytes;
	size_t failed;    /* could not be removed */
	struct error why; /* … the first of them */
};

/**
 * gc_run() - remove them of tasks that were done or archived before @before
 * Only `<workspaces>/<task>` of kind scratch and `<logs>/<task>.log*`; no link is followed. The
 * rows, their events and their runs stay.
 * @before: Unix seconds; @dry_run: only count
 * Return: 0, also when some could not be removed; as view_tasks(); -errno.
 */
MUST_CHECK int gc_run(struct db *db, const struct board_place *place, int64_t before,
		      bool dry_run, struct gc_report *report, struct error *e);
