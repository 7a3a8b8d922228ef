/*
 * A board in a folder of its own, for the tests of what is written on boards. All of it is
 * static: one copy per test program, no names for the others.
 */
#pragma once

#include <check.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/edit.h"
#include "db/db.h"

#define NOW INT64_C(1800000000)

#define MAYBE static __attribute__((unused))

static char edit_folder[256]; /* the folder */
static char edit_path[300];   /* the board's file */
static struct db *db;         /* open on it */
MAYBE struct error err;       /* of the last call */
MAYBE struct edit_done done;  /* of the last edit */
MAYBE char id[EDIT_ID_SIZE];  /* of the last task added */

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

/* one more connection to edit_path */
MAYBE struct db *open_board(void)
{
	const struct db_options opt = { .path = edit_path, .busy_timeout_ms = 5000 };
	struct db *out = NULL;

	ck_assert_msg(db_open(&out, &opt, &err) == 0, "%s", err.text);
	return out;
}

MAYBE void edit_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(edit_folder, sizeof(edit_folder), "%s/kb-edit-XXXXXX",
		       tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(edit_folder));
	(void)snprintf(edit_path, sizeof(edit_path), "%s/kanban.db", edit_folder);
	ck_assert_msg(edit_create_board(edit_path, false, &err) == 0, "%s", err.text);
	db = open_board();
}

MAYBE void edit_teardown(void)
{
	db = db_free(db);
	ck_assert_int_eq(nftw(edit_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

MAYBE void sql(const char *text)
{
	char *message = NULL;

	sqlite3_exec(db_handle(db), text, NULL, NULL, &message);
	ck_assert_msg(!message, "%s: %s", text, message);
}

MAYBE const char *rows(const char *text)
{
	static char out[8192];
	sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	int rc;

	ck_assert_msg(sqlite3_prepare_v2(db_handle(db), text, -1, &stmt, NULL) == SQLITE_OK,
		      "%s: %s", text, sqlite3_errmsg(db_handle(db)));
	out[0] = '\0';
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(stmt); i++) {
			const char *value = (const char *)sqlite3_column_text(stmt, i);

			n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%s",
					      i   ? "|"
					      : n ? "\n"
						  : "",
					      value ? value : "-");
			ck_assert_uint_lt(n, sizeof(out));
		}
	ck_assert_int_eq(rc, SQLITE_DONE);
	ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
	return out;
}

/* the rows of a query are a must */
MAYBE void same(const char *text, const char *want)
{
	ck_assert_str_eq(rows(text), want);
}

MAYBE void add(const struct edit_task *t)
{
	bool made = false;

	ck_assert_msg(edit_add(db, t, NOW, id, &made, &done, &err) == 0, "%s", err.text);
	ck_assert(made);
}
