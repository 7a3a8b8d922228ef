/*
 * A look holds copies of what it needs, so that roots and boards may come and go meanwhile; the
 * pointers in it are only compared. The cache of counts belongs to the job that runs.
 *
 * Only boards that are healthy, or that nobody dispatches and nobody found bad, are opened.
 */
#include "control/look.h"

#include <errno.h>
#include <string.h>

#include "board/db.h"
#include "board/view.h"
#include "control/control_impl.h"
#include "util/clock.h"
#include "util/fs.h"

#define LOOK_LIMIT_MS (5 * 60 * 1000)
#define LOOK_BUSY_MS  1000
#define LOOK_RACY_NS  1000000000LL /* a file written so lately may change without its stamp */

struct counted {
	char *db;
	struct file_stamp stamp, wal;
	json_t *tasks;
	const char *mode;
};

static void look_free(struct look *look)
{
	for (size_t i = 0; i < look->n_roots; i++)
		free(look->roots[i].path);
	for (size_t i = 0; i < look->n_boards; i++) {
		free(look->boards[i].db);
		json_decref(look->boards[i].tasks);
	}
	free(look->roots);
	free(look->boards);
	free(look->record_of);
	free(look->record);
	free(look);
}

static void counted_free(struct counted *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].db);
		json_decref(list[i].tasks);
	}
	free(list);
}

void looks_deinit(struct control *c)
{
	counted_free(c->counted, c->n_counted);
	c->counted = NULL;
	c->n_counted = 0;
}

/* ---- the job -------------------------------------------------------------------------------
 */

static bool look_same(const struct counted *was, const struct counted *now)
{
	int64_t ns = clock_wall_us() * 1000;

	return was->tasks && file_stamp_equal(&was->stamp, &now->stamp) &&
	       file_stamp_equal(&was->wal, &now->wal) &&
	       ns - now->stamp.mtime_ns > LOOK_RACY_NS && ns - now->wal.mtime_ns > LOOK_RACY_NS;
}

static void look_count(const struct look_board *b, struct counted *c)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;

	/* whatever is wrong with it, a visit finds and tells; here it has no count */
	if (view_open(&db, b->db, LOOK_BUSY_MS, &e) != 0)
		return;
	c->mode = db_is_wal(db) ? "wal" : "delete";
	IGNORE(view_counts(db, &c->tasks, &e));
}

static void look_board(struct control *c, struct look_board *b, size_t hint,
		       struct counted *now)
{
	CLEANUP(freep) char *wal = fs_path("%s-wal", b->db);
	struct counted *was = NULL;

	if (hint < c->n_counted && c->counted[hint].db &&
	    strcmp(c->counted[hint].db, b->db) == 0)
		was = &c->counted[hint];
	for (size_t i = 0; !was && i < c->n_counted; i++)
		if (c->counted[i].db && strcmp(c->counted[i].db, b->db) == 0)
			was = &c->counted[i];
	now->db = strdup(b->db);
	now->stamp = file_stamp_of(b->db);
	if (wal)
		now->wal = file_stamp_of(wal);
	if (was && wal && now->db && look_same(was, now)) {
		now->tasks = STEAL(was->tasks);
		now->mode = was->mode;
	} else {
		look_count(b, now);
	}
	b->tasks = json_deep_copy(now->tasks);
	b->mode = now->mode;
}

static void look_work(struct job *job)
{
	struct look *look = (struct look *)job;
	struct control *c = look->control;
	struct counted *now;

	for (size_t i = 0; i < look->n_roots; i++)
		look->roots[i].result =
			leader_look(look->roots[i].path, &look->roots[i].leader);
	if (look->record_of) {
		look->record = calloc(1, sizeof(*look->record));
		if (look->record && health_read(look->record_of, look->record) < 0) {
			free(look->record);
			look->record = NULL;
		}
	}
	if (look->n_boards == 0)
		return;
	now = calloc(look->n_boards, sizeof(*now));
	if (!now)
		return;
	for (size_t i = 0; i < look->n_boards; i++)
		look_board(c, &look->boards[i], i, &now[i]);
	if (look->record_of) { /* one board: the others' counts stay good */
		counted_free(now, look->n_boards);
		return;
	}
	counted_free(c->counted, c->n_counted);
	c->counted = now;
	c->n_counted = look->n_boards;
}

/* ---- the loop ------------------------------------------------------------------------------
 */

static void look_done(struct job *job);

static void look_submit(struct look *look)
{
	struct control *c = look->control;

	if (job_submit(c->env.root_env->jobs, &look->job, "look", look_work, look_done,
		       LOOK_LIMIT_MS) < 0)
		look_done(&look->job); /* without what files say */
}

static void look_over(struct request *req)
{
	struct look *look = req->work;

	look->req = NULL;
}

static void look_done(struct job *job)
{
	struct look *look = (struct look *)job;
	struct control *c = look->control;

	c->looks = look->next;
	if (look->req) {
		look->req->gone = NULL;
		look->done(look->req, look);
	}
	look_free(look);
	if (c->looks)
		look_submit(c->looks);
	control_try_free(c);
}

static bool look_may_count(const struct dispatch *d)
{
	return d->board.state == BOARD_HEALTHY ||
	       (d->board.state == BOARD_NEW && d->aside && !d->board.place.duplicate_of[0] &&
		d->board.place.db_exists);
}

static int look_add_root(struct look *look, const struct root *root, const struct dispatch *one,
			 bool tasks)
{
	struct look_root *r = &look->roots[look->n_roots];
	struct look_board *more;

	r->root = root;
	r->path = strdup(root->path);
	if (!r->path)
		return -ENOMEM;
	look->n_roots++;
	if (!tasks || root->n_boards == 0)
		return 0;
	more = reallocarray(look->boards, look->n_boards + root->n_boards, sizeof(*more));
	if (!more)
		return -ENOMEM;
	look->boards = more;
	for (size_t i = 0; i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];
		struct look_board *b = &more[look->n_boards];

		if ((one && d != one) || !look_may_count(d))
			continue;
		*b = (struct look_board){ .dispatch = d,
					  .db = strdup(d->board.place.db_path),
					  .root = look->n_roots - 1 };
		if (!b->db)
			return -ENOMEM;
		memcpy(b->slug, d->board.place.slug, sizeof(b->slug));
		look->n_boards++;
	}
	return 0;
}

static int look_fill(struct look *look, const struct root *only, const struct dispatch *one,
		     bool tasks)
{
	const struct control_env *env = &look->control->env;
	int r = 0;

	look->roots = calloc(*env->n_roots + 1, sizeof(*look->roots));
	if (!look->roots)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < *env->n_roots; i++)
		if (!only || env->roots[i] == only)
			r = look_add_root(look, env->roots[i], one, tasks);
	if (r == 0 && one) {
		look->record_of = strdup(one->board.place.db_path);
		r = look->record_of ? 0 : -ENOMEM;
	}
	return r;
}

void look_start(struct request *req, const struct root *only, const struct dispatch *one,
		bool tasks, void (*done)(struct request *req, const struct look *look))
{
	struct control *c = req->control;
	struct look *look = calloc(1, sizeof(*look)), **p = &c->looks;

	if (!look) {
		reply_response(req, 500, NULL);
		return;
	}
	look->control = c;
	look->req = req;
	look->done = done;
	if (look_fill(look, only, one, tasks) < 0) {
		look_free(look);
		reply_response(req, 500, NULL);
		return;
	}
	req->work = look;
	req->gone = look_over;
	while (*p)
		p = &(*p)->next;
	*p = look;
	if (c->looks == look)
		look_submit(look);
}

json_t *look_tasks(const struct look *look, const struct dispatch *d, const char **mode)
{
	*mode = NULL;
	for (size_t i = 0; i < look->n_boards; i++) {
		const struct look_board *b = &look->boards[i];

		/* a new board at an old address has another name or another file */
		if (b->dispatch != d || strcmp(b->slug, d->board.place.slug) != 0 ||
		    strcmp(b->db, d->board.place.db_path) != 0)
			continue;
		*mode = b->mode;
		return json_incref(b->tasks);
	}
	return NULL;
}

const struct leader *look_leader(const struct look *look, const struct root *root)
{
	for (size_t i = 0; i < look->n_roots; i++)
		if (look->roots[i].root == root && look->roots[i].result == 0)
			return &look->roots[i].leader;
	return NULL;
}
