/* Arrays that grow. */
#include "util/list.h"

#include <stdlib.h>
#include <string.h>

void *list_grow(void **v, size_t *n, size_t size)
{
	char *e;

	if ((*n & (*n - 1)) == 0) {
		void *more = reallocarray(*v, *n ? *n * 2 : 1, size);

		if (!more)
			return NULL;
		*v = more;
	}
	e = (char *)*v + *n * size;
	memset(e, 0, size);
	(*n)++;
	return e;
}
