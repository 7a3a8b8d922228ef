/* complete: report a task as done. */
#include <limits.h>

#include "ctl.h"
#include "ctl/task_change.h"

static int verb_complete_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(task_change_close) struct task_change w = { .e = ERROR_NULL };
	CLEANUP(freep) char *result = NULL;
	CLEANUP(freep) char *summary = NULL;
	CLEANUP(freep) char *metadata = NULL;
	int64_t run = 0;
	const struct ctl_arg options[] = {
		{ "result", CTL_ARG_LONG, &result, "TEXT", "what came out; - reads it", 0, 0 },
		{ "summary", CTL_ARG_LONG, &summary, "TEXT",
		  "what was done, for whoever goes on; first line is told", 0, 0 },
		{ "metadata", CTL_ARG_LONG, &metadata, "JSON", "facts, as a JSON object", 0,
		  0 },
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
	r = edit_complete(w.db, w.task, &w.by, result, summary, metadata, &w.done, &w.e);
	return task_change_told(ctl, &w, NULL, r);
}

static const struct ctl_verb verb_complete = {
	.name = "complete",
	.args = "[TASK]",
	.what = "report a task as done",
	.group = CTL_TASKS,
	.rank = 50,
	.run = verb_complete_run,
};
CTL_VERB(verb_complete);
