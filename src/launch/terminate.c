/*
 * Ending a worker with everything it started.
 *
 * Who belongs to it is found in /proc: what carries the run's variables, what is in the
 * worker's session, and what descends from it, while it lives. Each is held by a pidfd from
 * then on, so that every signal reaches the process that was looked at or nobody, whatever
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
#include "launch/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch.h"
#include "process/proc.h"
#include "util/clock.h"
#include "util/fs.h"

#define TERMINATE_KILL_WAIT_MS 2000
#define TERMINATE_PASSES       16         /* of looking for what was started meanwhile */
#define TERMINATE_WORKER       UINT64_MAX /* the worker's mark in the epoll */

#define TERMINATE_TO_GROUP (1U << 2) /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */

/* A process of the run other than the worker. */
struct terminate_member {
	pid_t pid;
	uint64_t start; /* with pid: which process */
	int pidfd;      /* -1 when it is gone */
	bool in_group;  /* gets what the worker's group gets */
};

struct ladder {
	struct identity_claim claim; /* strings are ours */
	char *task, *started, *db;   /* the same strings, to free */
	int epoll;                   /* all pidfds that are not gone */
	int pidfd;                   /* of the worker; -1 gone, or never ours */
	int group;                   /* the same, kept when it is gone: its group may live on;
				      * -1 if it leads none */
	struct terminate_member *members;
	size_t count;              /* of members */
	size_t alive;              /* members that are not gone */
	struct termination result; /* so far */
};

static int terminate_signal(int pidfd, int sig, unsigned flags)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, flags) < 0 ? -errno : 0;
}

static void ladder_deinit(struct ladder *l)
{
	fs_closep(&l->pidfd);
	fs_closep(&l->group);
	for (size_t i = 0; i < l->count; i++)
		fs_closep(&l->members[i].pidfd);
	fs_closep(&l->epoll);
	free(l->members);
	free(l->task);
	free(l->started);
	free(l->db);
}

static int ladder_watch(struct ladder *l, int pidfd, uint64_t mark)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = mark };

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, pidfd, &event) < 0 ? -errno : 0;
}

/* Cheap and without /proc. Return: 0, or -errno: too many open files, no memory. */
static int ladder_init(struct ladder *l, const struct identity_claim *claim)
{
	*l = (struct ladder){ .claim = *claim, .epoll = -1, .pidfd = -1, .group = -1 };
	l->task = claim->task ? strdup(claim->task) : NULL;
	l->started = claim->started ? strdup(claim->started) : NULL;
	l->db = claim->db ? strdup(claim->db) : NULL;
	l->claim.task = l->task;
	l->claim.started = l->started;
	l->claim.db = l->db;
	if ((claim->task && !l->task) || (claim->started && !l->started) ||
	    (claim->db && !l->db))
		return -ENOMEM;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		return -errno;
	if (claim->pid <= 0)
		return 0;
	l->pidfd = spawn_pidfd(claim->pid);
	/* ESRCH: gone; EINVAL: the number is that of a thread now */
	if (l->pidfd == -ESRCH || l->pidfd == -EINVAL)
		l->pidfd = -1;
	return l->pidfd < -1 ? l->pidfd : 0;
}

/* A line of the process table while the run's processes are picked out of it. */
struct terminate_row {
	pid_t pid;
	struct proc_stat stat;
	bool picked;
	bool ours; /* the daemon or above it: never picked */
};

static int terminate_row_order(const void *a, const void *b)
{
	pid_t pa = ((const struct terminate_row *)a)->pid;
	pid_t pb = ((const struct terminate_row *)b)->pid;

	return (pa > pb) - (pa < pb);
}

static struct terminate_row *terminate_row_find(struct terminate_row *rows, size_t count,
						pid_t pid)
{
	const struct terminate_row key = { .pid = pid };

	return bsearch(&key, rows, count, sizeof(*rows), terminate_row_order);
}

/* A daemon that was started from inside a worker carries that worker's variables, too. */
static void terminate_spare_ourselves(struct terminate_row *rows, size_t count)
{
	struct terminate_row *row = terminate_row_find(rows, count, getpid());

	while (row && !row->ours) {
		row->ours = true;
		row = terminate_row_find(rows, count, row->stat.ppid);
	}
}

static bool terminate_carries(const struct ladder *l, struct proc_environ *env, pid_t pid)
{
	struct proc_mark mark;

	if (!l->task || l->claim.run == 0 || proc_environ_read(env, pid) < 0)
		return false;
	mark = proc_mark(env);
	return mark.task && strcmp(mark.task, l->task) == 0 && mark.run == l->claim.run &&
	       proc_same_db(mark.db, l->db);
}

/* What is below a picked one is picked, until nothing changes. */
static void terminate_pick_below(struct terminate_row *rows, size_t count)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			struct terminate_row *parent;

			if (rows[i].picked || rows[i].ours)
				continue;
			parent = terminate_row_find(rows, count, rows[i].stat.ppid);
			if (parent && parent->picked)
				rows[i].picked = more = true;
		}
	}
}

static bool ladder_has(const struct ladder *l, const struct terminate_row *row)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->members[i].pid == row->pid && l->members[i].start == row->stat.start)
			return true;
	return false;
}

/* Is a process one of the run's by itself, whatever its parent is? */
static bool terminate_is_member(const struct ladder *l, struct proc_environ *env,
				const struct terminate_row *row)
{
	bool alive = l->pidfd >= 0; /* else the number may be another's session by now */

	if (alive && row->pid == l->claim.pid)
		return true; /* the root of what is below it */
	if (row->ours || proc_is_dead(&row->stat) || row->stat.ppid == 2)
		return false; /* 2 makes the kernel's own threads */
	if (alive && l->group >= 0 && row->stat.session == l->claim.pid)
		return true;
	return ladder_has(l, row) || terminate_carries(l, env, row->pid);
}

/* The process table, with the run's processes picked in it. */
static int terminate_rows(const struct ladder *l, struct terminate_row **out, size_t *out_count)
{
	struct proc_environ env = { 0 };
	CLEANUP(freep) pid_t *pids = NULL;
	struct terminate_row *rows;
	size_t pid_count = 0, n = 0;
	int r = proc_pids(&pids, &pid_count);

	if (r < 0)
		return r;
	rows = calloc(pid_count + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < pid_count; i++) {
		struct terminate_row *row = &rows[n];

		if (proc_stat(pids[i], &row->stat) < 0)
			continue;
		row->pid = pids[i];
		n++;
	}
	terminate_spare_ourselves(rows, n);
	for (size_t i = 0; i < n; i++)
		rows[i].picked = terminate_is_member(l, &env, &rows[i]);
	terminate_pick_below(rows, n);
	proc_environ_deinit(&env);
	*out = rows;
	*out_count = n;
	return 0;
}

/* Hold one process. Return: 1 new, 0 gone meanwhile or another by now, -errno. */
static int ladder_add(struct ladder *l, const struct terminate_row *row)
{
	CLEANUP(fs_closep) int pidfd = spawn_pidfd(row->pid);
	struct terminate_member *more;
	struct proc_stat now;
	int r;

	if (pidfd == -ESRCH || pidfd == -EINVAL)
		return 0;
	if (pidfd < 0)
		return pidfd;
	/* the pidfd is of whoever has the number now: is that still the one that was picked */
	if (proc_stat(row->pid, &now) < 0 || now.start != row->stat.start || proc_is_dead(&now))
		return 0;
	more = reallocarray(l->members, l->count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->members = more;
	r = ladder_watch(l, pidfd, l->count);
	if (r < 0)
		return r;
	l->members[l->count] = (struct terminate_member){
		.pid = row->pid,
		.start = row->stat.start,
		.in_group = l->group >= 0 && now.pgrp == l->claim.pid,
	};
	l->members[l->count].pidfd = spawn_fd_steal(&pidfd);
	l->count++;
	l->alive++;
	return 1;
}

/*
 * Find and hold what belongs to the run and is not held yet. Return: how many are new, or
 * -errno: some may be missing.
 */
static int ladder_gather(struct ladder *l)
{
	CLEANUP(freep) struct terminate_row *rows = NULL;
	size_t count = 0;
	int found = 0;
	int r = terminate_rows(l, &rows, &count);

	for (size_t i = 0; r >= 0 && i < count; i++) {
		const struct terminate_row *row = &rows[i];

		if (!row->picked || row->ours || row->pid == l->claim.pid ||
		    proc_is_dead(&row->stat) || ladder_has(l, row))
			continue;
		r = ladder_add(l, row);
		if (r > 0)
			found++;
	}
	return r < 0 ? r : found;
}

/* A signal for the worker and its group, where there is something left of them. */
static int ladder_signal_worker(struct ladder *l, int sig)
{
	int r;

	if (l->group >= 0) {
		r = terminate_signal(l->group, sig, TERMINATE_TO_GROUP);
		if (r != -EINVAL)
			return r;
		/* an older kernel knows groups by number only: safe while the leader is there
		 */
		if (l->pidfd >= 0 && identity_check(&l->claim) == IDENTITY_OURS)
			return kill(-l->claim.pid, sig) < 0 ? -errno : 0;
	}
	return l->pidfd >= 0 ? terminate_signal(l->pidfd, sig, 0) : -ESRCH;
}

static void ladder_signal(struct ladder *l, int sig)
{
	bool there = l->pidfd >= 0;

	if (ladder_signal_worker(l, sig) != -ESRCH && there)
		l->result.attempted = true;
	for (size_t i = 0; i < l->count; i++)
		if (l->members[i].pidfd >= 0 && (sig == SIGKILL || !l->members[i].in_group))
			(void)terminate_signal(l->members[i].pidfd, sig, 0);
}

/* Look whose pidfd became readable. Return: how many processes are not gone. */
static size_t ladder_collect(struct ladder *l, int timeout_ms)
{
	struct epoll_event events[32];
	int n;

	do {
		n = epoll_wait(l->epoll, events, 32, timeout_ms);
		for (int i = 0; i < n; i++) {
			uint64_t mark = events[i].data.u64;
			int *fd =
				mark == TERMINATE_WORKER ? &l->pidfd : &l->members[mark].pidfd;

			/* out of the epoll first: another descriptor of it may be open */
			(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, *fd, NULL);
			fs_closep(fd);
			if (mark != TERMINATE_WORKER)
				l->alive--;
		}
		timeout_ms = 0;
	} while (n == 32);
	return l->alive + (l->pidfd >= 0 ? 1 : 0);
}

/* First step. Reads /proc. Return: 0 or -errno, then nothing was signalled. */
static int ladder_begin(struct ladder *l)
{
	struct proc_stat stat;
	int r;

	if (l->pidfd >= 0 && identity_check(&l->claim) != IDENTITY_OURS)
		fs_closep(&l->pidfd);
	if (l->pidfd < 0)
		return 0;
	r = ladder_watch(l, l->pidfd, TERMINATE_WORKER);
	if (r < 0)
		return r;
	if (proc_stat(l->claim.pid, &stat) == 0 && stat.pgrp == l->claim.pid) {
		l->group = fcntl(l->pidfd, F_DUPFD_CLOEXEC, 0);
		if (l->group < 0)
			return -errno;
	}
	/* what could not be looked at now is looked at again before the kill */
	(void)ladder_gather(l);
	ladder_signal(l, SIGTERM);
	return 0;
}

/* Last step. Reads /proc. What could not be looked at is left; the worker is not. */
static void ladder_kill(struct ladder *l)
{
	(void)ladder_collect(l, 0);
	if (l->pidfd >= 0)
		l->result.sigkill = true;
	for (int pass = 0; pass < TERMINATE_PASSES; pass++) {
		int found = ladder_gather(l);

		ladder_signal(l, SIGKILL);
		(void)ladder_collect(l, 0);
		if (found <= 0)
			break;
	}
}

static void ladder_wait(struct ladder *l, unsigned ms)
{
	uint64_t now = clock_mono_ms(), end = now + ms;

	/* with nobody left there is nothing that would end the wait */
	while (ladder_collect(l, 0) > 0 && now < end) {
		(void)ladder_collect(l, end - now > INT_MAX ? INT_MAX : (int)(end - now));
		now = clock_mono_ms();
	}
}

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
		l.result.terminated = l.pidfd < 0;
		*out = l.result;
	}
	ladder_deinit(&l);
	return r;
}

int terminate_leftovers_of(const char *task, int64_t run, const char *db)
{
	const struct identity_claim claim = { .task = task, .run = run, .db = db };
	struct ladder l;
	int r = ladder_init(&l, &claim);

	for (int pass = 0; r >= 0 && pass < TERMINATE_PASSES; pass++) {
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

int terminate_leftovers(const char *task, int64_t run)
{
	return terminate_leftovers_of(task, run, NULL);
}

/* The asynchronous ladder: the same steps, the waits on the loop. */
struct terminator {
	struct ladder ladder; /* the pool's while a step runs, else the loop's */
	uv_work_t work;       /* begin and kill */
	uv_poll_t poll;       /* on ladder.epoll */
	uv_timer_t timer;     /* bound of the wait */
	unsigned handles;     /* of libuv that are not closed yet */
	unsigned grace_ms;
	bool killed; /* the kill is done: the wait is the last */
	int failed;  /* of ladder_begin() */
	terminate_fn fn;
	void *arg; /* of fn */
};

static void terminate_next(struct terminator *t);

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
	t->ladder.result.terminated = t->ladder.pidfd < 0;
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

static void terminate_begin_done(uv_work_t *work, int status)
{
	struct terminator *t = work->data;

	(void)status; /* uv_cancel() is never called */
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
	if (ladder_collect(&t->ladder, 0) > 0)
		terminate_wait(t, TERMINATE_KILL_WAIT_MS);
	else
		terminate_finish(t);
}

/* A wait is over. */
static void terminate_next(struct terminator *t)
{
	if (t->killed) {
		terminate_finish(t);
		return;
	}
	t->killed = true;
	(void)uv_queue_work(t->poll.loop, &t->work, terminate_kill_work, terminate_kill_done);
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
	/* neither of these two can fail, given a callback */
	(void)uv_timer_init(loop, &t->timer);
	(void)uv_queue_work(loop, &t->work, terminate_begin_work, terminate_begin_done);
	return 0;
}

int terminate_start(uv_loop_t *loop, const struct identity_claim *claim, unsigned grace_ms,
		    terminate_fn fn, void *arg)
{
	struct terminator *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
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
