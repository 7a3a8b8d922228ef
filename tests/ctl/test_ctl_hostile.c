/* The built kanbanctl among hostile rows, full disks, closed pipes, other users and races. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "kit/tasks.h"
#include "util/fs.h"
#include "util/text.h"

/* ---- races --------------------------------------------------------------------------- */

START_TEST(two_completes)
{
	for (int round = 0; round < 5; round++) {
		struct world_child c[4];
		int wins = 0;

		(void)ok("init");
		(void)world_sql("kanban.db", "DELETE FROM tasks; DELETE FROM task_runs;"
					     "DELETE FROM task_events;"
					     "INSERT INTO tasks (id, title, status, created_at)"
					     " VALUES ('t_1', 'x', 'ready', 1)");
		world_run_task("t_1");
		for (size_t i = 0; i < 4; i++)
			c[i] = world_start((const char *const[]){ "complete", "t_1", "--run",
								  "1", "--result", "r", NULL });
		for (size_t i = 0; i < 4; i++) {
			const struct ctl_result *r = world_wait(c[i]);

			if (r->exit == 0) {
				wins++;
				continue;
			}
			ck_assert_int_eq(r->exit, 1);
			ck_assert_ptr_nonnull(strstr(r->err, "the task is done now"));
		}
		ck_assert_int_eq(wins, 1);
		ck_assert_str_eq(world_sql("kanban.db", "SELECT COUNT(*) FROM task_events"),
				 "1");
	}
}
END_TEST

START_TEST(many_adds)
{
	struct world_child c[8];

	world_with_root();
	for (size_t i = 0; i < 8; i++)
		c[i] = world_start((const char *const[]){ "add", "x", NULL });
	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(world_wait(c[i])->exit, 0);
	ck_assert_str_eq(world_sql("kanban.db",
				   "SELECT COUNT(*) || '/' || COUNT(DISTINCT id) FROM "
				   "tasks"),
			 "8/8");
}
END_TEST

START_TEST(busy)
{
	sqlite3 *db = NULL;

	world_with_root();
	(void)ok("add", "x");
	world_env("HERMES_KANBAN_BUSY_TIMEOUT_MS=0");
	ck_assert_int_eq(sqlite3_open(world_path("kanban.db"), &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	fails(75, "lock", "add", "y");
	fails(75, "lock", "list");
	ck_assert_ptr_nonnull(strstr(kanbanctl("boards")->out, "troubled"));
	ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	(void)ok("add", "y");
}
END_TEST

/* ---- rows ---------------------------------------------------------------------------- */

/* Control characters, direction marks and bytes that are no UTF-8, in every place. */
START_TEST(hostile_rows)
{
	static const char *const plain[] = { "list", "boards", "status" };
	json_t *j, *task;

	world_with_root();
	(void)world_sql(
		"kanban.db",
		"INSERT INTO tasks (id, title, body, assignee, status, priority, created_by,"
		" created_at, started_at, completed_at, workspace_path, claim_lock, tenant, "
		"result,"
		" skills, last_failure_error, consecutive_failures, worker_pid) VALUES"
		" ('../' || char(10) || '\"', char(27) || '[2J' || char(8238) || 'x', char(27) "
		"||"
		" 'b' || char(7), char(27), 'weird' || char(27), -9223372036854775808, "
		"x'ff41ff', "
		" -9223372036854775808, 9223372036854775807, 99999999999, x'00ff', char(155),"
		" 't' || char(10), x'c0af', 'not json', char(13) || 'z', 3, -5);"
		"INSERT INTO tasks (id, title, status, created_at) VALUES (x'ff', "
		"CAST(x'fffe00' AS"
		" TEXT), 'ready', 'yesterday');"
		"INSERT INTO tasks (id, title, status, created_at) VALUES (7, 8, 9, 1e300);"
		"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES ('../' ||"
		" char(10) || '\"', char(27), '{\"a\": \"' || char(27) || '\"}', -1);"
		"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES ('../' ||"
		" char(10) || '\"', 'k', '{broken', 1);"
		"INSERT INTO task_runs (task_id, profile, status, started_at, metadata, error)"
		" VALUES ('../' || char(10) || '\"', char(27), char(27), 1, '[1', char(27));"
		"INSERT INTO task_comments (task_id, author, body, created_at) VALUES ('../' ||"
		" char(10) || '\"', char(27), char(27) || char(10) || char(9), 1);"
		"INSERT INTO task_attachments (task_id, filename, stored_path, created_at) "
		"VALUES"
		" ('../' || char(10) || '\"', char(27), 'x', 1)");
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		const struct ctl_result *r = kanbanctl(plain[i]);

		ck_assert_int_le(r->exit, 1);
		ck_assert_ptr_null(memchr(r->out, '\033', r->out_len));
		ck_assert_ptr_null(strstr(r->out, "\xE2\x80\xAE"));
		ck_assert(text_is_utf8(r->out, r->out_len));
	}
	ck_assert_ptr_nonnull(strstr(ok("list"), "\\x1b[2J\\u202ex"));
	ck_assert_ptr_null(strchr(ok("show", "../\n\"", "--events", "-1"), '\033'));
	ck_assert_ptr_null(strchr(ok("show", "../\n\"", "--events", "-1"), '\007'));
	/* in JSON the texts are what they are, as far as JSON can say it */
	j = parsed(0, "list");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "tasks")), 3);
	json_decref(j);
	j = parsed(0, "show", "../\n\"");
	task = json_object_get(j, "task");
	ck_assert_str_eq(json_string_value(json_object_get(task, "title")),
			 "\033[2J\xE2\x80\xAEx");
	ck_assert_str_eq(json_string_value(json_object_get(task, "created_by")),
			 "\xEF\xBF\xBD"
			 "A\xEF\xBF\xBD");
	ck_assert_str_eq(json_string_value(json_object_get(task, "skills")), "not json");
	ck_assert_int_eq(json_integer_value(json_object_get(task, "created_at")), INT64_MIN);
	json_decref(j);
	j = parsed(1, "status");
	json_decref(j);
	/* such a task can be worked with all the same */
	(void)world_sql("kanban.db", "UPDATE tasks SET status = 'ready'");
	(void)ok("comment", "../\n\"", "fine");
	(void)ok("block", "../\n\"", "--reason", "\033]0;x\007");
	(void)ok("complete", "../\n\"");
}
END_TEST

/* What a terminal would obey, and what changes how other text is read. */
#define ACTS "\033]0;x\007\033[2J\302\233m\177\b\r\xE2\x80\xAE\xE2\x81\xA6"

static void harmless(const char *verb, const char *text)
{
	static const char *const acts[] = {
		"\033", "\007", "\b", "\r", "\177", "\302\233", "\xE2\x80\xAE", "\xE2\x81\xA6"
	};

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		ck_assert_msg(!strstr(text, acts[i]), "%s: %zu in: %s", verb, i, text);
}

/* In the path of the root, in every text of the board, and in what was typed. */
START_TEST(every_verb_is_harmless)
{
	static const char *const verbs[][3] = {
		{ "init" },
		{ "status" },
		{ "boards" },
		{ "board" },
		{ "list" },
		{ "show", "t_1" },
		{ "show", "t_1", "--events=-1" },
		{ "why", "t_1" },
		{ "workers" },
		{ "leader" },
		{ "leader", "--history" },
		{ "notify" },
		{ "events" },
		{ "check" },
		{ "repair" },
		{ "snapshot" },
		{ "snapshots" },
		{ "restore", "--dry-run" },
		{ "accept" },
		{ "gc", "--older-than=0" },
		{ "doctor" },
		{ "gateways" },
		{ "drain" },
		{ "tick" },
		{ "words", "tasks" },
		{ "words", "boards" },
		{ "comment", "t_1", ACTS },
		{ "block", "t_1" },
		{ "assign", "t_1", ACTS },
		{ "link", "t_1", ACTS },
		{ "schedule", "t_1", ACTS },
		{ "show", ACTS },
		{ "logs", ACTS },
		{ "board", ACTS },
		{ "help", ACTS },
		{ "add", ACTS },
		{ "retry", "t_1" },
		{ "archive", "t_1" },
		{ ACTS },
	};
	const char *root = world_path(ACTS), *const db = ACTS "/kanban.db";

	harmless("init", kanbanctl("--root", root, "init")->out);
	(void)world_sql(
		db,
		"CREATE TEMP TABLE x(t); INSERT INTO x VALUES('" ACTS "');"
		"INSERT INTO tasks(id, title, body, assignee, status, created_by, created_at,"
		" workspace_kind, workspace_path, branch_name, tenant, result, skills,"
		" last_failure_error, block_kind, claim_lock) SELECT 't_1', t, t, t, 'ready', "
		"t,"
		" 1, t, t, t, t, t, t, t, t, t FROM x;"
		"INSERT INTO tasks(id, title, status, created_at) SELECT t, t, t, 1 FROM x;"
		"INSERT INTO task_comments(task_id, author, body, created_at)"
		" SELECT 't_1', t, t, 1 FROM x;"
		"INSERT INTO task_events(task_id, kind, payload, created_at)"
		" SELECT 't_1', t, t, 1 FROM x UNION ALL SELECT 't_1', 'gave_up',"
		" json_object('error', t, t, t), 2 FROM x;"
		"INSERT INTO task_runs(task_id, profile, status, outcome, error, summary,"
		" started_at, ended_at) SELECT 't_1', t, t, t, t, t, 1, 2 FROM x;"
		"INSERT INTO task_links SELECT t, 't_1' FROM x;"
		"INSERT INTO kanban_notify_subs(task_id, platform, chat_id, notifier_profile,"
		" created_at) SELECT 't_1', t, t, t, 1 FROM x");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const char *args[6] = { "--root", root, verbs[i][0], verbs[i][1], verbs[i][2] };
		const struct ctl_result *r = world_run(args);

		ck_assert_msg(r->exit >= 0 && r->exit <= 78, "%s: %d", verbs[i][0], r->exit);
		harmless(verbs[i][0], r->out);
		harmless(verbs[i][0], r->err);
	}
}
END_TEST

/* It is refused whether it would be done or is done; the board stays. */
START_TEST(restore_from_what_is_none)
{
	static const char *const none[] = { "/nonexistent/x.db", "/dev/zero", "/dev/null", "/",
					    "/etc/passwd" };
	const char *fifo = world_path("fifo");

	world_with_root();
	(void)ok("add", "x");
	ck_assert_int_eq(mkfifo(fifo, 0644), 0);
	for (size_t i = 0; i <= sizeof(none) / sizeof(none[0]); i++)
		for (int dry = 0; dry < 2; dry++) {
			const char *from = i == sizeof(none) / sizeof(none[0]) ? fifo : none[i];
			const struct ctl_result *r =
				kanbanctl("restore", "default", from, dry ? "--dry-run" : NULL);

			ck_assert_msg(r->exit > 0 && r->exit <= 78, "%s: %d %s", from, r->exit,
				      r->out);
			ck_assert_ptr_nonnull(strstr(r->err, from));
		}
	ck_assert_str_eq(world_sql("kanban.db", "SELECT count(*) FROM tasks"), "1");
}
END_TEST

START_TEST(ten_megabytes)
{
	size_t len = 10 << 20;
	char *title = malloc(len);
	json_t *j;

	ck_assert_ptr_nonnull(title);
	memset(title, 'x', len);
	world_with_root();
	world_input(title, len);
	(void)ok("add", "-");
	j = parsed(0, "list");
	ck_assert_uint_eq(json_string_length(json_object_get(
				  json_array_get(json_object_get(j, "tasks"), 0), "title")),
			  len);
	json_decref(j);
	ck_assert_uint_lt(strlen(ok("list")), 5000);
	/* more than a board takes */
	free(title);
	title = calloc(1, (64 << 20) + 2);
	ck_assert_ptr_nonnull(title);
	memset(title, 'y', (64 << 20) + 1);
	world_input(title, (64 << 20) + 1);
	fails(64, "too long", "add", "-");
	free(title);
}
END_TEST

/* ---- looking changes nothing --------------------------------------------------------- */

static void look_at_everything(void)
{
	(void)ok("list");
	(void)ok("list", "--json");
	(void)ok("show", "t_1");
	(void)ok("boards");
	(void)kanbanctl("status");
	(void)kanbanctl("leader");
}

START_TEST(looking_in_delete_mode)
{
	unsigned long long before;

	world_with_task();
	before = world_sum();
	look_at_everything();
	ck_assert_uint_eq(world_sum(), before);
}
END_TEST

START_TEST(looking_in_wal_mode)
{
	unsigned long long before;

	world_with_task();
	(void)world_sql("kanban.db", "PRAGMA journal_mode = WAL");
	before = world_sum();
	look_at_everything();
	ck_assert_uint_eq(world_sum(), before);
	ck_assert_int_ne(access(world_path("kanban.db-shm"), F_OK), 0);
}
END_TEST

/* A process was killed: its commits are in the WAL only. They are seen, and stay there. */
START_TEST(looking_at_a_hot_wal)
{
	unsigned long long before;

	world_with_task();
	world_killed("kanban.db", "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
				  "INSERT INTO tasks (id, title, status, created_at) VALUES"
				  " ('t_2', 'in the wal', 'ready', 2)");
	before = world_sum();
	look_at_everything();
	ck_assert_ptr_nonnull(strstr(ok("list"), "in the wal"));
	ck_assert_uint_eq(world_sum(), before);
}
END_TEST

/* ---- output -------------------------------------------------------------------------- */

/* Run kanbanctl list with standard output @fd (closed: -1), SIGPIPE as told. */
static int list_to(int fd, void (*sigpipe)(int), char err[4096])
{
	const char *const env[] = { "TZ=UTC", NULL, NULL };
	const char *const argv[] = {
		"kanbanctl", "--root", world_root, "list", "--json", NULL
	};
	const char *binary = world_binary();
	int log[2], status;
	ssize_t n, used = 0;
	pid_t pid;

	ck_assert_int_eq(pipe2(log, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)signal(SIGPIPE, sigpipe);
		(void)dup2(log[1], 2);
		if (fd >= 0)
			(void)dup2(fd, 1);
		else
			(void)close(1);
		execve(binary, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
		_exit(127);
	}
	close(log[1]);
	while ((n = read(log[0], err + used, (size_t)(4095 - used))) > 0)
		used += n;
	err[used] = '\0';
	close(log[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

START_TEST(output)
{
	char err[4096];
	int fd, ends[2];

	world_with_root();
	/* more than a buffer and a pipe hold */
	(void)world_sql(
		"kanban.db",
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000)"
		" INSERT INTO tasks (id, title, status, created_at) SELECT 't_' || i,"
		" 'a task', 'ready', i FROM n");
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(list_to(fd, SIG_DFL, err), 74);
	ck_assert_ptr_nonnull(strstr(err, "cannot write"));
	close(fd);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	ck_assert_int_eq(list_to(ends[1], SIG_DFL, err), -SIGPIPE);
	ck_assert_str_eq(err, "");
	ck_assert_int_eq(list_to(ends[1], SIG_IGN, err), 0);
	ck_assert_str_eq(err, "");
	close(ends[1]);
	/* no standard output at all: nothing of it may land in the board */
	ck_assert_int_eq(list_to(-1, SIG_DFL, err), 0);
	ck_assert_str_eq(world_sql("kanban.db", "PRAGMA integrity_check"), "ok");
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { two_completes,
				       many_adds,
				       busy,
				       hostile_rows,
				       every_verb_is_harmless,
				       restore_from_what_is_none,
				       ten_megabytes,
				       looking_in_delete_mode,
				       looking_in_wal_mode,
				       looking_at_a_hot_wal,
				       output };

	return SUITE_EACH("ctl_hostile", 120, world_setup, world_teardown, tests);
}
