#include "rows.h"

#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096

const char rows_first_release[] =
	"ALTER TABLE tasks RENAME COLUMN consecutive_failures TO spawn_failures;"
	"ALTER TABLE tasks RENAME COLUMN last_failure_error TO last_spawn_error;"
	"DROP INDEX idx_tasks_session_id;"
	"ALTER TABLE tasks DROP COLUMN branch_name;"
	"ALTER TABLE tasks DROP COLUMN project_id;"
	"ALTER TABLE tasks DROP COLUMN model_override;"
	"ALTER TABLE tasks DROP COLUMN provider_override;"
	"ALTER TABLE tasks DROP COLUMN reasoning_effort;"
	"ALTER TABLE tasks DROP COLUMN max_retries;"
	"ALTER TABLE tasks DROP COLUMN goal_mode;"
	"ALTER TABLE tasks DROP COLUMN goal_max_turns;"
	"ALTER TABLE tasks DROP COLUMN session_id;"
	"ALTER TABLE tasks DROP COLUMN block_kind;"
	"ALTER TABLE tasks DROP COLUMN block_recurrences;";

const char rows_august[] = "ALTER TABLE tasks DROP COLUMN worker_started_at;"
			   "ALTER TABLE tasks DROP COLUMN completion_contract;"
			   "ALTER TABLE task_runs DROP COLUMN worker_started_at;";

void rows_run(sqlite3 *db, const char *sql)
{
	char *why = NULL;
	const int rc = sqlite3_exec(db, sql, NULL, NULL, &why);

	ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, why ? why : "?");
}

void rows_vrun(sqlite3 *db, const char *fmt, va_list ap)
{
	char *sql = sqlite3_vmprintf(fmt, ap);

	ck_assert_ptr_nonnull(sql);
	rows_run(db, sql);
	sqlite3_free(sql);
}

char *rows_vtext(sqlite3 *db, char between, const char *fmt, va_list ap)
{
	char *sql = sqlite3_vmprintf(fmt, ap), *text = NULL;
	sqlite3_stmt *stmt = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int rc;

	ck_assert_ptr_nonnull(sql);
	ck_assert_ptr_nonnull(out);
	rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
	for (bool first = true; (rc = sqlite3_step(stmt)) == SQLITE_ROW; first = false) {
		if (!first)
			(void)fputc(between, out);
		for (int i = 0; i < sqlite3_column_count(stmt); i++) {
			const char *value = (const char *)sqlite3_column_text(stmt, i);

			(void)fprintf(out, "%s%s", i ? "|" : "", value ? value : "-");
		}
	}
	ck_assert_msg(rc == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
	ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
	ck_assert_int_eq(fclose(out), 0);
	sqlite3_free(sql);
	return text;
}

int64_t rows_vint(sqlite3 *db, const char *fmt, va_list ap)
{
	char *text = rows_vtext(db, ',', fmt, ap);
	int64_t n = *text ? strtoll(text, NULL, 10) : -1;

	free(text);
	return n;
}

static char *rows_text(sqlite3 *db, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = rows_vtext(db, ',', fmt, ap);
	va_end(ap);
	return text;
}

void rows_unindexed(sqlite3 *db, const char *index, const char *sql)
{
	char *row = rows_text(db,
			      "SELECT printf('%%d, %%Q, %%Q', rootpage, tbl_name, sql)"
			      " FROM sqlite_schema WHERE name = %Q",
			      index);
	char *take = sqlite3_mprintf("PRAGMA writable_schema=ON;"
				     "DELETE FROM sqlite_schema WHERE name = %Q",
				     index);
	char *put =
		sqlite3_mprintf("INSERT INTO sqlite_schema(rootpage, tbl_name, sql, type, name)"
				" VALUES(%s, 'index', %Q)",
				row, index);

	ck_assert_str_ne(row, "");
	ck_assert_ptr_nonnull(take);
	ck_assert_ptr_nonnull(put);
	rows_run(db, take);
	rows_run(db, "PRAGMA writable_schema=RESET"); /* the statements are made without it */
	rows_run(db, sql);
	rows_run(db, "PRAGMA writable_schema=ON");
	rows_run(db, put);
	rows_run(db, "PRAGMA writable_schema=RESET");
	sqlite3_free(take);
	sqlite3_free(put);
	free(row);
}

void rows_overwrite(const char *path, int64_t page, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	char rubbish[PAGE];

	memset(rubbish, 0xA5, sizeof(rubbish));
	ck_assert_int_gt(page, 0);
	ck_assert_uint_le(len, sizeof(rubbish));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, rubbish, len, (page - 1) * PAGE), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}
