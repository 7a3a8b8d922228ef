#include "edit.h"

#include <check.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char edit_folder[256];
char edit_path[300];
struct db *db;
struct error refusal;
struct edit_done done;
char id[EDIT_ID_SIZE];
static bool edit_august;

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

struct db *open_board(void)
{
	const struct db_options opt = { .path = edit_path, .busy_timeout_ms = 5000 };
	struct db *out = NULL;

	ck_assert_msg(db_open(&out, &opt, &refusal) == 0, "%s", refusal.text);
	return out;
}

static void edit_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(edit_folder, sizeof(edit_folder), "%s/kb-edit-XXXXXX",
		       tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(edit_folder));
	(void)snprintf(edit_path, sizeof(edit_path), "%s/kanban.db", edit_folder);
	ck_assert_msg(edit_create_board(edit_path, false, &refusal) == 0, "%s", refusal.text);
	db = open_board();
}

static void edit_teardown(void)
{
	db = db_free(db);
	ck_assert_int_eq(nftw(edit_folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void sql(const char *text)
{
	char *message = NULL;

	sqlite3_exec(db_handle(db), text, NULL, NULL, &message);
	ck_assert_msg(!message, "%s: %s", text, message);
}

static void edit_setup_august(void)
{
	edit_setup();
	edit_august = true;
	sql("ALTER TABLE tasks DROP COLUMN worker_started_at;"
	    "ALTER TABLE tasks DROP COLUMN completion_contract;"
	    "ALTER TABLE task_runs DROP COLUMN worker_started_at");
	db = db_free(db);
	db = open_board();
}

const char *edit_by_age(const char *newer, const char *august)
{
	return edit_august ? august : newer;
}

static void edit_suite_add(Suite *s, const TTest *test, SFun setup)
{
	TCase *tc = tcase_create(setup == edit_setup_august ? "august" : test->name);

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, edit_teardown);
	tcase_add_test(tc, test);
	suite_add_tcase(s, tc);
}

Suite *edit_suite(const char *name, const TTest *const *both, size_t n,
		  const TTest *const *newer, size_t n_newer)
{
	Suite *s = suite_create(name);

	for (size_t i = 0; i < n; i++) {
		edit_suite_add(s, both[i], edit_setup);
		edit_suite_add(s, both[i], edit_setup_august);
	}
	for (size_t i = 0; i < n_newer; i++)
		edit_suite_add(s, newer[i], edit_setup);
	return s;
}

const char *rows(const char *text)
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

void same(const char *text, const char *want)
{
	ck_assert_str_eq(rows(text), want);
}

void add(const struct edit_task *t)
{
	bool made = false;

	ck_assert_msg(edit_add(db, t, NOW, id, &made, &done, &refusal) == 0, "%s",
		      refusal.text);
	ck_assert(made);
}
