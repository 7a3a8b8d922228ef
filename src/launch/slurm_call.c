/*
 * Asking the cluster by its own commands.
 *
 * A job that is over is known to the controller for MinJobAge seconds (300 where nothing else
 * is said), and for long to the accounting, where a site has one: so the controller is asked
 * first.
 */
#include "slurm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "process/spawn.h"
#include "util/fs.h"

#define SLURM_CALL_MS 8000 /* bound of one question */

int slurm_run(const struct slurm *slurm, char *const *argv, int timeout_ms,
	      struct run_output *output)
{
	CLEANUP(freep) char *file = NULL;
	struct run run = { .argv = argv, .envp = slurm->envp, .timeout_ms = timeout_ms };
	int r = spawn_find(argv[0], slurm->path, &file);

	if (r < 0)
		return r;
	run.file = file;
	return run_program(&run, output);
}

bool slurm_down(const struct run_output *output)
{
	static const char *const words[] = {
		"Unable to contact",  "connect failure",    "timed out",
		"Connection refused", "temporarily",        "Zero Bytes",
		"Transport endpoint", "Unexpected message", "Slurm backup controller",
		"No route to host",   "Authentication",     "Munge"
	};

	if (output->status < 0)
		return true;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(output->err, words[i]))
			return true;
	return false;
}

/* Return: 0 it answered; 1 it knows no such job; -errno. */
static int slurm_ask(const struct slurm *slurm, char *const *argv, struct run_output *output)
{
	int r = slurm_run(slurm, argv, SLURM_CALL_MS, output);

	if (r < 0 || output->status == 0)
		return r;
	if (!slurm_down(output) && strstr(output->err, "Invalid job id"))
		return 1;
	return -EHOSTDOWN;
}

/* The last line of what the accounting says: id, state, exit code. A site may have none. */
static int slurm_account(const struct slurm *slurm, const char *by, const char *what,
			 struct slurm_job *job)
{
	char *const argv[] = { (char *)"sacct",
			       (char *)"--noheader",
			       (char *)"--parsable2",
			       (char *)"--allocations",
			       (char *)"--starttime=now-30days",
			       (char *)"--format=JobIDRaw,State,ExitCode",
			       (char *)by,
			       (char *)what,
			       NULL };
	struct run_output output;
	char *line, *state, *code;

	if (slurm_run(slurm, argv, SLURM_CALL_MS, &output) < 0 || output.status != 0)
		return 1;
	while (output.out_len > 0 && output.out[output.out_len - 1] == '\n')
		output.out[--output.out_len] = '\0';
	line = strrchr(output.out, '\n');
	line = line ? line + 1 : output.out;
	state = strchr(line, '|');
	code = state ? strchr(state + 1, '|') : NULL;
	if (!code)
		return 1;
	*state++ = '\0';
	*code++ = '\0';
	(void)snprintf(job->id, sizeof(job->id), "%.20s", line);
	slurm_state(state, code, job);
	return 0;
}

int slurm_look(const struct slurm *slurm, struct slurm_job *job)
{
	char *const argv[] = { (char *)"scontrol",
			       (char *)"--oneliner",
			       (char *)"show",
			       (char *)"job",
			       job->id,
			       NULL };
	struct run_output output;
	int r = slurm_ask(slurm, argv, &output);

	if (r == 1)
		return slurm_account(slurm, "--jobs", job->id, job);
	if (r == 0 && !slurm_shown(output.out, job))
		return -EBADMSG;
	return r;
}

int slurm_find(const struct slurm *slurm, const char *name, const char *about,
	       struct slurm_job *job)
{
	char *const argv[] = { (char *)"squeue",         (char *)"--noheader",
			       (char *)"--me",           (char *)"--states=all",
			       (char *)"--name",         (char *)name,
			       (char *)"--format=%A %k", NULL };
	struct run_output output;
	char *next = output.out;
	int r = slurm_ask(slurm, argv, &output), found = 1;

	if (r != 0)
		return r;
	while (*next && (found == 1 || (found == 0 && job->over))) {
		char *line = next;

		next += strcspn(next, "\n");
		if (*next)
			*next++ = '\0';
		size_t id = strspn(line, "0123456789");

		if (id == 0 || id >= SLURM_ID_SIZE || line[id] != ' ' ||
		    strcmp(line + id + 1, about) != 0)
			continue;
		(void)snprintf(job->id, sizeof(job->id), "%.*s", (int)id, line);
		found = slurm_look(slurm, job);
	}
	return found == 1 ? slurm_account(slurm, "--name", name, job) : found;
}

int slurm_cancel(const struct slurm *slurm, const char *id, bool kill)
{
	char *const plain[] = { (char *)"scancel", (char *)id, NULL };
	char *const hard[] = { (char *)"scancel", (char *)"--full", (char *)"--signal=KILL",
			       (char *)id, NULL };
	struct run_output output;
	int r = slurm_run(slurm, plain, SLURM_CALL_MS, &output);

	/* the first also takes it from the queue, the second does not wait */
	if (r == 0 && kill)
		r = slurm_run(slurm, hard, SLURM_CALL_MS, &output);
	if (r < 0)
		return r;
	return output.status == 0 || !slurm_down(&output) ? 0 : -EHOSTDOWN;
}
