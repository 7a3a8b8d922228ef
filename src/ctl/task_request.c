/*
 * The change is made on the file, as any other process makes it, so it needs no daemon. Where
 * it takes a task from its worker, the worker is ended here and now, if it is a process of this
 * host: by the same ladder as the dispatcher's, and only after its identity was checked. One
 * that this account may not signal is ended by the dispatcher, as any whose task left it.
 */
#include "ctl/task_request.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "board/edit_request.h"
#include "ctl.h"
#include "ctl/task_change.h"
#include "db/db.h"
#include "launch/terminate.h"
#include "util/clock.h"
#include "util/printable.h"
#include "wire/wire_change.h"

#define REQUEST_GRACE_MS 10000 /* between SIGTERM and SIGKILL */

/* Return: is it gone. */
static bool task_request_end(const struct task_change *w, const struct edit_worker *worker)
{
	const struct identity_claim claim = { .pid = (pid_t)worker->pid,
					      .task = w->task,
					      .run = worker->run,
					      .started =
						      *worker->started ? worker->started : NULL,
					      .run_started_at = worker->run_started_at,
					      .db = w->place.db_path };
	struct termination end = { .attempted = false };

	if (worker->pid <= 0)
		return false;
	return terminate_now(&claim, REQUEST_GRACE_MS, &end) == 0 && end.attempted &&
	       end.terminated;
}

static int task_request_told(struct ctl *ctl, const struct task_change *w, const char *done,
			     bool ended, int64_t pid)
{
	if (ctl->json)
		return ctl_print_json(
			ctl,
			wire_change_ended(wire_change(w->place.slug, NULL, w->task, &w->done),
					  ended),
			CTL_OK);
	printable_put(ctl->out, w->task, strlen(w->task), 0);
	(void)fprintf(ctl->out, " %s", done ? done : "is ");
	if (!done)
		printable_put(ctl->out, w->done.status, strlen(w->done.status), 0);
	if (ended)
		(void)fprintf(ctl->out, "; its worker (pid %lld) was ended", (long long)pid);
	(void)fputc('\n', ctl->out); /* ctl_main() looks at the error flag */
	return CTL_OK;
}

int task_request(struct ctl *ctl, const char *verb, const char *task, json_t *args,
		 const char *done)
{
	CLEANUP(task_change_close) struct task_change w = { .e = ERROR_NULL };
	struct edit_worker worker;
	bool ended;
	int r;

	if (!args)
		return ctl_say(ctl, CTL_IO, "out of memory");
	r = task_change_open(ctl, &w, task, 0);
	if (r != 0) {
		json_decref(args);
		return r;
	}
	r = edit_request(w.db, verb, w.task, args, w.by.now, &w.done, &worker, &w.e);
	json_decref(args);
	if (r != 0)
		return ctl_fail(ctl, r, &w.e);
	w.db = db_free(w.db); /* ending a worker may take a while */
	ended = task_request_end(&w, &worker);
	return task_request_told(ctl, &w, done, ended, worker.pid);
}

int task_request_reason(struct ctl *ctl, int argc, char **argv, const char *done)
{
	const char *reason = NULL;
	const struct ctl_arg options[] = {
		{ "reason", CTL_ARG_TEXT, &reason, "TEXT", "why", 0, 0 },
		{ NULL, CTL_ARG_FLAG, NULL, NULL, NULL, 0, 0 },
	};
	char **args;

	if (!ctl_args(ctl, options, argc, argv, 1, 1, &args))
		return ctl->exit;
	return task_request(ctl, ctl->verb->name, args[0],
			    json_pack("{s:s*}", "reason", reason), done);
}
