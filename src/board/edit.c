/*
 * What a worker or an operator does to a task that is there.
 *
 * Happy path: edit_begin() takes the writer lock and reads the task; the caller decides on what
 * it read, updates the task with edit_sql_*, whose WHERE repeats status, claim_lock and
 * current_run_id, ends the run, appends the event; edit_end() commits.
 *
 * Failure modes: whatever fails, edit_end() rolls back and the board is as it was. A refusal
 * (wrong status, a run that is not the current one any more) is an answer, not a fault: it says
 * who has the task now.
 *
 * Two at once: BEGIN IMMEDIATE puts them in a row, and the second reads what the first left.
 */
#include "board/edit.h"

#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "db/db.h"
#include "util/text.h"

#define EDIT_FIRST_LINE 400 /* characters of a summary that go into an event */

/* The parameter with the highest number is always there, so a column that is not may leave a
 * hole among the others. */
static const char sql_complete[] =
	"UPDATE tasks SET status = 'done', claim_lock = NULL, claim_expires = NULL,"
	" worker_pid = NULL, current_run_id = NULL, {failures} = 0, {failure_error} = NULL"
	" {tasks.result?, result = ?1} {tasks.completed_at?, completed_at = ?2}"
	" {tasks.block_kind?, block_kind = NULL}"
	" {tasks.block_recurrences?, block_recurrences = 0}"
	" {tasks.worker_started_at?, worker_started_at = NULL}"
	" WHERE id = ?3 AND status = ?4 AND claim_lock IS ?5"
	" AND COALESCE(current_run_id, 0) = ?6";

static const char sql_heartbeat[] =
	"UPDATE tasks SET claim_expires = CASE WHEN ?2 > claim_expires THEN ?2"
	" ELSE claim_expires END"
	" {tasks.last_heartbeat_at?, last_heartbeat_at = ?1}"
	" WHERE id = ?3 AND status = ?4 AND claim_lock IS ?5"
	" AND COALESCE(current_run_id, 0) = ?6";

static const char sql_heartbeat_run[] =
	"UPDATE task_runs SET claim_expires = CASE WHEN ?2 > claim_expires THEN ?2"
	" ELSE claim_expires END"
	" {task_runs.last_heartbeat_at?, last_heartbeat_at = ?1}"
	" WHERE id = ?3 AND ended_at IS NULL";

static const char sql_open_parents[] =
	"SELECT COUNT(*) FROM task_links l JOIN tasks p ON p.id = l.parent_id"
	" WHERE l.child_id = ?1 AND p.status NOT IN ('done', 'archived')";

static const char sql_comment[] =
	"INSERT INTO task_comments (task_id, author, body, created_at) VALUES (?1, ?2, ?3, ?4)";

/* First line of @text, at most EDIT_FIRST_LINE characters; json null if there is none. */
static json_t *edit_first_line(const char *text)
{
	size_t len = text ? strlen(text) : 0, n;

	if (len > 0)
		text_strip(&text, &len);
	if (len == 0)
		return json_null();
	for (n = 0; n < len; n++)
		if ((text[n] >= '\n' && text[n] <= '\r') ||
		    (text[n] >= '\x1c' && text[n] <= '\x1e'))
			break;
	return json_stringn(text, text_cut(text, n, EDIT_FIRST_LINE));
}

/* ---- complete ------------------------------------------------------------------------ */

/* Parse @metadata; *@json stays NULL for none and for an empty object. */
static int edit_metadata(const char *metadata, json_t **json, struct error *e)
{
	json_error_t why;
	int r = edit_check_text("metadata", metadata, EDIT_TEXT_MAX, e);

	if (r != 0 || !metadata)
		return r;
	*json = json_loads(metadata, JSON_ALLOW_NUL, &why);
	if (!*json)
		return error_set(e, EDIT_INVALID, "the metadata is no JSON: %s", why.text);
	if (!json_is_object(*json))
		return error_set(e, EDIT_INVALID, "the metadata is not a JSON object");
	if (json_object_size(*json) == 0)
		edit_jsonp(json);
	return 0;
}

static json_t *edit_completed_payload(const char *result, const char *summary,
				      const json_t *metadata)
{
	CLEANUP(edit_jsonp) json_t *payload = NULL;
	CLEANUP(edit_jsonp) json_t *files = NULL;
	const json_t *artifacts = json_object_get(metadata, "artifacts"), *item;
	size_t i;

	payload = json_pack("{s:I, s:o}", "result_len",
			    (json_int_t)(result ? text_chars(result, strlen(result)) : 0),
			    "summary", edit_first_line(summary));
	if (!payload || !json_is_array(artifacts))
		return STEAL(payload);
	files = json_array();
	for (i = 0; i < json_array_size(artifacts); i++) {
		const char *s;
		size_t len;

		item = json_array_get(artifacts, i);
		s = json_string_value(item);
		len = json_string_length(item);
		if (s)
			text_strip(&s, &len);
		if (s && len > 0 && json_array_append_new(files, json_stringn(s, len)) < 0)
			return NULL;
	}
	if (json_array_size(files) > 0 && json_object_set(payload, "artifacts", files) < 0)
		return NULL;
	return STEAL(payload);
}

int edit_parents_done(struct db *db, const char *id, bool *done, struct error *e)
{
	int64_t open = 0;
	int r = db_one_int(db, e, &open, 0, sql_open_parents, "t", id);

	*done = open == 0;
	return r;
}

/* It is done all the same, but not silently. */
static void edit_complete_notice(const struct edit_by *by, const struct edit_row *row,
				 const char *result, const char *summary,
				 struct edit_done *done)
{
	done->notice[0] = '\0';
	if (row->claim_lock && row->expires > by->now && by->run == 0 && !by->claim_lock)
		(void)snprintf(
			done->notice, sizeof(done->notice),
			"it was taken from under the claim of %.60s: its worker is ended "
			"soon if it goes on",
			row->claim_lock);
	else if (!summary && !result)
		(void)snprintf(done->notice, sizeof(done->notice),
			       "neither a summary nor a result was given: who reads the task "
			       "later does not learn what came of it");
}

static int edit_complete_now(struct db *db, const char *id, const struct edit_by *by,
			     const struct edit_row *row, const char *result,
			     const char *summary, const json_t *metadata,
			     struct edit_done *done, struct error *e)
{
	static const char *const from[] = { "running", "ready", "blocked", "review", NULL };
	CLEANUP(freep) char *meta_text = NULL;
	struct edit_ending end = { .status = "done", .outcome = "completed" };
	bool parents, review = strcmp(row->status, "review") == 0;
	int64_t run;
	int r;

	if (!edit_in(row->status, from))
		return error_set(e, EDIT_REFUSED,
				 "task %s is %s; only a running, ready, blocked or review task "
				 "can be completed",
				 id, row->status);
	r = edit_parents_done(db, id, &parents, e);
	if (r != 0)
		return r;
	if (!parents)
		return error_set(e, EDIT_REFUSED,
				 "task %s has a parent that is not done; complete that one "
				 "first",
				 id);
	if (row->contract && *row->contract && strcmp(row->contract, "local-only") != 0)
		return error_set(
			e, EDIT_REFUSED,
			"task %s has the completion contract %.60s, which is checked by "
			"Hermes: complete it with hermes kanban complete %s",
			id, row->contract, id);
	edit_complete_notice(by, row, result, summary, done);
	if (metadata)
		meta_text = json_dumps(metadata, 0);
	else if (review && row->run == 0 && !summary)
		meta_text = strdup("{\"source_status\": \"review\", \"approval\": \"manual\"}");
	if (metadata && !meta_text)
		return error_set(e, -ENOMEM, "out of memory");
	end.summary = summary;
	end.metadata = meta_text;
	end.make = summary || metadata || review;
	r = db_run(db, e, sql_complete, "tittti", result, by->now, id, row->status,
		   row->claim_lock, row->run);
	if (r == 0)
		r = edit_swapped(db, id, e);
	if (r == 0)
		r = edit_run_end(db, id, row, by->now, &end, &run, e);
	if (r != 0)
		return r;
	edit_set_done(done, "done", run);
	return edit_event(db, id, run, "completed",
			  edit_completed_payload(result, summary, metadata), true, by->now,
			  &done->event, e);
}

int edit_complete(struct db *db, const char *id, const struct edit_by *by, const char *result,
		  const char *summary, const char *metadata, struct edit_done *done,
		  struct error *e)
{
	CLEANUP(edit_row_deinit) struct edit_row row = { 0 };
	CLEANUP(edit_jsonp) json_t *meta = NULL;
	int r;

	r = edit_check_text("result", result, EDIT_TEXT_MAX, e);
	if (r == 0)
		r = edit_check_text("summary", summary, EDIT_TEXT_MAX, e);
	if (r == 0)
		r = edit_metadata(metadata, &meta, e);
	if (r == 0)
		r = edit_begin(db, id, by, &row, e);
	if (r != 0)
		return r;
	/* what a command printed that found nothing is nothing */
	result = text_is_blank(result) ? NULL : result;
	summary = text_is_blank(summary) ? NULL : summary;
	r = edit_complete_now(db, id, by, &row, result, summary ? summary : result, meta, done,
			      e);
	return edit_end(db, r, e);
}

/* ---- heartbeat, comment -------------------------------------------------------------- */

static int edit_heartbeat_now(struct db *db, const char *id, const struct edit_by *by,
			      const struct edit_row *row, const char *note, int64_t ttl_s,
			      struct edit_done *done, struct error *e)
{
	/* only who proves to be the worker may hold the claim longer; 0 extends nothing */
	int64_t until = by->run != 0 || by->claim_lock ? by->now + ttl_s : 0;
	json_t *payload = NULL;
	int r;

	if (strcmp(row->status, "running") != 0)
		return error_set(e, EDIT_REFUSED,
				 "task %s is %s; only a running task has a heartbeat", id,
				 row->status);
	r = db_run(db, e, sql_heartbeat, "iittti", by->now, until, id, row->status,
		   row->claim_lock, row->run);
	if (r == 0)
		r = edit_swapped(db, id, e);
	if (r == 0 && row->run != 0)
		r = db_run(db, e, sql_heartbeat_run, "iii", by->now, until, row->run);
	if (r != 0)
		return r;
	if (note)
		payload = json_pack("{s:s}", "note", note);
	edit_set_done(done, row->status, row->run);
	return edit_event(db, id, row->run, "heartbeat", payload, note != NULL, by->now,
			  &done->event, e);
}

int edit_heartbeat(struct db *db, const char *id, const struct edit_by *by, const char *note,
		   int64_t ttl_s, struct edit_done *done, struct error *e)
{
	CLEANUP(edit_row_deinit) struct edit_row row = { 0 };
	int r;

	if (note && !*note)
		note = NULL;
	r = edit_check_text("note", note, EDIT_TEXT_MAX, e);
	if (r == 0)
		r = edit_begin(db, id, by, &row, e);
	if (r != 0)
		return r;
	return edit_end(db, edit_heartbeat_now(db, id, by, &row, note, ttl_s, done, e), e);
}

int edit_comment(struct db *db, const char *id, int64_t now, const char *author,
		 const char *body, struct edit_done *done, struct error *e)
{
	CLEANUP(edit_row_deinit) struct edit_row row = { 0 };
	CLEANUP(freep) char *who = NULL;
	CLEANUP(freep) char *text = NULL;
	size_t body_len = body ? strlen(body) : 0, author_len = author ? strlen(author) : 0;
	json_int_t chars;
	int r;

	r = edit_check_text("comment", body, EDIT_TEXT_MAX, e);
	if (r == 0)
		r = edit_check_text("author", author, EDIT_SHORT_MAX, e);
	if (r != 0)
		return r;
	chars = (json_int_t)text_chars(body ? body : "", body_len);
	text_strip(&body, &body_len);
	text_strip(&author, &author_len);
	if (body_len == 0 || author_len == 0)
		return error_set(e, EDIT_INVALID, "a comment needs a text and an author");
	text = strndup(body, body_len);
	who = strndup(author, author_len);
	if (!text || !who)
		return error_set(e, -ENOMEM, "out of memory");
	r = edit_begin(db, id, NULL, &row, e);
	if (r != 0)
		return r;
	r = db_run(db, e, sql_comment, "ttti", id, who, text, now);
	if (r == 0)
		r = edit_event(db, id, 0, "commented",
			       json_pack("{s:s, s:I}", "author", who, "len", chars), true, now,
			       &done->event, e);
	edit_set_done(done, row.status, 0);
	return edit_end(db, r, e);
}
