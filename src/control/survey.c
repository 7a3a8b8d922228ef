/*
 * A survey holds copies of what it needs, so that roots and boards may come and go meanwhile;
 * the pointers in it are only compared. First its job: small files, and the stamps of the
 * boards, which by stat(2) alone say whose tasks have to be counted anew. Those are counted by
 * operations (root/operation.h): with the connection that the board has, or one of their own
 * where it has none. A second connection beside one in use would be opened by looking at the
 * file, and closing that drops the locks of this process. The cache of counts is the survey's
 * that runs.
 *
 * Whoever asks is answered within SURVEY_JOB_MS for the job and SURVEY_WAIT_MS for the counts,
 * whatever the files of a board do to those who read them: then by what memory says.
 *
 * Only boards that are healthy, or that nobody dispatches and nobody found bad, are counted.
 */
#include "control/survey.h"

#include <errno.h>
#include <string.h>

#include "board/view.h"
#include "control.h"
#include "control/holds.h"
#include "db/db.h"
#include "recovery/evidence.h"
#include "recovery/snapshot.h"
#include "root/operation.h"
#include "root/root.h"
#include "util/clock.h"
#include "util/fs.h"

#define SURVEY_LIMIT_MS (5 * 60 * 1000)
#define SURVEY_BUSY_MS  1000
#define SURVEY_JOB_MS   800  /* for a thread of the pool, and who leads: kanbanctl waits 2 s */
#define SURVEY_WAIT_MS  2000 /* for boards that are busy; then their tasks are null */
#define SURVEY_WAITS_MS                                                                        \
	2000 /* so long what tasks wait for is kept: time and limits change it */
#define SURVEY_RACY_NS                                                                         \
	1000000000LL /* a file written so lately may change without its stamp                  \
		      */

struct counted {
	char *db;
	struct fs_stamp stamp, wal;
	json_t *tasks, *waiting;
	const char *mode;
	int64_t ready_since;
	uint64_t at_us; /* clock_mono_us() */
};

static void survey_free(struct survey *survey)
{
	for (size_t i = 0; i < survey->n_roots; i++) {
		free(survey->roots[i].path);
		free(survey->roots[i].terms);
	}
	for (size_t i = 0; i < survey->n_boards; i++) {
		free(survey->boards[i].db);
		free(survey->boards[i].folder);
		json_decref(survey->boards[i].tasks);
		json_decref(survey->boards[i].waiting);
	}
	free(survey->roots);
	free(survey->boards);
	free(survey->record_of);
	free(survey->record);
	free(survey);
}

static void counted_free(struct counted *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].db);
		json_decref(list[i].tasks);
		json_decref(list[i].waiting);
	}
	free(list);
}

void surveys_deinit(struct control *c)
{
	counted_free(c->counted, c->n_counted);
	c->counted = NULL;
	c->n_counted = 0;
}

/* ---- the job ---- */

static bool survey_same(const struct survey *survey, const struct counted *was,
			const struct counted *now)
{
	int64_t ns = clock_wall_us() * 1000;

	if (survey->what & SURVEY_WAITING &&
	    (!was->waiting || (json_array_size(was->waiting) > 0 &&
			       clock_mono_us() - was->at_us > SURVEY_WAITS_MS * 1000)))
		return false;
	return was->tasks && fs_stamp_equal(&was->stamp, &now->stamp) &&
	       fs_stamp_equal(&was->wal, &now->wal) &&
	       ns - now->stamp.mtime_ns > SURVEY_RACY_NS &&
	       ns - now->wal.mtime_ns > SURVEY_RACY_NS;
}

static void survey_at_tasks(struct survey *survey, size_t hint, struct counted *now)
{
	struct survey_board *b = &survey->boards[hint];
	struct control *c = survey->control;
	CLEANUP(freep) char *wal = fs_path("%s-wal", b->db);
	struct counted *was = NULL;

	if (hint < c->n_counted && c->counted[hint].db &&
	    strcmp(c->counted[hint].db, b->db) == 0)
		was = &c->counted[hint];
	for (size_t i = 0; !was && i < c->n_counted; i++)
		if (c->counted[i].db && strcmp(c->counted[i].db, b->db) == 0)
			was = &c->counted[i];
	now->db = strdup(b->db);
	now->stamp = fs_stamp_of(b->db);
	if (wal)
		now->wal = fs_stamp_of(wal);
	if (was && wal && now->db && survey_same(survey, was, now)) {
		now->tasks = STEAL(was->tasks);
		now->waiting = STEAL(was->waiting);
		now->at_us = was->at_us;
		now->mode = was->mode;
		now->ready_since = was->ready_since;
	}
	b->tasks = json_deep_copy(now->tasks);
	b->waiting = json_deep_copy(now->waiting);
	b->mode = now->mode;
	b->ready_since = now->ready_since;
}

static void survey_at_board(struct survey *survey, size_t i, struct counted *now)
{
	struct survey_board *b = &survey->boards[i];
	CLEANUP(freep) char *path = NULL;

	if (b->countable && survey->what & SURVEY_TASKS)
		survey_at_tasks(survey, i, now);
	if (!(survey->what & SURVEY_SIZES))
		return;
	path = malloc(HEALTH_PATH_MAX);
	if (path)
		b->snapshot_at = snapshot_newest(b->folder, path);
	b->evidence_bytes = evidence_used(b->db);
}

static void survey_work(struct job *job)
{
	struct survey *survey = container_of(job, struct survey, job);
	struct control *c = survey->control;
	struct counted *now;

	for (size_t i = 0; i < survey->n_roots; i++)
		survey->roots[i].result =
			leader_look(survey->roots[i].path, &survey->roots[i].leader);
	for (size_t i = 0; i < survey->n_roots && survey->what & SURVEY_HISTORY; i++)
		if (lease_read_history(survey->roots[i].path, &survey->roots[i].terms,
				       &survey->roots[i].n_terms) < 0)
			survey->roots[i].n_terms =
				0; /* nobody ever owned it, or that is lost */
	if (survey->record_of) {
		survey->record = calloc(1, sizeof(*survey->record));
		if (survey->record && health_read(survey->record_of, survey->record) < 0) {
			free(survey->record);
			survey->record = NULL;
		}
	}
	if (survey->n_boards == 0)
		return;
	now = calloc(survey->n_boards, sizeof(*now));
	if (!now)
		return;
	for (size_t i = 0; i < survey->n_boards; i++)
		survey_at_board(survey, i, &now[i]);
	if (survey->record_of) { /* one board: the others' counts stay good */
		counted_free(now, survey->n_boards);
		return;
	}
	counted_free(c->counted, c->n_counted);
	c->counted = now;
	c->n_counted = survey->n_boards;
}

/* ---- the loop ---- */

static void survey_done(struct job *job);

static void survey_submit(struct survey *survey)
{
	struct control *c = survey->control;

	if (job_submit(c->env.root_env->jobs, &survey->job, "survey", survey_work, survey_done,
		       SURVEY_LIMIT_MS) < 0)
		survey_done(&survey->job); /* without what files say */
}

/* The tasks of one board. */
struct survey_count {
	struct operation operation;
	struct control *control;
	struct survey *survey; /* NULL: nobody waits any more */
	size_t board;          /* which of the survey's */
	bool waits;            /* it is asked because of what its tasks wait */
	struct holds holds;
	json_t *tasks, *waiting;
	const char *mode;
	int64_t ready_since;
};

static void count_work(struct job *job)
{
	struct survey_count *n = container_of(job, struct survey_count, operation.job);
	struct board *b = &n->operation.dispatch->board;
	CLEANUP(db_freep) struct db *own = NULL;
	struct error e = ERROR_NULL;
	struct db *db = b->db;

	/* whatever is wrong with it, a visit finds and tells; here it has no count */
	if (!db) {
		if (view_open(&own, b->place.db_path, SURVEY_BUSY_MS, &e) != 0)
			return;
		db = own;
	}
	n->mode = db_is_wal(db) ? "wal" : "delete";
	IGNORE(view_counts(db, &n->tasks, &e));
	IGNORE(view_ready_since(db, &n->ready_since, &e));
	if (n->waits)
		IGNORE(holds_waiting(&n->holds, n->operation.dispatch, db, &n->waiting, &e));
}

static void survey_finish(struct survey *survey)
{
	struct control *c = survey->control;

	c->surveys = survey->next;
	while (c->surveys && !c->surveys->req) { /* nobody waits for those any more */
		struct survey *next = c->surveys->next;

		survey_free(c->surveys);
		c->surveys = next;
	}
	if (survey->req) {
		survey->req->gone = NULL;
		survey->req->expired = NULL;
		survey->done(survey->req, survey);
	}
	survey_free(survey);
	if (c->surveys)
		survey_submit(c->surveys);
	server_try_free(c);
}

static void survey_counted(struct survey *survey)
{
	if (--survey->pending == 0)
		survey_finish(survey);
}

static void count_free(struct survey_count *n)
{
	struct control *c = n->control;

	json_decref(n->tasks);
	json_decref(n->waiting);
	holds_deinit(&n->holds);
	free(n);
	c->operations--;
	server_try_free(c);
}

static void count_done(struct operation *e, bool ran)
{
	struct survey_count *n = container_of(e, struct survey_count, operation);
	struct survey *survey = n->survey;
	struct control *c = n->control;

	if (survey) {
		struct survey_board *b = &survey->boards[n->board];

		b->count = NULL;
		if (ran) {
			b->tasks = json_incref(n->tasks);
			b->waiting = json_deep_copy(n->waiting);
			b->mode = n->mode;
			b->ready_since = n->ready_since;
		}
		/* a survey of one board has no part in the cache */
		if (ran && !survey->record_of && n->board < c->n_counted) {
			c->counted[n->board].tasks = json_deep_copy(n->tasks);
			c->counted[n->board].waiting = json_deep_copy(n->waiting);
			c->counted[n->board].at_us = clock_mono_us();
			c->counted[n->board].mode = n->mode;
			c->counted[n->board].ready_since = n->ready_since;
		}
	}
	count_free(n);
	if (survey)
		survey_counted(survey);
}

/* Go on without the counts that are not there yet. */
static void survey_give_up(struct survey *survey)
{
	for (size_t i = 0; i < survey->n_boards; i++) {
		struct survey_count *n = survey->boards[i].count;

		survey->boards[i].count = NULL;
		if (!n)
			continue;
		n->survey = NULL;
		if (operation_forget(&n->operation))
			count_free(n);
	}
	survey_finish(survey);
}

static void survey_over(struct request *req)
{
	struct survey *survey = req->work;

	survey->req = NULL;
	if (survey->counting)
		survey_give_up(survey);
}

/* The pool is busy with something that takes long, or a file keeps the job waiting: answer by
 * what memory says. The survey itself goes on, or is dropped when its turn comes. */
static void survey_late(struct survey *survey)
{
	struct request *req = survey->req;

	survey->late = true;
	req->gone = NULL;
	req->expired = NULL;
	survey->done(req, survey);
	survey->req = NULL;
}

static void survey_expired(struct request *req)
{
	struct survey *survey = req->work;

	if (survey->counting)
		survey_give_up(survey);
	else
		survey_late(survey);
}

bool survey_may_count(const struct dispatch *d)
{
	return d->board.state == BOARD_HEALTHY ||
	       (d->board.state == BOARD_NEW && d->aside && !d->board.place.duplicate_of[0] &&
		d->board.place.db_exists);
}

/* The board that it was, if it is there still and is what it was. */
static struct dispatch *survey_find(const struct survey *survey, const struct survey_board *b)
{
	const struct control_env *env = &survey->control->env;

	for (size_t i = 0; i < *env->n_roots; i++) {
		struct root *root = env->roots[i];

		if (root != survey->roots[b->root].root || root->role != ROOT_OWNER ||
		    root->stopping)
			continue;
		for (size_t k = 0; k < root->n_boards; k++) {
			struct dispatch *d = root->boards[k];

			if (d == b->dispatch && !d->closing && survey_may_count(d) &&
			    strcmp(d->board.place.slug, b->slug) == 0)
				return d;
		}
	}
	return NULL;
}

static void survey_count(struct survey *survey, size_t i)
{
	struct survey_board *b = &survey->boards[i];
	bool wanted = survey->what & SURVEY_TASKS && b->countable && !b->tasks;
	struct dispatch *d = wanted ? survey_find(survey, b) : NULL;
	struct survey_count *n = d ? calloc(1, sizeof(*n)) : NULL;

	if (!n)
		return; /* then it has no count */
	n->waits = survey->what & SURVEY_WAITING;
	if (n->waits && holds_take(&n->holds, d) < 0) {
		free(n);
		return;
	}
	n->control = survey->control;
	n->control->operations++;
	n->survey = survey;
	n->board = i;
	n->operation.name = "count";
	n->operation.work = count_work;
	n->operation.done = count_done;
	n->operation.limit_ms = SURVEY_LIMIT_MS;
	b->count = n;
	survey->pending++;
	operation_submit(d, &n->operation);
}

static void survey_done(struct job *job)
{
	struct survey *survey = container_of(job, struct survey, job);

	survey->pending = 1;
	if (survey->req) {
		survey->counting = true;
		survey->req->expired = survey_expired;
		server_deadline(survey->req, SURVEY_WAIT_MS);
	}
	for (size_t i = 0; survey->req && i < survey->n_boards; i++)
		survey_count(survey, i);
	survey_counted(survey);
}

static int survey_add_root(struct survey *survey, const struct root *root,
			   const struct dispatch *one)
{
	struct survey_root *r = &survey->roots[survey->n_roots];
	struct survey_board *more;

	r->root = root;
	r->path = strdup(root->path);
	if (!r->path)
		return -ENOMEM;
	survey->n_roots++;
	if (!survey->what || root->n_boards == 0)
		return 0;
	more = reallocarray(survey->boards, survey->n_boards + root->n_boards, sizeof(*more));
	if (!more)
		return -ENOMEM;
	survey->boards = more;
	for (size_t i = 0; i < root->n_boards; i++) {
		const struct dispatch *d = root->boards[i];
		struct survey_board *b = &more[survey->n_boards];

		if ((one && d != one) ||
		    (!survey_may_count(d) && !(survey->what & SURVEY_SIZES)))
			continue;
		*b = (struct survey_board){ .dispatch = d,
					    .db = strdup(d->board.place.db_path),
					    .folder = strdup(d->board.place.folder),
					    .countable = survey_may_count(d),
					    .root = survey->n_roots - 1 };
		memcpy(b->slug, d->board.place.slug, sizeof(b->slug));
		survey->n_boards++;
		if (!b->db || !b->folder)
			return -ENOMEM;
	}
	return 0;
}

static int survey_fill(struct survey *survey, const struct root *only,
		       const struct dispatch *one)
{
	const struct control_env *env = &survey->control->env;
	int r = 0;

	survey->roots = calloc(*env->n_roots + 1, sizeof(*survey->roots));
	if (!survey->roots)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < *env->n_roots; i++)
		if (!only || env->roots[i] == only)
			r = survey_add_root(survey, env->roots[i], one);
	if (r == 0 && one) {
		survey->record_of = strdup(one->board.place.db_path);
		r = survey->record_of ? 0 : -ENOMEM;
	}
	return r;
}

void survey_start(struct request *req, const struct root *only, const struct dispatch *one,
		  unsigned what, void (*done)(struct request *req, const struct survey *survey))
{
	struct control *c = req->control;
	struct survey *survey = calloc(1, sizeof(*survey)), **p = &c->surveys;

	if (!survey) {
		reply_response(req, 500, NULL);
		return;
	}
	survey->control = c;
	survey->req = req;
	survey->done = done;
	survey->what = what;
	if (survey_fill(survey, only, one) < 0) {
		survey_free(survey);
		reply_response(req, 500, NULL);
		return;
	}
	req->work = survey;
	req->gone = survey_over;
	req->expired = survey_expired;
	server_deadline(req, SURVEY_JOB_MS);
	while (*p)
		p = &(*p)->next;
	*p = survey;
	if (c->surveys == survey)
		survey_submit(survey);
}

const struct survey_board *survey_board(const struct survey *survey, const struct dispatch *d)
{
	for (size_t i = 0; !survey->late && i < survey->n_boards; i++) {
		const struct survey_board *b = &survey->boards[i];

		/* a new board at an old address has another name or another file */
		if (b->dispatch != d || strcmp(b->slug, d->board.place.slug) != 0 ||
		    strcmp(b->db, d->board.place.db_path) != 0)
			continue;
		return b;
	}
	return NULL;
}

json_t *survey_tasks(const struct survey *survey, const struct dispatch *d, const char **mode)
{
	const struct survey_board *b = survey_board(survey, d);

	*mode = b ? b->mode : NULL;
	return b ? json_incref(b->tasks) : NULL;
}

json_t *survey_waiting(const struct survey *survey, const struct dispatch *d)
{
	const struct survey_board *b = survey_board(survey, d);

	return b ? json_deep_copy(b->waiting) : NULL;
}

const struct leader *survey_leader(const struct survey *survey, const struct root *root)
{
	for (size_t i = 0; !survey->late && i < survey->n_roots; i++)
		if (survey->roots[i].root == root && survey->roots[i].result == 0)
			return &survey->roots[i].leader;
	return NULL;
}

const struct lease_term *survey_terms(const struct survey *survey, const struct root *root,
				      size_t *n)
{
	*n = 0;
	for (size_t i = 0; survey && i < survey->n_roots; i++)
		if (survey->roots[i].root == root) {
			*n = survey->roots[i].n_terms;
			return survey->roots[i].terms;
		}
	return NULL;
}

const struct health *survey_record(const struct survey *survey)
{
	return survey->late ? NULL : survey->record;
}
