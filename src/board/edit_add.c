/*
 * New tasks and new boards.
 *
 * A task comes to be in one transaction: its row, its links to parents that are there, the
 * event `created`, and the subscriptions of its parents, so that whoever follows a parent hears
 * of the child too. Ids are random; one that is taken is drawn again.
 *
 * A board's schema is committed before its journal mode is set, so that a kill leaves an empty
 * file (a fresh board to everybody) or a whole board.
 */
#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "board.h"
#include "board/edit.h"
#include "db/db.h"
#include "db/schema.h"
#include "util/text.h"

#define EDIT_ID_TRIES 16

/* The highest parameter is always used, see edit.c. -1 stands for no number. */
static const char sql_insert_task[] =
	"INSERT INTO tasks (id, title, body, assignee, status, created_at, workspace_kind,"
	" workspace_path {tasks.priority?, priority} {tasks.created_by?, created_by}"
	" {tasks.branch_name?, branch_name} {tasks.tenant?, tenant}"
	" {tasks.idempotency_key?, idempotency_key}"
	" {tasks.max_runtime_seconds?, max_runtime_seconds} {tasks.skills?, skills}"
	" {tasks.max_retries?, max_retries} {tasks.model_override?, model_override}"
	" {tasks.provider_override?, provider_override})"
	" VALUES (?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18 {tasks.priority?, ?1}"
	" {tasks.created_by?, ?2} {tasks.branch_name?, ?3} {tasks.tenant?, ?4}"
	" {tasks.idempotency_key?, ?5} {tasks.max_runtime_seconds?, NULLIF(?6, -1)}"
	" {tasks.skills?, ?7} {tasks.max_retries?, NULLIF(?8, -1)}"
	" {tasks.model_override?, ?9} {tasks.provider_override?, ?10})";

static const char sql_parent[] = "SELECT status, {tasks.tenant} FROM tasks WHERE id = ?1";

static const char sql_link[] =
	"INSERT OR IGNORE INTO task_links (parent_id, child_id) VALUES (?1, ?2)";

static const char sql_by_key[] =
	"SELECT id, status FROM tasks WHERE {tasks.idempotency_key} = ?1"
	" AND status <> 'archived' ORDER BY created_at DESC, rowid DESC LIMIT 1";

/* The cursor starts behind what is there: nothing old is told. */
static const char sql_inherit[] =
	"INSERT OR IGNORE INTO kanban_notify_subs (task_id, platform, chat_id, thread_id,"
	" created_at, last_event_id {kanban_notify_subs.user_id?, user_id}"
	" {kanban_notify_subs.chat_type?, chat_type}"
	" {kanban_notify_subs.notifier_profile?, notifier_profile}"
	" {kanban_notify_subs.delivery_mode?, delivery_mode}"
	" {kanban_notify_subs.delivery_metadata?, delivery_metadata})"
	" SELECT ?1, platform, chat_id, thread_id, ?2, ?3 {kanban_notify_subs.user_id?, "
	"user_id}"
	" {kanban_notify_subs.chat_type?, chat_type}"
	" {kanban_notify_subs.notifier_profile?, notifier_profile}"
	" {kanban_notify_subs.delivery_mode?, delivery_mode}"
	" {kanban_notify_subs.delivery_metadata?, delivery_metadata}"
	" FROM kanban_notify_subs WHERE task_id = ?4";

/* A task as it will be stored. */
struct edit_new {
	const struct edit_task *task;
	int64_t now;
	char id[EDIT_ID_SIZE];
	char *title, *assignee; /* tidied; owned */
	char *tenant;           /* own or inherited; owned, or NULL */
	char *skills;           /* JSON text; owned, or NULL */
	char *key;              /* idempotency key, that of the series if it is one; owned */
	int64_t at;             /* scheduled until then, or 0 */
	const char *status;
};

static void edit_new_deinit(struct edit_new *n)
{
	free(n->title);
	free(n->assignee);
	free(n->tenant);
	free(n->skills);
	free(n->key);
}

/* ---- checks -------------------------------------------------------------------------- */

static int edit_check_texts(const struct edit_task *t, struct error *e)
{
	const struct {
		const char *what, *text;
		size_t max;
	} texts[] = {
		{ "title", t->title, EDIT_TEXT_MAX },
		{ "body", t->body, EDIT_TEXT_MAX },
		{ "assignee", t->assignee, EDIT_SHORT_MAX },
		{ "workspace kind", t->workspace_kind, EDIT_SHORT_MAX },
		{ "workspace path", t->workspace_path, EDIT_SHORT_MAX },
		{ "branch name", t->branch_name, EDIT_SHORT_MAX },
		{ "tenant", t->tenant, EDIT_SHORT_MAX },
		{ "author", t->created_by, EDIT_SHORT_MAX },
		{ "model", t->model, EDIT_SHORT_MAX },
		{ "provider", t->provider, EDIT_SHORT_MAX },
		{ "idempotency key", t->idempotency_key, EDIT_SHORT_MAX },
		{ "calendar", t->every, EDIT_SHORT_MAX },
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
		r = edit_check_text(texts[i].what, texts[i].text, texts[i].max, e);
	for (size_t i = 0; r == 0 && t->parents && t->parents[i]; i++)
		r = edit_check_text("parent id", t->parents[i], EDIT_SHORT_MAX, e);
	for (size_t i = 0; r == 0 && t->skills && t->skills[i]; i++)
		r = edit_check_text("skill", t->skills[i], EDIT_SHORT_MAX, e);
	return r;
}

static int edit_check_workspace(const struct edit_task *t, struct error *e)
{
	const char *kind = t->workspace_kind ? t->workspace_kind : "scratch";
	const char *path = t->workspace_path;

	if (strcmp(kind, "scratch") != 0 && strcmp(kind, "dir") != 0 &&
	    strcmp(kind, "worktree") != 0)
		return error_set(e, EDIT_INVALID,
				 "\"%s\" is no kind of workspace: scratch, dir or worktree",
				 kind);
	if (path && path[0] != '/' && path[0] != '~')
		return error_set(e, EDIT_INVALID, "the workspace path %s is not absolute",
				 path);
	if (!path && strcmp(kind, "dir") == 0)
		return error_set(e, EDIT_INVALID, "a workspace of kind dir needs a path");
	if (t->branch_name && strcmp(kind, "worktree") != 0)
		return error_set(e, EDIT_INVALID, "a branch is only for a worktree workspace");
	if (t->provider && !t->model)
		return error_set(e, EDIT_INVALID, "a provider needs a model");
	return 0;
}

/* Boards of older releases have no room for some options: better said than dropped. */
static int edit_check_columns(struct db *db, const struct edit_task *t, struct error *e)
{
	const struct {
		bool given;
		const char *column;
	} c[] = {
		{ t->priority != 0, "priority" },
		{ t->branch_name != NULL, "branch_name" },
		{ t->tenant != NULL, "tenant" },
		{ t->idempotency_key || t->every, "idempotency_key" },
		{ t->max_runtime_s != 0, "max_runtime_seconds" },
		{ t->max_retries != 0, "max_retries" },
		{ t->skills && t->skills[0], "skills" },
		{ t->model != NULL, "model_override" },
		{ t->provider != NULL, "provider_override" },
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		if (c[i].given && !db_has_column(db, "tasks", c[i].column))
			return error_set(
				e, EDIT_INVALID,
				"this board is of an older release and has no room for "
				"%s; let Hermes open it once to migrate it",
				c[i].column);
	if (t->max_runtime_s < 0 || t->max_retries < 0)
		return error_set(e, EDIT_INVALID,
				 "the maximum runtime and the retries must be above 0");
	return 0;
}

static int edit_tidy(struct edit_new *n, struct error *e)
{
	const char *title = n->task->title ? n->task->title : "";
	const char *who = n->task->assignee ? n->task->assignee : "";
	size_t title_len = strlen(title), who_len = strlen(who);

	text_strip(&title, &title_len);
	text_strip(&who, &who_len);
	if (title_len == 0)
		return error_set(e, EDIT_INVALID, "a task needs a title");
	n->title = strndup(title, title_len);
	n->assignee = who_len > 0 ? strndup(who, who_len) : NULL;
	n->tenant = n->task->tenant ? strdup(n->task->tenant) : NULL;
	if (!n->title || (who_len > 0 && !n->assignee) || (n->task->tenant && !n->tenant))
		return error_set(e, -ENOMEM, "out of memory");
	for (char *p = n->assignee; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return 0;
}

static json_t *edit_list(const char *const *texts)
{
	json_t *list = json_array();

	for (size_t i = 0; list && texts && texts[i]; i++)
		if (json_array_append_new(list, json_string(texts[i])) < 0)
			edit_jsonp(&list);
	return list;
}

static int edit_skills(struct edit_new *n, struct error *e)
{
	CLEANUP(edit_jsonp) json_t *list = NULL;

	if (!n->task->skills || !n->task->skills[0])
		return 0;
	list = edit_list(n->task->skills);
	n->skills = list ? json_dumps(list, JSON_ENSURE_ASCII) : NULL;
	return n->skills ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int edit_time(struct edit_new *n, struct error *e)
{
	const struct edit_task *t = n->task;
	const char *key = t->idempotency_key;

	n->at = t->at;
	if (t->triage && (t->at != 0 || t->every))
		return error_set(e, EDIT_INVALID,
				 "a task waits in triage or for a time, not for both");
	if (t->every) {
		int64_t first = 0; /* only asked where none is named */
		int r = edit_series_first(t->every, n->now, t->at ? &first : &n->at, e);

		return r == 0 ? edit_series_key(key, &n->key, e) : r;
	}
	n->key = key ? strdup(key) : NULL;
	return key && !n->key ? error_set(e, -ENOMEM, "out of memory") : 0;
}

/* ---- the task ------------------------------------------------------------------------ */

/* Look at the parents: the status they leave the child in, the tenant it inherits. */
static int edit_parents(struct db *db, struct edit_new *n, struct error *e)
{
	const char *const *parents = n->task->parents;
	bool open = false;

	for (size_t i = 0; parents && parents[i]; i++) {
		sqlite3_stmt *stmt = NULL;
		const char *status, *tenant;
		int r;

		r = db_query(db, e, &stmt, sql_parent, "t", parents[i]);
		if (r == 0)
			r = db_step(db, stmt, e);
		if (r == 0)
			return error_set(e, EDIT_NO_TASK,
					 "there is no task %s on this board to be a parent",
					 parents[i]);
		if (r != DB_ROW)
			return r;
		status = (const char *)sqlite3_column_text(stmt, 0);
		tenant = (const char *)sqlite3_column_text(stmt, 1);
		if (!status || (strcmp(status, "done") != 0 && strcmp(status, "archived") != 0))
			open = true;
		if (!n->tenant && tenant && *tenant) {
			size_t len;

			n->tenant = text_repair(tenant, strlen(tenant), &len);
			r = n->tenant ? DB_ROW : -ENOMEM;
		}
		(void)sqlite3_reset(stmt); /* the one row was read */
		if (r != DB_ROW)
			return error_set(e, r, "out of memory");
	}
	n->status = n->task->triage ? "triage"
		    : n->at != 0    ? "scheduled"
		    : open          ? "todo"
				    : "ready";
	return 0;
}

static void edit_random_id(char id[EDIT_ID_SIZE])
{
	uint32_t bits = 0;

	while (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		; /* only a signal can cut it short */
	(void)snprintf(id, EDIT_ID_SIZE, "t_%08x", bits);
}

static int edit_insert(struct db *db, struct edit_new *n, struct error *e)
{
	const struct edit_task *t = n->task;
	int r = -EEXIST;

	for (int i = 0; r == -EEXIST && i < EDIT_ID_TRIES; i++) {
		(t->new_id ? t->new_id : edit_random_id)(n->id);
		r = db_run(db, e, sql_insert_task,
			   "itttti"
			   "titt"
			   "ttttti"
			   "tt",
			   t->priority, t->created_by, t->branch_name, n->tenant, n->key,
			   t->max_runtime_s ? t->max_runtime_s : -1, n->skills,
			   t->max_retries ? t->max_retries : -1, t->model, t->provider, n->id,
			   n->title, t->body, n->assignee, n->status, n->now,
			   t->workspace_kind ? t->workspace_kind : "scratch",
			   t->workspace_path);
	}
	return r;
}

static json_t *edit_created_payload(const struct edit_new *n)
{
	const struct edit_task *t = n->task;
	bool skills = t->skills && t->skills[0];

	return json_pack("{s:s?, s:s, s:o, s:s?, s:s, s:s?, s:s?, s:n, s:o, s:n, s:s?, s:s?}",
			 "assignee", n->assignee, "status", n->status, "parents",
			 edit_list(t->parents), "tenant", n->tenant, "workspace_kind",
			 t->workspace_kind ? t->workspace_kind : "scratch", "workspace_path",
			 t->workspace_path, "branch_name", t->branch_name, "project_id",
			 "skills", skills ? edit_list(t->skills) : json_null(), "goal_mode",
			 "model_override", t->model, "provider_override", t->provider);
}

static int edit_add_time(struct db *db, const struct edit_new *n, struct error *e)
{
	const struct edit_task *t = n->task;
	int r = n->at != 0 ? edit_series_time(db, n->id, n->at, n->now, e) : 0;

	if (r != 0 || !t->every)
		return r;
	return edit_series_told(db, n->id,
				json_pack("{s:s, s:I, s:s?, s:s?}", "calendar", t->every, "at",
					  (json_int_t)n->at, "workspace_path",
					  t->workspace_path, "branch", t->branch_name),
				n->now, e);
}

static int edit_add_now(struct db *db, struct edit_new *n, int64_t *event, struct error *e)
{
	const char *const *parents = n->task->parents;
	int r;

	r = edit_parents(db, n, e);
	if (r == 0)
		r = edit_insert(db, n, e);
	for (size_t i = 0; r == 0 && parents && parents[i]; i++)
		r = db_run(db, e, sql_link, "tt", parents[i], n->id);
	if (r == 0)
		r = edit_event(db, n->id, 0, "created", edit_created_payload(n), true, n->now,
			       event, e);
	if (r == 0)
		r = edit_add_time(db, n, e);
	if (!(db_features(db) & DB_HAS_SUBS))
		return r;
	for (size_t i = 0; r == 0 && parents && parents[i]; i++)
		r = db_run(db, e, sql_inherit, "tiit", n->id, n->now, *event, parents[i]);
	return r;
}

/* A task that the key names already: DB_ROW, with its id and status. */
static int edit_find_key(struct db *db, const char *key, char id[EDIT_ID_SIZE],
			 struct edit_done *done, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	const char *text;
	int r;

	r = db_query(db, e, &stmt, sql_by_key, "t", key);
	if (r == 0)
		r = db_step(db, stmt, e);
	if (r != DB_ROW)
		return r;
	text = (const char *)sqlite3_column_text(stmt, 0);
	(void)snprintf(id, EDIT_ID_SIZE, "%s", text ? text : "");
	text = (const char *)sqlite3_column_text(stmt, 1);
	(void)snprintf(done->status, sizeof(done->status), "%s", text ? text : "");
	(void)sqlite3_reset(stmt); /* the one row was read */
	return DB_ROW;
}

int edit_add(struct db *db, const struct edit_task *task, int64_t now, char id[EDIT_ID_SIZE],
	     bool *made, struct edit_done *done, struct error *e)
{
	CLEANUP(edit_new_deinit) struct edit_new n = { .task = task, .now = now };
	int r;

	*done = (struct edit_done){ 0 };
	*made = true;
	r = edit_check_texts(task, e);
	if (r == 0)
		r = edit_check_workspace(task, e);
	if (r == 0)
		r = edit_check_columns(db, task, e);
	if (r == 0)
		r = edit_tidy(&n, e);
	if (r == 0)
		r = edit_skills(&n, e);
	if (r == 0)
		r = edit_time(&n, e);
	if (r != 0)
		return r;
	r = db_begin(db, e);
	if (r == 0 && n.key) {
		r = edit_find_key(db, n.key, id, done, e);
		if (r == DB_ROW) {
			*made = false;
			return edit_end(db, 0, e);
		}
	}
	if (r == 0)
		r = edit_add_now(db, &n, &done->event, e);
	r = edit_end(db, r, e);
	if (r != 0)
		return r;
	memcpy(id, n.id, EDIT_ID_SIZE);
	(void)snprintf(done->status, sizeof(done->status), "%s", n.status);
	return 0;
}

/* ---- the board ----------------------------------------------------------------------- */

int edit_create_board(const char *path, bool wal, struct error *e)
{
	const struct db_options opt = { .path = path,
					.busy_timeout_ms = 10000,
					.create = true };
	CLEANUP(db_freep) struct db *db = NULL;
	int code, r;

	r = db_open(&db, &opt, e);
	if (r == 0)
		r = db_begin(db, e);
	if (r != 0)
		return r;
	code = sqlite3_exec(db_handle(db), schema_board_sql, NULL, NULL, NULL);
	if (code != SQLITE_OK) {
		(void)error_set(e, 0, "%s", sqlite3_errmsg(db_handle(db)));
		db_rollback(db);
		return edit_exact(code, e);
	}
	r = edit_end(db, 0, e);
	/* who comes between keeps DELETE mode, which is right too */
	if (r == 0 && wal)
		(void)sqlite3_exec(db_handle(db), "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
	return r;
}
