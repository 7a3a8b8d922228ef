/* A board's copy to a file of its own, and of a time. test-timeout: 120 */
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

#define SNAPSHOTS "root/kanban/boards/default/snapshots"

/* A snapshot that says it was taken then; it has @tasks tasks. */
static void old_snapshot(const char *name, int tasks)
{
	rig_shell("cp root/kanban.db " SNAPSHOTS "/%s.db && sqlite3 " SNAPSHOTS "/%s.db "
		  "\"DELETE FROM tasks WHERE rowid > %d\"",
		  name, name, tasks);
}

static struct rig_out *restore(const char *option, const char *value, const char *more)
{
	return rig_kanbanctl("--root", rig.root, "--json", "restore", B, option, value, more);
}

static const char *from(struct rig_out *out)
{
	const char *path = json_string_value(json_object_get(rig_json(out->text), "from"));

	return path ? strrchr(path, '/') + 1 : "";
}

static void world(void)
{
	rig_config("dispatch_interval_seconds: 30", "auto_decompose: false");
	rig_board(B, 0);
	for (int i = 1; i <= 3; i++)
		rig_add(B, .id = rig_printf("t_%d", i), .status = "blocked");
	rig_mkdir(SNAPSHOTS);
	old_snapshot("2026-01-01T000000Z", 1);
	old_snapshot("2026-02-01T000000Z", 2);
	old_snapshot("2026-03-01T000000Z", 3);
}

START_TEST(at_a_time)
{
	struct rig_out *out;

	world();
	ck_assert_str_eq(from(restore("--at", "2026-02-15 00:00 UTC", "--dry-run")),
			 "2026-02-01T000000Z.db");
	ck_assert_str_eq(from(restore("--at", "2026-02-01 00:00:00 UTC", "--dry-run")),
			 "2026-02-01T000000Z.db"); /* not after: it itself counts */
	ck_assert_str_eq(from(restore("--at", "2026-01-31 23:59:59 UTC", "--dry-run")),
			 "2026-01-01T000000Z.db");
	ck_assert_str_eq(from(restore("--at", "now", "--dry-run")), "2026-03-01T000000Z.db");
	out = restore("--at", "2025-12-31 00:00 UTC", "--dry-run");
	ck_assert_int_eq(out->status, 66);
	ck_assert_ptr_nonnull(strstr(out->err, "has no snapshot from before"));
	ck_assert_int_eq(restore("--at", "someday", "--dry-run")->status, 64);
	out = rig_kanbanctl("--root", rig.root, "restore", B, rig_db(B), "--at", "now");
	ck_assert_int_eq(out->status, 64);
	ck_sql(B, "3", "SELECT count(*) FROM tasks"); /* dry runs so far */
	ck_assert_int_eq(restore("--at", "2026-02-15 00:00 UTC", "--json")->status, 0);
	ck_sql(B, "2", "SELECT count(*) FROM tasks");
}
END_TEST

START_TEST(to_a_file)
{
	char *before;
	struct rig_out *out;

	world();
	before = rig_fingerprint("root/kanban.db");
	out = restore("--to", rig_path("new.db"), "--dry-run");
	ck_assert_int_eq(out->status, 0);
	ck_assert(!rig_exists("new.db"));
	out = restore("--to", rig_path("new.db"), "--json");
	ck_assert_msg(out->status == 0, "%s", out->err);
	ck_assert_str_eq(json_string_value(json_object_get(rig_json(out->text), "to")),
			 rig_path("new.db"));
	rig_shell("[ \"$(sqlite3 new.db 'SELECT count(*) FROM tasks; PRAGMA "
		  "integrity_check')\" = "
		  "\"$(printf '3\\nok')\" ] && [ $(stat -c %%a new.db) = 600 ]");
	ck_assert_str_eq(rig_fingerprint("root/kanban.db"), before);
	/* of a time, too */
	out = rig_kanbanctl("--root", rig.root, "restore", B, "--to", rig_path("jan.db"),
			    "--at", "2026-01-15 00:00 UTC");
	ck_assert_msg(out->status == 0, "%s", out->err);
	rig_shell("[ $(sqlite3 jan.db 'SELECT count(*) FROM tasks') = 1 ]");
	/* nothing is overwritten, and nothing is written through a link */
	rig_write("there", "mine");
	rig_shell("ln -s nowhere dangling; ln -s there link; mkdir folder");
	for (size_t i = 0; i < 5; i++) {
		static const char *const names[] = { "there", "dangling", "link", "folder",
						     "root/kanban.db" };

		out = restore("--to", rig_path(names[i]), "--json");
		ck_assert_int_ne(out->status, 0);
		ck_assert_msg(strstr(out->err, "is there already; nothing is overwritten") !=
				      NULL,
			      "%s: %s", names[i], out->err);
	}
	ck_assert_str_eq(rig_read("there"), "mine");
	ck_assert(!rig_exists("nowhere"));
	ck_assert_str_eq(rig_fingerprint("root/kanban.db"), before);
	ck_assert_int_ne(restore("--to", rig_path("no/such/folder.db"), "--json")->status, 0);
	/* a copy that is none */
	rig_write("bad.db", "this is no database at all, whatever its name may say");
	out = rig_kanbanctl("--root", rig.root, "restore", B, rig_path("bad.db"), "--to",
			    rig_path("x.db"));
	ck_assert_int_eq(out->status, 1);
	ck_assert(!rig_exists("x.db"));
	rig_shell("[ -z \"$(find . -name '*.db.*' -type d)\" ]"); /* no litter */
}
END_TEST

/* Beside a daemon that has the board, and of a copy with a WAL. */
START_TEST(beside_a_daemon)
{
	struct rig_daemon *d;
	struct rig_out *out;

	world();
	d = rig_start("--socket", rig_path("k.sock"));
	rig_shell("sqlite3 wal.db 'PRAGMA journal_mode=WAL' >/dev/null; cp root/kanban.db "
		  "wal.db; sqlite3 wal.db 'PRAGMA journal_mode=WAL' > /dev/null");
	out = rig_kanbanctl("--root", rig.root, "restore", B, rig_path("wal.db"), "--to",
			    rig_path("flat.db"));
	ck_assert_msg(out->status == 0, "%s", out->err);
	rig_shell("[ $(sqlite3 flat.db 'PRAGMA journal_mode') = delete ]");
	out = restore("--at", "2026-01-15 00:00 UTC", "--json");
	ck_assert_msg(out->status == 0, "%s", out->err);
	ck_sql(B, "1", "SELECT count(*) FROM tasks");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { at_a_time, to_a_file, beside_a_daemon };
	TCase *t = rig_tcase("restore", 60);

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(t, tests[i]);
	return rig_suite("daemon: restore", t, NULL);
}
