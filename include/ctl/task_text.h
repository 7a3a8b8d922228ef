/* A task as people read it. */
#pragma once

#include <jansson.h>

#include "util/error.h"

struct ctl;

/** task_text() - what view_task() found, on ctl->out. Return: 0, or an exit code after telling
 */
MUST_CHECK int task_text(const struct ctl *ctl, const json_t *all);
