/*
 * One task that an operator wants started now, out of its turn. Every rule is asked as ever; of
 * those that hold it the operator may name one that is a judgement of the past (a guard, the
 * pause after a failure, the schedule) to be passed over. A limit, a living worker, a stop by
 * hand are never passed.
 */
#pragma once

#include <jansson.h>

#include "tick/tick.h"

/* What is wanted, and what came of it. Zeroed by who asks. */
struct start {
	const char *task;
	const char *despite; /* name of a rule, or the reason of a guard; or NULL */
	/* out: */
	bool tried;    /* a tick has seen to it */
	bool missing;  /* there is no such task */
	int64_t run;   /* the run that was begun, 0 none */
	json_t *rules; /* as why_task() has them; owned by who asks */
};

/** start_run() - claim the task of rq->start if nothing else holds it; its launch is in the
 * plan. Return: 0, also when it is held; as db_step() otherwise. */
MUST_CHECK int start_run(const struct tick *t);

/** start_held_by() - the first of @rules that holds it and is not passed by @despite; borrowed,
 * or NULL */
const json_t *start_held_by(const json_t *rules, const char *despite);

/** start_is_guard() - may @despite be passed over at all */
bool start_is_guard(const char *despite);
