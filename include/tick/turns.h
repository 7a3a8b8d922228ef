/*
 * Whose turn it is: the one decision which of the tasks that wait on many boards take the
 * places that are free. Values only: no clock, no loop, no database, no locks; caps.c calls it
 * for the daemon, a simulation calls it a hundred thousand times.
 *
 * A free place goes to the task of the highest priority on any board whose pools have room.
 * Among boards with equal priority it goes to the one with the fewest running in proportion to
 * its weight, then to the one that was served longest ago. Within a board the order is the
 * board's own.
 *
 * A board that was given places and did not take them is absent: nobody waits for it until it
 * asks again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define TURNS_POOLS_MAX 64

/* A task that could start at once, would there be a place. */
struct turns_want {
	int64_t priority;
	uint64_t pools; /* bit per pool that it would run in */
	bool given;     /* out: it has a place */
};

struct turns_pool {
	int64_t limit;
	int64_t running;
	int64_t trial; /* running, while places are handed out on trial */
};

/* A board that shares the places. Zeroed before its first use. */
struct turns_board {
	struct turns_board *prev, *next; /* among those that want something */
	void *owner;                     /* of the caller */
	int64_t weight;                  /* 0 counts as 1 */
	int64_t running;                 /* places that it holds */
	int64_t *pools;                  /* of them, by pool; NULL: none in any */
	unsigned generation;             /* of the pools, as the caller numbers them */
	uint64_t served;                 /* number of the last place that it was given */
	struct turns_want *wants;        /* what could start, best first */
	size_t n_wants;
	bool listed, absent;
	/* while places are handed out on trial */
	int64_t trial_running;
	uint64_t trial_served;
	size_t trial_from, trial_given;
};

struct turns {
	struct turns_board *first; /* those that want something */
	int64_t max;               /* places; < 0 = no limit */
	int64_t running;           /* and how many of them are taken */
	int64_t uncounted; /* of them, in pools that are not known: each may be in any */
	uint64_t served;   /* places that were given so far */
	bool asking;       /* nothing is handed out: not all have said what they want */
	struct turns_pool pools[TURNS_POOLS_MAX];
	size_t n_pools;
};

/** turns_count() - so many run on @board, @pools of them in each pool (NULL: in none) */
void turns_count(struct turns *turns, struct turns_board *board, int64_t running,
		 const int64_t *pools);

/**
 * turns_ask() - @board could start @wants, best first; replaces what it asked for before
 * Return: 0 or -ENOMEM, then it asks for nothing.
 */
MUST_CHECK int turns_ask(struct turns *turns, struct turns_board *board,
			 const struct turns_want *wants, size_t n);

/**
 * turns_take() - give @board the places that it is due now
 * @wants: those of turns_ask(), with `given` set where there is a place
 * Return: how many. They count as running, and are no longer asked for.
 */
size_t turns_take(struct turns *turns, struct turns_board *board, struct turns_want *wants);

/** turns_claim() - give @board one place in each of @pools out of its turn; false: one is full
 */
bool turns_claim(struct turns *turns, struct turns_board *board, uint64_t pools);

/** turns_back() - a place that @board took in @pools is free again */
void turns_back(struct turns *turns, struct turns_board *board, uint64_t pools);

/** turns_due() - hand out the free places on trial: board.trial_given says how many each board
 * of the list would take now. Return: is there any. */
bool turns_due(struct turns *turns);

/** turns_left() - free places; INT64_MAX without a limit */
int64_t turns_left(const struct turns *turns);

/** turns_before() - how many wants of other boards come before one of @priority on @board now:
 * those of higher priority, and the next one of each board whose turn comes first */
size_t turns_before(const struct turns *turns, const struct turns_board *board,
		    int64_t priority);

/** turns_absent() - nobody is to wait for @board until it asks again */
void turns_absent(struct turns *turns, struct turns_board *board);

/** turns_leave() - @board holds and wants nothing any more; frees what it has */
void turns_leave(struct turns *turns, struct turns_board *board);

/** turns_pools() - there are other pools now, with these limits. What runs is uncounted until
 * each board is unpooled and counted again. */
void turns_pools(struct turns *turns, const int64_t *limits, size_t n);

/** turns_unpool() - what @board was counted with belongs to pools that are no more: now it
 * holds nothing, and none of its places are uncounted */
void turns_unpool(struct turns *turns, struct turns_board *board);
