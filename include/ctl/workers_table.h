/* Workers as people read them. */
#pragma once

#include <jansson.h>

#include "util/error.h"

struct ctl;

/** workers_print() - as a table on ctl->out. Return: 0, or an exit code after telling. */
MUST_CHECK int workers_print(const struct ctl *ctl, const json_t *workers);
