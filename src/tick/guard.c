/*
 * The respawn guard: what the newest run, its error, the events and the comments of a task say
 * against starting it again. The review lane asks only for what would make any worker fail.
 *
 * A time that lies ahead is of a clock that was set back since: beyond what the clocks of two
 * hosts may differ it holds nothing.
 */
#include "tick/guard.h"

#include <jansson.h>
#include <sqlite3.h>
#include <string.h>
#include <strings.h>

#include "db/db.h"
#include "tick.h"
#include "tick/history.h"
#include "util/json.h"

#define GUARD_SUCCESS_S 3600
#define GUARD_PR_S      86400
#define GUARD_REPEAT_S  3600
#define GUARD_AHEAD_S   300 /* clocks of two hosts may differ by so much */
#define GUARD_WORKER_S  5   /* a worker that still ends is looked at again after this */

/* clang-format off */
static const char sql_newest_run[] =
	"SELECT id, worker_pid, {task_runs.worker_started_at}, started_at FROM task_runs"
	" WHERE task_id = ?1 AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 1";

static const char sql_newest_ended[] =
	"SELECT outcome, ended_at, metadata FROM task_runs"
	" WHERE task_id = ?1 AND ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT 1";

static const char sql_newest_success[] =
	"SELECT max(ended_at) FROM task_runs WHERE task_id = ?1 AND outcome = 'completed'"
	" AND ended_at >= ?2 AND ended_at <= ?3";

static const char sql_moved_since[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE task_id = ?1 AND created_at >= ?2"
	" AND kind IN ('status', 'promoted', 'unblocked', 'reclaimed') LIMIT 1)";

/* since its newest run ended somebody said that it is to be tried again */
static const char sql_released[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE task_id = ?1"
	"  AND (kind = 'unblocked' OR (kind = 'respawn_guard_cleared'"
	"   AND coalesce(payload, '') LIKE '%\"retry\"%'))"
	"  AND id > (SELECT coalesce(max(id), 9223372036854775807) FROM task_events"
	"   WHERE task_id = ?1 AND kind IN ('completed', 'rate_limited', 'spawn_failed', 'crashed',"
	"    'protocol_violation', 'timed_out', 'gave_up')) LIMIT 1)";

static const char sql_pr_comments[] =
	"SELECT body, created_at FROM task_comments WHERE task_id = ?1 AND created_at >= ?2"
	" AND created_at <= ?3 AND body LIKE '%github.com/%/pull/%' ORDER BY created_at DESC, id DESC";

/* strictly after the comment, or, as one fork has it, at the same second, too */
static const char sql_lifted_since[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE task_id = ?1 AND created_at >= ?2"
	" AND (kind IN ('unblocked', 'review_reopened', 'respawn_guard_cleared')"
	"  OR (kind = 'changes_requested' AND created_at > ?2)) LIMIT 1)";

static const char sql_assigned_since[] =
	"SELECT payload FROM task_events WHERE task_id = ?1 AND created_at > ?2"
	" AND kind = 'assigned' ORDER BY id DESC";

static const char sql_grant[] =
	"SELECT payload FROM task_events WHERE task_id = ?1 AND kind = 'existing_pr_authorized'"
	" ORDER BY id DESC LIMIT 1";

static const char sql_runs_above[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_runs WHERE task_id = ?1 AND id > ?2"
	" AND id <> ?3 LIMIT 1)";

static const char sql_last_guarded[] =
	"SELECT payload, created_at FROM task_events WHERE task_id = ?1"
	" AND kind = 'respawn_guarded' ORDER BY id DESC LIMIT 1";
/* clang-format on */

/* The worker of the run before has not ended yet. Never an event. */
static const char guard_previous_worker[] = "previous_worker";

/* ---- the worker before --------------------------------------------------------------- */

/* Never two workers of one task: does that of its newest closed run still live? */
static int guard_worker(const struct tick *t, const char *task, bool *lives)
{
	struct tick_worker w = { .task = task, .db = t->rq->db };
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_newest_run, "t", task);

	*lives = false;
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r != DB_ROW)
		return r;
	w.run = sqlite3_column_int64(s, 0);
	w.pid = sqlite3_column_int64(s, 1);
	w.started = (const char *)sqlite3_column_text(s, 2);
	w.run_started_at = running_time(sqlite3_column_int64(s, 3));
	for (size_t i = 0; i < t->rq->n_watched; i++)
		*lives |= t->rq->watched[i] == w.run;
	/* without its start a pid may be anybody's by now */
	if (!*lives && w.pid > 1 && w.pid <= INT32_MAX && w.started)
		*lives = t->rq->host->alive(t->rq->host->arg, &w);
	(void)sqlite3_reset(s); /* one row is all */
	return 0;
}

/* ---- the newest run ------------------------------------------------------------------ */

enum guard_outcome {
	NEWEST_NONE,
	NEWEST_RATE_LIMITED,
	NEWEST_HOST,
	NEWEST_CRASHED,
	NEWEST_OTHER
};

struct guard_newest {
	enum guard_outcome outcome;
	int64_t ended;
};

static bool guard_is_infrastructure(const char *metadata)
{
	json_t *m = metadata ? json_loads(metadata, 0, NULL) : NULL;
	bool is = json_is_true(json_object_get(m, "infrastructure"));

	json_decref(m);
	return is;
}

static enum guard_outcome guard_outcome(const char *outcome, const char *metadata)
{
	if (!outcome)
		return NEWEST_OTHER;
	if (strcmp(outcome, "rate_limited") == 0)
		return NEWEST_RATE_LIMITED;
	if (strcmp(outcome, "crashed") == 0)
		return NEWEST_CRASHED;
	if (strcmp(outcome, "spawn_failed") == 0 && guard_is_infrastructure(metadata))
		return NEWEST_HOST;
	return NEWEST_OTHER;
}

static int guard_newest(const struct tick *t, const char *task, struct guard_newest *newest)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_newest_ended, "t", task);

	*newest = (struct guard_newest){ .outcome = NEWEST_NONE };
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r == DB_ROW) {
		newest->ended = running_time(sqlite3_column_int64(s, 1));
		newest->outcome = guard_outcome((const char *)sqlite3_column_text(s, 0),
						(const char *)sqlite3_column_text(s, 2));
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}

static bool guard_cools(const struct tick *t, const struct guard_newest *newest)
{
	int64_t age = t->rq->now - newest->ended;

	return age < t->rq->set->rate_limit_cooldown_s && age >= -GUARD_AHEAD_S;
}

/* Unblocking and retrying end what time alone would. Never with --once: Hermes has it so. */
static int guard_released(const struct tick *t, const char *task, bool *released)
{
	int64_t n = 0;
	int r = 0;

	if (!t->rq->once)
		r = db_one_int(t->db, t->e, &n, 0, sql_released, "t", task);
	*released = n > 0;
	return r;
}

static int guard_success(const struct tick *t, const char *task, const char **reason,
			 int64_t *until)
{
	int64_t ended, moved;
	bool released = false;
	int r;

	r = db_one_int(t->db, t->e, &ended, 0, sql_newest_success, "tii", task,
		       t->rq->now - GUARD_SUCCESS_S, t->rq->now + GUARD_AHEAD_S);
	if (r != 0 || ended <= 0)
		return r;
	r = db_one_int(t->db, t->e, &moved, 0, sql_moved_since, "ti", task, ended);
	if (r == 0 && !moved)
		r = guard_released(t, task, &released);
	if (r == 0 && !moved && !released) {
		*reason = "recent_success";
		*until = running_time(ended) + GUARD_SUCCESS_S + 1;
	}
	return r;
}

/* ---- pull requests ------------------------------------------------------------------- */

/* What the comments of the last day say. */
struct guard_pr {
	char url[256]; /* of the newest one, "" for none */
	int64_t at;    /* when it was written */
	bool several;  /* others name another one */
};

static int guard_pr_read(const struct tick *t, const char *task, struct guard_pr *pr)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_pr_comments, "tii", task, t->rq->now - GUARD_PR_S,
			 t->rq->now + GUARD_AHEAD_S);

	*pr = (struct guard_pr){ .at = 0 };
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *rest = (const char *)sqlite3_column_text(s, 0);
		char url[sizeof(pr->url)];

		r = 0;
		while (rest && (rest = guard_find_pr(rest, url, sizeof(url)))) {
			if (!pr->url[0]) {
				memcpy(pr->url, url, sizeof(url));
				pr->at = running_time(sqlite3_column_int64(s, 1));
			}
			pr->several |= strcasecmp(pr->url, url) != 0;
		}
	}
	return r;
}

/* Was the task handed from one to another? */
static bool guard_handed_over(const char *payload)
{
	json_t *p = payload ? json_loads(payload, 0, NULL) : NULL;
	const char *from = json_string_value(json_object_get(p, "from"));
	const char *to = json_string_value(json_object_get(p, "assignee"));
	const char *source = json_string_value(json_object_get(p, "source"));
	bool handed = from && (!to || strcmp(from, to) != 0) &&
		      (!source || strcmp(source, "kanban.default_assignee") != 0);

	json_decref(p);
	return handed;
}

static int guard_pr_lifted(const struct tick *t, const char *task, int64_t at, bool *lifted)
{
	sqlite3_stmt *s = NULL;
	int64_t events = 0;
	int r = db_one_int(t->db, t->e, &events, 0, sql_lifted_since, "ti", task, at);

	*lifted = events > 0;
	if (r == 0 && !*lifted)
		r = db_query(t->db, t->e, &s, sql_assigned_since, "ti", task, at);
	while (s && r == 0 && !*lifted && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		r = 0;
		*lifted = guard_handed_over((const char *)sqlite3_column_text(s, 0));
	}
	if (s)
		(void)sqlite3_reset(s); /* one is enough */
	return r;
}

/*
 * A grant for one start: an operator has authorised work on that pull request, and no run has
 * begun since. @run: one that does not count, 0 for none. @grant: out, its payload or NULL.
 */
static int guard_grant(const struct tick *t, const char *task, const struct guard_pr *pr,
		       int64_t run, json_t **grant)
{
	CLEANUP(json_freep) json_t *p = NULL;
	const char *text, *url;
	sqlite3_stmt *s = NULL;
	int64_t runs;
	int r = db_query(t->db, t->e, &s, sql_grant, "t", task);

	*grant = NULL;
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r != DB_ROW)
		return r;
	text = (const char *)sqlite3_column_text(s, 0);
	p = text ? json_loads(text, 0, NULL) : NULL;
	(void)sqlite3_reset(s); /* the newest is all */
	url = json_string_value(json_object_get(p, "pr_url"));
	if (!url || strcasecmp(url, pr->url) != 0 || pr->several ||
	    !json_is_integer(json_object_get(p, "run_id_floor")))
		return 0;
	r = db_one_int(t->db, t->e, &runs, 0, sql_runs_above, "tii", task,
		       (int64_t)json_integer_value(json_object_get(p, "run_id_floor")), run);
	if (r == 0 && runs == 0)
		*grant = STEAL(p);
	return r;
}

int guard_consume(const struct tick *t, const char *task, int64_t run)
{
	CLEANUP(json_freep) json_t *grant = NULL;
	struct guard_pr pr;
	json_t *operator;
	int r = guard_pr_read(t, task, &pr);

	if (r == 0 && pr.url[0])
		r = guard_grant(t, task, &pr, run, &grant);
	if (r != 0 || !grant)
		return r;
	operator= json_object_get(grant, "operator");
	return history_event(t, task, run, "existing_pr_authorization_consumed",
			     json_pack("{s:s, s:O}", "pr_url",
				       json_string_value(json_object_get(grant, "pr_url")),
				       "operator", operator? operator: json_null()));
}

/* One that never ran has opened no pull request: the comment tells it what to work on. */
static int guard_never_ran(const struct tick *t, const char *task, bool *never)
{
	int64_t runs = 1;
	int r = 0;

	if (tick_newer(t))
		r = db_one_int(t->db, t->e, &runs, 0, sql_runs_above, "tii", task, INT64_C(0),
			       INT64_C(0));
	*never = runs == 0;
	return r;
}

static int guard_pr(const struct tick *t, const char *task, const char **reason, int64_t *until)
{
	CLEANUP(json_freep) json_t *grant = NULL;
	struct guard_pr pr;
	bool free_to_go = false;
	int r = guard_pr_read(t, task, &pr);

	if (r != 0 || !pr.url[0])
		return r;
	r = guard_never_ran(t, task, &free_to_go);
	if (r == 0 && !free_to_go)
		r = guard_pr_lifted(t, task, pr.at, &free_to_go);
	if (r == 0 && !free_to_go)
		r = guard_grant(t, task, &pr, 0, &grant);
	if (r != 0 || free_to_go || grant)
		return r;
	if (t->rq->set->guard_check_pr_state && t->rq->host->pr_open &&
	    t->rq->host->pr_open(t->rq->host->arg, pr.url) == 0)
		return 0;
	*reason = "active_pr";
	*until = pr.at + GUARD_PR_S + 1;
	return 0;
}

/* ---- all of them --------------------------------------------------------------------- */

int guard_check(const struct tick *t, const struct guard_task *task, const char **reason,
		int64_t *until)
{
	struct guard_newest newest;
	bool lives = false, cools, released = false;
	int r;

	*reason = NULL;
	*until = 0;
	r = guard_worker(t, task->id, &lives);
	if (r == 0 && lives) {
		*reason = guard_previous_worker;
		*until = t->rq->now + GUARD_WORKER_S;
		return 0;
	}
	if (r == 0)
		r = guard_newest(t, task->id, &newest);
	if (r != 0)
		return r;
	cools = (newest.outcome == NEWEST_HOST || newest.outcome == NEWEST_RATE_LIMITED) &&
		guard_cools(t, &newest);
	if (cools)
		r = guard_released(t, task->id, &released);
	if (r != 0)
		return r;
	if (cools && !released) {
		*reason = newest.outcome == NEWEST_HOST ? "infrastructure_cooldown"
							: "rate_limit_cooldown";
		*until = newest.ended + t->rq->set->rate_limit_cooldown_s;
		return 0;
	}
	if (newest.outcome == NEWEST_RATE_LIMITED)
		return 0; /* the cooldown is over: no other rule is asked */
	if (newest.outcome != NEWEST_CRASHED && task->last_error &&
	    guard_is_auth(task->last_error)) {
		*reason = "blocker_auth";
		return 0;
	}
	if (task->review)
		return 0;
	r = guard_success(t, task->id, reason, until);
	return r == 0 && !*reason ? guard_pr(t, task->id, reason, until) : r;
}

int guard_is_news(const struct tick *t, const char *task, const char *reason, bool *news)
{
	sqlite3_stmt *s = NULL;
	int r = 0;

	*news = reason != guard_previous_worker; /* it is over in a moment */
	if (*news)
		r = db_query(t->db, t->e, &s, sql_last_guarded, "t", task);
	if (r == 0 && s)
		r = db_step(t->db, s, t->e);
	if (r == DB_ROW) {
		const char *text = (const char *)sqlite3_column_text(s, 0);
		json_t *payload = text ? json_loads(text, 0, NULL) : NULL;
		const char *was = json_string_value(json_object_get(payload, "reason"));

		*news = !was || strcmp(was, reason) != 0 ||
			t->rq->now - running_time(sqlite3_column_int64(s, 1)) >= GUARD_REPEAT_S;
		json_decref(payload);
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}
