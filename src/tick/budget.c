/*
 * Rule 9 of a tick: the budget. What runs is subtracted from max_spawn of the board and
 * max_in_progress of the daemon; what memory is left may hold back the rest.
 */
#include "tick/budget.h"

#include <string.h>

#include "tick.h"
#include "tick/pools.h"
#include "util/memory.h"

#define BUDGET_AHEAD 16 /* places that a board asks for beyond those that are free */

bool budget_stopped(const struct tick *t)
{
	const struct tick_host *host = t->rq->host;
	struct error why = ERROR_NULL;
	int64_t until = 0;

	if (t->plan->stopped)
		return true;
	if (!host->stopped || !host->stopped(host->arg, t->rq->now, &until, &why))
		return false;
	t->plan->stopped = strdup(why.text);
	t->plan->oom |= !t->plan->stopped;
	if (until > t->rq->now)
		plan_deadline(t->plan, until);
	return true;
}

int budget_find(const struct tick *t, bool wanted, int64_t *budget)
{
	const struct settings *set = t->rq->set;
	struct error why = ERROR_NULL;
	struct caps_running running;
	enum memory_level memory;
	int64_t left;
	int r;

	r = pools_count(t, &running);
	if (r != 0)
		return r;
	caps_count(t->rq->caps, t->rq->turn, &running);
	*budget = INT64_MAX;
	if (set->max_spawn >= 0) {
		*budget = running.all < set->max_spawn ? set->max_spawn - running.all : 0;
		if (*budget == 0 && wanted)
			t->plan->waits |= WAIT_BOARD;
	}
	/* whose turn it is comes later: it asks for some more than are free, so that it is
	 * known what waits here when others end; --once asks nobody else */
	left = caps_left(t->rq->caps);
	if (!t->rq->once && left < INT64_MAX - BUDGET_AHEAD && caps_max(t->rq->caps) > 0)
		left += BUDGET_AHEAD;
	if (left < *budget) {
		*budget = left;
		if (left == 0 && wanted)
			t->plan->waits |= WAIT_CAPACITY;
	}
	if (t->rq->claim_none || t->rq->claim_one) {
		*budget = t->rq->claim_one && *budget > 0 ? 1 : 0;
		if (wanted)
			t->plan->waits |= WAIT_HOST;
	}
	if (budget_stopped(t)) { /* asked also where nothing waits: it is shown */
		*budget = 0;
		t->plan->waits |= WAIT_CAPACITY;
	}
	if (*budget == 0 || !wanted || !set->memory_guard)
		return 0;
	memory = memory_level(&why);
	if (memory != MEMORY_PLENTY) {
		t->plan->waits |= WAIT_CAPACITY;
		t->plan->memory = strdup(why.text);
		if (memory == MEMORY_CRITICAL)
			*budget = 0;
		else if (*budget > 1)
			*budget = 1;
	}
	return 0;
}
