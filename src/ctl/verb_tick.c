/* tick: look at a board, or all, now. */

#include "ctl.h"
#include "ctl/daemon_call.h"
#include "util/json.h"

static int verb_tick_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	int64_t n;
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 1))
		return ctl->exit;
	r = m.slug ? daemon_call_board(&m, "tick") : daemon_call_post(&m, "/v1/tick", NULL);
	if (r != 0)
		return r;
	if (ctl->json)
		return daemon_call_json(&m);
	n = json_number(m.reply.json, "boards", 0);
	if (m.slug)
		daemon_call_put_board(&m, "looked at");
	else
		(void)fprintf(ctl->out, "%lld board%s looked at\n", (long long)n,
			      n == 1 ? " is" : "s are");
	return CTL_OK;
}

static const struct ctl_verb verb_tick = {
	.name = "tick",
	.args = "[BOARD]",
	.what = "look for work on a board now, or on all",
	.group = CTL_DAEMON,
	.rank = 10,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_tick_run,
};
CTL_VERB(verb_tick);
