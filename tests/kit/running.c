#include "running.h"

#include <check.h>
#include <stdbool.h>

#include "board.h"
#include "tick/running.h"

void kit_deadline_ahead(void)
{
	ck_assert_msg(kit.plan.deadline == 0 || kit.plan.deadline > kit.rq.now,
		      "deadline %lld is %lld s ago", (long long)kit.plan.deadline,
		      (long long)(kit.rq.now - kit.plan.deadline));
}

void kit_reclaim(void)
{
	ck_assert_msg(kit_tick(TICK_RECLAIM) == 0, "%s", kit.e.text);
	kit_claim_invariant();
	kit_deadline_ahead();
}

void kit_ended_so(bool attempted, bool terminated, bool sigkill)
{
	struct plan_victim *v = kit.plan.victims;
	const size_t n = kit.plan.n_victims;
	struct plan plan = { 0 };

	for (size_t i = 0; i < n; i++) {
		v[i].attempted = attempted;
		v[i].terminated = terminated;
		v[i].sigkill = sigkill;
	}
	ck_assert_msg(tick_ended(kit.db, &kit.rq, v, n, &plan, &kit.e) == 0, "%s", kit.e.text);
	plan_deinit(&kit.plan);
	kit.plan = plan;
	kit_claim_invariant();
	kit_deadline_ahead();
}
