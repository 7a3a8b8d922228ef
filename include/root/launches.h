/* Claimed tasks of one board on their way to a worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tick/tick.h"
#include "util/error.h"

struct dispatch;
struct launch_batch;
struct root_env;

struct launches {
	struct launch_batch *launching; /* on the pool, or waiting for a thread of it */
	struct launch_batch *finished;  /* to be recorded by the next visit */
	struct launch_batch *recording; /* with the visit */
	struct tick_launched *record;   /* the visit's view of them */
	struct tick_hold *holds;        /* tasks that are not to be claimed for a while */
	size_t n_holds;
};

/** launches_start() - start what a plan says; takes its launches over */
void launches_start(struct dispatch *d, struct plan *plan);

/** launches_take() - move finished batches to a visit and make its record array. 0 or -errno */
MUST_CHECK int launches_take(struct dispatch *d);

/** launches_recorded() - the visit is over: @ok frees the batches, else they wait again */
void launches_recorded(struct dispatch *d, bool ok);

/** launches_runs() - append the runs in flight to @list. Return: how many */
size_t launches_runs(const struct dispatch *d, int64_t *list);

/** launches_living() - those that are being started, into @list. Return: how many, at most
 * launches_count() */
size_t launches_living(const struct dispatch *d, struct tick_living *list);

/** launches_clock() - the wall clock was set: what is held back is not held for longer by that
 */
void launches_clock(struct dispatch *d);

/** launches_count() - how many are in flight or not recorded */
size_t launches_count(const struct dispatch *d);

/** launches_in_flight() - how many have no worker that is watched yet: what is told beside the
 * number of workers */
size_t launches_in_flight(const struct dispatch *d);

/** launches_recording() - how many launches the visit records */
size_t launches_recording(const struct dispatch *d);

/** launches_starting() - is that run being launched: its worker is not watched yet */
bool launches_starting(const struct dispatch *d, int64_t run);

/** launches_pending() - is that run launched and not yet recorded */
bool launches_pending(const struct dispatch *d, int64_t run);

/** launches_forget() - holds whose time is over */
void launches_forget(struct dispatch *d);

/** launches_close() - the board is not ours any more: what was not recorded is found by the
 * next owner */
void launches_close(struct dispatch *d);
