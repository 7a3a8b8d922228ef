/*
 * Who belongs to a worker, and the steps that end them: see terminate.c for their order.
 *
 * Each process is held by a pidfd from when it was looked at, so that every signal reaches it
 * or nobody. The waits cost nothing: one epoll holds all pidfds.
 */
#include "launch/ladder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch/group.h"
#include "process/proc.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define LADDER_WORKER UINT64_MAX /* the worker's mark in the epoll */

#define LADDER_TO_GROUP (1U << 2) /* PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */

static int ladder_send(int pidfd, int sig, unsigned flags)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, flags) < 0 ? -errno : 0;
}

void ladder_deinit(struct ladder *l)
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

int ladder_init(struct ladder *l, const struct identity_claim *claim)
{
	*l = (struct ladder){ .claim = *claim, .epoll = -1, .pidfd = -1, .group = -1 };
	l->task = claim->task ? strdup(claim->task) : NULL;
	l->started = claim->started ? strdup(claim->started) : NULL;
	l->db = claim->db ? strdup(claim->db) : NULL;
	l->claim.task = l->task;
	l->claim.started = l->started;
	l->claim.db = l->db;
	l->number = claim->db && claim->run > 0 ? proc_run_number(claim->db, claim->run) : 0;
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
struct ladder_row {
	pid_t pid;
	struct proc_stat stat;
	bool picked;
	bool ours; /* the daemon or above it: never picked */
};

static int ladder_row_order(const void *a, const void *b)
{
	pid_t pa = ((const struct ladder_row *)a)->pid;
	pid_t pb = ((const struct ladder_row *)b)->pid;

	return (pa > pb) - (pa < pb);
}

static struct ladder_row *ladder_row_find(struct ladder_row *rows, size_t count, pid_t pid)
{
	const struct ladder_row key = { .pid = pid };

	return bsearch(&key, rows, count, sizeof(*rows), ladder_row_order);
}

/* A daemon that was started from inside a worker carries that worker's variables, too. */
static void ladder_spare_ourselves(struct ladder_row *rows, size_t count)
{
	struct ladder_row *row = ladder_row_find(rows, count, getpid());

	while (row && !row->ours) {
		row->ours = true;
		row = ladder_row_find(rows, count, row->stat.ppid);
	}
}

static bool ladder_carries(const struct ladder *l, struct proc_environ *env, pid_t pid)
{
	struct proc_mark mark;

	if (l->number != 0 && (proc_run_of(pid) == l->number || group_has(l->number, pid)))
		return true;
	if (!l->task || l->claim.run == 0 || proc_environ_read(env, pid) < 0)
		return false;
	mark = proc_mark(env);
	return mark.task && strcmp(mark.task, l->task) == 0 && mark.run == l->claim.run &&
	       proc_same_db(mark.db, l->db);
}

/* What is below a picked one is picked, until nothing changes. */
static void ladder_pick_below(struct ladder_row *rows, size_t count)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			struct ladder_row *parent;

			if (rows[i].picked || rows[i].ours)
				continue;
			parent = ladder_row_find(rows, count, rows[i].stat.ppid);
			if (parent && parent->picked)
				rows[i].picked = more = true;
		}
	}
}

static bool ladder_has(const struct ladder *l, const struct ladder_row *row)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->members[i].pid == row->pid && l->members[i].start == row->stat.start)
			return true;
	return false;
}

/* Is a process one of the run's by itself, whatever its parent is? */
static bool ladder_is_member(const struct ladder *l, struct proc_environ *env,
			     const struct ladder_row *row)
{
	bool alive = l->pidfd >= 0; /* else the number may be another's session by now */

	if (alive && row->pid == l->claim.pid)
		return true; /* the root of what is below it */
	if (row->ours || proc_is_dead(&row->stat) || row->stat.ppid == 2)
		return false; /* 2 makes the kernel's own threads */
	if (alive && l->group >= 0 && row->stat.session == l->claim.pid)
		return true;
	return ladder_has(l, row) || ladder_carries(l, env, row->pid);
}

/* The process table, with the run's processes picked in it. */
static int ladder_rows(const struct ladder *l, struct ladder_row **out, size_t *out_count)
{
	struct proc_environ env = { 0 };
	CLEANUP(freep) pid_t *pids = NULL;
	struct ladder_row *rows;
	size_t pid_count = 0, n = 0;
	int r = proc_pids(&pids, &pid_count);

	if (r < 0)
		return r;
	rows = calloc(pid_count + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < pid_count; i++) {
		struct ladder_row *row = &rows[n];

		if (proc_stat(pids[i], &row->stat) < 0)
			continue;
		row->pid = pids[i];
		n++;
	}
	ladder_spare_ourselves(rows, n);
	for (size_t i = 0; i < n; i++)
		rows[i].picked = ladder_is_member(l, &env, &rows[i]);
	ladder_pick_below(rows, n);
	proc_environ_deinit(&env);
	*out = rows;
	*out_count = n;
	return 0;
}

/* Hold one process. Return: 1 new, 0 gone meanwhile or another by now, -errno. */
static int ladder_add(struct ladder *l, const struct ladder_row *row)
{
	CLEANUP(fs_closep) int pidfd = spawn_pidfd(row->pid);
	struct ladder_member *more;
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
	l->members[l->count] = (struct ladder_member){
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
int ladder_gather(struct ladder *l)
{
	CLEANUP(freep) struct ladder_row *rows = NULL;
	size_t count = 0;
	int found = 0;
	int r = ladder_rows(l, &rows, &count);

	for (size_t i = 0; r >= 0 && i < count; i++) {
		const struct ladder_row *row = &rows[i];

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
		r = ladder_send(l->group, sig, LADDER_TO_GROUP);
		if (r != -EINVAL)
			return r;
		/* an older kernel knows groups by number only: safe while the leader is there
		 */
		if (l->pidfd >= 0 && identity_check(&l->claim) == IDENTITY_OURS)
			return kill(-l->claim.pid, sig) < 0 ? -errno : 0;
	}
	return l->pidfd >= 0 ? ladder_send(l->pidfd, sig, 0) : -ESRCH;
}

void ladder_signal(struct ladder *l, int sig)
{
	bool there = l->pidfd >= 0;

	if (ladder_signal_worker(l, sig) != -ESRCH && there)
		l->result.attempted = true;
	for (size_t i = 0; i < l->count; i++)
		if (l->members[i].pidfd >= 0 && (sig == SIGKILL || !l->members[i].in_group))
			(void)ladder_send(l->members[i].pidfd, sig, 0);
}

/* Look whose pidfd became readable. Return: how many processes are not gone. */
size_t ladder_collect(struct ladder *l, int timeout_ms)
{
	struct epoll_event events[32];
	int n;

	do {
		n = epoll_wait(l->epoll, events, 32, timeout_ms);
		for (int i = 0; i < n; i++) {
			uint64_t mark = events[i].data.u64;
			int *fd = mark == LADDER_WORKER ? &l->pidfd : &l->members[mark].pidfd;

			/* out of the epoll first: another descriptor of it may be open */
			(void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, *fd, NULL);
			fs_closep(fd);
			if (mark != LADDER_WORKER)
				l->alive--;
		}
		timeout_ms = 0;
	} while (n == 32);
	return l->alive + (l->pidfd >= 0 ? 1 : 0);
}

/* First step. Reads /proc. Return: 0 or -errno, then nothing was signalled. */
int ladder_begin(struct ladder *l)
{
	struct proc_stat stat;
	int r;

	if (l->pidfd >= 0) {
		enum identity who = identity_check(&l->claim);

		l->unsure = who == IDENTITY_UNSURE;
		l->result.attempted = l->unsure;
		if (who != IDENTITY_OURS)
			fs_closep(&l->pidfd);
	}
	if (l->pidfd < 0)
		return 0;
	r = ladder_watch(l, l->pidfd, LADDER_WORKER);
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

static void ladder_kill_group(struct ladder *l)
{
	bool done = l->number == 0 || (l->pidfd >= 0 && group_kill(l->number, l->claim.pid));

	for (size_t i = 0; !done && i < l->count; i++)
		done = l->members[i].pidfd >= 0 && group_kill(l->number, l->members[i].pid);
}

/* Last step. Reads /proc. What could not be looked at is left; the worker is not. */
void ladder_kill(struct ladder *l)
{
	(void)ladder_collect(l, 0);
	if (l->pidfd >= 0)
		l->result.sigkill = true;
	for (int pass = 0; pass < LADDER_PASSES; pass++) {
		int found = ladder_gather(l);

		/* what is in its group cannot start anything that is not met by this */
		if (pass == 0)
			ladder_kill_group(l);
		ladder_signal(l, SIGKILL);
		(void)ladder_collect(l, 0);
		if (found <= 0)
			break;
	}
}

void ladder_wait(struct ladder *l, unsigned ms)
{
	uint64_t now = clock_mono_ms(), end = now + ms;

	/* with nobody left there is nothing that would end the wait */
	while (ladder_collect(l, 0) > 0 && now < end) {
		(void)ladder_collect(l, end - now > INT_MAX ? INT_MAX : (int)(end - now));
		now = clock_mono_ms();
	}
}
