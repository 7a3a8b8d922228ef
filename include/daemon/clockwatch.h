/*
 * Tells when the wall clock was set, or ran on while the machine slept: deadlines are wall
 * time, and timers of the loop are not.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "util/error.h"

struct clockwatch {
	uv_poll_t poll;
	int fd;                 /* a timer that is cancelled when the clock is set; owned */
	bool open;              /* the handle is */
	void (*set)(void *arg); /* on the loop */
	void *arg;
};

/** clockwatch_init() - call @set whenever it happens. Return: 0 or -errno, then nothing is
 * open. */
MUST_CHECK int clockwatch_init(struct clockwatch *cw, uv_loop_t *loop, void (*set)(void *arg),
			       void *arg);

/** clockwatch_close() - no more; does nothing where it was never open */
void clockwatch_close(struct clockwatch *cw);
