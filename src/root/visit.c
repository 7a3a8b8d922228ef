/*
 * Starting a visit of a board: may it be, what goes along, what it is asked for. The loop goes
 * on changing its lists while the visit reads, so the visit gets copies.
 */
#include <errno.h>
#include <string.h>

#include "root/adopt.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "root/observer.h"
#include "root/operation.h"
#include "root/places.h"
#include "root/root.h"
#include "root/visit_load.h"
#include "util/clock.h"
#include "util/log.h"

/*
 * Is there something to book that the board would take? One that is damaged, missing or no
 * board at all is left alone until its bytes change; what there is to book waits, or goes with
 * it.
 */
static bool visit_brings(const struct dispatch *d)
{
	if (d->board.state == BOARD_MISSING || board_state_stands(d->board.state))
		return false;
	return d->launches.finished || d->workers.n_ended > 0;
}

bool visit_idle(const struct dispatch *d)
{
	return !d->board.busy && !d->operations && !d->launches.launching &&
	       !d->workers.ending && !visit_brings(d);
}

/* Nothing may be started: why, or NULL. */
static bool visit_possible(const struct dispatch *d)
{
	const struct root *root = d->root;
	bool bring_home = visit_brings(d) || (d->wake.want & WANT_CLOSE) || notices_wanted(d);

	if (d->board.busy || d->visit.in_done || d->closing || !atomic_load(&root->owner))
		return false;
	if (d->once.over)
		return false;
	if (root->env->once &&
	    d->workers.ending) /* one sweep books everything before it claims */
		return false;
	if (root->stopping)
		return bring_home && (d->board.state == BOARD_HEALTHY || d->board.db);
	return d->dispatched || bring_home;
}

/* Is every waiting task to be looked at, not only those of new events? */
static bool visit_full(const struct dispatch *d)
{
	return (d->wake.want & WANT_FULL) || !d->adopted ||
	       (d->last.full_at > 0 && d->last.full_at <= clock_wall_s());
}

static void visit_prepare(struct dispatch *d, struct board_job *bj)
{
	struct root *root = d->root;
	struct root_env *env = root->env;
	int64_t rows_since;
	int claims, outage;
	/* what is due for subscriptions is no reason to miss a change */
	bool tick = (d->wake.want & (WANT_TICK | WANT_FULL | WANT_LOOK | WANT_NOTIFY)) &&
		    !root->stopping && d->dispatched;

	d->visit.set = d->set;
	*bj = (struct board_job){
		.board = &d->board,
		.rq = {
			.steps = tick ? TICK_ALL : 0,
			.now = clock_wall_s(),
			.hostname = env->host,
			.board = d->board.place.slug,
			/* a dry run works on a copy: its path says nothing about workers */
			.db = env->dry_run ? NULL : d->board.place.db_path,
			.logs = d->board.place.logs_dir,
			.claim_lock = env->claim_lock,
			.set = &d->visit.set,
			.host = &root->host,
			.caps = env->caps,
			.turn = &d->board.turn,
			.once = env->once,
			.promote_after = visit_full(d) ? 0 : d->last.event,
			.exits = d->visit.exits,
			.n_exits = d->workers.n_exits,
			.holds = d->visit.holds,
			.n_holds = d->launches.n_holds,
			.claimants = (const char *const *)root->claimants,
		},
		.ended = d->workers.ended_taken,
		.n_ended = d->workers.n_ended_taken,
		.only_if_changed = tick && !(d->wake.want & (WANT_TICK | WANT_FULL)),
		.not_in_between = d->wake.probe_gap_ms < WAKEUP_PROBE_MAX_MS,
		.checkpoint = d->wake.want & (WANT_CHECKPOINT | WANT_CLOSE),
		.close = d->wake.want & WANT_CLOSE,
		.last = root->stopping,
		.dry_run = env->dry_run,
		.epoch = root->epoch,
	};
	/* what runs elsewhere is not known yet, or the operator wants no claims */
	if (tick && (env->uncounted > 0 || env->held || d->held || !adopt_ready(d)))
		bj->rq.steps &= ~(unsigned)TICK_DISPATCH;
	if (env->once && tick)
		bj->rq.steps = d->once.dispatched  ? TICK_PROMOTE | TICK_DISPATCH
			       : d->once.reclaimed ? 0
						   : TICK_RECLAIM;
	bj->rq.start = (bj->rq.steps & TICK_DISPATCH) ? d->start : NULL;
	claims = env->once ? -1 : hostfault_claims(d);
	outage = env->once ? -1 : hostfault_outage_claims(d, launches_count(d));
	bj->rq.claim_none = claims == 0 || outage == 0;
	bj->rq.claim_one = !bj->rq.claim_none && (claims == 1 || outage == 1);
	bj->rq.seen_event = d->last.event;
	rows_since = observer_rows_since(env);
	bj->wants_news = rows_since != 0;
	bj->news_after = d->news_after;
	bj->news_since = rows_since > root->owned_at ? rows_since : root->owned_at;
	if (!bj->wants_news)
		d->news_after = -1; /* who asks later begins then */
	d->visit.trying = claims == 1;
	d->visit.claiming = bj->rq.steps & TICK_DISPATCH;
	notices_begin(d, bj, tick);
}

/*
 * May the connection that is about to be opened stay open? With too many open ones only if the
 * board changed under us: then it displaces the one that was not used for longest.
 */
static bool visit_keep_open(struct dispatch *d)
{
	struct root_env *env = d->root->env;

	if (env->open_boards >= env->open_max && (d->wake.want & WANT_LOOK))
		root_close_oldest(d->root);
	return env->open_boards < env->open_max;
}

void visit_begin(struct dispatch *d)
{
	struct root_env *env = d->root->env;
	uint64_t now = uv_now(env->loop), gap;
	struct board_job *bj = &d->visit.bj;
	bool had;
	int r;

	workers_overdue(d);
	places_patience(d);
	if (operation_next(d) || (!d->wake.want && !visit_brings(d)) || !visit_possible(d))
		return;
	gap = now - d->visit.ended_ms;
	if (d->wake.want == WANT_LOOK && !visit_brings(d) && d->visit.ended_ms &&
	    gap < d->wake.probe_gap_ms) {
		wakeup_arm(d, d->wake.probe_gap_ms - gap);
		return;
	}
	had = d->board.db != NULL;
	r = visit_load(d);
	if (r == 0) {
		visit_prepare(d, bj);
		r = visit_lists(d, &bj->rq);
	}
	if (r == 0) {
		bj->record = d->launches.record;
		bj->n_record = d->launches.record ? launches_recording(d) : 0;
		if (!had && !bj->close)
			bj->close = !visit_keep_open(d);
		r = board_submit(env->jobs, bj, visit_done);
	}
	if (r == 0) {
		env->open_boards += had ? 0 : 1;
		d->visit.wanted = d->wake.want;
		d->answering = d->asked_ms && d->visit.claiming;
		d->wake.want = 0;
		d->visit.begun_us = clock_mono_us();
		d->visit.wake_us = d->wake.woken_us ? d->wake.woken_us : d->visit.begun_us;
		d->wake.woken_us = 0;
		return;
	}
	notices_end(d, bj, false);
	visit_unload(d, false, false);
	log_error("cannot start a visit of board %s: %s; trying again", d->board.place.slug,
		  strerror(-r));
	wakeup_arm(d, WAKEUP_RETRY_MS);
}
