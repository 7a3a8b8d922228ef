/*
 * Reading /proc. Every text in it may be hostile: a process chooses its own name, arguments and
 * environment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

#define PROC_ENVIRON_MAX ((size_t)256 * 1024) /* more of an environment is not read */

/* The fields of /proc/PID/stat that matter here. */
struct proc_stat {
	char name[16];  /* of its program, cut; it may have chosen another */
	char state;     /* 'R', 'S', … 'Z' zombie, 'X' dead */
	bool exiting;   /* its end has begun: it does nothing any more */
	pid_t ppid;     /* parent */
	pid_t pgrp;     /* process group */
	pid_t session;  /* session */
	uint64_t start; /* field 22: clock ticks since boot */
	uint64_t ticks; /* of processors, of it and of those of its children that it waited for
			 */
	int64_t threads;
	int64_t rss; /* pages */
};

/** proc_stat() - Return: 0; -ESRCH no such process; -EBADMSG; other -errno. */
MUST_CHECK int proc_stat(pid_t pid, struct proc_stat *out);

/** proc_is_dead() - a zombie has ended: only its parent has not looked yet */
static inline bool proc_is_dead(const struct proc_stat *stat)
{
	return stat->state == 'Z' || stat->state == 'X' || stat->state == 'x';
}

/** proc_start_wall_ms() - Unix milliseconds of a start, as exact as a clock tick */
int64_t proc_start_wall_ms(uint64_t start);

/* A buffer for environments, reused from process to process. */
struct proc_environ {
	char *buf;  /* PROC_ENVIRON_MAX + 1 bytes, NULL before the first read */
	size_t len; /* of it that was read */
	bool cut;   /* there is more */
};

void proc_environ_deinit(struct proc_environ *env);

/** proc_environ_read() - Return: 0, -ESRCH, or another -errno: not readable. */
MUST_CHECK int proc_environ_read(struct proc_environ *env, pid_t pid);

/** proc_environ_get() - the value of @name as getenv() would find it, or NULL; borrowed */
const char *proc_environ_get(const struct proc_environ *env, const char *name);

/* What makes a process one of a run. */
struct proc_mark {
	const char *task; /* HERMES_KANBAN_TASK, or NULL */
	const char *db;   /* HERMES_KANBAN_DB, or NULL */
	int64_t run;      /* HERMES_KANBAN_RUN_ID, 0 if absent or no number */
};

/** proc_mark() - read the marks out of an environment; borrowed from @env */
struct proc_mark proc_mark(const struct proc_environ *env);

/**
 * proc_run_number() - a number for a run that nothing else bears: @db, its board's database,
 * and its id. Never 0. A worker is started with it as its RLIMIT_LOCKS, which means nothing to
 * any Linux since 2.4 and which all that descends from it inherits, whatever it does with its
 * environment, session and parent.
 */
uint64_t proc_run_number(const char *db, int64_t run);

/** proc_run_of() - the number that @pid was started with; 0: none, or not readable */
uint64_t proc_run_of(pid_t pid);

/** proc_same_db() - do two texts name one database (NULL: unknown, which is no difference) */
bool proc_same_db(const char *a, const char *b);

/**
 * proc_pids() - the process ids of this host at some moment
 * @pids: out, malloc'd, ascending
 * Return: 0 or -errno.
 */
MUST_CHECK int proc_pids(pid_t **pids, size_t *count);

#define PROC_STARTED_MAX 128

/*
 * The two halves of a worker_started_at (the board contract, §8): which process of which boot.
 * The first half is the same until the next boot.
 */

/** proc_boot() - `<boot_id>:<start ticks of pid 1>|`, or "unverified" where that cannot be read
 */
void proc_boot(char out[PROC_STARTED_MAX]);

/** proc_started_at() - @boot of proc_boot() with @start of proc_stat() */
void proc_started_at(const char *boot, uint64_t start, char out[PROC_STARTED_MAX]);

/** proc_started() - the same for a process that may be gone: then "unverified" */
void proc_started(const char *boot, pid_t pid, char out[PROC_STARTED_MAX]);

/** proc_verified() - does a worker_started_at say anything */
bool proc_verified(const char *started);
