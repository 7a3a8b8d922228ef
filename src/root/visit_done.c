/* After a visit of a board: its state is told, workers are started and ended, the timer is
 * armed.
 */
#include <stdio.h>

#include "root/decompose.h"
#include "root/dispatch_impl.h"
#include "root/notices.h"
#include "root/operation.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/log.h"

#define RETRY_MAX_MS    60000
#define LOCKED_RETRY_MS 250
#define MEMORY_RETRY_S  5
#define ONCE_TRIES      4 /* --once: so often, then the board is reported as it is */
#define ONCE_LOCKED     40

static void visit_notes(const struct dispatch *d, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_notes; i++) {
		const struct plan_note *n = &plan->notes[i];
		struct log_about about = dispatch_about(d, n->id);

		about.task = n->task;
		about.run = n->run;
		if (n->text)
			log_about(n->priority, &about, "%s", n->text);
	}
}

/* A state is told when it begins and when it ends, not in between. */
static void visit_told(struct dispatch *d, const struct board_job *bj)
{
	struct log_about bad = dispatch_about(d, LOG_ID_BOARD_BAD);
	struct log_about well = dispatch_about(d, LOG_ID_BOARD_WELL);
	enum board_state state = d->board.state;

	if (state == BOARD_TROUBLED) {
		if (!d->trouble_told && d->failures >= 2)
			log_about(LOG_WARNING, &bad, "board %s: %s; trying again",
				  d->board.place.slug, bj->error.text);
		d->trouble_told |= d->failures >= 2;
		return;
	}
	if (d->trouble_told && state == BOARD_HEALTHY)
		log_about(LOG_NOTICE, &well, "board %s works again", d->board.place.slug);
	d->trouble_told = false;
	if (state == d->told_state) /* also after trouble in between */
		return;
	d->told_state = state;
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
	else if (state == BOARD_HEALTHY && d->told_bad)
		log_about(LOG_NOTICE, &well, "board %s is healthy again", d->board.place.slug);
	d->told_bad =
		state == BOARD_QUARANTINED || state == BOARD_SCHEMA || state == BOARD_LOST;
}

static void visit_victims(struct dispatch *d, struct plan *plan)
{
	for (size_t i = 0; i < plan->n_victims; i++) {
		workers_end(d, &plan->victims[i]);
		plan_victim_deinit(&plan->victims[i]);
	}
	plan->n_victims = 0;
}

/* The caps hold for all boards: nothing is claimed before the running tasks of each are known.
 */
void dispatch_uncounted(struct dispatch *d, bool uncounted)
{
	struct root_env *env = d->root->env;

	if (d->uncounted == uncounted)
		return;
	d->uncounted = uncounted;
	env->uncounted += uncounted ? 1U : -1U;
	if (env->uncounted == 0)
		env->counted(env->arg);
}

static void visit_ticked(struct dispatch *d, struct board_job *bj)
{
	struct plan *plan = &bj->plan;
	bool fell;

	if (bj->rq.steps & TICK_RECLAIM) {
		workers_seen(d, plan);
		workers_overdue(d);
	}
	if (!(bj->rq.steps & TICK_DISPATCH)) {
		if (bj->rq.steps)
			d->running = plan->running;
		return;
	}
	fell = plan->running < d->running;
	d->last_event = plan->last_event;
	d->running = plan->running;
	d->ready = plan->ready - plan->claimed;
	d->waits = plan->waits;
	d->left.unassigned = plan->unassigned.n;
	d->left.nonspawnable = plan->nonspawnable.n;
	d->left.scheduled = plan->scheduled.n;
	d->left.guarded = plan->n_guarded;
	if (plan->claimed > 0)
		d->stuck_sweeps = 0;
	(void)snprintf(d->memory, sizeof(d->memory), "%s", plan->memory ? plan->memory : "");
	d->adopted = true;
	decompose_offer(d, &plan->triage);
	if (plan->memory)
		plan_deadline(plan, bj->rq.now + MEMORY_RETRY_S);
	if (fell)
		d->root->env->freed(d->root->env->arg);
}

static void visit_failed(struct dispatch *d)
{
	uint64_t ms = DISPATCH_RETRY_MS;

	for (unsigned i = 0; i < d->failures && ms < RETRY_MAX_MS; i++)
		ms *= 2;
	d->failures++;
	d->once_over = d->root->env->once && d->failures >= ONCE_TRIES;
	if (!d->once_over)
		dispatch_arm(d, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

/* Another process's tick has the board: a little later, then. */
static void visit_locked(struct dispatch *d, const struct board_job *bj)
{
	d->locked++;
	if (d->root->env->once && d->locked >= ONCE_LOCKED) {
		d->once_over = true;
		(void)snprintf(d->board.reason, sizeof(d->board.reason),
			       "another process holds %s.dispatch.lock",
			       d->board.place.db_path);
		return;
	}
	d->want |= bj->rq.steps ? WANT_TICK : 0;
	d->want |= bj->close ? WANT_CLOSE : 0;
	dispatch_arm(d, LOCKED_RETRY_MS);
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
	if (!ticked && !(tried && d->deadline_s <= bj->rq.now))
		plan_deadline(&sum, d->deadline_s);
	d->deadline_s = sum.deadline;
	dispatch_deadline(d, d->deadline_s);
}

/* For whoever looks on. */
static void visit_counted(struct dispatch *d, const struct board_job *bj)
{
	struct root_stats *stats = &d->root->env->stats;

	d->visits++;
	d->claiming = false;
	d->visited_at = clock_wall_s();
	stats->visits[bj->outcome]++;
	stats_time(&stats->visit, clock_mono_us() - d->visit_us);
	stats->claims += (uint64_t)bj->plan.claimed;
	stats->reclaimed += (uint64_t)bj->plan.reclaimed;
	stats->promoted += (uint64_t)bj->plan.promoted;
}

void visit_done(struct job *job)
{
	struct board_job *bj = (struct board_job *)job;
	struct dispatch *d = (struct dispatch *)((char *)bj - offsetof(struct dispatch, bj));
	struct root *root = d->root;
	bool ok, changed;

	board_publish(bj, &changed);
	d->in_done = true;
	d->visited_ms = uv_now(root->env->loop);
	visit_counted(d, bj);
	dispatch_looked(d, bj->outcome);
	if (!d->board.db)
		root->env->open_boards--;
	ok = bj->outcome == BOARD_DONE;
	visit_notes(d, &bj->plan);
	if (ok)
		d->failures = 0;
	if (d->board.state == BOARD_TROUBLED && bj->outcome == BOARD_FAILED)
		visit_failed(d);
	visit_told(d, bj);
	if (changed && root->env->told_board)
		root->env->told_board(root->env->told_arg, d);
	if (root->env->once)
		once_visited(d, bj);
	visit_give_back(d, bj->settled, bj->recorded);
	visit_victims(d, &bj->plan);
	/* claimed rows are committed even if a later step failed */
	launches_start(d, &bj->plan);
	if (ok)
		visit_ticked(d, bj);
	if (bj->outcome == BOARD_LOCKED)
		visit_locked(d, bj);
	else
		d->locked = 0;
	visit_deadline(d, bj);
	notices_end(d, bj, true);
	plan_deinit(&bj->plan);
	/* counted, or not to be had now; may start visits, not of this one before we read @bj
	 */
	dispatch_uncounted(d, false);
	d->in_done = false;
	if (bj->outcome == BOARD_LEASE_LOST) {
		struct error why = bj->error; /* the board may be closed by this */

		root_lease_lost(root, why.text);
	} else if (bj->outcome != BOARD_LOCKED && d->board.state != BOARD_TROUBLED) {
		dispatch_next(d);
	} else {
		(void)errand_next(d); /* the visit waits for its time, an errand does not */
	}
	root_visit_ended(root);
}
