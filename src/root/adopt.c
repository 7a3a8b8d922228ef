/*
 * Workers that run and that we do not watch yet: after a restart or a takeover, or started by
 * others. A row says who runs; a process that carries a run no row speaks of is a worker all
 * the same, and nobody is started beside it.
 */
#include "root/adopt.h"

#include <stdio.h>
#include <string.h>

#include "launch/identity.h"
#include "root/dispatch.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/log.h"

static void adopt_worker(struct dispatch *d, const struct plan_worker *pw)
{
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .task = pw->task,
				   .run = pw->run,
				   .epoch = d->root->epoch,
				   .id = LOG_ID_ADOPTED };
	int r = workers_watch(d, pw, -1, false);

	if (r == 0)
		log_about(LOG_INFO, &about, "adopted worker %lld", (long long)pw->pid);
	else if (r == -ESRCH)
		wakeup_want(d, WANT_TICK); /* it ended a moment ago */
	else
		log_about(LOG_WARNING, &about,
			  "cannot watch worker %lld: %s; its end is seen at the "
			  "next sweep",
			  (long long)pw->pid, strerror(-r));
}

void adopt_seen(struct dispatch *d, const struct plan *plan)
{
	uint64_t now = uv_now(d->root->env->loop);

	if (d->root->env->once)
		return; /* it watches nothing */
	for (struct worker *w = d->workers.list; w; w = w->next) {
		bool running = w->ending;

		for (size_t i = 0; !running && i < plan->n_workers; i++)
			running = plan->workers[i].run == w->run;
		if (running || launches_pending(d, w->run))
			w->left_ms = 0;
		else if (!w->left_ms)
			w->left_ms = now ? now : 1;
	}
	for (size_t i = 0; i < plan->n_workers; i++)
		if (plan->workers[i].task && !workers_has(d, plan->workers[i].run))
			adopt_worker(d, &plan->workers[i]);
		else if (plan->workers[i].task)
			workers_seen(d, &plan->workers[i]);
}

void adopt_rest(struct dispatch *d, const struct identity_found *list, size_t n)
{
	const char *db = d->board.place.db_path;

	for (size_t i = 0; i < n; i++) {
		char started[PROC_STARTED_MAX], task[IDENTITY_TASK_MAX + 1];
		const struct identity_claim claim = {
			.pid = list[i].pid, .task = list[i].task, .run = list[i].run, .db = db
		};
		struct plan_worker pw = { .task = task,
					  .started = started,
					  .run = list[i].run,
					  .pid = list[i].pid,
					  .run_started_at = clock_wall_s(),
					  .heartbeat = -1 };

		if (!list[i].db || strcmp(list[i].db, db) != 0 || workers_has(d, list[i].run) ||
		    launches_pending(d, list[i].run) || !identity_is_first(list, n, i) ||
		    identity_check(&claim) != IDENTITY_OURS)
			continue;
		(void)snprintf(task, sizeof(task), "%s", list[i].task);
		identity_started(list[i].pid, started);
		adopt_worker(d, &pw);
		wakeup_want(d,
			    WANT_TICK); /* it takes a place, and its task waits for its end */
	}
}
