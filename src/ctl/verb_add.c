/* add: a task. */
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "ctl/profile_note.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/fs.h"
#include "util/moment.h"
#include "wire/wire_change.h"

#define ADD_NUMBER_MAX INT32_MAX

/* A folder or a worktree is where board.json says, if nothing else is said. */
static void add_workdir(struct edit_task *t, const struct board_place *place)
{
	if (!t->workspace_path && t->workspace_kind &&
	    (strcmp(t->workspace_kind, "dir") == 0 ||
	     strcmp(t->workspace_kind, "worktree") == 0))
		t->workspace_path = place->default_workdir;
}

static int add_task(struct ctl *ctl, struct edit_task *t)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	char id[EDIT_ID_SIZE] = "";
	struct edit_done done;
	bool made;
	int r;

	r = ctl_place(ctl, &place);
	if (r == 0)
		r = ctl_open(ctl, &place, true, &db);
	if (r != 0)
		return r;
	add_workdir(t, &place);
	r = edit_add(db, t, clock_wall_s(), id, &made, &done, &e);
	if (r != 0)
		return ctl_fail(ctl, r, &e);
	if (t->assignee && made)
		profile_note(ctl, t->assignee);
	if (ctl->json)
		return ctl_print_json(
			ctl, wire_change_added(place.slug, NULL, id, done.status, made),
			CTL_OK);
	(void)fprintf(ctl->out, "%s\n", id); /* ctl_main() looks at the error flag */
	return CTL_OK;
}

static int verb_add_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_list_deinit) struct ctl_list parents = { 0 };
	CLEANUP(ctl_list_deinit) struct ctl_list skills = { 0 };
	CLEANUP(freep) char *title = NULL;
	CLEANUP(freep) char *body = NULL;
	struct edit_task t = { .created_by = ctl_env(ctl, "HERMES_PROFILE") };
	struct error e = ERROR_NULL;
	const char *at = NULL;
	const struct ctl_arg options[] = {
		{ "assignee", CTL_ARG_TEXT, &t.assignee, "PROFILE", "the profile that does it",
		  0, 0 },
		{ "body", CTL_ARG_LONG, &body, "TEXT",
		  "what is to be done, in full; - reads it", 0, 0 },
		{ "priority", CTL_ARG_INT, &t.priority, "N", "higher comes first (0)",
		  -ADD_NUMBER_MAX, ADD_NUMBER_MAX },
		{ "parent", CTL_ARG_LIST, &parents, "TASK", "wait for it; may be repeated", 0,
		  0 },
		{ "triage", CTL_ARG_FLAG, &t.triage, NULL,
		  "do not start it: it waits in triage", 0, 0 },
		{ "at", CTL_ARG_TEXT, &at, "TIME",
		  "not before: 18:30, \"tomorrow 09:00\", +90min, @UNIX", 0, 0 },
		{ "every", CTL_ARG_TEXT, &t.every, "CALENDAR",
		  "again and again: \"Mon..Fri 09:00\", hourly, …", 0, 0 },
		{ "workspace", CTL_ARG_TEXT, &t.workspace_kind, "scratch|dir|worktree",
		  "where the work is done (scratch)", 0, 0 },
		{ "workspace-path", CTL_ARG_TEXT, &t.workspace_path, "FOLDER",
		  "absolute; else the board's default_workdir", 0, 0 },
		{ "branch", CTL_ARG_TEXT, &t.branch_name, "NAME", "branch of a worktree", 0,
		  0 },
		{ "max-runtime", CTL_ARG_INT, &t.max_runtime_s, "SECONDS",
		  "longest run of a worker", 1, ADD_NUMBER_MAX },
		{ "max-retries", CTL_ARG_INT, &t.max_retries, "N",
		  "failures until it is given up and blocked", 1, ADD_NUMBER_MAX },
		{ "skill", CTL_ARG_LIST, &skills, "NAME", "for the worker; may be repeated", 0,
		  0 },
		{ "model", CTL_ARG_TEXT, &t.model, "NAME", "instead of the profile's", 0, 0 },
		{ "provider", CTL_ARG_TEXT, &t.provider, "NAME", "of that model", 0, 0 },
		{ "tenant", CTL_ARG_TEXT, &t.tenant, "NAME",
		  "the customer or project it belongs to", 0, 0 },
		{ "created-by", CTL_ARG_TEXT, &t.created_by, "NAME",
		  "who asks for it (HERMES_PROFILE, else user)", 0, 0 },
		{ "idempotency-key", CTL_ARG_TEXT, &t.idempotency_key, "KEY",
		  "add it only once: another add with KEY prints its id", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = ctl_long_text(ctl, "title", args[0], &title);
	if (r != 0)
		return r;
	t.title = title;
	t.body = body;
	t.parents = parents.items;
	t.skills = skills.items;
	if (at && moment_parse(at, clock_wall_s(), &t.at, &e) != 0)
		return ctl_say(ctl, CTL_USAGE, "--at takes a time: %s", e.text);
	if (!t.created_by)
		t.created_by = "user";
	return add_task(ctl, &t);
}

static const struct ctl_verb verb_add = {
	.name = "add",
	.args = "TITLE",
	.what = "add a task",
	.group = CTL_TASKS,
	.rank = 10,
	.run = verb_add_run,
};
CTL_VERB(verb_add);
