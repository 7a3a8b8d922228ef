/*
 * The pause before a task that failed is tried again: retry_backoff after the first failure,
 * doubled by each further one in a row. It follows from the rows alone, so that a restart
 * changes nothing. What somebody does about the task ends it: unblocking, assigning it anew,
 * setting its status.
 */
#include "tick/backoff.h"

#include <jansson.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/running.h"

#define BACKOFF_LOOK_BACK 32

/* clang-format off */
static const char sql_ended_runs[] =
	"SELECT outcome, ended_at FROM task_runs WHERE task_id = ?1 AND ended_at IS NOT NULL"
	" ORDER BY ended_at DESC, id DESC LIMIT ?2";

static const char sql_lifted[] =
	"SELECT count(*) FROM (SELECT 1 FROM task_events WHERE task_id = ?1"
	"  AND (kind IN ('unblocked', 'status', 'retried', 'respawn_guard_cleared',"
	"    'changes_requested', 'review_reopened')"
	"   OR (kind = 'assigned' AND coalesce(payload, '') NOT LIKE '%kanban.default_assignee%'))"
	"  AND id > (SELECT coalesce(max(id), 9223372036854775807) FROM task_events"
	"   WHERE task_id = ?1 AND kind IN ('crashed', 'protocol_violation', 'timed_out',"
	"    'spawn_failed', 'gave_up')) LIMIT 1)";

static const char sql_last_guarded[] =
	"SELECT payload FROM task_events WHERE task_id = ?1 AND kind = 'respawn_guarded'"
	" ORDER BY id DESC LIMIT 1";
/* clang-format on */

/* Is that the end of a try that failed? A rate limit between two of them is passed over. */
static bool backoff_is_failure(const char *outcome)
{
	static const char *const failures[] = { "crashed", "timed_out", "spawn_failed",
						"gave_up" };

	for (size_t i = 0; outcome && i < sizeof(failures) / sizeof(failures[0]); i++)
		if (strcmp(outcome, failures[i]) == 0)
			return true;
	return false;
}

/* How many of the newest tries failed in a row, and when the last of them ended. */
static int backoff_streak(const struct tick *t, const char *task, unsigned *streak,
			  int64_t *ended)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_ended_runs, "ti", task,
			 (int64_t)BACKOFF_LOOK_BACK);

	*streak = 0;
	*ended = 0;
	while (r == 0 && (r = db_step(t->db, s, t->e)) == DB_ROW) {
		const char *outcome = (const char *)sqlite3_column_text(s, 0);

		r = 0;
		if (outcome && strcmp(outcome, "rate_limited") == 0)
			continue;
		if (!backoff_is_failure(outcome)) {
			(void)sqlite3_reset(s); /* the row of failures ends here */
			break;
		}
		if (*streak == 0)
			*ended = running_time(sqlite3_column_int64(s, 1));
		(*streak)++;
	}
	return r;
}

int backoff_check(const struct tick *t, const char *task, int64_t *until)
{
	int64_t pause = t->rq->set->retry_backoff_s, ended, lifted = 0;
	unsigned streak;
	int r;

	*until = 0;
	if (pause <= 0 || t->rq->once)
		return 0;
	r = backoff_streak(t, task, &streak, &ended);
	if (r != 0 || streak == 0)
		return r;
	for (unsigned i = 1; i < streak && pause < t->rq->set->retry_backoff_max_s; i++)
		pause *= 2;
	if (pause > t->rq->set->retry_backoff_max_s)
		pause = t->rq->set->retry_backoff_max_s;
	/* stored times are cut to seconds; an end in the future is a clock that was set back */
	if (ended > t->rq->now)
		ended = t->rq->now;
	if (ended + pause + 1 <= t->rq->now)
		return 0;
	r = db_one_int(t->db, t->e, &lifted, 0, sql_lifted, "t", task);
	if (r == 0 && !lifted)
		*until = ended + pause + 1;
	return r;
}

int backoff_is_news(const struct tick *t, const char *task, int64_t until, bool *news)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_last_guarded, "t", task);

	*news = true;
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r == DB_ROW) {
		const char *text = (const char *)sqlite3_column_text(s, 0);
		json_t *payload = text ? json_loads(text, 0, NULL) : NULL;

		*news = json_integer_value(json_object_get(payload, "next_try")) != until;
		json_decref(payload);
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}
