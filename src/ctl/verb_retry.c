/* retry: forget the failures of a task and what holds it back; a blocked one goes on. */
#include <jansson.h>
#include <string.h>

#include "board/discover.h"
#include "board/edit_request.h"
#include "ctl.h"
#include "ctl/task_request.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/json.h"
#include "wire/wire_change.h"

/* Those of one board, in one transaction. */
static int retry_board(struct ctl *ctl, const struct board_place *place, const char *text,
		       json_t *list, int64_t *sum)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct error e = ERROR_NULL;
	int64_t n = 0;
	int r = ctl_open(ctl, place, true, &db);

	if (r != 0)
		return r;
	r = edit_retry_all(db, text, clock_wall_s(), &n, &e);
	if (r != 0)
		return ctl_fail(ctl, r, &e);
	*sum += n;
	if (!ctl->json)
		(void)fprintf(ctl->out, "%s: %lld task%s tried again\n", place->slug,
			      (long long)n, n == 1 ? " is" : "s are");
	return json_array_append_new(list, wire_change_retried(place->slug, NULL, n)) < 0
		       ? ctl_say(ctl, CTL_IO, "out of memory")
		       : 0;
}

/* Every board of the root that has a database and is worked on. A board that fails is told,
 * and the others are seen to. */
static int retry_boards(struct ctl *ctl, const char *text, json_t *list, int64_t *sum)
{
	struct discovery d = { .count = 0 };
	CLEANUP(freep) char *root = NULL;
	struct error e = ERROR_NULL;
	int r = ctl_root(ctl, &root);

	if (r != 0)
		return r;
	r = discover_boards(&d, root, NULL, &e);
	if (r < 0) {
		discovery_deinit(&d);
		return ctl_fail(ctl, r, &e);
	}
	for (size_t i = 0; i < d.count; i++) {
		const struct board_place *p = &d.boards[i];
		int one = 0;

		if (!p->archived && !p->duplicate_of[0] && p->db.ino != 0)
			one = retry_board(ctl, p, text, list, sum);
		r = r == 0 ? one : r;
	}
	discovery_deinit(&d);
	return r;
}

static int retry_all(struct ctl *ctl, const char *text)
{
	CLEANUP(board_place_deinit) struct board_place place = { 0 };
	CLEANUP(json_freep) json_t *list = json_array();
	int64_t sum = 0;
	int r;

	/* one database that is every board is one place */
	if (!ctl->board_arg && (ctl->root_arg || !ctl_env(ctl, "HERMES_KANBAN_DB"))) {
		r = retry_boards(ctl, text, list, &sum);
	} else {
		r = ctl_place(ctl, &place);
		if (r == 0)
			r = retry_board(ctl, &place, text, list, &sum);
	}
	if (ctl->json)
		return ctl_print_json(
			ctl,
			json_pack("{s:I, s:O}", "retried", (json_int_t)sum, "boards", list), r);
	return r;
}

static int verb_retry_run(struct ctl *ctl, int argc, char **argv)
{
	const char *text = NULL;
	bool all = false;
	const struct ctl_arg options[] = {
		{ "all", CTL_ARG_FLAG, &all, NULL,
		  "every blocked task, of all boards or --board", 0, 0 },
		{ "error", CTL_ARG_TEXT, &text, "TEXT",
		  "with --all: only those whose last error has this text", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 0, 1, &args))
		return ctl->exit;
	if (all == (args[0] != NULL) || (text && !all))
		return ctl_say(ctl, CTL_USAGE,
			       "name one task, or --all with or without --error");
	if (all)
		return retry_all(ctl, text);
	return task_request(ctl, "retry", args[0], json_object(), NULL);
}

static const struct ctl_verb verb_retry = {
	.name = "retry",
	.args = "[TASK]",
	.what = "try a task again: its failures are forgotten",
	.group = CTL_TASKS,
	.rank = 150,
	.complete = "TASK:blocked",
	.run = verb_retry_run,
};
CTL_VERB(verb_retry);
