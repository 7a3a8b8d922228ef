/*
 * How much more may run, over all boards of this daemon, and whose turn it is. The one
 * structure that several board jobs touch at the same time: a mutex around turns.c, held for
 * microseconds.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "tick/turns.h"

struct caps {
	pthread_mutex_t lock;
	struct turns turns;
	unsigned generation; /* of the pools: what was counted in others is not taken */
};

/* What runs on a board: all, and by pool. */
struct caps_running {
	int64_t all;
	int64_t pools[TURNS_POOLS_MAX];
	unsigned generation; /* of the pools that it was counted in; another: they are not known
			      */
};

void caps_init(struct caps *caps, int64_t max);
void caps_deinit(struct caps *caps);

/** caps_asking() - boards are being asked: no turn comes before that is over */
void caps_asking(struct caps *caps, bool asking);

/** caps_set_max() - a reload changed max_in_progress */
void caps_set_max(struct caps *caps, int64_t max);

/** caps_set_pools() - a reload changed the pools; every board is to be counted again.
 * @generation: of the settings that have them */
void caps_set_pools(struct caps *caps, const int64_t *limits, size_t n, unsigned generation);

/** caps_count() - a board counted what runs on it; what it holds is only ever changed here */
void caps_count(struct caps *caps, struct turns_board *board,
		const struct caps_running *running);

/** caps_left() - how many more may start now; INT64_MAX without a limit */
int64_t caps_left(struct caps *caps);

/** caps_max() - how many may run; INT64_MAX without a limit */
int64_t caps_max(struct caps *caps);

/* How full a limit is. */
struct caps_full {
	int64_t running, limit; /* INT64_MAX: there is none */
};

/** caps_full() - all places of this daemon */
void caps_full(struct caps *caps, struct caps_full *full);

/** caps_pool_full() - the @pool-th pool. @generation: of the settings that name it.
 * Return: false where there are other pools by now. */
bool caps_pool_full(struct caps *caps, size_t pool, unsigned generation,
		    struct caps_full *full);

/** caps_take() - one more starts, whoever else waits; false when none may. For --once. */
bool caps_take(struct caps *caps, struct turns_board *board);

/** caps_claim() - a place in each of @pools, whoever else waits; false when one is full
 * @generation: of the pools */
bool caps_claim(struct caps *caps, struct turns_board *board, uint64_t pools,
		unsigned generation);

/** caps_back() - a place that was taken in these pools is not used */
void caps_back(struct caps *caps, struct turns_board *board, uint64_t pools);

/**
 * caps_turn() - @board could start @wants (best first): which of them may
 * @wants: `given` is set where there is a place. What gets none is asked for from now on.
 * @generation: of the pools in @wants
 * Return: how many.
 */
size_t caps_turn(struct caps *caps, struct turns_board *board, struct turns_want *wants,
		 size_t n, int64_t weight, unsigned generation);

/** caps_due() - call @fn for every board that would be given places now */
void caps_due(struct caps *caps, void (*fn)(void *owner, void *arg), void *arg);

/** caps_before() - turns_before() */
size_t caps_before(struct caps *caps, const struct turns_board *board, int64_t priority);

/** caps_absent() - @board does not answer: nobody waits for it */
void caps_absent(struct caps *caps, struct turns_board *board);

/** caps_leave() - @board is not ours any more */
void caps_leave(struct caps *caps, struct turns_board *board);
