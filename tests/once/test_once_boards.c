/*
 * One sweep and which boards it finds: names, archived ones, one database under two names,
 * boards of older releases, boards that are none.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"
#define T "t_00000001"

static void board_with_task(const char *slug)
{
	rig_board(slug, 0);
	rig_add(slug, .id = rig_printf("t_%s", slug));
}

static char *slugs(const struct rig_out *out)
{
	json_t *boards = json_object_get(json_array_get(json_object_get(out->json, "roots"), 0),
					 "boards");
	char *text = rig_printf("%s", "");
	json_t *board;
	size_t i;

	json_array_foreach(boards, i, board) text =
		rig_printf("%s%s%s", text, i ? "," : "",
			   json_string_value(json_object_get(board, "slug")));
	return text;
}

static const char *state(const struct rig_out *out, const char *slug)
{
	json_t *board = rig_of(out, slug);

	ck_assert_msg(board != NULL, "no board %s in %s", slug, out->text);
	return json_string_value(json_object_get(board, "state"));
}

static size_t spawned(const struct rig_out *out, const char *slug)
{
	return json_array_size(json_object_get(rig_of(out, slug), "spawned"));
}

/* ---- discovery ------------------------------------------------------------------------- */

START_TEST(test_boards_are_found_in_order)
{
	struct rig_out *out;

	board_with_task("zoo");
	board_with_task("a1-b_c");
	board_with_task(B);
	board_with_task("0");
	out = rig_once();
	ck_assert_str_eq(slugs(out), "default,0,a1-b_c,zoo");
	ck_assert_int_eq(spawned(out, "zoo") + spawned(out, "0") + spawned(out, "a1-b_c") +
				 spawned(out, B),
			 4);
	rig_json_is(
		json_object_get(json_array_get(json_object_get(out->json, "roots"), 0), "root"),
		rig_printf("\"%s\"", rig.root), "root");
}
END_TEST

START_TEST(test_other_names_are_ignored)
{
	static const char *const names[] = { "Foo", "Not_A_Slug!", "_archived",
					     "-x",  ".hidden",     "a b" };
	char *before;

	board_with_task(B);
	(void)rig_once(); /* what a sweep makes for itself is there now */
	for (int i = 0; i < 6; i++) {
		rig_board(names[i], 0);
		rig_add(names[i], .id = T);
	}
	rig_mkdir("root/kanban/boards/empty");
	rig_write("root/kanban/boards/a-file", "");
	before = rig_fingerprint("root/kanban/boards");
	ck_assert_str_eq(slugs(rig_once()), "default");
	ck_assert_str_eq(rig_fingerprint("root/kanban/boards"), before);
}
END_TEST

START_TEST(test_a_name_has_at_most_64_characters)
{
	char name[66];

	memset(name, 'a', 65);
	name[65] = '\0';
	board_with_task(name);
	name[64] = '\0';
	board_with_task(name);
	ck_assert_str_eq(slugs(rig_once()), rig_printf("default,%s", name));
}
END_TEST

START_TEST(test_archived_boards_rest)
{
	struct rig_out *out;
	char *before;

	board_with_task("garden");
	board_with_task(B);
	rig_write("root/kanban/boards/garden/board.json", "{\"archived\": true}");
	rig_write("root/kanban/boards/default/board.json", "{\"archived\": true}");
	before = rig_dump("garden");
	out = rig_once();
	ck_assert_str_eq(rig_dump("garden"), before);
	/* The default board is dispatched whatever it says. */
	ck_assert_int_eq(spawned(out, B), 1);
	if (rig_of(out, "garden"))
		ck_assert_str_eq(state(out, "garden"), "archived");
}
END_TEST

START_TEST(test_malformed_board_json_is_no_error)
{
	static const char *const texts[] = {
		"", "{", "[1]", "\"archived\"", "null", "\xff\xfe", "{\"archived\": false}"
	};
	struct rig_out *out;

	for (int i = 0; i < 7; i++) {
		char *slug = rig_printf("b%d", i);

		board_with_task(slug);
		rig_write(rig_printf("root/kanban/boards/%s/board.json", slug), texts[i]);
	}
	out = rig_once();
	for (int i = 0; i < 7; i++)
		ck_assert_msg(spawned(out, rig_printf("b%d", i)) == 1, "board.json %s",
			      texts[i]);
}
END_TEST

/* ---- missing --------------------------------------------------------------------------- */

START_TEST(test_no_default_database)
{
	struct rig_out *out;

	board_with_task("garden");
	out = rig_once();
	ck_assert(!rig_exists("root/kanban.db"));
	ck_assert_int_eq(spawned(out, "garden"), 1);
	ck_assert_str_eq(state(out, B), "missing");
	rig_json_is(json_object_get(rig_of(out, B), "error"), "null", "error");
	ck_assert_str_eq(out->err, "");
}
END_TEST

START_TEST(test_board_json_without_database)
{
	struct rig_out *out;

	rig_write("root/kanban/boards/garden/board.json", "{\"slug\": \"garden\"}");
	out = rig_once();
	ck_assert_str_eq(state(out, "garden"), "missing");
	ck_assert(!rig_exists("root/kanban/boards/garden/kanban.db"));
	rig_json_is(json_object_get(rig_of(out, "garden"), "error"), "null", "error");
}
END_TEST

START_TEST(test_empty_file_is_a_fresh_board)
{
	struct rig_out *out;
	struct stat st;

	rig_write("root/kanban.db", "");
	out = rig_once();
	rig_json_is(json_object_get(rig_of(out, B), "error"), "null", "error");
	ck_assert_int_eq(stat(rig_db(B), &st), 0);
	ck_assert_int_eq(st.st_size, 0);
}
END_TEST

START_TEST(test_empty_root)
{
	struct rig_out *out;

	rig_shell("rm -rf root && mkdir root");
	out = rig_once();
	ck_assert_str_eq(slugs(out), "default");
	ck_assert(!rig_exists("root/kanban.db"));
}
END_TEST

/* ---- one database, two names ----------------------------------------------------------- */

START_TEST(test_pinned_task_starts_once)
{
	struct rig_out *out;
	json_t *board;
	size_t total = 0, i;

	board_with_task("garden");
	rig_board("zoo", 0);
	rig_add("zoo", .id = T);
	rig_env("HERMES_KANBAN_DB", rig_db("zoo"));
	out = rig_once();
	json_array_foreach(
		json_object_get(json_array_get(json_object_get(out->json, "roots"), 0),
				"boards"),
		i, board) total += json_array_size(json_object_get(board, "spawned"));
	ck_assert_int_eq(total, 1);
	ck_sql("zoo", "1", "SELECT count(*) FROM task_runs");
	ck_sql("garden", "0", "SELECT count(*) FROM task_runs");
	ck_assert_str_eq(rig_var(T, "HERMES_KANBAN_DB"), rig_db("zoo"));
}
END_TEST

START_TEST(test_linked_folder_is_swept_once)
{
	struct rig_out *out;

	board_with_task("garden");
	rig_shell("ln -s garden root/kanban/boards/yard && mkdir root/kanban/boards/zoo && ln "
		  "-s ../garden/kanban.db root/kanban/boards/zoo/kanban.db");
	out = rig_once();
	ck_assert_int_eq(spawned(out, "garden"), 1);
	ck_assert_int_eq(spawned(out, "yard") + spawned(out, "zoo"), 0);
	ck_sql("garden", "1", "SELECT count(*) FROM task_runs");
}
END_TEST

/* ---- one board only -------------------------------------------------------------------- */

START_TEST(test_one_board)
{
	struct rig_out *out;

	board_with_task("garden");
	board_with_task("zoo");
	out = rig_once("--board", "garden");
	ck_assert_int_eq(spawned(out, "garden"), 1);
	ck_sql("zoo", "ready", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_one_board_that_is_not_there)
{
	struct rig_out *out = rig_kanband("--config", rig_path("kanband.conf"), "--root",
					  rig.root, "--once", "--board", "nowhere");

	ck_assert_int_eq(out->status, 66);
	ck_assert_ptr_nonnull(strstr(out->err, "nowhere"));
}
END_TEST

START_TEST(test_paused_board_rests)
{
	struct rig_out *out;

	board_with_task("garden");
	board_with_task("zoo");
	rig_write("kanband.conf", "[board garden]\npaused = yes\n");
	out = rig_once();
	ck_assert_int_eq(spawned(out, "zoo"), 1);
	ck_sql("garden", "ready", "SELECT status FROM tasks");
	if (rig_of(out, "garden"))
		ck_assert_str_eq(state(out, "garden"), "paused");
}
END_TEST

/* ---- older and newer boards ------------------------------------------------------------ */

static char *schema(const char *slug)
{
	return rig_list(slug,
			"SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2");
}

START_TEST(test_first_release)
{
	json_t *board;
	char *before;

	rig_board(B, RIG_LEGACY);
	before = schema(B);
	rig_add(B, .id = "t_00000001");
	rig_add(B, .id = "t_00000002", .workspace_kind = "dir", .workspace_path = "x");
	rig_add(B, .id = "t_00000003", .workspace_kind = "dir", .workspace_path = "x",
		.failures = 1);
	rig_add(B, .id = "t_00000004", .status = "blocked", .failures = 1);
	rig_add(B, .id = "t_00000005", .status = "blocked", .failures = 2);
	rig_add(B, .id = "t_00000006", .last_failure_error = "quota exceeded");
	(void)rig_running(B, .id = "t_00000007", .pid = rig_dead_pid());
	(void)rig_running(B, .id = "t_00000008", .pid = rig_dead_pid(), .expires_in = -50);
	board = rig_tick(B);
	ck_spawned(board, "t_00000001,t_00000004");
	ck_ids(board, "crashed", "t_00000007");
	ck_ids(board, "auto_blocked", "t_00000003");
	ck_ids(board, "respawn_guarded", "t_00000006");
	ck_count(board, "reclaimed", 1);
	ck_count(board, "promoted", 1);
	ck_sql(B, "running|0,ready|1,blocked|2,running|1,blocked|2,ready|0,ready|1,ready|0",
	       "SELECT status, spawn_failures FROM tasks ORDER BY id");
	ck_sql(B, "1",
	       "SELECT count(*) FROM tasks WHERE id='t_00000002' AND last_spawn_error GLOB "
	       "'workspace: *'");
	ck_assert_str_eq(rig_argv("t_00000001"),
			 "-p jimmy --cli --accept-hooks chat -q work kanban task t_00000001");
	ck_assert_str_eq(schema(B), before);
	rig_invariant(B);
}
END_TEST

START_TEST(test_august)
{
	char *before;

	rig_board(B, RIG_AUGUST);
	before = schema(B);
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), T);
	ck_assert_str_eq(schema(B), before);
}
END_TEST

START_TEST(test_a_later_release)
{
	rig_board(B, 0);
	rig_sql(B, "ALTER TABLE tasks ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';"
		   "ALTER TABLE task_runs ADD COLUMN cost REAL;"
		   "ALTER TABLE task_events ADD COLUMN actor TEXT;"
		   "CREATE TABLE moods (mood TEXT);"
		   "DROP INDEX idx_tasks_assignee_status");
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), T);
	ck_sql(B, "running|calm", "SELECT status, mood FROM tasks");
}
END_TEST

START_TEST(test_no_subscriptions_table)
{
	rig_board(B, 0);
	rig_sql(B, "DROP TABLE kanban_notify_subs; DROP TABLE task_attachments");
	rig_add(B, .id = T);
	ck_spawned(rig_tick(B), T);
}
END_TEST

/* A board that lacks a table is named, left as it is, and the others go on. */
static void check_schema(const char *drop)
{
	struct rig_out *out;
	char *before;

	board_with_task(B);
	board_with_task("garden");
	rig_sql("garden", "%s", drop);
	before = rig_list("garden", "SELECT * FROM sqlite_master");
	rig.any_status = true;
	out = rig_once();
	ck_assert_str_eq(state(out, "garden"), "schema");
	ck_assert(json_is_string(json_object_get(rig_of(out, "garden"), "error")));
	ck_assert_int_eq(spawned(out, B), 1);
	ck_assert_str_eq(rig_list("garden", "SELECT * FROM sqlite_master"), before);
	ck_assert_ptr_nonnull(strstr(out->err, "garden"));
}

START_TEST(test_without_runs)
{
	check_schema("DROP TABLE task_runs");
	ck_sql("garden", "ready", "SELECT status FROM tasks");
}
END_TEST

START_TEST(test_without_events)
{
	check_schema("DROP TABLE task_events");
}
END_TEST

START_TEST(test_without_tasks)
{
	check_schema("DROP TABLE tasks");
}
END_TEST

/* ---- journal mode ---------------------------------------------------------------------- */

START_TEST(test_journal_mode_stays)
{
	rig_board("garden", RIG_WAL);
	rig_add("garden", .id = "t_00000001");
	rig_board("zoo", 0);
	rig_add("zoo", .id = "t_00000002");
	(void)rig_once();
	ck_sql("garden", "wal", "PRAGMA journal_mode");
	ck_sql("zoo", "delete", "PRAGMA journal_mode");
	ck_assert(!rig_exists("root/kanban/boards/zoo/kanban.db-wal"));
	ck_sql("garden", "running", "SELECT status FROM tasks");
}
END_TEST

/* ---- in use ---------------------------------------------------------------------------- */

/* Somebody else writes and does not come to an end: this board is passed over, unharmed. */
START_TEST(test_a_board_that_stays_locked)
{
	struct rig_out *out;

	rig_env("HERMES_KANBAN_BUSY_TIMEOUT_MS", "100");
	board_with_task(B);
	board_with_task("garden");
	rig_writer("garden", "BEGIN IMMEDIATE; UPDATE tasks SET title='mine'", false);
	rig.any_status = true;
	out = rig_once();
	ck_assert_int_eq(spawned(out, B), 1);
	ck_assert_int_eq(spawned(out, "garden"), 0);
	ck_assert(json_is_string(json_object_get(rig_of(out, "garden"), "error")));
	ck_sql("garden", "ready|title of t_garden", "SELECT status, title FROM tasks");
	ck_assert(!rig_exists("root/kanban/boards/garden/kanban.db.health.json") ||
		  !strstr(rig_read("root/kanban/boards/garden/kanban.db.health.json"),
			  "quarantined"));
}
END_TEST

/* A reader in the middle of its work is in nobody's way in WAL mode. */
START_TEST(test_a_board_that_is_being_read)
{
	rig_board("garden", RIG_WAL);
	rig_add("garden", .id = "t_garden");
	rig_writer("garden", "BEGIN; SELECT count(*) FROM tasks", false);
	ck_spawned(rig_tick("garden"), "t_garden");
	ck_sql("garden", "running", "SELECT status FROM tasks");
}
END_TEST

/* ---- damaged --------------------------------------------------------------------------- */

static void check_damaged(const char *how)
{
	struct rig_out *out;
	char *before;
	unsigned lines = 0;

	board_with_task(B);
	board_with_task("garden");
	board_with_task("zoo");
	rig_shell("cd root/kanban/boards/garden && %s", how);
	before = rig_fingerprint("root/kanban/boards/garden/kanban.db");
	rig.any_status = true;
	out = rig_once();
	ck_assert_int_eq(spawned(out, B) + spawned(out, "zoo"), 2);
	ck_assert_int_eq(spawned(out, "garden"), 0);
	ck_assert_str_ne(state(out, "garden"), "healthy");
	ck_assert(json_is_string(json_object_get(rig_of(out, "garden"), "error")));
	ck_assert_str_eq(rig_fingerprint("root/kanban/boards/garden/kanban.db"), before);
	for (char *at = out->err; (at = strstr(at, "garden")) != NULL; at++) {
		lines++;
		at = strchr(at, '\n');
		if (!at)
			break;
	}
	ck_assert_msg(lines == 1, "%u lines about the board:\n%s", lines, out->err);
}

START_TEST(test_not_a_database)
{
	check_damaged("echo 'this is a text, and long enough to be one' > kanban.db");
}
END_TEST

START_TEST(test_truncated)
{
	check_damaged("truncate -s 5000 kanban.db");
}
END_TEST

START_TEST(test_overwritten_page)
{
	check_damaged("dd if=/dev/urandom of=kanban.db bs=4096 seek=1 count=3 conv=notrunc "
		      "status=none");
}
END_TEST

START_TEST(test_a_folder_for_a_database)
{
	struct rig_out *out;

	board_with_task(B);
	rig_mkdir("root/kanban/boards/garden/kanban.db");
	rig.any_status = true;
	out = rig_once();
	ck_assert_int_eq(spawned(out, B), 1);
}
END_TEST

START_TEST(test_a_pipe_for_a_database)
{
	struct rig_out *out;

	board_with_task(B);
	rig_mkdir("root/kanban/boards/garden");
	rig_shell("mkfifo root/kanban/boards/garden/kanban.db "
		  "root/kanban/boards/garden/board.json");
	rig.any_status = true;
	out = rig_once();
	ck_assert_int_eq(spawned(out, B), 1);
}
END_TEST

Suite *test_suite(void)
{
	TCase *find = rig_tcase("discovery", 30);
	TCase *missing = rig_tcase("missing", 30);
	TCase *twice = rig_tcase("two names", 30);
	TCase *one = rig_tcase("one board", 30);
	TCase *shape = rig_tcase("other releases", 30);
	TCase *busy = rig_tcase("in use", 30);
	TCase *damaged = rig_tcase("damaged", 30);

	tcase_add_test(find, test_boards_are_found_in_order);
	tcase_add_test(find, test_other_names_are_ignored);
	tcase_add_test(find, test_a_name_has_at_most_64_characters);
	tcase_add_test(find, test_archived_boards_rest);
	tcase_add_test(find, test_malformed_board_json_is_no_error);
	tcase_add_test(missing, test_no_default_database);
	tcase_add_test(missing, test_board_json_without_database);
	tcase_add_test(missing, test_empty_file_is_a_fresh_board);
	tcase_add_test(missing, test_empty_root);
	tcase_add_test(twice, test_pinned_task_starts_once);
	tcase_add_test(twice, test_linked_folder_is_swept_once);
	tcase_add_test(one, test_one_board);
	tcase_add_test(one, test_one_board_that_is_not_there);
	tcase_add_test(one, test_paused_board_rests);
	tcase_add_test(shape, test_first_release);
	tcase_add_test(shape, test_august);
	tcase_add_test(shape, test_a_later_release);
	tcase_add_test(shape, test_no_subscriptions_table);
	tcase_add_test(shape, test_without_runs);
	tcase_add_test(shape, test_without_events);
	tcase_add_test(shape, test_without_tasks);
	tcase_add_test(shape, test_journal_mode_stays);
	tcase_add_test(busy, test_a_board_that_stays_locked);
	tcase_add_test(busy, test_a_board_that_is_being_read);
	tcase_add_test(damaged, test_not_a_database);
	tcase_add_test(damaged, test_truncated);
	tcase_add_test(damaged, test_overwritten_page);
	tcase_add_test(damaged, test_a_folder_for_a_database);
	tcase_add_test(damaged, test_a_pipe_for_a_database);
	return rig_suite("once: boards", find, missing, twice, one, shape, busy, damaged, NULL);
}
