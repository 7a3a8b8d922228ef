/*
 * The result, built with SQLite in one transaction: tables and unique indexes, rows, the other
 * indexes, sequences, views and triggers last (so that no trigger fires). No fsync on the way,
 * one at the end: a build that is cut short is thrown away, not continued.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "db/db_file.h"
#include "db/db_guard.h"
#include "db/db_open.h"
#include "salvage.h"
#include "util/fs.h"

/* Instructions of SQLite's machine between two looks at the cancel flag. */
#define SALVAGE_OPS 20000

static const char sql_build[] = "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; "
				"PRAGMA foreign_keys = OFF; PRAGMA locking_mode = EXCLUSIVE; "
				"PRAGMA trusted_schema = OFF; PRAGMA cache_size = -8192";
static const char sql_integrity[] = "PRAGMA integrity_check(1)";
static const char sql_seq_get[] = "SELECT seq FROM sqlite_sequence WHERE name = ?1";
static const char sql_seq_set[] = "UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1";
static const char sql_seq_add[] = "INSERT INTO sqlite_sequence(name, seq) VALUES(?1, ?2)";

/* Numbers that other rows know; the next one must not be one of them. Not every board has all
 * of these columns. */
static const struct {
	const char *table, *sql;
} seq_refs[] = {
	{ "task_events", "SELECT max(last_event_id) FROM kanban_notify_subs" },
	{ "task_runs", "SELECT max(current_run_id) FROM tasks" },
	{ "task_runs", "SELECT max(run_id) FROM task_events" },
};

static int write_progress(void *arg)
{
	return salvage_stopped(arg);
}

/* Numbers cannot be bound to a PRAGMA. */
static int write_pragma(struct salvage *s, const char *name, int64_t value)
{
	char *sql = sqlite3_mprintf("PRAGMA %s = %lld", name, (long long)value);
	int r = sql ? salvage_sql(s, s->out, sql)
		    : salvage_fail(s, -ENOMEM, "build the result");

	sqlite3_free(sql);
	return r;
}

static int write_open(struct salvage *s)
{
	static const char *const encodings[] = { "PRAGMA encoding = 'UTF-8'",
						 "PRAGMA encoding = 'UTF-8'",
						 "PRAGMA encoding = 'UTF-16le'",
						 "PRAGMA encoding = 'UTF-16be'" };
	int reserve = (int)(s->file.page_size - s->file.usable);
	int r;

	if (db_open_plain(&s->out, s->out_path, DB_OPEN_WRITE) != SQLITE_OK)
		return s->out ? salvage_sql_error(s, s->out, "create the result")
			      : salvage_fail(s, -ENOMEM, "create the result");
	sqlite3_progress_handler(s->out, SALVAGE_OPS, write_progress, s);
	r = write_pragma(s, "page_size", s->file.page_size);
	if (r == 0)
		(void)sqlite3_file_control(s->out, "main", SQLITE_FCNTL_RESERVE_BYTES,
					   &reserve);
	if (r == 0)
		r = salvage_sql(s, s->out, encodings[s->encoding & 3]);
	if (r == 0)
		r = write_pragma(s, "auto_vacuum", s->auto_vacuum);
	return r ? r : salvage_sql(s, s->out, sql_build);
}

/* CREATE; an object that cannot be made is counted, and only fatal if memory or disk is. */
static int write_object(struct salvage *s, struct salvage_object *o)
{
	/* what would run with every row, and never end, is not made again */
	int code = o->kind != SALVAGE_VIEW && o->kind != SALVAGE_TRIGGER &&
				   db_guard_endless(o->sql)
			   ? SQLITE_ERROR
			   : salvage_create(s->out, o->sql, o->kind == SALVAGE_TABLE);

	switch (code & 0xFF) {
	case SQLITE_OK:
		return 0;
	case SQLITE_ERROR:
	case SQLITE_AUTH:
	case SQLITE_CONSTRAINT:
	case SQLITE_TOOBIG:
	case SQLITE_MISUSE:
		s->report->objects_lost += o->original;
		free(STEAL(o->sql));
		return 0;
	default:
		return salvage_sql_error(s, s->out, "build the schema");
	}
}

static bool write_is_unique(const struct salvage_object *o)
{
	return o->kind == SALVAGE_INDEX_OBJ && strncmp(o->sql, "CREATE UNIQUE ", 14) == 0;
}

static bool write_internal(const struct salvage_object *o)
{
	return sqlite3_strnicmp(o->name, "sqlite_", 7) == 0;
}

static int write_tables(struct salvage *s)
{
	int r = 0;

	for (size_t i = 0; i < s->nobjects && r == 0; i++)
		if (s->objects[i].kind == SALVAGE_TABLE && s->objects[i].sql &&
		    !write_internal(&s->objects[i]))
			r = write_object(s, &s->objects[i]);
	for (size_t i = 0; i < s->nobjects && r == 0; i++)
		if (s->objects[i].sql && write_is_unique(&s->objects[i]))
			r = write_object(s, &s->objects[i]);
	return r;
}

static int write_others(struct salvage *s, enum salvage_kind kind)
{
	int r = 0;

	for (size_t i = 0; i < s->nobjects && r == 0; i++) {
		struct salvage_object *o = &s->objects[i];

		if (o->kind == kind && !o->sql && !write_internal(o))
			s->report->objects_lost++;
		else if (o->kind == kind && o->sql && !write_is_unique(o))
			r = write_object(s, o);
	}
	return r;
}

static int write_statistics(struct salvage *s)
{
	for (size_t i = 0; i < s->nobjects; i++)
		if (s->objects[i].kind == SALVAGE_TABLE &&
		    sqlite3_stricmp(s->objects[i].name, "sqlite_stat1") == 0)
			return salvage_sql(s, s->out, "ANALYZE");
	return 0;
}

/* One number from SQL that may not fit this board; false then, or if it is NULL. */
static bool write_number(struct salvage *s, const char *sql, const char *name, int64_t *n)
{
	sqlite3_stmt *stmt = NULL;
	bool ok = sqlite3_prepare_v2(s->out, sql, -1, &stmt, NULL) == SQLITE_OK;

	if (ok && name)
		(void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	ok = ok && sqlite3_step(stmt) == SQLITE_ROW &&
	     sqlite3_column_type(stmt, 0) == SQLITE_INTEGER;
	if (ok)
		*n = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return ok;
}

static int write_sequence_set(struct salvage *s, const char *name, int64_t seq)
{
	static const char *const sql[] = { sql_seq_set, sql_seq_add };

	for (int i = 0; i < 2; i++) {
		sqlite3_stmt *stmt = NULL;
		int code = sqlite3_prepare_v2(s->out, sql[i], -1, &stmt, NULL);

		if (code == SQLITE_OK) {
			(void)sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
			(void)sqlite3_bind_int64(stmt, 2, seq);
			code = sqlite3_step(stmt);
		}
		(void)sqlite3_finalize(stmt);
		if (code != SQLITE_DONE)
			return salvage_sql_error(s, s->out, "write a sequence");
		if (sqlite3_changes(s->out) > 0)
			return 0;
	}
	return 0;
}

/*
 * At least what the file said, at least the largest rowid, also of a row that is lost; and
 * where the file's own number is gone, at least what other rows refer to.
 */
static int write_sequence(struct salvage *s, const struct salvage_work *w)
{
	struct salvage_table *t = &s->report->tables[w->index];
	int64_t seq = salvage_sequence_of(s, w->name), n = 0;

	t->sequence_found = seq;
	if (write_number(s, sql_seq_get, w->name, &n) && n > seq)
		seq = n;
	for (size_t i = 0; i < t->nlost_rows; i++)
		if (t->lost_rows[i].rowid > seq)
			seq = t->lost_rows[i].rowid;
	for (size_t i = 0; t->sequence_found < 0 && i < sizeof(seq_refs) / sizeof(*seq_refs);
	     i++)
		if (strcmp(seq_refs[i].table, w->name) == 0 &&
		    write_number(s, seq_refs[i].sql, NULL, &n) && n > seq)
			seq = n;
	t->sequence = seq;
	return seq < 0 ? 0 : write_sequence_set(s, w->name, seq);
}

static int write_content(struct salvage *s)
{
	int r = salvage_sql(s, s->out, "BEGIN");

	if (r == 0)
		r = write_tables(s);
	if (r == 0)
		r = salvage_insert_all(s);
	if (r == 0)
		r = salvage_lost_count(s);
	for (size_t i = 0; i < s->nworks; i++)
		salvage_insert_end(&s->works[i]);
	if (r == 0)
		r = write_others(s, SALVAGE_INDEX_OBJ);
	for (size_t i = 0; i < s->nworks && r == 0; i++)
		if (s->works[i].shape.autoincrement)
			r = write_sequence(s, &s->works[i]);
	if (r == 0)
		r = write_others(s, SALVAGE_VIEW);
	if (r == 0)
		r = write_others(s, SALVAGE_TRIGGER);
	if (r == 0)
		r = write_statistics(s);
	if (r == 0)
		r = write_pragma(s, "user_version", (int32_t)s->file.header.user_version);
	if (r == 0)
		r = write_pragma(s, "application_id", (int32_t)s->file.header.application_id);
	return r ? r : salvage_sql(s, s->out, "COMMIT");
}

static int write_check(struct salvage *s)
{
	struct salvage_report *rep = s->report;
	sqlite3_stmt *stmt = NULL;
	const char *text;
	int r = 0;

	if (sqlite3_prepare_v2(s->out, sql_integrity, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW) {
		r = salvage_sql_error(s, s->out, "check the result");
	} else {
		text = (const char *)sqlite3_column_text(stmt, 0);
		(void)sqlite3_snprintf(sizeof(rep->integrity), rep->integrity, "%s",
				       text ? text : "");
		if (strcmp(rep->integrity, "ok") != 0)
			r = error_set(s->e, -EBADMSG, "the result fails its check: %s",
				      rep->integrity);
	}
	(void)sqlite3_finalize(stmt);
	return r;
}

static int write_sync(struct salvage *s)
{
	CLEANUP(fs_closep) int fd = open(s->out_path, O_RDONLY | O_CLOEXEC);
	CLEANUP(fs_closep) int dir = -1;
	CLEANUP(freep) char *folder = strdup(s->out_path);
	char *slash;

	if (!folder)
		return salvage_fail(s, -ENOMEM, "keep the result");
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	dir = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || dir < 0 || fsync(fd) < 0 || fsync(dir) < 0)
		return salvage_fail(s, -errno, "keep the result on the disk");
	return 0;
}

int salvage_write(struct salvage *s)
{
	int fd = open(s->out_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return error_errno(s->e, -errno, "cannot create %s", s->out_path);
	(void)close(fd); /* no connection yet */
	r = write_open(s);
	if (r == 0)
		r = write_content(s);
	if (r == 0)
		r = write_check(s);
	for (size_t i = 0; i < s->nworks; i++)
		salvage_insert_end(&s->works[i]);
	if (sqlite3_close(s->out) == SQLITE_OK)
		s->out = NULL;
	else if (r == 0)
		r = error_set(s->e, -EIO, "cannot close the result");
	if (r == 0 && !s->opt->no_sync)
		r = write_sync(s);
	if (r != 0)
		db_file_remove(s->out_path);
	return r;
}
