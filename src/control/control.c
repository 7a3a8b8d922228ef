/*
 * The control API's life.
 *
 * Happy path: a socket is made or handed over; once every root knows its role the loop waits
 * for somebody to connect. Everything else is the server's (server.c), until the daemon stops:
 * what waits is answered, streams end, changes are refused; reading goes on until
 * control_close().
 *
 * Shutdown: memory goes when the last of handles, looks and operations is gone.
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

	if (priority > LOG_INFO)
		return; /* for whoever debugs kanband, not for who watches it */
	event_ring_add(&c->events, priority, NULL, about, text);
	stream_news(c);
}

static void control_told_board(void *arg, const struct dispatch *d, bool state);

static void control_free(struct control *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	surveys_deinit(c);
	event_ring_deinit(&c->events);
	free(c);
	closed(arg);
}

/* The one that the manager made for scrapes. Without it everything else goes on. */
static void control_open_scrape(struct control *c)
{
	struct error e = ERROR_NULL;
	struct listener l;

	if (c->env.metrics_fd < 0)
		return;
	if (listener_adopt_scrape(&l, c->env.metrics_fd, &e) == 0) {
		if (accept_open(c, &l, true) == 0)
			return;
		listener_close(&l);
		(void)error_set(&e, -ENOMEM, "cannot watch the socket for scrapes");
	}
	log_warning("no numbers by kanband-metrics.socket: %s", e.text);
}

static int control_open_first(struct control *c, struct error *e)
{
	struct listener l;
	int r = c->env.listen_fd >= 0 ? listener_adopt(&l, c->env.listen_fd, e)
				      : listener_open(&l, c->env.path, e);

	if (r < 0)
		return r;
	r = accept_open(c, &l, false);
	if (r == 0)
		return 0;
	listener_close(&l);
	return error_errno(e, r, "cannot watch the control socket");
}

int control_open(struct control **out, const struct control_env *env, struct error *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_set(e, -ENOMEM, "out of memory");
	c->env = *env;
	c->begin = route_begin;
	c->run = route_run;
	c->free = control_free;
	r = control_open_first(c, e);
	if (r < 0) {
		free(c);
		return r;
	}
	control_open_scrape(c);
	server_open(c);
	accept_wait(c, CONTROL_PATIENCE_MS);
	c->started_at = clock_wall_s();
	c->started_ms = uv_now(env->root_env->loop);
	event_ring_init(&c->events, (uint64_t)clock_wall_us() ^ ((uint64_t)getpid() << 48));
	c->told = (struct observer){ .board = control_told_board, .arg = c };
	observer_join(env->root_env, &c->told);
	c->log = (struct log_hook){ .fn = control_log, .arg = c };
	log_join(&c->log);
	*out = c;
	return 0;
}

/* Are the boards of every root of ours listed? */
static bool control_listed(const struct control *c)
{
	for (size_t i = 0; i < *c->env.n_roots; i++)
		if (c->env.roots[i]->role == ROOT_OWNER && !c->env.roots[i]->scanned_once)
			return false;
	return true;
}

void control_serve(struct control *c)
{
	if (!c || c->closing || c->serving)
		return;
	c->known = true;
	c->serving = control_listed(c);
	if (c->serving)
		accept_serve(c);
	else
		accept_wait(c, CONTROL_LISTED_MS);
}

const char *control_path(const struct control *c)
{
	return c->acceptors[0].listener.path;
}

static void control_told_board(void *arg, const struct dispatch *d, bool state)
{
	struct control *c = arg;
	struct log_about about = { .root = d->root->path,
				   .board = d->board.place.slug,
				   .epoch = d->root->epoch };

	(void)state; /* a new reason is news too; the log tells it, once */
	event_ring_add(&c->events, LOG_INFO, "board", &about, board_state_name(d->board.state));
	stream_news(c);
}

void control_changed(struct control *c)
{
	if (!c)
		return;
	if (c->known)
		control_serve(c);
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

void control_close(struct control *c, void (*done)(void *arg), void *arg)
{
	if (!c) {
		done(arg);
		return;
	}
	control_stop(c);
	log_leave(&c->log);
	observer_leave(c->env.root_env, &c->told);
	c->closed = done;
	c->closed_arg = arg;
	server_shut(c);
	accept_shut(c);
	c->closing = true;
	server_try_free(c);
}
