/*
 * Running git: argv only, no terminal, no questions, bounded in time and in what is read.
 *
 * Happy path: two pipes, one child in a session of its own, read both until the child is gone.
 * The end is the child's, not the end of file: a hook may leave a process in the background
 * that keeps the pipes open, and nobody waits for that one. Failure: past the bound the process
 * group gets SIGTERM, on which git removes what it had half done, then SIGKILL, and the call
 * says so.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fs.h"

#define GIT_TERM_MS 3000 /* for git to clean up after a time-out */

/* A daemon that was started from inside a repository must not lead git to that one. */
static bool git_is_dropped(const char *entry)
{
	static const char *const names[] = {
		"GIT_DIR=",        "GIT_WORK_TREE=",        "GIT_INDEX_FILE=",
		"GIT_COMMON_DIR=", "GIT_OBJECT_DIRECTORY=", "GIT_NAMESPACE=",
		"GIT_PREFIX=",     "GIT_TERMINAL_PROMPT=",  "LC_ALL=",
		"LANGUAGE=",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

int git_init(struct git *git, const struct launch_env *env)
{
	CLEANUP(freep) char *file = NULL;
	char *const *from = environ_plain(env);
	static char no_prompt[] = "GIT_TERMINAL_PROMPT=0";
	static char plain[] = "LC_ALL=C";
	size_t n = 0, count = 0;
	int r;

	*git = (struct git){ .timeout_ms = GIT_TIMEOUT_MS };
	r = spawn_find("git", environ_path(env), &file);
	if (r < 0)
		return r;
	while (from[n])
		n++;
	git->own = calloc(n + 3, sizeof(*git->own));
	if (!git->own)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!git_is_dropped(from[i]))
			git->own[count++] = from[i];
	git->own[count++] = no_prompt;
	git->own[count++] = plain;
	git->envp = git->own;
	git->file = STEAL(file);
	return 0;
}

void git_deinit(struct git *git)
{
	free(git->own);
	free((char *)git->file);
	*git = (struct git){ 0 };
}

/* One of git's two streams while it is read. */
struct git_stream {
	int fd;      /* our end of the pipe, -1 at its end */
	char *buf;   /* where the text goes */
	size_t room; /* of it, with the NUL */
	size_t len;  /* what is there */
	bool cut;    /* more came than there is room */
};

/* Read what is there now; more than fits is read too and dropped, so that git never waits. */
static void git_drain(struct git_stream *stream)
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
static int git_wait(int pidfd, struct git_stream *out, struct git_stream *err, int timeout_ms)
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
			git_drain(out);
		if (fds[2].revents)
			git_drain(err);
		if (fds[0].revents) {
			git_drain(out);
			git_drain(err);
			return 0;
		}
	}
}

static int git_pipe(struct git_stream *stream, char *buf, size_t room, int *theirs)
{
	int fds[2];

	*stream = (struct git_stream){ .fd = -1, .buf = buf, .room = room };
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	stream->fd = fds[0];
	*theirs = spawn_fd_high(fds[1]);
	if (*theirs < 0)
		return *theirs;
	/* ours only: git's end must block as pipes do */
	return fcntl(stream->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* Read, wait, reap; kill when something is wrong. */
static int git_finish(pid_t pid, struct git_stream *out, struct git_stream *err, int timeout_ms,
		      struct git_output *output)
{
	CLEANUP(fs_closep) int pidfd = spawn_pidfd(pid);
	int status = 0;
	int r = git_wait(pidfd, out, err, timeout_ms);

	/* our own unreaped child leads that group: the number cannot be anybody else's */
	if (r < 0) {
		(void)kill(-pid, SIGTERM);
		(void)git_wait(pidfd, out, err, GIT_TERM_MS);
		(void)kill(-pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	output->timed_out = r == -ETIMEDOUT;
	output->status = r == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	return r == -ETIMEDOUT ? 0 : r;
}

int git_run(const struct git *git, const char *const *args, struct git_output *output)
{
	struct git_stream out, err = { .fd = -1 };
	const char *argv[32] = { "git" };
	int out_fd = -1, err_fd = -1;
	size_t n = 1;
	pid_t pid;
	int r;

	for (size_t i = 0; args[i] && n < sizeof(argv) / sizeof(argv[0]) - 1; i++)
		argv[n++] = args[i];
	r = git_pipe(&out, output->out, sizeof(output->out), &out_fd);
	if (r == 0)
		r = git_pipe(&err, output->err, sizeof(output->err), &err_fd);
	if (r == 0) {
		const struct spawn how = {
			.file = git->file,
			.argv = (char *const *)argv,
			.envp = git->envp,
			.out = out_fd,
			.err = err_fd,
		};

		r = spawn_process(&how, &pid);
	}
	fs_closep(&out_fd);
	fs_closep(&err_fd);
	if (r == 0)
		r = git_finish(pid, &out, &err, git->timeout_ms, output);
	fs_closep(&out.fd);
	fs_closep(&err.fd);
	output->out[out.len] = '\0';
	output->out_len = out.len;
	output->out_cut = out.cut;
	output->err[err.len] = '\0';
	return r;
}

/* The last line that begins with "fatal:" or "error:", else the last line with text in it. */
const char *git_reason(struct git_output *output, char *buf, size_t size)
{
	const char *best = NULL;
	bool strong = false;
	char *save = NULL;

	if (output->timed_out)
		return "git did not end in time and was killed";
	for (char *line = strtok_r(output->err, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		bool marked =
			strncmp(line, "fatal: ", 7) == 0 || strncmp(line, "error: ", 7) == 0;

		if (line[strspn(line, " \t\r")] == '\0' || (strong && !marked))
			continue;
		best = marked ? line + 7 : line;
		strong = marked;
	}
	if (!best)
		return output->status < 0 ? "git was killed by a signal"
					  : "git failed and gave no reason";
	buf[0] = '\0';
	(void)strncat(buf, best, size - 1);
	return buf;
}
