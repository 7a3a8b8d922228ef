/*
 * What a worker reports, and an operator in its place: complete, block, unblock, heartbeat,
 * comment.
 *
 * A worker is whoever has HERMES_KANBAN_TASK in its environment. It need not name its task, and
 * for its own task it has to be the current run: HERMES_KANBAN_RUN_ID and
 * HERMES_KANBAN_CLAIM_LOCK are checked. For another task they say nothing and are not looked
 * at.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "db/db.h"
#include "util/clock.h"

#define CTL_CLAIM_TTL_S 900 /* the board contract, §6 */

/* What the verbs of this file share. */
struct ctl_work {
	const char *task; /* borrowed */
	struct edit_by by;
	struct board_place place;
	struct db *db;
	struct edit_done done;
	struct error e;
};

static void ctl_work_deinit(struct ctl_work *w)
{
	db_free(w->db);
	board_place_deinit(&w->place);
}

/*
 * Which task, who speaks, the open board.
 * @task: from the command line, or NULL; @run: --run, or 0
 */
static int ctl_work_open(struct ctl *ctl, struct ctl_work *w, const char *task, int64_t run)
{
	const char *own = ctl_env(ctl, "HERMES_KANBAN_TASK");
	const char *run_text = ctl_env(ctl, "HERMES_KANBAN_RUN_ID");
	int r;

	w->task = task ? task : own;
	if (!w->task)
		return ctl_say(ctl, CTL_USAGE,
			       "which task? name it, or set HERMES_KANBAN_TASK");
	w->by.now = clock_wall_s();
	if (!own || strcmp(own, w->task) == 0) {
		if (run == 0 && run_text && !ctl_int(run_text, 1, INT64_MAX, &w->by.run))
			return ctl_say(ctl, CTL_CONFIG,
				       "HERMES_KANBAN_RUN_ID is \"%s\", which is no run",
				       run_text);
		w->by.claim_lock = ctl_env(ctl, "HERMES_KANBAN_CLAIM_LOCK");
	}
	if (run != 0)
		w->by.run = run;
	r = ctl_place(ctl, &w->place);
	return r != 0 ? r : ctl_open(ctl, &w->place, true, &w->db);
}

/* Tell what came of it. */
static int ctl_work_told(const struct ctl *ctl, const struct ctl_work *w, int r)
{
	if (r != 0)
		return ctl_fail(ctl, r, &w->e);
	if (ctl->json)
		return ctl_print_json(
			ctl,
			json_pack("{s:s, s:s, s:s, s:o, s:I}", "board", w->place.slug, "id",
				  w->task, "status", w->done.status, "run",
				  w->done.run ? json_integer(w->done.run) : json_null(),
				  "event", (json_int_t)w->done.event),
			CTL_OK);
	screen_put(ctl->out, w->task, strlen(w->task), 0);
	(void)fputs(" is ", ctl->out); /* ctl_main() looks at the error flag */
	screen_put(ctl->out, w->done.status, strlen(w->done.status), 0);
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}

int ctl_verb_complete(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_work_deinit) struct ctl_work w = { .e = ERROR_NULL };
	CLEANUP(freep) char *result = NULL;
	CLEANUP(freep) char *summary = NULL;
	CLEANUP(freep) char *metadata = NULL;
	int64_t run = 0;
	const struct ctl_arg options[] = {
		{ "result", CTL_ARG_LONG, &result, "TEXT", "what came out; - reads it", 0, 0 },
		{ "summary", CTL_ARG_LONG, &summary, "TEXT",
		  "what was done, for whoever goes on; first line is told", 0, 0 },
		{ "metadata", CTL_ARG_LONG, &metadata, "JSON", "facts, as a JSON object", 0,
		  0 },
		{ "run", CTL_ARG_INT, &run, "ID", "only if this run still has the task", 1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	r = ctl_work_open(ctl, &w, args[0], run);
	if (r != 0)
		return r;
	r = edit_complete(w.db, w.task, &w.by, result, summary, metadata, &w.done, &w.e);
	return ctl_work_told(ctl, &w, r);
}

int ctl_verb_block(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_work_deinit) struct ctl_work w = { .e = ERROR_NULL };
	CLEANUP(freep) char *reason = NULL;
	const char *kind = NULL;
	int64_t run = 0;
	const struct ctl_arg options[] = {
		{ "reason", CTL_ARG_LONG, &reason, "TEXT", "what is missing; - reads it", 0,
		  0 },
		{ "kind", CTL_ARG_TEXT, &kind, "KIND",
		  "needs_input, capability, transient or dependency", 0, 0 },
		{ "run", CTL_ARG_INT, &run, "ID", "only if this run still has the task", 1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	r = ctl_work_open(ctl, &w, args[0], run);
	if (r != 0)
		return r;
	r = edit_block(w.db, w.task, &w.by, reason, kind, &w.done, &w.e);
	return ctl_work_told(ctl, &w, r);
}

int ctl_verb_unblock(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_work_deinit) struct ctl_work w = { .e = ERROR_NULL };
	char **args;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 1, 1, &args))
		return ctl->exit;
	r = ctl_work_open(ctl, &w, args[0], 0);
	if (r != 0)
		return r;
	/* a blocked task has no run: whoever unblocks it speaks for nobody */
	w.by.run = 0;
	w.by.claim_lock = NULL;
	r = edit_unblock(w.db, w.task, &w.by, &w.done, &w.e);
	return ctl_work_told(ctl, &w, r);
}

int ctl_verb_heartbeat(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_work_deinit) struct ctl_work w = { .e = ERROR_NULL };
	const char *ttl_text = ctl_env(ctl, "HERMES_KANBAN_CLAIM_TTL_SECONDS");
	CLEANUP(freep) char *note = NULL;
	int64_t run = 0, ttl_s = CTL_CLAIM_TTL_S, given;
	const struct ctl_arg options[] = {
		{ "note", CTL_ARG_LONG, &note, "TEXT", "how far it is; - reads it", 0, 0 },
		{ "run", CTL_ARG_INT, &run, "ID", "only if this run still has the task", 1,
		  INT64_MAX },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (ttl_text && ctl_int(ttl_text, 1, INT32_MAX, &given))
		ttl_s = given;
	r = ctl_work_open(ctl, &w, args[0], run);
	if (r != 0)
		return r;
	r = edit_heartbeat(w.db, w.task, &w.by, note, ttl_s, &w.done, &w.e);
	return ctl_work_told(ctl, &w, r);
}

int ctl_verb_comment(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(ctl_work_deinit) struct ctl_work w = { .e = ERROR_NULL };
	const char *author = ctl_env(ctl, "HERMES_PROFILE");
	CLEANUP(freep) char *text = NULL;
	const struct ctl_arg options[] = {
		{ "author", CTL_ARG_TEXT, &author, "NAME",
		  "who says it (else HERMES_PROFILE, else user)", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 1, 2, &args))
		return ctl->exit;
	/* one argument is the text, on the worker's own task */
	r = ctl_long_text(ctl, "comment", args[1] ? args[1] : args[0], &text);
	if (r == 0)
		r = ctl_work_open(ctl, &w, args[1] ? args[0] : NULL, 0);
	if (r != 0)
		return r;
	r = edit_comment(w.db, w.task, w.by.now, author ? author : "user", text, &w.done, &w.e);
	return ctl_work_told(ctl, &w, r);
}
