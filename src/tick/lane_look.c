/*
 * What keeps a row of a lane from being claimed: assignee, profile, schedule, what lives of it,
 * cap, guard, back-off, parents, in the order of the board contract. It is asked for rows that
 * are walked, and for the review lane, for which a place is kept only while one of it could
 * start.
 */
#include "lane.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/backoff.h"
#include "tick/claim.h"
#include "tick/guard.h"
#include "tick/pools.h"
#include "tick/profile.h"
#include "util/text.h"

static const char sql_profile_running[] =
	"SELECT count(*) FROM tasks WHERE status = 'running' AND assignee = ?1";

/* The running count of @assignee, asked once; NULL out of memory or on error (in t->e). */
static int lane_profile(const struct tick *t, struct lane_profiles *profiles,
			const char *assignee, struct lane_profile **out)
{
	int r;

	for (size_t i = 0; i < profiles->n; i++)
		if (strcmp(profiles->v[i].assignee, assignee) == 0) {
			*out = &profiles->v[i];
			return 0;
		}
	struct lane_profile *more = reallocarray(profiles->v, profiles->n + 1, sizeof(*more));

	if (!more)
		return error_set(t->e, -ENOMEM, "out of memory");
	profiles->v = more;
	more[profiles->n] = (struct lane_profile){ .assignee = strdup(assignee) };
	if (!more[profiles->n].assignee)
		return error_set(t->e, -ENOMEM, "out of memory");
	*out = &more[profiles->n++];
	r = db_one_int(t->db, t->e, &(*out)->running, 0, sql_profile_running, "t", assignee);
	return r;
}

void lane_profiles_deinit(struct lane_profiles *profiles)
{
	for (size_t i = 0; i < profiles->n; i++)
		free(profiles->v[i].assignee);
	free(profiles->v);
	*profiles = (struct lane_profiles){ 0 };
}

/* A hold keeps the first bytes of a long id; that it holds another one, too, is no harm. */
#define LANE_HOLD_CHARS (sizeof(((struct tick_hold *)NULL)->task) - 1)

static const struct tick_hold *lane_holds(const struct tick *t, const char *task)
{
	for (size_t i = 0; i < t->rq->n_holds; i++)
		if (t->rq->holds[i].until > t->rq->now &&
		    strncmp(t->rq->holds[i].task, task, LANE_HOLD_CHARS) == 0)
			return &t->rq->holds[i];
	return NULL;
}

/* Does a worker of that task live, whatever its row says? Its end has the board looked at. */
static bool lane_lives(const struct tick *t, const char *task)
{
	for (size_t i = 0; i < t->rq->n_living; i++)
		if (strncmp(t->rq->living[i].task, task, LANE_HOLD_CHARS) == 0)
			return true;
	return false;
}

/* The rules before the profile's cap: they cost no query. */
static enum lane_why lane_look_row(const struct tick *t, const struct lane_row *row,
				   bool review, struct lane_look *look)
{
	const struct tick_request *rq = t->rq;
	const struct tick_hold *hold;

	/* a reviewer is chosen, not fallen back on */
	look->assign = text_is_blank(row->assignee);
	look->assignee = !look->assign ? row->assignee
			 : review      ? NULL
				       : rq->set->default_assignee;
	if (!look->assignee || !profile_spawnable(t, look->assignee))
		return look->assign ? LANE_NO_ASSIGNEE : LANE_NO_PROFILE;
	if (row->scheduled_at > rq->now)
		return LANE_SCHEDULED;
	hold = lane_holds(t, row->task);
	if (hold) {
		look->until = hold->until;
		return LANE_HELD;
	}
	return lane_lives(t, row->task) ? LANE_OCCUPIED : LANE_FREE;
}

/* clang-format off */
static const char sql_let_go[] =
	"SELECT count(*) FROM task_events WHERE task_id = ?1 AND run_id = ?2"
	" AND kind IN ('reclaimed', 'stale')";
/* clang-format on */

/* Hermes of the older boards takes a claim of another host that ran out wherever its worker
 * lives, and so does a single sweep there: of a run that was let go like this nobody waits. */
static int lane_let_go(const struct tick *t, const char *task, enum lane_why *why)
{
	int64_t let_go = 1;
	int r = 0;

	if (!t->rq->once || tick_newer(t))
		return 0;
	for (size_t i = 0; r == 0 && let_go > 0 && i < t->rq->n_living; i++)
		if (strncmp(t->rq->living[i].task, task, LANE_HOLD_CHARS) == 0)
			r = db_one_int(t->db, t->e, &let_go, 0, sql_let_go, "ti", task,
				       t->rq->living[i].run);
	if (r == 0 && let_go > 0)
		*why = LANE_FREE;
	return r;
}

int lane_look(const struct tick *t, struct lane_profiles *profiles, const struct lane_row *row,
	      bool review, struct lane_look *look)
{
	const struct guard_task gt = { row->task, row->last_error, review };
	int64_t limit;
	bool open = false;
	int r = 0;

	*look = (struct lane_look){ 0 };
	look->why = lane_look_row(t, row, review, look);
	if (look->why == LANE_OCCUPIED)
		r = lane_let_go(t, row->task, &look->why);
	if (r != 0 || look->why != LANE_FREE)
		return r;
	(void)profile_name(look->assignee, look->name, sizeof(look->name)); /* it is one */
	limit = pools_profile_limit(t->rq->set, look->name);
	r = lane_profile(t, profiles, look->assignee, &look->profile);
	if (r == 0 && limit >= 0 && look->profile->running >= limit) {
		look->why = LANE_CAPPED;
		return 0;
	}
	if (r == 0)
		r = guard_check(t, &gt, &look->reason, &look->until);
	if (r != 0 || look->reason) {
		look->why = LANE_GUARD;
		return r;
	}
	look->until = 0;
	if (row->last_error) /* it failed before */
		r = backoff_check(t, row->task, &look->until);
	if (r != 0 || look->until != 0) {
		look->why = LANE_BACKOFF;
		return r;
	}
	r = claim_has_open_parent(t, row->task, &open);
	if (open)
		look->why = LANE_PARENT;
	return r;
}
