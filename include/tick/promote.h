/* Step 8 of a tick: tasks whose parents are done become ready. */
#pragma once

#include "tick/tick.h"

/**
 * promote_find() - which tasks are to be promoted; reads only
 * @ids: out; freed by the caller with strings_free()
 * With tick_request.promote_after > 0 only the tasks that newer events name and their children
 * are looked at; otherwise every `todo` and `blocked` task.
 * Return: 0, or as db_step().
 */
MUST_CHECK int promote_find(const struct tick *t, struct strings *ids);

/** promote_run() - promote @ids, each checked again; inside the caller's transaction */
MUST_CHECK int promote_run(const struct tick *t, const struct strings *ids);
