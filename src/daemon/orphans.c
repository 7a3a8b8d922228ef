#include "daemon/orphans.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/proc.h"
#include "root/dispatch.h"
#include "util/fs.h"

int orphans_adopt(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) < 0 ? -errno : 0;
}

/* Does the run of @mark go on, in any board of any root? */
static bool orphans_run_lives(struct root *const *roots, size_t n, const struct proc_mark *mark)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < roots[i]->n_boards; k++) {
			const struct dispatch *d = roots[i]->boards[k];

			if (!proc_same_db(mark->db, d->board.place.db_path))
				continue;
			for (const struct worker *w = d->workers; w; w = w->next)
				if (w->run == mark->run && strcmp(w->task, mark->task) == 0)
					return true;
		}
	return false;
}

/* Does @pid carry a run that has ended? A run whose launch is not recorded yet has a worker. */
static bool orphans_ended_run(struct root *const *roots, size_t n, pid_t pid)
{
	struct proc_environ env = { 0 };
	struct proc_mark mark;
	bool ended = false;

	if (proc_environ_read(&env, pid) == 0) {
		mark = proc_mark(&env);
		ended = mark.task && mark.run > 0 && !orphans_run_lives(roots, n, &mark);
	}
	proc_environ_deinit(&env);
	return ended;
}

void orphans_reap(struct root *const *roots, size_t n)
{
	char path[64];
	CLEANUP(freep) char *list = NULL;
	char *p;

	/*
	 * Orphans are given to the main thread; workers were started by threads of the pool and
	 * are listed there, so whoever is listed here is an orphan.
	 */
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	if (fs_read_file(path, 1 << 20, &list, NULL) < 0)
		return; /* a kernel without that file: zombies go when we do */
	for (p = list; *p;) {
		char *end;
		long pid = strtol(p, &end, 10);
		if (end == p)
			break;
		p = end + strspn(end, " ");
		if (pid <= 1)
			continue;
		if (orphans_ended_run(roots, n, (pid_t)pid))
			(void)kill((pid_t)pid, SIGKILL);  /* gone already is as good */
		(void)waitpid((pid_t)pid, NULL, WNOHANG); /* still there: SIGCHLD comes */
	}
}
