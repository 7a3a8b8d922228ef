/*
 * Sending by child process.
 *
 * Happy path: start() copies the message and submits a job; the job puts the text into a memory
 * file, which is the child's standard input, so that nothing can block on a child that does not
 * read; it makes a pipe for what the child says and starts it. Back on the loop the pidfd is
 * polled for the end and the pipe for the last words; the end is reported once.
 *
 * The job, not the loop, starts the child, for its children count as those of a pool thread:
 * what the main thread finds among its own are orphans that it reaps.
 *
 * Failure modes: a child that cannot be started, or not be watched, is reported as worth trying
 * again. kill() ends the child's whole process group with SIGKILL; a child that is still being
 * started is killed when it is there. What the child left running in other sessions is not
 * waited for.
 *
 * Shutdown: the owner kills what is under way and waits for the reports.
 */
#include "notify/sender.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "notify/gateway.h"
#include "util/fs.h"

#define SENDER_LIMIT_MS 60000 /* for the job that starts a child */
#define SENDER_TAIL     512   /* bytes of a child's last words */
#define SENDER_READS    16    /* per wake-up, so that a babbling child cannot hold the loop */
#define SENDER_NAME_MAX 1024  /* bytes of a chat or thread id */

struct sender {
	uv_loop_t *loop;
	struct jobs *jobs;
	char *root;
	char *hermes;
	char *const *environ; /* borrowed */
};

/* One message under way. */
struct sending {
	struct job job;
	struct sender *sender;
	notify_ended_fn done;
	void *done_arg;
	/* copies for the job */
	char *hermes, *profile, *target, *text;
	/* what the job came to */
	int result;         /* 0, or -errno: not started */
	bool hopeless;      /* … and never will be */
	struct error error; /* … why */
	pid_t pid;
	int pidfd, out;
	/* loop */
	uv_poll_t exit_poll, out_poll;
	unsigned open_handles;
	char tail[SENDER_TAIL];
	size_t tail_len;
	bool started, reported;
	char killed[128]; /* why, "" if not */
	struct notify_ending ending;
};

/* ---- the child's surroundings --------------------------------------------------------------
 */

/* What belongs to somebody else: a chat session, a task, the service manager. */
static const char *const sender_dropped[] = {
	"HERMES_HOME=",
	"HERMES_PROFILE=",
	"HERMES_TUI=",
	"HERMES_UI_SESSION_ID=",
	"HERMES_SESSION_*",
	"HERMES_CRON_*",
	"HERMES_DELEGATED_CHILD_CONTEXT=",
	"HERMES_KANBAN_HOME=",
	"HERMES_KANBAN_TASK=",
	"HERMES_KANBAN_WORKSPACE=",
	"HERMES_KANBAN_DB=",
	"HERMES_KANBAN_BOARD=",
	"HERMES_KANBAN_RUN_ID=",
	"HERMES_KANBAN_CLAIM_LOCK=",
	"HERMES_KANBAN_BRANCH=",
	"HERMES_KANBAN_GOAL_*",
	"TERMINAL_CWD=",
	"NOTIFY_SOCKET=",
	"WATCHDOG_*",
	"LISTEN_*",
	"FDSTORE=",
	"JOURNAL_STREAM=",
	"INVOCATION_ID=",
	"MAINPID=",
	"MANAGERPID*",
	"SYSTEMD_EXEC_PID=",
	"RUNTIME_DIRECTORY=",
	"STATE_DIRECTORY=",
	"CACHE_DIRECTORY=",
	"LOGS_DIRECTORY=",
	"CONFIGURATION_DIRECTORY=",
	"CREDENTIALS_DIRECTORY=",
	"MEMORY_PRESSURE_*",
	"UV_THREADPOOL_SIZE=",
};

static bool sender_is_dropped(const char *entry)
{
	for (size_t i = 0; i < sizeof(sender_dropped) / sizeof(sender_dropped[0]); i++) {
		const char *name = sender_dropped[i];
		size_t n = strlen(name);

		n -= name[n - 1] == '*';
		if (strncmp(entry, name, n) == 0)
			return true;
	}
	return false;
}

static const char *sender_getenv(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* The vector is the caller's to free, and its first entry @home too; the rest is borrowed. */
static char **sender_env(const struct sending *m, char **home, char **kanban_home)
{
	const struct sender *s = m->sender;
	size_t n = 0, k = 0;
	char **env;

	*home = strcmp(m->profile, "default") == 0
			? fs_path("HERMES_HOME=%s", s->root)
			: fs_path("HERMES_HOME=%s/profiles/%s", s->root, m->profile);
	*kanban_home = fs_path("HERMES_KANBAN_HOME=%s", s->root);
	while (s->environ && s->environ[n])
		n++;
	env = reallocarray(NULL, n + 3, sizeof(*env));
	if (!env || !*home || !*kanban_home) {
		free(env);
		return NULL;
	}
	env[k++] = *home;
	/* where the daemon got its root this way: it may serve several */
	if (sender_getenv(s->environ, "HERMES_KANBAN_HOME"))
		env[k++] = *kanban_home;
	for (size_t i = 0; i < n; i++)
		if (!sender_is_dropped(s->environ[i]))
			env[k++] = s->environ[i];
	env[k] = NULL;
	return env;
}

static bool sender_runs(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0;
}

/* Which file is the program; relative entries of PATH do not count. */
static char *sender_find(const char *name, char *const *env)
{
	const char *path = sender_getenv(env, "PATH");

	if (strchr(name, '/'))
		return strdup(name);
	for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");
		char *file = p[0] == '/' ? fs_path("%.*s/%s", (int)n, p, name) : NULL;

		if (file && sender_runs(file))
			return file;
		free(file);
		p += n + (p[n] == ':');
	}
	return NULL;
}

/* ---- starting: pool ------------------------------------------------------------------------
 */

/* Out of 0, 1, 2, so that no step of the child's set-up overwrites one that it needs. */
static int sender_high(int fd)
{
	int high;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	(void)close(fd);
	return high;
}

/* A memory file with the text, read from its beginning. -1 and errno. */
static int sender_input(const char *text)
{
	int fd = sender_high(memfd_create("message", MFD_CLOEXEC));
	size_t len = strlen(text), done = 0;

	while (fd >= 0 && done < len) {
		ssize_t n = pwrite(fd, text + done, len - done, (off_t)done);

		if (n < 0 && errno != EINTR) {
			int saved = errno;

			(void)close(fd);
			errno = saved;
			return -1;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	return fd;
}

static int sender_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)memset(&all, 0xFF, sizeof(all)); /* those too that sigfillset() leaves out */
	r = posix_spawnattr_setsigmask(attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
							   POSIX_SPAWN_SETSIGDEF);
	return r;
}

static int sender_exec(const char *file, char *const *argv, char *const *env, int in, int out,
		       pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r == 0) {
		r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
		if (r == 0)
			r = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
		if (r == 0)
			r = sender_attributes(&attr);
		if (r == 0)
			r = posix_spawn(pid, file, &actions, &attr, argv, env);
		(void)posix_spawnattr_destroy(&attr);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Start the child with its two descriptors. Return: 0 or -errno with m->error. */
static int sender_spawn(struct sending *m, const char *file, char *const *env)
{
	char *const argv[] = { m->hermes,
			       (char[]){ "-p" },
			       m->profile,
			       (char[]){ "send" },
			       (char[]){ "--to" },
			       m->target,
			       (char[]){ "--file" },
			       (char[]){ "-" },
			       NULL };
	CLEANUP(fs_closep) int in = sender_input(m->text);
	CLEANUP(fs_closep) int theirs = -1;
	int fds[2], r;

	if (in < 0)
		return error_errno(&m->error, -errno, "cannot hand over the message");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_errno(&m->error, -errno, "cannot make a pipe");
	m->out = fds[0];
	theirs = sender_high(fds[1]);
	if (theirs < 0 || fcntl(m->out, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(&m->error, -errno, "cannot make a pipe");
	r = sender_exec(file, argv, env, in, theirs, &m->pid);
	if (r < 0)
		return error_errno(&m->error, r, "cannot start %s", file);
	m->pidfd = (int)syscall(SYS_pidfd_open, m->pid, 0);
	if (m->pidfd < 0) {
		r = error_errno(&m->error, -errno, "cannot watch %s", file);
		(void)kill(-m->pid, SIGKILL);
		while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
			;
		m->pid = 0;
		return r;
	}
	return 0;
}

static void sending_work(struct job *job)
{
	struct sending *m = (struct sending *)job;
	CLEANUP(freep) char *file = sender_find(m->hermes, m->sender->environ);
	CLEANUP(freep) char *home = NULL;
	CLEANUP(freep) char *kanban_home = NULL;
	CLEANUP(freep) char **env = NULL;

	if (!file) {
		m->result = error_set(&m->error, -ENOENT,
				      "there is no program %s on PATH; set [worker] hermes",
				      m->hermes);
		return;
	}
	env = sender_env(m, &home, &kanban_home);
	if (!env)
		m->result = error_set(&m->error, -ENOMEM, "out of memory");
	else
		m->result = sender_spawn(m, file, env);
}

/* ---- watching: loop ------------------------------------------------------------------------
 */

static void sending_free(struct sending *m)
{
	fs_closep(&m->pidfd);
	fs_closep(&m->out);
	free(m->hermes);
	free(m->profile);
	free(m->target);
	free(m->text);
	free(m);
}

static void sending_report(struct sending *m)
{
	m->reported = true;
	m->done(m->done_arg, &m->ending);
}

static void sending_closed(uv_handle_t *handle)
{
	struct sending *m = handle->data;

	if (--m->open_handles > 0)
		return;
	sending_report(m);
	sending_free(m);
}

static void sending_close(struct sending *m)
{
	uv_close((uv_handle_t *)&m->exit_poll, sending_closed);
	uv_close((uv_handle_t *)&m->out_poll, sending_closed);
}

/* Read what is there, keep the end of it. */
static void sending_read(struct sending *m)
{
	char buf[4096];

	for (int i = 0; i < SENDER_READS; i++) {
		ssize_t n = read(m->out, buf, sizeof(buf));
		size_t keep, got;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0 || errno != EAGAIN)
				(void)uv_poll_stop(&m->out_poll); /* the end; always 0 */
			return;
		}
		got = (size_t)n < SENDER_TAIL ? (size_t)n : SENDER_TAIL;
		keep = m->tail_len + got <= SENDER_TAIL ? m->tail_len : SENDER_TAIL - got;
		(void)memmove(m->tail, m->tail + m->tail_len - keep, keep);
		(void)memcpy(m->tail + keep, buf + n - got, got);
		m->tail_len = keep + got;
	}
}

static void sending_out(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	sending_read(poll->data);
}

/* The last line that has something on it. */
static void sending_last_words(const struct sending *m, char *buf, size_t size)
{
	size_t end = m->tail_len, from;

	while (end > 0 && strchr(" \t\r\n", m->tail[end - 1]))
		end--;
	from = end;
	while (from > 0 && m->tail[from - 1] != '\n')
		from--;
	(void)snprintf(buf, size, "%.*s", (int)(end - from), m->tail + from);
	error_tidy(buf, size);
}

static void sending_judge(struct sending *m, int status)
{
	struct notify_ending *e = &m->ending;
	char words[160];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		e->fate = NOTIFY_DELIVERED;
		return;
	}
	sending_last_words(m, words, sizeof(words));
	e->fate =
		WIFEXITED(status) && WEXITSTATUS(status) == 2 ? NOTIFY_HOPELESS : NOTIFY_RETRY;
	if (m->killed[0])
		(void)snprintf(e->reason, sizeof(e->reason), "%s", m->killed);
	else if (WIFEXITED(status))
		(void)snprintf(e->reason, sizeof(e->reason), "hermes send: exit status %d%s%s",
			       WEXITSTATUS(status), words[0] ? ": " : "", words);
	else
		(void)snprintf(e->reason, sizeof(e->reason), "hermes send: killed by signal %d",
			       WTERMSIG(status));
	if (m->killed[0])
		e->fate = NOTIFY_RETRY;
	error_tidy(e->reason, sizeof(e->reason));
}

static void sending_exit(uv_poll_t *poll, int poll_status, int events)
{
	struct sending *m = poll->data;
	int status = 0;
	pid_t pid = waitpid(m->pid, &status, WNOHANG);

	(void)poll_status;
	(void)events;
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	sending_read(m);
	if (pid == m->pid) {
		sending_judge(m, status);
	} else {
		m->ending.fate = NOTIFY_RETRY;
		(void)snprintf(m->ending.reason, sizeof(m->ending.reason),
			       "hermes send: its end was not to be seen: %s", strerror(errno));
	}
	m->pid = 0;
	sending_close(m);
}

static void sending_signal(const struct sending *m)
{
	/* our own unreaped child leads that group: the number cannot be anybody else's */
	if (m->pid > 0)
		(void)kill(-m->pid, SIGKILL);
}

static int sending_poll(struct sending *m)
{
	int r = uv_poll_init(m->sender->loop, &m->exit_poll, m->pidfd);

	if (r < 0)
		return r;
	m->exit_poll.data = m;
	m->open_handles = 1;
	r = uv_poll_init(m->sender->loop, &m->out_poll, m->out);
	if (r < 0)
		return r;
	m->out_poll.data = m;
	m->open_handles = 2;
	r = uv_poll_start(&m->exit_poll, UV_READABLE, sending_exit);
	return r < 0 ? r : uv_poll_start(&m->out_poll, UV_READABLE, sending_out);
}

/* It was started and cannot be watched. */
static void sending_give_up(struct sending *m, int r)
{
	sending_signal(m);
	(void)waitpid(m->pid, NULL, 0); /* killed: it ends at once */
	m->ending.fate = NOTIFY_RETRY;
	(void)snprintf(m->ending.reason, sizeof(m->ending.reason), "cannot watch hermes: %s",
		       strerror(-r));
	if (m->open_handles == 2) {
		sending_close(m);
	} else if (m->open_handles == 1) {
		uv_close((uv_handle_t *)&m->exit_poll, sending_closed);
	} else {
		sending_report(m);
		sending_free(m);
	}
}

static void sending_done(struct job *job)
{
	struct sending *m = (struct sending *)job;
	int r;

	m->started = true;
	if (m->result < 0) {
		m->ending.fate = m->hopeless ? NOTIFY_HOPELESS : NOTIFY_RETRY;
		(void)snprintf(m->ending.reason, sizeof(m->ending.reason), "%.255s",
			       m->error.text);
		error_tidy(m->ending.reason, sizeof(m->ending.reason));
		sending_report(m);
		sending_free(m);
		return;
	}
	r = sending_poll(m);
	if (r < 0)
		sending_give_up(m, r);
	else if (m->killed[0])
		sending_signal(m);
}

/* ---- the seam ------------------------------------------------------------------------------
 */

/* Text of at most @max bytes without control characters, of @letters only where given. */
static bool sender_plain(const char *s, const char *letters, size_t max)
{
	size_t n = strlen(s);

	if (n == 0 || n > max)
		return false;
	if (letters)
		return strspn(s, letters) == n;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
			return false;
	return true;
}

/* Can a command line name that? The reason why not is kept for the report. */
static void sending_check(struct sending *m, const struct notify_message *msg)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-.";
	char name[GATEWAY_NAME_SIZE];

	if (!gateway_name(msg->profile, name) || !name[0])
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no name of a profile",
				msg->profile);
	else if (!sender_plain(msg->platform, letters, 64) || msg->platform[0] == '-')
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no name of a platform",
				msg->platform);
	else if (!sender_plain(msg->chat, NULL, SENDER_NAME_MAX))
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no chat", msg->chat);
	else if (msg->thread[0] && !sender_plain(msg->thread, NULL, SENDER_NAME_MAX))
		(void)error_set(&m->error, -EINVAL, "\"%.80s\" is no thread", msg->thread);
	m->hopeless = m->error.code != 0;
	m->result = m->error.code;
}

static void sending_nothing(struct job *job)
{
	(void)job; /* only the way back to the loop is wanted */
}

static int sender_start(void *arg, const struct notify_message *msg, notify_ended_fn done,
			void *done_arg, void **handle)
{
	struct sender *s = arg;
	struct sending *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (!m)
		return r;
	*m = (struct sending){ .sender = s,
			       .done = done,
			       .done_arg = done_arg,
			       .pidfd = -1,
			       .out = -1,
			       .hermes = strdup(s->hermes),
			       .profile = strdup(msg->profile),
			       .target = fs_path("%s:%s%s%s", msg->platform, msg->chat,
						 msg->thread[0] ? ":" : "", msg->thread),
			       .text = strdup(msg->text) };
	sending_check(m, msg);
	if (m->hermes && m->profile && m->target && m->text)
		r = job_submit(s->jobs, &m->job, "send",
			       m->hopeless ? sending_nothing : sending_work, sending_done,
			       SENDER_LIMIT_MS);
	if (r < 0) {
		sending_free(m);
		return r;
	}
	*handle = m;
	return 0;
}

static void sender_kill(void *arg, void *handle, const char *reason)
{
	struct sending *m = handle;

	(void)arg;
	if (m->reported || m->killed[0])
		return;
	(void)snprintf(m->killed, sizeof(m->killed), "%s", reason);
	if (m->started)
		sending_signal(m);
}

struct notify_sender sender_seam(struct sender *s)
{
	return (struct notify_sender){ .start = sender_start, .kill = sender_kill, .arg = s };
}

int sender_new(struct sender **out, uv_loop_t *loop, struct jobs *jobs, const char *root,
	       const char *hermes, char *const *env)
{
	CLEANUP(sender_freep) struct sender *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->jobs = jobs;
	s->environ = env;
	s->root = strdup(root);
	s->hermes = strdup(hermes);
	if (!s->root || !s->hermes)
		return -ENOMEM;
	*out = STEAL(s);
	return 0;
}

int sender_set_hermes(struct sender *s, const char *hermes)
{
	char *copy = strdup(hermes);

	if (!copy)
		return -ENOMEM;
	free(s->hermes);
	s->hermes = copy;
	return 0;
}

struct sender *sender_free(struct sender *s)
{
	if (!s)
		return NULL;
	free(s->hermes);
	free(s->root);
	free(s);
	return NULL;
}
