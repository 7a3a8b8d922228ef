/* workers: the workers that run. */
#include <jansson.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/daemon_call.h"
#include "ctl/workers_table.h"

static int verb_workers_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = client_call(m.client, "GET", client_path(m.client, NULL, "/v1/workers"), NULL,
			&m.reply);
	if (r != 0)
		return r;
	return ctl->json ? daemon_call_json(&m)
			 : workers_print(ctl, json_object_get(m.reply.json, "workers"));
}

static const struct ctl_verb verb_workers = {
	.name = "workers",
	.args = "",
	.what = "list the workers that run, and what they use",
	.group = CTL_WATCH,
	.rank = 50,
	.flags = CTL_NEEDS_DAEMON | CTL_TABLE,
	.run = verb_workers_run,
};
CTL_VERB(verb_workers);
