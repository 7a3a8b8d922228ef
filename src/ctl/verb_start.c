/* start: one task, now, out of its turn; by the daemon, which knows what runs. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/client_find.h"
#include "util/json.h"
#include "util/printable.h"

static int start_told(struct ctl *ctl, const char *task, struct reply *reply)
{
	int64_t run = json_number(reply->json, "run", 0);

	if (ctl->json)
		return ctl_print_json(ctl, STEAL(reply->json), CTL_OK);
	printable_put(ctl->out, task, strlen(task), 0);
	(void)fprintf(ctl->out, " is started: run %lld\n", (long long)run);
	return CTL_OK; /* ctl_main() looks at the error flag */
}

static int verb_start_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(client_freep) struct client *client = NULL;
	CLEANUP(freep) char *root = NULL;
	const char *despite = NULL;
	const struct ctl_arg options[] = {
		{ "despite", CTL_ARG_TEXT, &despite, "GUARD",
		  "pass over this guard, as why names it", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = ctl_root(ctl, &root);
	if (r == 0)
		r = ctl_place(ctl, &place);
	if (r == 0)
		r = client_need(ctl, root, &client);
	if (r == 0)
		r = client_call(client, "POST",
				client_path(client, NULL, "/v1/boards/%s/start", place.slug),
				json_pack("{s:s, s:s*}", "task", args[0], "despite", despite),
				&reply);
	return r == 0 ? start_told(ctl, args[0], &reply) : r;
}

static const struct ctl_verb verb_start = {
	.name = "start",
	.args = "TASK",
	.what = "start a task now, out of its turn",
	.group = CTL_TASKS,
	.rank = 160,
	.complete = "TASK:ready",
	.run = verb_start_run,
};
CTL_VERB(verb_start);
