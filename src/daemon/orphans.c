/*
 * As the subreaper of all workers: adopts the processes that they leave behind, ends those
 * whose run is over and reaps the dead.
 */
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
#include "root/launches.h"
#include "root/workers.h"
#include "util/fs.h"

int orphans_adopt(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) < 0 ? -errno : 0;
}

/* What an orphan bears of the run it came from. */
struct orphan {
	struct proc_mark mark; /* of its environment */
	uint64_t number;       /* proc_run_of() */
};

static bool orphans_is_of(const struct orphan *o, const char *db, int64_t run)
{
	if (o->number != 0)
		return o->number == proc_run_number(db, run);
	return o->mark.task && o->mark.run == run && proc_same_db(o->mark.db, db);
}

/* Is its run one of this board that has ended, as far as anybody watched? */
static bool orphans_ended_here(const struct dispatch *d, const struct orphan *o)
{
	const char *db = d->board.place.db_path;

	for (size_t i = 0; i < d->workers.n_exits; i++) {
		int64_t run = d->workers.exits[i].run;

		if (orphans_is_of(o, db, run) && !workers_has(d, run) &&
		    !launches_starting(d, run))
			return true;
	}
	return false;
}

/*
 * Does @pid come from a run that has ended? A run that goes on may have children of ours, too:
 * a worker that puts something in the background does not end it by that. So only what is known
 * to have ended counts, and a run whose launch was not recorded yet has not.
 */
static bool orphans_ended_run(struct root *const *roots, size_t n, pid_t pid)
{
	struct orphan o = { .number = proc_run_of(pid) };
	struct proc_environ env = { 0 };
	bool ended = false;

	if (proc_environ_read(&env, pid) == 0)
		o.mark = proc_mark(&env);
	for (size_t i = 0; !ended && (o.number || o.mark.run) && i < n; i++)
		for (size_t k = 0; !ended && k < roots[i]->n_boards; k++)
			ended = orphans_ended_here(roots[i]->boards[k], &o);
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
