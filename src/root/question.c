/*
 * What is to be known of a worker that ended: its last line, and of one that is no child of
 * ours, by its launcher, how.
 *
 * A service manager that has much to do hears of an end late: it is asked again, for a while.
 * A question that waits for it has a thread of the pool, so when there are many such, a few
 * threads serve them all, and the rest of the pool goes on.
 */
#include "root/question.h"

#include <stdlib.h>
#include <string.h>

#include "launch/launch.h"
#include "root/dispatch.h"
#include "root/root.h"
#include "tick/logtail.h"

#define QUESTION_LIMIT_MS (60 * 1000)
#define QUESTION_AGAIN_MS (60 * 1000) /* so long a launcher is asked how a worker ended */
#define QUESTION_PAUSE_MS 2000        /* at most, between two of those */
#define QUESTION_LATE_MS  10000       /* so long one that was late is taken to be late */
#define QUESTION_LAST_MAX 400         /* bytes of its last line that are told */

struct question {
	struct job job;
	struct worker *worker;           /* NULL: nobody waits for the answer any more */
	const struct launcher *launcher; /* NULL: its launcher tells nothing */
	struct launch_run run;           /* strings are ours */
	char *logs;
	int64_t since;
	struct ending ending; /* what the kernel says, then what the launcher says */
	bool late;            /* the launcher could not say it yet */
	uv_timer_t again;
	uint64_t first_ms; /* uv_now() when it was asked first */
	uint64_t pause_ms; /* before it is asked again */
	bool waiting;      /* … now */
	char last[QUESTION_LAST_MAX];
	question_fn fn;
};

static void question_work(struct job *job)
{
	struct question *q = container_of(job, struct question, job);
	struct ending told = q->ending;
	int r = q->launcher ? launch_ended(q->launcher, &q->run, &told) : 1;

	q->late = r < 0;
	if (r == 0)
		q->ending = told;
	logtail_last(q->logs, q->run.task, q->since, q->last, sizeof(q->last));
}

static void question_free(struct question *q)
{
	free((char *)q->run.root);
	free((char *)q->run.board);
	free((char *)q->run.task);
	free((char *)q->run.db);
	free(q->logs);
	free(q);
}

static void question_closed(uv_handle_t *handle)
{
	question_free(handle->data);
}

static void question_close(struct question *q)
{
	uv_close((uv_handle_t *)&q->again, question_closed);
}

void question_forget(struct question *q)
{
	q->worker = NULL;
	if (q->waiting)
		question_close(q);
}

static void question_over(struct question *q)
{
	if (q->worker) {
		q->worker->question = NULL;
		q->fn(q->worker, q->ending, q->last);
	}
	question_close(q);
}

static void question_done(struct job *job);

static void question_again(uv_timer_t *timer)
{
	struct question *q = timer->data;

	q->waiting = false;
	q->job = (struct job){ .name = NULL };
	if (job_submit_long(q->worker->dispatch->root->env->jobs, &q->job, "ended",
			    question_work, question_done, QUESTION_LIMIT_MS) < 0)
		question_over(q);
}

static void question_done(struct job *job)
{
	struct question *q = container_of(job, struct question, job);
	struct root_env *env = q->worker ? q->worker->dispatch->root->env : NULL;

	if (!env || !q->late || uv_now(env->loop) - q->first_ms > QUESTION_AGAIN_MS) {
		question_over(q);
		return;
	}
	env->ends_late_ms = uv_now(env->loop);
	q->pause_ms = q->pause_ms < QUESTION_PAUSE_MS ? q->pause_ms * 2 : q->pause_ms;
	q->waiting = true;
	/* never fails with a callback */
	IGNORE(uv_timer_start(&q->again, question_again, q->pause_ms, 0));
}

/* What comes back late takes threads: then those that follow get a few only. */
static int question_ask(struct question *q, struct root_env *env)
{
	uint64_t now = uv_now(env->loop);
	bool late =
		q->launcher && env->ends_late_ms && now - env->ends_late_ms < QUESTION_LATE_MS;
	int r = (late ? job_submit_long : job_submit)(
		env->jobs, &q->job, "ended", question_work, question_done, QUESTION_LIMIT_MS);

	if (r < 0)
		return r;
	q->first_ms = now;
	q->pause_ms = 50;
	(void)uv_timer_init(env->loop, &q->again); /* cannot fail */
	q->again.data = q;
	return 0;
}

struct question *question_new(struct worker *w, const struct launcher *launcher,
			      struct ending ending, question_fn fn)
{
	struct dispatch *d = w->dispatch;
	struct question *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->worker = w;
	q->launcher = launcher;
	q->ending = ending;
	q->fn = fn;
	q->logs = strdup(d->board.place.logs_dir);
	q->since = w->run_started_at;
	q->run = (struct launch_run){ .root = strdup(d->root->path),
				      .board = strdup(d->board.place.slug),
				      .task = strdup(w->task),
				      .run = w->run,
				      .pid = w->pid,
				      .db = strdup(d->board.place.db_path) };
	if (q->run.root && q->run.board && q->run.task && q->run.db && q->logs &&
	    question_ask(q, d->root->env) == 0)
		return q;
	question_free(q);
	return NULL;
}
