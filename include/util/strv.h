/* Vectors of strings as exec(3) takes them: malloc'd, NULL behind the last one. */
#pragma once

#include <stddef.h>

#include "util/error.h"

/**
 * strv_push() - append @owned, which is taken over, also when this fails; NULL is out of memory
 * @v: NULL when it is empty; it moves. @n: how many there are, counted on
 * Return: 0 or -ENOMEM, then it is as it was.
 */
MUST_CHECK int strv_push(char ***v, size_t *n, char *owned);

/** strv_free() - free the texts and the vector; takes NULL, returns NULL */
char **strv_free(char **v);
DEFINE_FREEP(char *, strv_free)
