#include "claimant.h"

#include <check.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>

#include "launch.h"
#include "launch/ending.h"
#include "launch/identity.h"
#include "process/proc.h"
#include "process/spawn.h"
#include "util/clock.h"
#include "util/fs.h"

void claimant_setup(void)
{
	help_setup();
	help_news_open();
}

pid_t claimant_start(const char *const *vars)
{
	pid_t pid = help_start(vars, true);

	help_news_read(1, NULL, NULL);
	return pid;
}

void claimant_stop(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	(void)help_reap(pid);
}

const char *claimant_name(enum identity who)
{
	static const char *const names[] = { [IDENTITY_DEAD] = "dead",
					     [IDENTITY_OURS] = "ours",
					     [IDENTITY_STRANGER] = "stranger",
					     [IDENTITY_UNSURE] = "unsure" };

	return names[who];
}
