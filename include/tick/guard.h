/* The respawn guard: reasons not to start a ready task again just now. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tick/tick.h"

/* A task as the guard sees it. Borrowed. */
struct guard_task {
	const char *id;
	const char *last_error; /* last_failure_error, or NULL */
	bool review;            /* it waits in the review lane */
};

/**
 * guard_check() - the first rule that holds, in the order of the board contract, §6
 * @reason: out; static text: guard_previous_worker, "infrastructure_cooldown",
 * "rate_limit_cooldown", "blocker_auth", "recent_success", "active_pr", or NULL: go ahead
 * @until:  out; Unix seconds at which time alone lifts the guard, 0 if it does not
 * Return: 0, or as db_step().
 */
MUST_CHECK int guard_check(const struct tick *t, const struct guard_task *task,
			   const char **reason, int64_t *until);

/**
 * guard_is_news() - is `respawn_guarded` with this reason to be appended: when the reason is
 * not that of the newest one, or that one is an hour old
 */
MUST_CHECK int guard_is_news(const struct tick *t, const char *task, const char *reason,
			     bool *news);

/** guard_is_auth() - does an error text speak of quota, rate limit, authentication … */
bool guard_is_auth(const char *text);

/** guard_find_pr() - the first GitHub pull-request URL in @text; behind it, or NULL if there is
 * none */
const char *guard_find_pr(const char *text, char *url, size_t size);

/** guard_consume() - the claim of @run uses up a grant for work on a pull request, if there is
 * one; inside the caller's transaction */
MUST_CHECK int guard_consume(const struct tick *t, const char *task, int64_t run);
