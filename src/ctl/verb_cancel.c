/* cancel: a task is not to be done any more; its worker is ended now. */
#include "ctl.h"
#include "ctl/task_request.h"

static int verb_cancel_run(struct ctl *ctl, int argc, char **argv)
{
	return task_request_reason(ctl, argc, argv, "is cancelled");
}

static const struct ctl_verb verb_cancel = {
	.name = "cancel",
	.args = "TASK",
	.what = "end the worker of a task and archive the task",
	.group = CTL_TASKS,
	.rank = 180,
	.run = verb_cancel_run,
};
CTL_VERB(verb_cancel);
