/*
 * Places come free when a worker ends, when a limit is raised, when a board that was due some
 * goes away. Whose turn it is was decided in tick/turns.c; here the boards are told, and each
 * takes its places in a visit of its own, because only a visit may claim.
 */
#include "root/places.h"

#include "root/dispatch.h"
#include "root/root.h"

#define PLACES_PATIENCE_MS 100 /* from being told to the end of the visit */

static void places_tell(void *owner, void *arg)
{
	struct dispatch *d = owner;
	bool *again = arg;

	if (d->closing || !d->dispatched || d->root->stopping ||
	    !atomic_load(&d->root->owner)) {
		caps_absent(d->root->env->caps, &d->board.turn);
		*again = true;
		return;
	}
	if (!d->places_ms) {
		d->places_ms = uv_now(d->root->env->loop) + 1;
		wakeup_arm(d, PLACES_PATIENCE_MS + 1);
		wakeup_want(d, WANT_TICK);
	}
}

void places_pass(struct root_env *env)
{
	bool again = true;

	/* each round makes one board more absent, or ends */
	while (again && !env->once) {
		again = false;
		caps_due(env->caps, places_tell, &again);
	}
}

void places_patience(struct dispatch *d)
{
	if (!d->places_ms || uv_now(d->root->env->loop) + 1 - d->places_ms < PLACES_PATIENCE_MS)
		return;
	d->places_ms = 0;
	caps_absent(d->root->env->caps, &d->board.turn);
	places_pass(d->root->env);
}

void places_visited(struct dispatch *d, bool took)
{
	d->places_ms = 0;
	if (!took)
		caps_absent(d->root->env->caps, &d->board.turn);
}
