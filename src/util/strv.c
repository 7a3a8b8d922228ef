/* Growing vectors of strings. */
#include "util/strv.h"

#include <errno.h>
#include <stdlib.h>

int strv_push(char ***v, size_t *n, char *owned)
{
	char **more = owned ? reallocarray(*v, *n + 2, sizeof(*more)) : NULL;

	if (!more) {
		free(owned);
		return -ENOMEM;
	}
	*v = more;
	more[(*n)++] = owned;
	more[*n] = NULL;
	return 0;
}

char **strv_free(char **v)
{
	for (char **s = v; s && *s; s++)
		free(*s);
	free(v);
	return NULL;
}
