/*
 * One task out of its turn: why_task() asks every rule, and the lane's own claim takes it, with
 * its place of each limit, in the same visit.
 */
#include "tick/start.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/guard.h"
#include "tick/lane.h"
#include "tick/pools.h"
#include "tick/profile.h"
#include "tick/why.h"
#include "util/text.h"

/* clang-format off */
static const char sql_task[] =
	"SELECT status, assignee FROM tasks WHERE id = ?1";
/* clang-format on */

/* Reasons of the guard that an operator may judge otherwise. */
static const char *const start_reasons[] = {
	"infrastructure_cooldown", "rate_limit_cooldown", "blocker_auth",
	"recent_success",          "active_pr",           NULL
};
static const char *const start_rules[] = { "guard", "retry_backoff", "scheduled_at", NULL };

static bool start_in(const char *const *list, const char *word)
{
	while (*list && strcmp(*list, word) != 0)
		list++;
	return *list != NULL;
}

bool start_is_guard(const char *despite)
{
	return start_in(start_rules, despite) || start_in(start_reasons, despite);
}

/* Does @despite mean this rule, which holds? */
static bool start_passes(const json_t *rule, const char *despite)
{
	const char *name = json_string_value(json_object_get(rule, "rule"));
	const char *reason = json_string_value(json_object_get(rule, "reason"));

	if (!despite || !name || !start_in(start_rules, name))
		return false;
	if (reason && !start_in(start_reasons, reason))
		return false; /* the worker before still lives */
	return strcmp(despite, name) == 0 || (reason && strcmp(despite, reason) == 0);
}

const json_t *start_held_by(const json_t *rules, const char *despite)
{
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);

		if (json_is_true(json_object_get(rule, "holds")) &&
		    !start_passes(rule, despite))
			return rule;
	}
	return NULL;
}

/* The row as the lane would have chosen it. */
static int start_choice(const struct tick *t, struct lane_choice *c)
{
	const struct settings *set = t->rq->set;
	const char *status, *assignee;
	sqlite3_stmt *s = NULL;
	char name[256] = "";
	int r = db_query(t->db, t->e, &s, sql_task, "t", t->rq->start->task);

	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r != DB_ROW)
		return r == 0 ? error_set(t->e, DB_CONFLICT, "the task is gone") : r;
	status = (const char *)sqlite3_column_text(s, 0);
	assignee = (const char *)sqlite3_column_text(s, 1);
	c->verdict = LANE_CLAIM;
	c->review = status && strcmp(status, "review") == 0;
	c->assign = text_is_blank(assignee);
	c->assign = c->assign && !c->review;
	if (c->assign)
		assignee = set->default_assignee;
	if (assignee && profile_name(assignee, name, sizeof(name)))
		c->pools = pools_of(set, t->rq->board, name);
	(void)sqlite3_reset(s); /* one row is all */
	return 0;
}

static void start_claimed(const struct tick *t)
{
	struct start *start = t->rq->start;

	for (size_t i = 0; i < t->plan->n_launches; i++)
		if (strcmp(t->plan->launches[i].task, start->task) == 0)
			start->run = t->plan->launches[i].run;
}

static int start_claim(const struct tick *t)
{
	struct lane_choice c = { .task = strdup(t->rq->start->task) };
	const struct lane_plan one = { .v = &c, .n = 1 };
	int r = c.task ? start_choice(t, &c) : error_set(t->e, -ENOMEM, "out of memory");

	if (r == 0 &&
	    caps_claim(t->rq->caps, t->rq->turn, c.pools, t->rq->set->pools_generation)) {
		c.taken = true;
		r = lane_commit(t, &one);
		if (r != 0)
			lane_give_back(t, &one);
		else
			start_claimed(t);
	} else if (r == 0) {
		why_add(t->rq->start->rules, "places", true,
			"the last place was taken in this moment", "a worker ends", 0);
	}
	free(c.task);
	return r;
}

int start_run(const struct tick *t)
{
	struct start *start = t->rq->start;
	int r;

	json_decref(start->rules);
	start->rules = NULL;
	r = why_task(t, start->task, &start->rules);
	start->missing = r == DB_MISSING;
	if (r == 0 && (t->rq->claim_none || t->rq->claim_one))
		why_add(start->rules, "host", true, "workers cannot be started on this host",
			"one can be started", 0);
	if (r == 0 && !start_held_by(start->rules, start->despite))
		r = start_claim(t);
	if (r != 0 && r != DB_MISSING)
		return r;
	start->tried = true;
	return 0;
}
