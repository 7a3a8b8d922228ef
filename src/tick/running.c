/*
 * Reading the running tasks of a board, and letting one go.
 */
#include "tick/running.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "tick/logtail.h"

#define RUNNING_CLAIMANT_S 2 /* until one that seems to live is looked at again */

#define RUNNING_TITLE "200" /* characters of a title that are kept */

/* clang-format off */
static const char sql_running[] =
	"SELECT t.id, t.claim_lock, t.claim_expires, t.worker_pid, t.started_at,"
	"  {tasks.last_heartbeat_at@t}, t.current_run_id, r.id, r.started_at,"
	"  coalesce(r.max_runtime_seconds,"
	"           {tasks.max_runtime_seconds?t.max_runtime_seconds,} NULL, NULL),"
	"  t.{failures}, {tasks.max_retries@t},"
	"  coalesce({task_runs.worker_started_at?r.worker_started_at,}"
	"           {tasks.worker_started_at?t.worker_started_at,} NULL, NULL),"
	"  substr(t.title, 1, " RUNNING_TITLE "), t.assignee"
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

static int running_row(const struct tick *t, sqlite3_stmt *s, struct running *row)
{
	size_t host = strlen(t->rq->hostname);
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
		.title = running_text(s, 13, &oom),
		.assignee = running_text(s, 14, &oom),
	};
	row->run_started_at = running_column(s, 8, row->started_at);
	pid = sqlite3_column_int64(s, 3);
	row->pid = pid > 1 && pid <= INT32_MAX ? pid : 0; /* never 1, never a process group */
	row->host_local = row->lock && strncmp(row->lock, t->rq->hostname, host) == 0 &&
			  row->lock[host] == ':';
	row->busy = running_in(t->rq->busy, t->rq->n_busy, row->run);
	row->watched = running_in(t->rq->watched, t->rq->n_watched, row->run);
	return oom ? -ENOMEM : 0;
}

/* Claimed by another host, and about to be taken from it. */
static bool running_foreign_over(const struct tick *t, const struct running *row)
{
	int64_t age = t->rq->now - row->run_started_at, stale = t->rq->set->stale_timeout_s;

	/* a single sweep of an older board: as its Hermes, which takes it; who watches what it
	 * has found knows better */
	return (tick_newer(t) || !t->rq->once) && row->lock && !row->host_local && !row->busy &&
	       row->run > 0 &&
	       ((row->expires >= 0 && row->expires < t->rq->now) || (stale > 0 && age > stale));
}

/* Is @lock the claim of a kanband that had this root before */
static bool running_claimant(const struct tick *t, const char *lock)
{
	for (size_t i = 0; lock && t->rq->claimants && t->rq->claimants[i]; i++)
		if (strcmp(t->rq->claimants[i], lock) == 0)
			return true;
	return false;
}

/* Claimed here by an earlier dispatcher, which recorded no worker. */
static bool running_cut_off(const struct tick *t, const struct running *row)
{
	return row->host_local && !row->pid && row->run && !row->busy &&
	       running_claimant(t, row->lock);
}

static int64_t running_find(const struct tick *t, const struct running *row, bool ended)
{
	const struct tick_worker w = {
		.task = row->task, .run = row->run, .db = t->rq->db, .board = t->rq->board
	};

	return t->rq->host->find(t->rq->host->arg, &w, ended);
}

/* One that lost its lease and lives asks for it before it starts anything, and may have got the
 * answer a moment too early: what it did not start is left to its TTL. */
static bool running_claimant_lives(const struct tick *t, const char *lock)
{
	const struct tick_host *host = t->rq->host;

	return host->claimant && host->claimant(host->arg, lock);
}

/* A host that was renamed is another one by its claims: does the worker live here all the same?
 * It carries its run in its environment. */
static void running_search(const struct tick *t, struct running *row)
{
	int64_t pid = running_find(t, row, false);

	row->here = pid > 1;
	if (row->here)
		row->pid = pid;
}

/*
 * Recorded in another pid namespace of this host: a container that shares the root, or this one
 * before it was started again. The pid means nothing here. From the host its processes are seen
 * all the same. Else the log tells: whoever was started by a kanband holds it while he lives.
 * Where neither tells, it is as with another host: the claim has its time.
 */
static void running_elsewhere(const struct tick *t, struct running *row)
{
	int held;

	running_search(t, row);
	if (row->here) { /* told by what it bears: its start was recorded by another clock */
		free(row->started);
		row->started = NULL;
		return;
	}
	held = logtail_held(t, row->task);
	row->away = held > 0;
	row->host_local = held == 0 && (running_claimant(t, row->lock) ||
					strcmp(row->lock, t->rq->claim_lock) == 0);
}

/* A run whose start lies ahead began before the clock was set back; its process tells when, by
 * the clock as it is now. Else its time would be longer by what the clock lost. */
static void running_clock(const struct tick *t, struct running *row,
			  const struct tick_worker *w)
{
	const struct tick_host *host = t->rq->host;
	int64_t began;

	if (row->run_started_at <= t->rq->now || !row->alive || !host->began)
		return;
	began = host->began(host->arg, w);
	row->run_started_at = began > 0 && began < t->rq->now ? began : t->rq->now;
}

static bool running_is_elsewhere(const struct tick *t, const struct running *row)
{
	const struct tick_host *host = t->rq->host;

	return row->pid && !row->busy && row->host_local && row->started && host->elsewhere &&
	       host->elsewhere(host->arg, row->started);
}

int running_load(const struct tick *t, struct running_set *set)
{
	sqlite3_stmt *s = NULL;
	size_t size = 0;
	int r;

	*set = (struct running_set){ 0 };
	r = db_query(t->db, t->e, &s, sql_running, "");
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		if (set->n == size) {
			struct running *more =
				reallocarray(set->v, size ? size * 2 : 16, sizeof(*more));

			if (!more) {
				(void)sqlite3_reset(s); /* given up half-way */
				return error_set(t->e, -ENOMEM, "out of memory");
			}
			set->v = more;
			size = size ? size * 2 : 16;
		}
		r = 0;
		if (sqlite3_column_type(s, 0) == SQLITE_NULL)
			continue; /* a row without an id cannot be named, so it is nobody's */
		r = running_row(t, s, &set->v[set->n++]);
		if (r != 0) {
			(void)sqlite3_reset(s); /* given up half-way */
			return error_set(t->e, r, "out of memory");
		}
	}
	for (size_t i = 0; r == 0 && i < set->n; i++) {
		struct running *row = &set->v[i];
		struct tick_worker w = { row->pid,     row->task,           row->run,
					 row->started, row->run_started_at, t->rq->db,
					 t->rq->board };

		if (running_is_elsewhere(t, row)) {
			running_elsewhere(t, row);
			continue;
		}
		/* a claim that lost its lock may still have a live worker here: rule 4 asks */
		if (row->pid && !row->busy && (row->host_local || !row->lock)) {
			row->alive = t->rq->host->alive(t->rq->host->arg, &w);
			running_clock(t, row, &w);
		} else if (running_foreign_over(t, row))
			running_search(t, row);
		row->cut_off = running_cut_off(t, row);
		if (row->cut_off)
			row->found = running_find(t, row, true);
		if (row->cut_off && row->found <= 0 && running_claimant_lives(t, row->lock)) {
			row->cut_off = false;
			t->plan->cut_off_left = true;
			plan_deadline(t->plan, t->rq->now + RUNNING_CLAIMANT_S);
		}
		/* who holds its log may be a worker in another pid namespace: its TTL tells */
		if (row->cut_off && row->found == 0 && logtail_held(t, row->task) > 0)
			row->cut_off = false;
	}
	return r;
}

void running_deinit(struct running_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		free(set->v[i].task);
		free(set->v[i].lock);
		free(set->v[i].started);
		free(set->v[i].title);
		free(set->v[i].assignee);
	}
	free(set->v);
	*set = (struct running_set){ 0 };
}

int running_release(const struct tick *t, const struct running *row, struct release *release)
{
	json_t *metadata = release->metadata;
	int r;

	release->metadata = NULL;
	r = db_run(t->db, t->e, sql_release, "ttit", row->task, row->lock, row->current_run,
		   release->to);
	if (r == 0 && db_changes(t->db) == 0)
		r = DB_CONFLICT;
	if (r == 0 && release->clear_heartbeat)
		r = db_run(t->db, t->e, sql_clear_heartbeat, "t", row->task);
	if (r == 0 && row->run > 0)
		return history_end_run(t, row->run, release->status, release->status,
				       release->error, metadata);
	json_decref(metadata);
	return r;
}

bool running_ours(const struct running *row)
{
	return row->here || (row->host_local && row->alive);
}

int64_t running_heartbeat(const struct running *row)
{
	return row->heartbeat < row->run_started_at ? -1 : row->heartbeat;
}

bool running_heartbeat_stale(const struct tick *t, const struct running *row)
{
	int64_t beat = running_heartbeat(row), limit = t->rq->set->heartbeat_stale_s;

	if (beat < 0)
		return false;
	return tick_newer(t) ? t->rq->now - beat > limit : t->rq->now - beat >= limit;
}

struct running running_of_victim(const struct plan_victim *v)
{
	return (struct running){
		.task = v->task,
		.lock = v->claim_lock,
		.current_run = v->current_run,
		.run = v->run,
		.pid = v->pid,
	};
}

json_t *running_termination(const struct plan_victim *v)
{
	return json_pack("{s:o, s:b, s:b, s:b, s:b}", "prev_pid",
			 history_int(v->pid > 0 ? v->pid : -1), "host_local",
			 v->host_local && v->pid, "termination_attempted", v->attempted,
			 "terminated", v->terminated, "sigkill", v->sigkill);
}
