/* Copies for a dry run: complete, private, removed at the end; the board is not touched. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/dryrun.h"
#include "kit/board.h"
#include "kit/files.h"

static struct dryrun *dry;
static struct config *config;

static struct board_place place_of_board(bool exists)
{
	struct board_place place = { .db_path = strdup(kit.path), .db_exists = exists };

	ck_assert_ptr_nonnull(place.db_path);
	return place;
}

/* With @text for kanband.conf */
static void begin_with(const char *text)
{
	const struct config_cli cli = { .file = kit_printf("%s/kanband.conf", kit.dir) };

	char *const env[] = { kit_printf("HERMES_KANBAN_HOME=%s", kit.dir), NULL };

	files_write(cli.file, text);
	ck_assert_msg(config_load(&config, &cli, env, &kit.e) == 0, "%s", kit.e.text);
	ck_assert_int_eq(setenv("TMPDIR", kit.dir, 1), 0);
	ck_assert_int_eq(dryrun_new(&dry, config, &kit.e), 0);
}

static void begin(void)
{
	begin_with("");
}

static void end(void)
{
	dry = dryrun_free(dry);
	config_freep(&config);
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
	ck_assert_int_eq(dryrun_redirect(dry, kit.dir, &place, &kit.e), 0);
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
	end();
	ck_assert_int_eq(
		system(kit_printf("[ -z \"$(ls -d %s/kanband-dry-run.* 2>/dev/null)\" ]",
				  kit.dir)),
		0);
}
END_TEST

/* The others are worked on; nothing is made beside this one. */
static void refuses(struct board_place *place, const char *why)
{
	ck_assert_int_eq(dryrun_redirect(dry, kit.dir, place, &kit.e), 0);
	ck_assert_ptr_nonnull(place->refused);
	ck_assert_ptr_nonnull(strstr(place->refused, kit.path));
	ck_assert_msg(strstr(place->refused, why) != NULL, "%s", place->refused);
	ck_assert_str_ne(place->db_path, kit.path);
	ck_assert_int_eq(access(place->db_path, F_OK), -1);
}

START_TEST(no_file_no_copy)
{
	struct board_place place = place_of_board(false);

	begin();
	ck_assert_int_eq(dryrun_redirect(dry, kit.dir, &place, &kit.e), 0);
	ck_assert_str_eq(place.db_path, kit.path);
	place.db_exists = true; /* it was there a moment ago */
	refuses(&place, "No such file");
	board_place_deinit(&place);
	end();
	ck_assert_ptr_null(dryrun_free(NULL));
}
END_TEST

START_TEST(many_boards_have_names_of_their_own)
{
	struct board_place a = place_of_board(true), b = place_of_board(true);

	begin();
	kit_board(0);
	ck_assert_int_eq(dryrun_redirect(dry, kit.dir, &a, &kit.e), 0);
	ck_assert_int_eq(dryrun_redirect(dry, kit.dir, &b, &kit.e), 0);
	ck_assert_str_ne(a.db_path, b.db_path);
	board_place_deinit(&a);
	board_place_deinit(&b);
	end();
}
END_TEST

START_TEST(nowhere_to_copy_to)
{
	ck_assert_int_eq(setenv("TMPDIR", "/no/such/folder", 1), 0);
	ck_assert_int_eq(dryrun_new(&dry, NULL, &kit.e), -ENOENT);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "TMPDIR"));
}
END_TEST

START_TEST(what_is_no_file)
{
	struct board_place folder = place_of_board(true), pipe = place_of_board(true);

	begin();
	ck_assert_int_eq(mkdir(kit.path, 0700), 0);
	refuses(&folder, "is not a regular file");
	ck_assert_int_eq(rmdir(kit.path), 0);
	ck_assert_int_eq(mkfifo(kit.path, 0600), 0);
	refuses(&pipe, "is not a regular file");
	board_place_deinit(&folder);
	board_place_deinit(&pipe);
	end();
}
END_TEST

/* A board has its own limit, as in the configuration. */
START_TEST(larger_than_that)
{
	struct board_place place = place_of_board(true), other = place_of_board(true);

	begin_with("[board big]\nmax_evidence_bytes = 1M\n");
	kit_board(0);
	ck_assert_int_eq(truncate(kit.path, 4 << 20), 0);
	strcpy(place.slug, "big");
	strcpy(other.slug, "other");
	refuses(&place, "max_evidence_bytes");
	ck_assert_int_eq(dryrun_redirect(dry, kit.dir, &other, &kit.e), 0);
	ck_assert_ptr_null(other.refused);
	ck_assert_int_eq(access(other.db_path, F_OK), 0);
	board_place_deinit(&place);
	board_place_deinit(&other);
	end();
}
END_TEST

KIT_SUITE("dryrun", copies_all_parts, no_file_no_copy, what_is_no_file, larger_than_that,
	  many_boards_have_names_of_their_own, nowhere_to_copy_to)
