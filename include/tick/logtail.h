/* What the end of a worker's log says of its end. */
#pragma once

#include "tick/running.h"

#define LOGTAIL_OUTPUT 400 /* characters */

struct logtail {
	int exit_status; /* of the exit trailer, -1: there is none */
	int exit_before; /* of one that something follows: of this run, if it is the first */
	char output[LOGTAIL_OUTPUT * 4 + 1]; /* the last of what it said, UTF-8, trimmed */
};

/**
 * logtail_read() - the end of the log of a task, as far as this run wrote it
 * A log that was not written since the run began says nothing of it, and one that is no regular
 * file of a plain name is not read.  Blocks: file system.
 */
void logtail_read(const struct tick *t, const struct running *row, struct logtail *tail);

/**
 * logtail_held() - does somebody hold the log of a task as a worker does that we started
 * Return: 1 yes, 0 no, -errno where that cannot be told.
 */
int logtail_held(const struct tick *t, const char *task);

/**
 * logtail_last() - the last line that a run wrote, "" for none
 * @logs: folder of the board's logs; @since: when the run began, Unix seconds
 * Blocks: file system.
 */
void logtail_last(const char *logs, const char *task, int64_t since, char *out, size_t size);
