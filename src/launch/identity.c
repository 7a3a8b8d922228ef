/*
 * Who a pid really is. A row of a board may have been written by anybody, so it can only say
 * who is not the worker: a process that began at another time, or in another boot. That a
 * process is the worker, only the process itself can show, by what the launcher gave it: the
 * number of its run, or its environment. The order and the meaning are those of identity.h.
 *
 * Everything is read anew at each call. A caller that acts on the answer must hold a pidfd that
 * it opened before: between the answer and the act the pid may go to somebody else.
 */
#include "launch/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "process/proc.h"
#include "util/fs.h"

/* A worker may begin a little before its run as clocks go, and not long after it. */
#define IDENTITY_BEFORE_S 2
#define IDENTITY_AFTER_S  600

void identity_started(pid_t pid, char out[PROC_STARTED_MAX])
{
	char boot[PROC_STARTED_MAX];

	proc_boot(boot);
	proc_started(boot, pid, out);
}

/* Did it begin when the run's worker did? */
static bool identity_in_time(const struct identity_claim *claim, uint64_t start)
{
	int64_t began, from = claim->run_started_at;

	if (from <= 0 || from > INT64_MAX / 2000)
		return false;
	began = proc_start_wall_ms(start) / 1000;
	return began >= from - IDENTITY_BEFORE_S && began <= from + IDENTITY_AFTER_S;
}

/* Did it write over its environment? Who sets a title for ps(1), as Hermes does where it finds
 * setproctitle, takes the room of arguments and environment for it and leaves no variable. */
static bool identity_wiped(const struct proc_environ *env)
{
	return env->len > 0 && !memchr(env->buf, '=', env->len);
}

/* What the process itself bears. Unsure: it does not let us read what it bears. @bare: who it
 * is where it could say and says nothing. */
static enum identity identity_by_marks(const struct identity_claim *claim, enum identity bare)
{
	struct proc_environ env = { 0 };
	enum identity who;
	struct proc_mark mark;

	if (claim->db && claim->run > 0 &&
	    proc_run_of(claim->pid) == proc_run_number(claim->db, claim->run))
		return IDENTITY_OURS;
	if (proc_environ_read(&env, claim->pid) < 0)
		env.cut = true;
	mark = proc_mark(&env);
	if (mark.task && claim->task)
		who = strcmp(mark.task, claim->task) == 0 &&
				      (mark.run == 0 || claim->run == 0 ||
				       mark.run == claim->run) &&
				      proc_same_db(mark.db, claim->db)
			      ? IDENTITY_OURS
			      : IDENTITY_STRANGER;
	else
		who = env.cut || identity_wiped(&env) ? IDENTITY_UNSURE : bare;
	proc_environ_deinit(&env);
	return who;
}

/* Is a recorded start that of this process? It may lack the boot, or what pid 1 began at. */
static bool identity_same_start(const char *recorded, uint64_t start)
{
	char boot[PROC_STARTED_MAX], whole[PROC_STARTED_MAX], ticks[24];
	const char *colon = strchr(recorded, ':');
	size_t n;

	(void)snprintf(ticks, sizeof(ticks), "%" PRIu64, start);
	n = strlen(ticks);
	/* a column that holds what it is given may have got a float */
	if (strncmp(recorded, ticks, n) == 0 &&
	    (recorded[n] == '\0' || strcmp(recorded + n, ".0") == 0))
		return true;
	proc_boot(boot);
	proc_started_at(boot, start, whole);
	if (strcmp(recorded, whole) == 0)
		return true;
	n = colon ? (size_t)(colon - recorded) + 1 : 0;
	return n > 0 && strncmp(recorded, boot, n) == 0 && recorded[n] == '|' &&
	       strcmp(recorded + n + 1, ticks) == 0;
}

bool identity_elsewhere(const char *started)
{
	char boot[PROC_STARTED_MAX];
	const char *colon, *bar;
	size_t n;

	proc_boot(boot);
	colon = strchr(boot, ':');
	if (!started || !proc_verified(boot) || !colon)
		return false;
	n = (size_t)(colon - boot) + 1;
	bar = strchr(started, '|');
	return bar && strncmp(started, boot, n) == 0 && started[n] != '|' &&
	       strncmp(started, boot, strlen(boot)) != 0;
}

enum identity identity_check(const struct identity_claim *claim)
{
	struct proc_stat stat;
	enum identity who;
	int r;

	if (claim->pid <= 0)
		return IDENTITY_DEAD;
	r = proc_stat(claim->pid, &stat);
	if (r == -ESRCH && kill(claim->pid, 0) < 0 && errno == ESRCH)
		return IDENTITY_DEAD;
	/* alive, and hidden from us: nothing is known, and so nothing is signalled */
	if (r < 0)
		return IDENTITY_STRANGER;
	if (proc_is_dead(&stat))
		return IDENTITY_DEAD;
	if (claim->child)
		return IDENTITY_OURS;
	if (proc_verified(claim->started)) {
		if (!identity_same_start(claim->started, stat.start))
			return IDENTITY_STRANGER;
		return identity_by_marks(claim, IDENTITY_UNSURE);
	}
	/* who recorded it had the process before him, and could not read when it began */
	if (claim->started && *claim->started)
		return identity_by_marks(claim, IDENTITY_UNSURE);
	who = identity_by_marks(claim, IDENTITY_STRANGER);
	if (who == IDENTITY_UNSURE && !identity_in_time(claim, stat.start))
		who = IDENTITY_STRANGER;
	return who;
}

/* Fill @one from @pid. 1 it is a worker or of one, 0 it is not, -ENOMEM. */
static int identity_scan_one(struct proc_environ *env, pid_t pid, struct identity_found *one)
{
	struct proc_mark mark;
	struct proc_stat stat;

	if (proc_environ_read(env, pid) < 0)
		return env->buf ? 0 : -ENOMEM;
	mark = proc_mark(env);
	if (!mark.task || mark.run == 0 || strlen(mark.task) > IDENTITY_TASK_MAX)
		return 0;
	if (proc_stat(pid, &stat) < 0 || proc_is_dead(&stat))
		return 0;
	*one = (struct identity_found){
		.pid = pid,
		.ppid = stat.ppid,
		.session = stat.session,
		.run = mark.run,
	};
	(void)snprintf(one->task, sizeof(one->task), "%s", mark.task);
	if (mark.db) {
		one->db = strdup(mark.db);
		if (!one->db)
			return -ENOMEM;
	}
	return 1;
}

int identity_scan(struct identity_found **found, size_t *count)
{
	struct proc_environ env = { 0 };
	CLEANUP(freep) pid_t *pids = NULL;
	struct identity_found *list = NULL;
	size_t n = 0, pid_count = 0;
	int r = proc_pids(&pids, &pid_count);

	for (size_t i = 0; r >= 0 && i < pid_count; i++) {
		struct identity_found *more, one;

		r = identity_scan_one(&env, pids[i], &one);
		if (r <= 0)
			continue;
		more = reallocarray(list, n + 1, sizeof(*list));
		if (!more) {
			free(one.db);
			r = -ENOMEM;
			break;
		}
		list = more;
		list[n++] = one;
	}
	proc_environ_deinit(&env);
	if (r < 0) {
		identity_found_free(list, n);
		return r;
	}
	*found = list;
	*count = n;
	return 0;
}

bool identity_is_worker(const struct identity_found *found, size_t count, size_t i,
			const char *db)
{
	if (db && (!found[i].db || strcmp(found[i].db, db) != 0))
		return false;
	for (size_t k = 0; k < count; k++)
		if (found[k].run == found[i].run && found[k].pid == found[i].ppid)
			return false;
	return true;
}

void identity_found_free(struct identity_found *found, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(found[i].db);
	free(found);
}
