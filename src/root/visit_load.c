/*
 * What goes along with a visit, and what comes back of it. The loop goes on changing its lists
 * while the visit reads: it gets copies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "root/adopt.h"
#include "root/collect.h"
#include "root/root.h"
#include "root/visit_load.h"

static void *visit_copy(const void *v, size_t n, size_t size)
{
	void *c = reallocarray(NULL, n + 1, size); /* never 0 bytes, so NULL is an error */

	if (c && n)
		memcpy(c, v, n * size);
	return c;
}

int visit_load(struct dispatch *d)
{
	workers_forget(d);
	launches_forget(d);
	d->visit.exits =
		visit_copy(d->workers.exits, d->workers.n_exits, sizeof(*d->workers.exits));
	d->visit.holds =
		visit_copy(d->launches.holds, d->launches.n_holds, sizeof(*d->launches.holds));
	if (!d->visit.exits || !d->visit.holds || launches_take(d) < 0)
		return -ENOMEM;
	workers_take_ended(d);
	collect_offered(d);
	atomic_store(&d->root->launcher,
		     d->root->env->launcher(d->root->env->arg, d->root->path));
	return 0;
}

/* Workers that live or are being started: no second one of their task, and they take a place.
 */
static int visit_living(struct dispatch *d, struct tick_request *rq)
{
	size_t n = workers_living(d, NULL) + launches_count(d) + adopt_living(d, NULL);

	d->visit.living = calloc(n + 1, sizeof(*d->visit.living));
	if (!d->visit.living)
		return -ENOMEM;
	n = workers_living(d, d->visit.living);
	n += launches_living(d, d->visit.living + n);
	n += adopt_living(d, d->visit.living + n);
	rq->living = d->visit.living;
	rq->n_living = n;
	return 0;
}

/* Runs that the tick must leave alone, and those whose worker we watch. */
int visit_lists(struct dispatch *d, struct tick_request *rq)
{
	size_t n = 0, w = 0;
	int64_t *list;

	for (struct worker *k = d->workers.list; k; k = k->next)
		n += 2;
	n += launches_count(d) + 1;
	n += workers_ending(d, NULL);
	list = reallocarray(NULL, n + d->workers.n_ended, sizeof(*list));
	if (!list)
		return -ENOMEM;
	d->visit.lists = list;
	for (struct worker *k = d->workers.list; k; k = k->next)
		list[w++] = k->run;
	rq->watched = list;
	rq->n_watched = w;
	rq->busy = list + w;
	w += workers_ending(d, list + w);
	for (size_t i = 0; i < d->workers.n_ended; i++)
		list[w++] = d->workers.ended[i].run;
	w += launches_runs(d, list + w);
	rq->n_busy = (size_t)(list + w - rq->busy);
	return visit_living(d, rq);
}

void visit_unload(struct dispatch *d, bool ended_booked, bool recorded)
{
	free(d->visit.lists);
	free(d->visit.living);
	free(d->visit.exits);
	free(d->visit.holds);
	d->visit.lists = NULL;
	d->visit.living = NULL;
	d->visit.exits = NULL;
	d->visit.holds = NULL;
	workers_booked(d, ended_booked);
	launches_recorded(d, recorded);
}
