/* What workers wrote, where their units write into the journal. */
#pragma once

#include <stdbool.h>

#include "util/error.h"

struct ctl;

/**
 * logs_journal() - print what the units of @task's runs on @board wrote into the journal, as
 * far as this account may read it
 * @follow: go on with what they write, where there is anything now; then it does not return
 * @any: out, there was something
 * Return: 0, CTL_END_OF_READER, or an exit code after telling.
 */
MUST_CHECK int logs_journal(const struct ctl *ctl, const char *board, const char *task,
			    bool follow, bool *any);
