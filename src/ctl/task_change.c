/*
 * Opens the board for one change of one task, with the rights of the worker or of the
 * operator, and tells what came of it.
 */
#include "ctl/task_change.h"

#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "ctl.h"
#include "db/db.h"
#include "util/clock.h"
#include "util/printable.h"
#include "wire/wire_change.h"

void task_change_close(struct task_change *w)
{
	db_free(w->db);
	board_place_deinit(&w->place);
}

/*
 * Which task, who speaks, the open board.
 * @task: from the command line, or NULL; @run: --run, or 0
 */
int task_change_open(struct ctl *ctl, struct task_change *w, const char *task, int64_t run)
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
int task_change_told(const struct ctl *ctl, const struct task_change *w, const char *done,
		     int r)
{
	if (r != 0)
		return ctl_fail(ctl, r, &w->e);
	if (w->done.notice[0])
		(void)ctl_say(ctl, 0, "note: task %s: %s", w->task, w->done.notice);
	if (ctl->json)
		return ctl_print_json(ctl, wire_change(w->place.slug, NULL, w->task, &w->done),
				      CTL_OK);
	printable_put(ctl->out, w->task, strlen(w->task), 0);
	(void)fprintf(ctl->out, " %s", done ? done : "is "); /* ctl_main() looks at the flag */
	if (!done)
		printable_put(ctl->out, w->done.status, strlen(w->done.status), 0);
	(void)fputc('\n', ctl->out);
	return CTL_OK;
}
