/*
 * What happens comes from three sides: rows of task_events (whoever wrote them), states of
 * boards, and the daemon's own messages that have an id. Each becomes one event.
 */
#include "daemon/herald.h"

#include "board/news.h"
#include "board/state.h"
#include "daemon/config.h"
#include "hook/hook_kind.h"
#include "root/dispatch.h"
#include "root/root.h"
#include "util/clock.h"

static struct hook_event herald_event(const struct dispatch *d, const char *kind)
{
	return (struct hook_event){ .kind = kind,
				    .at_us = clock_wall_us(),
				    .root = d->root->path,
				    .board = d->board.place.slug,
				    .epoch = d->root->epoch };
}

static void herald_board(void *arg, const struct dispatch *d, bool state)
{
	struct herald *h = arg;
	const struct hook_kind *kind = hook_kind_find(board_state_name(d->board.state));
	struct hook_event e;

	/* that one is well again is a message, which says so only after it was bad */
	if (!state || !kind || kind->source != HOOK_BOARD)
		return;
	e = herald_event(d, kind->name);
	e.message = d->board.reason[0] ? d->board.reason : NULL;
	hooks_tell(h->hooks, &e);
}

static void herald_row(void *arg, const struct dispatch *d, const struct news_row *row)
{
	struct herald *h = arg;
	struct hook_event e = herald_event(d, row->kind);

	e.at_us = row->at * 1000000;
	e.task = row->task;
	e.run = row->run;
	e.payload = row->payload;
	hooks_tell(h->hooks, &e);
}

static int64_t herald_rows_since(void *arg)
{
	struct herald *h = arg;

	return hooks_tasks_since(h->hooks);
}

static void herald_snapshot(void *arg, const struct dispatch *d, const char *path)
{
	struct herald *h = arg;
	struct hook_event e = herald_event(d, "snapshot");
	const struct offsite_order order = {
		.root = d->root->path,
		.board = d->board.place.slug,
		.path = path,
		.command = d->set.snapshot_command,
		.pass = d->set.snapshot_environment,
		.timeout_ms = (uint64_t)d->set.snapshot_command_timeout_ms,
	};

	e.path = path;
	hooks_tell(h->hooks, &e);
	if (order.command && offsite_copy(h->offsite, &order) < 0)
		log_error("the snapshot of board %s is not copied: out of memory",
			  d->board.place.slug);
}

static void herald_log(void *arg, int priority, const struct log_about *about, const char *text)
{
	struct herald *h = arg;
	const char *kind = hook_kind_of_log(about->id);
	const struct hook_event e = { .kind = kind,
				      .at_us = clock_wall_us(),
				      .root = about->root,
				      .board = about->board,
				      .task = about->task,
				      .run = about->run,
				      .epoch = about->epoch,
				      .message = text };

	(void)priority;
	if (kind)
		hooks_tell(h->hooks, &e);
}

int herald_open(struct herald *h, struct root_env *env, char *const *vars,
		const struct config *config)
{
	int r = hooks_new(&h->hooks, env->loop, env->jobs, vars, env->host);

	if (r == 0)
		r = offsite_new(&h->offsite, env->loop, env->jobs, environ);
	if (r < 0)
		return r;
	h->env = env;
	h->told = (struct observer){ .board = herald_board,
				     .row = herald_row,
				     .rows_since = herald_rows_since,
				     .snapshot = herald_snapshot,
				     .arg = h };
	h->log = (struct log_hook){ .fn = herald_log, .arg = h };
	observer_join(env, &h->told);
	log_join(&h->log);
	return herald_reload(h, config);
}

int herald_reload(struct herald *h, const struct config *config)
{
	size_t n;
	const struct hook_def *defs = config_hooks(config, &n);

	return hooks_set(h->hooks, defs, n);
}

static void herald_offsite_closed(void *arg)
{
	struct herald *h = arg;
	struct hooks *hooks = h->hooks;

	h->hooks = NULL;
	hooks_close(hooks, h->closed, h->closed_arg);
}

void herald_close(struct herald *h, void (*done)(void *arg), void *arg)
{
	struct offsite *offsite = h->offsite;

	h->offsite = NULL;
	h->closed = done;
	h->closed_arg = arg;
	if (h->hooks) {
		log_leave(&h->log);
		observer_leave(h->env, &h->told);
	}
	offsite_close(offsite, herald_offsite_closed, h);
}
