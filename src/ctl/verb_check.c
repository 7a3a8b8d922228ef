/* check: what is wrong with a board, and what will be done. */
#include <jansson.h>
#include <stdlib.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/board_session.h"
#include "ctl/progress.h"
#include "recovery/health.h"
#include "wire/wire_mend.h"

static int verb_check_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_session_close) struct board_session m = { 0 };
	CLEANUP(freep) struct mend_report *rep = calloc(1, sizeof(*rep));
	struct progress progress;
	struct error e = ERROR_NULL;
	json_t *report = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!rep)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = board_session_open(&m, ctl, words[0], false);
	if (r == 0 && m.client) {
		r = board_session_ask(&m, "check", NULL, &report);
		return r == 0 ? board_session_report(&m, report) : r;
	}
	if (r != 0)
		return r;
	rep->progress = progress_share;
	rep->arg = &progress;
	rep->max_bytes = board_session_max(&m);
	progress_begin(&progress, "check");
	r = mend_check(&m.place, rep, &e);
	progress_end(&progress);
	if (r != 0 && r != MEND_NOT_WELL)
		return board_session_fail(ctl, r, &e);
	if (r == MEND_NOT_WELL && rep->state == HEALTH_LOST && !rep->will[0])
		(void)snprintf(rep->will, sizeof(rep->will),
			       "see kanbanctl restore %s and kanbanctl accept %s", m.place.slug,
			       m.place.slug);
	return board_session_report(&m, wire_report(m.place.slug, m.root, r == 0, rep, NULL));
}

static const struct ctl_verb verb_check = {
	.name = "check",
	.args = "[BOARD]",
	.what = "say what is wrong with a board, and what can be done",
	.group = CTL_BOARDS,
	.rank = 10,
	.run = verb_check_run,
};
CTL_VERB(verb_check);
