/* Who has the lease of a root, in words and in JSON. */
#pragma once

#include <jansson.h>

#include "root/leader.h"
#include "util/error.h"

struct ctl;

/** lead_look() - Return: 0, or an exit code after telling why. */
MUST_CHECK int lead_look(const struct ctl *ctl, const char *root, struct leader *lead);

/** lead_json() - {"held", "pid", "kanband", "owner"}; NULL when out of memory */
json_t *lead_json(const struct leader *lead);

/** lead_put() - one sentence to ctl->out, without its end */
void lead_put(const struct ctl *ctl, const struct leader *lead);

/** lead_from_json() - what a daemon says, in the same form */
void lead_from_json(struct leader *lead, const json_t *json);
