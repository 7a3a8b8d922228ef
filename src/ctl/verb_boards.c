/* boards: the boards of a root, one a line. */
#include <jansson.h>

#include "ctl.h"
#include "ctl/boards.h"
#include "ctl/client.h"
#include "ctl/root_session.h"
#include "util/json.h"

static int boards_ask(const struct root_session *s, json_t **boards)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	int r;

	if (!s->client && !ctl_is_root(s->ctl, s->root))
		return ctl_no_root(s->ctl, s->root);
	if (!s->client)
		return boards_list(s->ctl, s->root, boards);
	r = client_call(s->client, "GET", client_path(s->client, NULL, "/v1/boards"), NULL,
			&reply);
	*boards = json_incref(json_object_get(reply.json, "boards"));
	return r;
}

static int verb_boards_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(root_session_close) struct root_session s = { 0 };
	CLEANUP(json_freep) json_t *boards = NULL;
	char **args;
	int r, exit;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = root_session_open(&s, ctl);
	if (r == 0)
		r = boards_ask(&s, &boards);
	if (r != 0)
		return r;
	exit = boards_any_bad(boards) ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(ctl,
				      json_pack("{s:o, s:s, s:O}", "root", json_utf8(s.root),
						"source", root_session_source(&s), "boards",
						boards),
				      exit);
	r = boards_print(ctl, boards);
	if (r == 0)
		root_session_put_source(&s);
	return r != 0 ? r : exit;
}

static const struct ctl_verb verb_boards = {
	.name = "boards",
	.args = "",
	.what = "list the boards",
	.group = CTL_WATCH,
	.rank = 20,
	.flags = CTL_TABLE,
	.run = verb_boards_run,
};
CTL_VERB(verb_boards);
