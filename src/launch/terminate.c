/*
 * Ending a worker with everything it started.
 *
 * Who belongs to it is found in /proc: what carries the run's number or its variables, what is
 * in the worker's session, and what descends from it, while it lives. Each is held by a pidfd
 * from then on, so that every signal reaches the process that was looked at or nobody, whatever
 * becomes of the numbers.
 *
 * The ladder:
 *   begin  identity, SIGTERM to the worker's process group and to what escaped from it
 *   wait   until all of them are gone, at most the grace
 *   kill   SIGKILL to the group and to the rest; look again for what was started meanwhile,
 *          until a look finds nothing new
 *   wait   until all of them are gone, at most TERMINATE_KILL_WAIT_MS
 * The waits cost nothing: one epoll holds all pidfds, and the loop polls that. Reading /proc
 * can block (a process that is deep in the kernel holds the lock of its own memory), so begin
 * and kill run in the pool.
 *
 * A worker that is dead already, or a stranger: nothing to wait for, only the kill is done, for
 * what was left behind.
 */
#include "launch/terminate.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "launch/ladder.h"

#define TERMINATE_KILL_WAIT_MS 2000
#define TERMINATE_LOOKING_MAX  3 /* of the pool's threads */

int terminate_now(const struct identity_claim *claim, unsigned grace_ms,
		  struct termination *out)
{
	struct ladder l;
	int r = ladder_init(&l, claim);

	if (r == 0)
		r = ladder_begin(&l);
	if (r == 0) {
		ladder_wait(&l, grace_ms);
		ladder_kill(&l);
		ladder_wait(&l, TERMINATE_KILL_WAIT_MS);
		l.result.terminated = l.pidfd < 0 && !l.unsure;
		*out = l.result;
	}
	ladder_deinit(&l);
	return r;
}

int terminate_leftovers(const char *task, int64_t run, const char *db)
{
	const struct identity_claim claim = { .task = task, .run = run, .db = db };
	struct ladder l;
	int r = ladder_init(&l, &claim);

	for (int pass = 0; r >= 0 && pass < LADDER_PASSES; pass++) {
		r = ladder_gather(&l);
		if (r <= 0)
			break;
		ladder_signal(&l, SIGKILL);
	}
	if (r >= 0)
		r = (int)l.count;
	ladder_deinit(&l);
	return r;
}

/* The asynchronous ladder: the same steps, the waits on the loop. */
struct terminator {
	struct ladder ladder; /* the pool's while a step runs, else the loop's */
	uv_work_t work;       /* begin and kill */
	uv_poll_t poll;       /* on ladder.epoll */
	uv_timer_t timer;     /* bound of the wait */
	unsigned handles;     /* of libuv that are not closed yet */
	unsigned grace_ms;
	bool killed;                   /* the kill is done: the wait is the last */
	int failed;                    /* of ladder_begin() */
	struct terminate_queue *queue; /* or NULL */
	struct terminator *next;       /* in it */
	terminate_fn fn;
	void *arg; /* of fn */
};

static void terminate_next(struct terminator *t);
static void terminate_look(struct terminator *t);

static void terminate_closed(uv_handle_t *handle)
{
	struct terminator *t = handle->data;

	if (--t->handles > 0)
		return;
	ladder_deinit(&t->ladder);
	t->fn(t->arg, t->ladder.result);
	free(t);
}

static void terminate_finish(struct terminator *t)
{
	t->ladder.result.terminated = t->ladder.pidfd < 0 && !t->ladder.unsure;
	uv_close((uv_handle_t *)&t->poll, terminate_closed);
	uv_close((uv_handle_t *)&t->timer, terminate_closed);
}

static void terminate_wake(struct terminator *t, bool last)
{
	if (ladder_collect(&t->ladder, 0) > 0 && !last)
		return;
	(void)uv_poll_stop(&t->poll);
	(void)uv_timer_stop(&t->timer);
	terminate_next(t);
}

static void terminate_poll(uv_poll_t *poll, int status, int events)
{
	(void)events;
	terminate_wake(poll->data, status < 0);
}

static void terminate_timer(uv_timer_t *timer)
{
	terminate_wake(timer->data, true);
}

/* Wait for the end of all, at most @ms. */
static void terminate_wait(struct terminator *t, unsigned ms)
{
	int r = uv_timer_start(&t->timer, terminate_timer, ms, 0);

	if (r == 0)
		r = uv_poll_start(&t->poll, UV_READABLE, terminate_poll);
	/* neither fails on an open handle; were it so, the ladder goes on without waiting */
	if (r < 0)
		terminate_wake(t, true);
}

static void terminate_begin_work(uv_work_t *work)
{
	struct terminator *t = work->data;

	t->failed = ladder_begin(&t->ladder);
}

static void terminate_kill_work(uv_work_t *work)
{
	struct terminator *t = work->data;

	ladder_kill(&t->ladder);
}

static void terminate_looked(struct terminator *t)
{
	struct terminate_queue *queue = t->queue;
	struct terminator *next = queue ? queue->first : NULL;

	if (queue)
		queue->looking--;
	if (next) {
		queue->first = next->next;
		terminate_look(next);
	}
}

static void terminate_begin_done(uv_work_t *work, int status)
{
	struct terminator *t = work->data;

	(void)status; /* uv_cancel() is never called */
	terminate_looked(t);
	if (t->failed < 0)
		terminate_finish(t);
	else if (ladder_collect(&t->ladder, 0) > 0)
		terminate_wait(t, t->grace_ms);
	else
		terminate_next(t);
}

static void terminate_kill_done(uv_work_t *work, int status)
{
	struct terminator *t = work->data;

	(void)status;
	terminate_looked(t);
	if (ladder_collect(&t->ladder, 0) > 0)
		terminate_wait(t, TERMINATE_KILL_WAIT_MS);
	else
		terminate_finish(t);
}

/* Its next step in the pool, when it is its turn. */
static void terminate_look(struct terminator *t)
{
	struct terminate_queue *queue = t->queue;
	struct terminator **last = queue ? &queue->first : NULL;

	if (queue && queue->looking >= TERMINATE_LOOKING_MAX) {
		while (*last)
			last = &(*last)->next;
		t->next = NULL;
		*last = t;
		return;
	}
	if (queue)
		queue->looking++;
	/* neither can fail, given a callback */
	if (t->killed)
		(void)uv_queue_work(t->poll.loop, &t->work, terminate_kill_work,
				    terminate_kill_done);
	else
		(void)uv_queue_work(t->poll.loop, &t->work, terminate_begin_work,
				    terminate_begin_done);
}

/* A wait is over. */
static void terminate_next(struct terminator *t)
{
	if (t->killed) {
		terminate_finish(t);
		return;
	}
	t->killed = true;
	terminate_look(t);
}

static int terminate_open(struct terminator *t, uv_loop_t *loop)
{
	int r;

	t->poll.data = t;
	t->timer.data = t;
	t->work.data = t;
	r = uv_poll_init(loop, &t->poll, t->ladder.epoll);
	if (r < 0)
		return r;
	t->handles = 2;
	(void)uv_timer_init(loop, &t->timer); /* cannot fail */
	terminate_look(t);
	return 0;
}

int terminate_start(uv_loop_t *loop, struct terminate_queue *queue,
		    const struct identity_claim *claim, unsigned grace_ms, terminate_fn fn,
		    void *arg)
{
	struct terminator *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->queue = queue;
	t->fn = fn;
	t->arg = arg;
	t->grace_ms = grace_ms;
	r = ladder_init(&t->ladder, claim);
	if (r == 0)
		r = terminate_open(t, loop);
	if (r == 0)
		return 0;
	ladder_deinit(&t->ladder);
	free(t);
	return r;
}
