/* Free places of the caps: who is told, and who is not waited for. */
#pragma once

#include <stdbool.h>

struct dispatch;
struct root_env;

/**
 * places_ask() - one of many boards that may start something again: whose turn it is is known
 * when each has said what it would start. Ask them all; the last answer, or the end of their
 * patience, deals the places out.
 * @want: of enum wakeup_want: for what its visit is
 */
void places_ask(struct dispatch *d, unsigned want);

/** places_answered() - @d said so, or is not waited for */
void places_answered(struct dispatch *d);

/** places_pass() - have every board visited that would be given places now */
void places_pass(struct root_env *env);

/** places_patience() - a board that was told of places and still does not take them is passed
 * over until it looks again: nobody waits for one that is locked, slow or stuck */
void places_patience(struct dispatch *d);

/** places_visited() - a visit is over. @took: it looked, and took what was its turn */
void places_visited(struct dispatch *d, bool took);
