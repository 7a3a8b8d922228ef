/* Tells those who look on, in the order in which they came. */
#include "root/observer.h"

#include "root/dispatch.h"
#include "root/root.h"

void observer_join(struct root_env *env, struct observer *told)
{
	struct observer **p = &env->observers;

	while (*p)
		p = &(*p)->next;
	told->next = NULL;
	*p = told;
}

void observer_leave(struct root_env *env, struct observer *told)
{
	for (struct observer **p = &env->observers; *p; p = &(*p)->next)
		if (*p == told) {
			*p = told->next;
			return;
		}
}

void observer_board(const struct dispatch *d, bool state)
{
	for (struct observer *t = d->root->env->observers; t; t = t->next)
		if (t->board)
			t->board(t->arg, d, state);
}

void observer_worker(const struct worker *w, bool ended)
{
	for (struct observer *t = w->dispatch->root->env->observers; t; t = t->next)
		if (t->worker)
			t->worker(t->arg, w, ended);
}

void observer_left(const struct worker *w)
{
	for (struct observer *t = w->dispatch->root->env->observers; t; t = t->next)
		if (t->left)
			t->left(t->arg, w->pid);
}

void observer_row(const struct dispatch *d, const struct news_row *row)
{
	for (struct observer *t = d->root->env->observers; t; t = t->next)
		if (t->row)
			t->row(t->arg, d, row);
}

void observer_snapshot(const struct dispatch *d, const char *path)
{
	for (struct observer *t = d->root->env->observers; t; t = t->next)
		if (t->snapshot)
			t->snapshot(t->arg, d, path);
}

int64_t observer_rows_since(const struct root_env *env)
{
	int64_t first = 0;

	for (const struct observer *t = env->observers; t; t = t->next) {
		int64_t since = t->rows_since ? t->rows_since(t->arg) : 0;

		if (since && (!first || since < first))
			first = since;
	}
	return first;
}
