/* What takes a task away from where it is: its run ends, and the worker is named for whoever
 * ends it. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "db/db.h"

static const char sql_worker[] =
	"SELECT COALESCE(worker_pid, 0), COALESCE(claim_lock, ''),"
	" COALESCE({tasks.worker_started_at}, ''), COALESCE((SELECT started_at FROM task_runs"
	" WHERE id = tasks.current_run_id), 0) FROM tasks WHERE id = ?1";

static const char sql_leave[] =
	"UPDATE tasks SET status = ?1, claim_lock = NULL, claim_expires = NULL,"
	" worker_pid = NULL, current_run_id = NULL"
	" {tasks.worker_started_at?, worker_started_at = NULL}"
	" {tasks.scheduled_at?, scheduled_at = CASE WHEN ?1 = 'scheduled' THEN"
	" CAST(?2 AS INTEGER) ELSE scheduled_at END}"
	" WHERE id = ?3 AND status = ?4 AND claim_lock IS ?5"
	" AND COALESCE(current_run_id, 0) = ?6";

static const char sql_leave_run[] =
	"UPDATE task_runs SET status = ?1, outcome = ?1, ended_at = ?2, claim_expires = NULL,"
	" claim_lock = coalesce({task_runs.worker_started_at?claim_lock,} NULL, NULL),"
	" worker_pid = coalesce({task_runs.worker_started_at?worker_pid,} NULL, NULL), error = "
	"?3"
	" WHERE id = ?4 AND ended_at IS NULL";

static const char sql_fresh[] =
	"UPDATE tasks SET {failures} = 0, {failure_error} = NULL WHERE id = ?1";

/* Who runs it, for whoever ends him. */
static int edit_leave_worker(struct edit_change *a)
{
	sqlite3_stmt *stmt = NULL;
	int r = db_query(a->db, a->e, &stmt, sql_worker, "t", a->id);

	if (r == 0)
		r = db_step(a->db, stmt, a->e);
	if (r != DB_ROW)
		return r;
	a->worker->pid = sqlite3_column_int64(stmt, 0);
	a->worker->run = a->row.run;
	(void)snprintf(a->worker->claim_lock, sizeof(a->worker->claim_lock), "%s",
		       (const char *)sqlite3_column_text(stmt, 1));
	(void)snprintf(a->worker->started, sizeof(a->worker->started), "%s",
		       (const char *)sqlite3_column_text(stmt, 2));
	a->worker->run_started_at = sqlite3_column_int64(stmt, 3);
	(void)sqlite3_reset(stmt); /* the one row was read */
	return 0;
}

/* From whatever it is to @status; its run ends as @outcome with @why. */
static int edit_leave(struct edit_change *a, const char *status, const char *outcome,
		      const char *why)
{
	char at[24];
	int r = a->row.run != 0 ? edit_leave_worker(a) : 0;

	if (r == 0)
		r = db_run(a->db, a->e, sql_leave, "ttttti", status,
			   edit_change_number(a, "at", at), a->id, a->row.status,
			   a->row.claim_lock, a->row.run);
	if (r == 0)
		r = edit_change_swapped(a);
	if (r == 0 && a->row.run != 0)
		r = db_run(a->db, a->e, sql_leave_run, "titi", outcome, a->now, why,
			   a->row.run);
	edit_change_status(a, status);
	return r;
}

int edit_leave_archive(struct edit_change *a)
{
	const char *reason = edit_change_text(a, "reason");
	int r;

	if (edit_change_is(a, "archived"))
		return error_set(a->e, EDIT_REFUSED, "task %s is archived already", a->id);
	r = edit_leave(a, "archived", "reclaimed", "task archived with run still active");
	return r == 0 ? edit_change_event(a, "archived", a->row.run,
					  reason ? json_pack("{s:s}", "reason", reason)
						 : json_object())
		      : r;
}

int edit_leave_kill(struct edit_change *a)
{
	const char *reason = edit_change_text(a, "reason");
	CLEANUP(freep) char *why = NULL;
	int r;

	if (!edit_change_is(a, "running"))
		return error_set(a->e, EDIT_REFUSED, "task %s is %s: no worker has it", a->id,
				 a->row.status);
	if (asprintf(&why, "ended by the operator%s%s", reason ? ": " : "",
		     reason ? reason : "") < 0) {
		why = NULL;
		return error_set(a->e, -ENOMEM, "out of memory");
	}
	r = edit_leave(a, "ready", "reclaimed", why);
	if (r == 0)
		r = db_run(a->db, a->e, sql_fresh, "t", a->id);
	return r == 0 ? edit_change_event(a, "reclaimed", a->row.run,
					  json_pack("{s:b, s:s?, s:s?}", "manual", 1, "reason",
						    reason, "prev_lock", a->row.claim_lock))
		      : r;
}

int edit_leave_schedule(struct edit_change *a)
{
	static const char *const from[] = { "todo",    "ready",     "running",
					    "blocked", "scheduled", NULL };
	const char *reason = edit_change_text(a, "reason");
	const json_t *at = json_object_get(a->args, "at");
	const char *const *f = from;
	int r;

	while (*f && !edit_change_is(a, *f))
		f++;
	if (!*f)
		return error_set(
			a->e, EDIT_REFUSED,
			"task %s is %s; only a todo, ready, running or blocked task can "
			"be scheduled",
			a->id, a->row.status);
	r = edit_leave(a, "scheduled", "scheduled", reason);
	return r == 0 ? edit_change_event(
				a, "scheduled", a->row.run,
				json_pack("{s:s?, s:o}", "reason", reason, "at",
					  json_is_integer(at)
						  ? json_integer(json_integer_value(at))
						  : json_null()))
		      : r;
}
