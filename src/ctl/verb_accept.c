/* accept: go on with a lost board as it is. */
#include <inttypes.h>
#include <jansson.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/board_session.h"
#include "recovery/health.h"
#include "util/json.h"
#include "wire/wire_mend.h"

static int verb_accept_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_session_close) struct board_session m = { 0 };
	CLEANUP(json_freep) json_t *done = NULL;
	struct health_good found = { 0 };
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	r = board_session_open(&m, ctl, words[0], true);
	if (r == 0 && m.client) {
		r = board_session_ask(&m, "accept", NULL, &done);
	} else if (r == 0) {
		r = mend_accept(&m.place, &found, &e);
		if (r != 0)
			return board_session_fail(ctl, r, &e);
		done = wire_accepted(m.place.slug, m.root, found.tasks);
	}
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(done), CTL_OK);
	(void)fprintf(ctl->out, "%s: accepted as it is, with %" PRId64 " tasks\n", m.place.slug,
		      json_number(done, "tasks", 0));
	return CTL_OK;
}

static const struct ctl_verb verb_accept = {
	.name = "accept",
	.args = "[BOARD]",
	.what = "go on with a lost board as it is",
	.group = CTL_BOARDS,
	.rank = 60,
	.run = verb_accept_run,
};
CTL_VERB(verb_accept);
