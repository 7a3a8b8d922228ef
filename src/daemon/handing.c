/*
 * Handing a root over.
 *
 * Happy path: a second root of the same path is made, which does nothing yet; the first is
 * stopped as at a shutdown, so that no claim is under way when the lease is given back. The
 * kernel wakes who waits for it. When the owner file names another process that has the lock,
 * the second root competes, which makes it a standby.
 *
 * It must not compete before: flock(2) has no queue, and this process would win it back.
 *
 * Failure modes: nobody takes it within HANDING_WAIT_MS: this process competes again, and owns
 * it. The daemon stops meanwhile: see handing_cancel().
 */
#include "daemon/handing.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "util/log.h"

#define HANDING_LOOK_MS 10
#define HANDING_WAIT_MS 5000

struct handing {
	struct root **slot;
	struct root *next; /* NULL once it is in the slot */
	int64_t epoch;     /* that ends */
	uint64_t until_ms; /* uv_now() */
	uv_timer_t timer;  /* from the begin on */
	struct leader now;
	handing_done_fn done;
	void *arg;
	/* canceled */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void handing_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void handing_end(struct handing *h, int r)
{
	handing_done_fn done = h->done;

	h->done = NULL;
	if (done)
		done(h->arg, r, &h->now);
	uv_close((uv_handle_t *)&h->timer, handing_closed);
}

/* Is another the owner, and has it said so */
static bool handing_taken(struct handing *h)
{
	if (leader_look((*h->slot)->path, &h->now) < 0 || !h->now.held)
		return false;
	/* who is not a kanband never says so, and who is not seen may not */
	return (h->now.kanband && h->now.owner.epoch > h->epoch) ||
	       (!h->now.kanband && h->now.pid != getpid() && h->now.pid != h->now.owner.pid &&
		h->until_ms - uv_now(h->timer.loop) < HANDING_WAIT_MS / 2);
}

static void handing_look(uv_timer_t *timer)
{
	struct handing *h = timer->data;
	bool taken = handing_taken(h);
	int r;

	if (!taken && uv_now(timer->loop) < h->until_ms)
		return;
	IGNORE(uv_timer_stop(timer)); /* always 0 */
	r = root_start(*h->slot);
	if (r < 0)
		log_error("cannot compete for %s any more: %s; restart the daemon",
			  (*h->slot)->path, strerror(-r));
	handing_end(h, taken ? 0 : -ETIMEDOUT);
}

static void handing_given(void *arg)
{
	struct handing *h = arg;

	root_free(*h->slot);
	*h->slot = STEAL(h->next);
	h->until_ms = uv_now(h->timer.loop) + HANDING_WAIT_MS;
	/* cannot fail */
	IGNORE(uv_timer_start(&h->timer, handing_look, HANDING_LOOK_MS, HANDING_LOOK_MS));
}

int handing_start(struct handing **out, struct root **slot, handing_done_fn done, void *arg)
{
	struct handing *h = calloc(1, sizeof(*h));
	struct root *root = *slot;
	int r;

	if (!h)
		return -ENOMEM;
	r = root_new(&h->next, root->env, root->path);
	if (r < 0) {
		free(h);
		return r;
	}
	IGNORE(uv_timer_init(root->env->loop, &h->timer)); /* always 0 */
	h->timer.data = h;
	h->slot = slot;
	h->epoch = root->epoch;
	h->done = done;
	h->arg = arg;
	*out = h;
	root_yield(root, handing_given, h);
	return 0;
}

static void handing_next_stopped(void *arg)
{
	struct handing *h = arg;

	root_free(h->next);
	h->stopped(h->stopped_arg);
	uv_close((uv_handle_t *)&h->timer, handing_closed);
}

void handing_cancel(struct handing *h, void (*stopped)(void *arg), void *arg)
{
	handing_done_fn done = h->done;

	h->done = NULL;
	done(h->arg, -ECANCELED, &h->now);
	IGNORE(uv_timer_stop(&h->timer)); /* always 0 */
	if (!h->next) {
		stopped(arg);
		uv_close((uv_handle_t *)&h->timer, handing_closed);
		return;
	}
	h->stopped = stopped;
	h->stopped_arg = arg;
	root_stop(h->next, handing_next_stopped, h);
}
