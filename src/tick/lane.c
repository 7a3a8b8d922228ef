#include "tick/lane.h"

#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "tick/claim.h"
#include "tick/guard.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/memory.h"

/* clang-format off */
static const char sql_lane[] =
	"SELECT id, assignee, {failure_error}, {tasks.scheduled_at} FROM tasks"
	" WHERE status = ?1 AND claim_lock IS NULL"
	" ORDER BY {tasks.priority?priority DESC,} created_at ASC, rowid ASC";

static const char sql_profile_running[] =
	"SELECT count(*) FROM tasks WHERE status = 'running' AND assignee = ?1";

static const char sql_ready_left[] =
	"SELECT count(*) FROM tasks WHERE status = 'ready' AND claim_lock IS NULL";

static const char sql_running[] =
	"SELECT count(*) FROM tasks WHERE status = 'running'";

static const char sql_assign[] =
	"UPDATE tasks SET assignee = ?2 WHERE id = ?1 AND status IN ('ready', 'review')"
	" AND trim(coalesce(assignee, '')) = ''";
/* clang-format on */

/* Per-profile counts of this tick, so that the cap is asked of the database once a profile. */
struct lane_profile {
	char *assignee; /* as stored */
	int64_t running;
};

struct lane_walk {
	struct db *db;
	const struct tick_request *rq;
	struct lane_plan *lanes;
	struct plan *plan;
	struct error *e;
	struct lane_profile *profiles;
	size_t n_profiles;
	int64_t budget; /* places left on this board for this lane */
	int64_t chosen; /* claims chosen so far, both lanes */
	bool review;
};

void lane_plan_deinit(struct lane_plan *lanes)
{
	for (size_t i = 0; i < lanes->n; i++)
		free(lanes->v[i].task);
	free(lanes->v);
	*lanes = (struct lane_plan){ 0 };
}

bool tick_profile_name(const char *assignee, char *out, size_t size)
{
	size_t n = strlen(assignee);

	while (n > 0 && isspace((unsigned char)*assignee)) {
		assignee++;
		n--;
	}
	while (n > 0 && isspace((unsigned char)assignee[n - 1]))
		n--;
	if (n == 0 || n >= size)
		return false;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)assignee[i]);
	out[n] = '\0';
	return !strchr(out, '/') && strcmp(out, ".") != 0 && strcmp(out, "..") != 0;
}

static bool lane_blank(const char *text)
{
	return !text || text[strspn(text, " \t\r\n\v\f")] == '\0';
}

/* Is @assignee a profile that this dispatcher starts workers for? */
static bool lane_spawnable(const struct tick_request *rq, const char *assignee)
{
	char name[256];

	if (!tick_profile_name(assignee, name, sizeof(name)))
		return false;
	if (rq->set->profiles_limited) {
		bool listed = false;

		for (size_t i = 0; rq->set->dispatch_profiles && rq->set->dispatch_profiles[i];
		     i++)
			listed |= strcmp(rq->set->dispatch_profiles[i], name) == 0;
		if (!listed)
			return false;
	}
	return strcmp(name, "default") == 0 || rq->outside->profile(rq->outside->arg, name);
}

static struct lane_choice *lane_choose(struct lane_walk *w, enum lane_verdict verdict,
				       const char *task)
{
	struct lane_plan *lanes = w->lanes;

	if ((lanes->n & (lanes->n - 1)) == 0) {
		struct lane_choice *more =
			reallocarray(lanes->v, lanes->n ? lanes->n * 2 : 1, sizeof(*more));

		if (!more)
			return NULL;
		lanes->v = more;
	}
	struct lane_choice *c = &lanes->v[lanes->n];

	*c = (struct lane_choice){ .verdict = verdict,
				   .task = strdup(task),
				   .review = w->review };
	if (!c->task)
		return NULL;
	lanes->n++;
	return c;
}

/* The running count of @assignee, asked once; NULL out of memory or on error (in w->e). */
static int lane_profile(struct lane_walk *w, const char *assignee, struct lane_profile **out)
{
	int r;

	for (size_t i = 0; i < w->n_profiles; i++)
		if (strcmp(w->profiles[i].assignee, assignee) == 0) {
			*out = &w->profiles[i];
			return 0;
		}
	struct lane_profile *more = reallocarray(w->profiles, w->n_profiles + 1, sizeof(*more));

	if (!more)
		return error_set(w->e, -ENOMEM, "out of memory");
	w->profiles = more;
	more[w->n_profiles].assignee = strdup(assignee);
	if (!more[w->n_profiles].assignee)
		return error_set(w->e, -ENOMEM, "out of memory");
	*out = &more[w->n_profiles++];
	r = db_one_int(w->db, w->e, &(*out)->running, 0, sql_profile_running, "t", assignee);
	return r;
}

/* A hold keeps the first bytes of a long id; that it holds another one, too, is no harm. */
#define LANE_HOLD_CHARS (sizeof(((struct tick_hold *)NULL)->task) - 1)

static bool lane_held(struct lane_walk *w, const char *task)
{
	for (size_t i = 0; i < w->rq->n_holds; i++)
		if (w->rq->holds[i].until > w->rq->now &&
		    strncmp(w->rq->holds[i].task, task, LANE_HOLD_CHARS) == 0) {
			plan_deadline(w->plan, w->rq->holds[i].until);
			return true;
		}
	return false;
}

/*
 * One row, in the order of the board contract: assignee, profile, schedule, cap, guard. The
 * budget was checked before it. Return: 0, or as db_step().
 */
static int lane_row(struct lane_walk *w, const char *task, const char *assignee,
		    const char *last_error, int64_t scheduled_at)
{
	const struct tick_request *rq = w->rq;
	struct guard_task gt = { task, last_error };
	struct lane_profile *profile = NULL;
	struct lane_choice *c;
	const char *reason;
	bool assign = false;
	int64_t until;
	int r;

	if (lane_blank(assignee)) {
		const char *fallback = rq->set->default_assignee;

		if (!fallback || !lane_spawnable(rq, fallback)) {
			plan_id(w->plan, &w->plan->unassigned, task);
			w->plan->waits |= WAIT_ASSIGNEE;
			return 0;
		}
		assignee = fallback;
		assign = true;
	} else if (!lane_spawnable(rq, assignee)) {
		plan_id(w->plan, &w->plan->nonspawnable, task);
		w->plan->waits |= WAIT_PROFILE;
		return 0;
	}
	if (scheduled_at > rq->now) {
		plan_id(w->plan, &w->plan->scheduled, task);
		plan_deadline(w->plan, scheduled_at);
		return 0;
	}
	if (lane_held(w, task))
		return 0;
	c = lane_choose(w, LANE_ASSIGN, task);
	if (!c)
		return error_set(w->e, -ENOMEM, "out of memory");
	c->assign = assign;
	r = lane_profile(w, assignee, &profile);
	if (r != 0)
		return r;
	if (rq->set->max_in_progress_per_profile >= 0 &&
	    profile->running >= rq->set->max_in_progress_per_profile) {
		plan_id(w->plan, &w->plan->profile_capped, task);
		w->plan->waits |= WAIT_BOARD;
		return 0;
	}
	r = guard_check(w->db, rq, &gt, &reason, &until, w->e);
	if (r != 0)
		return r;
	if (reason) {
		bool news = false;

		plan_guarded(w->plan, task, reason);
		if (until > rq->now) /* rows hold any time */
			plan_deadline(w->plan, until);
		r = guard_is_news(w->db, rq, task, reason, &news, w->e);
		if (news)
			c->verdict = LANE_GUARDED;
		c->reason = reason;
		return r;
	}
	if (!caps_take(rq->caps, rq->caps_mine)) {
		w->budget = 0;
		w->plan->waits |= WAIT_CAPACITY;
		return 0;
	}
	c->verdict = LANE_CLAIM;
	c->taken = true;
	profile->running++;
	w->budget--;
	w->chosen++;
	return 0;
}

static int lane_walk(struct lane_walk *w)
{
	sqlite3_stmt *s = NULL;
	int r;

	r = db_query(w->db, w->e, &s, sql_lane, "t", w->review ? "review" : "ready");
	while (r == 0 && w->budget > 0 && (r = db_step(w->db, s, w->e)) == DB_ROW) {
		const char *task = (const char *)sqlite3_column_text(s, 0);

		r = 0;
		if (task)
			r = lane_row(w, task, (const char *)sqlite3_column_text(s, 1),
				     (const char *)sqlite3_column_text(s, 2),
				     running_time(sqlite3_column_int64(s, 3)));
	}
	if (s)
		(void)sqlite3_reset(s); /* the budget may have ended before the rows */
	return r;
}

/* Is there review work that could start? Only looked at to keep one place for it. */
static int lane_review_waits(struct lane_walk *w, bool *waits)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(w->db, w->e, &s, sql_lane, "t", "review");

	*waits = false;
	while (r == 0 && !*waits && (r = db_step(w->db, s, w->e)) == DB_ROW) {
		const char *assignee = (const char *)sqlite3_column_text(s, 1);

		r = 0;
		if (lane_blank(assignee))
			assignee = w->rq->set->default_assignee;
		*waits = assignee && lane_spawnable(w->rq, assignee);
	}
	if (s)
		(void)sqlite3_reset(s); /* one row is enough */
	return r;
}

/* Step 9: how many may start on this board now. */
static int lane_budget(struct lane_walk *w, bool wanted, int64_t *budget)
{
	const struct settings *set = w->rq->set;
	struct error why = ERROR_NULL;
	int64_t running, left;
	enum memory_level memory;
	int r;

	r = db_one_int(w->db, w->e, &running, 0, sql_running, "");
	if (r != 0)
		return r;
	w->plan->running = running;
	caps_count(w->rq->caps, w->rq->caps_mine, running);
	*budget = INT64_MAX;
	if (set->max_spawn >= 0) {
		*budget = running < set->max_spawn ? set->max_spawn - running : 0;
		if (*budget == 0 && wanted)
			w->plan->waits |= WAIT_BOARD;
	}
	left = caps_left(w->rq->caps);
	if (left < *budget) {
		*budget = left;
		if (left == 0 && wanted)
			w->plan->waits |= WAIT_CAPACITY;
	}
	if (*budget == 0 || !wanted || !set->memory_guard)
		return 0;
	memory = memory_level(&why);
	if (memory != MEMORY_PLENTY) {
		w->plan->waits |= WAIT_CAPACITY;
		w->plan->memory = strdup(why.text);
		if (memory == MEMORY_CRITICAL)
			*budget = 0;
		else if (*budget > 1)
			*budget = 1;
	}
	return 0;
}

int lane_find(struct db *db, const struct tick_request *rq, struct lane_plan *lanes,
	      struct plan *plan, struct error *e)
{
	struct lane_walk w = { .db = db, .rq = rq, .lanes = lanes, .plan = plan, .e = e };
	int64_t budget = 0, ready;
	bool review = false;
	int r;

	r = db_one_int(db, e, &ready, 0, sql_ready_left, "");
	if (r != 0)
		return r;
	plan->ready = ready;
	if (rq->set->review_dispatch)
		r = lane_review_waits(&w, &review);
	/* with nothing to start the counts still matter: other boards share the caps */
	if (r == 0)
		r = lane_budget(&w, ready > 0 || review, &budget);
	if (r == 0 && ready > 0) {
		w.budget = review && budget > 0 && budget != INT64_MAX ? budget - 1 : budget;
		r = lane_walk(&w);
	}
	if (r == 0 && rq->set->review_dispatch) {
		w.review = true;
		w.budget = budget == INT64_MAX ? budget : budget - w.chosen;
		r = lane_walk(&w);
	}
	if (r == 0 && ready > w.chosen && w.budget <= 0 && budget > 0)
		plan->waits |= WAIT_CAPACITY | WAIT_BOARD; /* it ran out on the way */
	for (size_t i = 0; i < w.n_profiles; i++)
		free(w.profiles[i].assignee);
	free(w.profiles);
	return r;
}

/* ---- writing -------------------------------------------------------------------------------
 */

static int lane_assign(struct db *db, const struct tick_request *rq, const char *task,
		       struct error *e)
{
	const char *who = rq->set->default_assignee;
	int r = db_run(db, e, sql_assign, "tt", task, who);

	if (r != 0 || db_changes(db) == 0)
		return r;
	return history_event(db, task, 0, "assigned",
			     json_pack("{s:o, s:s}", "assignee", history_text(who), "source",
				       "kanban.default_assignee"),
			     rq->now, e);
}

static int lane_apply(struct db *db, const struct tick_request *rq, const struct lane_choice *c,
		      struct plan *plan, struct error *e)
{
	int r = c->assign ? lane_assign(db, rq, c->task, e) : 0;

	if (r != 0)
		return r;
	switch (c->verdict) {
	case LANE_ASSIGN:
		return 0;
	case LANE_GUARDED:
		return history_event(db, c->task, 0, "respawn_guarded",
				     json_pack("{s:s}", "reason", c->reason), rq->now, e);
	case LANE_CLAIM:
		return claim_task(db, rq, c->task, c->review, plan, e);
	}
	return 0;
}

int lane_commit(struct db *db, const struct tick_request *rq, const struct lane_plan *lanes,
		struct plan *plan, struct error *e)
{
	struct plan_mark mark = plan_mark(plan);
	bool any = false;
	int64_t running;
	int r;

	for (size_t i = 0; i < lanes->n; i++)
		any |= lanes->v[i].assign || lanes->v[i].verdict != LANE_ASSIGN;
	if (!any)
		return 0;
	r = db_begin(db, e);
	if (r != 0)
		return r;
	for (size_t i = 0; r == 0 && i < lanes->n; i++)
		r = lane_apply(db, rq, &lanes->v[i], plan, e);
	/* rejected claims give their places back */
	if (r == 0)
		r = db_one_int(db, e, &running, 0, sql_running, "");
	if (r == 0 && !rq->outside->owner(rq->outside->arg, e)) {
		plan->lease_lost = true;
		r = DB_TRANSIENT;
	}
	if (r == 0)
		r = db_commit(db, e);
	else
		db_rollback(db);
	if (r == 0) {
		plan->running = running;
		plan->claimed = (int64_t)plan->n_launches;
		caps_count(rq->caps, rq->caps_mine, running);
		return 0;
	}
	plan_cut(plan, &mark);
	return r;
}
