/*
 * GET /v1/workers. Who works on what is in memory; what each uses is looked at by a job
 * (launch/usage.h). Whoever asks is answered within WORKER_LIST_WAIT_MS: where the job is not
 * over by then, without what it would have said.
 */
#include <string.h>

#include "control.h"
#include "launch/usage.h"
#include "root/root.h"
#include "util/json.h"
#include "wire/wire_worker.h"

#define WORKER_LIST_WAIT_MS  1500 /* kanbanctl top waits 2 s */
#define WORKER_LIST_LIMIT_MS (60 * 1000)

/* The workers of one root have one launcher. */
struct worker_list_root {
	const struct launcher *launcher;
	size_t n;
};

struct worker_list {
	struct job job;
	struct control *control;
	struct request *req;            /* NULL: nobody waits any more */
	json_t *workers;                /* the loop's */
	struct usage *usage;            /* of each; the job's */
	struct worker_list_root *roots; /* in that order */
	size_t n_roots;
};

static void worker_list_free(struct worker_list *l)
{
	struct control *c = l->control;

	for (size_t i = 0; l->usage && i < json_array_size(l->workers); i++) {
		free((char *)l->usage[i].root);
		free((char *)l->usage[i].board);
		free((char *)l->usage[i].task);
	}
	json_decref(l->workers);
	free(l->usage);
	free(l->roots);
	free(l);
	c->operations--;
	server_try_free(c);
}

static void worker_list_work(struct job *job)
{
	struct worker_list *l = container_of(job, struct worker_list, job);
	size_t at = 0;

	for (size_t i = 0; i < l->n_roots; i++) {
		usage_read(l->roots[i].launcher, l->usage + at, l->roots[i].n);
		at += l->roots[i].n;
	}
}

/* What it uses, to be joined with it. */
static json_t *worker_list_usage(const struct usage *u)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "memory",
			 u->memory < 0 ? json_null() : json_integer(u->memory), "cpu_s",
			 u->cpu_us < 0 ? json_null() : json_real((double)u->cpu_us / 1e6),
			 "tasks", u->tasks < 0 ? json_null() : json_integer(u->tasks), "unit",
			 json_or_null(u->unit[0] ? u->unit : NULL), "job",
			 json_or_null(u->job[0] ? u->job : NULL));
}

/* @seen: the job is over; else nothing is known of what they use */
static void worker_list_reply(struct worker_list *l, bool seen)
{
	struct request *req = l->req;
	json_t *list = json_array(), *one;
	size_t i;

	json_array_foreach(l->workers, i, one)
	{
		static const struct usage unknown = { .memory = -1, .cpu_us = -1, .tasks = -1 };

		list = json_push(list,
				 json_join(json_copy(one),
					   worker_list_usage(seen ? &l->usage[i] : &unknown)));
	}
	l->req = NULL;
	req->gone = NULL;
	req->expired = NULL;
	reply_json(req, 200, list ? json_pack("{s:o}", "workers", list) : NULL);
}

static void worker_list_done(struct job *job)
{
	struct worker_list *l = container_of(job, struct worker_list, job);

	if (l->req)
		worker_list_reply(l, true);
	worker_list_free(l);
}

static void worker_list_gone(struct request *req)
{
	struct worker_list *l = req->work;

	l->req = NULL;
}

static void worker_list_expired(struct request *req)
{
	worker_list_reply(req->work, false);
}

static int worker_list_add(struct worker_list *l, const struct worker *w)
{
	const struct dispatch *d = w->dispatch;
	size_t n = json_array_size(l->workers);
	struct usage *more = reallocarray(l->usage, n + 1, sizeof(*more));

	if (!more)
		return -1;
	l->usage = more;
	more[n] = (struct usage){ .root = strdup(d->root->path),
				  .board = strdup(d->board.place.slug),
				  .task = strdup(w->task),
				  .run = w->run,
				  .pid = w->pid };
	if (more[n].root && more[n].board && more[n].task &&
	    json_array_append_new(l->workers, wire_worker(w)) == 0)
		return 0;
	free((char *)more[n].root);
	free((char *)more[n].board);
	free((char *)more[n].task);
	return -1;
}

static int worker_list_fill(struct worker_list *l, const struct root *only)
{
	const struct control_env *env = &l->control->env;

	l->workers = json_array();
	l->roots = calloc(*env->n_roots + 1, sizeof(*l->roots));
	for (size_t i = 0; l->workers && l->roots && i < *env->n_roots; i++) {
		const struct root *root = env->roots[i];
		struct worker_list_root *r = &l->roots[l->n_roots];

		if (only && root != only)
			continue;
		*r = (struct worker_list_root){ .launcher = root->env->launcher(root->env->arg,
										root->path) };
		l->n_roots++;
		for (size_t k = 0; k < root->n_boards; k++)
			for (const struct worker *w = root->boards[k]->workers.list; w;
			     w = w->next, r->n++)
				if (worker_list_add(l, w) < 0)
					return -1;
	}
	return l->workers && l->roots ? 0 : -1;
}

void worker_list(struct request *req)
{
	struct control *c = req->control;
	const struct root *only;
	struct worker_list *l;

	if (!params_root(req, &only))
		return;
	l = calloc(1, sizeof(*l));
	if (!l) {
		reply_response(req, 500, NULL);
		return;
	}
	l->control = c;
	c->operations++;
	if (worker_list_fill(l, only) < 0) {
		worker_list_free(l);
		reply_response(req, 500, NULL);
		return;
	}
	l->req = req;
	if (json_array_size(l->workers) == 0 ||
	    job_submit(c->env.root_env->jobs, &l->job, "workers", worker_list_work,
		       worker_list_done, WORKER_LIST_LIMIT_MS) < 0) {
		worker_list_reply(l, false);
		worker_list_free(l);
		return;
	}
	req->work = l;
	req->gone = worker_list_gone;
	req->expired = worker_list_expired;
	server_deadline(req, WORKER_LIST_WAIT_MS);
}
