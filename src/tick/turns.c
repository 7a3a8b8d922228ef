/*
 * Whose turn it is. Boards stand in one list; who has the highest priority, then the fewest
 * running for its weight, then the longest wait, is served. The rules stand in the header.
 */
#include "tick/turns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- who is there -------------------------------------------------------------------- */

static void turns_list(struct turns *turns, struct turns_board *board)
{
	if (board->listed)
		return;
	board->listed = true;
	board->prev = NULL;
	board->next = turns->first;
	if (turns->first)
		turns->first->prev = board;
	turns->first = board;
}

static void turns_unlist(struct turns *turns, struct turns_board *board)
{
	if (!board->listed)
		return;
	board->listed = false;
	if (board->prev)
		board->prev->next = board->next;
	else
		turns->first = board->next;
	if (board->next)
		board->next->prev = board->prev;
}

static void turns_forget(struct turns *turns, struct turns_board *board)
{
	free(board->wants);
	board->wants = NULL;
	board->n_wants = 0;
	board->trial_given = 0; /* of a trial that it was part of */
	turns_unlist(turns, board);
}

static void turns_count_pools(struct turns *turns, struct turns_board *board,
			      const int64_t *pools)
{
	if (!board->pools && pools)
		board->pools = calloc(TURNS_POOLS_MAX, sizeof(*pools));
	if (!board->pools)
		return;
	for (size_t i = 0; i < turns->n_pools; i++) {
		int64_t now = pools ? pools[i] : 0;

		turns->pools[i].running += now - board->pools[i];
		board->pools[i] = now;
	}
}

void turns_count(struct turns *turns, struct turns_board *board, int64_t running,
		 const int64_t *pools)
{
	turns->running += running - board->running;
	board->running = running;
	turns_count_pools(turns, board, turns->n_pools ? pools : NULL);
}

int turns_ask(struct turns *turns, struct turns_board *board, const struct turns_want *wants,
	      size_t n)
{
	struct turns_want *copy;

	turns_forget(turns, board);
	board->absent = false;
	if (n == 0)
		return 0;
	copy = reallocarray(NULL, n, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, wants, n * sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i].given = false;
	board->wants = copy;
	board->n_wants = n;
	turns_list(turns, board);
	return 0;
}

void turns_absent(struct turns *turns, struct turns_board *board)
{
	(void)turns;
	board->absent = true;
}

void turns_leave(struct turns *turns, struct turns_board *board)
{
	turns_count(turns, board, 0, NULL);
	turns_forget(turns, board);
	free(board->pools);
	*board = (struct turns_board){ .owner = board->owner };
}

void turns_pools(struct turns *turns, const int64_t *limits, size_t n)
{
	turns->n_pools = n < TURNS_POOLS_MAX ? n : TURNS_POOLS_MAX;
	turns->uncounted = turns->running;
	for (size_t i = 0; i < turns->n_pools; i++)
		turns->pools[i] = (struct turns_pool){ .limit = limits[i] };
}

void turns_unpool(struct turns *turns, struct turns_board *board)
{
	turns->uncounted -= board->running;
	turns->running -= board->running;
	board->running = 0;
	free(board->pools);
	board->pools = NULL;
}

/* ---- the decision -------------------------------------------------------------------- */

int64_t turns_left(const struct turns *turns)
{
	if (turns->max < 0)
		return INT64_MAX;
	return turns->running < turns->max ? turns->max - turns->running : 0;
}

static bool turns_room(const struct turns *turns, uint64_t pools)
{
	for (size_t i = 0; pools && i < turns->n_pools; i++, pools >>= 1)
		if ((pools & 1) &&
		    turns->pools[i].trial + turns->uncounted >= turns->pools[i].limit)
			return false;
	return true;
}

/* What @board would start next: NULL nothing that has room. */
static struct turns_want *turns_head(const struct turns *turns, struct turns_board *board)
{
	while (board->trial_from < board->n_wants && board->wants[board->trial_from].given)
		board->trial_from++;
	for (size_t i = board->trial_from; i < board->n_wants; i++)
		if (!board->wants[i].given && turns_room(turns, board->wants[i].pools))
			return &board->wants[i];
	return NULL;
}

/* Does @a come before @b, with equal priority? */
static bool turns_first(const struct turns_board *a, const struct turns_board *b)
{
	int64_t wa = a->weight > 0 ? a->weight : 1, wb = b->weight > 0 ? b->weight : 1;
	int64_t ra = a->trial_running * wb, rb = b->trial_running * wa;

	return ra != rb ? ra < rb : a->trial_served < b->trial_served;
}

/* The next place goes to: NULL nobody. */
static struct turns_board *turns_next(const struct turns *turns, struct turns_want **want)
{
	struct turns_board *best = NULL;
	struct turns_want *best_want = NULL;

	for (struct turns_board *b = turns->first; b; b = b->next) {
		struct turns_want *w = b->absent ? NULL : turns_head(turns, b);

		if (!w || (best && w->priority < best_want->priority))
			continue;
		if (best && w->priority == best_want->priority && !turns_first(b, best))
			continue;
		best = b;
		best_want = w;
	}
	*want = best_want;
	return best;
}

/* Hand out the free places, without anybody taking them yet. Return: is there any. */
static bool turns_trial(struct turns *turns)
{
	int64_t left = turns_left(turns);
	uint64_t served = turns->served;
	bool any = false;

	for (size_t i = 0; i < turns->n_pools; i++)
		turns->pools[i].trial = turns->pools[i].running;
	for (struct turns_board *b = turns->first; b; b = b->next) {
		b->trial_running = b->running;
		b->trial_served = b->served;
		b->trial_from = b->trial_given = 0;
		for (size_t i = 0; i < b->n_wants; i++)
			b->wants[i].given = false;
	}
	while (left > 0) {
		struct turns_want *w;
		struct turns_board *b = turns_next(turns, &w);

		if (!b)
			break;
		w->given = any = true;
		b->trial_running++;
		b->trial_given++;
		b->trial_served = ++served;
		for (size_t i = 0; i < turns->n_pools; i++)
			turns->pools[i].trial += w->pools >> i & 1;
		left--;
	}
	return any;
}

bool turns_due(struct turns *turns)
{
	return !turns->asking && turns->first && turns_left(turns) > 0 && turns_trial(turns);
}

size_t turns_take(struct turns *turns, struct turns_board *board, struct turns_want *wants)
{
	size_t n = 0, keep = 0;

	for (size_t i = 0; i < board->n_wants; i++)
		wants[i].given = false;
	if (!board->listed || !turns_due(turns) || board->trial_given == 0)
		return 0;
	n = board->trial_given;
	turns->running += (int64_t)n;
	turns->served += n;
	board->running += (int64_t)n;
	board->served = turns->served;
	if (!board->pools && turns->n_pools)
		board->pools = calloc(TURNS_POOLS_MAX, sizeof(*board->pools));
	for (size_t i = 0; i < board->n_wants; i++) {
		struct turns_want *w = &board->wants[i];

		wants[i].given = w->given;
		if (!w->given) {
			board->wants[keep++] = *w;
			continue;
		}
		for (size_t k = 0; board->pools && k < turns->n_pools; k++) {
			turns->pools[k].running += w->pools >> k & 1;
			board->pools[k] += w->pools >> k & 1;
		}
	}
	board->n_wants = keep;
	if (keep == 0)
		turns_forget(turns, board);
	return n;
}

bool turns_claim(struct turns *turns, struct turns_board *board, uint64_t pools)
{
	if (turns_left(turns) == 0)
		return false;
	for (size_t k = 0; k < turns->n_pools; k++)
		if ((pools >> k & 1) &&
		    turns->pools[k].running + turns->uncounted >= turns->pools[k].limit)
			return false;
	if (!board->pools && turns->n_pools)
		board->pools = calloc(TURNS_POOLS_MAX, sizeof(*board->pools));
	turns->running++;
	board->running++;
	for (size_t k = 0; board->pools && k < turns->n_pools; k++) {
		turns->pools[k].running += pools >> k & 1;
		board->pools[k] += pools >> k & 1;
	}
	return true;
}

void turns_back(struct turns *turns, struct turns_board *board, uint64_t pools)
{
	turns->running--;
	board->running--;
	for (size_t k = 0; board->pools && k < turns->n_pools; k++) {
		turns->pools[k].running -= pools >> k & 1;
		board->pools[k] -= pools >> k & 1;
	}
}

size_t turns_before(const struct turns *turns, const struct turns_board *board,
		    int64_t priority)
{
	int64_t wm = board->weight > 0 ? board->weight : 1;
	size_t n = 0;

	for (const struct turns_board *b = turns->first; b; b = b->next) {
		int64_t wb = b->weight > 0 ? b->weight : 1;
		int64_t rb = b->running * wm, rm = board->running * wb;
		bool first = rb != rm ? rb < rm : b->served < board->served;

		for (size_t i = 0; b != board && !b->absent && i < b->n_wants; i++)
			n += b->wants[i].priority > priority ||
			     (first && i == 0 && b->wants[i].priority == priority);
	}
	return n;
}
