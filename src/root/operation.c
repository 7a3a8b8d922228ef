/*
 * Operations wait in a list of their board. One starts when no visit has the board: before the
 * next visit, so that a busy board cannot keep an operator waiting for ever, and one at a time,
 * so that the board is visited in between.
 */
#include "root/operation.h"

#include <string.h>

#include "root/dispatch.h"
#include "root/root.h"
#include "util/log.h"

static void operation_append(struct dispatch *d, struct operation *e)
{
	struct operation **p = &d->operations;

	e->dispatch = d;
	e->next = NULL;
	while (*p)
		p = &(*p)->next;
	*p = e;
}

static bool operation_unlink(struct dispatch *d, struct operation *e)
{
	for (struct operation **p = &d->operations; *p; p = &(*p)->next)
		if (*p == e) {
			*p = e->next;
			return true;
		}
	return false;
}

static void operation_work(struct job *job)
{
	struct operation *e = container_of(job, struct operation, job);

	if (e->close)
		board_close(&e->dispatch->board);
	e->work(job);
}

static void operation_done(struct job *job)
{
	struct operation *e = container_of(job, struct operation, job);
	struct dispatch *d = e->dispatch;
	struct root *root = d->root;

	d->board.busy = false;
	if (e->had && !d->board.db)
		root->env->open_boards--;
	if (e->fresh)
		board_forget(&d->board);
	d->wake.want |= e->close && d->dispatched ? WANT_FULL : 0;
	e->done(e, true);
	d->wake.begin(d);
	root_visit_ended(root);
}

bool operation_next(struct dispatch *d)
{
	struct operation *e = d->operations, *next;

	if (d->board.busy || d->visit.in_done || d->closing)
		return false;
	for (; e; e = next) {
		int r;

		next = e->next;
		if (e->after > d->visit.count)
			continue;
		(void)operation_unlink(d, e);
		if (!e->work) {
			e->done(e, true);
			return operation_next(d); /* the list may be another now */
		}
		e->had = d->board.db != NULL;
		/* what needs the board closed reads all of it */
		r = e->close ? job_submit_long(d->root->env->jobs, &e->job, e->name,
					       operation_work, operation_done, e->limit_ms)
			     : job_submit(d->root->env->jobs, &e->job, e->name, operation_work,
					  operation_done, e->limit_ms);
		if (r == 0) {
			d->board.busy = true;
			return true;
		}
		log_error("cannot start %s of board %s: %s", e->name, d->board.place.slug,
			  strerror(-r));
		e->done(e, false);
		return operation_next(d);
	}
	return false;
}

void operation_submit(struct dispatch *d, struct operation *e)
{
	operation_append(d, e);
	(void)operation_next(d); /* else it is started when the board is idle */
}

void operation_after_visit(struct dispatch *d, struct operation *e)
{
	/* one that is under way may have looked already */
	e->after = d->visit.count + (d->board.busy ? 2 : 1);
	wakeup_want(d, WANT_FULL);
}

bool operation_forget(struct operation *e)
{
	return operation_unlink(e->dispatch, e);
}

void operations_end(struct dispatch *d)
{
	while (d->operations) {
		struct operation *e = d->operations;

		d->operations = e->next;
		e->done(e, false);
	}
}
