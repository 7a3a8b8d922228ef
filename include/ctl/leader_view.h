/* Who has the lease of a root, in words and in JSON. */
#pragma once

#include <jansson.h>

#include "root/leader.h"
#include "util/error.h"

struct ctl;

/** leader_view() - Return: 0, or an exit code after telling why. */
MUST_CHECK int leader_view(const struct ctl *ctl, const char *root, struct leader *lead);

/** leader_view_put() - one sentence to ctl->out, without its end */
void leader_view_put(const struct ctl *ctl, const struct leader *lead);

/** leader_view_from_json() - what a daemon says, in the same form */
void leader_view_from_json(struct leader *lead, const json_t *json);
