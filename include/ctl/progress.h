/* A line on standard error while something takes long: only on a terminal, only after a
 * second, and gone when it is over. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct progress {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t over;
	const char *what;   /* "repair default", borrowed */
	atomic_int percent; /* of the work, -1 unknown; any thread */
	bool runs;          /* there is a thread */
	bool ended, shown;  /* under lock */
};

/** progress_begin() - @what is said after a second; progress_end() must follow */
void progress_begin(struct progress *progress, const char *what);
void progress_end(struct progress *progress);

/** progress_share() - how far it is; @arg is the struct progress. Thread: any. */
void progress_share(void *arg, int64_t done, int64_t total);
