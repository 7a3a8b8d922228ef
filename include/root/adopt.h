/* Watching workers that others started. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct dispatch;
struct plan;
struct tick_living;

/** adopt_seen() - compare what is watched with what the last full reclaim says runs here */
void adopt_seen(struct dispatch *d, const struct plan *plan);

/** adopt_ready() - may the board claim: is it known which workers of it live? */
bool adopt_ready(const struct dispatch *d);

/** adopt_living() - the processes that were seen at the begin of the epoch and are workers of
 * this board, as long as nobody watches them: a tick must know of them. Return: how many;
 * @list may be NULL */
size_t adopt_living(const struct dispatch *d, struct tick_living *list);

/** adopt_rest() - those of them that no row speaks of are watched from now on; after
 * adopt_seen() */
void adopt_rest(struct dispatch *d);
