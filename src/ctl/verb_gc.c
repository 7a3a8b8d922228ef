/* gc: remove the scratch workspaces and logs of tasks that are over. */
#include <jansson.h>
#include <string.h>

#include "board/gc.h"
#include "ctl.h"
#include "db/db.h"
#include "util/clock.h"
#include "wire/wire_change.h"

#define GC_DAYS 30

static int verb_gc_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	struct gc_report report;
	bool dry_run = false;
	int64_t days = GC_DAYS;
	const struct ctl_arg options[] = {
		{ "older-than", CTL_ARG_INT, &days, "DAYS",
		  "of tasks that were over so many days ago (30)", 0, 36500 },
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL, "only count", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (args[0])
		ctl->board_arg = args[0];
	r = ctl_place(ctl, &place);
	if (r == 0)
		r = ctl_open(ctl, &place, false, &db);
	if (r != 0)
		return r;
	r = gc_run(db, &place, clock_wall_s() - days * 86400, dry_run, &report, &e);
	if (r != 0)
		return ctl_fail(ctl, r, &e);
	if (report.failed)
		(void)ctl_say(ctl, 0, "%zu could not be removed, the first: %s", report.failed,
			      report.why.text);
	r = report.failed ? CTL_NOT_WELL : CTL_OK;
	if (ctl->json)
		return ctl_print_json(ctl, wire_change_gc(place.slug, NULL, &report, dry_run),
				      r);
	(void)fprintf(ctl->out, "%s: %zu workspaces and %zu logs %s\n", place.slug,
		      report.workspaces, report.logs, dry_run ? "would be removed" : "removed");
	return r;
}

static const struct ctl_verb verb_gc = {
	.name = "gc",
	.args = "[BOARD]",
	.what = "remove scratch workspaces and logs of finished tasks",
	.group = CTL_BOARDS,
	.rank = 70,
	.run = verb_gc_run,
};
CTL_VERB(verb_gc);
