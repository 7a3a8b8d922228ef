/*
 * Why a task does not start: every rule between a task and its start, in the order in which a
 * tick asks them, whether it holds, and what releases it. One maker for whoever tells it.
 */
#pragma once

#include <jansson.h>

#include "tick/tick.h"

/**
 * why_task() - the rules of the board itself
 * @t: rq->now, set, board, db, watched, living and host's profile, alive and stopped are
 * used; with rq->caps also how full the shared limits are; nothing is written
 * @rules: out; new reference: a list of {rule, holds, text, release, at}, that of the guard
 * with its `reason` where it holds
 * Return: 0; DB_MISSING no such task; as db_step().
 */
MUST_CHECK int why_task(const struct tick *t, const char *task, json_t **rules);

/* How far a task is looked into. */
enum why_depth {
	WHY_ALL,   /* every rule, also those that do not hold */
	WHY_FIRST, /* up to the first one that holds */
	WHY_CHEAP, /* as WHY_FIRST, without guards, back-off and limits */
};

/**
 * why_first() - the first rule of the board that holds @task, as why_task() says it
 * @rule: out; new reference, NULL when none holds
 * Return: as why_task().
 */
MUST_CHECK int why_first(const struct tick *t, const char *task, enum why_depth depth,
			 json_t **rule);

/** why_add() - append a rule. @release: what ends it, or NULL; @at: Unix seconds, 0 none */
void why_add(json_t *rules, const char *rule, bool holds, const char *text, const char *release,
	     int64_t at);

/** why_status_text() - why nothing is started from @status
 * @release: out, what ends it, or NULL; both static */
const char *why_status_text(const char *status, const char **release);

/** why_holding() - the first rule that holds, borrowed, or NULL */
const json_t *why_holding(const json_t *rules);

/** why_held_by() - the name of the first rule that holds, borrowed, or NULL */
const char *why_held_by(const json_t *rules);
