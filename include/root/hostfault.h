/*
 * When this host cannot start workers at all: hermes is missing or cannot be executed, there
 * are no processes, descriptors or room left, the manager of services refuses. That is no
 * task's fault: nothing is claimed in the root until one worker was started again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct dispatch;
struct hostfault;
struct root;

/** hostfault_failed() - a launch of @d failed for the host's fault. @why: a sentence */
void hostfault_failed(struct dispatch *d, const char *why);

/**
 * hostfault_outage() - the same because @d has no folder that its logs or workspaces can be
 * made in: nothing is claimed on this board, and the others go on
 */
void hostfault_outage(struct dispatch *d, const char *why);

/** hostfault_outage_forget() - no outage is known any more; nothing is told */
void hostfault_outage_forget(struct dispatch *d);

/** hostfault_outage_claims() - as hostfault_claims(), for the board's own sake. @starting:
 * launches in flight or not recorded */
int hostfault_outage_claims(struct dispatch *d, size_t starting);

/** hostfault_unbegun() - the same of a worker that was started and could not begin */
void hostfault_unbegun(struct dispatch *d, const char *why);

/** hostfault_started() - the worker of @run was started */
void hostfault_started(struct dispatch *d, int64_t run);

/** hostfault_ended() - the worker of @run ended, and not because it could not begin */
void hostfault_ended(struct dispatch *d, int64_t run);

/** hostfault_claims() - what a visit of @d that begins now may claim: -1 what is due, 1 one
 * task as a probe, 0 nothing */
int hostfault_claims(struct dispatch *d);

/** hostfault_visited() - that visit is over. @starting: so many launches are in flight or not
 * recorded */
void hostfault_visited(struct dispatch *d, size_t starting);

/** hostfault_looked() - a visit that might claim nothing is over: what it found ready is tried
 * with if a folder had changed when there was nothing to try with */
void hostfault_looked(struct dispatch *d);

/** hostfault_probe() - somebody thinks that it works again: try at once */
void hostfault_probe(struct root *root);

/** hostfault_why() - the sentence, or NULL: workers can be started. @since, @next: Unix
 * seconds,
 * @next 0 while a try is under way; both may be NULL */
const char *hostfault_why(const struct root *root, int64_t *since, int64_t *next);

/** hostfault_why_board() - why none of this board can be started, or NULL */
const char *hostfault_why_board(const struct dispatch *d, int64_t *next);

/** hostfault_forget() - @d goes away */
void hostfault_forget(struct dispatch *d);

/** hostfault_close() - the root goes, or is not ours any more */
void hostfault_close(struct root *root);
