/*
 * Workers that run: each is watched by its pidfd, whether this process started it or found it
 * running after a takeover (adoption). A worker's end is kept for ten minutes with its exit
 * status and wakes the board; a worker that has to go is ended with everything it started.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "launch/terminate.h"
#include "launch/watch.h"
#include "root/collect.h"
#include "root/dispatch.h"
#include "root/ends.h"
#include "root/hostfault.h"
#include "root/leftovers.h"
#include "root/observer.h"
#include "root/question.h"
#include "root/root.h"
#include "tick/logtail.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/log.h"

#define EXIT_KEEP_MS      (10 * 60 * 1000) /* the board contract, §6.1 */
#define WORKER_BEGUN_MS   1000
#define TERMINAL_AFTER_MS 120000 /* the board contract, §6.2 */

static void worker_free(struct worker *w)
{
	w->watch = watch_close(w->watch);
	if (w->question)
		question_forget(w->question);
	free(w->task);
	free(w->started);
	free(w->title);
	free(w);
}

static void worker_unlink(struct worker *w)
{
	for (struct worker **p = &w->dispatch->workers.list; *p; p = &(*p)->next)
		if (*p == w) {
			*p = w->next;
			return;
		}
}

struct tick_exit workers_exit(int64_t run, pid_t pid, struct ending ending)
{
	static const char *const why[] = {
		[ENDING_BY_ITSELF] = NULL,      [ENDING_OUT_OF_MEMORY] = "oom_kill",
		[ENDING_OVER_TIME] = "timeout", [ENDING_WATCHDOG] = "watchdog",
		[ENDING_UNBEGUN] = NULL,        [ENDING_BY_HOST] = "host_fault"
	};

	return (struct tick_exit){
		.run = run,
		.pid = pid,
		.kind = ending.kind == ENDING_EXITED     ? TICK_EXITED
			: ending.kind == ENDING_SIGNALED ? TICK_SIGNALED
							 : TICK_UNKNOWN,
		.value = ending.value,
		.why = why[ending.why],
		.host = ending.why == ENDING_BY_HOST || ending.why == ENDING_UNBEGUN,
	};
}

/*
 * A worker that ends at once with 126 or 127 did not begin: what a shell or env(1) says when
 * the program, its interpreter or its virtual environment is not there or not executable.
 */
static bool worker_unbegun(const struct worker *w, struct ending ending)
{
	return ending.why == ENDING_UNBEGUN ||
	       (w->child && ending.kind == ENDING_EXITED &&
		(ending.value == 126 || ending.value == 127) &&
		uv_now(w->dispatch->root->env->loop) - w->watched_ms < WORKER_BEGUN_MS);
}

/* Is this host able to start workers? */
static void worker_host(struct dispatch *d, const struct worker *w, struct ending ending)
{
	char why[256];

	if (!worker_unbegun(w, ending)) {
		hostfault_ended(d, w->run);
		return;
	}
	(void)snprintf(
		why, sizeof(why),
		"a worker ended at once with exit status %d: hermes, its interpreter or its "
		"environment is broken (see the log of task %.80s)",
		ending.value, w->task);
	hostfault_unbegun(d, why);
}

static void worker_exit_known(struct dispatch *d, const struct worker *w, struct ending ending)
{
	struct tick_exit *more =
		reallocarray(d->workers.exits, d->workers.n_exits + 1, sizeof(*more));
	uint64_t *times;

	if (!more)
		return; /* the end is then booked as unknown */
	d->workers.exits = more;
	times = reallocarray(d->workers.exits_ms, d->workers.n_exits + 1, sizeof(*times));
	if (!times)
		return;
	d->workers.exits_ms = times;
	times[d->workers.n_exits] = uv_now(d->root->env->loop);
	more[d->workers.n_exits++] = workers_exit(w->run, w->pid, ending);
	more[d->workers.n_exits - 1].host |= worker_unbegun(w, ending);
}

size_t workers_living(const struct dispatch *d, struct tick_living *list)
{
	size_t n = 0;

	for (const struct worker *w = d->workers.list; w; w = w->next, n++) {
		if (!list)
			continue;
		list[n].run = w->run;
		(void)snprintf(list[n].task, sizeof(list[n].task), "%s", w->task);
		(void)snprintf(list[n].profile, sizeof(list[n].profile), "%s", w->profile);
	}
	return n;
}

void workers_forget(struct dispatch *d)
{
	uint64_t now = uv_now(d->root->env->loop);
	size_t keep = 0;

	for (size_t i = 0; i < d->workers.n_exits; i++)
		if (now - d->workers.exits_ms[i] < EXIT_KEEP_MS) {
			d->workers.exits[keep] = d->workers.exits[i];
			d->workers.exits_ms[keep++] = d->workers.exits_ms[i];
		}
	d->workers.n_exits = keep;
}

static void worker_counted(const struct worker *w, struct ending ending)
{
	struct root_stats *stats = &w->dispatch->root->env->stats;
	int64_t ran = clock_wall_s() - w->run_started_at;

	if (ending.kind == ENDING_EXITED && ending.value == 0)
		stats->ended_ok++;
	else if (ending.kind == ENDING_EXITED)
		stats->ended_failed++;
	else if (ending.kind == ENDING_SIGNALED)
		stats->ended_signaled++;
	else
		stats->ended_unknown++;
	stats_long_time(&stats->run, ran > 0 ? (uint64_t)ran : 0);
}

/* Nobody else will ever be told how it ended: that is written down before anything else. */
static void worker_noted(const struct worker *w, struct ending ending)
{
	const struct dispatch *d = w->dispatch;
	const struct ends_run run = { d->board.place.db_path, w->task, w->run, w->pid };

	if (worker_unbegun(w, ending))
		ending.why = ENDING_BY_HOST;
	if (w->child && !d->root->env->once && !d->root->env->dry_run)
		ends_note(d->root->ends, &run, ending);
}

/* How it ended, after how long, and its last word. Of one that we ended the tick tells why. */
static void worker_said(const struct worker *w, struct ending ending, const char *last)
{
	const struct dispatch *d = w->dispatch;
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .task = w->task,
				   .run = w->run,
				   .epoch = d->root->epoch,
				   .id = LOG_ID_WORKER_ENDED };
	int64_t ran = clock_wall_s() - w->run_started_at;
	char how[64] = "ended", span[32];

	if (ending.kind == ENDING_EXITED)
		(void)snprintf(how, sizeof(how), "exited with code %d", ending.value);
	else if (ending.kind == ENDING_SIGNALED)
		(void)snprintf(how, sizeof(how), "killed by signal %d", ending.value);
	clock_span(ran > 0 ? ran : 0, span);
	log_about(w->ending ? LOG_DEBUG : LOG_INFO, &about, "worker %d%s%s %s after %s%s%s",
		  (int)w->pid, w->profile[0] ? " of " : "", w->profile, how, span,
		  *last ? "; last line: " : "", last);
}

static void worker_finish(struct worker *w, struct ending ending, const char *last)
{
	struct dispatch *d = w->dispatch;

	worker_said(w, ending, last);
	worker_counted(w, ending);
	observer_worker(w, true);
	worker_exit_known(d, w, ending);
	worker_host(d, w, ending);
	if (!w->child)
		leftovers_end(d, w);
	if (w->asked)
		collect_add(d, w->task, w->run);
	worker_unlink(w);
	worker_free(w);
	d->root->env->worker_ended(d->root->env->arg);
	wakeup_want(d, WANT_TICK);
}

/* Is it asked? Then the worker has not ended, as far as we know, until there is an answer. */
static bool worker_asked(struct worker *w, struct ending ending)
{
	const struct root *root = w->dispatch->root;
	const struct launcher *launcher = root->env->launcher(root->env->arg, root->path);

	if (!launch_tells(launcher))
		launcher = NULL;
	w->question = question_new(w, launcher, ending, worker_finish);
	w->asked = w->question && launcher;
	return w->question != NULL;
}

static void worker_ended(void *arg, struct watch *watch, struct ending ending)
{
	(void)watch;
	worker_noted(arg, ending);
	if (!worker_asked(arg, ending))
		worker_finish(arg, ending, "");
}

/* For those who look: without memory for a title there is none. */
static void worker_seen(struct worker *w, const struct plan_worker *pw)
{
	if (pw->heartbeat > w->heartbeat)
		w->heartbeat = pw->heartbeat;
	if (!w->profile[0])
		(void)snprintf(w->profile, sizeof(w->profile), "%s", pw->profile);
	if (!pw->title || (w->title && strcmp(w->title, pw->title) == 0))
		return;
	free(w->title);
	w->title = strdup(pw->title);
}

static struct worker *worker_new(struct dispatch *d, const struct plan_worker *pw, bool child)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	*w = (struct worker){
		.dispatch = d,
		.task = strdup(pw->task),
		.started = pw->started ? strdup(pw->started) : NULL,
		.run = pw->run,
		.pid = (pid_t)pw->pid,
		.run_started_at = pw->run_started_at,
		.watched_ms = uv_now(d->root->env->loop),
		.heartbeat = -1,
		.child = child,
	};
	worker_seen(w, pw);
	if (w->task && (!pw->started || w->started))
		return w;
	worker_free(w);
	return NULL;
}

void workers_gone(struct dispatch *d, const struct plan_worker *pw)
{
	struct worker *w = worker_new(d, pw, false);

	if (!w)
		return; /* the next tick asks how it ended */
	w->next = d->workers.list;
	d->workers.list = w;
	worker_ended(w, NULL, (struct ending){ .kind = ENDING_UNKNOWN });
}

int workers_watch(struct dispatch *d, const struct plan_worker *pw, int pidfd, bool child)
{
	CLEANUP(fs_closep) int fd = pidfd;
	struct worker *w = worker_new(d, pw, child);
	int r;

	if (!w)
		return -ENOMEM;
	fd = -1; /* taken over */
	r = watch_open(&w->watch, d->root->env->loop, w->pid, pidfd, worker_ended, w);
	if (r < 0) {
		worker_free(w);
		return r;
	}
	w->next = d->workers.list;
	d->workers.list = w;
	d->root->env->stats.adopted += !child;
	observer_worker(w, false);
	return 0;
}

bool workers_has(const struct dispatch *d, int64_t run)
{
	for (const struct worker *w = d->workers.list; w; w = w->next)
		if (w->run == run)
			return true;
	return false;
}

static struct worker *worker_find(struct dispatch *d, int64_t run)
{
	for (struct worker *w = d->workers.list; w; w = w->next)
		if (w->run == run)
			return w;
	return NULL;
}

void workers_seen(struct dispatch *d, const struct plan_worker *pw)
{
	struct worker *w = worker_find(d, pw->run);

	if (w)
		worker_seen(w, pw);
}

/* ---- ending -------------------------------------------------------------------------- */

/* A victim whose worker is being ended. Its first member links the list. */
struct ending_watch {
	struct ending_watch *next;
	struct dispatch *dispatch;
	struct plan_victim victim;
};

size_t workers_ending(const struct dispatch *d, int64_t *list)
{
	size_t n = 0;

	for (const struct ending_watch *k = d->workers.ending; k; k = k->next, n++)
		if (list)
			list[n] = k->victim.run;
	return n;
}

static void ending_done(struct ending_watch *k, struct termination t)
{
	struct dispatch *d = k->dispatch;
	struct worker *w = worker_find(d, k->victim.run);
	struct plan_victim *more;

	for (struct ending_watch **p = &d->workers.ending; *p; p = &(*p)->next)
		if (*p == k) {
			*p = k->next;
			break;
		}
	if (w)
		w->ending = false;
	k->victim.attempted = t.attempted;
	k->victim.terminated = t.terminated;
	k->victim.sigkill = t.sigkill;
	more = reallocarray(d->workers.ended, d->workers.n_ended + 1, sizeof(*more));
	if (more) {
		d->workers.ended = more;
		more[d->workers.n_ended++] = k->victim;
	} else {
		plan_victim_deinit(&k->victim); /* the next tick finds it again */
	}
	free(k);
	wakeup_want(d, WANT_TICK);
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
	k->next = d->workers.ending;
	d->workers.ending = k;
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
		.child = w && w->child && w->pid == (pid_t)k->victim.pid,
	};
	r = terminate_start(d->root->env->loop, &d->root->env->terminating, &claim,
			    (unsigned)d->set.terminate_grace_ms, ending_terminated, k);
	if (r < 0) {
		log_warning("cannot end worker %lld of task %s: %s", (long long)v->pid, v->task,
			    strerror(-r));
		ending_done(k, (struct termination){ .attempted = true });
	}
}

void workers_overdue(struct dispatch *d)
{
	uint64_t now = uv_now(d->root->env->loop), next = 0;

	for (struct worker *w = d->workers.list; w; w = w->next) {
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
		wakeup_arm(d, next);
}

void workers_take_ended(struct dispatch *d)
{
	d->workers.ended_taken = d->workers.ended;
	d->workers.n_ended_taken = d->workers.n_ended;
	d->workers.ended = NULL;
	d->workers.n_ended = 0;
}

/* What the visit booked is done with; what it could not book goes along again. */
void workers_booked(struct dispatch *d, bool ok)
{
	struct plan_victim *more = NULL;

	if (!ok && d->workers.n_ended_taken)
		more = reallocarray(d->workers.ended,
				    d->workers.n_ended + d->workers.n_ended_taken,
				    sizeof(*more));
	if (more) {
		d->workers.ended = more;
		memcpy(more + d->workers.n_ended, d->workers.ended_taken,
		       d->workers.n_ended_taken * sizeof(*more));
		d->workers.n_ended += d->workers.n_ended_taken;
		d->workers.n_ended_taken = 0;
	}
	/* without memory to keep them: the next tick finds those tasks again */
	for (size_t i = 0; i < d->workers.n_ended_taken; i++)
		plan_victim_deinit(&d->workers.ended_taken[i]);
	free(d->workers.ended_taken);
	d->workers.ended_taken = NULL;
	d->workers.n_ended_taken = 0;
}

void workers_close(struct dispatch *d)
{
	while (d->workers.list) {
		struct worker *w = d->workers.list;

		d->workers.list = w->next;
		if (w->child)
			observer_left(w);
		worker_free(w);
	}
	collect_close(d);
	for (size_t i = 0; i < d->workers.n_ended; i++)
		plan_victim_deinit(&d->workers.ended[i]);
	free(d->workers.ended);
	free(d->workers.exits);
	free(d->workers.exits_ms);
	d->workers = (struct workers){ 0 };
}
