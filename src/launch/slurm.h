/*
 * What the files of the launcher `slurm` share.
 */
#pragma once

#include <stdbool.h>

#include "launch.h"
#include "launch/ending.h"
#include "launch/slurm.h"

#define SLURM_ID_SIZE 24 /* of a job id with its NUL */

/* What the cluster says about one job. */
struct slurm_job {
	char id[SLURM_ID_SIZE];
	bool over;            /* nothing of it runs any more */
	struct ending ending; /* once it is over */
};

/* How the commands of Slurm are called. Borrowed. */
struct slurm {
	char *const *envp;
	const char *path; /* of the commands */
};

/* slurm_call.c: each asks the cluster by one or two of its commands; blocks, bounded */

/**
 * slurm_find() - the job of that name and description, whatever became of it
 * Return: 0; 1 there is none that the cluster remembers; -errno it does not answer.
 */
MUST_CHECK int slurm_find(const struct slurm *slurm, const char *name, const char *about,
			  struct slurm_job *job);

/** slurm_look() - what became of job->id. Return: as slurm_find(). */
MUST_CHECK int slurm_look(const struct slurm *slurm, struct slurm_job *job);

/** slurm_cancel() - end a job: SIGTERM and what the cluster does after it, or SIGKILL for all
 * of it at once. Return: 0 it was told so; -errno. */
MUST_CHECK int slurm_cancel(const struct slurm *slurm, const char *id, bool kill);

/** slurm_run() - one command of Slurm, to its end. Return: 0 if it ran; -errno. */
MUST_CHECK int slurm_run(const struct slurm *slurm, char *const *argv, int timeout_ms,
			 struct run_output *output);

/* slurm_note.c: what the attendant leaves beside the file that the job reads, @file */

/** slurm_note_open() - make it, and hold it as long as what is returned is open; -errno */
MUST_CHECK int slurm_note_open(const char *file, const char *about);

/** slurm_note_write() - the job's id, when it has one. Return: 0 or -errno. */
MUST_CHECK int slurm_note_write(int fd, const char *id, const char *about);

void slurm_note_end(const char *file); /* the job is over */

/** slurm_note_id() - the id that stands there; false: none */
bool slurm_note_id(const char *file, char id[SLURM_ID_SIZE]);

/**
 * slurm_note_sweep() - end the jobs whose notes nobody holds
 * @prefix: only those whose name is it and a number, or NULL; @except: not that one, or NULL
 * @host: only those of attendants of that host, or NULL
 * Blocks: 8 s for each of them.
 * Return: 0; -errno: one may go on.
 */
MUST_CHECK int slurm_note_sweep(const struct slurm *slurm, const char *folder,
				const char *prefix, const char *except, const char *host);

/** slurm_abandon() - end a job that nobody attends. Return: 0; -errno it may go on. */
MUST_CHECK int slurm_abandon(const struct slurm *slurm, struct slurm_job *job);

/** slurm_usage() - by sstat(1), what the jobs of @list use that have an id there */
void slurm_usage(const struct slurm *slurm, struct usage *list, size_t n);

/** slurm_down() - is that what a command says when the cluster does not answer for now */
bool slurm_down(const struct run_output *output);

/* slurm_state.c */

/**
 * slurm_state() - from the words of Slurm to how a job ended
 * @state: such as "COMPLETED" or "CANCELLED by 0"
 * @code:  such as "0:15", exit status and signal
 */
void slurm_state(const char *state, const char *code, struct slurm_job *job);

/** slurm_shown() - the same of what `scontrol --oneliner show job` says. Return: false: that is
 * no job. */
bool slurm_shown(const char *text, struct slurm_job *job);
