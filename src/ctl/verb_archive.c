/* archive: a task leaves the board; its history stays. */
#include "ctl.h"
#include "ctl/task_request.h"

static int verb_archive_run(struct ctl *ctl, int argc, char **argv)
{
	return task_request_reason(ctl, argc, argv, "is archived");
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
