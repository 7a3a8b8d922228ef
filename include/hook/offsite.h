/*
 * Copies of snapshots off the host (snapshot_command): a command of the operator's is run after
 * each snapshot. One runs at a time; of a board the newest snapshot is copied, one that waits
 * is forgotten for a newer one. A failure is told once, and shown until a copy succeeds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/job.h"

struct offsite;

/* One snapshot. All borrowed; lists are NULL-terminated. */
struct offsite_order {
	const char *root, *board, *path;
	const char *const *command; /* {root}, {board} and {snapshot} are replaced */
	const char *const *pass;    /* secrets that it gets, as environ_new(); or NULL */
	uint64_t timeout_ms;
};

/* How the copies of one board do. */
struct offsite_state {
	const char *root, *board;
	bool running;        /* or waiting */
	int64_t at;          /* of the last that succeeded, Unix seconds; 0 none did */
	int64_t failing_at;  /* since when they fail; 0: they do not */
	const char *error;   /* why, or NULL */
	uint64_t ok, failed; /* since the start */
};

/** offsite_new() - @inherited: the environment of this process, borrowed */
MUST_CHECK int offsite_new(struct offsite **out, struct uv_loop_s *loop, struct jobs *jobs,
			   char *const *inherited);

/** offsite_copy() - a snapshot is there. Return: 0 or -ENOMEM: it is not copied. */
MUST_CHECK int offsite_copy(struct offsite *c, const struct offsite_order *order);

/** offsite_state() - the @i-th board; false behind the last. Borrowed until the next call of
 * another function. */
bool offsite_state(const struct offsite *c, size_t i, struct offsite_state *state);

/** offsite_close() - end what runs, free; @done once, maybe at once. NULL is fine. */
void offsite_close(struct offsite *c, void (*done)(void *arg), void *arg);
