/*
 * Rules 10 and 11 of a tick: the ready lane, and the review lane, which shares its budget.
 */
#include "tick/lane.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "lane.h"
#include "tick.h"
#include "tick/backoff.h"
#include "tick/budget.h"
#include "tick/claim.h"
#include "tick/guard.h"
#include "tick/history.h"
#include "tick/pools.h"
#include "tick/profile.h"
#include "util/json.h"
#include "util/list.h"
#include "util/text.h"

/* clang-format off */
static const char sql_lane[] =
	"SELECT id, assignee, {failure_error}, {tasks.scheduled_at}, {tasks.priority} FROM tasks"
	" WHERE status = ?1 AND claim_lock IS NULL"
	" ORDER BY {tasks.priority?priority DESC,} created_at ASC, rowid ASC";

static const char sql_not_skipped[] =
	"SELECT kind <> 'skipped_nonspawnable' FROM task_events WHERE task_id = ?1"
	" ORDER BY id DESC LIMIT 1";

static const char sql_ready_left[] =
	"SELECT count(*) FROM tasks WHERE status = 'ready' AND claim_lock IS NULL";

static const char sql_assign[] =
	"UPDATE tasks SET assignee = ?2 WHERE id = ?1 AND status = 'ready'"
	" AND trim(coalesce(assignee, '')) = ''";
/* clang-format on */

struct lane_walk {
	const struct tick *t;
	struct lane_plan *lanes;
	struct lane_profiles profiles;
	int64_t pools[TURNS_POOLS_MAX]; /* chosen so far, by pool */
	int64_t budget;                 /* places left on this board for this lane */
	int64_t chosen;                 /* claims chosen so far, both lanes */
	bool review;
};

static void lane_choice_deinit(struct lane_choice *c)
{
	free(c->task);
	free(c->assignee);
}

void lane_plan_deinit(struct lane_plan *lanes)
{
	for (size_t i = 0; i < lanes->n; i++)
		lane_choice_deinit(&lanes->v[i]);
	free(lanes->v);
	*lanes = (struct lane_plan){ 0 };
}

static struct lane_choice *lane_choose(struct lane_walk *w, enum lane_verdict verdict,
				       const char *task)
{
	CLEANUP(freep) char *copy = strdup(task);
	struct lane_choice *c =
		copy ? list_grow((void **)&w->lanes->v, &w->lanes->n, sizeof(*c)) : NULL;

	if (c)
		*c = (struct lane_choice){ .verdict = verdict,
					   .task = STEAL(copy),
					   .review = w->review };
	return c;
}

/* Is a pool so small that what was chosen for it before fills it alone? */
static bool lane_pool_full(struct lane_walk *w, uint64_t pools)
{
	const struct settings *set = w->t->rq->set;

	for (size_t i = 0; pools >> i && i < set->n_pools; i++)
		if ((pools >> i & 1) && w->pools[i] >= set->pools[i].limit)
			return true;
	return false;
}

/*
 * It could start: may it? With --once the first come takes what is left, as Hermes has it; else
 * that is decided over all boards when the walk is over.
 */
static bool lane_chosen(struct lane_walk *w, struct lane_choice *c, const char *profile)
{
	const struct tick_request *rq = w->t->rq;

	c->pools = pools_of(rq->set, rq->board, profile);
	if (lane_pool_full(w, c->pools)) {
		w->t->plan->waits |= WAIT_POOL;
		return false;
	}
	if (rq->once && !caps_take(rq->caps, rq->turn)) {
		w->budget = 0;
		w->t->plan->waits |= WAIT_CAPACITY;
		return false;
	}
	c->verdict = LANE_CLAIM;
	c->taken = rq->once;
	for (size_t i = 0; c->pools >> i && i < rq->set->n_pools; i++)
		w->pools[i] += c->pools >> i & 1;
	w->budget--;
	w->chosen++;
	return true;
}

/* No profile of that name: newer boards say so once, as long as nothing else happens to it. */
static int lane_nonspawnable(struct lane_walk *w, const char *task, const char *assignee)
{
	struct lane_choice *c;
	int64_t news = 0;
	int r = 0;

	if (tick_newer(w->t))
		r = db_one_int(w->t->db, w->t->e, &news, 1, sql_not_skipped, "t", task);
	if (r != 0 || !news)
		return r;
	c = lane_choose(w, LANE_SKIPPED, task);
	if (!c)
		return error_set(w->t->e, -ENOMEM, "out of memory");
	c->assignee = strdup(assignee);
	return c->assignee ? 0 : error_set(w->t->e, -ENOMEM, "out of memory");
}

/* A row of sql_lane. */
static struct lane_row lane_row(sqlite3_stmt *s)
{
	return (struct lane_row){
		.task = (const char *)sqlite3_column_text(s, 0),
		.assignee = (const char *)sqlite3_column_text(s, 1),
		.last_error = (const char *)sqlite3_column_text(s, 2),
		.scheduled_at = running_time(sqlite3_column_int64(s, 3)),
		.priority = sqlite3_column_int64(s, 4),
	};
}

/* What is said of a row that is not looked at any further. */
static int lane_pass(struct lane_walk *w, const struct lane_row *row,
		     const struct lane_look *look)
{
	struct plan *plan = w->t->plan;

	switch (look->why) {
	case LANE_NO_ASSIGNEE:
		plan_id(plan, &plan->unassigned, row->task);
		plan->waits |= WAIT_ASSIGNEE;
		return 0;
	case LANE_NO_PROFILE:
		plan_id(plan, &plan->nonspawnable, row->task);
		plan->waits |= WAIT_PROFILE;
		return lane_nonspawnable(w, row->task, row->assignee);
	case LANE_SCHEDULED:
		plan_id(plan, &plan->scheduled, row->task);
		plan_deadline(plan, row->scheduled_at);
		return 0;
	case LANE_HELD:
		plan_deadline(plan, look->until);
		return 0;
	default: /* its worker's end has the board looked at */
		plan->occupied++;
		plan->waits |= WAIT_WORKER;
		return 0;
	}
}

/* A guard or a back-off holds it: said in its history where that is news. */
static int lane_guarded(struct lane_walk *w, struct lane_choice *c,
			const struct lane_look *look)
{
	bool news = false;
	int r;

	c->reason = look->reason ? look->reason : "retry_backoff";
	plan_guarded(w->t->plan, c->task, c->reason);
	if (look->until > w->t->rq->now) /* rows hold any time */
		plan_deadline(w->t->plan, look->until);
	if (look->why == LANE_GUARD) {
		r = guard_is_news(w->t, c->task, c->reason, &news);
	} else {
		c->next_try = look->until;
		r = backoff_is_news(w->t, c->task, look->until, &news);
	}
	if (news)
		c->verdict = LANE_GUARDED;
	return r;
}

/*
 * Its profile is at its cap. With --once, where that is so by what this walk chose, the walk
 * ends: a start that fails takes no place, and this row comes before those behind it, as in
 * Hermes, which starts one worker after the other.
 */
static void lane_capped(struct lane_walk *w, const struct lane_profile *profile,
			const char *task)
{
	w->t->plan->waits |= WAIT_BOARD;
	if (w->t->rq->once && profile->chosen) {
		w->t->plan->again = true;
		w->budget = 0;
	} else {
		plan_id(w->t->plan, &w->t->plan->profile_capped, task);
	}
}

/* One row: what is to become of it.  Return: 0, or as db_step(). */
static int lane_take(struct lane_walk *w, const struct lane_row *row)
{
	struct lane_look look;
	struct lane_choice *c;
	int r = lane_look(w->t, &w->profiles, row, w->review, &look);

	if (r != 0)
		return r;
	if (look.why != LANE_FREE && look.why < LANE_CAPPED)
		return lane_pass(w, row, &look);
	c = lane_choose(w, LANE_ASSIGN, row->task);
	if (!c)
		return error_set(w->t->e, -ENOMEM, "out of memory");
	c->assign = look.assign;
	c->priority = row->priority;
	switch (look.why) {
	case LANE_CAPPED:
		lane_capped(w, look.profile, row->task);
		return 0;
	case LANE_GUARD:
	case LANE_BACKOFF:
		return lane_guarded(w, c, &look);
	case LANE_PARENT:
		c->verdict = LANE_REJECT;
		return 0;
	default:
		if (lane_chosen(w, c, look.name)) {
			look.profile->running++;
			look.profile->chosen = true;
		}
		return 0;
	}
}

static int lane_walk(struct lane_walk *w)
{
	sqlite3_stmt *s = NULL;
	int r;

	r = db_query(w->t->db, w->t->e, &s, sql_lane, "t", w->review ? "review" : "ready");
	while (r == 0 && w->budget > 0 && (r = db_step(w->t->db, s, w->t->e)) == DB_ROW) {
		const struct lane_row row = lane_row(s);

		r = row.task ? lane_take(w, &row) : 0;
	}
	if (s)
		(void)sqlite3_reset(s); /* the budget may have ended before the rows */
	return r;
}

/* Could that review row be claimed now? */
static int lane_review_could(struct lane_walk *w, const struct lane_row *row, bool *could)
{
	const struct tick_request *rq = w->t->rq;
	struct lane_look look;
	char name[256];
	int r;

	*could = row->task && !text_is_blank(row->assignee) &&
		 profile_name(row->assignee, name, sizeof(name)) &&
		 !pools_full(w->t, pools_of(rq->set, rq->board, name));
	if (!*could)
		return 0;
	r = lane_look(w->t, &w->profiles, row, true, &look);
	*could = r == 0 && look.why == LANE_FREE;
	return r;
}

/* Is there review work that could start? Only looked at to keep one place for it. */
static int lane_review_waits(struct lane_walk *w, bool *waits)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(w->t->db, w->t->e, &s, sql_lane, "t", "review");

	*waits = false;
	while (r == 0 && !*waits && (r = db_step(w->t->db, s, w->t->e)) == DB_ROW) {
		const struct lane_row row = lane_row(s);

		r = lane_review_could(w, &row, waits);
	}
	if (s)
		(void)sqlite3_reset(s); /* one row is enough */
	return r;
}

/* ---- whose turn it is ---------------------------------------------------------------- */

/* The claims in the order in which the board wants them: one place is kept for the review lane.
 * Return: how many. */
static size_t lane_wants(const struct lane_plan *lanes, struct turns_want *wants, size_t *which)
{
	size_t n = 0, review = lanes->n;
	int64_t head = INT64_MIN;

	for (size_t i = 0; i < lanes->n; i++) {
		if (lanes->v[i].verdict != LANE_CLAIM)
			continue;
		if (head == INT64_MIN)
			head = lanes->v[i].priority;
		if (lanes->v[i].review && review == lanes->n)
			review = i;
	}
	if (review < lanes->n) {
		const struct lane_choice *c = &lanes->v[review];

		wants[n] = (struct turns_want){ c->priority > head ? c->priority : head,
						c->pools, false };
		which[n++] = review;
	}
	for (size_t i = 0; i < lanes->n; i++)
		if (lanes->v[i].verdict == LANE_CLAIM && i != review) {
			wants[n] = (struct turns_want){ lanes->v[i].priority, lanes->v[i].pools,
							false };
			which[n++] = i;
		}
	return n;
}

/* Rows past the last place are as if they had not been looked at (the board contract, §6.9). */
static void lane_cut(const struct tick *t, struct lane_plan *lanes)
{
	size_t last = 0, keep = 0;

	for (size_t i = 0; i < lanes->n; i++)
		if (lanes->v[i].taken)
			last = i + 1;
	for (size_t i = 0; i < lanes->n; i++) {
		struct lane_choice *c = &lanes->v[i];

		if (c->verdict == LANE_CLAIM && !c->taken)
			c->verdict = LANE_ASSIGN; /* a pool was full, or it is past the end */
		if (i < last)
			lanes->v[keep++] = *c;
		else
			lane_choice_deinit(c);
	}
	lanes->n = keep;
	t->plan->waits |= WAIT_CAPACITY;
}

/* Ask for places for what was chosen; what gets none is dropped. */
static int lane_turn(const struct tick *t, struct lane_plan *lanes)
{
	CLEANUP(freep) struct turns_want *wants = calloc(lanes->n + 1, sizeof(*wants));
	CLEANUP(freep) size_t *which = calloc(lanes->n + 1, sizeof(*which));
	size_t n, given;

	if (!wants || !which)
		return error_set(t->e, -ENOMEM, "out of memory");
	n = lane_wants(lanes, wants, which);
	given = caps_turn(t->rq->caps, t->rq->turn, wants, n, t->rq->set->weight,
			  t->rq->set->pools_generation);
	for (size_t i = 0; i < n; i++)
		lanes->v[which[i]].taken = wants[i].given;
	t->plan->waiting = (int64_t)(n - given);
	if (given < n)
		lane_cut(t, lanes);
	return 0;
}

void lane_give_back(const struct tick *t, const struct lane_plan *lanes)
{
	for (size_t i = 0; i < lanes->n; i++)
		if (lanes->v[i].taken)
			caps_back(t->rq->caps, t->rq->turn, lanes->v[i].pools);
}

int lane_find(const struct tick *t, struct lane_plan *lanes)
{
	struct lane_walk w = { .t = t, .lanes = lanes };
	int64_t budget = 0, ready;
	bool review = false;
	int r;

	r = db_one_int(t->db, t->e, &ready, 0, sql_ready_left, "");
	if (r != 0)
		return r;
	t->plan->ready = ready;
	if (t->rq->set->review_dispatch)
		r = lane_review_waits(&w, &review);
	/* with nothing to start the counts still matter: other boards share the caps */
	if (r == 0)
		r = budget_find(t, ready > 0 || review, &budget);
	if (r == 0 && ready > 0) {
		w.budget = review && budget > 0 && budget != INT64_MAX ? budget - 1 : budget;
		r = lane_walk(&w);
	}
	if (r == 0 && t->rq->set->review_dispatch && !t->plan->again) {
		w.review = true;
		w.budget = budget == INT64_MAX ? budget : budget - w.chosen;
		r = lane_walk(&w);
	}
	if (r == 0 && ready > w.chosen && w.budget <= 0 && budget > 0 && !t->plan->again)
		t->plan->waits |= WAIT_CAPACITY | WAIT_BOARD; /* it ran out on the way */
	lane_profiles_deinit(&w.profiles);
	return r == 0 && !t->rq->once ? lane_turn(t, lanes) : r;
}

/* ---- writing ------------------------------------------------------------------------- */

static int lane_assign(const struct tick *t, const char *task)
{
	const char *who = t->rq->set->default_assignee;
	int r = db_run(t->db, t->e, sql_assign, "tt", task, who);

	if (r != 0 || db_changes(t->db) == 0)
		return r;
	return history_event(t, task, 0, "assigned",
			     json_pack("{s:o, s:s}", "assignee", json_utf8(who), "source",
				       "kanban.default_assignee"));
}

static int lane_apply(const struct tick *t, const struct lane_choice *c)
{
	int r = c->assign ? lane_assign(t, c->task) : 0;

	if (r != 0)
		return r;
	switch (c->verdict) {
	case LANE_ASSIGN:
		return 0;
	case LANE_GUARDED:
		return history_event(t, c->task, 0, "respawn_guarded",
				     c->next_try
					     ? json_pack("{s:s, s:I}", "reason", c->reason,
							 "next_try", (json_int_t)c->next_try)
					     : json_pack("{s:s}", "reason", c->reason));
	case LANE_SKIPPED:
		return history_event(t, c->task, 0, "skipped_nonspawnable",
				     json_pack("{s:o}", "assignee", json_utf8(c->assignee)));
	case LANE_REJECT:
		return claim_reject(t, c->task, c->review);
	case LANE_CLAIM:
		return claim_task(t, c->task, c->review);
	}
	return 0;
}

struct lane_writing {
	const struct lane_plan *lanes;
	struct caps_running running;
};

static int lane_write(const struct tick *t, void *arg)
{
	struct lane_writing *w = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->lanes->n; i++)
		r = lane_apply(t, &w->lanes->v[i]);
	/* rejected claims give their places back */
	return r != 0 ? r : pools_count(t, &w->running);
}

int lane_commit(const struct tick *t, const struct lane_plan *lanes)
{
	struct lane_writing writing = { .lanes = lanes };
	int64_t running = t->plan->running;
	bool any = false;
	int r;

	for (size_t i = 0; i < lanes->n; i++)
		any |= lanes->v[i].assign || lanes->v[i].verdict != LANE_ASSIGN;
	if (!any)
		return 0;
	r = tick_transaction(t, lane_write, &writing);
	if (r != 0) {
		t->plan->running = running;
		return r;
	}
	t->plan->claimed = (int64_t)t->plan->n_launches;
	caps_count(t->rq->caps, t->rq->turn, &writing.running);
	return 0;
}
