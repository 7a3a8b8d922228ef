/* Between visit.c, visit_load.c and visit_done.c only. */
#pragma once

#include "root/dispatch.h"
#include "root/root.h"
#include "util/log.h"

/** visit_about() - the fields of a log line about the board */
static inline struct log_about visit_about(const struct dispatch *d, const char *id)
{
	return (struct log_about){ .root = d->root->path,
				   .board = d->board.place.slug,
				   .epoch = d->root->epoch,
				   .id = id };
}

/** visit_load() - what goes along: ends, holds, launches to record, victims whose end is to be
 * written. 0 or -errno; visit_unload() in either case */
MUST_CHECK int visit_load(struct dispatch *d);

/** visit_lists() - runs that the tick must leave alone, and those whose worker we watch. 0 or
 * -errno */
MUST_CHECK int visit_lists(struct dispatch *d, struct tick_request *rq);

/** visit_unload() - take back what the visit had borrowed; what is not booked is kept */
void visit_unload(struct dispatch *d, bool ended_booked, bool recorded);

/** visit_done() - the visit is over: what came of it */
void visit_done(struct job *job);
