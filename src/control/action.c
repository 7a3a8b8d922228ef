/*
 * What is asked of the dispatcher itself: look now, claim nothing, claim again, end with the
 * work, read the configuration, send again.
 *
 * A pause is in force at once for visits that begin later; one that is under way may still
 * claim, so the answer waits until the board is idle. Pauses and drains are the process's: they
 * are gone with it, and with the ownership of the root.
 */
#include <string.h>

#include "control.h"
#include "notify/notify.h"
#include "root/hostfault.h"
#include "root/notices.h"
#include "root/operation.h"
#include "util/clock.h"
#include "util/log.h"

#define ACTION_WAIT_MS  30000 /* for a visit; then the board is answered as it is */
#define ACTION_DRAIN_MS 0     /* for the workers, unless said otherwise: as long as it takes */

/* Waits until a board is idle, or was visited. */
struct waiting {
	struct operation operation;
	struct request *req; /* NULL: nobody waits any more */
	struct control *control;
};

/* ---- one board ---- */

static void waiting_answer(struct waiting *w)
{
	struct request *req = w->req;
	struct dispatch *d;

	if (!req)
		return;
	w->req = NULL;
	req->gone = NULL;
	req->expired = NULL;
	if (params_board(req, &d)) /* it may have gone meanwhile */
		reply_json(req, 200, resource_board(d));
}

static void waiting_done(struct operation *e, bool ran)
{
	struct waiting *w = container_of(e, struct waiting, operation);
	struct control *c = w->control;

	(void)ran; /* then params_board() says why */
	waiting_answer(w);
	free(w);
	c->operations--;
	server_try_free(c);
}

static void waiting_gone(struct request *req)
{
	struct waiting *w = req->work;

	w->req = NULL;
	if (!operation_forget(&w->operation))
		return;
	w->control->operations--;
	free(w);
}

static void waiting_expired(struct request *req)
{
	struct waiting *w = req->work;

	waiting_answer(w);
	waiting_gone(req);
}

static struct waiting *waiting_new(struct request *req)
{
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w) {
		reply_response(req, 500, NULL);
		return NULL;
	}
	w->control = req->control;
	w->req = req;
	w->operation.name = "wait";
	w->operation.done = waiting_done;
	req->control->operations++;
	req->work = w;
	req->gone = waiting_gone;
	req->expired = waiting_expired;
	server_deadline(req, ACTION_WAIT_MS);
	return w;
}

/* Answer with the board when its next visit is over */
static void action_await(struct request *req, struct dispatch *d)
{
	struct waiting *w;

	if (!d->dispatched) { /* nobody visits it */
		reply_json(req, 200, resource_board(d));
		return;
	}
	w = waiting_new(req);
	if (!w)
		return;
	hostfault_probe(d->root); /* whoever asks for a tick thinks that it works again */
	operation_after_visit(d, &w->operation);
	operation_submit(d, &w->operation);
}

/* Answer when no visit that began before can claim any more. */
static void action_await_idle(struct request *req, struct dispatch *d)
{
	struct waiting *w = waiting_new(req);

	if (w)
		operation_submit(d, &w->operation);
}

static void action_told(struct control *c, const struct dispatch *d, const char *kind,
			const char *text)
{
	struct log_about about = { 0 };

	if (d) {
		about.root = d->root->path;
		about.board = d->board.place.slug;
		about.epoch = d->root->epoch;
	}
	log_about(LOG_NOTICE, &about, "%s", text);
	event_ring_add(&c->events, LOG_NOTICE, kind, &about, text);
	stream_news(c);
	c->env.root_env->changed(c->env.root_env->arg);
}

void action_tick(struct request *req)
{
	struct dispatch *d;

	if (!params_board(req, &d))
		return;
	if (!d->dispatched)
		reply_problem(req, 409, "not-well",
			      strcmp(d->aside, "paused") == 0
				      ? "take `paused = yes` out of kanband.conf and reload"
				      : NULL,
			      NULL, "board %s is %s: nobody looks at it", req->slug, d->aside);
	else
		action_await(req, d);
}

void action_pause(struct request *req)
{
	struct dispatch *d;

	if (!params_board(req, &d))
		return;
	if (!d->held) {
		dispatch_hold(d, true);
		action_told(req->control, d, "paused",
			    "paused by the operator: nothing is claimed until it is resumed or "
			    "kanband restarts");
	}
	action_await_idle(req, d);
}

void action_resume(struct request *req)
{
	struct dispatch *d;

	if (!params_board(req, &d))
		return;
	if (d->held) {
		dispatch_hold(d, false);
		action_told(req->control, d, "resumed", "resumed by the operator");
	}
	reply_json(req, 200, resource_board(d));
}

/* ---- all of them ---- */

/* Is any root ours? Else answered. */
static bool action_owner(struct request *req)
{
	const struct control_env *env = &req->control->env;

	for (size_t i = 0; i < *env->n_roots; i++)
		if (env->roots[i]->role == ROOT_OWNER)
			return true;
	if (*env->n_roots > 0)
		params_not_owner(req, env->roots[0]);
	else
		reply_problem(req, 503, "stopping", NULL, NULL, "the daemon is stopping");
	return false;
}

void action_tick_all(struct request *req)
{
	const struct control_env *env = &req->control->env;
	json_int_t n = 0;

	if (!action_owner(req))
		return;
	for (size_t i = 0; i < *env->n_roots; i++) {
		struct root *root = env->roots[i];

		if (root->role != ROOT_OWNER)
			continue;
		root_sweep(root); /* finds new boards */
		root_release(root);
		for (size_t k = 0; k < root->n_boards; k++)
			n += root->boards[k]->dispatched;
	}
	reply_json(req, 200, json_pack("{s:I}", "boards", n));
}

struct drain_state {
	size_t workers, launching;
	size_t open; /* starts in flight or not recorded */
	bool busy;   /* a visit may still claim */
};

static struct drain_state drain_state(const struct control *c)
{
	struct drain_state s = { 0 };

	for (size_t i = 0; i < *c->env.n_roots; i++)
		for (size_t k = 0; k < c->env.roots[i]->n_boards; k++) {
			const struct dispatch *d = c->env.roots[i]->boards[k];

			for (const struct worker *w = d->workers.list; w; w = w->next)
				s.workers++;
			s.launching += launches_in_flight(d);
			s.open += launches_count(d);
			s.busy = s.busy || (d->board.busy && d->visit.claiming);
		}
	return s;
}

static void drain_answer(struct request *req, const struct drain_state *s)
{
	const struct control *c = req->control;
	bool drained = !s->busy && s->workers + s->open == 0;

	reply_json(req, 200,
		   json_pack("{s:o, s:b, s:i, s:i}", "draining",
			     c->draining ? resource_held("operator", c->drain_at) : json_null(),
			     "drained", drained, "workers", (int)s->workers, "launching",
			     (int)s->launching));
}

static void drain_expired(struct request *req)
{
	struct drain_state s = drain_state(req->control);

	drain_answer(req, &s);
}

/* Waits for nothing but that no visit is under way that may claim. */
static char drain_no_wait;

static bool drain_over(const struct request *req, const struct drain_state *s)
{
	if (!req->control->draining) /* resumed meanwhile */
		return true;
	return !s->busy && (req->work == &drain_no_wait || (s->workers + s->open == 0));
}

void action_changed(struct control *c)
{
	struct drain_state s;
	bool known = false;

	for (struct request *req = c->requests; req; req = req->next) {
		if (req->expired != drain_expired || req->response)
			continue;
		if (!known)
			s = drain_state(c);
		known = true;
		if (drain_over(req, &s))
			drain_answer(req, &s);
	}
}

void action_drain(struct request *req)
{
	struct control *c = req->control;
	int64_t timeout_s = -1;
	struct drain_state s;
	bool wait = true, pause = false;

	if (!params_bool(req, "wait", &wait) || !params_bool(req, "pause", &pause) ||
	    !params_int(req, "timeout_s", 31536000, &timeout_s) || !action_owner(req))
		return;
	if (!c->draining || c->env.root_env->paused != pause) {
		if (!c->draining)
			c->drain_at = clock_wall_s();
		c->draining = true;
		c->env.root_env->held = true;
		c->env.root_env->paused = pause;
		action_told(c, NULL, "paused",
			    pause ? "paused by the operator: nothing is started on any board "
				    "until kanbanctl resume, or until kanband restarts"
				  : "draining: nothing is started on any board until kanbanctl "
				    "resume, or until kanband restarts");
	}
	req->work = wait ? NULL : &drain_no_wait;
	s = drain_state(c);
	if (drain_over(req, &s) || timeout_s == 0) {
		drain_answer(req, &s);
		return;
	}
	req->expired = drain_expired;
	server_deadline(req, timeout_s > 0 ? (uint64_t)timeout_s * 1000 : ACTION_DRAIN_MS);
}

void action_resume_all(struct request *req)
{
	struct control *c = req->control;
	bool was = c->draining;
	json_int_t n = 0;

	if (!action_owner(req))
		return;
	c->draining = false;
	c->env.root_env->held = c->env.root_env->paused = false;
	for (size_t i = 0; i < *c->env.n_roots; i++) {
		struct root *root = c->env.roots[i];

		for (size_t k = 0; k < root->n_boards; k++) {
			struct dispatch *d = root->boards[k];

			if (!d->held)
				continue;
			n++;
			dispatch_hold(d, false);
		}
		if (was && root->role == ROOT_OWNER)
			root_release(root);
	}
	if (was || n > 0)
		action_told(c, NULL, "resumed",
			    "resumed by the operator: tasks are started again");
	action_changed(c);
	reply_json(req, 200, json_pack("{s:b, s:I}", "resumed", was || n > 0, "boards", n));
}

/* ---- the rest ---- */

void action_reload(struct request *req)
{
	const struct control_env *env = &req->control->env;
	struct error e = ERROR_NULL;
	json_t *warnings;

	if (env->reload(env->arg, &e) < 0) {
		reply_problem(req, 422, "config",
			      "correct it; kanband --check-config shows what would hold", NULL,
			      "%s; the old configuration stays in force", e.text);
		return;
	}
	warnings = json_array();
	for (const char *const *w = env->warnings(env->arg); *w; w++)
		(void)json_array_append_new(warnings, json_string(*w)); /* also in the log */
	reply_json(req, 200, json_pack("{s:b, s:o}", "reloaded", 1, "warnings", warnings));
}

void action_retry(struct request *req)
{
	const struct control_env *env = &req->control->env;
	const char *path = NULL, *board = NULL, *task = NULL;
	bool known = false;
	json_int_t n = 0;

	if (!params_text(req, "root", &path) || !params_text(req, "board", &board) ||
	    !params_text(req, "task", &task) || !action_owner(req))
		return;
	for (size_t i = 0; i < *env->n_roots; i++) {
		struct root *root = env->roots[i];

		if (path && strcmp(root->path, path) != 0)
			continue;
		known = true;
		if (path && root->role != ROOT_OWNER) {
			params_not_owner(req, root);
			return;
		}
		if (notices_get(root))
			n += notify_retry(notices_get(root), board, task);
	}
	if (!known)
		reply_problem(req, 404, "no-root",
			      "GET /v1/leader lists the roots of this process", NULL,
			      "this daemon does not serve a root %s", path);
	else
		reply_json(req, 200, json_pack("{s:I}", "retried", n));
}
