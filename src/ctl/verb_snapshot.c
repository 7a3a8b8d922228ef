/* snapshot: copy a board, verified, into its snapshots. */
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/board_session.h"
#include "ctl/progress.h"
#include "daemon/config.h"
#include "recovery/health.h"
#include "util/json.h"
#include "util/printable.h"
#include "wire/wire_mend.h"

/* What of the older ones is kept: as the configuration says. One that is refused says nothing:
 * then nothing is dropped. */
static void snapshot_limits_of(const struct board_session *m, struct snapshot_limits *limits)
{
	const struct config_cli cli = { .file = NULL };
	CLEANUP(config_freep) struct config *config = NULL;
	struct error e = ERROR_NULL;
	struct settings set;

	*limits = (struct snapshot_limits){ INT_MAX, INT_MAX, INT64_MAX };
	if (!m->root || config_load(&config, &cli, m->ctl->env, &e) < 0)
		return;
	config_settings(config, m->root, m->place.slug, &set);
	*limits = (struct snapshot_limits){ (int)set.snapshot_keep_hourly,
					    (int)set.snapshot_keep_daily,
					    set.snapshot_max_bytes };
}

static int verb_snapshot_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_session_close) struct board_session m = { 0 };
	CLEANUP(freep) char *path = calloc(1, HEALTH_PATH_MAX);
	CLEANUP(json_freep) json_t *done = NULL;
	struct snapshot_limits limits;
	struct progress progress;
	struct error e = ERROR_NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, NULL, argc, argv, 0, 1, &words))
		return ctl->exit;
	if (!path)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = board_session_open(&m, ctl, words[0], false);
	if (r == 0 && m.client) {
		r = board_session_ask(&m, "snapshot", NULL, &done);
	} else if (r == 0) {
		snapshot_limits_of(&m, &limits);
		progress_begin(&progress, "snapshot");
		r = mend_snapshot(&m.place, &limits, path, &e);
		progress_end(&progress);
		if (r != 0)
			return board_session_fail(ctl, r, &e);
		done = wire_snapshot(m.place.slug, m.root, path);
	}
	if (r != 0)
		return r;
	if (ctl->json)
		return ctl_print_json(ctl, STEAL(done), CTL_OK);
	printable_put(ctl->out, json_text(done, "snapshot"),
		      strlen(json_text(done, "snapshot")), 0);
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}

static const struct ctl_verb verb_snapshot = {
	.name = "snapshot",
	.args = "[BOARD]",
	.what = "copy a board, verified, into its snapshots",
	.group = CTL_BOARDS,
	.rank = 30,
	.run = verb_snapshot_run,
};
CTL_VERB(verb_snapshot);
