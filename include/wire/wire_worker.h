/* A watched worker as JSON. */
#pragma once

#include <jansson.h>

struct worker;

/** wire_worker() - NULL: out of memory */
json_t *wire_worker(const struct worker *w);
