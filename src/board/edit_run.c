/* The run that ends with an edit. */
#include "board.h"
#include "db/db.h"

static const char sql_end_run[] =
	"UPDATE task_runs SET status = ?2, outcome = ?3, metadata = ?4, ended_at = ?5,"
	" error = NULL, claim_expires = NULL,"
	" claim_lock = coalesce({task_runs.worker_started_at?claim_lock,} NULL, NULL),"
	" worker_pid = coalesce({task_runs.worker_started_at?worker_pid,} NULL, NULL)"
	" {task_runs.summary?, summary = ?1}"
	" WHERE id = ?6 AND ended_at IS NULL";

static const char sql_closed_run[] =
	"INSERT INTO task_runs (task_id, profile, step_key, status, outcome, metadata,"
	" started_at, ended_at {task_runs.summary?, summary})"
	" SELECT id, assignee, {tasks.current_step_key}, ?2, ?2, ?3, ?4, ?4"
	" {task_runs.summary?, ?1} FROM tasks WHERE id = ?5";

int edit_run_end(struct db *db, const char *id, const struct edit_row *row, int64_t now,
		 const struct edit_ending *end, int64_t *run, struct error *e)
{
	int r;

	*run = row->run;
	if (row->run != 0)
		return db_run(db, e, sql_end_run, "ttttii", end->summary, end->status,
			      end->outcome, end->metadata, now, row->run);
	if (!end->make)
		return 0;
	r = db_run(db, e, sql_closed_run, "tttit", end->summary, end->outcome, end->metadata,
		   now, id);
	if (r != 0)
		return r;
	*run = db_last_id(db);
	return 0;
}
