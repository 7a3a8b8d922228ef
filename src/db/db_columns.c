/*
 * Which columns a board has. Boards of every release are served, so a statement asks for the
 * columns that came later, and a board that lacks one of the first is none.
 */
#include <string.h>

#include "db.h"
#include "util/task_row.h"

/* Columns whose presence is asked for; the bit number is the index. */
static const char *const db_columns[] = {
	"tasks.priority",
	"tasks.created_by",
	"tasks.completed_at",
	"tasks.result",
	"tasks.last_heartbeat_at",
	"tasks.current_step_key",
	"tasks.max_retries",
	"tasks.block_kind",
	"tasks.block_recurrences",
	"tasks.worker_started_at",
	"tasks.scheduled_at",
	"tasks.completion_contract",
	"tasks.consecutive_failures",
	"tasks.last_failure_error",
	"tasks.spawn_failures",
	"tasks.last_spawn_error",
	"tasks.session_id",
	"tasks.project_id",
	"tasks.idempotency_key",
	"task_runs.worker_started_at",
	"task_runs.last_heartbeat_at",
	"task_runs.summary",
	"kanban_notify_subs.notifier_profile",
	"kanban_notify_subs.chat_type",
	"kanban_notify_subs.delivery_mode",
	"kanban_notify_subs.delivery_metadata",
	"kanban_notify_subs.user_id",
	"kanban_notify_subs.platform",
	"kanban_notify_subs.chat_id",
	"kanban_notify_subs.thread_id",
	"kanban_notify_subs.last_event_id",
	"kanban_notify_subs.created_at",
	"kanban_notify_subs.user_id_alt",
	"kanban_notify_subs.last_ping_event_id",
	"task_links.parent_id",
	"task_comments.body",
	"kanban_notify_subs.task_id",
/* clang-format off */
#define DB_COLUMN(name) "tasks." #name,
	TASK_PLACE(DB_COLUMN) TASK_TOLD(DB_COLUMN, DB_COLUMN, DB_COLUMN)
#undef DB_COLUMN
	/* clang-format on */
};

/* What the dispatcher cannot do without. */
static const char *const db_required[] = {
	"tasks.id",
	"tasks.title",
	"tasks.assignee",
	"tasks.status",
	"tasks.created_at",
	"tasks.started_at",
	"tasks.workspace_kind",
	"tasks.workspace_path",
	"tasks.claim_lock",
	"tasks.claim_expires",
	"tasks.worker_pid",
	"tasks.current_run_id",
	"task_runs.id",
	"task_runs.task_id",
	"task_runs.profile",
	"task_runs.status",
	"task_runs.claim_lock",
	"task_runs.claim_expires",
	"task_runs.worker_pid",
	"task_runs.started_at",
	"task_runs.ended_at",
	"task_runs.outcome",
	"task_runs.metadata",
	"task_runs.error",
	"task_runs.step_key",
	"task_runs.max_runtime_seconds",
	"task_events.id",
	"task_events.task_id",
	"task_events.run_id",
	"task_events.kind",
	"task_events.payload",
	"task_events.created_at",
	"task_links.parent_id",
	"task_links.child_id",
};

#define N_COLUMNS  (sizeof(db_columns) / sizeof(db_columns[0]))
#define N_REQUIRED (sizeof(db_required) / sizeof(db_required[0]))

_Static_assert(N_COLUMNS <= 64 && N_REQUIRED <= 64, "one word of bits each");

static int db_index(const char *const *list, size_t n, const char *table, const char *column)
{
	size_t len = strlen(table);

	for (size_t i = 0; i < n; i++)
		if (strncmp(list[i], table, len) == 0 && list[i][len] == '.' &&
		    strcmp(list[i] + len + 1, column) == 0)
			return (int)i;
	return -1;
}

/* Which columns are there; DB_SCHEMA_BAD where one that the dispatcher needs is not. */
int db_learn(struct db *db, struct error *e)
{
	static const char *const tables[] = { "tasks",         "task_runs",
					      "task_events",   "task_links",
					      "task_comments", "kanban_notify_subs" };
	uint64_t required = 0;

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		sqlite3_stmt *stmt = NULL;
		int rc, r, i;

		rc = sqlite3_prepare_v2(db->sqlite, "SELECT name FROM pragma_table_info(?)", -1,
					&stmt, NULL);
		if (rc != SQLITE_OK)
			return db_result(db, rc, e);
		rc = sqlite3_bind_text(stmt, 1, tables[t], -1, SQLITE_STATIC);
		while (rc == SQLITE_OK || rc == SQLITE_ROW) {
			rc = sqlite3_step(stmt);
			if (rc != SQLITE_ROW)
				break;
			const char *name = (const char *)sqlite3_column_text(stmt, 0);

			if (!name)
				continue;
			i = db_index(db_columns, N_COLUMNS, tables[t], name);
			if (i >= 0)
				db->columns |= UINT64_C(1) << i;
			i = db_index(db_required, N_REQUIRED, tables[t], name);
			if (i >= 0)
				required |= UINT64_C(1) << i;
		}
		r = db_result(db, rc, e);
		(void)sqlite3_finalize(stmt); /* repeats the error of the step */
		if (r != 0)
			return r;
	}
	for (size_t i = 0; i < N_REQUIRED; i++)
		if (!(required & UINT64_C(1) << i))
			return error_set(
				e, DB_SCHEMA_BAD,
				"not a board that can be dispatched: it has no %s; let "
				"Hermes open it once to migrate it",
				db_required[i]);
	return 0;
}

bool db_has_column(const struct db *db, const char *table, const char *column)
{
	int i = db_index(db_columns, N_COLUMNS, table, column);

	return i >= 0 && (db->columns & UINT64_C(1) << i);
}

unsigned db_features(const struct db *db)
{
	unsigned f = 0;

	f |= db_has_column(db, "task_runs", "worker_started_at") ? DB_HAS_RUN_STARTED : 0U;
	f |= db_has_column(db, "tasks", "worker_started_at") ? DB_HAS_TASK_STARTED : 0U;
	f |= db_has_column(db, "tasks", "scheduled_at") ? DB_HAS_SCHEDULED_AT : 0U;
	f |= db_has_column(db, "kanban_notify_subs", "task_id") ? DB_HAS_SUBS : 0U;
	f |= db_has_column(db, "tasks", "max_retries") ? DB_HAS_MAX_RETRIES : 0U;
	return f;
}
