/* block: report that a task cannot go on. */
#include <limits.h>

#include "ctl.h"
#include "ctl/task_change.h"

static int verb_block_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(task_change_close) struct task_change w = { .e = ERROR_NULL };
	CLEANUP(freep) char *reason = NULL;
	const char *kind = NULL;
	int64_t run = 0;
	const struct ctl_arg options[] = {
		{ "reason", CTL_ARG_LONG, &reason, "TEXT", "what is missing; - reads it", 0,
		  0 },
		{ "kind", CTL_ARG_TEXT, &kind, "needs_input|capability|transient|dependency",
		  "what kind of thing is missing", 0, 0 },
		{ "run", CTL_ARG_INT, &run, "ID", "only if this run still has the task", 1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	r = task_change_open(ctl, &w, args[0], run);
	if (r != 0)
		return r;
	r = edit_block(w.db, w.task, &w.by, reason, kind, &w.done, &w.e);
	return task_change_told(ctl, &w, NULL, r);
}

static const struct ctl_verb verb_block = {
	.name = "block",
	.args = "[TASK]",
	.what = "report that a task cannot go on",
	.group = CTL_TASKS,
	.rank = 60,
	.run = verb_block_run,
};
CTL_VERB(verb_block);
