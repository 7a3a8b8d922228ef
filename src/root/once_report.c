/*
 * --once: one complete sweep, by the same visits as the daemon's. First the reclaim steps of
 * every board; then, when every worker that had to be ended is gone, the rest, board by board;
 * and again as long as a failed launch gave its place back to a task that was not tried yet.
 */
#include <stdlib.h>
#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"

static void once_spawned(struct dispatch *d, const struct tick_launched *l)
{
	struct dispatch_report *rep = &d->report;
	struct dispatch_spawned *more =
		reallocarray(rep->spawned, rep->n_spawned + 1, sizeof(*more));

	if (!more) {
		rep->sum.oom = true;
		return;
	}
	rep->spawned = more;
	more[rep->n_spawned++] = (struct dispatch_spawned){
		.task = strdup(l->launch->task),
		.assignee = l->launch->assignee ? strdup(l->launch->assignee) : NULL,
		.workspace = l->workspace ? strdup(l->workspace) : NULL,
		.run = l->launch->run,
		.pid = l->pid,
	};
	if (!more[rep->n_spawned - 1].task)
		rep->sum.oom = true;
}

void once_visited(struct dispatch *d, const struct board_job *bj)
{
	bool failed = false;

	for (size_t i = 0; bj->recorded && i < bj->n_record; i++) {
		if (bj->record[i].spawned)
			once_spawned(d, &bj->record[i]);
		failed |= !bj->record[i].spawned;
	}
	plan_add(&d->report.sum, &bj->plan, bj->rq.steps & TICK_DISPATCH);
	if (bj->outcome != BOARD_DONE || d->board.state != BOARD_HEALTHY)
		return;
	if (bj->rq.steps & TICK_RECLAIM)
		d->once_reclaimed = true;
	else if (failed && d->ready > 0)
		d->want |= WANT_TICK;
}

void once_step(struct root *root)
{
	if (root->env->uncounted > 0 || root->stopping)
		return;
	/* one board after the other, as they were found: the places of the caps go in that
	 * order */
	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (!d->dispatched || d->once_over || d->board.state != BOARD_HEALTHY)
			continue;
		if (!dispatch_idle(d))
			return;
		if (!d->once_dispatched) {
			d->once_dispatched = true;
			dispatch_want(d, WANT_TICK);
			return;
		}
	}
}
