/* assign: another profile does it, or nobody. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/profile_note.h"
#include "ctl/task_request.h"
#include "util/text.h"

static int verb_assign_run(struct ctl *ctl, int argc, char **argv)
{
	char **args;
	bool nobody;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 2, 2, &args))
		return ctl->exit;
	nobody = strcmp(args[1], "-") == 0 || text_is_blank(args[1]);
	r = task_request(ctl, "assign", args[0],
			 json_pack("{s:s}", "assignee", nobody ? "" : args[1]),
			 nobody ? "is nobody's now" : "is assigned");
	if (r == CTL_OK && !nobody)
		profile_note(ctl, args[1]);
	return r;
}

static const struct ctl_verb verb_assign = {
	.name = "assign",
	.args = "TASK PROFILE",
	.what = "give a task to another profile; - takes it from all",
	.group = CTL_TASKS,
	.rank = 110,
	.run = verb_assign_run,
};
CTL_VERB(verb_assign);
