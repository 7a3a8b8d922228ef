/* leader: who dispatches. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/cells.h"
#include "ctl/client.h"
#include "ctl/ctl_table.h"
#include "ctl/leader_view.h"
#include "ctl/root_session.h"
#include "ctl/table.h"
#include "util/json.h"
#include "wire/wire_leader.h"

static int history_row(struct table *t, const json_t *one)
{
	const char *why = json_text(one, "why");
	int r = cells_add(t, json_object_get(one, "epoch"), TABLE_PLAIN);

	if (r == 0)
		r = cells_add_time(t, json_object_get(one, "since"));
	if (r == 0)
		r = cells_add_time(t, json_object_get(one, "until"));
	if (r == 0)
		r = cells_add(t, json_object_get(one, "pid"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(one, "host"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(one, "unit"), TABLE_PLAIN);
	if (r == 0)
		r = cells_add(t, json_object_get(one, "version"), TABLE_PLAIN);
	if (r == 0)
		r = table_cell(t, why, strlen(why), TABLE_PLAIN);
	return r;
}

/* Who owned it. @list is given away. */
static int leader_history(const struct root_session *s, json_t *given)
{
	static const struct table_column columns[] = {
		{ "EPOCH", true, 0 },    { "SINCE", false, 0 },  { "UNTIL", false, 0 },
		{ "PID", true, 0 },      { "HOST", false, 8 },   { "UNIT", false, 8 },
		{ "VERSION", false, 0 }, { "ENDED", false, 12 }, { NULL, false, 0 },
	};
	CLEANUP(json_freep) json_t *list = given;
	CLEANUP(table_freep) struct table *t = NULL;
	int r = 0;

	if (s->ctl->json)
		return ctl_print_json(s->ctl,
				      json_pack("{s:o, s:s, s:O}", "root", json_utf8(s->root),
						"source", root_session_source(s), "history",
						list),
				      CTL_OK);
	t = table_new(columns);
	r = t && list ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = history_row(t, json_array_get(list, i));
	return r < 0 ? ctl_say(s->ctl, CTL_IO, "out of memory") : ctl_table(s->ctl, t, 0);
}

static int leader_history_run(struct root_session *s)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(freep) struct lease_term *terms = NULL;
	size_t n = 0;
	int r;

	if (s->client) {
		r = client_call(s->client, "GET",
				client_path(s->client, "history=yes", "/v1/leader"), NULL,
				&reply);
		return r != 0 ? r
			      : leader_history(
					s, json_incref(json_object_get(
						   root_session_ours(s, reply.json, "roots"),
						   "history")));
	}
	r = lease_read_history(s->root, &terms, &n);
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return ctl_say(s->ctl, r == -EACCES ? CTL_NOT_ALLOWED : CTL_IO,
			       "cannot read who owned %s: %s", s->root, strerror(-r));
	return leader_history(s, wire_leader_terms(terms, n));
}

static int verb_leader_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };
	CLEANUP(root_session_close) struct root_session s = { 0 };
	CLEANUP(json_freep) json_t *json = NULL;
	bool history = false;
	const struct ctl_arg options[] = {
		{ "history", CTL_ARG_FLAG, &history, NULL,
		  "who owned the root, and why that ended", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	struct leader l;
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 0, &args))
		return ctl->exit;
	r = root_session_open(&s, ctl);
	if (r == 0 && history)
		return leader_history_run(&s);
	if (r == 0 && s.client) {
		r = client_call(s.client, "GET", client_path(s.client, NULL, "/v1/leader"),
				NULL, &reply);
		leader_view_from_json(&l, root_session_ours(&s, reply.json, "roots"));
	} else if (r == 0) {
		r = leader_view(ctl, s.root, &l);
	}
	if (r != 0)
		return r;
	r = l.held ? CTL_OK : CTL_NOT_WELL;
	if (ctl->json) {
		json = json_pack("{s:o, s:s}", "root", json_utf8(s.root), "source",
				 root_session_source(&s));
		if (json_object_update_new(json, wire_leader(&l)) < 0)
			return ctl_say(ctl, CTL_IO, "out of memory");
		return ctl_print_json(ctl, STEAL(json), r);
	}
	leader_view_put(ctl, &l);
	(void)fputc('\n', ctl->out);
	return r;
}

static const struct ctl_verb verb_leader = {
	.name = "leader",
	.args = "",
	.what = "show who dispatches",
	.group = CTL_WATCH,
	.rank = 40,
	.flags = CTL_TABLE,
	.run = verb_leader_run,
};
CTL_VERB(verb_leader);
