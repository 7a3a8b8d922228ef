/*
 * Watching a process until it ends.
 *
 * Happy path: the pidfd of a child becomes readable when the child is a zombie; waitid() on
 * that very descriptor reaps it, so no other child can be taken by mistake, and tells how it
 * ended.
 *
 * A process that is not our child (adopted after a restart) is reaped by its parent. Its pidfd
 * becomes readable a moment before that, and from Linux 6.15 on tells the exit status once the
 * parent has looked: so it is asked again for a quarter of a second. A parent that does not
 * look by then, or an older kernel, leaves the end unknown.
 *
 * A child that a debugger follows is not ours to reap until the debugger lets go: asked again,
 * too, for as long as that takes.
 *
 * Shutdown: watch_close() at any time, also from inside the callback; it frees itself when
 * libuv has let go of both handles.
 */
#include "launch/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/spawn.h"
#include "util/fs.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

/*
 * The first version (64 bytes) of the kernel's struct pidfd_info, and the ioctl that fills it:
 * include/uapi/linux/pidfd.h. Written down here because the headers of the distribution are
 * older than the kernels that it runs on. The size is part of the ioctl's number, and a later
 * kernel takes every size from this one on.
 */
struct ending_pidfd_info {
	uint64_t mask;     /* in: what is asked; out: what was answered */
	uint64_t cgroupid; /* not used */
	uint32_t ids[11];  /* pid, tgid, ppid, real to file system uid and gid; not used */
	int32_t exit_code; /* as a wait status; only with ENDING_INFO_EXIT in @mask */
};
#define ENDING_INFO_EXIT (1ULL << 3)                               /* PIDFD_INFO_EXIT */
#define ENDING_GET_INFO  _IOWR(0xFF, 11, struct ending_pidfd_info) /* PIDFD_GET_INFO */
_Static_assert(sizeof(struct ending_pidfd_info) == 64, "the kernel's PIDFD_INFO_SIZE_VER0");

#define WATCH_RETRY_MAX_MS 128 /* 1 + 2 + … + 128 ms: the quarter of a second */

struct watch {
	uv_poll_t poll;    /* on pidfd */
	uv_timer_t again;  /* asks again, see above */
	uint64_t again_ms; /* next pause */
	unsigned handles;  /* of libuv that are not closed yet */
	pid_t pid;
	int pidfd; /* owned */
	watch_fn fn;
	void *arg; /* of fn */
};

/* What a look at an ended process came to. */
enum watch_look {
	WATCH_KNOWN, /* reaped, or told by the kernel */
	WATCH_LATER, /* not to be had yet, will be */
	WATCH_MAYBE, /* not to be had yet, may never be */
	WATCH_NEVER, /* this kernel does not tell */
};

static void watch_from_status(int status, struct ending *ending)
{
	if (WIFSIGNALED(status))
		*ending = (struct ending){ .kind = ENDING_SIGNALED, .value = WTERMSIG(status) };
	else
		*ending =
			(struct ending){ .kind = ENDING_EXITED, .value = WEXITSTATUS(status) };
}

static enum watch_look watch_ask_kernel(int pidfd, struct ending *ending)
{
	struct ending_pidfd_info info = { .mask = ENDING_INFO_EXIT };

	/* ENOTTY, EINVAL, ESRCH: a kernel that keeps no end of what is reaped */
	if (ioctl(pidfd, ENDING_GET_INFO, &info) < 0)
		return WATCH_NEVER;
	if (!(info.mask & ENDING_INFO_EXIT))
		return WATCH_MAYBE;
	watch_from_status(info.exit_code, ending);
	return WATCH_KNOWN;
}

static enum watch_look watch_look(struct watch *watch, struct ending *ending)
{
	siginfo_t info = { 0 };
	int r;

	do
		r = waitid((idtype_t)P_PIDFD, (id_t)watch->pidfd, &info, WEXITED | WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return watch_ask_kernel(watch->pidfd, ending);
	if (info.si_pid == 0)
		return WATCH_LATER;
	if (info.si_code == CLD_EXITED)
		*ending = (struct ending){ .kind = ENDING_EXITED, .value = info.si_status };
	else
		*ending = (struct ending){ .kind = ENDING_SIGNALED, .value = info.si_status };
	return WATCH_KNOWN;
}

static void watch_ended(struct watch *watch);

static void watch_again(uv_timer_t *timer)
{
	watch_ended(timer->data);
}

static void watch_ended(struct watch *watch)
{
	struct ending ending = { .kind = ENDING_UNKNOWN, .value = 0 };
	enum watch_look look = watch_look(watch, &ending);
	uint64_t pause = watch->again_ms;

	if (look == WATCH_LATER || (look == WATCH_MAYBE && pause <= WATCH_RETRY_MAX_MS)) {
		if (pause > WATCH_RETRY_MAX_MS)
			pause = WATCH_RETRY_MAX_MS;
		watch->again_ms = pause * 2;
		/* cannot fail on an open timer with a callback; unknown is better than never */
		if (uv_timer_start(&watch->again, watch_again, pause, 0) == 0)
			return;
	}
	watch->fn(watch->arg, watch, ending);
}

static void watch_poll(uv_poll_t *poll, int status, int events)
{
	(void)status; /* an error is a pidfd that will say no more: look, and report */
	(void)events;
	(void)uv_poll_stop(poll);
	watch_ended(poll->data);
}

static void watch_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	if (--watch->handles == 0)
		free(watch);
}

int watch_open(struct watch **out, uv_loop_t *loop, pid_t pid, int pidfd, watch_fn fn,
	       void *arg)
{
	CLEANUP(fs_closep) int fd = pidfd;
	struct watch *watch;
	int r;

	if (fd < 0)
		fd = spawn_pidfd(pid);
	if (fd < 0)
		return fd;
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->pid = pid;
	watch->fn = fn;
	watch->arg = arg;
	watch->again_ms = 1;
	watch->poll.data = watch;
	watch->again.data = watch;
	r = uv_poll_init(loop, &watch->poll, fd);
	if (r < 0) {
		free(watch);
		return r;
	}
	watch->pidfd = spawn_fd_steal(&fd);
	watch->handles = 2;
	(void)uv_timer_init(loop, &watch->again); /* cannot fail */
	r = uv_poll_start(&watch->poll, UV_READABLE, watch_poll);
	if (r < 0) {
		(void)watch_close(watch);
		return r;
	}
	*out = watch;
	return 0;
}

struct watch *watch_close(struct watch *watch)
{
	if (!watch || uv_is_closing((uv_handle_t *)&watch->poll))
		return NULL;
	uv_close((uv_handle_t *)&watch->again, watch_closed);
	uv_close((uv_handle_t *)&watch->poll, watch_closed);
	fs_closep(&watch->pidfd);
	return NULL;
}
