/* A growing list of strings. */
#pragma once

#include <stddef.h>

#include "util/error.h"

struct strings {
	char **v;
	size_t n;
};

/** strings_add() - append a copy of @text, or NULL; 0 or -ENOMEM, then the list is as it was */
MUST_CHECK int strings_add(struct strings *s, const char *text);

/** strings_cut() - only the first @n are left */
void strings_cut(struct strings *s, size_t n);

/** strings_free() - free the texts and the list, which is empty then */
void strings_free(struct strings *s);
