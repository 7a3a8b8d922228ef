/*
 * When one board is visited.
 *
 * Happy path: somebody wants a visit (sweep, deadline, change on disk, a worker's end, a launch
 * to record); dispatch_next() in dispatch_visit.c starts one if the board is idle and the root
 * owns the lease; visit_done() in dispatch_done.c publishes the state, logs what the job noted,
 * starts and ends workers, arms the timer for the next deadline, and starts the next visit if
 * one is wanted by now.
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

#include "root/dispatch_impl.h"
#include "root/notices.h"
#include "root/operation.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/log.h"

#define CLOSE_LIMIT_MS 60000
#define DAY_MS         86400000LL
#define STUCK_SWEEPS   6
#define STUCK_EVERY_MS (5 * 60 * 1000)

static void dispatch_timer(uv_timer_t *t);

struct log_about dispatch_about(const struct dispatch *d, const char *id)
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

	if (!d) {
		board_place_deinit(place);
		return -ENOMEM;
	}
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
bool dispatch_brings(const struct dispatch *d)
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
	bool due = d->deadline_s > 0 && d->deadline_s <= clock_wall_s();

	d->timer_at_ms = 0;
	if (due || d->failures)
		d->want |= WANT_TICK;
	workers_overdue(d);
	if (!due) /* the timer rang for something else */
		dispatch_deadline(d, d->deadline_s);
	dispatch_next(d);
}

/*
 * The files of a board change before a commit can be seen: the journal is written, the pages,
 * the log; and after the last write of a commit in WAL mode there is a sync, then nothing that
 * could wake us. So a look that finds nothing new is repeated, at growing distances; news of
 * further writes make the next one come soon. After a tick the next look waits longer, so that
 * a burst of commits does not make a burst of ticks.
 */
void dispatch_changed(struct dispatch *d, bool ended)
{
	if (d->looking)
		d->look_gap_ms = ended ? 0 : LOOK_AGAIN_MIN_MS;
	dispatch_want(d, WANT_LOOK);
}

void dispatch_looked(struct dispatch *d, enum board_outcome outcome)
{
	uint64_t next = d->looking && d->look_gap_ms ? d->look_gap_ms * 4 : LOOK_AGAIN_MIN_MS;

	d->looking = outcome == BOARD_UNCHANGED;
	if (!d->looking) {
		d->look_gap_ms = LOOK_GAP_MS;
	} else if (next > LOOK_AGAIN_MAX_MS) { /* that was the last, or it was but our echo */
		d->look_gap_ms = LOOK_AGAIN_MIN_MS;
	} else {
		d->look_gap_ms = next;
		d->want |= WANT_LOOK;
	}
}

void dispatch_deadline(struct dispatch *d, int64_t at_s)
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
