/* Between dispatch.c, dispatch_visit.c and dispatch_done.c only. */
#pragma once

#include "root/dispatch.h"
#include "util/log.h"

#define DISPATCH_RETRY_MS 500 /* the first retry of what failed */

/** dispatch_about() - the fields of a log line about the board */
struct log_about dispatch_about(const struct dispatch *d, const char *id);

/** dispatch_brings() - is there something to book that the board would take */
bool dispatch_brings(const struct dispatch *d);

/** dispatch_deadline() - have the board looked at when @at_s (Unix seconds, 0 never) comes */
void dispatch_deadline(struct dispatch *d, int64_t at_s);

/** visit_give_back() - take back what the visit had borrowed; what is not booked is kept */
void visit_give_back(struct dispatch *d, bool settled, bool recorded);

/** visit_done() - the visit is over: what came of it */
void visit_done(struct job *job);
