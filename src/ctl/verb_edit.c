/* edit: change what stands in a task. What is not named stays; "" and 0 take it away. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"

#define EDIT_NUMBER_MAX INT32_MAX
#define EDIT_NOT_GIVEN  INT64_MIN

/* What was given, as the arguments of edit_request(). NULL: out of memory. */
static json_t *edit_number(json_t *args, const char *key, int64_t value)
{
	if (!args || value == EDIT_NOT_GIVEN)
		return args;
	if (json_object_set_new(args, key, json_integer(value)) == 0)
		return args;
	json_decref(args);
	return NULL;
}

static int verb_edit_run(struct ctl *ctl, int argc, char **argv)
{
	int64_t priority = EDIT_NOT_GIVEN, runtime = EDIT_NOT_GIVEN, retries = EDIT_NOT_GIVEN;
	const char *title = NULL, *tenant = NULL, *model = NULL, *provider = NULL;
	const char *every = NULL;
	CLEANUP(freep) char *body = NULL;
	const struct ctl_arg options[] = {
		{ "title", CTL_ARG_TEXT, &title, "TEXT", "the title", 0, 0 },
		{ "body", CTL_ARG_LONG, &body, "TEXT",
		  "what is to be done, in full; - reads it", 0, 0 },
		{ "priority", CTL_ARG_INT, &priority, "N", "higher comes first",
		  -EDIT_NUMBER_MAX, EDIT_NUMBER_MAX },
		{ "tenant", CTL_ARG_TEXT, &tenant, "NAME",
		  "the customer or project it belongs to", 0, 0 },
		{ "max-runtime", CTL_ARG_INT, &runtime, "SECONDS",
		  "longest run of a worker; 0: no limit", 0, EDIT_NUMBER_MAX },
		{ "max-retries", CTL_ARG_INT, &retries, "N",
		  "failures until it is given up; 0: the default", 0, EDIT_NUMBER_MAX },
		{ "model", CTL_ARG_TEXT, &model, "NAME", "instead of the profile's", 0, 0 },
		{ "provider", CTL_ARG_TEXT, &provider, "NAME", "of that model", 0, 0 },
		{ "every", CTL_ARG_TEXT, &every, "CALENDAR",
		  "again and again; an empty one: no more", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	json_t *change;
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	change = json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*, s:s*}", "title", title, "body", body,
			   "tenant", tenant, "model", model, "provider", provider, "every",
			   every);
	change = edit_number(change, "priority", priority);
	change = edit_number(change, "max_runtime", runtime);
	change = edit_number(change, "max_retries", retries);
	return task_request(ctl, "edit", args[0], change, "is changed");
}

static const struct ctl_verb verb_edit = {
	.name = "edit",
	.args = "TASK",
	.what = "change the title, text or settings of a task",
	.group = CTL_TASKS,
	.rank = 100,
	.run = verb_edit_run,
};
CTL_VERB(verb_edit);
