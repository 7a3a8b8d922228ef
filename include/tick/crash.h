/* Workers that are gone while their task still says `running`. */
#pragma once

#include "tick/running.h"

/** crash_run() - rule 6: let the tasks of all such workers go and count their failures; inside
 * the caller's transaction */
MUST_CHECK int crash_run(const struct tick *t, struct running_set *set);

/** crash_grace() - the worker is gone, but the task started a moment ago: note in the plan when
 * the rule will hold */
void crash_grace(const struct tick *t, const struct running *row);
