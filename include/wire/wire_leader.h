/* Who has the lease of a root, as JSON. */
#pragma once

#include <jansson.h>

struct leader;
struct lease_term;

/** wire_leader() - {"held", "pid", "unseen", "kanband", "owner"}; NULL: out of memory */
json_t *wire_leader(const struct leader *l);

/** wire_leader_terms() - who owned it, newest first: a list of {"epoch", "pid", "host", "unit",
 * "version", "since", "until", "why"}; NULL: out of memory */
json_t *wire_leader_terms(const struct lease_term *terms, size_t n);
