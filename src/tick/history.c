#include "tick/history.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "db/db.h"

/* clang-format off */
static const char sql_event[] =
	"INSERT INTO task_events (task_id, run_id, kind, payload, created_at)"
	" VALUES (?1, nullif(?2, 0), ?3, ?4, ?5)";

static const char sql_end_run[] =
	"UPDATE task_runs SET status = ?2, outcome = ?3, error = coalesce(?4, error),"
	"  metadata = coalesce(?5, metadata), ended_at = ?6,"
	"  claim_lock = NULL, claim_expires = NULL, worker_pid = NULL"
	" WHERE id = ?1 AND ended_at IS NULL";

static const char sql_comment[] =
	"INSERT INTO task_comments (task_id, author, body, created_at) VALUES (?1, ?2, ?3, ?4)";

static const char sql_claimed_payload[] =
	"SELECT payload FROM task_events WHERE run_id = ?1 AND kind = 'claimed' ORDER BY id LIMIT 1";
/* clang-format on */

json_t *history_text(const char *text)
{
	json_t *v;

	if (!text)
		return json_null();
	v = json_string(text);
	if (v)
		return v;
	/* not UTF-8: keep what is, replace the rest byte by byte */
	size_t n = strlen(text), used = 0;
	char *copy = malloc(n * 3 + 1);

	if (!copy)
		return NULL;
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)text[i];
		size_t len = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 0;

		json_t *one = len && i + len <= n ? json_stringn(text + i, len) : NULL;

		if (one) {
			memcpy(copy + used, text + i, len);
			used += len;
			i += len;
			json_decref(one);
		} else {
			memcpy(copy + used, "\xEF\xBF\xBD", 3);
			used += 3;
			i++;
		}
	}
	v = json_stringn(copy, used);
	free(copy);
	return v;
}

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

int history_event(struct db *db, const char *task, int64_t run, const char *kind,
		  json_t *payload, int64_t now, struct error *e)
{
	CLEANUP(freep) char *text = NULL;
	int r = history_dump(payload, &text, e);

	if (r != 0)
		return r;
	return db_run(db, e, sql_event, "titti", task, run, kind, text, now);
}

int history_event_plain(struct db *db, const char *task, int64_t run, const char *kind,
			int64_t now, struct error *e)
{
	return db_run(db, e, sql_event, "titni", task, run, kind, now);
}

int history_end_run(struct db *db, int64_t run, const char *status, const char *outcome,
		    const char *error, json_t *metadata, int64_t now, struct error *e)
{
	CLEANUP(freep) char *text = NULL;
	int r;

	if (metadata) {
		r = history_dump(metadata, &text, e);
		if (r != 0)
			return r;
	}
	return db_run(db, e, sql_end_run, "itttti", run, status, outcome, error, text, now);
}

int history_comment(struct db *db, const char *task, const char *author, const char *body,
		    int64_t now, struct error *e)
{
	return db_run(db, e, sql_comment, "ttti", task, author, body, now);
}

int history_from_review(struct db *db, int64_t run, bool *review, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int r;

	*review = false;
	if (run <= 0)
		return 0;
	r = db_query(db, e, &stmt, sql_claimed_payload, "i", run);
	if (r == 0)
		r = db_step(db, stmt, e);
	if (r == DB_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);
		json_t *payload = text ? json_loads(text, 0, NULL) : NULL;
		const char *from = json_string_value(json_object_get(payload, "source_status"));

		*review = from && strcmp(from, "review") == 0;
		json_decref(payload);
		(void)sqlite3_reset(stmt); /* one row is all */
		r = 0;
	}
	return r;
}
