/* comment: add a comment to a task. */

#include "ctl.h"
#include "ctl/task_change.h"

static int verb_comment_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(task_change_close) struct task_change w = { .e = ERROR_NULL };
	const char *author = ctl_env(ctl, "HERMES_PROFILE");
	CLEANUP(freep) char *text = NULL;
	const struct ctl_arg options[] = {
		{ "author", CTL_ARG_TEXT, &author, "NAME",
		  "who says it (else HERMES_PROFILE, else user)", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 1, 2, &args))
		return ctl->exit;
	/* one argument is the text, on the worker's own task */
	r = ctl_long_text(ctl, "comment", args[1] ? args[1] : args[0], &text);
	if (r == 0)
		r = task_change_open(ctl, &w, args[1] ? args[0] : NULL, 0);
	if (r != 0)
		return r;
	r = edit_comment(w.db, w.task, w.by.now, author ? author : "user", text, &w.done, &w.e);
	return task_change_told(ctl, &w, "has the comment", r);
}

static const struct ctl_verb verb_comment = {
	.name = "comment",
	.args = "[TASK] TEXT",
	.what = "add a comment to a task",
	.group = CTL_TASKS,
	.rank = 90,
	.run = verb_comment_run,
};
CTL_VERB(verb_comment);
