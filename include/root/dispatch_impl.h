/* Between dispatch.c, dispatch_visit.c and dispatch_done.c only. */
#pragma once

#include "root/dispatch.h"
#include "util/log.h"

#define DISPATCH_RETRY_MS 500 /* the first retry of what failed */
#define LOOK_GAP_MS       50  /* bursts of changes: so long after a tick comes the next look */
#define LOOK_AGAIN_MIN_MS 2   /* after a look that found nothing: 2, 8, 32, 128, 512 ms */
#define LOOK_AGAIN_MAX_MS 512

/** dispatch_about() - the fields of a log line about the board */
struct log_about dispatch_about(const struct dispatch *d, const char *id);

/** dispatch_brings() - is there something to book that the board would take */
bool dispatch_brings(const struct dispatch *d);

/** dispatch_looked() - a visit is over: when the next look may be, and whether one is due */
void dispatch_looked(struct dispatch *d, enum board_outcome outcome);

/** dispatch_deadline() - have the board looked at when @at_s (Unix seconds, 0 never) comes */
void dispatch_deadline(struct dispatch *d, int64_t at_s);

/** visit_give_back() - take back what the visit had borrowed; what is not booked is kept */
void visit_give_back(struct dispatch *d, bool settled, bool recorded);

/** visit_done() - the visit is over: what came of it */
void visit_done(struct job *job);
