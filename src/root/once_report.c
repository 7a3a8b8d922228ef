/* --once: what its visits came to, added up for the report. */
#include "root/once_report.h"

#include <stdlib.h>
#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"

static void once_report_spawned(struct dispatch *d, const struct tick_launched *l)
{
	struct dispatch_report *rep = &d->once.report;
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

void once_report_visited(struct dispatch *d, const struct board_job *bj)
{
	bool failed = false;

	for (size_t i = 0; bj->recorded && i < bj->n_record; i++) {
		if (bj->record[i].spawned)
			once_report_spawned(d, &bj->record[i]);
		failed |= !bj->record[i].spawned;
	}
	plan_add(&d->once.report.sum, &bj->plan, bj->rq.steps & TICK_DISPATCH);
	d->once.again = bj->rq.steps & TICK_DISPATCH ? bj->plan.again : d->once.again;
	if (bj->outcome != BOARD_DONE || d->board.state != BOARD_HEALTHY)
		return;
	if (bj->rq.steps & TICK_RECLAIM)
		d->once.reclaimed = true;
	else if ((failed || (d->once.again && bj->n_record > 0)) && d->last.ready > 0)
		d->wake.want |= WANT_TICK;
}
