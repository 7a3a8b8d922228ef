/*
 * Which verbs there are. The linker gathered the entries that CTL_VERB() names, as it came by
 * their files; here they get the order of the help text.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "util/suggest.h"

extern const struct ctl_verb *const __start_ctl_verbs[], *const __stop_ctl_verbs[];

static int ctl_by_rank(const void *a, const void *b)
{
	const struct ctl_verb *const *x = a, *const *y = b;

	return (*x)->group != (*y)->group ? ((*x)->group < (*y)->group ? -1 : 1)
					  : (*x)->rank - (*y)->rank;
}

const struct ctl_verb **ctl_verbs(size_t *n)
{
	const struct ctl_verb **verbs;

	/* cppcheck-suppress comparePointers -- the linker has them at the ends of one array */
	*n = (size_t)(__stop_ctl_verbs - __start_ctl_verbs);
	verbs = calloc(*n + 1, sizeof(*verbs));
	if (!verbs)
		return NULL;
	memcpy(verbs, __start_ctl_verbs, *n * sizeof(*verbs));
	qsort(verbs, *n, sizeof(*verbs), ctl_by_rank);
	return verbs;
}

const struct ctl_verb *ctl_verb_find(const struct ctl *ctl, const char *name)
{
	for (size_t i = 0; name && i < ctl->n_verbs; i++)
		if (strcmp(ctl->verbs[i]->name, name) == 0)
			return ctl->verbs[i];
	return NULL;
}

int ctl_verb_none(const struct ctl *ctl, const char *word)
{
	CLEANUP(freep) const char **names = calloc(ctl->n_verbs, sizeof(*names));
	const char *near;
	size_t n = 0;

	for (size_t i = 0; names && i < ctl->n_verbs; i++)
		if (ctl->verbs[i]->group != CTL_HIDDEN)
			names[n++] = ctl->verbs[i]->name;
	near = suggest(word, names, n);
	if (near)
		return ctl_say(ctl, CTL_USAGE,
			       "there is no verb %s; did you mean %s? See kanbanctl help", word,
			       near);
	return ctl_say(ctl, CTL_USAGE, "there is no verb %s; see kanbanctl help", word);
}
