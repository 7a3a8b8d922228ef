/* Workers as people read them. */
#pragma once

#include <jansson.h>

#include "util/error.h"

struct ctl;

/** workers_state() - running, adopted, ending, left its task; static */
const char *workers_state(const json_t *worker);

/** workers_print() - as a table on ctl->out. Return: 0, or an exit code after telling. */
MUST_CHECK int workers_print(const struct ctl *ctl, const json_t *workers);
