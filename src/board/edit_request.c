/*
 * Changes that an operator makes. Each is one transaction as in edit.c: the task is read, the
 * change decided on, made by compare-and-swap, and told by an event of the kind that Hermes
 * writes for it. A task that runs is not pulled from under its worker: assign refuses, and what
 * takes the task away (archive, cancel, kill, schedule) ends the run and names the worker,
 * which the caller ends.
 */
#include "board/edit_request.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "board.h"
#include "db/db.h"
#include "util/text.h"

/* ---- edit ---------------------------------------------------------------------------- */

static const char sql_edit[] =
	"UPDATE tasks SET title = COALESCE(?1, title),"
	" body = CASE WHEN ?2 IS NULL THEN body ELSE NULLIF(?2, '') END"
	" {tasks.priority?, priority = COALESCE(CAST(?3 AS INTEGER), priority)}"
	" {tasks.tenant?, tenant = CASE WHEN ?4 IS NULL THEN tenant ELSE NULLIF(?4, '') END}"
	" {tasks.max_runtime_seconds?, max_runtime_seconds = CASE WHEN ?5 IS NULL THEN"
	" max_runtime_seconds ELSE NULLIF(CAST(?5 AS INTEGER), 0) END}"
	" {tasks.max_retries?, max_retries = CASE WHEN ?6 IS NULL THEN max_retries"
	" ELSE NULLIF(CAST(?6 AS INTEGER), 0) END}"
	" {tasks.model_override?, model_override = CASE WHEN ?7 IS NULL THEN model_override"
	" ELSE NULLIF(?7, '') END}"
	" {tasks.provider_override?, provider_override = CASE WHEN ?8 IS NULL THEN"
	" provider_override ELSE NULLIF(?8, '') END}"
	" WHERE id = ?9";

static const struct {
	const char *key, *column;
} edit_columns[] = {
	{ "priority", "priority" },
	{ "tenant", "tenant" },
	{ "max_runtime", "max_runtime_seconds" },
	{ "max_retries", "max_retries" },
	{ "model", "model_override" },
	{ "provider", "provider_override" },
	{ "every", "idempotency_key" },
};

static int edit_change_edit(struct edit_change *a)
{
	const char *title = edit_change_text(a, "title");
	size_t len = title ? strlen(title) : 1;
	char priority[24], runtime[24], retries[24];
	json_t *fields = json_array();
	const char *key;
	json_t *value;
	int r;

	if (title)
		text_strip(&title, &len);
	if (len == 0 || json_object_size(a->args) == 0) {
		json_decref(fields);
		return error_set(a->e, EDIT_INVALID,
				 len == 0 ? "a task needs a title"
					  : "nothing is to be changed: name what, as --title");
	}
	for (size_t i = 0; i < sizeof(edit_columns) / sizeof(edit_columns[0]); i++)
		if (edit_change_has(a, edit_columns[i].key) &&
		    !db_has_column(a->db, "tasks", edit_columns[i].column)) {
			json_decref(fields);
			return error_set(
				a->e, EDIT_INVALID,
				"this board is of an older release and has no room for "
				"%s; let Hermes open it once to migrate it",
				edit_columns[i].column);
		}
	json_object_foreach((json_t *)(uintptr_t)a->args, key, value)(void)
		json_array_append_new(fields, json_string(key));
	r = db_run(a->db, a->e, sql_edit, "ttttttttt", title, edit_change_text(a, "body"),
		   edit_change_number(a, "priority", priority), edit_change_text(a, "tenant"),
		   edit_change_number(a, "max_runtime", runtime),
		   edit_change_number(a, "max_retries", retries), edit_change_text(a, "model"),
		   edit_change_text(a, "provider"), a->id);
	if (r == 0)
		r = edit_change_swapped(a);
	if (r == 0 && edit_change_has(a, "every"))
		r = edit_series_ask(a);
	if (r != 0) {
		json_decref(fields);
		return r;
	}
	return edit_change_event(a, "edited", a->row.run, json_pack("{s:o}", "fields", fields));
}

/* ---- assign -------------------------------------------------------------------------- */

static const char sql_assign[] =
	"UPDATE tasks SET {failures} = CASE WHEN assignee IS ?1 THEN {failures} ELSE 0 END,"
	" {failure_error} = CASE WHEN assignee IS ?1 THEN {failure_error} ELSE NULL END,"
	" assignee = ?1 WHERE id = ?2 AND status = ?3";

static int edit_change_assign(struct edit_change *a)
{
	const char *who = edit_change_text(a, "assignee");
	size_t len = who ? strlen(who) : 0;
	CLEANUP(freep) char *name = NULL;
	int r;

	if (edit_change_is(a, "running") && a->row.claim_lock)
		return error_set(
			a->e, EDIT_REFUSED,
			"task %s is running; wait for its end, or \"kanbanctl kill %s\" "
			"first",
			a->id, a->id);
	if (who)
		text_strip(&who, &len);
	if (len == 1 && *who == '-')
		return error_set(a->e, EDIT_INVALID, "\"-\" is no profile; null is nobody");
	name = len > 0 ? strndup(who, len) : NULL;
	if (len > 0 && !name)
		return error_set(a->e, -ENOMEM, "out of memory");
	for (char *p = name; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	r = db_run(a->db, a->e, sql_assign, "ttt", name, a->id, a->row.status);
	if (r == 0)
		r = edit_change_swapped(a);
	return r == 0 ? edit_change_event(a, "assigned", 0,
					  json_pack("{s:s?}", "assignee", name))
		      : r;
}

/* ---- retry --------------------------------------------------------------------------- */

static const char sql_retry[] =
	"UPDATE tasks SET {failures} = 0, {failure_error} = NULL WHERE id = ?1";

static int edit_change_retry(struct edit_change *a)
{
	int r;

	if (edit_change_is(a, "running"))
		return error_set(a->e, EDIT_REFUSED,
				 "task %s is running; \"kanbanctl kill %s\" ends its worker",
				 a->id, a->id);
	if (!edit_change_is(a, "ready") && !edit_change_is(a, "todo") &&
	    !edit_change_is(a, "review"))
		return error_set(a->e, EDIT_REFUSED,
				 "task %s is %s; only what waits to be started can be tried "
				 "again",
				 a->id, a->row.status);
	r = db_run(a->db, a->e, sql_retry, "t", a->id);
	if (r == 0)
		r = edit_change_swapped(a);
	/* the event by which Hermes and we let go of what guards a task */
	return r == 0 ? edit_change_event(a, "respawn_guard_cleared", 0,
					  json_pack("{s:s}", "reason", "retry"))
		      : r;
}

/* ---- subscribe ----------------------------------------------------------------------- */

static const char sql_subscribe[] =
	"INSERT OR IGNORE INTO kanban_notify_subs (task_id, platform, chat_id, thread_id,"
	" created_at, last_event_id {kanban_notify_subs.chat_type?, chat_type}"
	" {kanban_notify_subs.notifier_profile?, notifier_profile}"
	" {kanban_notify_subs.delivery_mode?, delivery_mode})"
	" SELECT ?1, ?2, ?3, COALESCE(?4, ''), ?5,"
	" COALESCE((SELECT MAX(id) FROM task_events WHERE task_id = ?1), 0)"
	" {kanban_notify_subs.chat_type?, 'dm'}"
	" {kanban_notify_subs.notifier_profile?, ?6}"
	" {kanban_notify_subs.delivery_mode?, COALESCE(?7, 'notify')} WHERE ?8 = 1";

static int edit_change_subscribe(struct edit_change *a)
{
	static const char *const modes[] = { "notify", "notify+wake", "wake", NULL };
	const char *platform = edit_change_text(a, "platform"),
		   *chat = edit_change_text(a, "chat");
	const char *mode = edit_change_text(a, "mode");
	const char *const *m = modes;

	while (mode && *m && strcmp(*m, mode) != 0)
		m++;
	if (mode && !*m)
		return error_set(a->e, EDIT_INVALID,
				 "\"%s\" is no mode: notify, notify+wake or wake", mode);
	if (!platform || !*platform || !chat || !*chat)
		return error_set(
			a->e, EDIT_INVALID,
			"a subscription needs a platform and a chat: --platform and --chat");
	if (*platform == '-' || *chat == '-')
		return error_set(a->e, EDIT_INVALID,
				 "a platform or a chat begins with no dash");
	if (edit_change_is(a, "archived"))
		return error_set(a->e, EDIT_REFUSED,
				 "task %s is archived; nothing becomes of it any more", a->id);
	return db_run(a->db, a->e, sql_subscribe, "ttttitti", a->id, platform, chat,
		      edit_change_text(a, "thread"), a->now, edit_change_text(a, "profile"),
		      mode, (int64_t)1);
}

/* ---- all of them --------------------------------------------------------------------- */

static const char *const keys_edit[] = { "title",       "body",        "priority", "tenant",
					 "max_runtime", "max_retries", "model",    "provider",
					 "every",       NULL };
static const char *const keys_assign[] = { "assignee", NULL };
static const char *const keys_reason[] = { "reason", NULL };
static const char *const keys_parent[] = { "parent", NULL };
static const char *const keys_schedule[] = { "at", "reason", NULL };
static const char *const keys_subscribe[] = { "platform", "chat", "thread",
					      "profile",  "mode", NULL };
static const char *const keys_none[] = { NULL };

static const struct {
	const char *verb;
	const char *const *keys;
	int (*fn)(struct edit_change *a);
} requests[] = {
	{ "edit", keys_edit, edit_change_edit },
	{ "assign", keys_assign, edit_change_assign },
	{ "archive", keys_reason, edit_leave_archive },
	{ "cancel", keys_reason, edit_leave_archive },
	{ "link", keys_parent, edit_link },
	{ "unlink", keys_parent, edit_link_undo },
	{ "schedule", keys_schedule, edit_leave_schedule },
	{ "retry", keys_none, edit_change_retry },
	{ "kill", keys_reason, edit_leave_kill },
	{ "subscribe", keys_subscribe, edit_change_subscribe },
};

#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

const char *const *edit_request_keys(const char *verb)
{
	for (size_t i = 0; i < REQUESTS; i++)
		if (strcmp(requests[i].verb, verb) == 0)
			return requests[i].keys;
	return NULL;
}

/* A blocked or scheduled task is tried again by unblocking it. */
static int edit_request_unblocks(struct db *db, const char *id, int64_t now,
				 struct edit_done *done, struct error *e)
{
	const struct edit_by by = { .now = now };

	return edit_unblock(db, id, &by, done, e);
}

int edit_request(struct db *db, const char *verb, const char *id, const json_t *args,
		 int64_t now, struct edit_done *done, struct edit_worker *worker,
		 struct error *e)
{
	struct edit_change a = { .db = db,
				 .id = id,
				 .args = args,
				 .now = now,
				 .done = done,
				 .worker = worker,
				 .e = e };
	size_t i = 0;
	int r;

	*done = (struct edit_done){ .status = "" };
	*worker = (struct edit_worker){ 0 };
	while (i < REQUESTS && strcmp(requests[i].verb, verb) != 0)
		i++;
	if (i == REQUESTS)
		return error_set(e, EDIT_INVALID, "there is no change %s", verb);
	r = edit_change_check(verb, requests[i].keys, args, e);
	if (r == 0)
		r = edit_begin(db, id, NULL, &a.row, e);
	if (r != 0)
		return r;
	edit_change_status(&a, a.row.status);
	if (requests[i].fn == edit_change_retry &&
	    (edit_change_is(&a, "blocked") || edit_change_is(&a, "scheduled"))) {
		edit_row_deinit(&a.row);
		r = edit_end(db, 0, e); /* nothing was written */
		return r == 0 ? edit_request_unblocks(db, id, now, done, e) : r;
	}
	r = requests[i].fn(&a);
	edit_row_deinit(&a.row);
	r = edit_end(db, r, e);
	if (r != 0)
		*worker = (struct edit_worker){ 0 };
	return r;
}
