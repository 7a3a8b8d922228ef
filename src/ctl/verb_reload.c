/* reload: read the configuration again. */
#include <jansson.h>

#include "ctl.h"
#include "ctl/daemon_call.h"

static int verb_reload_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(daemon_call_close) struct daemon_call m = { 0 };
	const json_t *warnings;
	int r;

	if (!daemon_call_open(&m, ctl, NULL, argc, argv, 0))
		return ctl->exit;
	r = daemon_call_post(&m, "/v1/reload", NULL);
	if (r != 0)
		return r;
	if (ctl->json)
		return daemon_call_json(&m);
	warnings = json_object_get(m.reply.json, "warnings");
	for (size_t i = 0; i < json_array_size(warnings); i++)
		(void)ctl_say(ctl, 0, "warning: %s",
			      json_string_value(json_array_get(warnings, i)));
	(void)fputs("the configuration was read again\n", ctl->out);
	return CTL_OK;
}

static const struct ctl_verb verb_reload = {
	.name = "reload",
	.args = "",
	.what = "read the configuration again",
	.group = CTL_DAEMON,
	.rank = 70,
	.flags = CTL_NEEDS_DAEMON,
	.run = verb_reload_run,
};
CTL_VERB(verb_reload);
