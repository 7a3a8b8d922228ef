/* cancel: a task is not to be done any more; its worker is ended now. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"

static int verb_cancel_run(struct ctl *ctl, int argc, char **argv)
{
	const char *reason = NULL;
	const struct ctl_arg options[] = {
		{ "reason", CTL_ARG_TEXT, &reason, "TEXT", "why", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	return task_request(ctl, "cancel", args[0], json_pack("{s:s*}", "reason", reason),
			    "is cancelled");
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
