/*
 * What happened before this process: a client that comes back with the id of an event of an
 * earlier one is told what the boards' task_events say of the time between, then what this
 * process remembers.
 *
 * The rows are read by a job, through connections of its own, at most PAST_ROWS;
 * where more are there, or a board cannot be read, a gap is told first. What happened in the
 * second of that id, and in the one in which this process began, is told once: of those, kinds
 * that a daemon tells by itself are left out, as they were told, or will be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/news.h"
#include "board/view.h"
#include "control.h"
#include "control/survey.h"
#include "db/db.h"
#include "root/root.h"
#include "util/json.h"

#define PAST_ROWS     2000 /* of all boards, a few more */
#define PAST_BUSY_MS  1000
#define PAST_LIMIT_MS (5 * 60 * 1000)

struct past {
	struct job job;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	past_reply reply;
	struct past_board {
		char *root, *db;
		char slug[BOARD_SLUG_MAX + 1];
	} * boards;
	size_t n_boards;
	uint64_t instance;
	int64_t since, until; /* Unix seconds */
	/* what came of it */
	json_t *list; /* NULL: out of memory */
	size_t rows;
	bool gap;
};

static void past_free(struct past *p)
{
	struct control *c = p->control;

	for (size_t i = 0; i < p->n_boards; i++) {
		free(p->boards[i].root);
		free(p->boards[i].db);
	}
	free(p->boards);
	json_decref(p->list);
	free(p);
	c->operations--;
	server_try_free(c);
}

/* ---- reading: pool ---- */

/* Has the member of a payload something to say */
static bool past_says(const json_t *value)
{
	return !json_is_null(value) && !json_is_false(value) &&
	       !(json_is_string(value) && json_string_length(value) == 0) &&
	       !(json_is_array(value) && json_array_size(value) == 0) &&
	       !(json_is_object(value) && json_object_size(value) == 0);
}

static void past_put(FILE *f, const char *key, const json_t *value)
{
	CLEANUP(freep) char *dumped = NULL;

	/* a failure shows in fclose() */
	(void)fprintf(f, "%s%s", ftell(f) > 0 ? ", " : "", key);
	if (json_is_string(value)) {
		(void)fprintf(f, " %s", json_string_value(value));
	} else if (!json_is_true(value)) {
		dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		(void)fprintf(f, " %s", dumped ? dumped : "?");
	}
}

/* "assignee coder, status ready": what a row's payload says, for people; a text as it is.
 * malloc'd, NULL: nothing, or out of memory */
static char *past_words(const char *payload)
{
	CLEANUP(json_freep) json_t *json = payload ? json_loads(payload, 0, NULL) : NULL;
	char *text = NULL;
	size_t size = 0;
	const char *key;
	json_t *value;
	FILE *f;

	if (!json_is_object(json))
		return payload && *payload ? strdup(payload) : NULL;
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	json_object_foreach(json, key, value)
	{
		if (past_says(value))
			past_put(f, key, value);
	}
	if (fclose(f) == 0 && size > 0)
		return text;
	free(text);
	return NULL;
}

static json_t *past_event(const struct past *p, const struct past_board *b,
			  const struct news_row *row)
{
	CLEANUP(freep) char *words = past_words(row->payload);
	char id[EVENT_ID_MAX];

	(void)snprintf(id, sizeof(id), "%llx-0-%llx", (unsigned long long)p->instance,
		       (unsigned long long)row->at);
	return json_pack("{s:s, s:f, s:o, s:s, s:o, s:s, s:o, s:o, s:n, s:o, s:n}", "id", id,
			 "at", (double)row->at, "kind", json_utf8(row->kind), "level", "info",
			 "root", json_utf8(b->root), "board", b->slug, "task",
			 json_utf8(row->task), "run",
			 row->run ? json_integer(row->run) : json_null(), "epoch", "message",
			 json_utf8(words ? words : row->kind), "message_id");
}

static void past_row(struct past *p, const struct past_board *b, const struct news_row *row)
{
	bool edge = row->at == p->since || row->at == p->until;

	if (row->at < p->since || row->at > p->until || (edge && news_row_told(row)))
		return;
	p->list = json_push(p->list, past_event(p, b, row));
}

static int past_board(struct past *p, const struct past_board *b)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int64_t after = 0;
	int r = view_open(&db, b->db, PAST_BUSY_MS, &e);
	bool more = r == 0;

	if (r == 0)
		r = news_begin(db, p->since, &after, &e);
	while (r == 0 && more) {
		struct news news = { 0 };

		r = news_read(db, after, &news, &e);
		for (size_t i = 0; r == 0 && i < news.n; i++)
			past_row(p, b, &news.rows[i]);
		p->rows += news.n;
		after = news.after;
		more = news.more && p->rows < PAST_ROWS;
		p->gap |= news.more && !more;
		news_deinit(&news);
	}
	return r;
}

static double past_at(const json_t *event)
{
	return json_number_value(json_object_get(event, "at"));
}

/* Oldest first; the events of one board come in their order already. */
static json_t *past_sorted(json_t *given)
{
	CLEANUP(json_freep) json_t *list = given;
	json_t *sorted = json_array(), *event;
	size_t i;

	json_array_foreach(list, i, event)
	{
		size_t at = json_array_size(sorted);

		while (at > 0 && past_at(json_array_get(sorted, at - 1)) > past_at(event))
			at--;
		if (json_array_insert(sorted, at, event) < 0)
			return json_free(sorted);
	}
	return list ? sorted : json_free(sorted);
}

static void past_work(struct job *job)
{
	struct past *p = container_of(job, struct past, job);

	p->list = json_array();
	for (size_t i = 0; i < p->n_boards && !atomic_load(&job->cancel); i++)
		p->gap |= p->rows >= PAST_ROWS || past_board(p, &p->boards[i]) != 0;
	p->list = past_sorted(STEAL(p->list));
}

/* ---- answering ---- */

static void past_done(struct job *job)
{
	struct past *p = container_of(job, struct past, job);
	struct request *req = p->req;

	if (req) {
		req->gone = NULL;
		p->reply(req, STEAL(p->list), p->gap);
	}
	past_free(p);
}

static void past_gone(struct request *req)
{
	struct past *p = req->work;

	p->req = NULL;
	job_cancel(&p->job);
}

static int past_fill(struct past *p)
{
	const struct control_env *env = &p->control->env;
	size_t n = 0;

	for (size_t i = 0; i < *env->n_roots; i++)
		n += env->roots[i]->n_boards;
	p->boards = calloc(n + 1, sizeof(*p->boards));
	for (size_t i = 0; p->boards && i < *env->n_roots; i++)
		for (size_t k = 0; k < env->roots[i]->n_boards; k++) {
			const struct dispatch *d = env->roots[i]->boards[k];
			struct past_board *b = &p->boards[p->n_boards];

			if (!survey_may_count(d) || d->board.place.duplicate_of[0])
				continue;
			p->n_boards++;
			b->root = strdup(env->roots[i]->path);
			b->db = strdup(d->board.place.db_path);
			memcpy(b->slug, d->board.place.slug, sizeof(b->slug));
			if (!b->root || !b->db)
				return -1;
		}
	return p->boards ? 0 : -1;
}

void past_get(struct request *req, int64_t since, past_reply reply)
{
	struct control *c = req->control;
	struct past *p = calloc(1, sizeof(*p));
	const struct event *first = event_ring_get(&c->events, c->events.first);

	if (!p) {
		reply_response(req, 500, NULL);
		return;
	}
	p->control = c;
	p->since = since;
	p->reply = reply;
	/* what this process remembers no more is told from the rows, too */
	p->until = c->events.first > 1 && first ? first->at_us / 1000000 : c->started_at;
	p->instance = c->events.instance;
	c->operations++;
	if (past_fill(p) < 0 || job_submit_long(c->env.root_env->jobs, &p->job, "past",
						past_work, past_done, PAST_LIMIT_MS) < 0) {
		past_free(p);
		reply_response(req, 500, NULL);
		return;
	}
	p->req = req;
	req->work = p;
	req->gone = past_gone;
}
