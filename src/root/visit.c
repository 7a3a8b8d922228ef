/*
 * Starting a visit of a board: may it be, what goes along, what it is asked for. The loop goes
 * on changing its lists while the visit reads, so the visit gets copies.
 */
#include <errno.h>
#include <string.h>

#include "root/dispatch_impl.h"
#include "root/notices.h"
#include "root/operation.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/log.h"

#define EXIT_KEEP_MS (10 * 60 * 1000) /* the board contract, §6.1 */

static void *visit_copy(const void *v, size_t n, size_t size)
{
	void *c = reallocarray(NULL, n + 1, size); /* never 0 bytes, so NULL is an error */

	if (c && n)
		memcpy(c, v, n * size);
	return c;
}

/* The loop goes on changing its lists while the visit reads: it gets copies. */
static int visit_take(struct dispatch *d)
{
	d->bj_exits = visit_copy(d->exits, d->n_exits, sizeof(*d->exits));
	d->bj_holds = visit_copy(d->holds, d->n_holds, sizeof(*d->holds));
	if (!d->bj_exits || !d->bj_holds || launches_take(d) < 0)
		return -ENOMEM;
	d->settling = d->settle;
	d->n_settling = d->n_settle;
	d->settle = NULL;
	d->n_settle = 0;
	return 0;
}

/* What the visit settled is done with; what it could not settle goes along again. */
static void visit_settled(struct dispatch *d, bool ok)
{
	struct plan_victim *more = NULL;

	if (!ok && d->n_settling)
		more = reallocarray(d->settle, d->n_settle + d->n_settling, sizeof(*more));
	if (more) {
		d->settle = more;
		memcpy(more + d->n_settle, d->settling, d->n_settling * sizeof(*more));
		d->n_settle += d->n_settling;
		d->n_settling = 0;
	}
	/* without memory to keep them: the next tick finds those tasks again */
	for (size_t i = 0; i < d->n_settling; i++)
		plan_victim_deinit(&d->settling[i]);
	free(d->settling);
	d->settling = NULL;
	d->n_settling = 0;
}

void visit_give_back(struct dispatch *d, bool settled, bool recorded)
{
	free(d->bj_lists);
	free(d->bj_exits);
	free(d->bj_holds);
	d->bj_lists = NULL;
	d->bj_exits = NULL;
	d->bj_holds = NULL;
	visit_settled(d, settled);
	launches_recorded(d, recorded);
}

/* Runs that the tick must leave alone, and those whose worker we watch. */
static int visit_lists(struct dispatch *d, struct tick_request *rq)
{
	size_t n = 0, w = 0;
	int64_t *list;

	for (struct worker *k = d->workers; k; k = k->next)
		n += 2;
	n += launches_count(d) + 1;
	n += workers_ending(d, NULL);
	list = reallocarray(NULL, n + d->n_settle, sizeof(*list));
	if (!list)
		return -ENOMEM;
	d->bj_lists = list;
	for (struct worker *k = d->workers; k; k = k->next)
		list[w++] = k->run;
	rq->watched = list;
	rq->n_watched = w;
	rq->busy = list + w;
	w += workers_ending(d, list + w);
	for (size_t i = 0; i < d->n_settle; i++)
		list[w++] = d->settle[i].run;
	w += launches_runs(d, list + w);
	rq->n_busy = (size_t)(list + w - rq->busy);
	return 0;
}

static void exits_forget(struct dispatch *d)
{
	uint64_t now = uv_now(d->root->env->loop);
	size_t keep = 0;

	for (size_t i = 0; i < d->n_exits; i++)
		if (now - d->exits_ms[i] < EXIT_KEEP_MS) {
			d->exits[keep] = d->exits[i];
			d->exits_ms[keep++] = d->exits_ms[i];
		}
	d->n_exits = keep;
	keep = 0;
	for (size_t i = 0; i < d->n_holds; i++)
		if (d->holds[i].until > clock_wall_s())
			d->holds[keep++] = d->holds[i];
	d->n_holds = keep;
}

/* Nothing may be started: why, or NULL. */
static bool dispatch_may_visit(const struct dispatch *d)
{
	const struct root *root = d->root;
	bool bring_home = dispatch_brings(d) || (d->want & WANT_CLOSE) || notices_wanted(d);

	if (d->board.busy || d->in_done || d->closing || !atomic_load(&root->owner))
		return false;
	if (d->once_over)
		return false;
	if (root->env->once && d->ending) /* one sweep settles everything before it claims */
		return false;
	if (root->stopping)
		return bring_home && (d->board.state == BOARD_HEALTHY || d->board.db);
	return d->dispatched || bring_home;
}

static void visit_prepare(struct dispatch *d, struct board_job *bj)
{
	struct root *root = d->root;
	struct root_env *env = root->env;
	/* what is due for subscriptions is no reason to miss a change */
	bool tick = (d->want & (WANT_TICK | WANT_FULL | WANT_LOOK | WANT_NOTIFY)) &&
		    !root->stopping && d->dispatched;

	d->bj_set = d->set;
	*bj = (struct board_job){
		.board = &d->board,
		.rq = {
			.steps = tick ? TICK_ALL : 0,
			.now = clock_wall_s(),
			.host = env->host,
			/* a dry run works on a copy: its path says nothing about workers */
			.db = env->dry_run ? NULL : d->board.place.db_path,
			.claim_lock = env->claim_lock,
			.set = &d->bj_set,
			.outside = &root->outside,
			.caps = env->caps,
			.caps_mine = &d->board.caps_mine,
			.once = env->once,
			.promote_after = (d->want & WANT_FULL) || !d->adopted ? 0 : d->last_event,
			.exits = d->bj_exits,
			.n_exits = d->n_exits,
			.holds = d->bj_holds,
			.n_holds = d->n_holds,
			.claimants = (const char *const *)root->claimants,
		},
		.settle = d->settling,
		.n_settle = d->n_settling,
		.only_if_changed = tick && !(d->want & (WANT_TICK | WANT_FULL)),
		.not_in_between = d->look_gap_ms < LOOK_AGAIN_MAX_MS,
		.checkpoint = d->want & (WANT_CHECKPOINT | WANT_CLOSE),
		.close = d->want & WANT_CLOSE,
		.last = root->stopping,
		.dry_run = env->dry_run,
		.epoch = root->epoch,
	};
	/* what runs elsewhere is not known yet, or the operator wants no claims */
	if (tick && (env->uncounted > 0 || env->held || d->held))
		bj->rq.steps &= ~(unsigned)TICK_DISPATCH;
	if (env->once && tick)
		bj->rq.steps = d->once_dispatched  ? TICK_PROMOTE | TICK_DISPATCH
			       : d->once_reclaimed ? 0
						   : TICK_RECLAIM;
	d->claiming = bj->rq.steps & TICK_DISPATCH;
	notices_begin(d, bj, tick);
}

/*
 * May the connection that is about to be opened stay open? With too many open ones only if the
 * board changed under us: then it displaces the one that was not used for longest.
 */
static bool dispatch_keep_open(struct dispatch *d)
{
	struct root_env *env = d->root->env;

	if (env->open_boards >= env->open_max && (d->want & WANT_LOOK))
		root_close_oldest(d->root);
	return env->open_boards < env->open_max;
}

void dispatch_next(struct dispatch *d)
{
	struct root_env *env = d->root->env;
	uint64_t now = uv_now(env->loop), gap;
	struct board_job *bj = &d->bj;
	bool had;
	int r;

	if (errand_next(d) || (!d->want && !dispatch_brings(d)) || !dispatch_may_visit(d))
		return;
	gap = now - d->visited_ms;
	if (d->want == WANT_LOOK && !dispatch_brings(d) && d->visited_ms &&
	    gap < d->look_gap_ms) {
		dispatch_arm(d, d->look_gap_ms - gap);
		return;
	}
	had = d->board.db != NULL;
	exits_forget(d);
	r = visit_take(d);
	if (r == 0) {
		visit_prepare(d, bj);
		r = visit_lists(d, &bj->rq);
	}
	if (r == 0) {
		bj->record = d->bj_record;
		bj->n_record = d->bj_record ? launches_recording(d) : 0;
		if (!had && !bj->close)
			bj->close = !dispatch_keep_open(d);
		r = board_submit(env->jobs, bj, visit_done);
	}
	if (r == 0) {
		env->open_boards += had ? 0 : 1;
		d->want = 0;
		d->visit_us = clock_mono_us();
		d->wake_us = d->woken_us ? d->woken_us : d->visit_us;
		d->woken_us = 0;
		return;
	}
	notices_end(d, bj, false);
	visit_give_back(d, false, false);
	log_error("cannot start a visit of board %s: %s; trying again", d->board.place.slug,
		  strerror(-r));
	dispatch_arm(d, DISPATCH_RETRY_MS);
}
