/* unlink: a task waits for another no longer. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"

static int verb_unlink_run(struct ctl *ctl, int argc, char **argv)
{
	char **args;

	if (!ctl_args(ctl, NULL, argc, argv, 2, 2, &args))
		return ctl->exit;
	return task_request(ctl, "unlink", args[0], json_pack("{s:s}", "parent", args[1]),
			    NULL);
}

static const struct ctl_verb verb_unlink = {
	.name = "unlink",
	.args = "TASK PARENT",
	.what = "let a task not wait for another any more",
	.group = CTL_TASKS,
	.rank = 130,
	.complete = "TASK TASK",
	.run = verb_unlink_run,
};
CTL_VERB(verb_unlink);
