/* kill: end the worker of a task; the task becomes ready again and nothing is counted. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"

static int verb_kill_run(struct ctl *ctl, int argc, char **argv)
{
	const char *reason = NULL;
	const struct ctl_arg options[] = {
		{ "reason", CTL_ARG_TEXT, &reason, "TEXT", "why", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	return task_request(ctl, "kill", args[0], json_pack("{s:s*}", "reason", reason),
			    "is ready again");
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
