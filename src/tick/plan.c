/*
 * The growing lists of a plan.
 */
#include "tick/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/list.h"
#include "util/log.h"

static void *plan_grow(struct plan *plan, void **v, size_t *n, size_t size)
{
	void *e = list_grow(v, n, size);

	if (!e)
		plan->oom = true;
	return e;
}

static char *plan_copy(struct plan *plan, const char *text)
{
	char *s = text ? strdup(text) : NULL;

	if (text && !s)
		plan->oom = true;
	return s;
}

void plan_deadline(struct plan *plan, int64_t at)
{
	if (at > 0 && (plan->deadline == 0 || at < plan->deadline))
		plan->deadline = at;
}

void plan_full_at(struct plan *plan, int64_t at)
{
	if (at > 0 && (plan->full_at == 0 || at < plan->full_at))
		plan->full_at = at;
	plan_deadline(plan, at);
}

void plan_id(struct plan *plan, struct strings *list, const char *task)
{
	if (strings_add(list, task) < 0)
		plan->oom = true;
}

void plan_guarded(struct plan *plan, const char *task, const char *reason)
{
	struct plan_guarded *g =
		plan_grow(plan, (void **)&plan->guarded, &plan->n_guarded, sizeof(*g));

	if (g) {
		g->task = plan_copy(plan, task);
		g->reason = reason;
	}
}

void plan_note(struct plan *plan, int priority, const char *id, const char *task, int64_t run,
	       const char *fmt, ...)
{
	struct plan_note *note =
		plan_grow(plan, (void **)&plan->notes, &plan->n_notes, sizeof(*note));
	va_list ap;

	if (!note)
		return;
	note->priority = priority;
	note->id = id;
	note->run = run;
	note->task = plan_copy(plan, task);
	va_start(ap, fmt);
	if (vasprintf(&note->text, fmt, ap) < 0) {
		note->text = NULL;
		plan->oom = true;
	}
	va_end(ap);
}

struct plan_launch *plan_launch(struct plan *plan)
{
	return plan_grow(plan, (void **)&plan->launches, &plan->n_launches,
			 sizeof(struct plan_launch));
}

struct plan_victim *plan_victim(struct plan *plan)
{
	return plan_grow(plan, (void **)&plan->victims, &plan->n_victims,
			 sizeof(struct plan_victim));
}

struct plan_worker *plan_worker(struct plan *plan)
{
	return plan_grow(plan, (void **)&plan->workers, &plan->n_workers,
			 sizeof(struct plan_worker));
}

void plan_launch_deinit(struct plan_launch *l)
{
	free(l->task);
	free(l->assignee);
	free(l->claim_lock);
	task_row_deinit(&l->row);
	*l = (struct plan_launch){ 0 };
}

void plan_victim_deinit(struct plan_victim *v)
{
	free(v->task);
	free(v->claim_lock);
	free(v->started);
	*v = (struct plan_victim){ 0 };
}

static void plan_worker_deinit(struct plan_worker *w)
{
	free(w->task);
	free(w->started);
	free(w->title);
	*w = (struct plan_worker){ 0 };
}

static void plan_note_deinit(struct plan_note *note)
{
	free(note->task);
	free(note->text);
	*note = (struct plan_note){ 0 };
}

void plan_deinit(struct plan *plan)
{
	struct strings *lists[] = { &plan->stale,        &plan->crashed,
				    &plan->rate_limited, &plan->timed_out,
				    &plan->auto_blocked, &plan->unassigned,
				    &plan->nonspawnable, &plan->profile_capped,
				    &plan->scheduled,    &plan->triage };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		strings_free(lists[i]);
	for (size_t i = 0; i < plan->n_guarded; i++)
		free(plan->guarded[i].task);
	for (size_t i = 0; i < plan->n_launches; i++)
		plan_launch_deinit(&plan->launches[i]);
	for (size_t i = 0; i < plan->n_victims; i++)
		plan_victim_deinit(&plan->victims[i]);
	for (size_t i = 0; i < plan->n_workers; i++)
		plan_worker_deinit(&plan->workers[i]);
	for (size_t i = 0; i < plan->n_notes; i++)
		plan_note_deinit(&plan->notes[i]);
	free(plan->guarded);
	free(plan->launches);
	free(plan->victims);
	free(plan->workers);
	free(plan->notes);
	free(plan->memory);
	free(plan->stopped);
	free(plan->repaired);
	*plan = (struct plan){ 0 };
}

struct plan_mark plan_mark(const struct plan *plan)
{
	return (struct plan_mark){
		.reclaimed = plan->reclaimed,
		.promoted = plan->promoted,
		.claimed = plan->claimed,
		.stale = plan->stale.n,
		.crashed = plan->crashed.n,
		.rate_limited = plan->rate_limited.n,
		.timed_out = plan->timed_out.n,
		.auto_blocked = plan->auto_blocked.n,
		.launches = plan->n_launches,
		.victims = plan->n_victims,
		.workers = plan->n_workers,
		.notes = plan->n_notes,
	};
}

void plan_cut(struct plan *plan, const struct plan_mark *mark)
{
	plan->reclaimed = mark->reclaimed;
	plan->promoted = mark->promoted;
	plan->claimed = mark->claimed;
	strings_cut(&plan->stale, mark->stale);
	strings_cut(&plan->crashed, mark->crashed);
	strings_cut(&plan->rate_limited, mark->rate_limited);
	strings_cut(&plan->timed_out, mark->timed_out);
	strings_cut(&plan->auto_blocked, mark->auto_blocked);
	while (plan->n_launches > mark->launches)
		plan_launch_deinit(&plan->launches[--plan->n_launches]);
	while (plan->n_victims > mark->victims)
		plan_victim_deinit(&plan->victims[--plan->n_victims]);
	while (plan->n_workers > mark->workers)
		plan_worker_deinit(&plan->workers[--plan->n_workers]);
	while (plan->n_notes > mark->notes)
		plan_note_deinit(&plan->notes[--plan->n_notes]);
}

static void plan_append(struct plan *sum, struct strings *to, const struct strings *from)
{
	for (size_t i = 0; i < from->n; i++)
		if (from->v[i])
			plan_id(sum, to, from->v[i]);
}

/* Every walk begins at the first row and ends where the places do: the longest saw them all. */
static void plan_longer(struct plan *sum, struct strings *to, const struct strings *from)
{
	if (from->n <= to->n)
		return;
	strings_free(to);
	plan_append(sum, to, from);
}

static bool plan_is_guarded(const struct plan *plan, const char *task)
{
	for (size_t i = 0; i < plan->n_guarded; i++)
		if (strcmp(plan->guarded[i].task, task) == 0)
			return true;
	return false;
}

static void plan_add_guarded(struct plan *sum, const struct plan *from)
{
	if (from->n_guarded <= sum->n_guarded)
		return;
	for (size_t i = 0; i < sum->n_guarded; i++)
		free(sum->guarded[i].task);
	free(sum->guarded);
	sum->guarded = NULL;
	sum->n_guarded = 0;
	for (size_t i = 0; i < from->n_guarded; i++)
		if (from->guarded[i].task)
			plan_guarded(sum, from->guarded[i].task, from->guarded[i].reason);
}

/* Their profile was not at its cap when they were looked at first. */
static void plan_drop_guarded(const struct plan *sum, struct strings *from)
{
	size_t keep = 0;

	for (size_t i = 0; i < from->n; i++)
		if (plan_is_guarded(sum, from->v[i]))
			free(from->v[i]);
		else
			from->v[keep++] = from->v[i];
	from->n = keep;
}

static void plan_add_repaired(struct plan *sum, const struct plan *from)
{
	for (size_t i = 0; i < from->n_notes; i++)
		if (from->notes[i].id && strcmp(from->notes[i].id, LOG_ID_REPAIRED) == 0) {
			free(sum->repaired);
			sum->repaired = plan_copy(sum, from->notes[i].text);
		}
}

void plan_add(struct plan *sum, const struct plan *from, bool lanes)
{
	plan_add_repaired(sum, from);
	sum->reclaimed += from->reclaimed;
	sum->promoted += from->promoted;
	plan_append(sum, &sum->stale, &from->stale);
	plan_append(sum, &sum->crashed, &from->crashed);
	plan_append(sum, &sum->rate_limited, &from->rate_limited);
	plan_append(sum, &sum->timed_out, &from->timed_out);
	plan_append(sum, &sum->auto_blocked, &from->auto_blocked);
	if (!lanes)
		return;
	plan_longer(sum, &sum->unassigned, &from->unassigned);
	plan_longer(sum, &sum->nonspawnable, &from->nonspawnable);
	plan_longer(sum, &sum->scheduled, &from->scheduled);
	plan_add_guarded(sum, from);
	plan_longer(sum, &sum->profile_capped, &from->profile_capped);
	plan_drop_guarded(sum, &sum->profile_capped);
}
