/*
 * One board of a root: it comes, it is put aside or taken up again, swept, and goes.
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

#include "board/state.h"
#include "root/barrier.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "root/operation.h"
#include "root/places.h"
#include "root/visit_load.h"
#include "util/clock.h"
#include "util/log.h"

#define CLOSE_LIMIT_MS 60000
#define STUCK_SWEEPS   6
#define STUCK_EVERY_MS (5 * 60 * 1000)

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
		barrier_board(d, false);
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
	d->board.turn.owner = d;
	d->news_after = -1;
	r = wakeup_init(d, visit_begin);
	if (r < 0) {
		board_deinit(&d->board);
		free(d);
		return r;
	}
	dispatch_settings(d);
	*out = d;
	return 0;
}

static void wakeup_timer_closed(uv_handle_t *h)
{
	struct dispatch *d = h->data;

	plan_deinit(&d->once.report.sum);
	for (size_t i = 0; i < d->once.report.n_spawned; i++) {
		free(d->once.report.spawned[i].task);
		free(d->once.report.spawned[i].assignee);
		free(d->once.report.spawned[i].workspace);
	}
	free(d->once.report.spawned);
	hostfault_outage_forget(d);
	free(d);
}

static void close_work(struct job *job)
{
	struct dispatch *d = container_of(job, struct dispatch, visit.bj);

	board_deinit(&d->board);
}

static void close_done(struct job *job)
{
	struct dispatch *d = container_of(job, struct dispatch, visit.bj);

	d->board.busy = false;
	uv_close((uv_handle_t *)&d->wake.timer, wakeup_timer_closed);
}

void dispatch_close(struct dispatch *d)
{
	struct root_env *env = d->root->env;

	operations_end(d);
	d->closing = d->wake.closing = true;
	barrier_board(d, false);
	places_answered(d);
	hostfault_forget(d);
	notices_forget(d);
	workers_close(d);
	launches_close(d);
	caps_leave(env->caps, &d->board.turn);
	d->visit.bj = (struct board_job){ .board = &d->board };
	if (d->board.db) {
		env->open_boards--;
		/* the loop never touches SQLite */
		if (job_submit(env->jobs, &d->visit.bj.job, "close", close_work, close_done,
			       CLOSE_LIMIT_MS) == 0)
			return;
	}
	close_work(&d->visit.bj.job);
	close_done(&d->visit.bj.job);
}

void dispatch_place(struct dispatch *d, struct board_place *place)
{
	struct board_place old = d->board.place;
	bool was = d->dispatched;

	if (d->board.busy) { /* the job reads it: next time */
		board_place_deinit(place);
		return;
	}
	d->board.place = *place;
	*place = old;
	board_place_deinit(place);
	dispatch_settings(d);
	if (!was) /* what happened to it meanwhile was nobody's business */
		d->adopted = false;
}

void dispatch_reload(struct dispatch *d)
{
	dispatch_settings(d);
	if (!d->dispatched)
		d->wake.want &= WANT_CLOSE;
	d->adopted = false; /* limits may have changed: nothing that was decided before holds */
}

/* "2 without an assignee, 1 held back by the respawn guard": what there is, and no zeros. */
static void dispatch_left(const struct dispatch *d, char *out, size_t size)
{
	const struct {
		size_t n;
		const char *what;
	} left[] = {
		{ d->last.left.unassigned, "without an assignee" },
		{ d->last.left.nonspawnable, "for an assignee without a profile here" },
		{ d->last.left.scheduled, "scheduled for later" },
		{ d->last.left.guarded, "held back by the respawn guard" },
	};
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		if (left[i].n > 0 && len < size)
			len += (size_t)snprintf(out + len, size - len, "%s%zu %s",
						len ? ", " : "", left[i].n, left[i].what);
}

/*
 * Ready work that has not moved for some sweeps, although no cap explains it: say why, once in
 * a while.
 */
static void dispatch_stuck(struct dispatch *d)
{
	struct log_about about = visit_about(d, LOG_ID_STUCK_READY);
	uint64_t now = uv_now(d->root->env->loop);
	bool capped = (d->last.waits & (WAIT_CAPACITY | WAIT_BOARD)) || d->last.memory[0];
	char why[240];

	if (d->last.ready <= 0 || capped || d->board.state != BOARD_HEALTHY) {
		d->last.stuck_sweeps = 0;
		return;
	}
	/* a scan that inotify asked for is none of the sweeps that are counted here */
	if (now - d->last.stuck_ms < (uint64_t)d->root->set.dispatch_interval_s * 900)
		return;
	d->last.stuck_ms = now;
	d->last.stuck_sweeps++;
	/* a lane that people pull stays as it is: that is said once */
	if (d->last.stuck_told_ms && d->last.left.nonspawnable > 0 &&
	    (int64_t)d->last.left.nonspawnable >= d->last.ready)
		return;
	if (d->last.stuck_sweeps < STUCK_SWEEPS ||
	    (d->last.stuck_told_ms && now - d->last.stuck_told_ms < STUCK_EVERY_MS))
		return;
	d->last.stuck_told_ms = now;
	dispatch_left(d, why, sizeof(why));
	log_about(LOG_WARNING, &about,
		  "%lld ready task%s of board %s not started for %llu sweeps%s%s; kanbanctl "
		  "board %s says why",
		  (long long)d->last.ready, d->last.ready == 1 ? "" : "s", d->board.place.slug,
		  (unsigned long long)d->last.stuck_sweeps, why[0] ? ": " : "", why,
		  d->board.place.slug);
}

const char *dispatch_state(const struct dispatch *d)
{
	return d->aside                                      ? d->aside
	       : d->held && !board_state_bad(d->board.state) ? "paused"
							     : board_state_name(d->board.state);
}

void dispatch_hold(struct dispatch *d, bool held)
{
	if (held && !d->held)
		d->held_at = clock_wall_s();
	d->held = held;
	if (!held)
		wakeup_want(d, WANT_FULL);
}

void dispatch_clock(struct dispatch *d)
{
	if (!d->dispatched)
		return;
	launches_clock(d);
	if (wakeup_due(d))
		wakeup_want(d, WANT_TICK);
	else
		wakeup_deadline(d, d->wake.deadline_s);
}

void dispatch_sweep(struct dispatch *d, bool changed)
{
	uint64_t now = uv_now(d->root->env->loop);
	unsigned want = 0;

	if (!d->dispatched)
		return;
	dispatch_stuck(d);
	if (d->board.busy) { /* the job has it: what it has seen is looked at after it, and one
			      * that is written to all the time is copied and checkpointed, too
			      */
		d->wake.want |= WANT_FULL | WANT_CHECKPOINT;
		return;
	}
	/* its next try may be a minute away: the sweep is one as well */
	if (d->board.state == BOARD_NEW || d->board.state == BOARD_TROUBLED || !d->adopted ||
	    (changed && !d->visit.failures))
		want = WANT_FULL;
	else if (d->board.state == BOARD_HEALTHY &&
		 clock_wall_s() - d->board.checked_at >= d->set.integrity_interval_s)
		want = WANT_FULL;
	else if (d->board.state == BOARD_HEALTHY &&
		 ((d->last.waits & WAIT_CAPACITY) ||
		  (d->root->profiles_changed &&
		   (d->last.waits & (WAIT_PROFILE | WAIT_ASSIGNEE)))))
		want = WANT_TICK;
	/* its timer runs by the clock that no one sets and that stands still in sleep */
	if (!want && wakeup_due(d))
		want = WANT_TICK;
	if (d->board.db && d->board.state == BOARD_HEALTHY)
		want |= d->last.running == 0 && d->last.ready == 0 && !changed &&
					now - d->visit.ended_ms > 120000
				? WANT_CLOSE
				: WANT_CHECKPOINT;
	/* a checkpoint alone is no reason for a visit before it is due */
	if (want == WANT_CHECKPOINT &&
	    clock_wall_s() - d->board.checkpointed_at < d->set.checkpoint_interval_s)
		return;
	if (want)
		wakeup_want(d, want);
}
