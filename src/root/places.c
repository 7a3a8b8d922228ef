/*
 * Places come free when a worker ends, when a limit is raised, when a board that was due some
 * goes away. Whose turn it is was decided in tick/turns.c; here the boards are told, and each
 * takes its places in a visit of its own, because only a visit may claim.
 *
 * At a start, and when a pause, an emergency stop or a fault of the host is over, nothing is
 * known of what boards want: the first to be visited would take every place. So all are asked
 * first, for half a second at most.
 */
#include "root/places.h"

#include "root/dispatch.h"
#include "root/root.h"

#define PLACES_PATIENCE_MS 100 /* from being told to the end of the visit */
#define PLACES_ANSWER_MS   500 /* from being asked, when all boards are visited at once */

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

void places_ask(struct dispatch *d, unsigned want)
{
	struct root_env *env = d->root->env;

	if (!env->once && !env->held && !d->held && !d->closing && !d->asked_ms) {
		d->asked_ms = uv_now(env->loop) + 1;
		if (env->asked++ == 0)
			caps_asking(env->caps, true);
		wakeup_arm(d, PLACES_ANSWER_MS + 1);
	}
	wakeup_want(d, want);
}

void places_answered(struct dispatch *d)
{
	struct root_env *env = d->root->env;

	if (!d->asked_ms)
		return;
	d->asked_ms = 0;
	if (--env->asked > 0)
		return;
	caps_asking(env->caps, false);
	places_pass(env);
}

/* Is it over; if not, the timer of the board may have been set to something earlier. */
static bool places_over(struct dispatch *d, uint64_t since_ms, uint64_t patience_ms)
{
	uint64_t waited;

	if (!since_ms)
		return false;
	waited = uv_now(d->root->env->loop) + 1 - since_ms;
	if (waited < patience_ms)
		wakeup_arm(d, patience_ms - waited + 1);
	return waited >= patience_ms;
}

void places_patience(struct dispatch *d)
{
	if (places_over(d, d->asked_ms, PLACES_ANSWER_MS))
		places_answered(d);
	if (!places_over(d, d->places_ms, PLACES_PATIENCE_MS))
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
