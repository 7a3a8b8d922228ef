/*
 * Writing events, ends of runs and comments.
 */
#include "tick/history.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"
#include "tick/tick.h"

/* clang-format off */
static const char sql_event[] =
	"INSERT INTO task_events (task_id, run_id, kind, payload, created_at)"
	" VALUES (?1, nullif(?2, 0), ?3, ?4, ?5)";

/* where runs say who their worker was, they go on saying it when they are closed */
static const char sql_end_run[] =
	"UPDATE task_runs SET status = ?2, outcome = ?3, error = coalesce(?4, error),"
	"  metadata = coalesce(?5, metadata), ended_at = ?6, claim_expires = NULL,"
	"  claim_lock = coalesce({task_runs.worker_started_at?claim_lock,} NULL, NULL),"
	"  worker_pid = coalesce({task_runs.worker_started_at?worker_pid,} NULL, NULL)"
	" WHERE id = ?1 AND ended_at IS NULL";

static const char sql_comment[] =
	"INSERT INTO task_comments (task_id, author, body, created_at) VALUES (?1, ?2, ?3, ?4)";

static const char sql_claimed_payload[] =
	"SELECT payload FROM task_events WHERE run_id = ?1 AND kind = 'claimed' ORDER BY id LIMIT 1";
/* clang-format on */

json_t *history_int(int64_t value)
{
	return value < 0 ? json_null() : json_integer(value);
}

static int history_dump(json_t *payload, char **text, struct error *e)
{
	*text = payload ? json_dumps(payload, 0) : NULL;
	json_decref(payload);
	return *text ? 0 : error_set(e, -ENOMEM, "out of memory");
}

int history_event(const struct tick *t, const char *task, int64_t run, const char *kind,
		  json_t *payload)
{
	CLEANUP(freep) char *text = NULL;
	int r = history_dump(payload, &text, t->e);

	if (r != 0)
		return r;
	return db_run(t->db, t->e, sql_event, "titti", task, run, kind, text, t->rq->now);
}

int history_event_plain(const struct tick *t, const char *task, int64_t run, const char *kind)
{
	return db_run(t->db, t->e, sql_event, "titni", task, run, kind, t->rq->now);
}

int history_end_run(const struct tick *t, int64_t run, const char *status, const char *outcome,
		    const char *error, json_t *metadata)
{
	CLEANUP(freep) char *text = NULL;
	int r;

	if (metadata) {
		r = history_dump(metadata, &text, t->e);
		if (r != 0)
			return r;
	}
	return db_run(t->db, t->e, sql_end_run, "itttti", run, status, outcome, error, text,
		      t->rq->now);
}

int history_comment(const struct tick *t, const char *task, const char *author,
		    const char *body)
{
	return db_run(t->db, t->e, sql_comment, "ttti", task, author, body, t->rq->now);
}

bool history_is_review(const char *payload, const char *key)
{
	json_t *p = payload ? json_loads(payload, 0, NULL) : NULL;
	const char *status = json_string_value(json_object_get(p, key));
	bool review = status && strcmp(status, "review") == 0;

	json_decref(p);
	return review;
}

int history_retry_status(const struct tick *t, int64_t run, const char **status)
{
	sqlite3_stmt *s = NULL;
	int r;

	*status = "ready";
	if (run <= 0)
		return 0;
	r = db_query(t->db, t->e, &s, sql_claimed_payload, "i", run);
	if (r == 0)
		r = db_step(t->db, s, t->e);
	if (r == DB_ROW) {
		if (history_is_review((const char *)sqlite3_column_text(s, 0), "source_status"))
			*status = "review";
		(void)sqlite3_reset(s); /* one row is all */
		r = 0;
	}
	return r;
}
