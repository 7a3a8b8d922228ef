/* metrics: numbers for a monitoring system. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/client.h"
#include "ctl/daemon_call.h"
#include "util/json.h"
#include "util/printable.h"

static int verb_metrics_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = client_text(m.client, strdup("/metrics"), &m.reply);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(
			ctl, json_pack("{s:o}", "metrics", json_or_null(m.reply.text)), CTL_OK);
	/* as it is: a program reads it. On a terminal nothing in it may act. */
	if (ctl->screen.width)
		printable_put(ctl->out, m.reply.text ? m.reply.text : "", m.reply.len,
			      PRINTABLE_LINES);
	else if (m.reply.text)
		(void)fwrite(m.reply.text, 1, m.reply.len, ctl->out);
	return CTL_OK;
}

static const struct ctl_verb verb_metrics = {
	.name = "metrics",
	.args = "",
	.what = "print numbers for a monitoring system",
	.group = CTL_WATCH,
	.rank = 100,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_metrics_run,
};
CTL_VERB(verb_metrics);
