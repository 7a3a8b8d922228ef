/*
 * --once: one complete sweep, by the same visits as the daemon's. First the reclaim steps of
 * every board; then, when every worker that had to be ended is gone, the rest, board by board;
 * and again as long as a failed launch gave its place back to a task that was not tried yet.
 */
#include "root/once_sweep.h"

#include "root/dispatch.h"
#include "root/root.h"

void once_step(struct root *root)
{
	if (root->env->uncounted > 0 || root->stopping)
		return;
	/* one board after the other, as they were found: the places of the caps go in that
	 * order */
	for (size_t i = 0; i < root->n_boards; i++) {
		struct dispatch *d = root->boards[i];

		if (!d->dispatched || d->once.over || d->board.state != BOARD_HEALTHY)
			continue;
		if (!visit_idle(d))
			return;
		if (!d->once.dispatched) {
			d->once.dispatched = true;
			wakeup_want(d, WANT_TICK);
			return;
		}
	}
}
