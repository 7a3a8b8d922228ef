/*
 * What an operator asks of one board: a job that holds the board as a visit does, or only the
 * wait for a visit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/job.h"

struct dispatch;

struct operation {
	struct job job;         /* `work` gets this */
	struct operation *next; /* in dispatch.operations */
	struct dispatch *dispatch;
	const char *name; /* static text */
	job_fn work;      /* pool thread; the board is its own. NULL: nothing but the wait */
	/* loop, once; may free @e. @ran false: the board is not ours any more, or there was no
	 * memory or thread for it */
	void (*done)(struct operation *e, bool ran);
	uint64_t limit_ms; /* of @work */
	uint64_t after;    /* not before so many visits of the board have ended */
	bool close;        /* this process may have no connection to the board meanwhile */
	bool fresh;        /* afterwards the board is examined as if never seen */
	bool had;          /* internal: it was open */
};

/**
 * operation_submit() - have @e run as soon as no visit has the board
 * @done may be called from within.
 */
void operation_submit(struct dispatch *d, struct operation *e);

/**
 * operation_after_visit() - let @e wait for a complete visit that begins after now, and ask for
 * it The caller submits it then. A board that is not dispatched has none: see
 * dispatch.dispatched.
 */
void operation_after_visit(struct dispatch *d, struct operation *e);

/** operation_next() - start what waits for the board. Return: the board is busy with it. */
bool operation_next(struct dispatch *d);

/** operation_forget() - @e is not wanted any more: its `done` is not called.
 * Return: false when it runs already and cannot be forgotten. */
bool operation_forget(struct operation *e);

/** operations_end() - the board is not ours any more: end all that have not begun */
void operations_end(struct dispatch *d);
