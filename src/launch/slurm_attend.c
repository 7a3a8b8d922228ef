/*
 * The attendant of one job.
 *
 * Happy path: submit, then ask what became of the job, seldom when it has run for long, until
 * it is over; end as it did. A cluster that does not answer says nothing about the job, so it
 * is asked again, for as long as that takes. An answer to the submission that was lost is made
 * up for by the job's name: there is one job of one run.
 *
 * SIGTERM: the job is cancelled, killed when it is still there after the grace, and waited for.
 * Should the attendant be killed itself, kanband ends the job (slurm.c).
 */
#include "slurm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/fs.h"

#define ATTEND_SUBMIT_MS 60000 /* bound of one submission */
#define ATTEND_FIRST_MS  2000 /* before the first question and the next, as sbatch --wait … */
#define ATTEND_LAST_MS   30000 /* … and when the job has run for long */
#define ATTEND_AGAIN_MS  3000  /* a cluster that did not answer */
#define ATTEND_END_MS    200   /* while it is being ended */

struct attend {
	struct slurm slurm;
	const char *name, *about, *file;
	char *const *submit;
	struct slurm_job job;
	uint64_t begun_ms, kill_ms; /* when it is killed, 0: it is not being ended */
	uint64_t grace_ms;
	bool killed, told; /* the log has been told that nobody answers */
	bool called_off;   /* it was told to end before there was a job */
};

static void attend_say(struct attend *a, const char *what)
{
	if (!a->told)
		(void)fprintf(stderr, "kanband: the cluster does not answer: %.*s; waiting\n",
			      (int)strcspn(what, "\n"), what);
	a->told = true;
}

/* Wait so long, or for the signal. Return: it has to end. */
static bool attend_pause(uint64_t ms)
{
	struct timespec limit = { .tv_sec = (time_t)(ms / 1000),
				  .tv_nsec = (long)(ms % 1000) * 1000000 };
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	return sigtimedwait(&set, NULL, &limit) > 0;
}

static bool attend_submitted(struct attend *a, const struct run_output *output)
{
	size_t n = strspn(output->out, "0123456789");

	if (output->status != 0 || n == 0 || n >= SLURM_ID_SIZE)
		return false;
	(void)snprintf(a->job.id, sizeof(a->job.id), "%.*s", (int)n, output->out);
	return true;
}

/* Return: 0 there is a job; 1 it is not to be had; 2 it was told to end before. */
static int attend_submit(struct attend *a)
{
	for (bool again = false;; again = true) {
		struct run_output output = { .status = -1 };
		int r;

		if (again && attend_pause(ATTEND_AGAIN_MS))
			return 2;
		if (again && slurm_find(&a->slurm, a->name, a->about, &a->job) == 0)
			return 0;
		r = slurm_run(&a->slurm, a->submit, ATTEND_SUBMIT_MS, &output);
		if (r == 0 && attend_submitted(a, &output))
			return 0;
		if (r == 0 && !slurm_down(&output)) {
			(void)fprintf(stderr, "%s", output.err);
			return 1;
		}
		if (r == -ENOENT) {
			(void)fprintf(stderr, "kanband: sbatch is not on the PATH (%s)\n",
				      a->slurm.path);
			return 1;
		}
		attend_say(a, r < 0 ? strerror(-r) : output.err);
	}
}

/* Attendants that were started together do not ask together: one controller answers them all,
 * and the submissions that follow. */
static uint64_t attend_interval(const struct attend *a)
{
	uint64_t ms = (clock_mono_ms() - a->begun_ms) / 8;

	if (a->kill_ms)
		return ATTEND_END_MS;
	ms = ms < ATTEND_FIRST_MS ? ATTEND_FIRST_MS : ms > ATTEND_LAST_MS ? ATTEND_LAST_MS : ms;
	return ms + ms * ((uint64_t)getpid() % 16) / 64;
}

/* What is asked for and fails is asked for again the next time round. */
static void attend_end(struct attend *a)
{
	uint64_t now = clock_mono_ms();

	if (!a->kill_ms && slurm_cancel(&a->slurm, a->job.id, false) == 0)
		a->kill_ms = now + a->grace_ms;
	else if (a->kill_ms && !a->killed && now >= a->kill_ms)
		a->killed = slurm_cancel(&a->slurm, a->job.id, true) == 0;
}

/* Until the job is over. Return: false: the cluster has forgotten it. */
static bool attend_wait(struct attend *a)
{
	bool ending = false;

	for (;;) {
		int r;

		ending |= attend_pause(ending ? ATTEND_END_MS : attend_interval(a));
		if (ending)
			attend_end(a);
		r = slurm_look(&a->slurm, &a->job);
		if (r == 0 && a->job.over)
			return true;
		if (r == 1)
			return false;
		if (r < 0)
			attend_say(a, strerror(-r));
		else
			a->told = false;
	}
}

/* No job of an earlier run of the task goes on beside this one: its attendant was killed. */
static void attend_alone(struct attend *a)
{
	CLEANUP(freep) char *folder = strdup(a->file);
	CLEANUP(freep) char *prefix = strdup(a->name);
	char *slash = folder ? strrchr(folder, '/') : NULL;
	char *number = prefix ? strrchr(prefix, 'r') : NULL;

	if (!slash || !number)
		return;
	*slash = '\0';
	number[1] = '\0';
	while (slurm_note_sweep(&a->slurm, folder, prefix, a->name, NULL) < 0) {
		attend_say(a, "what an earlier run left cannot be ended");
		if (attend_pause(ATTEND_AGAIN_MS)) {
			a->called_off = true;
			return;
		}
	}
	a->told = false;
}

/* As the job ended: kanband asks the cluster itself, this is for when that does not answer. */
static int attend_status(const struct slurm_job *job)
{
	if (job->ending.kind == ENDING_EXITED)
		return job->ending.value;
	return job->ending.kind == ENDING_SIGNALED ? 128 + job->ending.value : 75;
}

int slurm_attend_main(int argc, char *const *argv)
{
	struct attend a = { .begun_ms = clock_mono_ms() };
	sigset_t set;
	int note, r;

	if (argc < 7) {
		(void)fprintf(stderr,
			      "kanband: " SLURM_ATTEND_OPTION " is for kanband itself only\n");
		return 64;
	}
	a.slurm = (struct slurm){ .envp = environ, .path = getenv("PATH") };
	a.grace_ms = strtoull(argv[2], NULL, 10);
	a.name = argv[3];
	a.about = argv[4];
	a.file = argv[5];
	a.submit = argv + 6;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return 71;
	note = slurm_note_open(a.file, a.about);
	attend_alone(&a);
	r = a.called_off ? 2 : attend_submit(&a);
	if (r == 0 && note >= 0)
		IGNORE(slurm_note_write(note, a.job.id, a.about)); /* it is found by its name */
	if (r == 0)
		r = attend_wait(&a) ? attend_status(&a.job) : 75;
	slurm_note_end(a.file);
	(void)unlink(a.file); /* the job has taken it already, if it ever began */
	return r;
}
