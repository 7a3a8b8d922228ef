/*
 * timerfd_create(2): a timer of CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET becomes readable
 * with ECANCELED at every jump of that clock. Ours never rings: it stands in a far year.
 */
#include "daemon/clockwatch.h"

#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

#include "util/fs.h"

#define CLOCKWATCH_YEAR_S ((time_t)253402300799) /* the end of 9999 */

static int clockwatch_arm(const struct clockwatch *cw)
{
	const struct itimerspec never = { .it_value = { .tv_sec = CLOCKWATCH_YEAR_S } };

	return timerfd_settime(cw->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never,
			       NULL) < 0
		       ? -errno
		       : 0;
}

static void clockwatch_readable(uv_poll_t *poll, int status, int events)
{
	struct clockwatch *cw = poll->data;
	uint64_t rang;

	(void)status;
	(void)events;
	if (read(cw->fd, &rang, sizeof(rang)) < 0 && errno == EAGAIN)
		return;
	if (clockwatch_arm(cw) < 0) /* then the sweeps have to find what is due */
		(void)uv_poll_stop(poll);
	cw->set(cw->arg);
}

int clockwatch_init(struct clockwatch *cw, uv_loop_t *loop, void (*set)(void *arg), void *arg)
{
	int r;

	*cw = (struct clockwatch){ .set = set, .arg = arg };
	cw->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (cw->fd < 0)
		return -errno;
	r = clockwatch_arm(cw);
	if (r == 0)
		r = uv_poll_init(loop, &cw->poll, cw->fd);
	if (r < 0) {
		fs_closep(&cw->fd);
		return r;
	}
	cw->open = true;
	cw->poll.data = cw;
	r = uv_poll_start(&cw->poll, UV_READABLE, clockwatch_readable);
	if (r < 0)
		clockwatch_close(cw);
	return r;
}

static void clockwatch_closed(uv_handle_t *handle)
{
	struct clockwatch *cw = handle->data;

	fs_closep(&cw->fd);
}

void clockwatch_close(struct clockwatch *cw)
{
	if (!cw->open)
		return;
	cw->open = false;
	uv_close((uv_handle_t *)&cw->poll, clockwatch_closed);
}
