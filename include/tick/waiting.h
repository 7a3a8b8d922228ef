/*
 * Because of what the tasks of a board wait: a counted list, the same words as why.h has for
 * one task. One maker for whoever tells it.
 */
#pragma once

#include <jansson.h>

#include "tick/tick.h"

/**
 * waiting_count() - the tasks that are not done and do not run, by what holds each first
 * @t: as for why_task()
 * @list: out; new reference: {rule, reason, count, text, release, at, tasks} each, the most
 * first: `at` is the earliest, `tasks` the first few ids. What nothing of the board holds has
 * the rule "turn".
 * Return: 0; as db_step().
 */
MUST_CHECK int waiting_count(const struct tick *t, json_t **list);

/** waiting_held() - what would start now is held by @rules, a list of why_add(), if one of them
 * holds. Return: @list; NULL: out of memory, then it is freed. */
MUST_CHECK json_t *waiting_held(json_t *list, const json_t *rules);
