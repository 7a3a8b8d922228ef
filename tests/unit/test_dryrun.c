/* Copies for a dry run: complete, private, removed at the end; the board is not touched. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/dryrun.h"
#include "kit/board.h"

static struct dryrun *dry;

static struct board_place place_of_board(bool exists)
{
	struct board_place place = { .db_path = strdup(kit.path), .db_exists = exists };

	ck_assert_ptr_nonnull(place.db_path);
	return place;
}

static void begin(void)
{
	ck_assert_int_eq(setenv("TMPDIR", kit.dir, 1), 0);
	ck_assert_int_eq(dryrun_new(&dry, &kit.e), 0);
}

START_TEST(copies_all_parts)
{
	struct board_place place = place_of_board(true);
	struct stat st;
	sqlite3 *o = NULL, *copy = NULL;
	char *from = kit_printf("%s", kit.path);

	begin();
	kit_board(KIT_WAL);
	ck_assert_int_eq(sqlite3_open(kit.path, &o), SQLITE_OK);
	ck_assert_int_eq(
		sqlite3_exec(o,
			     "PRAGMA wal_autocheckpoint = 0; INSERT INTO tasks (id,"
			     " title, status, created_at) VALUES ('t', 'x', 'done', 1)",
			     NULL, NULL, NULL),
		SQLITE_OK);
	ck_assert_int_eq(dryrun_redirect(dry, &place, &kit.e), 0);
	ck_assert_str_ne(place.db_path, from);
	ck_assert_int_eq(stat(place.db_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	/* what is only in the -wal came along */
	ck_assert_int_eq(sqlite3_open(place.db_path, &copy), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(copy, "UPDATE tasks SET title = 'changed' WHERE id = 't'",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_changes(copy), 1);
	ck_assert_int_eq(sqlite3_close(copy), SQLITE_OK);
	ck_list("x", "SELECT title FROM tasks");
	ck_assert_int_eq(sqlite3_close(o), SQLITE_OK);
	board_place_deinit(&place);
	dry = dryrun_free(dry);
	ck_assert_int_eq(
		system(kit_printf("[ -z \"$(ls -d %s/kanband-dry-run.* 2>/dev/null)\" ]",
				  kit.dir)),
		0);
}
END_TEST

START_TEST(no_file_no_copy)
{
	struct board_place place = place_of_board(false);

	begin();
	ck_assert_int_eq(dryrun_redirect(dry, &place, &kit.e), 0);
	ck_assert_str_eq(place.db_path, kit.path);
	place.db_exists = true; /* it was there a moment ago */
	ck_assert_int_eq(dryrun_redirect(dry, &place, &kit.e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(kit.e.text, kit.path));
	ck_assert_str_eq(place.db_path, kit.path);
	board_place_deinit(&place);
	dry = dryrun_free(dry);
	ck_assert_ptr_null(dryrun_free(NULL));
}
END_TEST

START_TEST(many_boards_have_names_of_their_own)
{
	struct board_place a = place_of_board(true), b = place_of_board(true);

	begin();
	kit_board(0);
	ck_assert_int_eq(dryrun_redirect(dry, &a, &kit.e), 0);
	ck_assert_int_eq(dryrun_redirect(dry, &b, &kit.e), 0);
	ck_assert_str_ne(a.db_path, b.db_path);
	board_place_deinit(&a);
	board_place_deinit(&b);
	dry = dryrun_free(dry);
}
END_TEST

START_TEST(nowhere_to_copy_to)
{
	ck_assert_int_eq(setenv("TMPDIR", "/no/such/folder", 1), 0);
	ck_assert_int_eq(dryrun_new(&dry, &kit.e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "TMPDIR"));
}
END_TEST

KIT_SUITE("dryrun", copies_all_parts, no_file_no_copy, many_boards_have_names_of_their_own,
	  nowhere_to_copy_to)
