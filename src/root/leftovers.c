/*
 * Descendants of an adopted worker are not ours to reap: when it has ended, what carries its
 * run in the environment is looked for and ended, by a job.
 */
#include "root/leftovers.h"
#include "launch/terminate.h"

#include <stdlib.h>
#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"
#include "util/job.h"

struct leftovers {
	struct job job;
	char *task, *db;
	int64_t run;
};

static void leftovers_work(struct job *job)
{
	struct leftovers *l = container_of(job, struct leftovers, job);

	/* an error means that /proc cannot be read: nothing more can be done */
	IGNORE(terminate_leftovers(l->task, l->run, l->db));
}

static void leftovers_done(struct job *job)
{
	struct leftovers *l = container_of(job, struct leftovers, job);

	free(l->task);
	free(l->db);
	free(l);
}

void leftovers_end(const struct dispatch *d, const struct worker *w)
{
	struct leftovers *l = calloc(1, sizeof(*l));

	if (!l)
		return;
	l->task = strdup(w->task);
	l->db = strdup(d->board.place.db_path);
	l->run = w->run;
	if (!l->task || !l->db ||
	    job_submit(d->root->env->jobs, &l->job, "leftovers", leftovers_work, leftovers_done,
		       60000) < 0)
		leftovers_done(&l->job);
}
