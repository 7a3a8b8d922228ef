/* Growing lists of strings. */
#include "util/strings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/list.h"

int strings_add(struct strings *s, const char *text)
{
	CLEANUP(freep) char *copy = text ? strdup(text) : NULL;
	char **to = text && !copy ? NULL : list_grow((void **)&s->v, &s->n, sizeof(*to));

	if (!to)
		return -ENOMEM;
	*to = STEAL(copy);
	return 0;
}

void strings_cut(struct strings *s, size_t n)
{
	while (s->n > n)
		free(s->v[--s->n]);
}

void strings_free(struct strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strings){ 0 };
}
