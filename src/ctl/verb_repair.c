/* repair: make a damaged board whole. */
#include <jansson.h>
#include <stdlib.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/board_session.h"
#include "ctl/progress.h"
#include "wire/wire_mend.h"

static int verb_repair_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_session_close) struct board_session m = { 0 };
	CLEANUP(freep) struct mend_report *rep = calloc(1, sizeof(*rep));
	bool dry_run = false, salvage = false;
	struct progress progress;
	struct error e = ERROR_NULL;
	const struct ctl_arg options[] = {
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL,
		  "say what would be saved and lost, write nothing", 0, 0 },
		{ "salvage", CTL_ARG_FLAG, &salvage, NULL,
		  "write it back although rows are lost", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	json_t *report = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!rep)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = board_session_open(&m, ctl, words[0], !dry_run);
	if (r == 0 && m.client) {
		r = board_session_ask(
			&m, "repair",
			json_pack("{s:b, s:b}", "dry_run", dry_run, "salvage", salvage),
			&report);
		return r == 0 ? board_session_report(&m, report) : r;
	}
	if (r != 0)
		return r;
	rep->progress = progress_share;
	rep->arg = &progress;
	rep->max_bytes = board_session_max(&m);
	progress_begin(&progress, "repair");
	r = mend_repair(&m.place, salvage ? REPAIR_SALVAGE : REPAIR_LOSSLESS, dry_run, rep, &e);
	progress_end(&progress);
	if (r != 0 && r != MEND_NOT_WELL)
		return board_session_fail(ctl, r, &e);
	return board_session_report(&m, wire_report(m.place.slug, m.root, r == 0, rep, NULL));
}

static const struct ctl_verb verb_repair = {
	.name = "repair",
	.args = "[BOARD]",
	.what = "make a damaged board whole",
	.group = CTL_BOARDS,
	.rank = 20,
	.run = verb_repair_run,
};
CTL_VERB(verb_repair);
