/* The mutex around turns.c, and the limits over all boards: all that board jobs share. */
#include "tick/caps.h"

#include <stdlib.h>

void caps_init(struct caps *caps, int64_t max)
{
	*caps = (struct caps){ .turns.max = max };
	(void)pthread_mutex_init(&caps->lock,
				 NULL); /* never fails for a plain mutex on Linux */
}

void caps_deinit(struct caps *caps)
{
	(void)pthread_mutex_destroy(&caps->lock);
}

void caps_asking(struct caps *caps, bool asking)
{
	(void)pthread_mutex_lock(&caps->lock);
	caps->turns.asking = asking;
	(void)pthread_mutex_unlock(&caps->lock);
}

void caps_set_max(struct caps *caps, int64_t max)
{
	(void)pthread_mutex_lock(&caps->lock);
	caps->turns.max = max;
	(void)pthread_mutex_unlock(&caps->lock);
}

void caps_set_pools(struct caps *caps, const int64_t *limits, size_t n, unsigned generation)
{
	(void)pthread_mutex_lock(&caps->lock);
	turns_pools(&caps->turns, limits, n);
	caps->generation = generation;
	(void)pthread_mutex_unlock(&caps->lock);
}

/* Is the pool of what @board holds not known? */
static bool caps_stale(const struct caps *caps, const struct turns_board *board)
{
	return board->generation != caps->generation;
}

void caps_count(struct caps *caps, struct turns_board *board,
		const struct caps_running *running)
{
	bool known;

	(void)pthread_mutex_lock(&caps->lock);
	known = running->generation == caps->generation;
	if (caps_stale(caps, board))
		turns_unpool(&caps->turns, board);
	turns_count(&caps->turns, board, running->all, known ? running->pools : NULL);
	if (!known)
		caps->turns.uncounted += running->all;
	board->generation = known ? caps->generation : caps->generation - 1;
	(void)pthread_mutex_unlock(&caps->lock);
}

int64_t caps_left(struct caps *caps)
{
	int64_t left;

	(void)pthread_mutex_lock(&caps->lock);
	left = turns_left(&caps->turns);
	(void)pthread_mutex_unlock(&caps->lock);
	return left;
}

int64_t caps_max(struct caps *caps)
{
	int64_t max;

	(void)pthread_mutex_lock(&caps->lock);
	max = caps->turns.max < 0 ? INT64_MAX : caps->turns.max;
	(void)pthread_mutex_unlock(&caps->lock);
	return max;
}

void caps_full(struct caps *caps, struct caps_full *full)
{
	(void)pthread_mutex_lock(&caps->lock);
	full->running = caps->turns.running;
	full->limit = caps->turns.max < 0 ? INT64_MAX : caps->turns.max;
	(void)pthread_mutex_unlock(&caps->lock);
}

bool caps_pool_full(struct caps *caps, size_t pool, unsigned generation, struct caps_full *full)
{
	bool known;

	(void)pthread_mutex_lock(&caps->lock);
	known = generation == caps->generation && pool < caps->turns.n_pools;
	if (known) {
		full->running = caps->turns.pools[pool].running;
		full->limit = caps->turns.pools[pool].limit;
	}
	(void)pthread_mutex_unlock(&caps->lock);
	return known;
}

bool caps_take(struct caps *caps, struct turns_board *board)
{
	bool ok;

	(void)pthread_mutex_lock(&caps->lock);
	ok = turns_left(&caps->turns) > 0;
	if (ok) {
		caps->turns.running++;
		caps->turns.uncounted += caps_stale(caps, board);
		board->running++;
	}
	(void)pthread_mutex_unlock(&caps->lock);
	return ok;
}

bool caps_claim(struct caps *caps, struct turns_board *board, uint64_t pools,
		unsigned generation)
{
	bool ok;

	(void)pthread_mutex_lock(&caps->lock);
	ok = generation == caps->generation && turns_claim(&caps->turns, board, pools);
	(void)pthread_mutex_unlock(&caps->lock);
	return ok;
}

void caps_back(struct caps *caps, struct turns_board *board, uint64_t pools)
{
	(void)pthread_mutex_lock(&caps->lock);
	/* it was not counted in any pool that there is */
	caps->turns.uncounted -= caps_stale(caps, board);
	turns_back(&caps->turns, board, caps_stale(caps, board) ? 0 : pools);
	(void)pthread_mutex_unlock(&caps->lock);
}

size_t caps_turn(struct caps *caps, struct turns_board *board, struct turns_want *wants,
		 size_t n, int64_t weight, unsigned generation)
{
	size_t given = 0;

	(void)pthread_mutex_lock(&caps->lock);
	board->weight = weight;
	for (size_t i = 0; i < n; i++)
		wants[i].given = false;
	/* other pools by now: the reload has every board look again */
	if (generation != caps->generation)
		n = 0;
	/* without the memory to ask it asks again at the next tick */
	if (turns_ask(&caps->turns, board, wants, n) == 0 && n > 0)
		given = turns_take(&caps->turns, board, wants);
	(void)pthread_mutex_unlock(&caps->lock);
	return given;
}

void caps_due(struct caps *caps, void (*fn)(void *owner, void *arg), void *arg)
{
	void **owners = NULL;
	size_t n = 0, size = 0;

	(void)pthread_mutex_lock(&caps->lock);
	if (turns_due(&caps->turns))
		for (struct turns_board *b = caps->turns.first; b; b = b->next) {
			if (b->trial_given == 0 || !b->owner)
				continue;
			if (n == size) {
				void **more = reallocarray(owners, size * 2 + 8, sizeof(*more));

				if (!more)
					break; /* the others at the next visit's end */
				owners = more;
				size = size * 2 + 8;
			}
			owners[n++] = b->owner;
		}
	(void)pthread_mutex_unlock(&caps->lock);
	for (size_t i = 0; i < n; i++)
		fn(owners[i], arg);
	free(owners);
}

size_t caps_before(struct caps *caps, const struct turns_board *board, int64_t priority)
{
	size_t n;

	(void)pthread_mutex_lock(&caps->lock);
	n = turns_before(&caps->turns, board, priority);
	(void)pthread_mutex_unlock(&caps->lock);
	return n;
}

void caps_absent(struct caps *caps, struct turns_board *board)
{
	(void)pthread_mutex_lock(&caps->lock);
	turns_absent(&caps->turns, board);
	(void)pthread_mutex_unlock(&caps->lock);
}

void caps_leave(struct caps *caps, struct turns_board *board)
{
	(void)pthread_mutex_lock(&caps->lock);
	if (caps_stale(caps, board))
		turns_unpool(&caps->turns, board);
	turns_leave(&caps->turns, board);
	(void)pthread_mutex_unlock(&caps->lock);
}
