/* schedule: a task waits for a time, or until it is unblocked. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"
#include "util/clock.h"
#include "util/moment.h"

static int verb_schedule_run(struct ctl *ctl, int argc, char **argv)
{
	const char *at = NULL, *reason = NULL;
	const struct ctl_arg options[] = {
		{ "at", CTL_ARG_TEXT, &at, "TIME",
		  "when: 18:30, \"tomorrow 09:00\", +90min, @UNIX; else until unblock", 0, 0 },
		{ "reason", CTL_ARG_TEXT, &reason, "TEXT", "why it waits", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	struct error e = ERROR_NULL;
	int64_t when = 0;
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	if (at && moment_parse(at, clock_wall_s(), &when, &e) != 0)
		return ctl_say(ctl, CTL_USAGE, "--at takes a time: %s", e.text);
	return task_request(ctl, "schedule", args[0],
			    json_pack("{s:s*, s:o}", "reason", reason, "at",
				      at ? json_integer(when) : json_null()),
			    NULL);
}

static const struct ctl_verb verb_schedule = {
	.name = "schedule",
	.args = "TASK",
	.what = "let a task wait for a time, or until it is unblocked",
	.group = CTL_TASKS,
	.rank = 140,
	.run = verb_schedule_run,
};
CTL_VERB(verb_schedule);
