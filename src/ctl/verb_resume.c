/* resume: take a pause or a drain back. */

#include "ctl.h"
#include "ctl/daemon_call.h"
#include "util/json.h"

static int verb_resume_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 1))
		return ctl->exit;
	r = m.slug ? daemon_call_board(&m, "resume") : daemon_call_post(&m, "/v1/resume", NULL);
	if (r != 0)
		return r;
	if (ctl->json)
		return daemon_call_json(&m);
	if (m.slug)
		daemon_call_put_board(&m, "resumed");
	else
		(void)fprintf(ctl->out, "%s\n",
			      json_flag(m.reply.json, "resumed")
				      ? "resumed: tasks are started again"
				      : "nothing was paused, and nothing drained");
	return CTL_OK;
}

static const struct ctl_verb verb_resume = {
	.name = "resume",
	.args = "[BOARD]",
	.what = "take a pause or a drain back",
	.group = CTL_DAEMON,
	.rank = 30,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_resume_run,
};
CTL_VERB(verb_resume);
