/* What the parts of the harness share among themselves. */
#pragma once

#include "rig.h"

#define RIG_ENV_MAX 96

char *rig_program(const char *name);
void rig_end_daemons(void);
/* Fails at once, with its stderr, when a daemon crashed: nobody then waits for what it was to
 * do. */
void rig_watch_daemons(void);
