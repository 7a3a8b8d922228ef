/*
 * Triggers and views are off (db_open.c). What is left of a schema that runs: CHECK
 * constraints, defaults, generated columns and indexes on expressions. They may call functions,
 * and between two instructions a statement is stopped when its time is over; but not within a
 * function.
 */
#include "db/db_guard.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "db.h"

static const char sql_schema[] = "SELECT type, name, rootpage, sql FROM sqlite_schema WHERE "
				 "type IN ('table', 'index', 'view')";

static const char *const guard_tables[] = {
	"tasks",     "task_links",       "task_comments",     "task_events",
	"task_runs", "task_attachments", "kanban_notify_subs"
};

/* Those whose time is more than a multiple of the length of their arguments: a search, a set of
 * characters, the members of two objects. LIKE and GLOB are held by a limit on their patterns.
 */
static const char *const guard_endless[] = { "instr", "replace",    "trim",        "ltrim",
					     "rtrim", "json_patch", "jsonb_patch", "unhex" };

static bool guard_is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* Past blanks and comments. */
static const char *guard_skip(const char *p)
{
	for (;;) {
		const char *end;

		while (isspace((unsigned char)*p))
			p++;
		if (p[0] == '-' && p[1] == '-') {
			p = strchrnul(p, '\n');
		} else if (p[0] == '/' && p[1] == '*') {
			end = strstr(p + 2, "*/");
			p = end ? end + 2 : strchr(p, '\0');
		} else {
			return p;
		}
	}
}

static const char *guard_find(const char *word, size_t n)
{
	for (size_t i = 0; i < sizeof(guard_endless) / sizeof(guard_endless[0]); i++)
		if (strlen(guard_endless[i]) == n &&
		    strncasecmp(guard_endless[i], word, n) == 0)
			return guard_endless[i];
	return NULL;
}

/* The end of the word or quoted word at @p; @word, @n: what it says. */
static const char *guard_word(const char *p, const char **word, size_t *n)
{
	char close = *p == '[' ? ']' : *p;

	if (guard_is_word(*p)) {
		for (*word = p; guard_is_word(*p); p++)
			;
		*n = (size_t)(p - *word);
		return p;
	}
	*word = p + 1;
	p = strchrnul(p + 1, close);
	*n = (size_t)(p - *word);
	return *p ? p + 1 : p;
}

const char *db_guard_endless(const char *sql)
{
	for (const char *p = guard_skip(sql); *p; p = guard_skip(p)) {
		const char *word, *found;
		size_t n;

		if (!guard_is_word(*p) && !strchr("\"'`[", *p)) {
			p++;
			continue;
		}
		p = guard_word(p, &word, &n);
		found = guard_find(word, n);
		if (found && *guard_skip(p) == '(')
			return found;
	}
	return NULL;
}

static int guard_object(sqlite3_stmt *stmt, struct error *e)
{
	const char *type = (const char *)sqlite3_column_text(stmt, 0);
	const char *name = (const char *)sqlite3_column_text(stmt, 1);
	const char *sql = (const char *)sqlite3_column_text(stmt, 3), *found;

	for (size_t i = 0; name && i < sizeof(guard_tables) / sizeof(guard_tables[0]); i++)
		if (strcasecmp(guard_tables[i], name) == 0 && type &&
		    strcmp(type, "index") != 0 &&
		    (strcmp(type, "table") != 0 || sqlite3_column_int64(stmt, 2) <= 0))
			return error_set(
				e, DB_SCHEMA_BAD,
				"not a board that can be dispatched: its %s is no table, "
				"but a view or a virtual table",
				guard_tables[i]);
	if (!sql || !type || strcmp(type, "view") == 0)
		return 0;
	found = db_guard_endless(sql);
	if (!found)
		return 0;
	return error_set(
		e, DB_SCHEMA_BAD,
		"not a board that can be dispatched: its %s %.100s calls %s(), which may "
		"take for ever",
		type, name ? name : "", found);
}

int db_guard_schema(struct db *db, struct error *e)
{
	sqlite3_stmt *stmt = NULL;
	int r = db_result(db, sqlite3_prepare_v2(db->sqlite, sql_schema, -1, &stmt, NULL), e);

	while (r == 0) {
		r = db_result(db, sqlite3_step(stmt), e);
		if (r != DB_ROW)
			break;
		r = guard_object(stmt, e);
	}
	(void)sqlite3_finalize(stmt); /* repeats the error of the step */
	return r;
}
