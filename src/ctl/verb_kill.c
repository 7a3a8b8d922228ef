/* kill: end the worker of a task; the task becomes ready again and nothing is counted. */
#include "ctl.h"
#include "ctl/task_request.h"

static int verb_kill_run(struct ctl *ctl, int argc, char **argv)
{
	return task_request_reason(ctl, argc, argv, "is ready again");
}

static const struct ctl_verb verb_kill = {
	.name = "kill",
	.args = "TASK",
	.what = "end the worker of a task; the task becomes ready again",
	.group = CTL_TASKS,
	.rank = 170,
	.complete = "TASK:running",
	.run = verb_kill_run,
};
CTL_VERB(verb_kill);
