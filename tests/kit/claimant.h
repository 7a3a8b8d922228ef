/* Processes of the case whose numbers are known. */
#pragma once

#include <check.h>
#include <grp.h>

#include "launch.h"
#include "launch/ending.h"
#include "launch/identity.h"
#include "process/proc.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

/* The task is each program's own (TASK): those that end a worker end whatever bears its task
 * and run on this host, and they run side by side. */
#define RUN "HERMES_KANBAN_RUN_ID=7"

void claimant_setup(void);
/* A process that hangs with @vars in its environment; it is there when this returns. */
pid_t claimant_start(const char *const *vars);

void claimant_stop(pid_t pid);
const char *claimant_name(enum identity who);
#define expect(claim, want)                                                                    \
	ck_assert_str_eq(claimant_name(identity_check(claim)), claimant_name(want))
