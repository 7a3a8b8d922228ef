/* archive: a task leaves the board; its history stays. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"

static int verb_archive_run(struct ctl *ctl, int argc, char **argv)
{
	const char *reason = NULL;
	const struct ctl_arg options[] = {
		{ "reason", CTL_ARG_TEXT, &reason, "TEXT", "why", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	return task_request(ctl, "archive", args[0], json_pack("{s:s*}", "reason", reason),
			    "is archived");
}

static const struct ctl_verb verb_archive = {
	.name = "archive",
	.args = "TASK",
	.what = "take a task off the board; its history stays",
	.group = CTL_TASKS,
	.rank = 190,
	.run = verb_archive_run,
};
CTL_VERB(verb_archive);
