/* board: everything about a board. */
#include <jansson.h>

#include "board/state.h"
#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/client.h"
#include "ctl/root_session.h"
#include "ctl/rules.h"
#include "util/json.h"

static int verb_board_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(rules_close) struct rules rules = { .config = NULL };
	CLEANUP(root_session_close) struct root_session s = { 0 };
	char **args;
	int r, exit;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (args[0])
		ctl->board_arg = args[0];
	r = root_session_open(&s, ctl);
	if (r == 0)
		r = ctl_place(ctl, &place);
	if (r == 0 && s.client)
		r = client_call(s.client, "GET",
				client_path(s.client, NULL, "/v1/boards/%s", place.slug), NULL,
				&reply);
	else if (r == 0 && (r = rules_open(&rules, ctl, s.root)) == 0)
		reply.json = boards_one(ctl, s.root, &place, &rules);
	if (r != 0)
		return r;
	if (!reply.json ||
	    json_object_set_new(reply.json, "source", json_string(root_session_source(&s))) < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	exit = board_state_word_bad(json_text(reply.json, "state")) ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(ctl, json_incref(reply.json), exit);
	boards_print_one(ctl, reply.json);
	root_session_put_source(&s);
	return exit;
}

static const struct ctl_verb verb_board = {
	.name = "board",
	.args = "[BOARD]",
	.what = "show everything about a board",
	.group = CTL_WATCH,
	.rank = 30,
	.run = verb_board_run,
};
CTL_VERB(verb_board);
