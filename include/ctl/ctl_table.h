/* A table as the output of a verb. */
#pragma once

#include "ctl/table.h"
#include "util/error.h"

struct ctl;

/** ctl_table() - table_print() on ctl->out. Return: 0, or an exit code after telling why. */
MUST_CHECK int ctl_table(const struct ctl *ctl, const struct table *table, unsigned indent);
