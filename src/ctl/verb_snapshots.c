/* snapshots: what a board can be restored from. */
#include <errno.h>
#include <jansson.h>

#include "ctl.h"
#include "ctl/board_session.h"
#include "ctl/cells.h"
#include "ctl/client.h"
#include "ctl/ctl_table.h"
#include "ctl/table.h"
#include "db/db.h"
#include "recovery/snapshot.h"
#include "util/json.h"
#include "wire/wire_mend.h"

static int snapshots_table(const struct ctl *ctl, const json_t *list)
{
	static const struct table_column columns[] = {
		{ "KIND", false, 0 },  { "TASKS", true, 0 },         { "EVENTS", true, 0 },
		{ "SOUND", false, 0 }, { "NEWEST EVENT", false, 0 }, { "PATH", false, 20 },
		{ NULL, false, 0 },
	};
	CLEANUP(table_freep) struct table *table = table_new(columns);
	const json_t *c;
	size_t i;
	int r = table ? 0 : -ENOMEM;

	json_array_foreach(list, i, c)
	{
		bool sound = json_is_true(json_object_get(c, "sound"));

		if (r == 0)
			r = cells_add(table, json_object_get(c, "kind"), TABLE_PLAIN);
		if (r == 0)
			r = cells_add(table, json_object_get(c, "tasks"), TABLE_PLAIN);
		if (r == 0)
			r = cells_add(table, json_object_get(c, "events"), TABLE_PLAIN);
		if (r == 0)
			r = table_cell(table, sound ? "yes" : "no", sound ? 3 : 2,
				       sound ? TABLE_GREEN : TABLE_RED);
		if (r == 0)
			r = cells_add_time(table, json_object_get(c, "newest_event_at"));
		if (r == 0)
			r = cells_add(table, json_object_get(c, "path"), TABLE_PLAIN);
	}
	if (r < 0)
		return ctl_say(ctl, CTL_IO, "out of memory");
	return ctl_table(ctl, table, 0);
}

/* What the daemon says: it reads what this user may not. NULL: it does not, so the files have
 * to tell. */
static json_t *snapshots_asked(const struct board_session *m)
{
	CLEANUP(client_reply_deinit) struct reply reply = { 0 };

	if (!m->client || client_quiet(m->client,
				       client_path(m->client, "deep=yes",
						   "/v1/boards/%s/snapshots", m->place.slug),
				       &reply) != 0)
		return NULL;
	return json_incref(json_object_get(reply.json, "snapshots"));
}

static int snapshots_read(const struct board_session *m, json_t **all)
{
	struct candidate *list = NULL;
	struct error e = ERROR_NULL;
	size_t n = 0;
	int r = candidates_list(m->place.db_path, m->place.folder, true, board_session_max(m),
				NULL, &list, &n, &e);

	if (r < 0)
		return ctl_fail(m->ctl, r, &e);
	*all = wire_copies(list, n);
	candidates_free(list, n);
	return *all ? 0 : ctl_say(m->ctl, CTL_IO, "out of memory");
}

static int verb_snapshots_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_session_close) struct board_session m = { 0 };
	CLEANUP(json_freep) json_t *all = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	r = board_session_open(&m, ctl, words[0], false);
	if (r != 0)
		return r;
	all = snapshots_asked(&m);
	if (!all)
		r = snapshots_read(&m, &all);
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(all), CTL_OK);
	return snapshots_table(ctl, all);
}

static const struct ctl_verb verb_snapshots = {
	.name = "snapshots",
	.args = "[BOARD]",
	.what = "list what a board can be restored from",
	.group = CTL_BOARDS,
	.rank = 40,
	.flags = CTL_TABLE,
	.run = verb_snapshots_run,
};
CTL_VERB(verb_snapshots);
