/*
 * What the rows of a board and the log of a worker say: tasks, one task, activity, a log.
 *
 * An operation (root/operation.h) reads: it has the board as a visit has it. A task is looked
 * for on the board that is named, or on one board of ours after the other. Who asks is answered
 * within TASKS_WAIT_MS, whatever the boards do; what still runs then ends by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/edit.h"
#include "board/view.h"
#include "control.h"
#include "control/holds.h"
#include "control/survey.h"
#include "db/db.h"
#include "root/operation.h"
#include "root/root.h"
#include "tick/profile.h"
#include "tick/why.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/json.h"

#define TASKS_WAIT_MS  10000
#define TASKS_BUSY_MS  1000
#define TASKS_LIMIT_MS (5 * 60 * 1000)
#define TASKS_MAX      1000 /* of a list */
#define TASKS_FEW      200  /* … unless more are asked for */
#define TASKS_HELD     200  /* of a list are asked what holds them */
#define TASKS_FAILURES 20
#define TASKS_EVENTS   20
#define TASKS_LOG_MAX  (256 * 1024)
#define TASKS_LOG_FEW  (16 * 1024)

struct reading;

/* Pool thread: one board; fills @json. Return: 0; EDIT_NO_TASK; as db_step() otherwise. */
typedef int (*reading_fn)(struct reading *r, struct db *db);

struct reading {
	struct operation operation;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	reading_fn read;
	struct view_filter filter;
	char *status, *assignee; /* of the filter, owned */
	char task[TASK_ID_MAX + 1];
	int64_t limit;
	/* boards to look on: the roots are only compared */
	struct {
		const struct root *root;
		char slug[BOARD_SLUG_MAX + 1];
	} * boards;
	size_t n_boards, next;
	struct holds holds; /* of the board that is read now */
	char *root;         /* … its root */
	json_t *json;
	int result;
	struct error error;
};

static void reading_free(struct reading *r)
{
	struct control *c = r->control;

	json_decref(r->json);
	free(r->status);
	free(r->assignee);
	free(r->boards);
	free(r->root);
	holds_deinit(&r->holds);
	free(r);
	c->operations--;
	server_try_free(c);
}

/* ---- reading ---- */

static void reading_work(struct job *job)
{
	struct reading *r = container_of(job, struct reading, operation.job);
	struct board *b = &r->operation.dispatch->board;
	CLEANUP(db_freep) struct db *own = NULL;
	struct db *db = b->db;

	r->result = 0;
	if (!db) {
		r->result = view_open(&own, b->place.db_path, TASKS_BUSY_MS, &r->error);
		db = own;
	}
	if (r->result == 0)
		r->result = r->read(r, db);
}

/* Why a ready task can be started by nobody here; NULL: it can. */
static const char *reading_lane(const struct reading *r, const json_t *row)
{
	const char *status = json_string_value(json_object_get(row, "status"));
	const char *assignee = json_string_value(json_object_get(row, "assignee"));
	CLEANUP(freep) char *path = NULL;
	char name[256];

	if (!status || (strcmp(status, "ready") != 0 && strcmp(status, "review") != 0))
		return NULL;
	if (!assignee || !*assignee)
		return "unassigned";
	if (!profile_name(assignee, name, sizeof(name)))
		return "no-profile";
	if (strcmp(name, "default") == 0)
		return NULL;
	path = fs_path("%s/profiles/%s", r->root, name);
	return !path || fs_is_dir(path) ? NULL : "no-profile";
}

static int reading_row(void *arg, json_t *row)
{
	struct reading *r = arg;
	const char *why = reading_lane(r, row);

	if (json_object_set_new(row, "why", why ? json_string(why) : json_null()) < 0)
		return -ENOMEM;
	return json_array_append(r->json, row) < 0 ? -ENOMEM : 0;
}

/* The first rule that holds each of them, in the words of `why`; null: none, or it runs or is
 * over. */
static int reading_held(struct reading *r, struct db *db)
{
	for (size_t i = 0; i < json_array_size(r->json); i++) {
		json_t *row = json_array_get(r->json, i), *rule = NULL;
		const char *status = json_string_value(json_object_get(row, "status"));
		const char *id = json_string_value(json_object_get(row, "id"));
		bool over = !status || strcmp(status, "done") == 0 ||
			    strcmp(status, "archived") == 0 || strcmp(status, "running") == 0;
		int result = 0;

		if (id && !over && i < TASKS_HELD)
			result = holds_first(&r->holds, r->operation.dispatch, db, id, &rule,
					     &r->error);
		if (result != 0)
			return result;
		if (json_object_set_new(row, "held", rule ? rule : json_null()) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int reading_tasks(struct reading *r, struct db *db)
{
	int result;

	r->json = json_array();
	if (!r->json)
		return -ENOMEM;
	result = view_tasks(db, &r->filter, reading_row, r, &r->error);
	return result == 0 ? reading_held(r, db) : result;
}

static int reading_task(struct reading *r, struct db *db)
{
	return view_task(db, r->task, r->limit, &r->json, &r->error);
}

static int reading_activity(struct reading *r, struct db *db)
{
	return view_activity(db, clock_wall_s(), TASKS_FAILURES, &r->json, &r->error);
}

/* The end of a worker's log. Nothing but a plain file in a plain folder is opened. */
static int reading_tail(const char *folder, const char *task, int64_t most, int64_t *size,
			char **text, size_t *n)
{
	CLEANUP(freep) char *name = fs_path("%s.log", task);
	CLEANUP(fs_closep) int dir = -1;
	CLEANUP(fs_closep) int fd = -1;
	struct stat st;
	ssize_t got;

	if (!name)
		return -ENOMEM;
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir >= 0)
		fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*size = st.st_size;
	most = st.st_size < most ? st.st_size : most;
	*text = malloc((size_t)most + 1);
	if (!*text)
		return -ENOMEM;
	got = pread(fd, *text, (size_t)most, st.st_size - most);
	if (got < 0)
		return -errno;
	*n = (size_t)got;
	return 0;
}

static int reading_log(struct reading *r, struct db *db)
{
	const struct board_place *place = &r->operation.dispatch->board.place;
	CLEANUP(json_freep) json_t *all = NULL;
	CLEANUP(freep) char *text = NULL;
	int64_t size = 0;
	size_t n = 0;
	int result = view_task(db, r->task, 0, &all, &r->error); /* is it there */

	if (result != 0)
		return result;
	result = reading_tail(place->logs_dir, r->task, r->limit, &size, &text, &n);
	if (result < 0 && result != -ENOENT)
		return error_errno(&r->error, result, "cannot read the log of %s", r->task);
	r->json = json_pack("{s:o, s:o, s:b, s:I, s:I, s:o}", "task", json_utf8(r->task),
			    "folder", json_utf8(place->logs_dir), "there", result == 0, "size",
			    (json_int_t)size, "from", (json_int_t)(size - (int64_t)n), "text",
			    json_utf8_n(text ? text : "", n));
	return r->json ? 0 : -ENOMEM;
}

static int reading_why(struct reading *r, struct db *db)
{
	return holds_read(&r->holds, r->operation.dispatch, db, r->task, &r->json, &r->error);
}

/* ---- its course ---- */

/* What nothing of the board holds may be held by what the loop knows. */
static void reading_held_here(const struct reading *r, json_t *rows)
{
	CLEANUP(json_freep) json_t *rules = json_array();
	json_t *rule, *row;
	size_t i;

	if (rules)
		holds_add(r->operation.dispatch, NULL, rules);
	rule = (json_t *)why_holding(rules); /* whose it is stays the list's */
	json_array_foreach(rows, i, row)
	{
		const char *status = json_string_value(json_object_get(row, "status"));

		if (rule && status && json_is_null(json_object_get(row, "held")) &&
		    (strcmp(status, "ready") == 0 || strcmp(status, "review") == 0))
			(void)json_object_set(row, "held", rule); /* no memory: null */
	}
}

static void reading_reply(struct reading *r, const char *slug)
{
	struct request *req = r->req;
	json_t *head, *body = STEAL(r->json);

	if (r->read == reading_why) {
		holds_add(r->operation.dispatch, r->task, body);
		body = holds_json(r->task, body);
	} else if (json_is_array(body)) {
		reading_held_here(r, body);
		body = json_pack("{s:o}", "tasks", body);
	}
	head = json_pack("{s:o, s:s}", "root", json_utf8(r->root), "board", slug);
	reply_json(req, 200, json_join(head, body));
}

static void reading_problem(struct reading *r, const char *slug)
{
	if (r->result == EDIT_NO_TASK)
		reply_problem(r->req, 404, "no-task", NULL, NULL, "there is no task %s on %s",
			      r->task, r->n_boards == 1 ? "that board" : "any board");
	else if (r->result == DB_TRANSIENT)
		reply_problem(r->req, 503, "busy", "try again", NULL, "board %s: %s", slug,
			      r->error.text);
	else
		reply_problem(r->req, 500, "internal", "kanbanctl check says more", NULL,
			      "board %s: %s", slug,
			      r->error.text[0] ? r->error.text : strerror(ENOMEM));
}

static void reading_next(struct reading *r);

static void reading_done(struct operation *e, bool ran)
{
	struct reading *r = container_of(e, struct reading, operation);
	const char *slug = r->boards[r->next].slug;

	if (!r->req) {
		reading_free(r);
		return;
	}
	if (ran && r->result == EDIT_NO_TASK && r->next + 1 < r->n_boards) {
		r->next++;
		reading_next(r);
		return;
	}
	r->req->gone = NULL;
	r->req->expired = NULL;
	if (!ran)
		reply_problem(r->req, 503, "stopping", "ask again, or ask the owner", NULL,
			      "board %s is not ours any more", slug);
	else if (r->result == 0)
		reading_reply(r, slug);
	else
		reading_problem(r, slug);
	reading_free(r);
}

static struct dispatch *reading_find(const struct reading *r)
{
	const struct control_env *env = &r->control->env;

	for (size_t i = 0; i < *env->n_roots; i++) {
		struct root *root = env->roots[i];

		if (root != r->boards[r->next].root || root->role != ROOT_OWNER ||
		    root->stopping)
			continue;
		for (size_t k = 0; k < root->n_boards; k++)
			if (strcmp(root->boards[k]->board.place.slug,
				   r->boards[r->next].slug) == 0 &&
			    !root->boards[k]->closing && survey_may_count(root->boards[k]))
				return root->boards[k];
	}
	return NULL;
}

/* Read the next board that can be read. */
static void reading_next(struct reading *r)
{
	struct dispatch *d = NULL;

	while (!(d = reading_find(r)) && r->next + 1 < r->n_boards)
		r->next++;
	free(r->root);
	r->root = d ? strdup(d->root->path) : NULL;
	if (d && r->root && holds_take(&r->holds, d) == 0) {
		operation_submit(d, &r->operation);
		return;
	}
	r->req->gone = NULL;
	r->req->expired = NULL;
	if (d)
		reply_response(r->req, 500, NULL);
	else if (r->n_boards > 1)
		reading_problem(r, r->boards[r->next].slug);
	else
		reply_problem(r->req, 409, "not-well", "kanbanctl check says more", NULL,
			      "board %s is not well, or not looked at yet: its rows are not "
			      "read",
			      r->boards[r->next].slug);
	reading_free(r);
}

static void reading_gone(struct request *req)
{
	struct reading *r = req->work;

	r->req = NULL;
	if (operation_forget(&r->operation))
		reading_free(r);
}

static void reading_expired(struct request *req)
{
	const struct reading *r = req->work;
	const char *slug = r->boards[r->next].slug;

	reply_problem(req, 503, "busy", "try again", NULL, "board %s could not be read in time",
		      slug);
	reading_gone(req);
}

/* The boards to look on: @one, or all that are ours. */
static int reading_fill(struct reading *r, const struct dispatch *one)
{
	const struct control_env *env = &r->control->env;
	size_t n = one ? 1 : 0;

	for (size_t i = 0; !one && i < *env->n_roots; i++)
		n += env->roots[i]->n_boards;
	r->boards = calloc(n + 1, sizeof(*r->boards));
	if (!r->boards)
		return -ENOMEM;
	for (size_t i = 0; i < *env->n_roots; i++)
		for (size_t k = 0; k < env->roots[i]->n_boards; k++) {
			const struct dispatch *d = env->roots[i]->boards[k];

			if ((one && d != one) || d->board.place.duplicate_of[0])
				continue;
			r->boards[r->n_boards].root = env->roots[i];
			memcpy(r->boards[r->n_boards].slug, d->board.place.slug,
			       sizeof(r->boards->slug));
			r->n_boards++;
		}
	return 0;
}

static struct reading *reading_new(struct request *req, reading_fn read,
				   const struct dispatch *one)
{
	struct reading *r = calloc(1, sizeof(*r));

	if (!r) {
		reply_response(req, 500, NULL);
		return NULL;
	}
	r->control = req->control;
	r->control->operations++;
	r->req = req;
	r->read = read;
	r->result = EDIT_NO_TASK; /* until a board says otherwise */
	r->operation.name = "read";
	r->operation.work = reading_work;
	r->operation.done = reading_done;
	r->operation.limit_ms = TASKS_LIMIT_MS;
	(void)snprintf(r->task, sizeof(r->task), "%s", req->task);
	if (reading_fill(r, one) == 0)
		return r;
	reading_free(r);
	reply_response(req, 500, NULL);
	return NULL;
}

static void reading_start(struct reading *r)
{
	r->req->work = r;
	r->req->gone = reading_gone;
	r->req->expired = reading_expired;
	server_deadline(r->req, TASKS_WAIT_MS);
	reading_next(r);
}

/* ---- requests ---- */

void tasks_list(struct request *req)
{
	const char *status = params_query(req, "status"),
		   *assignee = params_query(req, "assignee");
	int64_t limit = TASKS_FEW;
	struct dispatch *d;
	struct reading *r;

	if (!params_number(req, "limit", TASKS_MAX, &limit) || !params_board(req, &d))
		return;
	r = reading_new(req, reading_tasks, d);
	if (!r)
		return;
	r->status = status ? strdup(status) : NULL;
	r->assignee = assignee ? strdup(assignee) : NULL;
	if ((status && !r->status) || (assignee && !r->assignee)) {
		reading_free(r);
		reply_response(req, 500, NULL);
		return;
	}
	r->filter = (struct view_filter){ .status = r->status,
					  .assignee = r->assignee,
					  .limit = limit };
	reading_start(r);
}

void tasks_activity(struct request *req)
{
	struct dispatch *d;
	struct reading *r;

	if (!params_board(req, &d))
		return;
	r = reading_new(req, reading_activity, d);
	if (r)
		reading_start(r);
}

/* The board that ?board= names, if it names one, and where. */
static bool tasks_where(struct request *req, struct dispatch **d)
{
	const char *slug = params_query(req, "board");
	const struct root *only;

	*d = NULL;
	if (!slug)
		return params_root(req, &only);
	(void)snprintf(req->slug, sizeof(req->slug), "%s", fs_is_slug(slug) ? slug : "");
	return params_board(req, d);
}

static void tasks_read(struct request *req, reading_fn read, const char *name, int64_t max,
		       int64_t few)
{
	struct dispatch *d;
	struct reading *r;

	if (!params_number(req, name, max, &few) || !tasks_where(req, &d))
		return;
	r = reading_new(req, read, d);
	if (!r)
		return;
	r->limit = few;
	if (r->n_boards > 0) {
		reading_start(r);
		return;
	}
	reading_problem(r, "");
	reading_free(r);
}

void tasks_one(struct request *req)
{
	tasks_read(req, reading_task, "events", TASKS_MAX, TASKS_EVENTS);
}

void tasks_why(struct request *req)
{
	static const char no_number[] = "";

	tasks_read(req, reading_why, no_number, 0, 0);
}

void tasks_log(struct request *req)
{
	tasks_read(req, reading_log, "bytes", TASKS_LOG_MAX, TASKS_LOG_FEW);
}
