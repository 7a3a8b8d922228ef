/* What doctor finds in boards and notifications, each planted and cleared by its remedy. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "kit/doctor.h"
#include "notify/outbox.h"
#include "recovery/health.h"
#include "util/fs.h"

/* ---- boards -------------------------------------------------------------------------- */

static void damage(const char *name)
{
	char junk[100];
	int fd = open(world_path(name), O_WRONLY | O_CLOEXEC);

	memset(junk, 'x', sizeof(junk));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	close(fd);
}

START_TEST(corrupt)
{
	(void)ok("add", "a task");
	damage("kanban.db");
	remedied("board", "default", "quarantined");
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
}
END_TEST

/* What the record says of these bytes is not looked at again. */
START_TEST(quarantined)
{
	struct health h = { .state = HEALTH_QUARANTINED, .kind = "corrupt" };
	json_t *j, *board;

	(void)ok("add", "a task");
	(void)snprintf(h.reason, sizeof(h.reason), "row 7 is missing from an index");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	j = parsed(1, "boards");
	board = json_array_get(json_object_get(j, "boards"), 0);
	ck_assert_str_eq(member(board, "state"), "quarantined");
	ck_assert_str_eq(member(board, "error"), h.reason);
	ck_assert(json_is_null(json_object_get(board, "tasks")));
	ck_assert_str_eq(member(j, "source"), "files");
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, h.reason));
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, "from the files"));
	ck_assert_ptr_nonnull(strstr(kanbanctl("board")->out, h.reason));
	remedied("board", "default", h.reason);
	/* and one whose bytes changed since is */
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	(void)world_sql("kanban.db", "UPDATE tasks SET title = 'another'");
	ck_assert(!finds("board", "default"));
}
END_TEST

START_TEST(lost)
{
	struct health h = { .state = HEALTH_LOST, .kind = "lost" };

	(void)ok("add", "a task");
	(void)ok("snapshot");
	(void)world_sql("kanban.db", "DELETE FROM tasks");
	ck_assert_int_eq(health_read(world_path("kanban.db"), &h), 0);
	h.state = HEALTH_LOST;
	h.good.tasks = 1;
	(void)snprintf(h.reason, sizeof(h.reason), "it has no task, and had one");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	remedied("board", "default", "it has no task");
	ck_assert_ptr_nonnull(strstr(ok("list"), "a task"));
}
END_TEST

/* A record that says that rows would be lost: a command that dares to is shown. */
START_TEST(would_lose)
{
	struct health h = { .state = HEALTH_QUARANTINED, .kind = "corrupt" };

	(void)ok("add", "a task");
	(void)snprintf(h.reason, sizeof(h.reason), "a repair would lose 3 rows of tasks");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	ck_assert(finds("board", "default"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "--salvage"));
	remedied("board", "default", "would lose");
}
END_TEST

/* A kanband that was killed while it looked, and that nobody started again. */
START_TEST(suspect)
{
	struct health h = { .state = HEALTH_SUSPECT, .kind = "corrupt" };

	(void)snprintf(h.reason, sizeof(h.reason), "a read failed");
	ck_assert_int_eq(health_print_take(world_path("kanban.db"), false, &h.print), 0);
	ck_assert_int_eq(health_write(world_path("kanban.db"), &h), 0);
	remedied("board", "default", "a read failed");
}
END_TEST

/* A board without a table: Hermes adds it when it opens the board. */
START_TEST(schema)
{
	char hermes[2048];

	(void)ok("--board", "old", "init");
	(void)snprintf(
		hermes, sizeof(hermes),
		"#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'kanban --board old list' ] &&\n"
		"exec sqlite3 \"$HERMES_KANBAN_HOME/kanban/boards/old/kanban.db\" '%s'\n",
		world_sql("kanban/boards/old/kanban.db",
			  "SELECT replace(sql, '''', '''\"''\"''') FROM sqlite_master "
			  "WHERE name = 'task_runs'"));
	program("hermes", hermes);
	(void)world_sql("kanban/boards/old/kanban.db", "DROP TABLE task_runs");
	remedied("board", "old", "task_runs");
}
END_TEST

START_TEST(odd_boards)
{
	plant("kanban/boards/Upper/board.json", "{}");
	remedied("folder", "Upper", "lower case");
	ck_assert_int_eq(access(world_path("kanban/boards/upper"), F_OK), 0);
	/* what a name could do to a shell */
	plant("kanban/boards/A b'$(touch x)/board.json", "{}");
	ck_assert(!finds("folder", "A b'$(touch x)"));
	ck_assert_int_ne(access("/x", F_OK), 0);
	/* a folder where the database should be, and one that was moved there before */
	ck_assert_int_eq(fs_mkdir_p(world_path("kanban/boards/odd/kanban.db"), 0755), 0);
	plant("kanban/boards/odd/kanban.db.away", "");
	plant("kanban/boards/odd/board.json", "{}");
	remedied("board", "odd", "troubled");
	ck_assert_int_eq(access(world_path("kanban/boards/odd/kanban.db.away.~1~"), F_OK), 0);
}
END_TEST

/* Somebody who copied a board as root left a file that its owner cannot open. */
START_TEST(unreadable)
{
	const uid_t nobody = 65534;
	char file[300];

	if (getuid() != 0) {
		cannot(DOCTOR_BOARD_UNREADABLE, "needs two users");
		cannot(DOCTOR_BOARD_UNSEEN, "needs two users");
		return;
	}
	(void)snprintf(file, sizeof(file), "%s", world_path("kanban.db"));
	ck_assert_int_eq(chown(world_root, nobody, nobody), 0);
	ck_assert_int_eq(chmod(file, 0600), 0);
	ck_assert_int_eq(chmod(world_path("kanban"), 0755), 0);
	world_user(nobody);
	program("sudo", "#!/bin/sh\nexec \"$@\"\n");
	remedied("board", "", "Permission denied");
	ck_assert(finds("board", "default"));
	paste();
	gone();
	world_user(0);
}
END_TEST

/* Ready, and nobody can start it: the command shows which. */
START_TEST(waiting)
{
	char id[80];

	(void)snprintf(id, sizeof(id), "%s", ok("add", "a task"));
	ck_assert(finds("tasks", "default"));
	ck_assert_ptr_nonnull(strstr(last_text, "1 has no assignee ("));
	paste();
	(void)ok("assign", id, "nobody-here");
	gone();
	ck_assert(finds("tasks", "default"));
	ck_assert_ptr_nonnull(
		strstr(last_text, "1 is for nobody-here, which has no profile here"));
	paste();
	(void)ok("assign", id, "default");
	gone();
}
END_TEST

/* A guard for a day holds it, and one that has no end. */
START_TEST(guarded)
{
	char id[80];

	(void)snprintf(id, sizeof(id), "%s", ok("add", "--assignee", "default", "a task"));
	(void)world_sql(
		"kanban.db",
		"INSERT INTO task_runs (task_id, status, outcome, started_at, ended_at)"
		" SELECT id, 'released', 'reclaimed', 1, 2 FROM tasks;"
		"INSERT INTO task_comments (task_id, author, body, created_at) SELECT id, 'a',"
		" 'see https://github.com/o/r/pull/7', strftime('%s', 'now') FROM tasks");
	ck_assert(finds("tasks", "default"));
	ck_assert_ptr_nonnull(strstr(last_text, "held by the respawn guard: active_pr"));
	paste();
	(void)ok("retry", id);
	gone();
}
END_TEST

START_TEST(no_git)
{
	static char path[600];

	(void)ok("add", "--assignee", "default", "a task");
	(void)world_sql("kanban.db", "UPDATE tasks SET workspace_kind = 'worktree'");
	(void)snprintf(path, sizeof(path), "PATH=%s", world_path("bin"));
	world_env(path);
	ck_assert(finds("tasks", "default"));
	ck_assert_ptr_nonnull(strstr(last_text, "1 ready task wants a git worktree"));
	paste();
	program("git", "#!/bin/sh\n");
	gone();
}
END_TEST

static void locker(void)
{
	sqlite3 *db;

	if (sqlite3_open(world_path("kanban.db"), &db) != SQLITE_OK ||
	    sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
		_exit(1);
}

/* The command waits for whoever has it, and ends him only when that was in vain. */
START_TEST(busy)
{
	world_env("HERMES_KANBAN_BUSY_TIMEOUT_MS=300");
	with_child(locker);
	ck_assert(finds("board", "default"));
	ck_assert_ptr_nonnull(strstr(last_text, "test_ctl_doctor) has it locked"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "kill -TERM"));
	paste();
	child_ended();
	gone();
	/* he ended by himself meanwhile: nobody is ended */
	with_child(locker);
	ck_assert(finds("board", "default"));
	ck_assert_int_eq(kill(child_pid(), SIGKILL), 0);
	child_ended();
	paste();
	gone();
}
END_TEST

/* More than can be told: they come when those before them are done. */
START_TEST(many)
{
	json_t *j, *check;
	size_t i, told = 0;

	for (int n = 0; n < 22; n++) {
		char slug[16], path[64];

		(void)snprintf(slug, sizeof(slug), "b%02d", n);
		(void)snprintf(path, sizeof(path), "kanban/boards/%s/kanban.db", slug);
		(void)ok("--board", slug, "init");
		damage(path);
	}
	ck_assert(finds("board", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "2 more"));
	ck_assert_ptr_nonnull(strstr(last_remedy, " boards"));
	j = doctor();
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		if (strcmp(member(check, "finding"), "damaged") != 0)
			continue;
		told++;
		paste_text(member(check, "remedy"));
	}
	json_decref(j);
	ck_assert_uint_eq(told, 20);
	ck_assert(!finds("board", ""));
	ck_assert(finds("board", "b21"));
}
END_TEST

/* ---- notifications ------------------------------------------------------------------- */

static void park(const char *task, const char *reason, bool parked)
{
	json_t *value = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:I, s:I, s:s, s:s, s:I}",
		"board", "default", "task", task, "platform", "telegram", "chat", "-100",
		"thread", "", "profile", "default", "failures", 3, "since", (json_int_t)100,
		"retry_at", (json_int_t)0, "parked", parked, "cursor", (json_int_t)1, "row",
		(json_int_t)1, "reason", reason, "fold_kind", "", "fold_at", (json_int_t)0);
	struct outbox_change change = { "s1", value };
	struct outbox *outbox;
	struct error e = ERROR_NULL;

	ck_assert_ptr_nonnull(value);
	ck_assert_msg(outbox_open(&outbox, world_path("kanban/.kanband.outbox"), NULL, &e) == 0,
		      "%s", e.text);
	ck_assert_int_eq(outbox_write(outbox, &change, 1, true, &e), 0);
	outbox_free(outbox);
	json_decref(value);
}

START_TEST(parked)
{
	json_t *j;

	ck_assert(!finds("notify", "t_1"));
	park("t_1", "chat not found\033[2J", true);
	ck_assert(finds("notify", "t_1"));
	ck_assert_ptr_nonnull(strstr(last_text, "telegram:-100"));
	ck_assert_ptr_nonnull(strstr(last_text, "chat not found"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "notify retry t_1"));
	ck_assert_ptr_null(strchr(kanbanctl("doctor")->out, '\033'));
	j = parsed(1, "notify");
	ck_assert_str_eq(member(j, "source"), "files");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "troubles")), 1);
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("notify")->out, "parked"));
	fails(69, "no daemon", "notify", "retry");
	park("t_1; touch x", "no route", true);
	ck_assert(finds("notify", "t_1; touch x"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "retry 't_1; touch x'"));
	park("t_1", "no route", false);
	ck_assert(!finds("notify", "t_1"));
}
END_TEST

START_TEST(set_aside)
{
	plant("kanban/.kanband.outbox.bad", "x");
	remedied("outbox", "", "set aside");
}
END_TEST

START_TEST(unreadable_outbox)
{
	const uid_t nobody = 65534;

	/* none at all, and no way to begin one */
	ck_assert_int_eq(fs_mkdir_p(world_path("kanban/.kanband.outbox"), 0755), 0);
	remedied("outbox", "", "outbox");
	ck_assert_int_eq(access(world_path("kanban/.kanband.outbox.away"), F_OK), 0);
	if (getuid() != 0)
		return;
	/* of another user than the root; of our own; and one that is only not ours */
	program("sudo", "#!/bin/sh\nexec \"$@\"\n");
	park("t_1", "no route", false);
	ck_assert_int_eq(chmod(world_path("kanban/.kanband.outbox"), 0600), 0);
	ck_assert_int_eq(chown(world_root, nobody, nobody), 0);
	ck_assert_int_eq(chmod(world_path("kanban"), 0755), 0);
	world_user(nobody);
	ck_assert(finds("outbox", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "-links 1 -execdir chown -h 65534:65534 {}"));
	remedied("outbox", "", "Permission denied");
	ck_assert_int_eq(chmod(world_path("kanban/.kanband.outbox"), 0), 0);
	ck_assert(finds("outbox", ""));
	ck_assert_ptr_null(strstr(last_remedy, "chown"));
	remedied("outbox", "", "Permission denied");
	ck_assert_int_eq(chown(world_path("kanban/.kanband.outbox"), 65533, 65533), 0);
	ck_assert_int_eq(chown(world_root, 65533, 65533), 0);
	ck_assert_int_eq(chmod(world_root, 0755), 0);
	ck_assert(finds("outbox", ""));
	ck_assert_ptr_nonnull(strstr(last_remedy, "sudo kanbanctl --root"));
	world_user(0);
	ck_assert(!finds("outbox", ""));
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { corrupt, quarantined, would_lose,        suspect,
				       lost,    schema,      odd_boards,        waiting,
				       guarded, no_git,      unreadable,        busy,
				       many,    parked,      unreadable_outbox, set_aside };

	return doctor_suite("ctl_boards", tests, sizeof(tests) / sizeof(tests[0]));
}
