#include "tick/running.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/history.h"

/* clang-format off */
static const char sql_running[] =
	"SELECT t.id, t.claim_lock, t.claim_expires, t.worker_pid, t.started_at,"
	"  {tasks.last_heartbeat_at@t}, t.current_run_id, r.id, r.started_at,"
	"  coalesce(r.max_runtime_seconds,"
	"           {tasks.max_runtime_seconds?t.max_runtime_seconds,} NULL, NULL),"
	"  t.{failures}, {tasks.max_retries@t},"
	"  coalesce({task_runs.worker_started_at?r.worker_started_at,}"
	"           {tasks.worker_started_at?t.worker_started_at,} NULL, NULL)"
	" FROM tasks t LEFT JOIN task_runs r ON r.id = t.current_run_id AND r.task_id = t.id"
	"   AND r.ended_at IS NULL"
	" WHERE t.status = 'running' ORDER BY t.rowid";

static const char sql_release[] =
	"UPDATE tasks SET status = ?4, claim_lock = NULL, claim_expires = NULL,"
	"  worker_pid = NULL, {tasks.worker_started_at?worker_started_at = NULL,}"
	"  current_run_id = NULL"
	" WHERE id = ?1 AND status = 'running' AND claim_lock IS ?2 AND current_run_id IS nullif(?3, 0)";

static const char sql_clear_heartbeat[] =
	"UPDATE tasks SET {tasks.last_heartbeat_at?last_heartbeat_at = NULL,} status = status"
	" WHERE id = ?1";
/* clang-format on */

#define RUNNING_TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

int64_t running_time(int64_t value)
{
	return value < 0 ? 0 : value > RUNNING_TIME_MAX ? RUNNING_TIME_MAX : value;
}

static int64_t running_column(sqlite3_stmt *s, int i, int64_t none)
{
	if (sqlite3_column_type(s, i) == SQLITE_NULL)
		return none;
	return running_time(sqlite3_column_int64(s, i));
}

static bool running_in(const int64_t *list, size_t n, int64_t run)
{
	for (size_t i = 0; run > 0 && i < n; i++)
		if (list[i] == run)
			return true;
	return false;
}

static char *running_text(sqlite3_stmt *s, int i, bool *oom)
{
	const char *text = (const char *)sqlite3_column_text(s, i);
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		*oom = true;
	return copy;
}

static int running_row(const struct tick_request *rq, sqlite3_stmt *s, struct running *row)
{
	size_t host = strlen(rq->host);
	bool oom = false;
	int64_t pid;

	*row = (struct running){
		.task = running_text(s, 0, &oom),
		.lock = running_text(s, 1, &oom),
		.expires = running_column(s, 2, -1),
		.started_at = running_column(s, 4, 0),
		.heartbeat = running_column(s, 5, -1),
		.current_run = sqlite3_column_int64(s, 6),
		.run = sqlite3_column_int64(s, 7),
		.max_runtime = running_column(s, 9, 0),
		.failures = running_column(s, 10, 0),
		.max_retries = running_column(s, 11, -1),
		.started = running_text(s, 12, &oom),
	};
	row->run_started_at = running_column(s, 8, row->started_at);
	pid = sqlite3_column_int64(s, 3);
	row->pid = pid > 1 && pid <= INT32_MAX ? pid : 0; /* never 1, never a process group */
	row->host_local =
		row->lock && strncmp(row->lock, rq->host, host) == 0 && row->lock[host] == ':';
	row->busy = running_in(rq->busy, rq->n_busy, row->run);
	row->watched = running_in(rq->watched, rq->n_watched, row->run);
	return oom ? -ENOMEM : 0;
}

int running_load(struct db *db, const struct tick_request *rq, struct running_set *set,
		 struct error *e)
{
	sqlite3_stmt *s = NULL;
	size_t size = 0;
	int r;

	*set = (struct running_set){ 0 };
	r = db_query(db, e, &s, sql_running, "");
	while (r == 0 && (r = db_step(db, s, e)) == DB_ROW) {
		if (set->n == size) {
			struct running *more =
				reallocarray(set->v, size ? size * 2 : 16, sizeof(*more));

			if (!more) {
				(void)sqlite3_reset(s); /* given up half-way */
				return error_set(e, -ENOMEM, "out of memory");
			}
			set->v = more;
			size = size ? size * 2 : 16;
		}
		r = 0;
		if (sqlite3_column_type(s, 0) == SQLITE_NULL)
			continue; /* a row without an id cannot be named, so it is nobody's */
		r = running_row(rq, s, &set->v[set->n++]);
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			return error_set(e, r, "out of memory");
		}
	}
	for (size_t i = 0; r == 0 && i < set->n; i++) {
		struct running *row = &set->v[i];
		struct tick_worker w = { row->pid,     row->task,           row->run,
					 row->started, row->run_started_at, rq->db };

		/* a claim that lost its lock may still have a live worker here: step 4 asks */
		if (row->pid && !row->busy && (row->host_local || !row->lock))
			row->alive = rq->outside->alive(rq->outside->arg, &w);
	}
	return r;
}

void running_deinit(struct running_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		free(set->v[i].task);
		free(set->v[i].lock);
		free(set->v[i].started);
	}
	free(set->v);
	*set = (struct running_set){ 0 };
}

int running_release(struct db *db, const struct tick_request *rq, const struct running *row,
		    struct release *release, struct error *e)
{
	json_t *metadata = release->metadata;
	const char *to = release->to;
	bool review = false;
	int r = 0;

	release->metadata = NULL;
	if (!to) {
		r = history_from_review(db, row->run, &review, e);
		to = review ? "review" : "ready";
	}
	if (r == 0)
		r = db_run(db, e, sql_release, "ttit", row->task, row->lock, row->current_run,
			   to);
	if (r == 0 && db_changes(db) == 0)
		r = DB_CONFLICT;
	if (r == 0 && release->clear_heartbeat)
		r = db_run(db, e, sql_clear_heartbeat, "t", row->task);
	if (r == 0 && row->run > 0)
		return history_end_run(db, row->run, release->status, release->status,
				       release->error, metadata, rq->now, e);
	json_decref(metadata);
	return r;
}

json_t *running_termination(int64_t pid, bool host_local, bool attempted, bool terminated,
			    bool sigkill)
{
	return json_pack("{s:o, s:b, s:b, s:b, s:b}", "prev_pid",
			 history_int(pid > 0 ? pid : -1), "host_local", host_local,
			 "termination_attempted", attempted, "terminated", terminated,
			 "sigkill", sigkill);
}
