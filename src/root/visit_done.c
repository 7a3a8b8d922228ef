/* After a visit of a board: its state is told, workers are started and ended, the timer is
 * armed.
 */
#include <stdio.h>

#include "root/adopt.h"
#include "root/barrier.h"
#include "root/collect.h"
#include "root/decompose.h"
#include "root/hostfault.h"
#include "root/inotify.h"
#include "root/notices.h"
#include "root/observer.h"
#include "root/once_report.h"
#include "root/operation.h"
#include "root/places.h"
#include "root/visit_load.h"
#include "util/clock.h"

#define RETRY_MAX_MS        60000
#define LOCKED_RETRY_MIN_MS 16 /* doubling to a second */
#define LOCKED_RETRY_MAX_MS 1000
#define MEMORY_RETRY_S      5
#define ONCE_TRIES          4 /* --once: so often, then the board is reported as it is */
#define ONCE_LOCKED         40

static void visit_notes(const struct dispatch *d, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_notes; i++) {
		const struct plan_note *n = &plan->notes[i];
		struct log_about about = visit_about(d, n->id);

		about.task = n->task;
		about.run = n->run;
		if (n->text)
			log_about(n->priority, &about, "%s", n->text);
	}
}

/* A state is told when it begins and when it ends, not in between. */
static void visit_told(struct dispatch *d, const struct board_job *bj)
{
	struct log_about bad = visit_about(d, LOG_ID_BOARD_BAD);
	struct log_about well = visit_about(d, LOG_ID_BOARD_WELL);
	enum board_state state = d->board.state;

	if (state == BOARD_TROUBLED) {
		if (!d->visit.trouble_told && d->visit.failures >= 2)
			log_about(LOG_WARNING, &bad, "board %s: %s; trying again",
				  d->board.place.slug, bj->error.text);
		d->visit.trouble_told |= d->visit.failures >= 2;
		return;
	}
	if (d->visit.trouble_told && state == BOARD_HEALTHY)
		log_about(LOG_NOTICE, &well, "board %s works again", d->board.place.slug);
	d->visit.trouble_told = false;
	if (state == d->visit.told_state) /* also after trouble in between */
		return;
	d->visit.told_state = state;
	if (state == BOARD_QUARANTINED)
		log_about(LOG_ERR, &bad,
			  "board %s is quarantined: %s; no file of it is touched until its "
			  "bytes change, kanband restarts, or a later try is due",
			  d->board.place.slug, d->board.reason);
	else if (state == BOARD_LOST)
		log_about(LOG_ERR, &bad, "board %s is lost: %s", d->board.place.slug,
			  d->board.reason);
	else if (state == BOARD_SCHEMA)
		log_about(LOG_ERR, &bad, "board %s is not dispatched: %s", d->board.place.slug,
			  d->board.reason);
	else if (state == BOARD_HEALTHY && d->visit.told_bad)
		log_about(LOG_NOTICE, &well, "board %s is healthy again", d->board.place.slug);
	d->visit.told_bad = board_state_stands(state);
}

static void visit_victims(struct dispatch *d, struct plan *plan)
{
	for (size_t i = 0; i < plan->n_victims; i++) {
		workers_end(d, &plan->victims[i]);
		plan_victim_deinit(&plan->victims[i]);
	}
	plan->n_victims = 0;
}

static void visit_ticked(struct dispatch *d, struct board_job *bj)
{
	struct plan *plan = &bj->plan;

	if (bj->rq.steps & TICK_RECLAIM) {
		collect_booked(d);
		adopt_seen(d, plan);
		adopt_rest(d);
		workers_overdue(d);
	}
	if (!(bj->rq.steps & TICK_DISPATCH)) {
		if (bj->rq.steps)
			d->last.running = plan->running;
		return;
	}
	d->last.event = plan->last_event;
	if (bj->rq.promote_after == 0)
		d->last.full_at = plan->full_at;
	else
		plan_deadline(plan, d->last.full_at);
	d->last.running = plan->running;
	d->last.ready = plan->ready - plan->claimed;
	d->last.waits = plan->waits;
	d->last.left.unassigned = plan->unassigned.n;
	d->last.left.nonspawnable = plan->nonspawnable.n;
	d->last.left.scheduled = plan->scheduled.n;
	d->last.left.guarded = plan->n_guarded;
	root_stopped(d->root, plan->stopped);
	if (plan->claimed > 0)
		d->last.stuck_sweeps = 0;
	(void)snprintf(d->last.memory, sizeof(d->last.memory), "%s",
		       plan->memory ? plan->memory : "");
	d->adopted = true;
	d->cut_off_left = plan->cut_off_left;
	if (plan->unblocked)
		hostfault_probe(d->root);
	decompose_offer(d, &plan->triage);
	if (plan->memory)
		plan_deadline(plan, bj->rq.now + MEMORY_RETRY_S);
	if (d->outage.why && !d->outage.trying)
		plan_deadline(plan, d->outage.next_at);
}

static void visit_failed(struct dispatch *d)
{
	uint64_t ms = WAKEUP_RETRY_MS;

	for (unsigned i = 0; i < d->visit.failures && ms < RETRY_MAX_MS; i++)
		ms *= 2;
	d->visit.failures++;
	d->visit.owed |= d->visit.wanted & (WANT_FULL | WANT_NOTIFY | WANT_CHECKPOINT);
	d->once.over = d->root->env->once && d->visit.failures >= ONCE_TRIES;
	if (!d->once.over)
		wakeup_arm(d, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

/* Held for longer than its busy_timeout: that is to be seen. */
static void visit_locked_long(struct dispatch *d, const struct board_job *bj)
{
	struct log_about about = visit_about(d, LOG_ID_BOARD_BAD);
	struct board *b = &d->board;

	if (d->visit.trouble_told ||
	    uv_now(d->root->env->loop) - d->visit.locked_ms < (uint64_t)d->set.busy_timeout_ms)
		return;
	d->visit.trouble_told = true;
	log_about(LOG_WARNING, &about, "board %s: %s; trying again", b->place.slug,
		  bj->error.text);
	if (b->state != BOARD_HEALTHY)
		return;
	b->state = BOARD_TROUBLED;
	(void)snprintf(b->reason, sizeof(b->reason), "%s", bj->error.text);
	observer_board(d, true);
}

/*
 * Another process has a lock of the board: a little later, then. A commit of that process wakes
 * us, so the tries need not be many.
 */
static void visit_locked(struct dispatch *d, const struct board_job *bj)
{
	unsigned shift = d->visit.locked < 6 ? d->visit.locked : 6;

	if (d->visit.locked++ == 0)
		d->visit.locked_ms = uv_now(d->root->env->loop);
	if (d->root->env->once && d->visit.locked >= ONCE_LOCKED) {
		d->once.over = true;
		(void)snprintf(d->board.reason, sizeof(d->board.reason), "%s", bj->error.text);
		return;
	}
	visit_locked_long(d, bj);
	d->wake.want |= d->visit.wanted & ~(unsigned)WANT_LOOK;
	d->wake.want |= bj->rq.steps ? WANT_TICK : 0;
	d->wake.want |= bj->close ? WANT_CLOSE : 0;
	wakeup_arm(d,
		   d->root->env->once ? LOCKED_RETRY_MAX_MS / 4 : LOCKED_RETRY_MIN_MS << shift);
}

/*
 * When time alone will change something. A tick knows; what it said holds through visits that
 * only look or book, which would else leave the board without its timer.
 */
static void visit_deadline(struct dispatch *d, const struct board_job *bj)
{
	struct plan sum = { .deadline = bj->plan.deadline };
	bool tried = bj->rq.steps && bj->outcome != BOARD_UNCHANGED;
	bool ticked = tried && bj->outcome == BOARD_DONE;

	/* a tick that failed is tried again anyway: what was due needs no timer of its own */
	if (!ticked && !(tried && d->wake.deadline_s <= bj->rq.now))
		plan_deadline(&sum, d->wake.deadline_s);
	d->wake.deadline_s = sum.deadline;
	wakeup_deadline(d, d->wake.deadline_s);
}

/* For whoever looks on. */
static void visit_counted(struct dispatch *d, const struct board_job *bj)
{
	struct root_stats *stats = &d->root->env->stats;

	d->visit.count++;
	d->visit.claiming = false;
	d->visit.ended_at = clock_wall_s();
	stats->visits[bj->outcome]++;
	stats_time(&stats->visit, clock_mono_us() - d->visit.begun_us);
	stats->claims += (uint64_t)bj->plan.claimed;
	stats->reclaimed += (uint64_t)bj->plan.reclaimed;
	stats->promoted += (uint64_t)bj->plan.promoted;
}

/* What the visit found for those who look on. */
static void visit_news(struct dispatch *d, struct board_job *bj)
{
	if (bj->snapshot)
		observer_snapshot(d, bj->snapshot);
	free(bj->snapshot);
	bj->snapshot = NULL;
	if (bj->wants_news && !bj->news_read)
		d->news_after = bj->news_after; /* where it began, for the next try */
	if (bj->news_read) {
		d->news_after = bj->news.after;
		for (size_t i = 0; i < bj->news.n; i++)
			observer_row(d, &bj->news.rows[i]);
		if (bj->news.more)
			wakeup_want(d, WANT_TICK);
	}
	news_deinit(&bj->news);
}

void visit_done(struct job *job)
{
	struct board_job *bj = container_of(job, struct board_job, job);
	struct dispatch *d = container_of(bj, struct dispatch, visit.bj);
	struct root *root = d->root;
	enum board_state before = d->board.state;
	bool ok, changed;
	size_t launches;

	/* what was written until now is told while the board counts as busy */
	if (root->env->inotify)
		inotify_resume(root->env->inotify);
	board_publish(bj, &changed);
	d->visit.in_done = true;
	d->visit.ended_ms = uv_now(root->env->loop);
	visit_counted(d, bj);
	wakeup_visited(d, bj);
	if (!d->board.db)
		root->env->open_boards--;
	ok = bj->outcome == BOARD_DONE;
	if (root->env->once)
		once_report_visited(d, bj);
	visit_unload(d, bj->ended_booked, bj->recorded);
	visit_victims(d, &bj->plan);
	/* claimed rows are committed even if a later step failed; the rest can wait for them */
	launches = bj->plan.n_launches;
	launches_start(d, &bj->plan);
	visit_notes(d, &bj->plan);
	if (ok && d->board.state != BOARD_TROUBLED)
		d->visit.failures = d->visit.owed = 0;
	if (d->board.state == BOARD_TROUBLED && bj->outcome == BOARD_FAILED)
		visit_failed(d);
	visit_told(d, bj);
	if (changed)
		/* what a board is found as at first is no change of it, unless it is bad */
		observer_board(
			d, d->board.state != before &&
				   (before != BOARD_NEW || board_state_bad(d->board.state)));
	visit_news(d, bj);
	if (d->visit.trying)
		hostfault_visited(d, launches + launches_count(d));
	if (ok)
		visit_ticked(d, bj);
	if (ok && !d->visit.trying)
		hostfault_looked(d);
	if (bj->outcome == BOARD_LOCKED)
		visit_locked(d, bj);
	else
		d->visit.locked = 0;
	if (bj->rq.steps)
		d->once.locked = bj->outcome == BOARD_LOCKED;
	visit_deadline(d, bj);
	notices_end(d, bj, true);
	plan_deinit(&bj->plan);
	/* counted, or not to be had now; may start visits, not of this one before we read @bj
	 */
	barrier_board(d, false);
	/* the barrier was closed when it began, and may have opened since */
	if (ok && !root->env->once && bj->rq.steps && !(bj->rq.steps & TICK_DISPATCH) &&
	    root->env->uncounted == 0 && !root->env->held && !d->held && adopt_ready(d))
		d->wake.want |= WANT_TICK;
	d->visit.in_done = false;
	/* a look that found nothing new leaves the board where it was in its turn */
	places_visited(d, ok || bj->outcome == BOARD_UNCHANGED);
	if (d->answering)
		places_answered(d);
	places_pass(root->env);
	if (bj->outcome == BOARD_LEASE_LOST) {
		struct error why = bj->error; /* the board may be closed by this */

		root_lease_lost(root, why.text);
	} else if (bj->outcome != BOARD_LOCKED && d->board.state != BOARD_TROUBLED) {
		d->wake.begin(d);
	} else {
		(void)operation_next(
			d); /* the visit waits for its time, an operation does not */
	}
	root_visit_ended(root);
}
