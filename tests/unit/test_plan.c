/* The growing plan: deadlines, lists, sums over visits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "kit/board.h"
#include "tick/plan.h"

START_TEST(deadlines_keep_the_earliest)
{
	plan_deadline(&kit.plan, 0);
	plan_deadline(&kit.plan, -5);
	ck_assert_int_eq(kit.plan.deadline, 0);
	plan_deadline(&kit.plan, 50);
	plan_deadline(&kit.plan, 70);
	ck_assert_int_eq(kit.plan.deadline, 50);
	plan_deadline(&kit.plan, 7);
	plan_deadline(&kit.plan, INT64_MAX);
	ck_assert_int_eq(kit.plan.deadline, 7);
}
END_TEST

START_TEST(everything_grows)
{
	struct plan *p = &kit.plan;

	for (int i = 0; i < 1000; i++) {
		char *id = NULL;

		ck_assert_int_ge(asprintf(&id, "t%d", i), 0);
		plan_id(p, &p->crashed, id);
		plan_guarded(p, id, "why");
		plan_note(p, LOG_INFO, NULL, i % 2 ? id : NULL, i, "%s is %d", id, i);
		struct plan_launch *l = plan_launch(p);

		ck_assert_ptr_null(l->task); /* zeroed */
		l->task = strdup(id);
		plan_victim(p)->started = strdup(id);
		plan_worker(p)->task = id; /* taken over */
	}
	ck_assert(!p->oom);
	ck_assert_uint_eq(p->crashed.n, 1000);
	ck_assert_str_eq(p->crashed.v[999], "t999");
	ck_assert_str_eq(p->guarded[512].task, "t512");
	ck_assert_str_eq(p->notes[7].text, "t7 is 7");
	ck_assert_str_eq(p->notes[7].task, "t7");
	ck_assert_ptr_null(p->notes[8].task);
	ck_assert_str_eq(p->launches[256].task, "t256");
	ck_assert_str_eq(p->victims[999].started, "t999");
	ck_assert_str_eq(p->workers[1].task, "t1");
	plan_deinit(p);
	ck_assert_uint_eq(p->n_launches, 0);
	plan_deinit(p); /* again is fine */
}
END_TEST

/* Taking the last off again leaves room: at each power of two the next fits. */
START_TEST(shrinking_and_growing)
{
	struct plan *p = &kit.plan;

	for (int n = 0; n < 70; n++) {
		plan_victim(p)->run = n;
		plan_victim(p)->run = -1;
		p->n_victims--;
	}
	for (int n = 0; n < 70; n++)
		ck_assert_int_eq(p->victims[n].run, n);
	p->n_victims = 0;
	for (int n = 0; n < 70; n++)
		plan_victim(p)->run = n;
	ck_assert_int_eq(p->victims[69].run, 69);
}
END_TEST

START_TEST(null_texts)
{
	plan_id(&kit.plan, &kit.plan.stale, NULL);
	plan_guarded(&kit.plan, NULL, "x");
	plan_note(&kit.plan, LOG_INFO, NULL, NULL, 0, "%s", "");
	ck_assert(!kit.plan.oom);
	ck_assert_ptr_null(kit.plan.stale.v[0]);
}
END_TEST

START_TEST(sums_over_visits)
{
	struct plan sum = { 0 }, *p = &kit.plan;

	p->reclaimed = 2;
	p->promoted = 3;
	plan_id(p, &p->crashed, "c");
	plan_id(p, &p->stale, "s");
	plan_id(p, &p->rate_limited, "r");
	plan_id(p, &p->timed_out, "o");
	plan_id(p, &p->auto_blocked, "b");
	plan_id(p, &p->unassigned, "u");
	plan_id(p, &p->nonspawnable, NULL);
	plan_id(p, &p->nonspawnable, "n");
	plan_guarded(p, "g", "why");
	plan_guarded(p, NULL, "why");
	plan_add(&sum, p, false);
	ck_assert_uint_eq(sum.unassigned.n, 0); /* that visit did not walk the lanes */
	plan_add(&sum, p, true);
	plan_add(&sum, p, true);
	ck_assert_int_eq(sum.reclaimed, 6);
	ck_assert_int_eq(sum.promoted, 9);
	ck_assert_str_eq(kit_ids(&sum.crashed), "c,c,c");
	ck_assert_str_eq(kit_ids(&sum.stale), "s,s,s");
	ck_assert_str_eq(kit_ids(&sum.rate_limited), "r,r,r");
	ck_assert_str_eq(kit_ids(&sum.timed_out), "o,o,o");
	ck_assert_str_eq(kit_ids(&sum.auto_blocked), "b,b,b");
	ck_assert_str_eq(kit_ids(&sum.unassigned), "u"); /* a walk is no sum */
	ck_assert_str_eq(kit_ids(&sum.nonspawnable), "n");
	ck_assert_uint_eq(sum.n_guarded, 1);
	ck_assert_str_eq(sum.guarded[0].reason, "why");
	/* the next one has but few places: it ends before it has seen as much */
	plan_deinit(p);
	plan_add(&sum, p, true);
	ck_assert_uint_eq(sum.unassigned.n + sum.n_guarded, 2);
	/* and the one after it finds the profile of one that a guard holds at its cap */
	plan_id(p, &p->unassigned, "u");
	plan_id(p, &p->unassigned, "v");
	plan_id(p, &p->profile_capped, "g");
	plan_id(p, &p->profile_capped, "h");
	plan_add(&sum, p, true);
	ck_assert_str_eq(kit_ids(&sum.unassigned), "u,v");
	ck_assert_str_eq(kit_ids(&sum.profile_capped), "h");
	plan_deinit(p);
	plan_deinit(&sum);
}
END_TEST

KIT_SUITE("plan", deadlines_keep_the_earliest, everything_grows, shrinking_and_growing,
	  null_texts, sums_over_visits)
