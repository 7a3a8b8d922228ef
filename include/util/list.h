/* Arrays that grow: their room is the next power of two of the count, so it is stored nowhere.
 */
#pragma once

#include <stddef.h>

#include "util/error.h"

/**
 * list_grow() - one more element behind the others, all zero; @n counts it
 * @v: the array, NULL when it is empty; it moves. @size: of one element
 * Return: the new element, NULL out of memory: then all is as it was.
 */
MUST_CHECK void *list_grow(void **v, size_t *n, size_t size);
