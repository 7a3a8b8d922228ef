/*
 * One connection to one board.
 *
 * Happy path: db_open() looks at the file, opens it, sets the pragmas, learns which columns are
 * there; the caller prepares statements by the address of their text and runs transactions;
 * db_free() closes.
 *
 * Failure modes: every result code of SQLite goes through the classifier in db_result.c.
 * Transactions are in db_txn.c, statements in db_stmt.c.
 *
 * Locks: the file is looked at with open() only while this process has no connection to it,
 * because closing any descriptor drops the process's POSIX locks on it
 * (https://sqlite.org/howtocorrupt.html, 2.2).
 */
#include "db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "recovery/health.h"
#include "util/clock.h"
#include "util/fs.h"

/* Columns whose presence is asked for; the bit number is the index. */
static const char *const db_columns[] = {
	"tasks.priority",
	"tasks.created_by",
	"tasks.completed_at",
	"tasks.branch_name",
	"tasks.tenant",
	"tasks.result",
	"tasks.max_runtime_seconds",
	"tasks.last_heartbeat_at",
	"tasks.current_step_key",
	"tasks.skills",
	"tasks.model_override",
	"tasks.provider_override",
	"tasks.reasoning_effort",
	"tasks.max_retries",
	"tasks.goal_mode",
	"tasks.goal_max_turns",
	"tasks.block_kind",
	"tasks.block_recurrences",
	"tasks.worker_started_at",
	"tasks.scheduled_at",
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
	"task_links.parent_id",
	"task_comments.body",
	"kanban_notify_subs.task_id",
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

static int db_progress(void *arg)
{
	const struct db *db = arg;

	return db->cancel && atomic_load(db->cancel);
}

/* Waits in growing steps of 1 to 50 ms, at most busy_timeout_ms, less when cancelled. */
static int db_busy(void *arg, int tries)
{
	struct db *db = arg;
	uint64_t now = clock_mono_ms();
	int step = tries < 10 ? 1 + tries : 50;
	struct timespec ts;

	if (tries == 0)
		db->busy_until_ms = now + (uint64_t)db->busy_timeout_ms;
	if (now >= db->busy_until_ms || (db->cancel && atomic_load(db->cancel))) {
		if (db->busy_interrupt)
			sqlite3_interrupt(db->sqlite);
		return 0;
	}
	ts = (struct timespec){ .tv_nsec = (long)step * 1000000 };
	(void)nanosleep(&ts, NULL); /* cut short by a signal: only an earlier try */
	return 1;
}

static bool db_sidecar(const char *path, const char *suffix)
{
	CLEANUP(freep) char *name = fs_path("%s%s", path, suffix);
	struct stat st;

	return name && stat(name, &st) == 0 && st.st_size > 0;
}

/*
 * Look at the file before SQLite does. Only called while this process has no connection to it.
 * A hot journal or a WAL is part of the database: with one beside it, SQLite is the judge.
 */
static int db_look(const struct db_options *opt, bool *wal, struct error *e)
{
	CLEANUP(fs_closep) int fd = -1;
	unsigned char head[100];
	struct stat st;
	bool sidecar;
	ssize_t n;

	if (stat(opt->path, &st) < 0) {
		if (errno == ENOENT)
			return opt->create ? 0 : error_set(e, DB_MISSING, "no such file");
		return error_errno(e, -errno, "cannot look at %s", opt->path);
	}
	if (!S_ISREG(st.st_mode))
		return error_set(e, -EINVAL, "%s is not a regular file", opt->path);
	sidecar = db_sidecar(opt->path, "-wal") || db_sidecar(opt->path, "-journal");
	if (st.st_size == 0 && !sidecar)
		return opt->create ? 0 : error_set(e, DB_MISSING, "empty file");
	fd = open(opt->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return error_errno(e, -errno, "cannot read %s", opt->path);
	n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return error_errno(e, -errno, "cannot read %s", opt->path);
	*wal = n >= 20 && head[18] == 2;
	if (!sidecar && (n < 16 || memcmp(head, "SQLite format 3", 16) != 0))
		return error_set(e, DB_CORRUPT,
				 "not a database: its first 16 bytes are not those "
				 "of SQLite");
	return 0;
}

int db_exec(struct db *db, const char *sql, struct error *e)
{
	return db_result(db, sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL), e);
}

/*
 * The pragmas of the board contract, §3. journal_mode is never set. On a library with the
 * WAL-reset bug our commits never checkpoint on their own; db_checkpoint() does it while it
 * holds the writer lock.
 */
static int db_pragmas(struct db *db, struct error *e)
{
	int r = db_exec(
		db,
		"PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA secure_delete=ON;"
		"PRAGMA cell_size_check=ON; PRAGMA cache_size=-512; PRAGMA temp_store=MEMORY;",
		e);

	if (r != 0)
		return r;
	return db_exec(db,
		       db_wal_reset_bug() ? "PRAGMA wal_autocheckpoint=0"
					  : "PRAGMA wal_autocheckpoint=100",
		       e);
}

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
static int db_learn(struct db *db, struct error *e)
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

/* integrity_check tells of a page that could not be read as of any other fault. */
static bool db_check_unread(const char *text)
{
	static const char *const parts[] = { "unable to get the page. error code=",
					     "failed to get page " };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const char *at = strstr(text, parts[i]);

		if (at && i == 0) /* a number that is none of an I/O error is damage */
			return (strtol(at + strlen(parts[i]), NULL, 10) & 0xFF) == SQLITE_IOERR;
		if (at)
			return true;
	}
	return false;
}

static int db_check(struct db *db, const char *pragma, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc, r;

	rc = sqlite3_prepare_v2(db->sqlite, pragma, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	r = db_result(db, rc, e);
	if (r == DB_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		r = 0;
		if (text && strncmp(text, "***", 3) == 0 && strchr(text, '\n'))
			text = strchr(text, '\n') + 1; /* a heading that names no fault */
		if (text && db_check_unread(text)) {
			db->failed = SQLITE_IOERR;
			db->ioerr = true;
			r = error_set(e, DB_TRANSIENT, "a page cannot be read: %s", text);
		} else if (!text || strcmp(text, "ok") != 0) {
			r = error_set(e, DB_CORRUPT, "integrity_check: %s",
				      text ? text : "no answer");
		}
	}
	(void)sqlite3_finalize(stmt); /* repeats the error of the step */
	return r;
}

void db_library_init(void)
{
	/* refused when SQLite is in use already, as in a test that opened a board itself */
	(void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	/* no block of 20 pages for each connection, which it keeps until it is closed */
	(void)sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	(void)sqlite3_initialize();
}

/* Is the board known to be damaged, as it is now? Then nobody but its examiner opens it. */
static int db_door(const struct db_options *opt, struct error *e)
{
	struct error why = ERROR_NULL;

	if (opt->examined || opt->create)
		return 0;
	switch (health_standing(opt->path, &why)) {
	case HEALTH_QUARANTINED:
		return error_set(e, DB_CORRUPT, "%s", why.text);
	case HEALTH_REPAIRING:
		return error_set(e, DB_TRANSIENT, "the board is being repaired");
	default: /* a lost board is sound, and opening tells what else there is to tell */
		return 0;
	}
}

int db_open(struct db **out, const struct db_options *opt, struct error *e)
{
	CLEANUP(db_freep) struct db *db = NULL;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	bool wal = false;
	int rc, r;

	if (opt->ioerr)
		*opt->ioerr = false;
	r = db_door(opt, e);
	if (r == 0)
		r = db_look(opt, &wal, e);
	if (r != 0)
		return r;
	db = calloc(1, sizeof(*db));
	if (!db)
		return error_set(e, -ENOMEM, "out of memory");
	db->wal = wal;
	db->cancel = opt->cancel;
	db->busy_timeout_ms = opt->busy_timeout_ms;
	rc = sqlite3_open_v2(opt->path, &db->sqlite,
			     flags | (opt->create ? SQLITE_OPEN_CREATE : 0), NULL);
	if (!db->sqlite)
		return error_set(e, -ENOMEM, "out of memory");
	if (rc != SQLITE_OK)
		return db_result(db, rc, e);
	(void)sqlite3_extended_result_codes(db->sqlite, 1); /* cannot fail on an open handle */
	db_leave_wal(db, true); /* not one byte is changed before it is known to be sound */
	(void)sqlite3_busy_handler(db->sqlite, db_busy, db);
	sqlite3_progress_handler(db->sqlite, 20000, db_progress, db);
	r = db_pragmas(db, e);
	if (r == 0 && opt->integrity)
		r = db_check(db, "PRAGMA integrity_check(1)", e);
	if (r == 0 && !opt->create)
		r = db_learn(db, e);
	if (opt->ioerr)
		*opt->ioerr = r == DB_TRANSIENT && db->ioerr;
	if (r != 0)
		return r;
	db_leave_wal(db, false);
	*out = STEAL(db);
	return 0;
}

struct db *db_free(struct db *db)
{
	if (!db)
		return NULL;
	db_rollback(db);
	db_trim(db);
	(void)sqlite3_close(db->sqlite); /* no statement is left, so it cannot be busy */
	free(db);
	return NULL;
}

int db_quick_check(struct db *db, struct error *e)
{
	return db_check(db, "PRAGMA quick_check(1)", e);
}

void db_trim(struct db *db)
{
	for (size_t i = 0; i < db->n_statements; i++)
		(void)sqlite3_finalize(db->statements[i].stmt); /* repeats an old error */
	db->n_statements = 0;
	if (db->sqlite)
		db_drop_cache(db);
}

void db_drop_cache(struct db *db)
{
	(void)sqlite3_db_release_memory(db->sqlite); /* always SQLITE_OK */
}

void db_leave_wal(struct db *db, bool leave)
{
	int persist = leave;

	/* both only fail for a database that is not there */
	(void)sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
	(void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, (int)leave, NULL);
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

sqlite3 *db_handle(struct db *db)
{
	return db->sqlite;
}

bool db_is_wal(const struct db *db)
{
	return db->wal;
}

bool db_has_column(const struct db *db, const char *table, const char *column)
{
	int i = db_index(db_columns, N_COLUMNS, table, column);

	return i >= 0 && (db->columns & UINT64_C(1) << i);
}

bool db_wal_reset_bug_in(int v)
{
	if (v < 3007000 || v >= 3051003)
		return false;
	return !(v >= 3050007 && v < 3051000) && !(v >= 3044006 && v < 3045000);
}

bool db_wal_reset_bug(void)
{
	return db_wal_reset_bug_in(sqlite3_libversion_number());
}

const char *db_library_version(void)
{
	return sqlite3_libversion();
}
