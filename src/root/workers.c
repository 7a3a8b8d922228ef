/*
 * Workers that run: each is watched by its pidfd, whether this process started it or found it
 * running after a takeover (adoption). A worker's end is kept for ten minutes with its exit
 * status and wakes the board; a worker that has to go is ended with everything it started.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define TERMINAL_AFTER_MS 120000 /* the board contract, §6.2 */

static void worker_free(struct worker *w)
{
	w->watch = watch_close(w->watch);
	free(w->task);
	free(w->started);
	free(w);
}

static void worker_unlink(struct worker *w)
{
	for (struct worker **p = &w->dispatch->workers; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			return;
		}
}

static void worker_exit_known(struct dispatch *d, const struct worker *w, struct ending ending)
{
	struct tick_exit *more = reallocarray(d->exits, d->n_exits + 1, sizeof(*more));
	uint64_t *times;

	if (!more)
		return; /* the end is then booked as unknown */
	d->exits = more;
	times = reallocarray(d->exits_ms, d->n_exits + 1, sizeof(*times));
	if (!times)
		return;
	d->exits_ms = times;
	times[d->n_exits] = uv_now(d->root->env->loop);
	more[d->n_exits++] = (struct tick_exit){
		.run = w->run,
		.pid = w->pid,
		.kind = ending.kind == ENDING_EXITED     ? TICK_EXITED
			: ending.kind == ENDING_SIGNALED ? TICK_SIGNALED
							 : TICK_UNKNOWN,
		.value = ending.value,
	};
}

/* Descendants of an adopted worker are not ours to reap: look for what carries the run. */
struct leftovers {
	struct job job;
	char *task, *db;
	int64_t run;
};

static void leftovers_work(struct job *job)
{
	struct leftovers *l = (struct leftovers *)job;

	/* an error means that /proc cannot be read: nothing more can be done */
	IGNORE(terminate_leftovers_of(l->task, l->run, l->db));
}

static void leftovers_done(struct job *job)
{
	struct leftovers *l = (struct leftovers *)job;

	free(l->task);
	free(l->db);
	free(l);
}

static void worker_leftovers(struct dispatch *d, const struct worker *w)
{
	struct leftovers *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->task = strdup(w->task);
	l->db = strdup(d->board.place.db_path);
	l->run = w->run;
	if (!l->task || !l->db ||
	    job_submit(d->root->env->jobs, &l->job, "leftovers", leftovers_work, leftovers_done,
		       60000) < 0)
		leftovers_done(&l->job);
}

static void worker_counted(struct dispatch *d, struct ending ending)
{
	struct root_stats *stats = &d->root->env->stats;

	if (ending.kind == ENDING_EXITED && ending.value == 0)
		stats->ended_ok++;
	else if (ending.kind == ENDING_EXITED)
		stats->ended_failed++;
	else if (ending.kind == ENDING_SIGNALED)
		stats->ended_signaled++;
	else
		stats->ended_unknown++;
}

static void worker_ended(void *arg, struct watch *watch, struct ending ending)
{
	struct worker *w = arg;
	struct dispatch *d = w->dispatch;
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .task = w->task,
				   .run = w->run,
				   .epoch = d->root->epoch,
				   .id = LOG_ID_WORKER_ENDED };

	(void)watch;
	if (ending.kind == ENDING_EXITED)
		log_about(LOG_DEBUG, &about, "worker %d exited with code %d", (int)w->pid,
			  ending.value);
	else if (ending.kind == ENDING_SIGNALED)
		log_about(LOG_DEBUG, &about, "worker %d was killed by signal %d", (int)w->pid,
			  ending.value);
	worker_counted(d, ending);
	if (d->root->env->told_worker)
		d->root->env->told_worker(d->root->env->told_arg, w, true);
	worker_exit_known(d, w, ending);
	if (!w->child)
		worker_leftovers(d, w);
	worker_unlink(w);
	worker_free(w);
	d->root->env->worker_ended(d->root->env->arg);
	dispatch_want(d, WANT_TICK);
}

int workers_watch(struct dispatch *d, const struct plan_worker *pw, int pidfd, bool child)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w) {
		if (pidfd >= 0)
			fs_closep(&pidfd);
		return -ENOMEM;
	}
	*w = (struct worker){
		.dispatch = d,
		.task = strdup(pw->task),
		.started = pw->started ? strdup(pw->started) : NULL,
		.run = pw->run,
		.pid = (pid_t)pw->pid,
		.run_started_at = pw->run_started_at,
		.child = child,
	};
	if (!w->task || (pw->started && !w->started)) {
		if (pidfd >= 0)
			fs_closep(&pidfd);
		worker_free(w);
		return -ENOMEM;
	}
	r = watch_open(&w->watch, d->root->env->loop, w->pid, pidfd, worker_ended, w);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	w->next = d->workers;
	d->workers = w;
	d->root->env->stats.adopted += !child;
	if (d->root->env->told_worker)
		d->root->env->told_worker(d->root->env->told_arg, w, false);
	return 0;
}

static struct worker *worker_find(struct dispatch *d, int64_t run)
{
	for (struct worker *w = d->workers; w; w = w->next)
		if (w->run == run)
			return w;
	return NULL;
}

/* A worker that runs and that we do not watch yet: after a takeover, or started by others. */
static void worker_adopt(struct dispatch *d, const struct plan_worker *pw)
{
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .task = pw->task,
				   .run = pw->run,
				   .epoch = d->root->epoch };
	int r = workers_watch(d, pw, -1, false);

	if (r == 0)
		log_about(LOG_INFO, &about, "adopted worker %lld", (long long)pw->pid);
	else if (r == -ESRCH)
		dispatch_want(d, WANT_TICK); /* it ended a moment ago */
	else
		log_about(LOG_WARNING, &about,
			  "cannot watch worker %lld: %s; its end is seen at the "
			  "next sweep",
			  (long long)pw->pid, strerror(-r));
}

void workers_seen(struct dispatch *d, const struct plan *plan)
{
	uint64_t now = uv_now(d->root->env->loop);

	if (d->root->env->once)
		return; /* it watches nothing */
	for (struct worker *w = d->workers; w; w = w->next) {
		bool running = w->ending;

		for (size_t i = 0; !running && i < plan->n_workers; i++)
			running = plan->workers[i].run == w->run;
		if (running || launches_pending(d, w->run))
			w->left_ms = 0;
		else if (!w->left_ms)
			w->left_ms = now ? now : 1;
	}
	for (size_t i = 0; i < plan->n_workers; i++)
		if (plan->workers[i].task && !worker_find(d, plan->workers[i].run))
			worker_adopt(d, &plan->workers[i]);
}

/* ---- ending --------------------------------------------------------------------------------
 */

/* A victim whose worker is being ended. Its first member links the list. */
struct ending_watch {
	struct ending_watch *next;
	struct dispatch *dispatch;
	struct plan_victim victim;
};

size_t workers_ending(const struct dispatch *d, int64_t *list)
{
	size_t n = 0;

	for (const struct ending_watch *k = d->ending; k; k = k->next, n++)
		if (list)
			list[n] = k->victim.run;
	return n;
}

static void ending_done(struct ending_watch *k, struct termination t)
{
	struct dispatch *d = k->dispatch;
	struct worker *w = worker_find(d, k->victim.run);
	struct plan_victim *more;

	for (struct ending_watch **p = &d->ending; *p; p = &(*p)->next)
		if (*p == k) {
			*p = k->next;
			break;
		}
	if (w)
		w->ending = false;
	k->victim.attempted = t.attempted;
	k->victim.terminated = t.terminated;
	k->victim.sigkill = t.sigkill;
	more = reallocarray(d->settle, d->n_settle + 1, sizeof(*more));
	if (more) {
		d->settle = more;
		more[d->n_settle++] = k->victim;
	} else {
		plan_victim_deinit(&k->victim); /* the next tick finds it again */
	}
	free(k);
	dispatch_want(d, WANT_TICK);
	root_visit_ended(d->root);
}

static void ending_terminated(void *arg, struct termination result)
{
	ending_done(arg, result);
}

static bool victim_copy(struct plan_victim *to, const struct plan_victim *from)
{
	*to = *from;
	to->task = strdup(from->task);
	to->claim_lock = from->claim_lock ? strdup(from->claim_lock) : NULL;
	to->started = from->started ? strdup(from->started) : NULL;
	if (to->task && (to->claim_lock || !from->claim_lock) &&
	    (to->started || !from->started))
		return true;
	plan_victim_deinit(to);
	return false;
}

void workers_end(struct dispatch *d, struct plan_victim *v)
{
	struct ending_watch *k = calloc(1, sizeof(*k));
	struct worker *w = worker_find(d, v->run);
	struct identity_claim claim;
	int r;

	if (!k || !victim_copy(&k->victim, v)) {
		free(k);
		return; /* the next tick finds it again */
	}
	k->dispatch = d;
	k->next = d->ending;
	d->ending = k;
	if (w)
		w->ending = true;
	if (d->root->env->dry_run) {
		ending_done(k, (struct termination){ .attempted = true, .terminated = true });
		return;
	}
	claim = (struct identity_claim){
		.pid = (pid_t)k->victim.pid,
		.task = k->victim.task,
		.run = k->victim.run,
		.started = k->victim.started,
		.run_started_at = k->victim.run_started_at,
		.db = d->board.place.db_path,
	};
	r = terminate_start(d->root->env->loop, &claim, (unsigned)d->set.terminate_grace_ms,
			    ending_terminated, k);
	if (r < 0) {
		log_warning("cannot end worker %lld of task %s: %s", (long long)v->pid, v->task,
			    strerror(-r));
		ending_done(k, (struct termination){ .attempted = true });
	}
}

void workers_overdue(struct dispatch *d)
{
	uint64_t now = uv_now(d->root->env->loop), next = 0;

	for (struct worker *w = d->workers; w; w = w->next) {
		struct plan_victim v;

		if (!w->left_ms || w->ending)
			continue;
		if (now - w->left_ms < TERMINAL_AFTER_MS) {
			uint64_t in = TERMINAL_AFTER_MS - (now - w->left_ms);

			next = !next || in < next ? in : next;
			continue;
		}
		v = (struct plan_victim){ .cause = VICTIM_TERMINAL,
					  .task = w->task,
					  .started = w->started,
					  .run = w->run,
					  .pid = w->pid,
					  .claim_expires = -1,
					  .heartbeat = -1,
					  .run_started_at = w->run_started_at,
					  .host_local = true };
		workers_end(d, &v);
	}
	if (next)
		dispatch_arm(d, next);
}

void workers_close(struct dispatch *d)
{
	while (d->workers) {
		struct worker *w = d->workers;

		d->workers = w->next;
		worker_free(w);
	}
}
