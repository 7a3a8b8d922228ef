/*
 * The lease, seen from the loop. Getting it is the waiter's work (lease_wait.c); this file
 * starts it, hears of it, and tells the root.
 *
 *                       +-- free, or the holder ended --------------+
 *                       |                                           v
 *   lease_open() --> COMPETING --held--> STANDBY --holder ended--> OWNER
 *                     ^    \                 \                      |
 *              5 s    |     \ error           \ error               | lease_step_down()
 *                     |      v                 v                    |
 *                     +--- FAILED <------------+                    |
 *                     +---------------------------------------------+
 *   any --lease_close()--> CLOSING
 *
 * Happy path: the waiter opens, locks, writes the owner file, and finishes; the loop joins it,
 * adopts its lock and calls acquired(). While the lock is held elsewhere the waiter is blocked
 * in the kernel and nothing of ours wakes up; a pidfd of the holder tells when the name that
 * we gave is out of date because a third process was faster.
 *
 * Failure modes: what cannot be tried (no root, no right, disk full, read-only) is told once
 * and tried again every 5 s. A lock file that was removed or replaced under us is found by
 * lease_check() from a job; the loop side is lease_step_down(), which closes the orphan and
 * starts the waiter again. It looks for itself first: the jobs of several boards may report
 * the same loss one after the other, and the later ones must not cost the new lease.
 *
 * Closing: the waiter is told to stop and kicked out of flock(2) until it has finished; then
 * it is joined, what it may have won is given back, all handles are closed, and the last
 * close callback frees. The owner file stays: the next owner counts on from it.
 *
 * Threads: jobs call lease_check() and lease_claimants_settled(). lease.mutex guards what they
 * read, is held for a copy only, and so may be taken by the loop.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "root.h"
#include "util/fs.h"
#include "util/log.h"

#define LEASE_RETRY_MIN_MS 50   /* FAILED → COMPETING: what fails may pass in a moment, … */
#define LEASE_RETRY_MS     5000 /* … or stay: doubling to this */
#define LEASE_KICK_MS      2    /* between signals to a waiter that has not answered */
#define LEASE_HANDOVER_MS  50   /* from a holder's end to the question who holds it now */
#define LEASE_UNSURE_MS    200  /* until a kanband that just started has written who it is */
#define LEASE_UNSURE_TRIES 5

/* A handle on the holder's end; has a life of its own because closing takes a loop turn. */
struct lease_watch {
	uv_poll_t poll;
	int pidfd; /* owned */
	struct lease *lease;
};

static void lease_start(struct lease *lease);
static void lease_on_timer(uv_timer_t *timer);

static void lease_move(struct lease *lease, enum lease_state next, const char *why)
{
	static const char *const names[LEASE_STATE_COUNT] = { "competing", "standby", "owner",
							      "failed", "closing" };
	static const bool allowed[LEASE_STATE_COUNT][LEASE_STATE_COUNT] = {
		[LEASE_STATE_COMPETING] = { [LEASE_STATE_STANDBY] = true,
					    [LEASE_STATE_OWNER] = true,
					    [LEASE_STATE_FAILED] = true,
					    [LEASE_STATE_CLOSING] = true },
		[LEASE_STATE_STANDBY] = { [LEASE_STATE_STANDBY] = true,
					  [LEASE_STATE_OWNER] = true,
					  [LEASE_STATE_FAILED] = true,
					  [LEASE_STATE_CLOSING] = true },
		[LEASE_STATE_OWNER] = { [LEASE_STATE_COMPETING] = true,
					[LEASE_STATE_CLOSING] = true },
		[LEASE_STATE_FAILED] = { [LEASE_STATE_COMPETING] = true,
					 [LEASE_STATE_CLOSING] = true },
	};
	const struct log_about about = { .root = lease->paths.root };
	bool ok = allowed[lease->state][next];

	assert(ok);
	(void)ok; /* without assertions */
	log_about(LOG_DEBUG, &about, "lease of %s: %s → %s: %s", lease->paths.root,
		  names[lease->state], names[next], why);
	lease->state = next;
}

static void lease_handle_closed(struct lease *lease)
{
	void (*done)(void *arg) = lease->close_done;
	void *arg = lease->close_arg;

	if (--lease->handles > 0)
		return;
	lease_base_deinit(lease);
	free(lease);
	done(arg);
}

static void lease_on_closed(uv_handle_t *handle)
{
	lease_handle_closed(handle->data);
}

static void lease_watch_closed(uv_handle_t *handle)
{
	struct lease_watch *watch = handle->data;
	struct lease *lease = watch->lease;

	fs_closep(&watch->pidfd);
	free(watch);
	lease_handle_closed(lease);
}

static void lease_watch_close(struct lease *lease)
{
	struct lease_watch *watch = STEAL(lease->watch);

	if (watch)
		uv_close((uv_handle_t *)&watch->poll, lease_watch_closed);
}

static void lease_holder_ended(uv_poll_t *poll, int status, int events)
{
	struct lease *lease = ((struct lease_watch *)poll->data)->lease;

	(void)status;
	(void)events;
	lease_watch_close(lease);
	/* the waiter will be owner in a moment, unless another was faster */
	if (lease->state == LEASE_STATE_STANDBY && !lease->renaming)
		(void)uv_timer_start(&lease->timer, lease_on_timer, LEASE_HANDOVER_MS, 0);
}

/* Takes @pidfd. Without a watch the name of the holder may grow old, nothing worse. */
static void lease_watch_open(struct lease *lease, int pidfd)
{
	struct lease_watch *watch = pidfd < 0 ? NULL : calloc(1, sizeof(*watch));

	if (!watch || uv_poll_init(lease->loop, &watch->poll, pidfd) < 0) {
		fs_closep(&pidfd);
		free(watch);
		return;
	}
	watch->pidfd = pidfd;
	watch->lease = lease;
	watch->poll.data = watch;
	lease->watch = watch;
	lease->handles++;
	if (uv_poll_start(&watch->poll, UV_READABLE, lease_holder_ended) < 0)
		lease_watch_close(lease);
}

static void lease_on_timer(uv_timer_t *timer)
{
	struct lease *lease = timer->data;

	switch (lease->state) {
	case LEASE_STATE_FAILED:
		lease_move(lease, LEASE_STATE_COMPETING, "trying again");
		lease_start(lease);
		return;
	case LEASE_STATE_STANDBY:
		if (!lease->renaming) {
			lease->renaming = true;
			atomic_store(&lease->name_again, true);
		} else if (!atomic_load(&lease->name_again)) {
			return; /* the waiter saw it, its news is on the way */
		}
		break;
	case LEASE_STATE_CLOSING:
		break;
	default:
		return;
	}
	lease_wait_kick(lease);
	(void)uv_timer_start(timer, lease_on_timer, LEASE_KICK_MS, 0);
}

/* The waiter is blocked, or blocked again: @news says by whom. */
static void lease_on_standby(struct lease *lease, struct lease_news *news)
{
	bool changed = lease->state != LEASE_STATE_STANDBY ||
		       strcmp(lease->told_holder, news->holder) != 0;

	lease->renaming = false;
	(void)uv_timer_stop(&lease->timer);
	lease_watch_close(lease);
	lease_watch_open(lease, news->pidfd);
	if (news->unsure && lease->unsure_left > 0) {
		lease->unsure_left--;
		(void)uv_timer_start(&lease->timer, lease_on_timer, LEASE_UNSURE_MS, 0);
	}
	if (!changed)
		return;
	lease_move(lease, LEASE_STATE_STANDBY, news->holder);
	lease->told_error = (struct error)ERROR_NULL;
	memcpy(lease->told_holder, news->holder, sizeof(lease->told_holder));
	lease->events.standby(lease->arg, lease->told_holder);
}

static void lease_close_handles(struct lease *lease)
{
	uv_close((uv_handle_t *)&lease->async, lease_on_closed);
	uv_close((uv_handle_t *)&lease->timer, lease_on_closed);
}

static void lease_on_finished(struct lease *lease, const struct lease_news *news)
{
	if (lease->thread_runs)
		(void)pthread_join(lease->thread, NULL); /* it has said its last word */
	lease->thread_runs = false;
	lease->renaming = false;
	(void)uv_timer_stop(&lease->timer);
	lease_watch_close(lease);
	if (lease->state == LEASE_STATE_CLOSING) {
		lease_close_handles(lease);
		return;
	}
	lease->told_holder[0] = '\0';
	if (news->result == 0) {
		lease_adopt(lease, &lease->next);
		lease_move(lease, LEASE_STATE_OWNER, "the lock is ours");
		lease->told_error = (struct error)ERROR_NULL;
		lease->retry_ms = LEASE_RETRY_MIN_MS;
		lease->events.acquired(lease->arg, lease->last_epoch);
		return;
	}
	lease_move(lease, LEASE_STATE_FAILED, news->error.text);
	(void)uv_timer_start(&lease->timer, lease_on_timer, lease->retry_ms, 0);
	lease->retry_ms *= 2;
	if (lease->retry_ms > LEASE_RETRY_MS)
		lease->retry_ms = LEASE_RETRY_MS;
	if (strcmp(lease->told_error.text, news->error.text) == 0)
		return;
	lease->told_error = news->error;
	lease->events.failed(lease->arg, &lease->told_error);
}

static void lease_on_news(uv_async_t *async)
{
	struct lease *lease = async->data;
	struct lease_news news;

	(void)pthread_mutex_lock(&lease->mutex);
	news = lease->news;
	lease->news.standby = false;
	lease->news.finished = false;
	lease->news.pidfd = -1;
	(void)pthread_mutex_unlock(&lease->mutex);
	if (!news.finished && news.standby && lease->state != LEASE_STATE_CLOSING) {
		lease_on_standby(lease, &news); /* takes the pidfd */
		return;
	}
	fs_closep(&news.pidfd);
	if (news.finished)
		lease_on_finished(lease, &news);
}

/* Start the waiter; that it cannot be started is told like any other failure, from the loop. */
static void lease_start(struct lease *lease)
{
	int r;

	lease->unsure_left = LEASE_UNSURE_TRIES;
	r = lease_wait_start(lease);
	if (r == 0)
		return;
	(void)pthread_mutex_lock(&lease->mutex);
	lease->news.finished = true;
	lease->news.result = r;
	(void)error_errno(&lease->news.error, r,
			  "cannot take the lease of %s: cannot start a thread",
			  lease->paths.root);
	(void)pthread_mutex_unlock(&lease->mutex);
	(void)uv_async_send(&lease->async);
}

int lease_open(struct lease **out, uv_loop_t *loop, const char *root,
	       const struct lease_identity *who, const struct lease_events *events, void *arg)
{
	CLEANUP(freep) struct lease *lease = calloc(1, sizeof(*lease));
	int r;

	if (!lease)
		return -ENOMEM;
	r = lease_base_init(lease, root, who);
	if (r < 0)
		return r;
	r = uv_async_init(loop, &lease->async, lease_on_news);
	if (r == 0)
		r = uv_timer_init(loop, &lease->timer); /* never fails */
	if (r < 0) {
		lease_base_deinit(lease);
		return r;
	}
	lease->handles = 2;
	lease->async.data = lease;
	lease->timer.data = lease;
	lease->loop = loop;
	lease->events = *events;
	lease->arg = arg;
	lease->retry_ms = LEASE_RETRY_MIN_MS;
	lease->state = LEASE_STATE_COMPETING;
	lease_start(lease);
	*out = STEAL(lease);
	return 0;
}

void lease_step_down(struct lease *lease, const char *why)
{
	/* several jobs may report one loss: the second must not cost the new lease */
	if (lease->state != LEASE_STATE_OWNER || lease_check(lease, NULL) == 0)
		return;
	lease_release(lease);
	lease_move(lease, LEASE_STATE_COMPETING, why);
	lease_start(lease);
	lease->events.lost(lease->arg, why);
}

void lease_close(struct lease *lease, void (*done)(void *arg), void *arg)
{
	lease_move(lease, LEASE_STATE_CLOSING, "told to");
	lease->close_done = done;
	lease->close_arg = arg;
	(void)uv_timer_stop(&lease->timer);
	lease_watch_close(lease);
	lease_release(lease);
	if (!lease->thread_runs) {
		lease_close_handles(lease);
		return;
	}
	atomic_store(&lease->stop, true);
	lease_wait_kick(lease);
	(void)uv_timer_start(&lease->timer, lease_on_timer, LEASE_KICK_MS, 0);
}
