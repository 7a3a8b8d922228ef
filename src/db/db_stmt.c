/*
 * Statements of one connection: compiled once, cached by the address of their text, and
 * expanded for the columns that this board has.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "db.h"

/* Expand one {…} of a statement's text into @out; see db_prepare(). */
static void db_expand_one(const struct db *db, const char *token, size_t len, FILE *out)
{
	char name[64];
	const char *text = memchr(token, '?', len);
	size_t n = text ? (size_t)(text - token) : len;
	char *dot, *alias;

	(void)snprintf(name, sizeof(name), "%.*s", (int)n, token);
	if (strcmp(name, "failures") == 0) {
		(void)fputs(db_has_column(db, "tasks", "consecutive_failures")
				    ? "consecutive_failures"
				    : "spawn_failures",
			    out);
		return;
	}
	if (strcmp(name, "failure_error") == 0) {
		(void)fputs(db_has_column(db, "tasks", "last_failure_error")
				    ? "last_failure_error"
				    : "last_spawn_error",
			    out);
		return;
	}
	dot = strchr(name, '.');
	if (!dot)
		return;
	*dot = '\0';
	alias = strchr(dot + 1, '@');
	if (alias)
		*alias = '\0';
	if (!db_has_column(db, name, dot + 1)) {
		if (!text)
			(void)fputs("NULL", out);
	} else if (text) {
		(void)fwrite(text + 1, 1, len - n - 1, out);
	} else {
		(void)fprintf(out, "%s%s%s", alias ? alias + 1 : "", alias ? "." : "", dot + 1);
	}
}

static char *db_expand(const struct db *db, const char *sql)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool bad;

	if (!out)
		return NULL;
	while (*sql) {
		const char *open = strchr(sql, '{'), *close = open ? strchr(open, '}') : NULL;

		if (!close) {
			(void)fputs(sql, out);
			break;
		}
		(void)fwrite(sql, 1, (size_t)(open - sql), out);
		db_expand_one(db, open + 1, (size_t)(close - open - 1), out);
		sql = close + 1;
	}
	bad = ferror(out) != 0;
	if (fclose(out) != 0 || bad) {
		free(text);
		return NULL;
	}
	return text;
}

int db_prepare(struct db *db, const char *sql, sqlite3_stmt **stmt, struct error *e)
{
	CLEANUP(freep) char *text = NULL;
	sqlite3_stmt *s = NULL;
	int rc;

	db_spend(db, db->statement_ms);
	for (size_t i = 0; i < db->n_statements; i++)
		if (db->statements[i].sql == sql) {
			s = db->statements[i].stmt;
			(void)sqlite3_reset(s); /* repeats the error of the last step */
			(void)sqlite3_clear_bindings(s);
			*stmt = s;
			return 0;
		}
	if (db->n_statements == DB_STATEMENT_MAX)
		return error_set(e, -ENOSPC, "statement cache is full");
	text = db_expand(db, sql);
	if (!text)
		return error_set(e, -ENOMEM, "out of memory");
	rc = sqlite3_prepare_v3(db->sqlite, text, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL);
	if (rc != SQLITE_OK)
		return db_result(db, rc, e);
	db->statements[db->n_statements++] = (struct db_statement){ sql, s };
	*stmt = s;
	return 0;
}

int db_step(struct db *db, sqlite3_stmt *stmt, struct error *e)
{
	int r = db_result(db, sqlite3_step(stmt), e);

	if (r != DB_ROW)
		(void)sqlite3_reset(stmt); /* repeats the error of the step */
	return r;
}

static int db_bind(struct db *db, sqlite3_stmt *stmt, const char *types, va_list ap,
		   struct error *e)
{
	int n = sqlite3_bind_parameter_count(stmt), rc = SQLITE_OK;

	/* the last parameters may belong to columns that this board does not have */
	for (int i = 1; *types && i <= n && rc == SQLITE_OK; types++, i++) {
		switch (*types) {
		case 'i':
			rc = sqlite3_bind_int64(stmt, i, va_arg(ap, int64_t));
			break;
		case 't':
			rc = sqlite3_bind_text(stmt, i, va_arg(ap, const char *), -1,
					       SQLITE_STATIC);
			break;
		default:
			rc = sqlite3_bind_null(stmt, i);
			break;
		}
	}
	return db_result(db, rc, e);
}

static int db_vquery(struct db *db, struct error *e, sqlite3_stmt **stmt, const char *sql,
		     const char *types, va_list ap)
{
	int r = db_prepare(db, sql, stmt, e);

	return r != 0 ? r : db_bind(db, *stmt, types, ap, e);
}

int db_query(struct db *db, struct error *e, sqlite3_stmt **stmt, const char *sql,
	     const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = db_vquery(db, e, stmt, sql, types, ap);
	va_end(ap);
	return r;
}

/* Run a statement as far as its first row: DB_ROW, 0 without one. db_first_end() ends it. */
static int db_first(struct db *db, struct error *e, sqlite3_stmt **stmt, const char *sql,
		    const char *types, va_list ap)
{
	int r = db_vquery(db, e, stmt, sql, types, ap);

	return r != 0 ? r : db_step(db, *stmt, e);
}

/* Only the first row was wanted, and the texts that are bound belong to the caller. */
static int db_first_end(sqlite3_stmt *stmt, int r)
{
	(void)sqlite3_reset(stmt); /* repeats the error of the step; NULL is fine */
	if (stmt)
		(void)sqlite3_clear_bindings(stmt);
	return r == DB_ROW ? 0 : r;
}

int db_run(struct db *db, struct error *e, const char *sql, const char *types, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = db_first(db, e, &stmt, sql, types, ap);
	va_end(ap);
	return db_first_end(stmt, r);
}

int db_one_int(struct db *db, struct error *e, int64_t *value, int64_t none, const char *sql,
	       const char *types, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = db_first(db, e, &stmt, sql, types, ap);
	va_end(ap);
	*value = r == DB_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL
			 ? sqlite3_column_int64(stmt, 0)
			 : none;
	return db_first_end(stmt, r);
}

int db_row_ints(struct db *db, struct error *e, int64_t *values, int n, const char *sql,
		const char *types, ...)
{
	sqlite3_stmt *stmt = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = db_first(db, e, &stmt, sql, types, ap);
	va_end(ap);
	for (int i = 0; i < n; i++)
		values[i] = r == DB_ROW ? sqlite3_column_int64(stmt, i) : 0;
	return db_first_end(stmt, r);
}

int db_changes(struct db *db)
{
	return sqlite3_changes(db->sqlite);
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->sqlite);
}

void db_drop_cache(struct db *db)
{
	(void)sqlite3_db_release_memory(db->sqlite); /* always SQLITE_OK */
}

void db_trim(struct db *db)
{
	for (size_t i = 0; i < db->n_statements; i++)
		(void)sqlite3_finalize(db->statements[i].stmt); /* repeats an old error */
	db->n_statements = 0;
	if (db->sqlite)
		db_drop_cache(db);
}
