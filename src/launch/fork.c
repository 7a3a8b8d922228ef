/*
 * The launchers `fork` and `command`: workers as children of the daemon. A child that we cannot
 * watch is ended and reaped: a worker that nobody knows of would be worse than none.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "process/spawn.h"
#include "util/fs.h"

/* Why a spawn failed, as far as it can be told: chdir and exec share their errnos. */
static int fork_explain(const struct spawn *how, int r, struct error *e)
{
	const char *why = strerror(-r);

	error_cause(e, r);
	if (r == -E2BIG)
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "cannot start %s: its arguments and environment are too long; "
				 "shorten the task's skills or the daemon's environment",
				 how->file);
	if (r == -ENOEXEC)
		return error_set(
			e, LAUNCH_SPAWN_FAILED,
			"cannot start %s: neither a program nor a script with a #! line",
			how->file);
	if (access(how->cwd, X_OK) < 0) {
		error_cause(e, 0); /* the task's, not the host's */
		return error_set(e, LAUNCH_SPAWN_FAILED, "cannot enter the workspace %s: %s",
				 how->cwd, strerror(errno));
	}
	if (r == -ENOENT)
		return error_set(
			e, LAUNCH_SPAWN_FAILED,
			"cannot start %s: the interpreter of its #! line does not exist",
			how->file);
	return error_set(e, LAUNCH_SPAWN_FAILED, "cannot start %s: %s", how->file, why);
}

/* What keeps the daemon alive when memory is short (OOMScoreAdjust=) is not the worker's. */
static void fork_unprotect(pid_t pid)
{
	CLEANUP(fs_closep) int ours = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	CLEANUP(fs_closep) int its = -1;
	char path[48], score[16] = "";

	if (ours < 0 || read(ours, score, sizeof(score) - 1) <= 0 ||
	    strtol(score, NULL, 10) >= 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	its = open(path, O_WRONLY | O_CLOEXEC);
	/* of another user's, by a launcher `command`: that keeps ours */
	if (its >= 0)
		IGNORE(write(its, "0", 1));
}

int fork_spawn(const struct launch_order *o, const struct spawn *how,
	       struct launch_result *result, struct error *e)
{
	pid_t pid;
	int r = spawn_process(how, &pid);

	if (r < 0)
		return fork_explain(how, r, e);
	/* no attribute of posix_spawn does this; a worker of another user keeps ours */
	if (o->launcher->nofile.rlim_max != 0)
		(void)prlimit(pid, RLIMIT_NOFILE, &o->launcher->nofile, NULL);
	fork_unprotect(pid);
	result->pidfd = r = spawn_pidfd(pid);
	if (r < 0)
		result->pidfd = -1;
	/* a kernel that has no pidfds at all is the caller's to deal with */
	if (r < 0 && r != -ENOSYS) {
		spawn_undo(pid);
		error_cause(e, r);
		return error_set(e, LAUNCH_SPAWN_FAILED,
				 "cannot watch the new worker, so it was ended: %s; raise "
				 "LimitNOFILE of the daemon if it is about open files",
				 strerror(-r));
	}
	result->pid = pid;
	result->child = true;
	proc_started(o->env->boot, pid, result->started);
	return 0;
}

static int fork_start(const struct launch_order *o, struct launch_result *result,
		      struct error *e)
{
	const struct spawn how = {
		.file = o->file,
		.argv = o->argv,
		.envp = o->envp,
		.cwd = o->cwd,
		.out = o->log,
		.err = o->log,
		.run = o->number,
	};

	return fork_spawn(o, &how, result, e);
}

const struct launch_type fork_type = { .start = fork_start };
