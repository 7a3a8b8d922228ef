/*
 * Counting failures, and the breaker.
 */
#include "tick/failure.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "db/db.h"
#include "tick/history.h"
#include "tick/running.h"
#include "util/json.h"
#include "util/log.h"

/* clang-format off */
static const char sql_count[] =
	"UPDATE tasks SET {failures} = ?2, {failure_error} = ?3 WHERE id = ?1";

static const char sql_block[] =
	"UPDATE tasks SET status = 'blocked', {failures} = ?2, {failure_error} = ?3 WHERE id = ?1";

static const char sql_counts[] =
	"SELECT {failures}, {tasks.max_retries} FROM tasks WHERE id = ?1";
/* clang-format on */

char *failure_cut(const char *text, size_t max)
{
	size_t n = 0, chars = 0;

	while (text[n]) {
		if (((unsigned char)text[n] & 0xC0) != 0x80 && chars++ == max)
			break;
		n++;
	}
	return strndup(text, n);
}

int64_t failure_limit(const struct tick *t, int64_t max_retries, int64_t override,
		      bool *from_task)
{
	*from_task = max_retries >= 0;
	if (*from_task)
		return max_retries;
	return override > 0 ? override : t->rq->set->failure_limit;
}

int failure_headline(const char *error)
{
	const char *output = strstr(error, "; last output: ");

	return output ? (int)(output - error) : (int)strlen(error);
}

/* What to type when the cause is gone; nothing for an id that a shell would take for more. */
static void failure_remedy(const struct tick *t, const char *task, char out[256])
{
	bool other = t->rq->board && strcmp(t->rq->board, "default") != 0;

	out[0] = '\0';
	if (*task && *task != '-' && strlen(task) < 64 &&
	    task[strspn(task, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "0123456789_-.")] == '\0')
		(void)snprintf(out, 256,
			       "; when the cause is gone: kanbanctl %s%.80s%sretry %s",
			       other ? "--board " : "", other ? t->rq->board : "",
			       other ? " " : "", task);
}

static int failure_trip(const struct tick *t, const struct failure *f, const char *error)
{
	json_t *payload =
		json_pack("{s:I, s:I, s:s, s:o, s:s}", "failures", (json_int_t)f->failures,
			  "effective_limit", (json_int_t)f->limit, "limit_source",
			  f->limit_from_task ? "task" : "dispatcher", "error", json_utf8(error),
			  "trigger_outcome", f->trigger);
	char remedy[256];
	int r;

	if (payload && ((f->retry && json_object_set_new(payload, "retry_status",
							 json_string(f->retry)) < 0) ||
			(f->sticky && json_object_set_new(payload, "sticky", json_true()) < 0)))
		payload = json_free(payload);
	if (payload && f->extra && json_object_update(payload, f->extra) < 0) {
		json_decref(payload);
		payload = NULL;
	}
	r = history_event(t, f->task, f->run, "gave_up", payload);
	if (r == 0) {
		plan_id(t->plan, &t->plan->auto_blocked, f->task);
		failure_remedy(t, f->task, remedy);
		plan_note(t->plan, LOG_WARNING, LOG_ID_GAVE_UP, f->task, f->run,
			  "gave up after %lld failure%s: %.*s%s", (long long)f->failures,
			  f->failures == 1 ? "" : "s", failure_headline(error), error, remedy);
	}
	return r;
}

int failure_count(const struct tick *t, const struct failure *f, bool *tripped)
{
	CLEANUP(freep) char *error = failure_cut(f->error, FAILURE_ERROR_MAX);
	int r;

	*tripped = f->force || f->failures >= f->limit;
	if (!error)
		r = error_set(t->e, -ENOMEM, "out of memory");
	else
		r = db_run(t->db, t->e, *tripped ? sql_block : sql_count, "tit", f->task,
			   f->failures, error);
	if (r == 0 && *tripped)
		r = failure_trip(t, f, error);
	json_decref(f->extra);
	return r;
}

/* consecutive_failures and max_retries (-1: NULL) of a task. Return: 0, or as db_step(). */
static int failure_counts(const struct tick *t, const char *task, int64_t *failures,
			  int64_t *max_retries)
{
	sqlite3_stmt *s = NULL;
	int r = db_query(t->db, t->e, &s, sql_counts, "t", task);

	*failures = 0;
	*max_retries = -1;
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r == DB_ROW) {
		*failures = running_time(sqlite3_column_int64(s, 0));
		if (sqlite3_column_type(s, 1) != SQLITE_NULL)
			*max_retries = running_time(sqlite3_column_int64(s, 1));
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}

int failure_of_victim(const struct tick *t, const struct plan_victim *v, const char *trigger,
		      const char *error, const char *retry, json_t *extra)
{
	struct failure f = { .task = v->task,
			     .run = v->run,
			     .trigger = trigger,
			     .error = error,
			     .retry = retry,
			     .extra = extra };
	int64_t failures, retries;
	bool tripped;
	int r = failure_counts(t, v->task, &failures, &retries);

	if (r != 0) {
		json_decref(extra);
		return r;
	}
	f.failures = failures + 1;
	f.limit = failure_limit(t, retries, 0, &f.limit_from_task);
	return failure_count(t, &f, &tripped);
}
