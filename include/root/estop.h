/*
 * The emergency stop: a file `ESTOP` in the root, or in the HERMES_HOME that we were started
 * with, stops the starting of work (`hermes pause`). What runs goes on, and so do its upkeep
 * and notifications. The file is never written or removed here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct estop {
	bool engaged;
	int64_t until;    /* Unix seconds at which it lifts by itself; 0: it does not */
	char reason[200]; /* as the file gives it, "" for none */
	char path[300];   /* of the file, cut; "" when there is none */
};

/**
 * estop_look() - is it engaged now
 * @home: the dispatcher's own HERMES_HOME, or NULL
 * A file that cannot be read or understood is engaged: only an `expires_at` that can be read
 * and is over lifts it.  Thread: any.  Blocks: file system.
 */
void estop_look(struct estop *stop, const char *root, const char *home, int64_t now);

/** estop_parse() - the same of @len bytes of a file */
void estop_parse(struct estop *stop, const char *text, size_t len, int64_t now);

/** estop_time() - an ISO 8601 time, UTC where it names no zone. Return: 0, and @at; -EINVAL. */
MUST_CHECK int estop_time(const char *text, int64_t *at);

/** estop_sentence() - "paused by PATH: REASON, until …" into @out */
void estop_sentence(const struct estop *stop, char *out, size_t size);
