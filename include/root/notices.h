/*
 * Notifications of one root: brings together the boards' subscriptions (board/subs), which know
 * no processes, and their delivery (notify), which knows no boards. A visit of a board carries
 * what is to be done with its subscriptions; this decides what that is, and what came of it.
 */
#pragma once

#include "root/dispatch.h"

struct notices;
struct notices_board;
struct notify;

/** notices_open() - the root is ours: take up the outbox, and deliver from now on. Not for
 * --once and --dry-run. */
void notices_open(struct root *root);

/** notices_lost() - the root is not ours any more: end what is being sent, forget the rest */
void notices_lost(struct root *root);

/** notices_reload() - settings may have changed */
void notices_reload(struct root *root);

/** notices_scanned() - the boards are known: see to what waits for one of them */
void notices_scanned(struct root *root);

/** notices_stop() - start nothing new; root_visit_ended() is called when a step is done */
void notices_stop(struct root *root);

/** notices_over() - after notices_stop(): is nothing left to be brought home */
bool notices_over(struct root *root);

/** notices_close() - after notices_over(): let go. @done: once, from the loop. */
void notices_close(struct root *root, void (*done)(void *arg), void *arg);

/** notices_get() - the notifier, for status and requests; NULL while there is none */
struct notify *notices_get(const struct root *root);

/** notices_why() - why there is none although there should be, or NULL; borrowed */
const char *notices_why(const struct root *root);

/* Between notices.c, notices_visit.c and dispatch.c: */

/** notices_wanted() - is there something to be brought to that board in any case */
bool notices_wanted(const struct dispatch *d);

/** notices_begin() - let a visit carry what is due; @tick: it looks at the board anyway */
void notices_begin(struct dispatch *d, struct board_job *bj, bool tick);

/** notices_end() - the visit is over, or (@submitted false) did not take place */
void notices_end(struct dispatch *d, struct board_job *bj, bool submitted);

/** notices_forget() - the board is being dropped */
void notices_forget(struct dispatch *d);
