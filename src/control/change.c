/*
 * New tasks and changes of tasks that an operator asks for, and the removal of what finished
 * tasks leave. Each is an operation: it has the board as a visit has it. A worker that has to
 * go with its task is ended in the same job, so the answer says whether it is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/edit_request.h"
#include "board/gc.h"
#include "control.h"
#include "db/db.h"
#include "launch/terminate.h"
#include "root/operation.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"
#include "wire/wire_change.h"

#define CHANGE_LIMIT_MS (5 * 60 * 1000)
#define CHANGE_BUSY_MS  10000
#define CHANGE_DAYS     30    /* gc, unless said otherwise */
#define CHANGE_DAYS_MAX 36500 /* a century */

struct change {
	struct operation operation;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	json_t *args;        /* of edit_request(); NULL: gc */
	char *verb, *task;
	char *text; /* retry all: of the last error, or NULL */
	bool retry_all;
	int64_t retried;
	int64_t before; /* gc */
	bool dry_run;
	unsigned grace_ms; /* for a worker that has to go */
	/* what came of it */
	int result;
	bool made; /* add: there was no such task */
	struct error error;
	struct edit_done done;
	bool ended;
	struct gc_report report;
};

static void change_free(struct change *m)
{
	struct control *c = m->control;

	json_decref(m->args);
	free(m->verb);
	free(m->task);
	free(m->text);
	free(m);
	c->operations--;
	server_try_free(c);
}

/* ---- the job ---- */

/* Texts of an array, NULL-terminated; borrowed texts, owned array. NULL: out of memory. */
static const char **change_list(const json_t *array)
{
	size_t n = json_array_size(array);
	const char **list = calloc(n + 1, sizeof(*list));

	for (size_t i = 0; list && i < n; i++)
		list[i] = json_string_value(json_array_get(array, i));
	return list;
}

static const char *change_text(const struct change *m, const char *key)
{
	return json_string_value(json_object_get(m->args, key));
}

static int64_t change_int(const struct change *m, const char *key)
{
	return json_integer_value(json_object_get(m->args, key));
}

static int change_add(struct change *m, const struct board_place *place, struct db *db)
{
	const char **parents = change_list(json_object_get(m->args, "parents"));
	const char **skills = change_list(json_object_get(m->args, "skills"));
	const char *by = change_text(m, "created_by");
	struct edit_task t = {
		.title = change_text(m, "title"),
		.body = change_text(m, "body"),
		.assignee = change_text(m, "assignee"),
		.priority = change_int(m, "priority"),
		.parents = parents,
		.triage = json_is_true(json_object_get(m->args, "triage")),
		.workspace_kind = change_text(m, "workspace_kind"),
		.workspace_path = change_text(m, "workspace_path"),
		.branch_name = change_text(m, "branch"),
		.max_runtime_s = change_int(m, "max_runtime"),
		.max_retries = change_int(m, "max_retries"),
		.skills = skills,
		.tenant = change_text(m, "tenant"),
		.created_by = by ? by : "user",
		.model = change_text(m, "model"),
		.provider = change_text(m, "provider"),
		.at = change_int(m, "at"),
		.every = change_text(m, "every"),
		.idempotency_key = change_text(m, "idempotency_key"),
	};
	char id[EDIT_ID_SIZE] = "";
	int r = parents && skills ? 0 : error_set(&m->error, -ENOMEM, "out of memory");

	if (!t.workspace_path && t.workspace_kind && strcmp(t.workspace_kind, "scratch") != 0)
		t.workspace_path = place->default_workdir;
	if (r == 0)
		r = edit_add(db, &t, clock_wall_s(), id, &m->made, &m->done, &m->error);
	if (r == 0)
		m->task = strdup(id);
	free(parents);
	free(skills);
	return r;
}

static void change_end_worker(struct change *m, const char *db, const struct edit_worker *w)
{
	const struct identity_claim claim = { .pid = (pid_t)w->pid,
					      .task = m->task,
					      .run = w->run,
					      .started = *w->started ? w->started : NULL,
					      .run_started_at = w->run_started_at,
					      .db = db };
	struct termination end = { .attempted = false };

	if (w->pid > 0)
		m->ended = terminate_now(&claim, m->grace_ms, &end) == 0 && end.attempted &&
			   end.terminated;
}

static void change_work(struct job *job)
{
	struct change *m = container_of(job, struct change, operation.job);
	const struct board_place *place = &m->operation.dispatch->board.place;
	const struct db_options opt = { .path = place->db_path,
					.busy_timeout_ms = CHANGE_BUSY_MS };
	CLEANUP(db_freep) struct db *db = NULL;
	struct edit_worker worker = { 0 };

	m->result = db_open(&db, &opt, &m->error);
	if (m->result != 0)
		return;
	if (m->retry_all) {
		m->result = edit_retry_all(db, m->text, clock_wall_s(), &m->retried, &m->error);
		return;
	}
	if (!m->args) {
		m->result = gc_run(db, place, m->before, m->dry_run, &m->report, &m->error);
		return;
	}
	if (strcmp(m->verb, "add") == 0) {
		m->result = change_add(m, place, db);
		return;
	}
	m->result = edit_request(db, m->verb, m->task, m->args, clock_wall_s(), &m->done,
				 &worker, &m->error);
	db = db_free(db); /* ending a worker may take a while */
	if (m->result == 0)
		change_end_worker(m, place->db_path, &worker);
}

/* ---- the answer ---- */

static void change_problem(struct request *req, const struct change *m)
{
	const char *text = m->error.text[0] ? m->error.text : "it failed";

	switch (m->result) {
	case EDIT_NO_TASK:
		reply_problem(req, 404, "no-task", NULL, NULL, "%s", text);
		break;
	case EDIT_REFUSED:
		reply_problem(req, 409, "refused", NULL, NULL, "%s", text);
		break;
	case EDIT_INVALID:
		reply_problem(req, 400, "bad-request", NULL, NULL, "%s", text);
		break;
	case DB_MISSING:
		reply_problem(req, 404, "no-database", "kanbanctl init makes one", NULL, "%s",
			      text);
		break;
	case DB_CORRUPT:
	case DB_SCHEMA_BAD:
		reply_problem(req, 422, "not-well", "kanbanctl check says more", NULL, "%s",
			      text);
		break;
	case DB_TRANSIENT:
	case DB_CONFLICT:
		reply_problem(req, 503, "busy", "try again", NULL, "%s", text);
		break;
	default:
		reply_problem(req, 500, "internal", "see the log of the daemon", NULL,
			      "board %s: %s", req->slug, text);
	}
}

static json_t *change_json(const struct change *m)
{
	const char *slug = m->req->slug, *root = m->operation.dispatch->root->path;

	if (m->retry_all)
		return wire_change_retried(slug, root, (int64_t)m->retried);
	if (!m->args)
		return wire_change_gc(slug, root, &m->report, m->dry_run);
	if (strcmp(m->verb, "add") == 0)
		return wire_change_added(slug, root, m->task, m->done.status, m->made);
	return wire_change_ended(wire_change(slug, root, m->task, &m->done), m->ended);
}

static void change_done(struct operation *e, bool ran)
{
	struct change *m = container_of(e, struct change, operation);
	struct request *req = m->req;
	const struct log_about about = { .root = e->dispatch->root->path,
					 .board = e->dispatch->board.place.slug,
					 .task = m->task,
					 .epoch = e->dispatch->root->epoch };

	if (ran && m->result == 0 && m->args)
		log_about(LOG_NOTICE, &about, "%s by the operator%s", m->verb,
			  m->ended ? ", its worker was ended" : "");
	if (req) {
		req->gone = NULL;
		if (!ran)
			reply_problem(req, 503, "stopping", "ask again, or ask the owner", NULL,
				      "board %s is not ours any more", req->slug);
		else if (m->result != 0)
			change_problem(req, m);
		else
			reply_json(req, 200, change_json(m));
	}
	change_free(m);
}

static void change_gone(struct request *req)
{
	struct change *m = req->work;

	m->req = NULL;
	if (operation_forget(&m->operation))
		change_free(m);
}

/* ---- the requests ---- */

static struct change *change_new(struct request *req, struct dispatch *d, const char *name)
{
	struct change *m = calloc(1, sizeof(*m));

	if (!m) {
		reply_response(req, 500, NULL);
		return NULL;
	}
	m->control = req->control;
	m->control->operations++;
	m->req = req;
	m->grace_ms = (unsigned)d->set.terminate_grace_ms;
	m->operation.name = name;
	m->operation.work = change_work;
	m->operation.done = change_done;
	m->operation.limit_ms = CHANGE_LIMIT_MS;
	req->work = m;
	req->gone = change_gone;
	return m;
}

void change_do_task(struct request *req)
{
	const char *verb = NULL, *task = NULL;
	struct dispatch *d;
	struct change *m;

	if (!params_text(req, "change", &verb) || !params_text(req, "task", &task) ||
	    !params_board(req, &d))
		return;
	if (!verb || !edit_request_keys(verb) || !task) {
		reply_problem(req, 400, "bad-request", NULL, NULL,
			      !task ? "task names no task"
				    : "change is none of edit, assign, archive, cancel, link, "
				      "unlink, schedule, retry, kill, subscribe");
		return;
	}
	/* a member that was forgotten takes nothing away */
	if (strcmp(verb, "assign") == 0 && !json_object_get(req->args, "assignee")) {
		reply_problem(
			req, 400, "bad-request", NULL, NULL,
			"assignee is not there: the name of a profile, or null for nobody");
		return;
	}
	m = change_new(req, d, "change");
	if (!m)
		return;
	m->verb = strdup(verb);
	m->task = strdup(task);
	m->args = json_deep_copy(req->args);
	if (!m->verb || !m->task || !m->args) {
		req->gone = NULL;
		reply_response(req, 500, NULL);
		change_free(m);
		return;
	}
	/* there they are */
	(void)json_object_del(m->args, "change");
	(void)json_object_del(m->args, "task");
	operation_submit(d, &m->operation);
}

/* Is every member of its kind? */
static bool change_add_ok(struct request *req)
{
	static const char *const texts[] = { "title",          "body",   "assignee",
					     "workspace_kind", "branch", "workspace_path",
					     "tenant",         "model",  "created_by",
					     "provider",       "every",  "idempotency_key" };
	static const char *const lists[] = { "parents", "skills" };
	const json_t *priority = json_object_get(req->args, "priority"), *one;
	const char *text;
	int64_t n;
	bool yes;
	size_t k;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!params_text(req, texts[i], &text))
			return false;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		json_array_foreach(json_object_get(req->args, lists[i]), k,
				   one) if (!json_is_string(one))
		{
			reply_problem(req, 400, "bad-request", NULL, NULL,
				      "%s takes a list of texts", lists[i]);
			return false;
		}
	if (priority &&
	    (!json_is_integer(priority) || llabs(json_integer_value(priority)) > INT32_MAX)) {
		reply_problem(req, 400, "bad-request", NULL, NULL,
			      "priority is not a whole number in its range");
		return false;
	}
	return params_int(req, "max_runtime", INT32_MAX, &n) &&
	       params_int(req, "max_retries", INT32_MAX, &n) &&
	       params_int(req, "at", INT64_C(253402300799), &n) &&
	       params_bool(req, "triage", &yes);
}

void change_do_add(struct request *req)
{
	struct dispatch *d;
	struct change *m;

	if (!change_add_ok(req) || !params_board(req, &d))
		return;
	m = change_new(req, d, "change");
	if (!m)
		return;
	m->verb = strdup("add");
	m->args = json_deep_copy(req->args);
	if (!m->args && !req->args)
		m->args = json_object(); /* told that it needs a title */
	if (!m->verb || !m->args) {
		req->gone = NULL;
		reply_response(req, 500, NULL);
		change_free(m);
		return;
	}
	operation_submit(d, &m->operation);
}

void change_do_retry(struct request *req)
{
	const char *text = NULL;
	struct dispatch *d;
	struct change *m;

	if (!params_text(req, "error", &text) || !params_board(req, &d))
		return;
	m = change_new(req, d, "retry");
	if (!m)
		return;
	m->retry_all = true;
	m->text = text ? strdup(text) : NULL;
	if (text && !m->text) {
		req->gone = NULL;
		reply_response(req, 500, NULL);
		change_free(m);
		return;
	}
	operation_submit(d, &m->operation);
}

void change_do_gc(struct request *req)
{
	int64_t days = CHANGE_DAYS;
	bool dry_run = false;
	struct dispatch *d;
	struct change *m;

	if (!params_int(req, "older_than_days", CHANGE_DAYS_MAX, &days) ||
	    !params_bool(req, "dry_run", &dry_run) || !params_board(req, &d))
		return;
	m = change_new(req, d, "gc");
	if (!m)
		return;
	m->before = clock_wall_s() - days * 86400;
	m->dry_run = dry_run;
	operation_submit(d, &m->operation);
}
