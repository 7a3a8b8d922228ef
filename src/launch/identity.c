/*
 * Who a pid really is. Three kinds of evidence, in falling order of weight: the start time that
 * the board recorded, together with the boot it was in; the environment that the launcher gave
 * the worker; the time it began. The order and the meaning are those of identity.h.
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

#define IDENTITY_UNVERIFIED "unverified"

/* A worker may begin a little before its run as clocks go, and not long after it. */
#define IDENTITY_BEFORE_S 2
#define IDENTITY_AFTER_S  600

static void identity_unverified(char out[LAUNCH_STARTED_MAX])
{
	(void)snprintf(out, LAUNCH_STARTED_MAX, "%s", IDENTITY_UNVERIFIED);
}

void identity_boot(char out[LAUNCH_STARTED_MAX])
{
	CLEANUP(freep) char *boot = NULL;
	struct proc_stat init;

	identity_unverified(out);
	if (proc_stat(1, &init) < 0)
		return;
	if (fs_read_file("/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0)
		return;
	boot[strcspn(boot, "\n")] = '\0';
	(void)snprintf(out, LAUNCH_STARTED_MAX, "%.64s:%" PRIu64 "|", boot, init.start);
}

static void identity_join(const char *boot, uint64_t start, char out[LAUNCH_STARTED_MAX])
{
	if (strcmp(boot, IDENTITY_UNVERIFIED) == 0)
		identity_unverified(out);
	else
		(void)snprintf(out, LAUNCH_STARTED_MAX, "%.100s%" PRIu64, boot, start);
}

void identity_started_in(const char *boot, pid_t pid, char out[LAUNCH_STARTED_MAX])
{
	struct proc_stat stat;

	if (pid <= 0 || proc_stat(pid, &stat) < 0)
		identity_unverified(out);
	else
		identity_join(boot, stat.start, out);
}

void identity_started(pid_t pid, char out[LAUNCH_STARTED_MAX])
{
	char boot[LAUNCH_STARTED_MAX];

	identity_boot(boot);
	identity_started_in(boot, pid, out);
}

static enum identity identity_by_start(const struct identity_claim *claim, uint64_t start)
{
	int64_t began, from = claim->run_started_at;

	if (from <= 0 || from > INT64_MAX / 2000)
		return IDENTITY_STRANGER;
	began = proc_start_wall_ms(start) / 1000;
	if (began < from - IDENTITY_BEFORE_S || began > from + IDENTITY_AFTER_S)
		return IDENTITY_STRANGER;
	return IDENTITY_OURS;
}

/* By the environment, where it says anything; else by the time. */
static enum identity identity_by_environ(const struct identity_claim *claim, uint64_t start)
{
	struct proc_environ env = { 0 };
	enum identity who;
	struct proc_mark mark;

	/* one that cannot be read (another user's) is one that says nothing */
	if (proc_environ_read(&env, claim->pid) < 0)
		env.len = 0;
	mark = proc_mark(&env);
	if (!mark.task || !claim->task)
		who = identity_by_start(claim, start);
	else if (strcmp(mark.task, claim->task) == 0 &&
		 (mark.run == 0 || claim->run == 0 || mark.run == claim->run) &&
		 proc_same_db(mark.db, claim->db))
		who = IDENTITY_OURS;
	else
		who = IDENTITY_STRANGER;
	proc_environ_deinit(&env);
	return who;
}

enum identity identity_check(const struct identity_claim *claim)
{
	char boot[LAUNCH_STARTED_MAX], started[LAUNCH_STARTED_MAX];
	struct proc_stat stat;
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
	if (claim->started && *claim->started &&
	    strcmp(claim->started, IDENTITY_UNVERIFIED) != 0) {
		identity_boot(boot);
		identity_join(boot, stat.start, started);
		return strcmp(started, claim->started) == 0 ? IDENTITY_OURS : IDENTITY_STRANGER;
	}
	return identity_by_environ(claim, stat.start);
}

/* Fill @one from @pid. 1 it is a worker or of one, 0 it is not, -ENOMEM. */
static int identity_scan_one(struct proc_environ *env, pid_t pid, struct identity_found *one)
{
	struct proc_mark mark;
	struct proc_stat stat;

	if (proc_environ_read(env, pid) < 0)
		return env->buf ? 0 : -ENOMEM;
	mark = proc_mark(env);
	if (!mark.task || mark.run == 0 || strlen(mark.task) > LAUNCH_TASK_MAX)
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

void identity_found_free(struct identity_found *found, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(found[i].db);
	free(found);
}
