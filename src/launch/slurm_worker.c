/*
 * The first process of a job, and the worker's parent.
 *
 * Slurm finds what belongs to a job by its control group, where the site has those, else by
 * ancestry (proctrack/linuxproc), which what forked twice has left. So this process takes such
 * orphans as its own children: the job's tree stays whole, and each signal of Slurm's reaches
 * all of it. Those are for the worker, which gets them too; here they do nothing.
 *
 * End: as the worker's, after what it started has been killed. What cannot be killed is waited
 * for, as long as that takes: the job is not over before. When slurmstepd is gone, so is the
 * job: all is killed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/slurm.h"
#include "launch/unit.h"
#include "process/proc.h"
#include "util/fs.h"

/* A child's number is nobody else's before it is waited for. */
static void slurm_worker_kill_children(void)
{
	CLEANUP(freep) pid_t *pids = NULL;
	struct proc_stat stat;
	size_t count = 0;

	if (proc_pids(&pids, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (proc_stat(pids[i], &stat) == 0 && stat.ppid == getpid())
			(void)kill(pids[i], SIGKILL);
}

/*
 * Who dies leaves its children to us before it can be waited for. So when nobody is left to be
 * waited for, nobody is left. @worker: its status is kept, if it is among them
 */
static void slurm_worker_end_all(pid_t worker, int *status)
{
	pid_t pid;
	int how;

	do {
		slurm_worker_kill_children();
		pid = waitpid(-1, &how, 0);
		if (pid == worker)
			*status = how;
	} while (pid > 0);
}

/* Until the worker has ended, or slurmstepd: then all is. */
static int slurm_worker_wait(pid_t worker, pid_t above, const sigset_t *set)
{
	int status = 0, how = 0;
	pid_t pid = 0;

	while (pid != worker && getppid() == above) {
		(void)sigwaitinfo(set, NULL); /* whatever it is, it is looked at below */
		do {
			pid = waitpid(-1, &how, WNOHANG);
		} while (pid > 0 && pid != worker);
	}
	if (pid == worker)
		status = how;
	slurm_worker_end_all(worker, &status);
	return status;
}

/* A signal of the worker's is the job's end, too; without a second core. */
static int slurm_worker_end_as(int status)
{
	const struct rlimit none = { 0, 0 };
	sigset_t set;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)sigfillset(&set);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)signal(WTERMSIG(status), SIG_DFL);
	(void)raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

int slurm_worker_main(void)
{
	const pid_t above = getppid();
	sigset_t set;
	pid_t worker;

	(void)sigfillset(&set);
	(void)signal(SIGCHLD, SIG_DFL); /* were it ignored, there would be nobody to wait for */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
		(void)fprintf(stderr, "kanband: cannot keep the job together: %s\n",
			      strerror(errno));
		return 126;
	}
	worker = fork();
	if (worker < 0) {
		(void)fprintf(stderr, "kanband: cannot start the worker: %s\n",
			      strerror(errno));
		return 126;
	}
	if (worker == 0)
		_exit(unit_worker_main());
	return slurm_worker_end_as(slurm_worker_wait(worker, above, &set));
}
