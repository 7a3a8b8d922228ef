/*
 * Workers that run and that we do not watch yet: after a restart or a takeover, or started by
 * others. A row says who runs; a process that carries a run no row speaks of is a worker all
 * the same, and nobody is started beside it.
 */
#include "root/adopt.h"

#include <stdio.h>
#include <string.h>

#include "launch/identity.h"
#include "root/barrier.h"
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

bool adopt_ready(const struct dispatch *d)
{
	return d->adopted || barrier_looked(d->root);
}

static bool adopt_lives(const struct dispatch *d, const struct identity_found *one)
{
	return identity_check(&(struct identity_claim){ .pid = one->pid,
							.task = one->task,
							.run = one->run,
							.db = d->board.place.db_path }) ==
	       IDENTITY_OURS;
}

/* Which of what the first scan of the epoch saw is a worker of this board, and is not known
 * yet? Once all boards are adopted there is no such list any more; --once keeps it, it adopts
 * nobody. */
static const struct identity_found *adopt_unknown(const struct dispatch *d, size_t i)
{
	const struct root *root = d->root;
	const struct identity_found *one = &root->living[i];

	if (!identity_is_worker(root->living, root->n_living, i, d->board.place.db_path) ||
	    workers_has(d, one->run) || launches_pending(d, one->run))
		return NULL;
	if (root->env->once && !adopt_lives(d, one))
		return NULL; /* this sweep has ended it */
	return one;
}

static size_t adopt_count(const struct dispatch *d)
{
	const struct root *root = d->root;

	return (!d->adopted || root->env->once) && barrier_looked(root) ? root->n_living : 0;
}

size_t adopt_living(const struct dispatch *d, struct tick_living *list)
{
	size_t n = 0;

	for (size_t i = 0; i < adopt_count(d); i++) {
		const struct identity_found *one = adopt_unknown(d, i);

		if (!one)
			continue;
		if (list) {
			list[n] = (struct tick_living){ .run = one->run };
			(void)snprintf(list[n].task, sizeof(list[n].task), "%.*s",
				       (int)sizeof(list[n].task) - 1, one->task);
		}
		n++;
	}
	return n;
}

void adopt_rest(struct dispatch *d)
{
	if (d->root->env->once)
		return; /* it watches nothing */
	for (size_t i = 0; i < adopt_count(d); i++) {
		const struct identity_found *one = adopt_unknown(d, i);
		char started[PROC_STARTED_MAX], task[IDENTITY_TASK_MAX + 1];

		if (!one)
			continue;
		wakeup_want(d,
			    WANT_TICK); /* it takes a place, and its task waits for its end */
		if (!adopt_lives(d, one))
			continue; /* it has ended since: its task waits for it no more */
		(void)snprintf(task, sizeof(task), "%s", one->task);
		identity_started(one->pid, started);
		adopt_worker(d, &(struct plan_worker){ .task = task,
						       .started = started,
						       .run = one->run,
						       .pid = one->pid,
						       .run_started_at = clock_wall_s(),
						       .heartbeat = -1 });
	}
}
