/* Discovery of boards: names, places, board.json, duplicates, and what is kept between calls.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/suite.h"

#include "board/discover.h"
#include "util/fs.h"

static char root[256];
static struct discovery d;
static struct error err;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(root, sizeof(root), "%s/kb-discover-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	memset(&d, 0, sizeof(d));
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	discovery_deinit(&d);
	ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void put(const char *name, const char *text)
{
	char path[1024], *slash;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	ck_assert_int_eq(fs_mkdir_p(path, 0755), 0);
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(close(fd), 0);
}

static void discover(void)
{
	ck_assert_msg(discover_boards(&d, root, NULL, &err) == 0, "%s", err.text);
}

static const char *in_root(const char *name)
{
	static char path[2][1024]; /* two may be used in one call */
	static int turn;

	turn = !turn;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", root, name);
	return path[turn];
}

static const struct board_place *board(const char *slug)
{
	for (size_t i = 0; i < d.count; i++)
		if (strcmp(d.boards[i].slug, slug) == 0)
			return &d.boards[i];
	return NULL;
}

/* ---- discover_boards ----------------------------------------------------------------- */

START_TEST(empty_root)
{
	discover();
	ck_assert_uint_eq(d.count, 1);
	ck_assert_str_eq(d.boards[0].slug, "default");
	ck_assert(!d.boards[0].db_exists);
	ck_assert(!d.boards[0].archived);
	ck_assert_str_eq(d.boards[0].db_path, in_root("kanban.db"));
	ck_assert_str_eq(d.boards[0].folder, in_root("kanban/boards/default"));
	ck_assert_str_eq(d.boards[0].logs_dir, in_root("kanban/logs"));
	ck_assert_str_eq(d.boards[0].workspaces_dir, in_root("kanban/workspaces"));
	ck_assert_uint_eq(d.n_notes, 0);
	/* nothing was made */
	ck_assert_int_eq(access(in_root("kanban"), F_OK), -1);
}
END_TEST

START_TEST(order_and_names)
{
	put("kanban.db", "x");
	put("kanban/boards/zeta/kanban.db", "x");
	put("kanban/boards/alpha/board.json", "{}");
	put("kanban/boards/0num_-/kanban.db", "x");
	put("kanban/boards/default/board.json", "{\"archived\": true}");
	put("kanban/boards/default/kanban.db", "not the default board's file");
	put("kanban/boards/_archived/kanban.db", "x");
	put("kanban/boards/-dash/kanban.db", "x");
	put("kanban/boards/bad name/kanban.db", "x");
	put("kanban/boards/new\nline/kanban.db", "x");
	put("kanban/boards/nothing/readme", "x");
	put("kanban/boards/afile", "x");
	/* 64 characters are allowed, 65 are not */
	put("kanban/boards/"
	    "b123456789b123456789b123456789b123456789b123456789b123456789b123/kanban.db",
	    "x");
	put("kanban/boards/"
	    "b123456789b123456789b123456789b123456789b123456789b123456789b1234/kanban.db",
	    "x");
	discover();
	ck_assert_uint_eq(d.count, 5);
	ck_assert_str_eq(d.boards[0].slug, "default");
	ck_assert_str_eq(d.boards[1].slug, "0num_-");
	ck_assert_str_eq(d.boards[2].slug, "alpha");
	ck_assert_uint_eq(strlen(d.boards[3].slug), 64);
	ck_assert_str_eq(d.boards[4].slug, "zeta");
	ck_assert(!d.boards[0].archived);
	ck_assert(d.boards[0].db_exists);
	ck_assert_uint_eq(d.boards[0].db.size, 1);
	ck_assert(!d.boards[2].db_exists);
	ck_assert_str_eq(d.boards[4].db_path, in_root("kanban/boards/zeta/kanban.db"));
	ck_assert_str_eq(d.boards[4].folder, in_root("kanban/boards/zeta"));
	ck_assert_str_eq(d.boards[4].logs_dir, in_root("kanban/boards/zeta/logs"));
	ck_assert_str_eq(d.boards[4].workspaces_dir, in_root("kanban/boards/zeta/workspaces"));
	ck_assert_uint_eq(d.n_notes, 0);
}
END_TEST

START_TEST(upper_case_is_told_once)
{
	put("kanban/boards/Foo/kanban.db", "x");
	put("kanban/boards/Bar/readme", "x");
	discover();
	ck_assert_uint_eq(d.count, 1);
	ck_assert_uint_eq(d.n_notes, 1);
	ck_assert_ptr_nonnull(strstr(d.notes[0], "Foo"));
	ck_assert_ptr_nonnull(strstr(d.notes[0], "foo"));
	discover();
	ck_assert_uint_eq(d.n_notes, 0);
}
END_TEST

START_TEST(board_json)
{
	static const struct {
		const char *slug, *text;
		bool archived;
		const char *workdir;
		size_t notes;
	} t[] = {
		{ "a", "{\"archived\": true, \"default_workdir\": \"/srv/a\"}", true, "/srv/a",
		  0 },
		{ "b", "{\"archived\": false, \"default_workdir\": null}", false, NULL, 0 },
		{ "c", "\xEF\xBB\xBF{\"archived\": 1, \"default_workdir\": \"~/c\"}", true,
		  "~/c", 0 },
		{ "d", "{\"archived\": 0, \"default_workdir\": \"relative\"}", false, NULL, 1 },
		{ "e", "{\"archived\": \"no\", \"default_workdir\": \"\"}", true, NULL, 0 },
		{ "f", "{\"archived\": true", false, NULL, 1 },
		{ "g", "[true]", false, NULL, 1 },
		{ "h", "", false, NULL, 1 },
		{ "i", "{\"slug\": \"other\", \"default_workdir\": \"/a\\u0000b\"}", false,
		  NULL, 1 },
		{ "j", "{\"archived\": [], \"default_workdir\": 7}", false, NULL, 0 },
		{ "k", "\xFF\xFE{", false, NULL, 1 },
	};
	const size_t n = sizeof(t) / sizeof(t[0]);
	size_t notes = 0;

	for (size_t i = 0; i < n; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "kanban/boards/%s/board.json", t[i].slug);
		put(name, t[i].text);
		notes += t[i].notes;
	}
	discover();
	ck_assert_uint_eq(d.count, n + 1);
	for (size_t i = 0; i < n; i++) {
		const struct board_place *b = board(t[i].slug);

		ck_assert_ptr_nonnull(b);
		ck_assert_msg(b->archived == t[i].archived, "board %s", t[i].slug);
		if (t[i].workdir)
			ck_assert_str_eq(b->default_workdir, t[i].workdir);
		else
			ck_assert_ptr_null(b->default_workdir);
	}
	ck_assert_uint_eq(d.n_notes, notes);
	ck_assert(board("f")->meta_bad);
	ck_assert(!board("a")->meta_bad);
	discover();
	ck_assert_uint_eq(d.n_notes, 0);
	ck_assert_uint_eq(d.meta_reads, n);
}
END_TEST

START_TEST(board_json_hostile)
{
	char *deep = malloc(1024 * 1024 + 2);

	ck_assert_ptr_nonnull(deep);
	memset(deep, '[', 1024 * 1024 + 1);
	deep[1024 * 1024 + 1] = '\0';
	put("kanban/boards/big/board.json", deep);
	deep[100000] = '\0';
	put("kanban/boards/deep/board.json", deep);
	free(deep);
	put("kanban/boards/fifo/kanban.db", "x");
	ck_assert_int_eq(mkfifo(in_root("kanban/boards/fifo/board.json"), 0600), 0);
	put("kanban/boards/dir/board.json/x", "x");
	put("kanban/boards/loop/kanban.db", "x");
	ck_assert_int_eq(symlink("board.json", in_root("kanban/boards/loop/board.json")), 0);
	discover();
	ck_assert_uint_eq(d.count, 6);
	ck_assert_uint_eq(d.n_notes, 4);
	for (size_t i = 1; i < d.count; i++)
		ck_assert(!d.boards[i].archived);
}
END_TEST

START_TEST(half_a_board_json_keeps_what_was_said)
{
	put("kanban/boards/a/board.json", "{\"archived\": true}");
	discover();
	ck_assert(board("a")->archived);
	put("kanban/boards/a/board.json", "{\"archi");
	discover();
	ck_assert(board("a")->archived);
	ck_assert(board("a")->meta_bad);
	ck_assert_uint_eq(d.n_notes, 1);
	put("kanban/boards/a/board.json", "{\"archived\": false}");
	discover();
	ck_assert(!board("a")->archived);
	ck_assert(!board("a")->meta_bad);
	/* gone altogether: defaults */
	put("kanban/boards/a/board.json", "{\"archived\": true}");
	put("kanban/boards/a/kanban.db", "x");
	discover();
	ck_assert(board("a")->archived);
	ck_assert_int_eq(unlink(in_root("kanban/boards/a/board.json")), 0);
	discover();
	ck_assert(!board("a")->archived);
}
END_TEST

START_TEST(boards_come_and_go)
{
	const char *a_path;

	put("kanban/boards/m/kanban.db", "x");
	put("kanban/boards/c/kanban.db", "x");
	discover();
	ck_assert_uint_eq(d.count, 3);
	a_path = board("m")->db_path;
	put("kanban/boards/a/kanban.db", "x");
	put("kanban/boards/z/kanban.db", "x");
	ck_assert_int_eq(unlink(in_root("kanban/boards/c/kanban.db")), 0);
	discover();
	ck_assert_uint_eq(d.count, 4);
	ck_assert_str_eq(d.boards[1].slug, "a");
	ck_assert_str_eq(d.boards[2].slug, "m");
	ck_assert_str_eq(d.boards[3].slug, "z");
	ck_assert_ptr_eq(board("m")->db_path, a_path); /* kept, not made again */
	put("kanban/boards/m/kanban.db", "longer");
	put("kanban/boards/m/kanban.db-wal", "wal");
	discover();
	ck_assert_uint_eq(board("m")->db.size, 6);
	ck_assert_uint_eq(board("m")->wal.size, 3);
	ck_assert_uint_eq(board("a")->wal.ino, 0);
}
END_TEST

/* SQLite keeps what is beside a link where that leads to. */
START_TEST(a_link_has_its_wal_elsewhere)
{
	put("elsewhere/real.db", "x");
	put("elsewhere/real.db-wal", "wal");
	put("kanban/boards/a/board.json", "{}");
	ck_assert_int_eq(
		symlink("../../../elsewhere/real.db", in_root("kanban/boards/a/kanban.db")), 0);
	ck_assert_int_eq(symlink("elsewhere/real.db", in_root("kanban.db")), 0);
	discover();
	ck_assert_uint_eq(board("a")->wal.size, 3);
	ck_assert_uint_eq(board("default")->wal.size, 3);
	put("elsewhere/real.db-wal", "longer");
	discover();
	ck_assert_uint_eq(board("a")->wal.size, 6);
}
END_TEST

START_TEST(duplicates)
{
	put("kanban.db", "x");
	put("kanban/boards/b/kanban.db", "x");
	put("kanban/boards/e/board.json", "{}");
	put("kanban/boards/f/board.json", "{}");
	put("kanban/boards/a/board.json", "{}");
	ck_assert_int_eq(symlink("../b/kanban.db", in_root("kanban/boards/a/kanban.db")), 0);
	ck_assert_int_eq(link(in_root("kanban.db"), in_root("kanban/boards/e/kanban.db")), 0);
	ck_assert_int_eq(symlink("b", in_root("kanban/boards/c")), 0);
	discover();
	ck_assert_uint_eq(d.count, 6);
	ck_assert_str_eq(board("default")->duplicate_of, "");
	ck_assert_str_eq(board("a")->duplicate_of, "");
	ck_assert_str_eq(board("b")->duplicate_of, "a");
	ck_assert_str_eq(board("c")->duplicate_of, "a");
	ck_assert_str_eq(board("e")->duplicate_of, "default");
	ck_assert_str_eq(board("f")->duplicate_of, ""); /* no file: nothing to share */
	/* a file of its own: no duplicate any more */
	ck_assert_int_eq(unlink(in_root("kanban/boards/e/kanban.db")), 0);
	put("kanban/boards/e/kanban.db", "y");
	discover();
	ck_assert_str_eq(board("e")->duplicate_of, "");
	ck_assert_str_eq(board("b")->duplicate_of, "a");
}
END_TEST

START_TEST(pinned)
{
	char pin[300];

	put("kanban/boards/a/kanban.db", "x");
	put("kanban/boards/b/board.json", "{\"archived\": true}");
	put("pin.db", "pinned");
	(void)snprintf(pin, sizeof(pin), "%s/pin.db", root);
	ck_assert_int_eq(discover_boards(&d, root, pin, &err), 0);
	ck_assert_uint_eq(d.count, 3);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_str_eq(d.boards[i].db_path, pin);
		ck_assert_uint_eq(d.boards[i].db.size, 6);
		ck_assert_str_eq(d.boards[i].duplicate_of, i ? "default" : "");
	}
	ck_assert(board("b")->archived);
	/* and back */
	discover();
	ck_assert_str_eq(board("a")->db_path, in_root("kanban/boards/a/kanban.db"));
	ck_assert_str_eq(board("a")->duplicate_of, "");
}
END_TEST

START_TEST(errors)
{
	char none[300];

	(void)snprintf(none, sizeof(none), "%s/none", root);
	ck_assert_int_eq(discover_boards(&d, none, NULL, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "none"));
	put("file", "x");
	(void)snprintf(none, sizeof(none), "%s/file", root);
	ck_assert_int_eq(discover_boards(&d, none, NULL, &err), -ENOTDIR);
	/* a file where the boards folder should be: only default */
	put("kanban/boards", "x");
	discover();
	ck_assert_uint_eq(d.count, 1);
}
END_TEST

START_TEST(steady_state_reads_nothing)
{
	char name[64];

	for (int i = 0; i < 50; i++) {
		(void)snprintf(name, sizeof(name), "kanban/boards/b%02d/board.json", i);
		put(name, "{}");
	}
	discover();
	ck_assert_uint_eq(d.meta_reads, 50);
	for (int i = 0; i < 10; i++)
		discover();
	ck_assert_uint_eq(d.meta_reads, 50);
	put("kanban/boards/b07/board.json", "{\"archived\": true}");
	discover();
	ck_assert_uint_eq(d.meta_reads, 51);
	ck_assert(board("b07")->archived);
}
END_TEST

/* ---- discover_one, board_place_db_path
 * -------------------------------------------------------
 */

START_TEST(one)
{
	struct board_place p;

	put("kanban/boards/a/board.json", "{\"default_workdir\": \"/w\"}");
	put("kanban/boards/b/kanban.db", "x");
	put("kanban/boards/c/readme", "x");
	ck_assert_int_eq(discover_one(root, NULL, "a", &p, &err), 0);
	ck_assert(!p.db_exists);
	ck_assert_str_eq(p.default_workdir, "/w");
	board_place_deinit(&p);
	ck_assert_int_eq(discover_one(root, NULL, "b", &p, &err), 0);
	ck_assert(p.db_exists);
	board_place_deinit(&p);
	ck_assert_int_eq(discover_one(root, NULL, "default", &p, &err), 0);
	ck_assert(!p.db_exists);
	board_place_deinit(&p);
	ck_assert_int_eq(discover_one(root, "/nowhere/x.db", "b", &p, &err), 0);
	ck_assert(!p.db_exists);
	ck_assert_str_eq(p.db_path, "/nowhere/x.db");
	board_place_deinit(&p);
	ck_assert_int_eq(discover_one(root, NULL, "c", &p, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "no board c"));
	ck_assert_int_eq(discover_one(root, NULL, "none", &p, &err), -ENOENT);
	ck_assert_int_eq(discover_one(root, NULL, "../x", &p, &err), -EINVAL);
	ck_assert_int_eq(discover_one(root, NULL, "Foo", &p, &err), -EINVAL);
	ck_assert_int_eq(discover_one(root, NULL, "", &p, &err), -EINVAL);
	ck_assert_int_eq(discover_one(root, NULL, "a\n", &p, &err), -EINVAL);
	ck_assert_ptr_null(strchr(err.text, '\n'));
	ck_assert_int_eq(discover_one("/nonexistent", NULL, "a", &p, &err), -ENOENT);
}
END_TEST

START_TEST(db_path)
{
	static const struct {
		const char *root, *pin, *slug, *want;
	} t[] = {
		{ "/r", NULL, "default", "/r/kanban.db" },
		{ "/r///", NULL, "a", "/r/kanban/boards/a/kanban.db" },
		{ "/", NULL, "default", "/kanban.db" },
		{ "/r", "/p.db", "a", "/p.db" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char *path = board_place_db_path(t[i].root, t[i].pin, t[i].slug);

		ck_assert_str_eq(path, t[i].want);
		free(path);
	}
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { empty_root,
				       order_and_names,
				       upper_case_is_told_once,
				       board_json,
				       board_json_hostile,
				       half_a_board_json_keeps_what_was_said,
				       boards_come_and_go,
				       a_link_has_its_wal_elsewhere,
				       duplicates,
				       pinned,
				       errors,
				       steady_state_reads_nothing,
				       one,
				       db_path };

	return SUITE_EACH("discover", 4, setup, teardown, tests);
}
