/*
 * Ends that a launcher keeps. A service manager remembers how a worker's unit ended until it is
 * told to forget. That is done when the board has booked the end: a kanband that is killed in
 * between asks again at its next start, and finds it. What is missed here (no memory, a manager
 * that does not answer) a later sweep of the root collects.
 */
#include "root/collect.h"

#include <stdlib.h>
#include <string.h>

#include "launch/launch.h"
#include "root/dispatch.h"
#include "root/root.h"

#define COLLECT_LIMIT_MS (10 * 60 * 1000)

/* A run whose end is known to the loop. */
struct collect {
	struct collect *next;
	char *task;
	int64_t run;
	bool offered; /* its end went along with a visit */
};

struct collect_job {
	struct job job;
	const struct launcher *launcher;
	char *root, *board, *db;
	struct collect *list;
};

static struct collect *collect_free(struct collect *list)
{
	while (list) {
		struct collect *one = list;

		list = one->next;
		free(one->task);
		free(one);
	}
	return NULL;
}

void collect_add(struct dispatch *d, const char *task, int64_t run)
{
	struct collect *one = calloc(1, sizeof(*one));
	char *copy = strdup(task);

	if (!one || !copy) {
		free(one);
		free(copy);
		return; /* a sweep finds it */
	}
	*one = (struct collect){ .next = d->workers.collect, .task = copy, .run = run };
	d->workers.collect = one;
}

void collect_offered(struct dispatch *d)
{
	for (struct collect *one = d->workers.collect; one; one = one->next)
		one->offered = true;
}

static void collect_work(struct job *job)
{
	struct collect_job *c = container_of(job, struct collect_job, job);

	for (const struct collect *one = c->list; one; one = one->next) {
		const struct launch_run run = {
			.root = c->root,
			.board = c->board,
			.task = one->task,
			.run = one->run,
			.db = c->db,
		};

		launch_collect(c->launcher, &run);
	}
}

static void collect_done(struct job *job)
{
	struct collect_job *c = container_of(job, struct collect_job, job);

	collect_free(c->list);
	free(c->root);
	free(c->board);
	free(c->db);
	free(c);
}

void collect_booked(struct dispatch *d)
{
	struct collect_job *c;
	struct collect **p = &d->workers.collect, *list = NULL;

	while (*p)
		if ((*p)->offered) {
			struct collect *one = *p;

			*p = one->next;
			one->next = list;
			list = one;
		} else {
			p = &(*p)->next;
		}
	if (!list)
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		collect_free(list);
		return;
	}
	c->list = list;
	c->launcher = d->root->env->launcher(d->root->env->arg, d->root->path);
	c->root = strdup(d->root->path);
	c->board = strdup(d->board.place.slug);
	c->db = strdup(d->board.place.db_path);
	if (!c->root || !c->board || !c->db ||
	    job_submit(d->root->env->jobs, &c->job, "collect", collect_work, collect_done,
		       COLLECT_LIMIT_MS) < 0)
		collect_done(&c->job); /* a sweep collects them */
}

void collect_close(struct dispatch *d)
{
	d->workers.collect = collect_free(d->workers.collect);
}

/* ---- what nobody collected ----------------------------------------------------------- */

struct collect_sweep {
	struct job job;
	struct root *root;
	const struct launcher *launcher;
};

static void sweep_work(struct job *job)
{
	struct collect_sweep *s = container_of(job, struct collect_sweep, job);

	launch_sweep(s->launcher, s->root->path);
}

static void sweep_done(struct job *job)
{
	struct collect_sweep *s = container_of(job, struct collect_sweep, job);

	s->root->collecting = false;
	free(s);
}

void collect_sweep(struct root *root)
{
	const struct launcher *launcher = root->env->launcher(root->env->arg, root->path);
	struct collect_sweep *s;

	if (root->collecting || root->env->dry_run || !launch_tells(launcher))
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return; /* the next one, then */
	s->root = root;
	s->launcher = launcher;
	root->collecting = true;
	if (job_submit(root->env->jobs, &s->job, "collect", sweep_work, sweep_done,
		       COLLECT_LIMIT_MS) < 0)
		sweep_done(&s->job);
}
