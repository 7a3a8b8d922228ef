/*
 * The words of Slurm for how jobs end.
 *
 * A node that failed or was never ready, or a job that had to make room for another, says
 * nothing about the task: that is a fault of the host. A time limit and a memory limit are the
 * worker's.
 */
#include "slurm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "0:53": the node could not open the log, so it has not the shared folder */
#define SLURM_NO_LOG 53

/* How a state counts: by its exit code, or as one thing. */
enum slurm_end {
	SLURM_END_CODE,   /* by what its process said */
	SLURM_END_SIGNAL, /* by the signal, whatever the code says */
	SLURM_END_HOST,   /* by neither */
};

static const struct slurm_word {
	const char *state;
	enum slurm_end end;
	int signal;
	enum ending_why why;
} slurm_words[] = {
	{ "COMPLETED", SLURM_END_CODE, 0, ENDING_BY_ITSELF },
	{ "FAILED", SLURM_END_CODE, 0, ENDING_BY_ITSELF },
	{ "OUT_OF_MEMORY", SLURM_END_SIGNAL, SIGKILL, ENDING_OUT_OF_MEMORY },
	{ "TIMEOUT", SLURM_END_SIGNAL, SIGTERM, ENDING_OVER_TIME },
	{ "DEADLINE", SLURM_END_SIGNAL, SIGTERM, ENDING_OVER_TIME },
	{ "CANCELLED", SLURM_END_SIGNAL, SIGTERM, ENDING_BY_ITSELF },
	{ "NODE_FAIL", SLURM_END_HOST, 0, ENDING_BY_HOST },
	{ "BOOT_FAIL", SLURM_END_HOST, 0, ENDING_BY_HOST },
	{ "PREEMPTED", SLURM_END_HOST, 0, ENDING_BY_HOST },
	{ "REVOKED", SLURM_END_HOST, 0, ENDING_BY_HOST },
};

void slurm_state(const char *state, const char *code, struct slurm_job *job)
{
	size_t len = strspn(state, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
	const struct slurm_word *word = NULL;
	int status = 0, sig = 0;
	char *end;

	for (size_t i = 0; !word && i < sizeof(slurm_words) / sizeof(slurm_words[0]); i++)
		if (strlen(slurm_words[i].state) == len &&
		    memcmp(slurm_words[i].state, state, len) == 0)
			word = &slurm_words[i];
	job->over = word != NULL;
	job->ending = (struct ending){ .kind = ENDING_UNKNOWN };
	if (!word)
		return; /* pending, running, suspended, completing: it is there */
	status = (int)strtol(code, &end, 10);
	if (*end == ':')
		sig = (int)strtol(end + 1, NULL, 10);
	job->ending.why =
		word->end == SLURM_END_CODE && sig == SLURM_NO_LOG ? ENDING_BY_HOST : word->why;
	if (job->ending.why == ENDING_BY_HOST)
		return;
	if (word->end == SLURM_END_SIGNAL)
		sig = word->signal;
	job->ending.kind = sig > 0 && sig < NSIG ? ENDING_SIGNALED : ENDING_EXITED;
	job->ending.value = job->ending.kind == ENDING_SIGNALED ? sig : status & 0xFF;
	/* not by its process, then */
	if (job->ending.kind == ENDING_EXITED && job->ending.value == 0 && word != slurm_words)
		job->ending.value = 1;
}

/* The value of the first field of that name, up to the next blank. */
static bool slurm_field(const char *text, const char *name, char *out, size_t size)
{
	const char *at = strstr(text, name);

	if (!at)
		return false;
	at += strlen(name);
	(void)snprintf(out, size, "%.*s", (int)strcspn(at, " \n"), at);
	return true;
}

bool slurm_shown(const char *text, struct slurm_job *job)
{
	char state[64], code[32];

	/* what others may write, such as the comment, comes after these */
	if (!slurm_field(text, " JobState=", state, sizeof(state)) ||
	    !slurm_field(text, " ExitCode=", code, sizeof(code)))
		return false;
	slurm_state(state, code, job);
	return true;
}
