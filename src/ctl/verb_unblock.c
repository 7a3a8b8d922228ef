/* unblock: let a blocked task go on. */

#include "ctl.h"
#include "ctl/task_change.h"

static int verb_unblock_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(task_change_close) struct task_change w = { .e = ERROR_NULL };
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = task_change_open(ctl, &w, args[0], 0);
	if (r != 0)
		return r;
	/* a blocked task has no run: whoever unblocks it speaks for nobody */
	w.by.run = 0;
	w.by.claim_lock = NULL;
	r = edit_unblock(w.db, w.task, &w.by, &w.done, &w.e);
	return task_change_told(ctl, &w, NULL, r);
}

static const struct ctl_verb verb_unblock = {
	.name = "unblock",
	.args = "TASK",
	.what = "let a blocked task go on",
	.group = CTL_TASKS,
	.rank = 70,
	.complete = "TASK:blocked",
	.run = verb_unblock_run,
};
CTL_VERB(verb_unblock);
