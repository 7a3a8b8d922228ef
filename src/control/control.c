/*
 * The control API's life.
 *
 * Happy path: a socket is made or handed over; once every root knows its role the loop waits
 * for somebody to connect. Everything else is the server's (server.c), until the daemon stops:
 * what waits is answered, streams end, changes are refused; reading goes on until
 * control_close().
 *
 * Shutdown: memory goes when the last of handles, looks and errands is gone.
 */
#include "control/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "control/survey.h"
#include "util/clock.h"
#include "util/log.h"

static void control_log(void *arg, int priority, const struct log_about *about,
			const char *text)
{
	struct control *c = arg;

	events_add(&c->events, priority, NULL, about, text);
	stream_news(c);
}

static void control_told_board(void *arg, const struct dispatch *d);
static void control_told_worker(void *arg, const struct worker *w, bool ended);

int control_open(struct control **out, const struct control_env *env, struct error *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_set(e, -ENOMEM, "out of memory");
	c->env = *env;
	if (env->listen_fd >= 0)
		r = listener_adopt(&c->listener, env->listen_fd, e);
	else
		r = listener_open(&c->listener, env->path, e);
	if (r < 0) {
		free(c);
		return r;
	}
	c->started_at = clock_wall_s();
	c->started_ms = uv_now(env->root_env->loop);
	events_init(&c->events, (uint64_t)clock_wall_us() ^ ((uint64_t)getpid() << 48));
	r = server_open(c);
	if (r < 0) {
		listener_close(&c->listener);
		free(c);
		return error_errno(e, r, "cannot watch the control socket");
	}
	env->root_env->told_board = control_told_board;
	env->root_env->told_worker = control_told_worker;
	env->root_env->told_arg = c;
	log_set_hook(control_log, c);
	*out = c;
	return 0;
}

void control_serve(struct control *c)
{
	if (c && !c->closing)
		server_serve(c);
}

const char *control_path(const struct control *c)
{
	return c->listener.path;
}

static void control_told_board(void *arg, const struct dispatch *d)
{
	struct control *c = arg;
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .epoch = d->root->epoch };
	char text[ERROR_TEXT_MAX + 64];

	(void)snprintf(text, sizeof(text), "%s%s%s", board_state_name(d->board.state),
		       d->board.reason[0] ? ": " : "", d->board.reason);
	events_add(&c->events, LOG_INFO, "board", &about, text);
	stream_news(c);
}

static void control_told_worker(void *arg, const struct worker *w, bool ended)
{
	struct control *c = arg;
	struct log_about about = { .root = w->dispatch->root->path,
				   .board = w->dispatch->board.place.slug,
				   .task = w->task,
				   .run = w->run,
				   .epoch = w->dispatch->root->epoch };
	char text[64];

	(void)snprintf(text, sizeof(text), "worker %d %s", (int)w->pid,
		       ended      ? "has ended"
		       : w->child ? "runs"
				  : "is adopted");
	events_add(&c->events, LOG_INFO, "worker", &about, text);
	stream_news(c);
}

void control_changed(struct control *c)
{
	if (c)
		action_changed(c);
}

void control_stop(struct control *c)
{
	if (!c || c->stopping)
		return;
	c->stopping = true;
	for (struct request *req = c->requests; req; req = req->next) {
		if (!req->suspended || req->stream)
			continue;
		if (req->gone)
			req->gone(req);
		reply_problem(req, 503, "stopping", "ask again when the daemon is back", NULL,
			      "the daemon is stopping");
	}
	stream_end_all(c);
}

void control_try_free(struct control *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	if (!c->closing || c->handles > 0 || c->looks || c->errands > 0)
		return;
	looks_deinit(c);
	events_deinit(&c->events);
	free(c);
	closed(arg);
}

void control_close(struct control *c, void (*done)(void *arg), void *arg)
{
	if (!c) {
		done(arg);
		return;
	}
	control_stop(c);
	log_set_hook(NULL, NULL);
	c->env.root_env->told_board = NULL;
	c->env.root_env->told_worker = NULL;
	c->closed = done;
	c->closed_arg = arg;
	server_shut(c);
	listener_close(&c->listener);
	c->closing = true;
	control_try_free(c);
}
