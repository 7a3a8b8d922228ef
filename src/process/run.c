/*
 * Running a program for what it says: argv only, no terminal, bounded in time and in what is
 * read.
 *
 * Happy path: two pipes, one child in a session of its own, read both until the child is gone.
 * The end is the child's, not the end of file: it may leave a process in the background that
 * keeps the pipes open, and nobody waits for that one. Failure: past the bound the process
 * group gets SIGTERM, on which git removes what it had half done, then SIGKILL, and the call
 * says so.
 */
#include "process/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define RUN_TERM_MS 3000 /* to clean up after a time-out */

/* One of the program's two streams while it is read. */
struct run_stream {
	int fd;      /* our end of the pipe, -1 at its end */
	char *buf;   /* where the text goes */
	size_t room; /* of it, with the NUL */
	size_t len;  /* what is there */
	bool cut;    /* more came than there is room */
};

/* Read what is there now; more than fits is read too and dropped, so that it never waits. */
static void run_drain(struct run_stream *stream)
{
	char waste[4096];

	while (stream->fd >= 0) {
		size_t room = stream->room - 1 - stream->len;
		ssize_t n = read(stream->fd, room ? stream->buf + stream->len : waste,
				 room ? room : sizeof(waste));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fs_closep(&stream->fd);
			return;
		}
		if (room)
			stream->len += (size_t)n;
		else
			stream->cut = true;
	}
}

/*
 * Read both streams until the child is gone; without a pidfd (-1: too many open files, a kernel
 * that has none), until both have ended. Return: 0, or -ETIMEDOUT.
 */
static int run_wait(int pidfd, struct run_stream *out, struct run_stream *err, int timeout_ms)
{
	uint64_t end = clock_mono_ms() + (uint64_t)timeout_ms;

	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = out->fd, .events = POLLIN },
			{ .fd = err->fd, .events = POLLIN },
		};
		uint64_t now = clock_mono_ms();
		int n;

		if (pidfd < 0 && out->fd < 0 && err->fd < 0)
			return 0;
		n = now < end ? poll(fds, 3, (int)(end - now)) : 0;

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		if (n == 0)
			return -ETIMEDOUT;
		if (fds[1].revents)
			run_drain(out);
		if (fds[2].revents)
			run_drain(err);
		if (fds[0].revents) {
			run_drain(out);
			run_drain(err);
			return 0;
		}
	}
}

static int run_pipe(struct run_stream *stream, char *buf, size_t room, int *theirs)
{
	int fds[2];

	*stream = (struct run_stream){ .fd = -1, .buf = buf, .room = room };
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	stream->fd = fds[0];
	*theirs = spawn_fd_high(fds[1]);
	if (*theirs < 0)
		return *theirs;
	/* ours only: theirs must block as pipes do */
	return fcntl(stream->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* Read, wait, reap; kill when something is wrong. */
static int run_finish(pid_t pid, struct run_stream *out, struct run_stream *err, int timeout_ms,
		      struct run_output *output)
{
	CLEANUP(fs_closep) int pidfd = spawn_pidfd(pid);
	int status = 0;
	int r = run_wait(pidfd, out, err, timeout_ms);

	/* our own unreaped child leads that group: the number cannot be anybody else's */
	if (r < 0) {
		(void)kill(-pid, SIGTERM);
		(void)run_wait(pidfd, out, err, RUN_TERM_MS);
		(void)kill(-pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	output->timed_out = r == -ETIMEDOUT;
	output->status = r == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return r == -ETIMEDOUT ? 0 : r;
}

int run_program(const struct run *run, struct run_output *output)
{
	struct run_stream out, err = { .fd = -1 };
	int out_fd = -1, err_fd = -1;
	pid_t pid;
	int r = run_pipe(&out, output->out, sizeof(output->out), &out_fd);

	if (r == 0)
		r = run_pipe(&err, output->err, sizeof(output->err), &err_fd);
	if (r == 0) {
		const struct spawn how = {
			.file = run->file,
			.argv = run->argv,
			.envp = run->envp,
			.out = out_fd,
			.err = err_fd,
		};

		r = spawn_process(&how, &pid);
	}
	fs_closep(&out_fd);
	fs_closep(&err_fd);
	if (r == 0)
		r = run_finish(pid, &out, &err, run->timeout_ms, output);
	fs_closep(&out.fd);
	fs_closep(&err.fd);
	output->out[out.len] = '\0';
	output->out_len = out.len;
	output->out_cut = out.cut;
	output->err[err.len] = '\0';
	return r;
}
