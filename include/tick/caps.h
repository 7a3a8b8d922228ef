/*
 * How much more may run, over all boards of this daemon. The one structure that several board
 * jobs touch at the same time: a mutex around a few integers, held for nanoseconds.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct caps {
	pthread_mutex_t lock;
	int64_t max;     /* max_in_progress; < 0 = no limit */
	int64_t running; /* tasks that run, all boards */
};

void caps_init(struct caps *caps, int64_t max);
void caps_deinit(struct caps *caps);

/** caps_set_max() - a reload changed max_in_progress */
void caps_set_max(struct caps *caps, int64_t max);

/**
 * caps_count() - a board counted its running tasks
 * @mine: the board's share of caps->running; only ever changed through this module
 */
void caps_count(struct caps *caps, int64_t *mine, int64_t running);

/** caps_left() - how many more may start now; INT64_MAX without a limit */
int64_t caps_left(struct caps *caps);

/** caps_take() - one more starts; false when none may */
bool caps_take(struct caps *caps, int64_t *mine);
