/*
 * A child beside the loop.
 *
 * Happy path: child_start() copies what is asked for and submits a job; the job puts the text
 * into a memory file, which is the child's standard input, so that nothing can block on a child
 * that does not read; it makes a pipe for what the child says and starts it. Back on the loop
 * the pidfd is polled for the end and the pipe for the last words; the end is reported once.
 *
 * The job, not the loop, starts the child, for its children count as those of a pool thread:
 * what the main thread finds among its own are orphans that it reaps.
 *
 * Failure modes: a child that cannot be started, or not be watched, is reported with the
 * reason. One that is killed while it is still being started is killed when it is there. What
 * it left running is not waited for; where the whole of it is to end, a job ends what bears its
 * number, in whatever session that is, before it is reported.
 *
 * Shutdown: the owner kills what is under way and waits for the reports.
 */
#include "process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/proc.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define CHILD_START_MS 60000 /* for the job that starts it */
#define CHILD_TAIL     512   /* bytes of its last words */
#define CHILD_READS    16    /* per wake-up, so that a babbling child cannot hold the loop */
#define CHILD_PASSES   8     /* looks for what it left behind */
#define CHILD_GRACE_MS 3000  /* from SIGTERM to SIGKILL */

struct child {
	struct job job;
	uv_loop_t *loop;
	child_done_fn done;
	void *arg;
	/* copies for the job */
	char **argv;
	char **names, **values; /* of the variables */
	size_t n_vars;
	char *profile, *input;
	const struct environment *environment;
	uint64_t limit_ms;
	bool whole;
	uint64_t number; /* that all it starts bears, 0: not whole */
	/* what the job came to */
	pid_t pid;
	int pidfd, out;
	/* loop */
	uv_poll_t exit_poll, out_poll;
	uv_timer_t timer;
	unsigned handles;
	char tail[CHILD_TAIL];
	size_t tail_len;
	bool started;
	int signal; /* that it is to get when it is there; 0 none */
	struct child_end end;
};

/* ---- starting: pool ------------------------------------------------------------------ */

/* A memory file with the text, read from its beginning. Return: a descriptor of 3 or higher, or
 * -errno. */
static int child_input(const char *text)
{
	CLEANUP(fs_closep) int fd = memfd_create("input", MFD_CLOEXEC);
	size_t len = strlen(text), done = 0;

	if (fd < 0)
		return -errno;
	while (done < len) {
		ssize_t n = pwrite(fd, text + done, len - done, (off_t)done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return spawn_fd_high(spawn_fd_steal(&fd));
}

static char **child_environ(const struct child *c)
{
	CLEANUP(freep)
	struct environ_var *vars = calloc(c->n_vars + 1, sizeof(*vars));

	if (!vars)
		return NULL;
	for (size_t i = 0; i < c->n_vars; i++)
		vars[i] = (struct environ_var){ c->names[i], c->values[i] };
	return environ_block(c->environment, c->profile, vars, c->n_vars);
}

static int child_spawn(struct child *c, const char *file, char *const *env)
{
	struct error *e = &c->end.error;
	CLEANUP(fs_closep) int in = c->input ? child_input(c->input) : -1;
	CLEANUP(fs_closep) int theirs = -1;
	struct spawn how = {
		.file = file, .argv = c->argv, .envp = env, .in = in, .run = c->number
	};
	int fds[2], r;

	if (c->input && in < 0)
		return error_errno(e, in, "cannot hand over its input");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "cannot make a pipe");
	c->out = fds[0];
	theirs = spawn_fd_high(fds[1]);
	if (theirs < 0)
		return error_errno(e, theirs, "cannot make a pipe");
	if (fcntl(c->out, F_SETFL, O_NONBLOCK) < 0)
		return error_errno(e, -errno, "cannot make a pipe");
	how.out = how.err = theirs;
	r = spawn_process(&how, &c->pid);
	if (r < 0)
		return error_errno(e, r, "cannot start %s", file);
	c->pidfd = spawn_pidfd(c->pid);
	if (c->pidfd >= 0)
		return 0;
	r = error_errno(e, c->pidfd, "cannot watch %s", file);
	c->pidfd = -1;
	spawn_undo(c->pid);
	c->pid = 0;
	return r;
}

static void child_work(struct job *job)
{
	struct child *c = container_of(job, struct child, job);
	CLEANUP(freep) char *file = NULL;
	CLEANUP(freep) char **env = NULL;
	const char *name = c->argv[0];
	int r = spawn_find(name, environ_path(c->environment), &file);

	if (r == -ENOENT && !strchr(name, '/')) {
		c->end.result =
			error_set(&c->end.error, r, "there is no program %s on PATH", name);
		return;
	}
	if (r < 0) {
		c->end.result = error_errno(&c->end.error, r, "cannot start %s", name);
		return;
	}
	env = child_environ(c);
	c->end.result = env ? child_spawn(c, file, env)
			    : error_set(&c->end.error, -ENOMEM, "out of memory");
}

/* ---- watching: loop ------------------------------------------------------------------ */

static void child_strv_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

static void child_free(struct child *c)
{
	fs_closep(&c->pidfd);
	fs_closep(&c->out);
	child_strv_free(c->argv);
	child_strv_free(c->names);
	child_strv_free(c->values);
	free(c->profile);
	free(c->input);
	free(c);
}

static void child_report(struct child *c)
{
	c->done(c->arg, &c->end);
	child_free(c);
}

static void child_closed(uv_handle_t *handle)
{
	struct child *c = handle->data;

	if (--c->handles == 0)
		child_report(c);
}

static void child_close(struct child *c)
{
	uv_handle_t *const all[] = { (uv_handle_t *)&c->timer, (uv_handle_t *)&c->exit_poll,
				     (uv_handle_t *)&c->out_poll };
	unsigned n = c->handles;

	for (unsigned i = 0; i < n && i < sizeof(all) / sizeof(all[0]); i++)
		uv_close(all[i], child_closed);
}

/* Read what is there, keep the end of it. */
static void child_read(struct child *c)
{
	char buf[4096];

	for (int i = 0; i < CHILD_READS; i++) {
		ssize_t n = read(c->out, buf, sizeof(buf));
		size_t keep, got;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0 || errno != EAGAIN)
				(void)uv_poll_stop(&c->out_poll); /* the end; always 0 */
			return;
		}
		got = (size_t)n < CHILD_TAIL ? (size_t)n : CHILD_TAIL;
		keep = c->tail_len + got <= CHILD_TAIL ? c->tail_len : CHILD_TAIL - got;
		(void)memmove(c->tail, c->tail + c->tail_len - keep, keep);
		(void)memcpy(c->tail + keep, buf + n - got, got);
		c->tail_len = keep + got;
	}
}

static void child_said(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	child_read(poll->data);
}

/* The last line that has something on it. */
static void child_last_words(struct child *c)
{
	size_t end = c->tail_len, from;

	while (end > 0 && strchr(" \t\r\n", c->tail[end - 1]))
		end--;
	from = end;
	while (from > 0 && c->tail[from - 1] != '\n')
		from--;
	(void)snprintf(c->end.words, sizeof(c->end.words), "%.*s", (int)(end - from),
		       c->tail + from);
	error_tidy(c->end.words, sizeof(c->end.words));
}

static void child_signal(const struct child *c, int sig)
{
	/* our own unreaped child leads that group: the number cannot be anybody else's */
	if (c->pid > 0)
		(void)kill(-c->pid, sig);
}

/* ---- what it left behind ------------------------------------------------------------- */

/* SIGKILL to all that bears its number. Return: to how many. */
static size_t child_end_left(uint64_t number)
{
	CLEANUP(freep) pid_t *pids = NULL;
	size_t count = 0, found = 0;

	if (proc_pids(&pids, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		CLEANUP(fs_closep) int pidfd = -1;
		struct proc_stat stat;

		if (proc_run_of(pids[i]) != number)
			continue;
		pidfd = spawn_pidfd(pids[i]);
		/* held: the number means the same process until it is signalled */
		if (pidfd < 0 || proc_run_of(pids[i]) != number ||
		    proc_stat(pids[i], &stat) < 0 || proc_is_dead(&stat))
			continue;
		if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0)
			found++;
	}
	return found;
}

/* Again while something is found: it may have started more meanwhile. */
static void child_left_work(struct job *job)
{
	struct child *c = container_of(job, struct child, job);

	for (int pass = 0; pass < CHILD_PASSES && child_end_left(c->number) > 0; pass++)
		;
}

static void child_left_done(struct job *job)
{
	child_close(container_of(job, struct child, job));
}

/* It has ended: report it, when nothing of it is left. */
static void child_over(struct child *c)
{
	(void)uv_poll_stop(&c->exit_poll); /* always 0 */
	(void)uv_poll_stop(&c->out_poll);  /* always 0 */
	(void)uv_timer_stop(&c->timer);    /* always 0 */
	if (!c->number || job_submit(c->job.jobs, &c->job, "child", child_left_work,
				     child_left_done, CHILD_START_MS) < 0)
		child_close(c);
}

static void child_exit(uv_poll_t *poll, int poll_status, int events)
{
	struct child *c = poll->data;
	siginfo_t info = { 0 };
	pid_t pid;

	(void)poll_status;
	(void)events;
	/* its group is ended before it is reaped: until then the number is its own */
	if (c->whole && waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid == c->pid)
		child_signal(c, SIGKILL);
	pid = waitpid(c->pid, &c->end.status, WNOHANG);
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	child_read(c);
	child_last_words(c);
	if (pid != c->pid)
		c->end.result =
			error_errno(&c->end.error, -errno, "its end was not to be seen");
	c->pid = 0;
	child_over(c);
}

static void child_grace_over(uv_timer_t *timer)
{
	child_signal(timer->data, SIGKILL);
}

static void child_end_soon(struct child *c)
{
	child_signal(c, SIGTERM);
	IGNORE(uv_timer_start(&c->timer, child_grace_over, CHILD_GRACE_MS,
			      0)); /* cannot fail */
}

static void child_limit(uv_timer_t *timer)
{
	struct child *c = timer->data;

	c->end.timed_out = true;
	child_end_soon(c);
}

static int child_poll(struct child *c)
{
	int r = uv_timer_init(c->loop, &c->timer);

	if (r < 0)
		return r;
	c->timer.data = c;
	c->handles = 1;
	r = uv_poll_init(c->loop, &c->exit_poll, c->pidfd);
	if (r < 0)
		return r;
	c->exit_poll.data = c;
	c->handles = 2;
	r = uv_poll_init(c->loop, &c->out_poll, c->out);
	if (r < 0)
		return r;
	c->out_poll.data = c;
	c->handles = 3;
	r = uv_poll_start(&c->exit_poll, UV_READABLE, child_exit);
	if (r == 0)
		r = uv_poll_start(&c->out_poll, UV_READABLE, child_said);
	if (r == 0 && c->limit_ms)
		r = uv_timer_start(&c->timer, child_limit, c->limit_ms, 0);
	return r;
}

static void child_started(struct job *job)
{
	struct child *c = container_of(job, struct child, job);
	int r;

	c->started = true;
	if (c->end.result < 0) {
		child_report(c);
		return;
	}
	r = child_poll(c);
	if (r < 0) { /* it was started and cannot be watched */
		child_signal(c, SIGKILL);
		(void)waitpid(c->pid, NULL, 0); /* killed: it ends at once */
		c->pid = 0;
		c->end.result = error_errno(&c->end.error, r, "cannot watch %s", c->argv[0]);
		if (c->handles > 0)
			child_close(c);
		else
			child_report(c);
	} else if (c->signal == SIGKILL) {
		child_signal(c, SIGKILL);
	} else if (c->signal) {
		child_end_soon(c);
	}
}

void child_kill(struct child *c)
{
	c->end.killed = true;
	c->signal = SIGKILL;
	if (c->started)
		child_signal(c, SIGKILL);
}

void child_term(struct child *c)
{
	c->end.killed = true;
	if (c->signal)
		return;
	c->signal = SIGTERM;
	if (c->started && c->pid > 0)
		child_end_soon(c);
}

/* ---- beginning ----------------------------------------------------------------------- */

/* A number that nothing else on this host bears: no two children are at one address at once. */
static uint64_t child_number(const struct child *c)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "child %p of %d", (const void *)c, (int)getpid());
	return proc_run_number(name, (int64_t)clock_mono_us());
}

static char **child_strv(size_t n)
{
	return calloc(n + 1, sizeof(char *));
}

static int child_copy(struct child *c, const struct child_how *how)
{
	size_t n = 0;

	while (how->argv[n])
		n++;
	c->argv = child_strv(n);
	c->names = child_strv(how->n_vars);
	c->values = child_strv(how->n_vars);
	if (!c->argv || !c->names || !c->values)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		c->argv[i] = strdup(how->argv[i]);
		if (!c->argv[i])
			return -ENOMEM;
	}
	for (size_t i = 0; i < how->n_vars; i++) {
		if (!how->vars[i].value)
			continue;
		c->names[c->n_vars] = strdup(how->vars[i].name);
		c->values[c->n_vars] = strdup(how->vars[i].value);
		if (!c->names[c->n_vars] || !c->values[c->n_vars])
			return -ENOMEM;
		c->n_vars++;
	}
	c->profile = how->profile ? strdup(how->profile) : NULL;
	c->input = how->input ? strdup(how->input) : NULL;
	if ((how->profile && !c->profile) || (how->input && !c->input))
		return -ENOMEM;
	return 0;
}

int child_start(struct child **out, uv_loop_t *loop, struct jobs *jobs,
		const struct child_how *how, child_done_fn done, void *arg)
{
	struct child *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->done = done;
	c->arg = arg;
	c->environment = how->environment;
	c->limit_ms = how->limit_ms;
	c->whole = how->whole;
	c->number = how->whole ? child_number(c) : 0;
	c->pidfd = c->out = -1;
	r = child_copy(c, how);
	if (r == 0)
		r = job_submit(jobs, &c->job, "child", child_work, child_started,
			       CHILD_START_MS);
	if (r < 0) {
		child_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void child_sentence(const struct child_end *end, char *out, size_t size)
{
	const char *words = end->words;

	if (end->result < 0)
		(void)snprintf(out, size, "%.*s", (int)size - 1, end->error.text);
	else if (end->timed_out)
		(void)snprintf(out, size, "it took too long and was ended%s%s",
			       words[0] ? "; its last words: " : "", words);
	else if (WIFSIGNALED(end->status))
		(void)snprintf(out, size, "killed by signal %d%s%s", WTERMSIG(end->status),
			       words[0] ? ": " : "", words);
	else if (WEXITSTATUS(end->status) != 0)
		(void)snprintf(out, size, "exit status %d%s%s", WEXITSTATUS(end->status),
			       words[0] ? ": " : "", words);
	else
		out[0] = '\0';
	error_tidy(out, size);
}
