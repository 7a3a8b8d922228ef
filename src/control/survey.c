/*
 * A look holds copies of what it needs, so that roots and boards may come and go meanwhile; the
 * pointers in it are only compared. First its job: small files, and the stamps of the boards,
 * which by stat(2) alone say whose tasks have to be counted anew. Those are counted by errands
 * (root/errand.h): with the connection that the board has, or one of their own where it has
 * none. A second connection beside one in use would be opened by looking at the file, and
 * closing that drops the locks of this process. The cache of counts is the look's that runs.
 *
 * Only boards that are healthy, or that nobody dispatches and nobody found bad, are counted.
 */
#include "control/survey.h"

#include <errno.h>
#include <string.h>

#include "board/view.h"
#include "control.h"
#include "db/db.h"
#include "root/operation.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/fs.h"

#define LOOK_LIMIT_MS (5 * 60 * 1000)
#define LOOK_BUSY_MS  1000
#define LOOK_WAIT_MS  2000         /* for boards that are busy; then their tasks are null */
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

/* The tasks of one board. */
struct look_count {
	struct errand errand; /* first */
	struct control *control;
	struct look *look; /* NULL: nobody waits any more */
	size_t board;      /* which of the look's */
	json_t *tasks;
	const char *mode;
};

static void count_work(struct job *job)
{
	struct look_count *n = (struct look_count *)job;
	struct board *b = &n->errand.dispatch->board;
	CLEANUP(db_freep) struct db *own = NULL;
	struct error e = ERROR_NULL;
	struct db *db = b->db;

	/* whatever is wrong with it, a visit finds and tells; here it has no count */
	if (!db) {
		if (view_open(&own, b->place.db_path, LOOK_BUSY_MS, &e) != 0)
			return;
		db = own;
	}
	n->mode = db_is_wal(db) ? "wal" : "delete";
	IGNORE(view_counts(db, &n->tasks, &e));
}

static void look_finish(struct look *look)
{
	struct control *c = look->control;

	c->looks = look->next;
	if (look->req) {
		look->req->gone = NULL;
		look->req->expired = NULL;
		look->done(look->req, look);
	}
	look_free(look);
	if (c->looks)
		look_submit(c->looks);
	control_try_free(c);
}

static void look_counted(struct look *look)
{
	if (--look->pending == 0)
		look_finish(look);
}

static void count_free(struct look_count *n)
{
	struct control *c = n->control;

	json_decref(n->tasks);
	free(n);
	c->errands--;
	control_try_free(c);
}

static void count_done(struct errand *e, bool ran)
{
	struct look_count *n = (struct look_count *)e;
	struct look *look = n->look;
	struct control *c = n->control;

	if (look) {
		struct look_board *b = &look->boards[n->board];

		b->count = NULL;
		if (ran) {
			b->tasks = json_incref(n->tasks);
			b->mode = n->mode;
		}
		/* a look at one board has no part in the cache */
		if (ran && !look->record_of && n->board < c->n_counted) {
			c->counted[n->board].tasks = json_deep_copy(n->tasks);
			c->counted[n->board].mode = n->mode;
		}
	}
	count_free(n);
	if (look)
		look_counted(look);
}

/* Go on without the counts that are not there yet. */
static void look_give_up(struct look *look)
{
	for (size_t i = 0; i < look->n_boards; i++) {
		struct look_count *n = look->boards[i].count;

		look->boards[i].count = NULL;
		if (!n)
			continue;
		n->look = NULL;
		if (errand_forget(&n->errand))
			count_free(n);
	}
	look_finish(look);
}

static void look_over(struct request *req)
{
	struct look *look = req->work;

	look->req = NULL;
	if (look->counting)
		look_give_up(look);
}

static void look_expired(struct request *req)
{
	struct look *look = req->work;

	if (look->counting)
		look_give_up(look);
	else
		server_deadline(req, LOOK_WAIT_MS); /* its turn comes */
}

static bool look_may_count(const struct dispatch *d)
{
	return d->board.state == BOARD_HEALTHY ||
	       (d->board.state == BOARD_NEW && d->aside && !d->board.place.duplicate_of[0] &&
		d->board.place.db_exists);
}

/* The board that it was, if it is there still and is what it was. */
static struct dispatch *look_find(const struct look *look, const struct look_board *b)
{
	const struct control_env *env = &look->control->env;

	for (size_t i = 0; i < *env->n_roots; i++) {
		struct root *root = env->roots[i];

		if (root != look->roots[b->root].root || root->role != ROOT_OWNER ||
		    root->stopping)
			continue;
		for (size_t k = 0; k < root->n_boards; k++) {
			struct dispatch *d = root->boards[k];

			if (d == b->dispatch && !d->closing && look_may_count(d) &&
			    strcmp(d->board.place.slug, b->slug) == 0)
				return d;
		}
	}
	return NULL;
}

static void look_count(struct look *look, size_t i)
{
	struct look_board *b = &look->boards[i];
	struct dispatch *d = b->tasks ? NULL : look_find(look, b);
	struct look_count *n = d ? calloc(1, sizeof(*n)) : NULL;

	if (!n)
		return; /* then it has no count */
	n->control = look->control;
	n->control->errands++;
	n->look = look;
	n->board = i;
	n->errand.name = "count";
	n->errand.work = count_work;
	n->errand.done = count_done;
	n->errand.limit_ms = LOOK_LIMIT_MS;
	b->count = n;
	look->pending++;
	errand_submit(d, &n->errand);
}

static void look_done(struct job *job)
{
	struct look *look = (struct look *)job;

	look->pending = 1;
	if (look->req) {
		look->counting = true;
		look->req->expired = look_expired;
		server_deadline(look->req, LOOK_WAIT_MS);
	}
	for (size_t i = 0; look->req && i < look->n_boards; i++)
		look_count(look, i);
	look_counted(look);
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
