/* show: everything about one task, for people or as JSON. */
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "board/view.h"
#include "ctl.h"
#include "ctl/task_text.h"
#include "db/db.h"
#include "util/fs.h"
#include "util/json.h"

#define SHOW_EVENTS 20 /* newest events, unless told otherwise */

/* Where its workers wrote, where they did. */
static json_t *show_log(const struct board_place *place, const char *task)
{
	CLEANUP(freep)
	char *path = strchr(task, '/') ? NULL : fs_path("%s/%s.log", place->logs_dir, task);

	return json_or_null(path && access(path, F_OK) == 0 ? path : NULL);
}

static int verb_show_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	int64_t events = SHOW_EVENTS;
	const struct ctl_arg options[] = {
		{ "events", CTL_ARG_INT, &events, "N", "the newest N events (20); -1: all", -1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	struct error e = ERROR_NULL;
	const char *task;
	json_t *all = NULL;
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	ctl->screen.columns = NULL; /* there are several tables */
	task = args[0] ? args[0] : ctl_env(ctl, "HERMES_KANBAN_TASK");
	if (!task)
		return ctl_say(ctl, CTL_USAGE,
			       "which task? name it, or set HERMES_KANBAN_TASK");
	r = ctl_place(ctl, &place);
	if (r == 0)
		r = ctl_open(ctl, &place, false, &db);
	if (r != 0)
		return r;
	r = view_task(db, task, events, &all, &e);
	if (r != 0)
		return ctl_fail(ctl, r, &e);
	if (json_object_set_new(all, "log", show_log(&place, task)) < 0) {
		json_decref(all);
		return ctl_say(ctl, CTL_IO, "out of memory");
	}
	db = db_free(db); /* the reader of the output may be slow: let the board go first */
	if (ctl->json) {
		json_t *out = json_pack("{s:s}", "board", place.slug);

		if (json_object_update(out, all) < 0) {
			json_decref(out);
			out = NULL; /* told as out of memory */
		}
		json_decref(all);
		return ctl_print_json(ctl, out, CTL_OK);
	}
	r = task_text(ctl, all);
	json_decref(all);
	return r;
}

static const struct ctl_verb verb_show = {
	.name = "show",
	.args = "[TASK]",
	.what = "show everything about a task",
	.group = CTL_TASKS,
	.rank = 30,
	.flags = CTL_TABLES,
	.run = verb_show_run,
};
CTL_VERB(verb_show);
