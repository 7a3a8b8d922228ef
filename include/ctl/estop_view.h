/* The emergency stop, as the files tell it to whoever asks without a daemon. */
#pragma once

#include <stdbool.h>

#include "root/estop.h"

struct ctl;

#define ESTOP_VIEW_MAX 600

/**
 * estop_view() - is the starting of work on @root stopped by hand
 * @text: out, estop_sentence() where it is, "" where it is not
 * The HERMES_HOME is that of who asks; a daemon's may be another.
 */
bool estop_view(const struct ctl *ctl, const char *root, struct estop *stop,
		char text[ESTOP_VIEW_MAX]);
