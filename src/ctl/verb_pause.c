/* pause: start nothing new on a board, or on any. */
#include <jansson.h>

#include "ctl.h"
#include "ctl/daemon_call.h"
#include "util/json.h"

static int verb_pause_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	int64_t n;
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 1))
		return ctl->exit;
	/* every board at once is a drain that nobody waits for */
	r = m.slug ? daemon_call_board(&m, "pause")
		   : daemon_call_post(&m, "/v1/drain",
				      json_pack("{s:b, s:b}", "wait", 0, "pause", 1));
	if (r != 0)
		return r;
	if (ctl->json)
		return daemon_call_json(&m);
	n = json_number(m.reply.json, "workers", 0);
	if (m.slug)
		daemon_call_put_board(&m, "paused until resumed or until the daemon ends");
	else
		(void)fprintf(ctl->out,
			      "paused: nothing new is started on any board until \"kanbanctl "
			      "resume\", or until the daemon ends; %lld worker%s on\n",
			      (long long)n, n == 1 ? " runs" : "s run");
	return CTL_OK;
}

static const struct ctl_verb verb_pause = {
	.name = "pause",
	.args = "[BOARD]",
	.what = "start nothing new on a board, or on any",
	.group = CTL_DAEMON,
	.rank = 20,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_pause_run,
};
CTL_VERB(verb_pause);
