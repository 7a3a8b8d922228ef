/* Workers to be watched and ended, in a loop of the case. For the tests of launch/ending.c and
 * launch/terminate.c. */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <uv.h>

#include "launch.h"
#include "launch/ending.h"
#include "launch/watch.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

#define RUN "HERMES_KANBAN_RUN_ID=7"
extern uv_loop_t worker_loop;
extern char worker_task[64]; /* of this case: tests run side by side on this host */
extern char worker_task_var[96];

void worker_setup(void);
void worker_teardown(void);
pid_t worker_start(const char *act);
/* Make a system call fail with @error where argument @arg (its low half) is @value. */
void worker_forbid(long number, unsigned arg, uint32_t value, int error);

struct observer {
	struct watch *watch;
	struct ending ending;
	int calls;
	bool close; /* close the watch in the callback */
};

void worker_on_end(void *arg, struct watch *watch, struct ending ending);
/* Turn the loop until told, at most 20 s. */
void worker_run_until(const int *calls);

void worker_expect_ending(const struct observer *told, enum ending_kind kind, int value);
