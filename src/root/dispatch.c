/*
 * One board's visits.
 *
 * Happy path: somebody wants a visit (sweep, deadline, change on disk, a worker's end, a launch
 * to record); dispatch_next() starts one if the board is idle and the root owns the lease;
 * visit_done() publishes the state, logs what the job noted, starts and ends workers, arms the
 * timer for the next deadline, and starts the next visit if one is wanted by now.
 *
 * Failure modes: a passing fault is tried again with a back-off of 0.5 s doubling to 60 s and
 * told once when it begins and once when it ends; launches and endings that could not be booked
 * are kept and brought along again. A damaged board is told once and left alone until its bytes
 * change.
 *
 * Shutdown: once the root is stopping nothing new is started, but what is in flight is brought
 * home; dispatch_close() then only has the timer to close.
 */
#include "root/dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "root/decompose.h"
#include "root/errand.h"
#include "root/notices.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/log.h"

#define LOOK_GAP_MS     50 /* bursts of changes: at most one look per so many ms */
#define RETRY_MIN_MS    500
#define RETRY_MAX_MS    60000
#define LOCKED_RETRY_MS 250
#define MEMORY_RETRY_S  5
#define ONCE_TRIES      4 /* --once: so often, then the board is reported as it is */
#define ONCE_LOCKED     40
#define EXIT_KEEP_MS    (10 * 60 * 1000) /* the board contract, §6.1 */
#define CLOSE_LIMIT_MS  60000
#define DAY_MS          86400000LL
#define STUCK_SWEEPS    6
#define STUCK_EVERY_MS  (5 * 60 * 1000)

static void dispatch_timer(uv_timer_t *t);
static void visit_done(struct job *job);

static struct log_about dispatch_about(const struct dispatch *d, const char *id)
{
	return (struct log_about){ .root = d->root->path,
				   .board = d->board.place.slug,
				   .epoch = d->root->epoch,
				   .id = id };
}

static void dispatch_settings(struct dispatch *d)
{
	struct root *root = d->root;
	const struct board_place *place = &d->board.place;

	root->env->settings(root->env->arg, root->path, place->slug, &d->set);
	d->aside = place->duplicate_of[0] ? "duplicate"
		   : place->archived      ? "archived"
		   : d->set.paused        ? "paused"
					  : NULL;
	if (root->env->only && strcmp(root->env->only, place->slug) != 0)
		d->aside = "not asked for";
	d->dispatched = d->aside == NULL;
	if (!d->dispatched)
		dispatch_uncounted(d, false);
}

int dispatch_new(struct dispatch **out, struct root *root, struct board_place *place)
{
	struct dispatch *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->root = root;
	board_init(&d->board, place);
	r = uv_timer_init(root->env->loop, &d->timer);
	if (r < 0) {
		board_deinit(&d->board);
		free(d);
		return r;
	}
	d->timer.data = d;
	d->handles = true;
	dispatch_settings(d);
	*out = d;
	return 0;
}

/*
 * Is there something to book that the board would take? One that is damaged, missing or no
 * board at all is left alone until its bytes change; what there is to book waits, or goes with
 * it.
 */
static bool dispatch_brings(const struct dispatch *d)
{
	switch (d->board.state) {
	case BOARD_MISSING:
	case BOARD_SCHEMA:
	case BOARD_LOST:
	case BOARD_QUARANTINED:
		return false;
	default:
		return d->finished || d->n_settle > 0;
	}
}

bool dispatch_idle(const struct dispatch *d)
{
	return !d->board.busy && !d->errands && !d->launching && !d->ending &&
	       !dispatch_brings(d);
}

static void dispatch_timer_closed(uv_handle_t *h)
{
	struct dispatch *d = h->data;

	plan_deinit(&d->report.sum);
	for (size_t i = 0; i < d->report.n_spawned; i++) {
		free(d->report.spawned[i].task);
		free(d->report.spawned[i].assignee);
		free(d->report.spawned[i].workspace);
	}
	free(d->report.spawned);
	for (size_t i = 0; i < d->n_settle; i++)
		plan_victim_deinit(&d->settle[i]);
	free(d->settle);
	free(d->exits);
	free(d->exits_ms);
	free(d->holds);
	free(d);
}

static void close_work(struct job *job)
{
	struct dispatch *d = (struct dispatch *)((char *)job - offsetof(struct dispatch, bj));

	board_deinit(&d->board);
}

static void close_done(struct job *job)
{
	struct dispatch *d = (struct dispatch *)((char *)job - offsetof(struct dispatch, bj));

	d->board.busy = false;
	uv_close((uv_handle_t *)&d->timer, dispatch_timer_closed);
}

void dispatch_close(struct dispatch *d)
{
	struct root_env *env = d->root->env;

	errands_end(d);
	d->closing = true;
	dispatch_uncounted(d, false);
	notices_forget(d);
	workers_close(d);
	launches_recorded(d, true); /* what could not be recorded is found by the next owner */
	caps_count(env->caps, &d->board.caps_mine, 0);
	d->bj = (struct board_job){ .board = &d->board };
	if (d->board.db) {
		env->open_boards--;
		/* the loop never touches SQLite */
		if (job_submit(env->jobs, &d->bj.job, "close", close_work, close_done,
			       CLOSE_LIMIT_MS) == 0)
			return;
	}
	close_work(&d->bj.job);
	close_done(&d->bj.job);
}

void dispatch_place(struct dispatch *d, struct board_place *place)
{
	struct board_place old = d->board.place;

	if (d->board.busy) { /* the job reads it: next time */
		board_place_deinit(place);
		return;
	}
	d->board.place = *place;
	*place = old;
	board_place_deinit(place);
	dispatch_settings(d);
}

void dispatch_reload(struct dispatch *d)
{
	dispatch_settings(d);
	if (!d->dispatched)
		d->want &= WANT_CLOSE;
	d->adopted = false; /* limits may have changed: nothing that was decided before holds */
}

/* ---- when ----------------------------------------------------------------------------------
 */

void dispatch_arm(struct dispatch *d, uint64_t in_ms)
{
	uint64_t at = uv_now(d->root->env->loop) + in_ms;

	if (d->closing || (d->timer_at_ms && d->timer_at_ms <= at))
		return;
	if (uv_timer_start(&d->timer, dispatch_timer, in_ms, 0) == 0)
		d->timer_at_ms = at;
}

static void dispatch_timer(uv_timer_t *t)
{
	struct dispatch *d = t->data;

	d->timer_at_ms = 0;
	if (!d->want || d->failures || /* a deadline, or a retry of what failed */
	    (d->deadline_s > 0 && d->deadline_s <= clock_wall_s()))
		d->want |= WANT_TICK;
	workers_overdue(d);
	dispatch_next(d);
}

static void dispatch_deadline(struct dispatch *d, int64_t at_s)
{
	int64_t now_us = clock_wall_us(), in_ms = DAY_MS;

	if (at_s <= 0)
		return;
	/* wall and monotonic time drift, and rows hold any number: look again after a day */
	if (at_s < now_us / 1000000 + DAY_MS / 1000)
		in_ms = (at_s * 1000000 - now_us) / 1000 + 1;
	if (in_ms < 1)
		in_ms = 1;
	dispatch_arm(d, (uint64_t)in_ms);
}

void dispatch_want(struct dispatch *d, unsigned want)
{
	d->want |= want;
	if (!d->woken_us)
		d->woken_us = clock_mono_us();
	dispatch_next(d);
}

/*
 * Ready work that has not moved for some sweeps, although no cap explains it: say why, once in
 * a while.
 */
static void dispatch_stuck(struct dispatch *d)
{
	struct log_about about = dispatch_about(d, LOG_ID_STUCK_READY);
	uint64_t now = uv_now(d->root->env->loop);
	bool capped = (d->waits & (WAIT_CAPACITY | WAIT_BOARD)) || d->memory[0];

	if (d->ready <= 0 || capped || d->board.state != BOARD_HEALTHY) {
		d->stuck_sweeps = 0;
		return;
	}
	d->stuck_sweeps++;
	if (d->stuck_sweeps < STUCK_SWEEPS ||
	    (d->stuck_told_ms && now - d->stuck_told_ms < STUCK_EVERY_MS))
		return;
	d->stuck_told_ms = now;
	log_about(LOG_WARNING, &about,
		  "%lld ready task%s of board %s not started for %llu sweeps: %zu without an "
		  "assignee, "
		  "%zu for an assignee without a profile here, %zu scheduled for later, %zu "
		  "held back "
		  "by the respawn guard",
		  (long long)d->ready, d->ready == 1 ? "" : "s", d->board.place.slug,
		  (unsigned long long)d->stuck_sweeps, d->left.unassigned, d->left.nonspawnable,
		  d->left.scheduled, d->left.guarded);
}

void dispatch_hold(struct dispatch *d, bool held)
{
	if (held && !d->held)
		d->held_at = clock_wall_s();
	d->held = held;
	if (!held)
		dispatch_want(d, WANT_FULL);
}

void dispatch_sweep(struct dispatch *d, bool changed)
{
	uint64_t now = uv_now(d->root->env->loop);
	unsigned want = 0;

	if (!d->dispatched)
		return;
	dispatch_stuck(d);
	if (d->board.busy) { /* the job has it: what it has seen is looked at after it */
		d->want |= WANT_FULL;
		return;
	}
	if (d->board.state == BOARD_NEW || !d->adopted || (changed && !d->failures))
		want = WANT_FULL;
	else if (d->board.state == BOARD_HEALTHY &&
		 clock_wall_s() - d->board.checked_at >= d->set.integrity_interval_s)
		want = WANT_FULL;
	else if (d->board.state == BOARD_HEALTHY &&
		 ((d->waits & WAIT_CAPACITY) ||
		  (d->root->profiles_changed && (d->waits & (WAIT_PROFILE | WAIT_ASSIGNEE)))))
		want = WANT_TICK;
	if (d->board.db && d->board.state == BOARD_HEALTHY)
		want |= d->running == 0 && d->ready == 0 && !changed &&
					now - d->visited_ms > 120000
				? WANT_CLOSE
				: WANT_CHECKPOINT;
	/* a checkpoint alone is no reason for a visit before it is due */
	if (want == WANT_CHECKPOINT &&
	    clock_wall_s() - d->board.checkpointed_at < d->set.checkpoint_interval_s)
		return;
	if (want)
		dispatch_want(d, want);
}

/* ---- a visit -------------------------------------------------------------------------------
 */

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

static void visit_give_back(struct dispatch *d, bool settled, bool recorded)
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
	if (d->want == WANT_LOOK && !dispatch_brings(d) && d->visited_ms && gap < LOOK_GAP_MS) {
		dispatch_arm(d, LOOK_GAP_MS - gap);
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
	dispatch_arm(d, RETRY_MIN_MS);
}

/* ---- after a visit -------------------------------------------------------------------------
 */

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
static void visit_told(struct dispatch *d, const struct board_job *bj, bool changed)
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
	if (!changed)
		return;
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
	uint64_t ms = RETRY_MIN_MS;

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

static void visit_done(struct job *job)
{
	struct board_job *bj = (struct board_job *)job;
	struct dispatch *d = (struct dispatch *)((char *)bj - offsetof(struct dispatch, bj));
	struct root *root = d->root;
	bool ok, changed;

	board_publish(bj, &changed);
	d->in_done = true;
	d->visited_ms = uv_now(root->env->loop);
	visit_counted(d, bj);
	if (!d->board.db)
		root->env->open_boards--;
	ok = bj->outcome == BOARD_DONE;
	visit_notes(d, &bj->plan);
	if (ok)
		d->failures = 0;
	if (d->board.state == BOARD_TROUBLED && bj->outcome == BOARD_FAILED)
		visit_failed(d);
	visit_told(d, bj, changed);
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
