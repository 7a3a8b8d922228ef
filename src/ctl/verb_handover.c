/* handover: let the standby own the root now. */
#include <jansson.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/daemon_call.h"
#include "ctl/leader_view.h"

static int verb_handover_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	struct leader l;
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = client_call(m.client, "POST", client_path(m.client, NULL, "/v1/handover"), NULL,
			&m.reply);
	if (r != 0)
		return r;
	if (ctl->json)
		return daemon_call_json(&m);
	leader_view_from_json(&l, m.reply.json);
	(void)fputs("handed over to ", ctl->out);
	leader_view_put(ctl, &l);
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}

static const struct ctl_verb verb_handover = {
	.name = "handover",
	.args = "",
	.what = "let the standby take over now; workers run on",
	.group = CTL_DAEMON,
	.rank = 50,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_handover_run,
};
CTL_VERB(verb_handover);
