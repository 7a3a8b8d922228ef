/*
 * When one board is visited.
 *
 * Happy path: somebody wants a visit (sweep, deadline, change on disk, a worker's end, a launch
 * to record) and wakeup_want() has one begun if the board is idle and the root owns the lease;
 * else the wish waits for the end of the visit that goes on. One timer per board stands at the
 * next thing that time alone changes.
 */
#include "root/wakeup.h"

#include "root/dispatch.h"
#include "root/inotify.h"
#include "root/root.h"
#include "util/clock.h"

#define DAY_MS 86400000LL

static void wakeup_timer(uv_timer_t *t);

void wakeup_arm(struct dispatch *d, uint64_t in_ms)
{
	uint64_t at = uv_now(d->root->env->loop) + in_ms;

	if (d->wake.closing || (d->wake.timer_at_ms && d->wake.timer_at_ms <= at))
		return;
	if (uv_timer_start(&d->wake.timer, wakeup_timer, in_ms, 0) == 0)
		d->wake.timer_at_ms = at;
}

bool wakeup_due(const struct dispatch *d)
{
	return d->wake.deadline_s > 0 && d->wake.deadline_s <= clock_wall_s();
}

static void wakeup_timer(uv_timer_t *t)
{
	struct dispatch *d = t->data;
	bool due = wakeup_due(d);

	d->wake.timer_at_ms = 0;
	if (due || d->visit.failures)
		d->wake.want |= WANT_TICK | d->visit.owed;
	if (!due) /* the timer rang for something else */
		wakeup_deadline(d, d->wake.deadline_s);
	d->wake.begin(d);
}

/*
 * The files of a board change before a commit can be seen: the journal is written, the pages,
 * the log; and after the last write of a commit in WAL mode there is a sync, then nothing that
 * could wake us. So a look that finds nothing new is repeated, at growing distances; news of
 * further writes make the next one come soon. After a tick the next look waits longer: our own
 * commit is what is written most of the time, and a burst of commits shall not make a burst of
 * ticks. What is written while no visit is on is not ours: a few of those are looked at at
 * once, but of a board that a visit has just closed, which took its log away.
 */
static bool wakeup_at_once(struct dispatch *d)
{
	uint64_t now = uv_now(d->root->env->loop);
	uint64_t paid = d->wake.paid_ms > now ? d->wake.paid_ms : now;

	if (d->board.busy || !d->board.db || paid - now > (WAKEUP_BURST - 1) * WAKEUP_GAP_MS)
		return false;
	d->wake.paid_ms = paid + WAKEUP_GAP_MS;
	return true;
}

void wakeup_changed(struct dispatch *d, bool ended)
{
	d->wake.changed_ms = uv_now(d->root->env->loop);
	if (d->wake.probing)
		d->wake.probe_gap_ms = ended ? 0 : WAKEUP_PROBE_MIN_MS;
	else if (d->wake.probe_gap_ms && wakeup_at_once(d))
		d->wake.probe_gap_ms = 0;
	if (d->board.busy && d->root->env->inotify)
		inotify_rest(d->root->env->inotify);
	wakeup_want(d, WANT_LOOK);
}

void wakeup_visited(struct dispatch *d, const struct board_job *bj)
{
	uint64_t silent = uv_now(d->root->env->loop) - d->wake.changed_ms;
	uint64_t next = d->wake.probing && d->wake.probe_gap_ms ? d->wake.probe_gap_ms * 4
								: WAKEUP_PROBE_MIN_MS;

	d->wake.probing = bj->outcome == BOARD_UNCHANGED;
	/* what is written and not synced yet is a commit in a moment, or in a few */
	if (bj->pending && silent < WAKEUP_LIKELY_MS)
		next = WAKEUP_PROBE_MIN_MS;
	else if (bj->pending && next > WAKEUP_PROBE_SLOW_MS && silent < WAKEUP_SLOW_MS)
		next = WAKEUP_PROBE_SLOW_MS;
	if (bj->pending && next > WAKEUP_PROBE_MAX_MS && silent < WAKEUP_PENDING_MS)
		next = WAKEUP_PROBE_MAX_MS;
	if (!d->wake.probing) {
		d->wake.probe_gap_ms = WAKEUP_GAP_MS;
		if (bj->pending)
			d->wake.want |= WANT_LOOK;
	} else if (next > WAKEUP_PROBE_MAX_MS) { /* that was the last, or it was but our echo */
		d->wake.probe_gap_ms = WAKEUP_PROBE_MIN_MS;
	} else {
		d->wake.probe_gap_ms = next;
		d->wake.want |= WANT_LOOK;
	}
}

void wakeup_deadline(struct dispatch *d, int64_t at_s)
{
	int64_t now_us = clock_wall_us(), in_ms = DAY_MS;

	if (at_s <= 0)
		return;
	/* wall and monotonic time drift, and rows hold any number: look again after a day */
	if (at_s < now_us / 1000000 + DAY_MS / 1000)
		in_ms = (at_s * 1000000 - now_us) / 1000 + 1;
	if (in_ms < 1)
		in_ms = 1;
	wakeup_arm(d, (uint64_t)in_ms);
}

void wakeup_want(struct dispatch *d, unsigned want)
{
	d->wake.want |= want;
	if (!d->wake.woken_us)
		d->wake.woken_us = clock_mono_us();
	d->wake.begin(d);
}

int wakeup_init(struct dispatch *d, void (*begin)(struct dispatch *d))
{
	int r = uv_timer_init(d->root->env->loop, &d->wake.timer);

	d->wake.begin = begin;
	d->wake.timer.data = d;
	return r;
}
