/* kanbanctl init: roots and boards. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "kit/tasks.h"
#include "util/fs.h"

/* ---- init ---------------------------------------------------------------------------- */

START_TEST(init_root)
{
	char deep[300];
	json_t *j;

	(void)snprintf(deep, sizeof(deep), "%s/a/b/c//", world_root);
	j = parsed(0, "init", deep);
	ck_assert(json_is_true(json_object_get(j, "created")));
	ck_assert_str_eq(world_text(j, "journal_mode"), "delete");
	ck_assert_str_eq(world_text(j, "db"), world_path("a/b/c/kanban.db"));
	json_decref(j);
	ck_assert_str_eq(world_sql("a/b/c/kanban.db", "PRAGMA integrity_check"), "ok");
	ck_assert(fs_is_dir(world_path("a/b/c/kanban/logs")));
	ck_assert(fs_is_dir(world_path("a/b/c/kanban/workspaces")));
	ck_assert(fs_is_dir(world_path("a/b/c/kanban/boards/default")));
	(void)ok("--root", deep, "add", "x");
	/* again: nothing changes */
	j = parsed(0, "init", deep);
	ck_assert(json_is_false(json_object_get(j, "created")));
	json_decref(j);
	ck_assert_str_eq(world_sql("a/b/c/kanban.db", "SELECT COUNT(*) FROM tasks"), "1");
}
END_TEST

START_TEST(init_board)
{
	CLEANUP(freep) char *text = NULL;
	json_t *meta;

	(void)ok("--board", "my-first_board", "init");
	ck_assert_int_eq(fs_read_file(world_path("kanban/boards/my-first_board/board.json"),
				      4096, &text, NULL),
			 0);
	meta = json_loads(text, 0, NULL);
	ck_assert_str_eq(world_text(meta, "slug"), "my-first_board");
	ck_assert_str_eq(world_text(meta, "name"), "My First Board");
	ck_assert(json_is_false(json_object_get(meta, "archived")));
	ck_assert(json_is_null(json_object_get(meta, "default_workdir")));
	ck_assert_uint_eq(json_object_size(meta), 9);
	json_decref(meta);
	ck_assert(fs_is_dir(world_path("kanban/boards/my-first_board/logs")));
	ck_assert_int_ne(access(world_path("kanban.db"), F_OK), 0);
	(void)ok("--board", "my-first_board", "add", "x");
	ck_assert_str_eq(world_sql("kanban/boards/my-first_board/kanban.db",
				   "SELECT COUNT(*) FROM tasks"),
			 "1");
}
END_TEST

START_TEST(init_leaves_alone)
{
	unsigned long long before;

	/* not a database: not ours */
	world_put("kanban.db", "something", 9);
	world_with_root();
	before = world_sum();
	world_with_root();
	ck_assert_uint_eq(world_sum(), before);
	/* an empty file is a fresh board */
	world_put("kanban/boards/b/kanban.db", "", 0);
	(void)ok("--board", "b", "init");
	(void)ok("--board", "b", "add", "x");
	/* a journal beside nothing: the board has lost its file */
	world_put("kanban/boards/c/kanban.db-wal", "frames", 6);
	fails(1, "lost its file", "--board", "c", "init");
	ck_assert_int_ne(access(world_path("kanban/boards/c/kanban.db"), F_OK), 0);
}
END_TEST

START_TEST(init_errors)
{
	world_put("file", "x", 1);
	fails(64, "two roots", "--root", "/a", "init", "/b");
	fails(64, "board name", "--board", "No", "init");
	fails(74, "cannot make the folder", "init", world_path("file/root"));
	fails(74, "cannot make the folder", "init", world_path("file"));
}
END_TEST

START_TEST(init_lock_is_respected)
{
	int fd;

	world_put("kanban.db.init.lock", "", 0);
	fd = open(world_path("kanban.db.init.lock"), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	world_env("HERMES_KANBAN_BUSY_TIMEOUT_MS=200"); /* else it waits for 10 s */
	fails(75, "try again", "init");
	ck_assert_int_ne(access(world_path("kanban.db"), F_OK), 0);
	close(fd);
	world_with_root();
}
END_TEST

START_TEST(init_many_at_once)
{
	struct world_child c[6];
	int made = 0;

	for (size_t i = 0; i < 6; i++)
		c[i] = world_start((const char *const[]){ "init", NULL });
	for (size_t i = 0; i < 6; i++) {
		const struct ctl_result *r = world_wait(c[i]);

		ck_assert_msg(r->exit == 0, "%s", r->err);
		made += strncmp(r->out, "made", 4) == 0;
	}
	ck_assert_int_eq(made, 1);
	ck_assert_str_eq(world_sql("kanban.db", "PRAGMA integrity_check"), "ok");
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = {
		init_root,
		init_board,
		init_leaves_alone,
		init_errors,
		init_lock_is_respected,
		init_many_at_once,
	};

	return SUITE_EACH("ctl_init", 120, world_setup, world_teardown, tests);
}
