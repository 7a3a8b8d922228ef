/* subscribe: a chat is told what becomes of a task. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/task_request.h"
#include "notice/kind.h"
#include "util/suggest.h"

/* Hermes takes platforms of plugins too, so another name is no mistake; one that is nearly one
 * of these is. */
static void subscribe_note(struct ctl *ctl, const char *platform)
{
	static const char *const known[] = {
		"telegram",   "discord", "whatsapp",      "slack",         "signal",
		"mattermost", "matrix",  "homeassistant", "email",         "sms",
		"dingtalk",   "feishu",  "wecom",         "weixin",        "bluebubbles",
		"qqbot",      "yuanbao", "relay",         "whatsapp_cloud"
	};
	const size_t n = sizeof(known) / sizeof(known[0]);
	const char *near = suggest(platform, known, n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(platform, known[i]) == 0)
			return;
	if (!notice_kind_is_ours(platform))
		(void)ctl_say(ctl, CTL_OK,
			      "note: %.40s has a way of its own to be told; kanband sends it "
			      "nothing",
			      platform);
	else if (near)
		(void)ctl_say(ctl, CTL_OK,
			      "note: Hermes brings no platform %.40s; did you mean %s?",
			      platform, near);
}

static int verb_subscribe_run(struct ctl *ctl, int argc, char **argv)
{
	const char *platform = NULL, *chat = NULL, *thread = NULL, *mode = NULL;
	const char *profile = ctl_env(ctl, "HERMES_PROFILE");
	const struct ctl_arg options[] = {
		{ "platform", CTL_ARG_TEXT, &platform, "NAME", "telegram, slack …; needed", 0,
		  0 },
		{ "chat", CTL_ARG_TEXT, &chat, "ID", "the chat there; needed", 0, 0 },
		{ "thread", CTL_ARG_TEXT, &thread, "ID", "a thread of that chat", 0, 0 },
		{ "profile", CTL_ARG_TEXT, &profile, "PROFILE",
		  "whose gateway delivers (HERMES_PROFILE)", 0, 0 },
		{ "mode", CTL_ARG_TEXT, &mode, "notify|notify+wake|wake",
		  "what a gateway does with it (notify)", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = task_request(ctl, "subscribe", args[0],
			 json_pack("{s:s*, s:s*, s:s*, s:s*, s:s*}", "platform", platform,
				   "chat", chat, "thread", thread, "profile", profile, "mode",
				   mode),
			 "is followed: the chat is told what becomes of it");
	if (r == CTL_OK)
		subscribe_note(ctl, platform);
	return r;
}

static const struct ctl_verb verb_subscribe = {
	.name = "subscribe",
	.args = "TASK",
	.what = "tell a chat what becomes of a task",
	.group = CTL_TASKS,
	.rank = 200,
	.run = verb_subscribe_run,
};
CTL_VERB(verb_subscribe);
