/*
 * An LLM call that takes minutes and may fail, so: a child process, started by a job, watched
 * by its pidfd, one at a time per root, ended after half an hour. A task is offered again by
 * every tick as long as it is in triage; it is tried once an hour.
 */
#include "root/decompose.h"
#include "launch/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "process/helper.h"
#include "root/root.h"
#include "util/log.h"

#define DECOMPOSE_AGAIN_MS (60 * 60 * 1000)
#define DECOMPOSE_LIMIT_MS (30 * 60 * 1000)
#define DECOMPOSE_TRIED    256 /* tasks that are remembered */

struct decompose_tried {
	char board[BOARD_SLUG_MAX + 1];
	char task[LAUNCH_TASK_MAX + 1];
	uint64_t at_ms;
};

struct decompose {
	struct job job;
	struct root *root;
	const struct launcher *launcher;
	char board[BOARD_SLUG_MAX + 1];
	char task[LAUNCH_TASK_MAX + 1];
	char *logs_dir;
	bool starting;
	struct watch *watch; /* of the running child */
	pid_t pid;
	int pidfd, result;
	struct error error;
	uv_timer_t limit;
	struct decompose_tried tried[DECOMPOSE_TRIED];
	size_t next; /* of tried, a ring */
	bool closed;
};

static struct log_about decompose_about(const struct decompose *c)
{
	return (struct log_about){ .root = c->root->path, .board = c->board, .task = c->task };
}

static bool decompose_was_tried(const struct decompose *c, const char *board, const char *task)
{
	uint64_t now = uv_now(c->root->env->loop);

	for (size_t i = 0; i < DECOMPOSE_TRIED; i++)
		if (c->tried[i].at_ms && now - c->tried[i].at_ms < DECOMPOSE_AGAIN_MS &&
		    strcmp(c->tried[i].task, task) == 0 &&
		    strcmp(c->tried[i].board, board) == 0)
			return true;
	return false;
}

static void decompose_ended(void *arg, struct watch *watch, struct ending ending)
{
	struct decompose *c = arg;
	struct log_about about = decompose_about(c);

	c->watch = watch_close(watch);
	IGNORE(uv_timer_stop(&c->limit)); /* always 0 */
	if (ending.kind == ENDING_EXITED && ending.value == 0)
		log_about(LOG_INFO, &about, "decomposed");
	else
		log_about(LOG_NOTICE, &about,
			  "could not be decomposed (%s %d); see decompose.log in the "
			  "board's logs; tried again in an hour",
			  ending.kind == ENDING_SIGNALED ? "signal" : "exit code",
			  ending.value);
}

static void decompose_too_long(uv_timer_t *t)
{
	struct decompose *c = t->data;

	if (c->watch && c->pid > 1)
		(void)kill(-c->pid, SIGKILL); /* our unreaped child leads that group */
}

static void decompose_work(struct job *job)
{
	struct decompose *c = container_of(job, struct decompose, job);

	const struct helper helper = {
		.environment = launcher_environment(c->launcher),
		.hermes = c->launcher->hermes,
		.root = c->root->path,
	};

	c->result = helper_decompose(&helper, c->board, c->task, c->logs_dir, &c->pid,
				     &c->pidfd, &c->error);
}

static void decompose_closed(uv_handle_t *handle)
{
	struct decompose *c = handle->data;

	free(c->logs_dir);
	free(c);
}

static void decompose_started(struct job *job)
{
	struct decompose *c = container_of(job, struct decompose, job);
	struct log_about about = decompose_about(c);
	int r = c->result;

	c->starting = false;
	if (c->closed) {
		uv_close((uv_handle_t *)&c->limit, decompose_closed);
		return;
	}
	if (r == 0) {
		r = watch_open(&c->watch, c->root->env->loop, c->pid, c->pidfd, decompose_ended,
			       c);
		if (r < 0)
			(void)error_errno(&c->error, r, "cannot watch it");
	}
	if (r == 0)
		IGNORE(uv_timer_start(&c->limit, decompose_too_long, DECOMPOSE_LIMIT_MS, 0));
	else
		log_about(LOG_NOTICE, &about, "is not decomposed: %s", c->error.text);
	root_visit_ended(c->root);
}

static struct decompose *decompose_get(struct root *root)
{
	struct decompose *c = root->decompose;

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c || uv_timer_init(root->env->loop, &c->limit) < 0) {
		free(c);
		return NULL;
	}
	c->root = root;
	c->limit.data = c;
	root->decompose = c;
	return c;
}

void decompose_offer(struct dispatch *d, const struct strings *triage)
{
	struct root *root = d->root;
	struct decompose *c = triage->n > 0 ? decompose_get(root) : NULL;

	if (!c || c->starting || c->watch || root->stopping || root->env->once)
		return;
	for (size_t i = 0; i < triage->n; i++) {
		const char *task = triage->v[i];

		if (!task || strlen(task) > LAUNCH_TASK_MAX ||
		    decompose_was_tried(c, d->board.place.slug, task))
			continue;
		free(c->logs_dir);
		c->logs_dir = strdup(d->board.place.logs_dir);
		if (!c->logs_dir)
			return;
		(void)snprintf(c->board, sizeof(c->board), "%s", d->board.place.slug);
		(void)snprintf(c->task, sizeof(c->task), "%s", task);
		c->launcher = root->env->launcher(root->env->arg, root->path);
		c->tried[c->next].at_ms = uv_now(root->env->loop) + 1;
		memcpy(c->tried[c->next].board, c->board, sizeof(c->board));
		memcpy(c->tried[c->next].task, c->task, sizeof(c->task));
		c->next = (c->next + 1) % DECOMPOSE_TRIED;
		c->error = (struct error)ERROR_NULL;
		c->pidfd = -1;
		if (job_submit(root->env->jobs, &c->job, "decompose", decompose_work,
			       decompose_started, 60000) == 0)
			c->starting = true;
		return;
	}
}

bool decompose_idle(const struct root *root)
{
	return !root->decompose || !root->decompose->starting;
}

void decompose_close(struct root *root)
{
	struct decompose *c = root->decompose;

	if (!c)
		return;
	root->decompose = NULL;
	c->watch = watch_close(c->watch);
	c->closed = true;
	if (!c->starting)
		uv_close((uv_handle_t *)&c->limit, decompose_closed);
}
