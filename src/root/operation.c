/*
 * Errands wait in a list of their board. One starts when no visit has the board: before the
 * next visit, so that a busy board cannot keep an operator waiting for ever, and one at a time,
 * so that the board is visited in between.
 */
#include "root/operation.h"

#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"
#include "util/log.h"

static void errand_append(struct dispatch *d, struct errand *e)
{
	struct errand **p = &d->errands;

	e->dispatch = d;
	e->next = NULL;
	while (*p)
		p = &(*p)->next;
	*p = e;
}

static bool errand_unlink(struct dispatch *d, struct errand *e)
{
	for (struct errand **p = &d->errands; *p; p = &(*p)->next)
		if (*p == e) {
			*p = e->next;
			return true;
		}
	return false;
}

static void errand_work(struct job *job)
{
	struct errand *e = (struct errand *)job;

	if (e->close)
		board_close(&e->dispatch->board);
	e->work(job);
}

static void errand_done(struct job *job)
{
	struct errand *e = (struct errand *)job;
	struct dispatch *d = e->dispatch;
	struct root *root = d->root;

	d->board.busy = false;
	if (e->had && !d->board.db)
		root->env->open_boards--;
	if (e->fresh)
		board_forget(&d->board);
	d->want |= e->close && d->dispatched ? WANT_FULL : 0;
	e->done(e, true);
	dispatch_next(d);
	root_visit_ended(root);
}

bool errand_next(struct dispatch *d)
{
	struct errand *e = d->errands, *next;

	if (d->board.busy || d->in_done || d->closing)
		return false;
	for (; e; e = next) {
		int r;

		next = e->next;
		if (e->after > d->visits)
			continue;
		(void)errand_unlink(d, e);
		if (!e->work) {
			e->done(e, true);
			return errand_next(d); /* the list may be another now */
		}
		e->had = d->board.db != NULL;
		r = job_submit(d->root->env->jobs, &e->job, e->name, errand_work, errand_done,
			       e->limit_ms);
		if (r == 0) {
			d->board.busy = true;
			return true;
		}
		log_error("cannot start %s of board %s: %s", e->name, d->board.place.slug,
			  strerror(-r));
		e->done(e, false);
		return errand_next(d);
	}
	return false;
}

void errand_submit(struct dispatch *d, struct errand *e)
{
	errand_append(d, e);
	(void)errand_next(d); /* else it is started when the board is idle */
}

void errand_after_visit(struct dispatch *d, struct errand *e)
{
	/* one that is under way may have looked already */
	e->after = d->visits + (d->board.busy ? 2 : 1);
	dispatch_want(d, WANT_FULL);
}

bool errand_forget(struct errand *e)
{
	return errand_unlink(e->dispatch, e);
}

void errands_end(struct dispatch *d)
{
	while (d->errands) {
		struct errand *e = d->errands;

		d->errands = e->next;
		e->done(e, false);
	}
}
