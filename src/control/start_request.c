/*
 * POST /v1/boards/{slug}/start: one task, now. What the loop holds back is looked at first; the
 * board's rules are asked, and the task is claimed, by the next visit's tick (tick/start.h), so
 * that nothing can come between. What waits here is only who asked.
 */
#include <stdio.h>
#include <string.h>

#include "board/edit.h"
#include "control.h"
#include "control/holds.h"
#include "root/operation.h"
#include "root/root.h"
#include "tick/start.h"
#include "tick/why.h"
#include "util/json.h"
#include "util/log.h"

#define START_WAIT_MS 30000

struct starting {
	struct operation operation;
	struct request *req; /* NULL: nobody waits any more */
	struct control *control;
	struct start start;
	char *task, *despite; /* of start, owned */
};

static void starting_free(struct starting *s)
{
	struct control *c = s->control;

	json_decref(s->start.rules);
	free(s->task);
	free(s->despite);
	free(s);
	c->operations--;
	server_try_free(c);
}

/* The rule that holds it, in the words of why. */
static void starting_held(struct request *req, const char *task, const json_t *rule,
			  const char *despite)
{
	const char *name = json_string_value(json_object_get(rule, "rule"));
	const char *text = json_string_value(json_object_get(rule, "text"));
	const char *release = json_string_value(json_object_get(rule, "release"));
	const char *reason = json_string_value(json_object_get(rule, "reason"));
	bool passable = !despite && name && start_is_guard(reason ? reason : name);
	char remedy[300];

	(void)snprintf(remedy, sizeof(remedy), "%.200s%s%s", release ? release : "",
		       passable ? "; or start it with --despite " : "",
		       passable ? (reason ? reason : name) : "");
	reply_problem(req, 409, "refused", remedy[0] ? remedy : NULL,
		      json_pack("{s:o}", "held_by", json_or_null(name)),
		      "task %s is held by %s: %s", task, name ? name : "?", text ? text : "?");
}

static void starting_answer(struct starting *s, bool ran)
{
	struct request *req = s->req;
	const struct dispatch *d = s->operation.dispatch;
	const json_t *rule = start_held_by(s->start.rules, s->despite);

	req->gone = NULL;
	req->expired = NULL;
	if (!ran)
		reply_problem(req, 503, "stopping", "ask again, or ask the owner", NULL,
			      "board %s is not ours any more", req->slug);
	else if (s->start.missing)
		reply_problem(req, 404, "no-task", NULL, NULL, EDIT_NO_TASK_TEXT, s->task);
	else if (s->start.run > 0)
		reply_json(req, 200,
			   json_pack("{s:s, s:o, s:o, s:I}", "board", req->slug, "root",
				     json_utf8(d->root->path), "task", json_utf8(s->task),
				     "run", (json_int_t)s->start.run));
	else if (rule)
		starting_held(req, s->task, rule, s->despite);
	else
		reply_problem(req, 409, "refused", NULL, NULL,
			      "somebody else has changed task %s meanwhile", s->task);
}

static void starting_done(struct operation *e, bool ran)
{
	struct starting *s = container_of(e, struct starting, operation);
	struct dispatch *d = e->dispatch;

	/* a visit that another process's lock kept from its tick says nothing */
	if (ran && !s->start.tried && s->req && !d->closing && d->dispatched) {
		e->after = d->visit.count + 1; /* which comes by itself */
		operation_submit(d, e);
		return;
	}
	d->start = NULL;
	if (s->start.run > 0) {
		const struct log_about about = { .root = d->root->path,
						 .board = d->board.place.slug,
						 .task = s->task,
						 .run = s->start.run,
						 .epoch = d->root->epoch };

		log_about(LOG_NOTICE, &about, "started by the operator%s%s",
			  s->despite ? " despite " : "", s->despite ? s->despite : "");
	}
	if (s->req)
		starting_answer(s, ran && s->start.tried);
	starting_free(s);
}

/* A visit may have it: then it is dropped when that is over. */
static void starting_gone(struct request *req)
{
	struct starting *s = req->work;
	struct dispatch *d = s->operation.dispatch;

	s->req = NULL;
	if (d->board.busy || !operation_forget(&s->operation))
		return;
	d->start = NULL;
	starting_free(s);
}

static void starting_expired(struct request *req)
{
	reply_problem(req, 503, "busy", "kanbanctl show says whether it runs by now", NULL,
		      "board %s could not be visited in time", req->slug);
	starting_gone(req);
}

/* What the loop holds back, whatever the rows say. Return: nothing; else it is answered. */
static bool starting_free_to_go(struct request *req, const struct dispatch *d, const char *task)
{
	CLEANUP(json_freep) json_t *rules = json_array();
	const json_t *rule;

	if (d->start) {
		reply_problem(req, 503, "busy", "try again", NULL,
			      "another task of board %s is being started", req->slug);
		return false;
	}
	if (!rules) {
		reply_response(req, 500, NULL);
		return false;
	}
	holds_add(d, task, rules);
	rule = start_held_by(rules, NULL);
	if (rule)
		starting_held(req, task, rule, "");
	return !rule;
}

static struct starting *starting_new(struct request *req, const char *task, const char *despite)
{
	struct starting *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->control = req->control;
	s->control->operations++;
	s->req = req;
	s->task = strdup(task);
	s->despite = despite ? strdup(despite) : NULL;
	if (!s->task || (despite && !s->despite)) {
		starting_free(s);
		return NULL;
	}
	s->start = (struct start){ .task = s->task, .despite = s->despite };
	s->operation.name = "start";
	s->operation.done = starting_done;
	return s;
}

void start_request(struct request *req)
{
	const char *task = NULL, *despite = NULL;
	struct dispatch *d;
	struct starting *s;

	if (!params_text(req, "task", &task) || !params_text(req, "despite", &despite) ||
	    !params_board(req, &d))
		return;
	if (!task || (despite && !start_is_guard(despite))) {
		reply_problem(req, 400, "bad-request", NULL, NULL,
			      !task ? "task names no task"
				    : "despite names a guard: guard, retry_backoff, "
				      "scheduled_at, infrastructure_cooldown, "
				      "rate_limit_cooldown, blocker_auth, recent_success or "
				      "active_pr");
		return;
	}
	if (!starting_free_to_go(req, d, task))
		return;
	s = starting_new(req, task, despite);
	if (!s) {
		reply_response(req, 500, NULL);
		return;
	}
	req->work = s;
	req->gone = starting_gone;
	req->expired = starting_expired;
	server_deadline(req, START_WAIT_MS);
	d->start = &s->start;
	operation_after_visit(d, &s->operation);
	operation_submit(d, &s->operation);
}
