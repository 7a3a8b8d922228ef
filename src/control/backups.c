/*
 * What a board can be restored from. The copies are looked at by a job of their own, not by an
 * operation of the board: dispatching goes on meanwhile, and nothing that is opened is a file
 * of the board. One such job runs at a time, whoever asks: with deep=yes it reads every copy
 * from end to end.
 *
 * A request that is given up ends the job: nobody else wants what it finds. MHD does not see a
 * suspended connection end, so its socket is watched for the hangup meanwhile. A client that
 * has only shut down its own side goes on waiting.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "control.h"
#include "recovery/snapshot.h"
#include "root/root.h"
#include "util/fs.h"
#include "util/job.h"
#include "util/json.h"
#include "wire/wire_mend.h"

#define BACKUPS_LIMIT_MS (60 * 60 * 1000)

struct backups {
	struct job job;
	struct control *control;
	struct request *req; /* NULL: nobody waits any more */
	uv_poll_t hangup;    /* of its socket */
	int fd;              /* the socket, borrowed; -1: it is not watched */
	char *root, *slug, *db, *folder;
	bool deep;
	int64_t max; /* of a copy */
	/* what came of it */
	int result;
	struct error error;
	struct candidate *list;
	size_t n;
};

static void backups_free(struct backups *s)
{
	candidates_free(s->list, s->n);
	free(s->root);
	free(s->slug);
	free(s->db);
	free(s->folder);
	free(s);
}

static void backups_work(struct job *job)
{
	struct backups *s = container_of(job, struct backups, job);

	s->result = candidates_list(s->db, s->folder, s->deep, s->max, &s->job.cancel, &s->list,
				    &s->n, &s->error);
}

static json_t *backups_json(const struct backups *s)
{
	return json_pack("{s:s, s:o, s:b, s:o}", "board", s->slug, "root", json_utf8(s->root),
			 "deep", s->deep, "snapshots", wire_copies(s->list, s->n));
}

static void backups_end(struct backups *s)
{
	struct control *c = s->control;

	backups_free(s);
	c->operations--;
	server_try_free(c);
}

static void backups_closed(uv_handle_t *h)
{
	backups_end(h->data);
}

static void backups_done(struct job *job)
{
	struct backups *s = container_of(job, struct backups, job);
	struct request *req = s->req;

	if (s->fd >= 0) /* before the answer, after which the socket may be closed */
		IGNORE(uv_poll_stop(&s->hangup)); /* always 0 */
	if (req) {
		req->gone = NULL;
		if (s->result < 0)
			reply_problem(req, 500, "internal", "see the log of the daemon", NULL,
				      "board %s: %s", s->slug, s->error.text);
		else
			reply_json(req, 200, backups_json(s));
	}
	s->control->copying = false;
	if (s->fd >= 0)
		uv_close((uv_handle_t *)&s->hangup, backups_closed);
	else
		backups_end(s);
}

static void backups_gone(struct request *req)
{
	struct backups *s = req->work;

	s->req = NULL;
	if (s->fd >= 0)
		IGNORE(uv_poll_stop(&s->hangup)); /* always 0 */
	job_cancel(&s->job);
}

static void backups_hangup(uv_poll_t *poll_, int status, int events)
{
	struct backups *s = poll_->data;
	struct pollfd p = { .fd = s->fd };

	(void)status;
	(void)events;
	IGNORE(uv_poll_stop(poll_)); /* always 0 */
	if (poll(&p, 1, 0) == 1)
		job_cancel(&s->job);
}

/* Without it the job goes on to its end, for nobody. */
static void backups_watch(struct backups *s)
{
	const struct control *c = s->control;
	const union MHD_ConnectionInfo *info =
		c->mhd.MHD_get_connection_info(s->req->conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	s->fd = -1;
	if (!info || uv_poll_init(c->env.root_env->loop, &s->hangup, info->connect_fd) < 0)
		return;
	s->fd = info->connect_fd;
	s->hangup.data = s;
	/* never fails with a callback, while it is not closing */
	IGNORE(uv_poll_start(&s->hangup, UV_DISCONNECT, backups_hangup));
}

static struct backups *backups_new(const struct dispatch *d, bool deep)
{
	struct backups *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->deep = deep;
	s->max = d->set.max_evidence_bytes;
	s->root = strdup(d->root->path);
	s->slug = strdup(d->board.place.slug);
	s->db = strdup(d->board.place.db_path);
	s->folder = strdup(d->board.place.folder);
	if (s->root && s->slug && s->db && s->folder)
		return s;
	backups_free(s);
	return NULL;
}

void backups_get(struct request *req)
{
	struct control *c = req->control;
	struct dispatch *d;
	struct backups *s;
	bool deep = false;

	if (!params_yes(req, "deep", &deep) || !params_board(req, &d))
		return;
	if (c->copying) {
		reply_problem(req, 503, "busy", "try again", NULL,
			      "the copies of a board are being looked at for somebody else");
		return;
	}
	s = backups_new(d, deep);
	if (!s || job_submit_long(c->env.root_env->jobs, &s->job, "copies", backups_work,
				  backups_done, BACKUPS_LIMIT_MS) < 0) {
		if (s)
			backups_free(s);
		reply_response(req, 500, NULL);
		return;
	}
	s->control = c;
	s->req = req;
	backups_watch(s);
	c->copying = true;
	c->operations++;
	req->work = s;
	req->gone = backups_gone;
}
