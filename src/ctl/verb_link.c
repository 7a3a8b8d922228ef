/* link: a task waits for another. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"

static int verb_link_run(struct ctl *ctl, int argc, char **argv)
{
	char **args;

	if (!ctl_args(ctl, NULL, argc, argv, 2, 2, &args))
		return ctl->exit;
	return task_request(ctl, "link", args[0], json_pack("{s:s}", "parent", args[1]), NULL);
}

static const struct ctl_verb verb_link = {
	.name = "link",
	.args = "TASK PARENT",
	.what = "let a task wait for another",
	.group = CTL_TASKS,
	.rank = 120,
	.complete = "TASK TASK",
	.run = verb_link_run,
};
CTL_VERB(verb_link);
