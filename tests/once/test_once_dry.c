/*
 * --dry-run tells what a tick would do and writes nothing at all; the lease and the exit
 * statuses of a single tick.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

/* A board with something for every step. */
static void busy_board(const char *slug, unsigned flags)
{
	rig_board(slug, flags);
	rig_add(slug, .id = "t_00000001", .priority = 3);
	rig_add(slug, .id = "t_00000002", .assignee = RIG_NOBODY);
	rig_add(slug, .id = "t_00000003", .assignee = "orion-cc");
	rig_add(slug, .id = "t_00000004", .last_failure_error = "quota exceeded");
	rig_add(slug, .id = "t_00000005", .status = "todo");
	rig_add(slug, .id = "t_00000006", .status = "blocked", .failures = 1);
	rig_add(slug, .id = "t_00000007", .status = "todo");
	rig_link(slug, "t_00000001", "t_00000007");
	(void)rig_running(slug, .id = "t_00000008", .pid = rig_dead_pid());
	(void)rig_running(slug, .id = "t_00000009", .pid = rig_dead_pid(), .failures = 1);
	(void)rig_running(slug, .id = "t_0000000a", .pid = rig_dead_pid(), .expires_in = -50);
	(void)rig_running(slug, .id = "t_0000000b", .age = 20000, .lock = "elsewhere:7");
}

static void same_list(json_t *dry, json_t *wet, const char *member)
{
	ck_assert_msg(!strcmp(rig_ids(dry, member, false), rig_ids(wet, member, false)),
		      "%s: the dry run said %s, the tick did %s", member,
		      rig_ids(dry, member, false), rig_ids(wet, member, false));
}

static void same_count(json_t *dry, json_t *wet, const char *member)
{
	ck_assert_msg(json_equal(json_object_get(dry, member), json_object_get(wet, member)),
		      "%s differs", member);
}

static void error_says(json_t *board, const char *what)
{
	const char *error = json_string_value(json_object_get(board, "error"));

	ck_assert_str_eq(json_string_value(json_object_get(board, "state")), "troubled");
	ck_assert_msg(error && strstr(error, what), "%s", error);
}

START_TEST(test_dry_run_writes_nothing)
{
	char *before;

	busy_board(B, 0);
	busy_board("garden", 0);
	rig_config("default_assignee: franky", "review_dispatch: true");
	before = rig_fingerprint("root");
	(void)rig_once("--dry-run");
	ck_assert_str_eq(rig_fingerprint("root"), before);
	ck_assert_uint_eq(rig_ran_count("t_00000001"), 0);
}
END_TEST

START_TEST(test_dry_run_tells_what_a_tick_does)
{
	static const char *const lists[] = { "spawned",
					     "crashed",
					     "rate_limited",
					     "timed_out",
					     "auto_blocked",
					     "respawn_guarded",
					     "skipped.unassigned",
					     "skipped.nonspawnable",
					     "skipped.profile_capped",
					     "skipped.scheduled" };
	json_t *dry, *wet;

	busy_board(B, 0);
	dry = rig_of(rig_once("--dry-run"), B);
	wet = rig_tick(B);
	for (int i = 0; i < 10; i++)
		same_list(dry, wet, lists[i]);
	same_count(dry, wet, "reclaimed");
	same_count(dry, wet, "stale");
	same_count(dry, wet, "promoted");
	ck_ids(wet, "spawned", "t_00000001,t_00000005,t_00000006");
}
END_TEST

START_TEST(test_dry_run_signals_nobody)
{
	int64_t run;
	pid_t pid;

	rig_board(B, 0);
	run = rig_running(B, .id = "t_00000001", .age = 700, .max_runtime = 600);
	pid = rig_worker_row(B, "t_00000001", run);
	ck_ids(rig_of(rig_once("--dry-run"), B), "timed_out", "t_00000001");
	ck_assert(rig_alive(pid));
	ck_sql(B, "running", "SELECT status FROM tasks");
}
END_TEST

/* The last writer was killed: its work is in the -wal, which nobody has played back. */
START_TEST(test_dry_run_beside_an_old_wal)
{
	char *before;
	json_t *board;

	busy_board("garden", RIG_WAL);
	rig_writer("garden",
		   "INSERT INTO tasks (id, title, assignee, status, created_at) VALUES "
		   "('t_000000ff', 'x', 'jimmy', 'ready', 1)",
		   true);
	ck_assert(rig_exists("root/kanban/boards/garden/kanban.db-wal"));
	before = rig_fingerprint("root");
	board = rig_of(rig_once("--dry-run"), "garden");
	ck_assert_str_eq(rig_fingerprint("root"), before);
	ck_assert_ptr_nonnull(strstr(rig_ids(board, "spawned", false), "t_000000ff"));
}
END_TEST

START_TEST(test_dry_run_beside_a_wal_without_shm)
{
	char *before;
	json_t *board;

	busy_board("garden", RIG_WAL);
	rig_writer("garden",
		   "INSERT INTO tasks (id, title, assignee, status, created_at) VALUES "
		   "('t_000000ff', 'x', 'jimmy', 'ready', 1)",
		   true);
	rig_shell("rm root/kanban/boards/garden/kanban.db-shm");
	before = rig_fingerprint("root");
	board = rig_of(rig_once("--dry-run"), "garden");
	ck_assert_str_eq(rig_fingerprint("root"), before);
	ck_assert_ptr_nonnull(strstr(rig_ids(board, "spawned", false), "t_000000ff"));
}
END_TEST

START_TEST(test_dry_run_of_a_wal_board_without_wal)
{
	char *before;

	busy_board("garden", RIG_WAL);
	ck_assert(!rig_exists("root/kanban/boards/garden/kanban.db-wal"));
	before = rig_fingerprint("root");
	(void)rig_once("--dry-run");
	ck_assert_str_eq(rig_fingerprint("root"), before);
}
END_TEST

/* Beside a process that has the board open. */
START_TEST(test_dry_run_beside_a_writer)
{
	char *before;
	json_t *board;

	busy_board("garden", RIG_WAL);
	rig_writer("garden",
		   "INSERT INTO tasks (id, title, assignee, status, created_at) VALUES "
		   "('t_000000ff', 'x', 'jimmy', 'ready', 1)",
		   false);
	before = rig_fingerprint("root");
	board = rig_of(rig_once("--dry-run"), "garden");
	ck_assert_str_eq(rig_fingerprint("root"), before);
	ck_assert_ptr_nonnull(strstr(rig_ids(board, "spawned", false), "t_000000ff"));
}
END_TEST

/* A hot journal: playing it back would be a write. */
START_TEST(test_dry_run_beside_a_hot_journal)
{
	char *before;

	busy_board("garden", 0);
	rig_writer("garden",
		   "PRAGMA cache_size=2; PRAGMA cache_spill=1; BEGIN; UPDATE tasks SET "
		   "status='ready', body=hex(zeroblob(20000))",
		   true);
	if (!rig_exists("root/kanban/boards/garden/kanban.db-journal"))
		return;
	before = rig_fingerprint("root");
	rig.any_status = true;
	(void)rig_once("--dry-run");
	ck_assert_str_eq(rig_fingerprint("root"), before);
}
END_TEST

START_TEST(test_dry_run_of_an_empty_root)
{
	char *before;

	rig_shell("rm -rf root && mkdir root");
	before = rig_fingerprint("root");
	(void)rig_once("--dry-run");
	ck_assert_str_eq(rig_fingerprint("root"), before);
}
END_TEST

START_TEST(test_dry_run_needs_once)
{
	struct rig_out *out = rig_kanband("--config", rig_path("kanband.conf"), "--root",
					  rig.root, "--dry-run");

	ck_assert_int_eq(out->status, 64);
}
END_TEST

/* ---- the lease ------------------------------------------------------------------------- */

START_TEST(test_lease_held_elsewhere)
{
	struct rig_out *out;
	char *before;
	int fd;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	before = rig_dump(B);
	fd = rig_flock("root/kanban/.dispatcher.lock");
	out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root, "--once",
			  "--json");
	ck_assert_int_eq(out->status, 75);
	/* Who has it: this process, which is no kanband. */
	ck_assert_msg(strstr(out->err, rig_printf("%d", (int)getpid())) != NULL,
		      "no word of pid %d: %s", (int)getpid(), out->err);
	ck_assert_str_eq(rig_dump(B), before);
	rig_unlock(fd);
	ck_spawned(rig_tick(B), "t_00000001");
}
END_TEST

START_TEST(test_epoch_rises)
{
	struct rig_out *out;
	json_t *owner;

	rig_board(B, 0);
	out = rig_once();
	ck_assert_int_eq(json_integer_value(json_object_get(out->json, "epoch")), 1);
	out = rig_once();
	ck_assert_int_eq(json_integer_value(json_object_get(out->json, "epoch")), 2);
	owner = rig_owner();
	ck_assert_int_eq(rig_epoch(), 2);
	ck_assert_str_eq(json_string_value(json_object_get(owner, "host")), rig.host);
	rig_json_is(json_object_get(owner, "pid"), "\"INT\"", "pid");
	rig_json_is(json_object_get(owner, "boot_id"), "\"TEXT\"", "boot_id");
	rig_json_is(json_object_get(owner, "version"), "\"TEXT\"", "version");
	rig_json_is(json_object_get(owner, "since"), "\"INT\"", "since");
	ck_assert(rig_exists("root/kanban/.dispatcher.lock"));
}
END_TEST

/* Another dispatcher is in this board right now: it is passed over, the others are not. */
START_TEST(test_dispatch_lock_held_elsewhere)
{
	struct rig_out *out;
	char *before;
	int fd;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_board("garden", 0);
	rig_add("garden", .id = "t_00000002");
	before = rig_dump(B);
	fd = rig_flock("root/kanban.db.dispatch.lock");
	rig.any_status = true;
	out = rig_once();
	ck_ids(rig_of(out, B), "spawned", "");
	ck_ids(rig_of(out, "garden"), "spawned", "t_00000002");
	ck_assert(json_is_true(json_object_get(rig_of(out, B), "skipped_locked")));
	ck_assert(json_is_false(json_object_get(rig_of(out, "garden"), "skipped_locked")));
	out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root,
			  "--launcher", "fork", "--once");
	ck_assert_msg(strstr(out->text, "skipped: another process's tick holds"), "%s",
		      out->text);
	ck_assert_str_eq(rig_dump(B), before);
	rig_unlock(fd);
	ck_spawned(rig_tick(B), "t_00000001");
}
END_TEST

/* A release that asks for a lock of each board, and none of the root, dispatches this one. */
START_TEST(test_board_dispatched_elsewhere)
{
	struct rig_out *out;
	int fd;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_board("garden", 0);
	rig_add("garden", .id = "t_00000002");
	rig_mkdir("root/kanban/boards/default");
	fd = rig_flock("root/kanban/boards/default/.dispatcher.lock");
	rig.any_status = true;
	out = rig_once();
	ck_ids(rig_of(out, B), "spawned", "");
	ck_ids(rig_of(out, "garden"), "spawned", "t_00000002");
	ck_assert(json_is_true(json_object_get(rig_of(out, B), "skipped_locked")));
	out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root,
			  "--launcher", "fork", "--once");
	ck_assert_msg(strstr(out->text, "boards/default/.dispatcher.lock") &&
			      strstr(out->text, "skipped: another process dispatches it"),
		      "%s", out->text);
	ck_sql(B, "ready", "SELECT status FROM tasks");
	rig_unlock(fd);
	ck_spawned(rig_tick(B), "t_00000001");
}
END_TEST

/* A dry run makes no such lock, and is none's rival. */
START_TEST(test_dry_run_dispatches_nothing)
{
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	(void)rig_once("--dry-run");
	ck_assert(!rig_exists("root/kanban/boards/default/.dispatcher.lock"));
	(void)rig_once();
	ck_assert(rig_exists("root/kanban/boards/default/.dispatcher.lock"));
}
END_TEST

/* What a tick printed without --json is for people: it names the board and the task. */
START_TEST(test_text_output)
{
	struct rig_out *out;

	rig_board("garden", 0);
	rig_add("garden", .id = "t_00000001");
	/* what a row says does nothing to the terminal */
	rig_add("garden", .id = "t_\x1b]0;x\x07\xC2\x9B\xE2\x80\xAE",
		.assignee = "nobody-here");
	out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root,
			  "--launcher", "fork", "--once");
	ck_assert_int_eq(out->status, 0);
	ck_assert_ptr_nonnull(strstr(out->text, "garden"));
	ck_assert_ptr_nonnull(strstr(out->text, "t_00000001"));
	ck_assert_ptr_nonnull(strstr(out->text, "t_\\x1b]0;x\\x07\\x9b\\u202e"));
	ck_assert_ptr_null(strchr(out->text, '\x1b'));
}
END_TEST

/* ---- the root -------------------------------------------------------------------------- */

static struct rig_out *once_without_root(void)
{
	struct rig_out *out = rig_kanband("--config", rig_path("kanband.conf"), "--launcher",
					  "fork", "--once", "--json");

	ck_assert_msg(out->status == 0, "exit %d: %s", out->status, out->err);
	out->json = rig_json(out->text);
	return out;
}

static void root_is(const struct rig_out *out, const char *path)
{
	rig_json_is(
		json_object_get(json_array_get(json_object_get(out->json, "roots"), 0), "root"),
		rig_printf("\"%s\"", path), "root");
}

START_TEST(test_root_of_a_profile)
{
	rig_env("HERMES_HOME", rig_printf("%s/profiles/jimmy", rig.root));
	root_is(once_without_root(), rig.root);
}
END_TEST

START_TEST(test_root_of_hermes_home)
{
	rig_env("HERMES_HOME", rig.root);
	root_is(once_without_root(), rig.root);
}
END_TEST

START_TEST(test_root_of_kanban_home)
{
	rig_mkdir("other");
	rig_env("HERMES_HOME", rig_path("other"));
	rig_env("HERMES_KANBAN_HOME", rig.root);
	root_is(once_without_root(), rig.root);
}
END_TEST

START_TEST(test_root_below_home)
{
	rig_mkdir("home/.hermes");
	root_is(once_without_root(), rig_path("home/.hermes"));
}
END_TEST

/* What has no copy is told, and the other boards go on. */
START_TEST(test_dry_run_beside_what_is_no_board)
{
	struct rig_out *out;

	rig_board(B, 0);
	rig_add(B, .id = "t_00000001");
	rig_mkdir("root/kanban/boards/folder/kanban.db");
	rig_mkdir("root/kanban/boards/pipe");
	rig_mkdir("root/kanban/boards/holes");
	rig_shell("mkfifo root/kanban/boards/pipe/kanban.db; "
		  "truncate -s 3G root/kanban/boards/holes/kanban.db");
	rig.any_status = true;
	out = rig_once("--dry-run");
	ck_assert_int_eq(out->status, 1);
	ck_spawned(rig_of(out, B), "t_00000001");
	error_says(rig_of(out, "folder"), "not a regular file");
	error_says(rig_of(out, "pipe"), "not a regular file");
	error_says(rig_of(out, "holes"), "max_evidence_bytes");
	ck_assert(!rig_exists("root/kanban/boards/pipe/kanban.db.dispatch.lock"));
}
END_TEST

Suite *test_suite(void)
{
	TCase *dry = rig_tcase("dry run", 30);
	TCase *lease = rig_tcase("lease", 30);
	TCase *root = rig_tcase("root", 30);

	tcase_add_test(dry, test_dry_run_writes_nothing);
	tcase_add_test(dry, test_dry_run_tells_what_a_tick_does);
	tcase_add_test(dry, test_dry_run_beside_what_is_no_board);
	tcase_add_test(dry, test_dry_run_signals_nobody);
	tcase_add_test(dry, test_dry_run_beside_an_old_wal);
	tcase_add_test(dry, test_dry_run_beside_a_wal_without_shm);
	tcase_add_test(dry, test_dry_run_of_a_wal_board_without_wal);
	tcase_add_test(dry, test_dry_run_beside_a_writer);
	tcase_add_test(dry, test_dry_run_beside_a_hot_journal);
	tcase_add_test(dry, test_dry_run_of_an_empty_root);
	tcase_add_test(dry, test_dry_run_needs_once);
	tcase_add_test(lease, test_lease_held_elsewhere);
	tcase_add_test(lease, test_epoch_rises);
	tcase_add_test(lease, test_dispatch_lock_held_elsewhere);
	tcase_add_test(lease, test_board_dispatched_elsewhere);
	tcase_add_test(lease, test_dry_run_dispatches_nothing);
	tcase_add_test(lease, test_text_output);
	tcase_add_test(root, test_root_of_a_profile);
	tcase_add_test(root, test_root_of_hermes_home);
	tcase_add_test(root, test_root_of_kanban_home);
	tcase_add_test(root, test_root_below_home);
	return rig_suite("once: dry run and lease", dry, lease, root, NULL);
}
