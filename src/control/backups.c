/*
 * What a board can be restored from. The copies are looked at by a job of their own, not by an
 * errand of the board: dispatching goes on meanwhile, and nothing that is opened is a file of
 * the board. One such job runs at a time, whoever asks: with deep=yes it reads every copy from
 * end to end.
 *
 * A request that is given up does not end the job; it is over before this process ends, as
 * every job is.
 */
#include <errno.h>
#include <string.h>

#include "control.h"
#include "recovery/snapshot.h"
#include "root/root.h"
#include "util/fs.h"
#include "util/job.h"

#define COPIES_LIMIT_MS (60 * 60 * 1000)

struct copies {
	struct job job; /* first */
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	char *root, *slug, *db, *folder;
	bool deep;
	/* what came of it */
	int result;
	struct error error;
	struct candidate *list;
	size_t n;
};

static void copies_free(struct copies *s)
{
	candidates_free(s->list, s->n);
	free(s->root);
	free(s->slug);
	free(s->db);
	free(s->folder);
	free(s);
}

static void copies_work(struct job *job)
{
	struct copies *s = (struct copies *)job;

	s->result = candidates_list(s->db, s->folder, s->deep, &s->list, &s->n, &s->error);
}

static json_t *copies_json(const struct copies *s)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < s->n; i++) {
		const struct candidate *c = &s->list[i];
		json_t *one = json_pack(
			"{s:o, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path",
			reply_string(c->path, true), "kind", c->kind, "sound", c->sound,
			"tasks", (json_int_t)c->tasks, "links", (json_int_t)c->links, "runs",
			(json_int_t)c->runs, "events", (json_int_t)c->events, "newest_event_at",
			(json_int_t)c->newest_event_at, "size", (json_int_t)c->size, "why",
			reply_string(c->why, true));

		if (json_array_append_new(list, one) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return json_pack("{s:s, s:o, s:b, s:o}", "board", s->slug, "root",
			 reply_string(s->root, true), "deep", s->deep, "snapshots", list);
}

static void copies_done(struct job *job)
{
	struct copies *s = (struct copies *)job;
	struct control *c = s->control;
	struct request *req = s->req;

	if (req) {
		req->gone = NULL;
		if (s->result < 0)
			reply_problem(req, 500, "internal", "see the log of the daemon", NULL,
				      "board %s: %s", s->slug, s->error.text);
		else
			reply_json(req, 200, copies_json(s));
	}
	copies_free(s);
	c->copying = false;
	c->errands--;
	control_try_free(c);
}

static void copies_gone(struct request *req)
{
	struct copies *s = req->work;

	s->req = NULL;
}

static struct copies *copies_new(const struct dispatch *d, bool deep)
{
	struct copies *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->deep = deep;
	s->root = strdup(d->root->path);
	s->slug = strdup(d->board.place.slug);
	s->db = strdup(d->board.place.db_path);
	s->folder = strdup(d->board.place.folder);
	if (s->root && s->slug && s->db && s->folder)
		return s;
	copies_free(s);
	return NULL;
}

void copies_get(struct request *req)
{
	struct control *c = req->control;
	struct dispatch *d;
	struct copies *s;
	bool deep = false;

	if (!ask_yes(req, "deep", &deep) || !ask_board(req, &d))
		return;
	if (c->copying) {
		reply_problem(req, 503, "busy", "try again", NULL,
			      "the copies of a board are being looked at for somebody else");
		return;
	}
	s = copies_new(d, deep);
	if (!s || job_submit(c->env.root_env->jobs, &s->job, "copies", copies_work, copies_done,
			     COPIES_LIMIT_MS) < 0) {
		if (s)
			copies_free(s);
		reply_response(req, 500, NULL);
		return;
	}
	s->control = c;
	s->req = req;
	c->copying = true;
	c->errands++;
	req->work = s;
	req->gone = copies_gone;
}
