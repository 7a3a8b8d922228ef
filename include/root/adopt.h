/* Watching workers that others started. */
#pragma once

#include <stddef.h>

struct dispatch;
struct identity_found;
struct plan;

/** adopt_seen() - compare what is watched with what the last full reclaim says runs here */
void adopt_seen(struct dispatch *d, const struct plan *plan);

/** adopt_rest() - of the processes that were seen at the begin of the epoch, those are watched
 * from now on that are workers of this board though no row says so; after adopt_seen() */
void adopt_rest(struct dispatch *d, const struct identity_found *list, size_t n);
