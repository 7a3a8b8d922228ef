/* restore: bring a board back from a copy. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "board/mend.h"
#include "ctl.h"
#include "ctl/board_session.h"
#include "ctl/progress.h"
#include "recovery/health.h"
#include "recovery/snapshot.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/moment.h"
#include "util/printable.h"
#include "wire/wire_mend.h"

/* @from: "" for the copy that is chosen. *@out: what was done. */
static int restore_here(const struct board_session *m, const char *from, bool dry_run,
			json_t **out)
{
	CLEANUP(freep) char *used = calloc(1, HEALTH_PATH_MAX);
	struct health_good found = { 0 };
	struct progress progress;
	struct error e = ERROR_NULL;
	int r;

	if (!used)
		return ctl_say(m->ctl, CTL_IO, "out of memory");
	progress_begin(&progress, "restore");
	r = mend_restore(&m->place, from, board_session_max(m), dry_run, used, &found, &e);
	progress_end(&progress);
	if (r != 0)
		return board_session_fail(m->ctl, r, &e);
	*out = wire_restored(m->place.slug, m->root, used, !dry_run, found.tasks);
	return *out ? 0 : ctl_say(m->ctl, CTL_IO, "out of memory");
}

/* The newest snapshot that is not from after @text. *@from: malloc'd. Return: 0 or exit code.
 */
static int restore_at(const struct board_session *m, const char *text, char **from)
{
	CLEANUP(freep) char *path = calloc(1, HEALTH_PATH_MAX);
	struct error e = ERROR_NULL;
	char when[32];
	int64_t at;

	if (!path)
		return ctl_say(m->ctl, CTL_IO, "out of memory");
	if (moment_parse(text, clock_wall_s(), &at, &e) != 0)
		return ctl_say(m->ctl, CTL_USAGE, "--at: %s", e.text);
	(void)snapshot_at(m->place.folder, at, path);
	screen_time(at, when);
	if (!path[0])
		return ctl_say(
			m->ctl, CTL_NO_INPUT,
			"board %s has no snapshot from before %s; kanbanctl snapshots %s "
			"lists what there is",
			m->place.slug, when, m->place.slug);
	*from = STEAL(path);
	return 0;
}

/* To a file of its own: the board stays as it is, so neither daemon nor lease is asked. */
static int restore_to(const struct board_session *m, const char *from, const char *to,
		      bool dry_run, json_t **out)
{
	CLEANUP(freep) char *used = calloc(1, HEALTH_PATH_MAX);
	struct health_good found = { 0 };
	struct error e = ERROR_NULL;
	int r;

	if (!used)
		return ctl_say(m->ctl, CTL_IO, "out of memory");
	r = mend_extract(&m->place, from, to, board_session_max(m), dry_run, used, &found, &e);
	if (r == -EEXIST)
		return ctl_say(m->ctl, CTL_IO, "%s", e.text);
	if (r != 0)
		return board_session_fail(m->ctl, r, &e);
	*out = wire_restored(m->place.slug, m->root, used, !dry_run, found.tasks);
	if (json_object_set_new(*out, "to", json_utf8(to)) < 0)
		return ctl_say(m->ctl, CTL_IO, "out of memory");
	return 0;
}

static int restore_print(const struct board_session *m, json_t *given, bool dry_run)
{
	CLEANUP(json_freep) json_t *done = given;
	const struct ctl *ctl = m->ctl;
	const char *used = json_text(done, "from"), *to = json_text(done, "to");

	if (ctl->json)
		return ctl_print_json(ctl, STEAL(done), CTL_OK);
	(void)fprintf(ctl->out, "%s: %s ", m->place.slug,
		      dry_run ? "would be restored" : "restored");
	if (*to) {
		(void)fputs("to ", ctl->out);
		printable_put(ctl->out, to, strlen(to), 0);
		(void)fputc(' ', ctl->out);
	}
	(void)fputs("from ", ctl->out);
	printable_put(ctl->out, used, strlen(used), 0);
	if (!dry_run)
		(void)fprintf(ctl->out, ": %" PRId64 " tasks%s", json_number(done, "tasks", 0),
			      *to ? "; the board is as it was"
				  : "; what was there is kept beside it as evidence");
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}

static int verb_restore_run(struct ctl *ctl, int argc, char **argv)
{
	CLEANUP(board_session_close) struct board_session m = { 0 };
	CLEANUP(freep) char *from = NULL;
	CLEANUP(freep) char *target = NULL;
	const char *at = NULL, *to = NULL;
	bool dry_run = false;
	const struct ctl_arg options[] = {
		{ "at", CTL_ARG_TEXT, &at, "TIME", "the newest snapshot not from after that", 0,
		  0 },
		{ "to", CTL_ARG_TEXT, &to, "PATH", "to a new file; the board stays as it is", 0,
		  0 },
		{ "dry-run", CTL_ARG_FLAG, &dry_run, NULL, "say which copy it would be", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	json_t *done = NULL;
	char **words;
	int r;

	if (!ctl_args(ctl, options, argc, argv, 0, 2, &words))
		return ctl->exit;
	if (words[0] && words[1] && at)
		return ctl_say(ctl, CTL_USAGE, "--at chooses the copy; name none beside it");
	if (words[0] && words[1])
		from = ctl_absolute(ctl, words[1]);
	if (to)
		target = ctl_absolute(ctl, to);
	if ((words[0] && words[1] && !from) || (to && !target))
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = board_session_open(&m, ctl, words[0], !dry_run && !target);
	if (r == 0 && at)
		r = restore_at(&m, at, &from);
	if (r == 0 && target)
		r = restore_to(&m, from, target, dry_run, &done);
	else if (r == 0 && m.client)
		r = board_session_ask(
			&m, "restore",
			json_pack("{s:o, s:b}", "from", json_or_null(from), "dry_run", dry_run),
			&done);
	else if (r == 0)
		r = restore_here(&m, from, dry_run, &done);
	if (r != 0)
		return r;
	return restore_print(&m, done, dry_run);
}

static const struct ctl_verb verb_restore = {
	.name = "restore",
	.args = "[BOARD [COPY]]",
	.what = "bring a board back from a copy",
	.group = CTL_BOARDS,
	.rank = 50,
	.run = verb_restore_run,
};
CTL_VERB(verb_restore);
