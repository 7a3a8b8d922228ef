/*
 * The instance is read when it is readable, a few buffers at a time so that a flood of events
 * does not keep the loop. While a visit writes to a board the events are mostly its own, one
 * for each write: they are left to lie for a moment, which costs the writer no wake-up of the
 * loop between two writes, and the kernel makes one of many. Watches of several owners on one
 * folder share its descriptor, as the kernel has it: one per inode.
 */
#include "root/inotify.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/fs.h"

#define HASH_NONFATAL_OOM 1 /* a watch without memory is an error, not an exit */
#include <uthash.h>

#define INOTIFY_MASK                                                                           \
	(IN_ATTRIB | IN_CREATE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |       \
	 IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)
#define INOTIFY_READS   16 /* buffers in one turn of the loop */
#define INOTIFY_REST_MS 2

/* One watch of the kernel. */
struct inotify_folder {
	int wd;
	struct inotify_watch *first; /* who listens */
	UT_hash_handle hh;
};

struct inotify {
	uv_poll_t poll;
	uv_timer_t rest;                /* ends a rest */
	bool rests;                     /* wanted, or on */
	unsigned handles;               /* of the loop, that are not closed yet */
	int fd;                         /* owned */
	struct inotify_folder *folders; /* by wd */
};

static struct inotify_folder *inotify_find(struct inotify *in, int wd)
{
	struct inotify_folder *f = NULL;

	HASH_FIND_INT(in->folders, &wd, f);
	return f;
}

/* The kernel has dropped it, or is to. */
static void inotify_forget(struct inotify *in, struct inotify_folder *f)
{
	HASH_DEL(in->folders, f);
	free(f);
}

static void inotify_tell(struct inotify_folder *f, uint32_t mask, const char *name)
{
	struct inotify_watch *next;

	for (struct inotify_watch *w = f->first; w; w = next) {
		next = w->next;
		w->fn(w, mask, name);
	}
}

static void inotify_overflow(struct inotify *in)
{
	struct inotify_folder *f, *next;

	HASH_ITER(hh, in->folders, f, next)
	{
		inotify_tell(f, IN_Q_OVERFLOW, NULL);
	}
}

static void inotify_ignored(struct inotify *in, struct inotify_folder *f)
{
	struct inotify_watch *next, *w = f->first;

	inotify_forget(in, f);
	for (; w; w = next) {
		next = w->next;
		w->wd = 0;
		w->next = NULL;
		w->fn(w, IN_IGNORED, NULL);
	}
}

static void inotify_event(struct inotify *in, const struct inotify_event *event)
{
	struct inotify_folder *f;

	if (event->mask & IN_Q_OVERFLOW) {
		inotify_overflow(in);
		return;
	}
	f = inotify_find(in, event->wd);
	if (!f)
		return; /* of a watch that was removed meanwhile */
	if (event->mask & IN_IGNORED)
		inotify_ignored(in, f);
	else
		inotify_tell(f, event->mask, event->len ? event->name : NULL);
}

static void inotify_read(struct inotify *in)
{
	_Alignas(struct inotify_event) char buf[16384];

	for (int i = 0; i < INOTIFY_READS; i++) {
		ssize_t n = read(in->fd, buf, sizeof(buf));
		const struct inotify_event *event;

		if (n <= 0)
			return; /* EAGAIN; the rest comes in the next turn */
		for (ssize_t at = 0; at < n; at += (ssize_t)sizeof(*event) + event->len) {
			event = (const struct inotify_event *)(const void *)(buf + at);
			inotify_event(in, event);
		}
	}
}

static void inotify_rested(uv_timer_t *timer);

static void inotify_readable(uv_poll_t *poll, int status, int events)
{
	struct inotify *in = poll->data;

	(void)status;
	(void)events;
	in->rests = false;
	inotify_read(in);
	if (in->rests && uv_timer_start(&in->rest, inotify_rested, INOTIFY_REST_MS, 0) == 0)
		(void)uv_poll_stop(&in->poll);
}

void inotify_rest(struct inotify *in)
{
	in->rests = true;
}

void inotify_resume(struct inotify *in)
{
	if (!uv_is_active((uv_handle_t *)&in->rest))
		return;
	inotify_read(in);
	/* of a handle that was started before: it does not fail */
	if (uv_poll_start(&in->poll, UV_READABLE, inotify_readable) == 0)
		(void)uv_timer_stop(&in->rest);
}

static void inotify_rested(uv_timer_t *timer)
{
	struct inotify *in = timer->data;

	if (uv_poll_start(&in->poll, UV_READABLE, inotify_readable) != 0)
		(void)uv_timer_start(timer, inotify_rested, INOTIFY_REST_MS, 0);
}

int inotify_open(struct inotify **out, uv_loop_t *loop)
{
	struct inotify *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	r = in->fd < 0 ? -errno : uv_poll_init(loop, &in->poll, in->fd);
	if (r < 0) {
		fs_closep(&in->fd);
		free(in);
		return r;
	}
	in->poll.data = in->rest.data = in;
	r = uv_timer_init(loop, &in->rest);
	if (r == 0)
		r = uv_poll_start(&in->poll, UV_READABLE, inotify_readable);
	if (r < 0) {
		(void)inotify_close(in);
		return r;
	}
	*out = in;
	return 0;
}

static void inotify_closed(uv_handle_t *handle)
{
	struct inotify *in = handle->data;

	if (--in->handles > 0)
		return;
	fs_closep(&in->fd);
	free(in);
}

struct inotify *inotify_close(struct inotify *in)
{
	struct inotify_folder *f, *next;

	if (!in)
		return NULL;
	HASH_ITER(hh, in->folders, f, next)
	{
		for (struct inotify_watch *w = f->first; w; w = w->next)
			w->wd = 0;
		inotify_forget(in, f);
	}
	in->handles = 2;
	uv_close((uv_handle_t *)&in->poll, inotify_closed);
	uv_close((uv_handle_t *)&in->rest, inotify_closed);
	return NULL;
}

int inotify_watch(struct inotify *in, struct inotify_watch *watch, const char *path)
{
	int wd = inotify_add_watch(in->fd, path, INOTIFY_MASK);
	struct inotify_folder *f;

	if (wd < 0) {
		wd = -errno;
		inotify_unwatch(in, watch);
		return wd;
	}
	if (wd == watch->wd)
		return 0;
	inotify_unwatch(in, watch);
	f = inotify_find(in, wd);
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (!f) {
			(void)inotify_rm_watch(in->fd, wd);
			return -ENOMEM;
		}
		f->wd = wd;
		HASH_ADD_INT(in->folders, wd, f);
		if (inotify_find(in, wd) != f) {
			(void)inotify_rm_watch(in->fd, wd);
			free(f);
			return -ENOMEM;
		}
	}
	watch->wd = wd;
	watch->next = f->first;
	f->first = watch;
	return 0;
}

void inotify_unwatch(struct inotify *in, struct inotify_watch *watch)
{
	struct inotify_folder *f = watch->wd ? inotify_find(in, watch->wd) : NULL;

	watch->wd = 0;
	if (!f)
		return;
	for (struct inotify_watch **p = &f->first; *p; p = &(*p)->next)
		if (*p == watch) {
			*p = watch->next;
			break;
		}
	watch->next = NULL;
	if (f->first)
		return;
	(void)inotify_rm_watch(in->fd, f->wd); /* gone by itself: the same */
	inotify_forget(in, f);
}
