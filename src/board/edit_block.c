/*
 * Blocking a task and unblocking it: which lane it goes to, who has to decide, and the run that
 * ends with it. The transaction is that of every edit (edit.c).
 */
#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "board/edit.h"
#include "db/db.h"
#include "util/text.h"

#define EDIT_BLOCK_LIMIT 2 /* blocks in a row for one kind until a human must decide */

static const char sql_block[] =
	"UPDATE tasks SET status = ?3, claim_lock = NULL, claim_expires = NULL,"
	" worker_pid = NULL, current_run_id = NULL"
	" {tasks.block_kind?, block_kind = ?1} {tasks.block_recurrences?, block_recurrences = "
	"?2}"
	" {tasks.worker_started_at?, worker_started_at = NULL}"
	" WHERE id = ?4 AND status = ?5 AND claim_lock IS ?6"
	" AND COALESCE(current_run_id, 0) = ?7";

static const char sql_unblock[] =
	"UPDATE tasks SET status = ?1, current_run_id = NULL, {failures} = 0,"
	" {failure_error} = NULL"
	" {tasks.scheduled_at?, scheduled_at = CASE WHEN status = 'scheduled' THEN NULL"
	" ELSE scheduled_at END}"
	" WHERE id = ?2 AND status = ?3 AND claim_lock IS ?4"
	" AND COALESCE(current_run_id, 0) = ?5";

static const char sql_leaked_run[] =
	"UPDATE task_runs SET status = 'reclaimed', outcome = 'reclaimed', ended_at = ?1,"
	" claim_expires = NULL,"
	" claim_lock = coalesce({task_runs.worker_started_at?claim_lock,} NULL, NULL),"
	" worker_pid = coalesce({task_runs.worker_started_at?worker_pid,} NULL, NULL)"
	" {task_runs.summary?, summary = COALESCE(summary, 'invariant recovery on unblock')}"
	" WHERE id = ?2 AND ended_at IS NULL";

static const char sql_claimed_payload[] =
	"SELECT payload FROM task_events WHERE task_id = ?1 AND kind = 'claimed'"
	" AND run_id IS ?2 ORDER BY id DESC LIMIT 1";

/* The newest event that tells in which lane a task was (board contract, §6, retry status). */
static const char sql_lane_payload[] =
	"SELECT payload FROM task_events WHERE task_id = ?1 AND kind IN ('blocked',"
	" 'block_loop_detected', 'dependency_wait', 'gave_up', 'unblocked',"
	" 'changes_requested', 'review_reopened', 'status', 'reclaimed', 'stale',"
	" 'timed_out', 'crashed', 'spawn_failed', 'rate_limited') ORDER BY id DESC LIMIT 1";

/* The key @key of the JSON object that @sql finds for (@id, @run): is it "review"? */
static int edit_lane(struct db *db, const char *sql, const char *types, const char *id,
		     int64_t run, bool *review, struct error *e)
{
	static const char *const keys[] = { "resume_status", "retry_status", "source_status" };
	CLEANUP(edit_jsonp) json_t *payload = NULL;
	sqlite3_stmt *stmt = NULL;
	const char *text;
	int r;

	*review = false;
	r = db_query(db, e, &stmt, sql, types, id, run);
	if (r == 0)
		r = db_step(db, stmt, e);
	if (r != DB_ROW)
		return r;
	text = (const char *)sqlite3_column_text(stmt, 0);
	payload = text ? json_loadb(text, strlen(text), 0, NULL) : NULL;
	(void)sqlite3_reset(stmt); /* the one row was read */
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !*review; i++) {
		const char *value = json_string_value(json_object_get(payload, keys[i]));

		*review = value && strcmp(value, "review") == 0;
	}
	return 0;
}

/* Where a block leads to, and what its event says. */
struct edit_route {
	const char *status, *event;
	int64_t recurrences;
	json_t *payload;
};

static int edit_route(const struct edit_row *row, const char *reason, const char *kind,
		      bool review, bool counts, struct edit_route *route, struct error *e)
{
	bool same = !kind == !row->block_kind && (!kind || strcmp(kind, row->block_kind) == 0);

	if (kind && strcmp(kind, "dependency") == 0) {
		*route = (struct edit_route){ "todo", "dependency_wait", row->block_recurrences,
					      NULL };
		route->payload = json_pack("{s:s?, s:s}", "reason", reason, "kind", kind);
	} else {
		*route = (struct edit_route){ "blocked", "blocked", 1, NULL };
		if (counts && same && row->block_recurrences >= 0 &&
		    row->block_recurrences < INT32_MAX)
			route->recurrences = row->block_recurrences + 1;
		route->payload = json_pack("{s:s?, s:s?, s:I}", "reason", reason, "kind", kind,
					   "recurrences", (json_int_t)route->recurrences);
		if (route->recurrences >= EDIT_BLOCK_LIMIT) {
			route->status = "triage";
			route->event = "block_loop_detected";
			(void)json_object_set_new(route->payload, "limit",
						  json_integer(EDIT_BLOCK_LIMIT));
		}
	}
	if (review) /* where to go on after an unblock */
		(void)json_object_set_new(route->payload, "source_status",
					  json_string("review"));
	return route->payload ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int edit_block_now(struct db *db, const char *id, const struct edit_by *by,
			  const struct edit_row *row, const char *reason, const char *kind,
			  struct edit_done *done, struct error *e)
{
	static const char *const from[] = { "running", "ready", NULL };
	struct edit_ending end = { "blocked", "blocked", reason, NULL, reason != NULL };
	struct edit_route route = { 0 };
	bool review = false, counts = db_has_column(db, "tasks", "block_recurrences");
	int64_t run = 0;
	int r = 0;

	if (!edit_in(row->status, from))
		return error_set(e, EDIT_REFUSED,
				 "task %s is %s; only a running or ready task can be blocked",
				 id, row->status);
	if (row->run != 0)
		r = edit_lane(db, sql_claimed_payload, "ti", id, row->run, &review, e);
	if (r == 0)
		r = edit_route(row, reason, kind, review, counts, &route, e);
	if (r != 0)
		return r;
	r = db_run(db, e, sql_block, "titttti", kind, route.recurrences, route.status, id,
		   row->status, row->claim_lock, row->run);
	if (r == 0)
		r = edit_swapped(db, id, e);
	if (r == 0)
		r = edit_run_end(db, id, row, by->now, &end, &run, e);
	if (r != 0) {
		json_decref(route.payload);
		return r;
	}
	edit_set_done(done, route.status, run);
	return edit_event(db, id, run, route.event, route.payload, true, by->now, &done->event,
			  e);
}

int edit_block(struct db *db, const char *id, const struct edit_by *by, const char *reason,
	       const char *kind, struct edit_done *done, struct error *e)
{
	static const char *const kinds[] = { "needs_input", "capability", "transient",
					     "dependency", NULL };
	CLEANUP(edit_row_deinit) struct edit_row row = { 0 };
	int r;

	if (kind && !edit_in(kind, kinds))
		return error_set(e, EDIT_INVALID,
				 "\"%s\" is no kind of block: needs_input, capability, "
				 "transient or dependency",
				 kind);
	if (reason && !*reason)
		reason = NULL;
	r = edit_check_text("reason", reason, EDIT_TEXT_MAX, e);
	if (r == 0)
		r = edit_begin(db, id, by, &row, e);
	if (r != 0)
		return r;
	return edit_end(db, edit_block_now(db, id, by, &row, reason, kind, done, e), e);
}

int edit_unblock_row(struct db *db, const char *id, const struct edit_by *by,
		     const struct edit_row *row, struct edit_done *done, struct error *e)
{
	static const char *const from[] = { "blocked", "scheduled", NULL };
	static const char *const lanes[] = { "ready", "review", NULL };
	bool review = false, parents = true, plain, waits = edit_in(row->status, lanes);
	const char *status;
	json_t *payload = NULL;
	int r = 0;

	if (!edit_in(row->status, from))
		return error_set(e, EDIT_REFUSED,
				 "task %s is %s; only a blocked or scheduled task can be "
				 "unblocked%s%s",
				 id, row->status,
				 waits ? "; to clear what holds it: kanbanctl retry " : "",
				 waits ? id : "");
	if (strcmp(row->status, "blocked") == 0)
		r = edit_lane(db, sql_lane_payload, "t", id, 0, &review, e);
	if (r == 0)
		r = edit_parents_done(db, id, &parents, e);
	if (r == 0 && row->run != 0)
		r = db_run(db, e, sql_leaked_run, "ii", by->now, row->run);
	if (r != 0)
		return r;
	status = !parents ? "todo" : review ? "review" : "ready";
	plain = parents && !review;
	r = db_run(db, e, sql_unblock, "tttti", status, id, row->status, row->claim_lock,
		   row->run);
	if (r == 0)
		r = edit_swapped(db, id, e);
	if (r != 0)
		return r;
	if (!plain)
		payload = json_pack("{s:s, s:s}", "status", status, "resume_status",
				    review ? "review" : "ready");
	edit_set_done(done, status, 0);
	return edit_event(db, id, 0, "unblocked", payload, !plain, by->now, &done->event, e);
}

int edit_unblock(struct db *db, const char *id, const struct edit_by *by,
		 struct edit_done *done, struct error *e)
{
	CLEANUP(edit_row_deinit) struct edit_row row = { 0 };
	int r = edit_begin(db, id, by, &row, e);

	if (r != 0)
		return r;
	return edit_end(db, edit_unblock_row(db, id, by, &row, done, e), e);
}
