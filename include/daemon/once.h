/* kanband --once: one complete sweep, a report, and out. */
#pragma once

#include <stdbool.h>

#include "daemon/config.h"
#include "util/error.h"

struct once_options {
	bool dry_run;      /* write nothing at all */
	bool json;         /* one JSON object instead of lines */
	int log_level;     /* LOG_*: what goes to stderr beside the report */
	const char *board; /* only this slug, or NULL */
};

/**
 * once_run() - take the lease of every root, sweep, print what was done per board
 * @config: taken over
 * Return: the exit status: 0; 1 a board is damaged or could not be swept; 66 no such root or
 * board; 74 I/O; 75 the lease is held elsewhere; 77 not allowed.
 */
int once_run(struct config *config, const struct once_options *opt, char *const *env);
