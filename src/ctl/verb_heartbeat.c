/* heartbeat: report that a running task is still worked on. */
#include <limits.h>

#include "ctl.h"
#include "ctl/task_change.h"

#define HEARTBEAT_TTL_S 900 /* the board contract, §6 */

static int verb_heartbeat_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(task_change_close) struct task_change w = { .e = ERROR_NULL };
	const char *ttl_text = ctl_env(ctl, "HERMES_KANBAN_CLAIM_TTL_SECONDS");
	CLEANUP(freep) char *note = NULL;
	int64_t run = 0, ttl_s = HEARTBEAT_TTL_S, given;
	const struct ctl_arg options[] = {
		{ "note", CTL_ARG_LONG, &note, "TEXT", "how far it is; - reads it", 0, 0 },
		{ "run", CTL_ARG_INT, &run, "ID", "only if this run still has the task", 1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (ttl_text && ctl_int(ttl_text, 1, INT32_MAX, &given))
		ttl_s = given;
	r = task_change_open(ctl, &w, args[0], run);
	if (r != 0)
		return r;
	r = edit_heartbeat(w.db, w.task, &w.by, note, ttl_s, &w.done, &w.e);
	return task_change_told(ctl, &w, "is still worked on", r);
}

static const struct ctl_verb verb_heartbeat = {
	.name = "heartbeat",
	.args = "[TASK]",
	.what = "report that a running task is still worked on",
	.group = CTL_TASKS,
	.rank = 80,
	.complete = "TASK:running",
	.run = verb_heartbeat_run,
};
CTL_VERB(verb_heartbeat);
