/* The built kanbanctl among hostile rows, full disks, closed pipes, other users and races. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "util/fs.h"
#include "util/text.h"

static void with_root(void)
{
	(void)ok("init");
}

static void run_task(const char *id)
{
	char sql[1024];

	(void)snprintf(
		sql, sizeof(sql),
		"UPDATE tasks SET status = 'running', claim_lock = 'h:1', claim_expires = 5,"
		" worker_pid = 4194999, current_run_id = 1, started_at = 1 WHERE id = '%s';"
		"INSERT INTO task_runs (id, task_id, status, claim_lock, started_at) VALUES"
		" (1, '%s', 'running', 'h:1', 1)",
		id, id);
	(void)world_sql("kanban.db", sql);
}

/* ---- races --------------------------------------------------------------------------------
 */

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
		run_task("t_1");
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

	with_root();
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

	with_root();
	(void)ok("add", "x");
	world_env("HERMES_KANBAN_BUSY_TIMEOUT_MS=0");
	ck_assert_int_eq(sqlite3_open(world_path("kanban.db"), &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	fails(75, "lock", "add", "y");
	fails(75, "lock", "list");
	ck_assert_ptr_nonnull(strstr(kanbanctl("boards")->out, "busy"));
	ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	(void)ok("add", "y");
}
END_TEST

/* ---- rows ---------------------------------------------------------------------------------
 */

/* Control characters, direction marks and bytes that are no UTF-8, in every place. */
START_TEST(hostile_rows)
{
	static const char *const plain[] = { "list", "boards", "status" };
	json_t *j, *task;

	with_root();
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

START_TEST(ten_megabytes)
{
	size_t len = 10 << 20;
	char *title = malloc(len);
	json_t *j;

	ck_assert_ptr_nonnull(title);
	memset(title, 'x', len);
	with_root();
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

/* ---- looking changes nothing --------------------------------------------------------------
 */

static void look_at_everything(void)
{
	(void)ok("list");
	(void)ok("list", "--json");
	(void)ok("show", "t_1");
	(void)ok("boards");
	(void)kanbanctl("status");
	(void)kanbanctl("leader");
}

static void with_a_task(void)
{
	with_root();
	(void)world_sql("kanban.db", "INSERT INTO tasks (id, title, status, created_at) VALUES"
				     " ('t_1', 'x', 'ready', 1)");
}

START_TEST(looking_in_delete_mode)
{
	unsigned long long before;

	with_a_task();
	before = world_sum();
	look_at_everything();
	ck_assert_uint_eq(world_sum(), before);
}
END_TEST

START_TEST(looking_in_wal_mode)
{
	unsigned long long before;

	with_a_task();
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
	char copy[300];
	sqlite3 *db = NULL;
	pid_t pid;
	int status;

	with_a_task();
	(void)snprintf(copy, sizeof(copy), "%s", world_path("kanban.db"));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (sqlite3_open(copy, &db) != SQLITE_OK ||
		    sqlite3_exec(db,
				 "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
				 "INSERT INTO tasks (id, title, status, created_at) VALUES"
				 " ('t_2', 'in the wal', 'ready', 2)",
				 NULL, NULL, NULL) != SQLITE_OK)
			_exit(1);
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	before = world_sum();
	look_at_everything();
	ck_assert_ptr_nonnull(strstr(ok("list"), "in the wal"));
	ck_assert_uint_eq(world_sum(), before);
}
END_TEST

/* ---- output -------------------------------------------------------------------------------
 */

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

	with_root();
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

/* ---- rights and disks ---------------------------------------------------------------------
 */

/* Run as nobody: exit code; standard error to @err. */
static int as_nobody(char err[4096], const char *const *args)
{
	const char *const env[] = { "TZ=UTC", NULL };
	const char *argv[16] = { "kanbanctl", "--root", world_root };
	int log[2], binary = open(world_binary(), O_RDONLY | O_CLOEXEC), status;
	ssize_t n, used = 0;
	pid_t pid;

	ck_assert_int_ge(binary, 0);
	for (size_t i = 0; args[i]; i++)
		argv[i + 3] = args[i];
	ck_assert_int_eq(pipe2(log, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)dup2(log[1], 2);
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(126);
		(void)fexecve(binary, (char *const *)(uintptr_t)argv,
			      (char *const *)(uintptr_t)env);
		_exit(127);
	}
	close(log[1]);
	close(binary);
	while ((n = read(log[0], err + used, (size_t)(4095 - used))) > 0)
		used += n;
	err[used] = '\0';
	close(log[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define nobody(err, ...) as_nobody(err, (const char *const[]){ __VA_ARGS__, NULL })

START_TEST(rights)
{
	char err[4096];

	if (geteuid() != 0)
		return; /* who is not root cannot become somebody else */
	with_a_task();
	ck_assert_int_eq(chmod(world_root, 0755), 0);
	ck_assert_int_eq(chmod(world_path("kanban"), 0755), 0);
	ck_assert_int_eq(chmod(world_path("kanban/boards"), 0755), 0);
	ck_assert_int_eq(chmod(world_path("kanban.db"), 0600), 0);
	ck_assert_int_eq(nobody(err, "list"), 77);
	ck_assert_ptr_nonnull(strstr(err, "Permission denied"));
	ck_assert_int_eq(nobody(err, "boards"), 1);
	ck_assert_int_eq(nobody(err, "--board", "new", "init"), 77);
	/* who may only read, reads */
	ck_assert_int_eq(chmod(world_path("kanban.db"), 0644), 0);
	ck_assert_int_eq(nobody(err, "list"), 0);
	ck_assert_int_eq(nobody(err, "show", "t_1"), 0);
	ck_assert_int_eq(nobody(err, "leader"), 1);
	ck_assert_int_eq(nobody(err, "add", "x"), 77);
	ck_assert_ptr_nonnull(strstr(err, "read-only"));
	ck_assert_int_eq(nobody(err, "complete", "t_1"), 77);
	ck_assert_str_eq(world_sql("kanban.db", "SELECT group_concat(status) FROM tasks"),
			 "ready");
	/* what root makes in somebody's folder is theirs */
	ck_assert_int_eq(mkdir(world_path("theirs"), 0755), 0);
	ck_assert_int_eq(chown(world_path("theirs"), 65534, 65534), 0);
	(void)ok("init", world_path("theirs/root"));
	(void)ok("--root", world_path("theirs/root"), "--board", "b", "init");
	{
		static const char *const made[] = {
			"root",
			"root/kanban",
			"root/kanban.db",
			"root/kanban.db.init.lock",
			"root/kanban/boards/b/kanban.db",
			"root/kanban/boards/b/board.json",
		};

		for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
			char name[128];
			struct stat st;

			(void)snprintf(name, sizeof(name), "theirs/%s", made[i]);
			ck_assert_int_eq(stat(world_path(name), &st), 0);
			ck_assert_msg(st.st_uid == 65534, "%s", made[i]);
		}
	}
}
END_TEST

START_TEST(disk_full)
{
	struct statvfs fs;
	char *big;

	if (geteuid() != 0)
		return; /* who is not root cannot mount */
	ck_assert_int_eq(mkdir(world_path("small"), 0755), 0);
	/* mounts of its own, which end with this process */
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", world_path("small"), "tmpfs", 0, "size=512k") < 0)
		return; /* a container without the right */
	big = malloc(1 << 20);
	ck_assert_ptr_nonnull(big);
	memset(big, 'x', 1 << 20);
	(void)ok("init", world_path("small"));
	(void)ok("--root", world_path("small"), "add", "first");
	world_input(big, 1 << 20);
	fails(74, "full", "--root", world_path("small"), "add", "--body", "-", "second");
	/* less than a page cache: only the commit finds out */
	ck_assert_int_ne(access(world_path("small/kanban.db-journal"), F_OK), 0);
	ck_assert_int_eq(statvfs(world_path("small"), &fs), 0);
	ck_assert_uint_lt(fs.f_bavail * fs.f_frsize, 1 << 20);
	world_put("small/filler", big, fs.f_bavail * fs.f_frsize - 65536);
	world_input(big, 200000);
	fails(74, "full", "--root", world_path("small"), "add", "--body", "-", "second");
	fails(74, "full", "--root", world_path("small"), "--board", "more", "init");
	ck_assert_int_eq(unlink(world_path("small/filler")), 0);
	ck_assert_str_eq(world_sql("small/kanban.db", "SELECT group_concat(title) FROM tasks"),
			 "first");
	(void)ok("--root", world_path("small"), "complete",
		 world_sql("small/kanban.db", "SELECT id FROM tasks"));
	free(big);
	/* read-only from now on */
	ck_assert_int_eq(mount("none", world_path("small"), NULL, MS_REMOUNT | MS_RDONLY, NULL),
			 0);
	fails(77, "read-only", "--root", world_path("small"), "add", "third");
	ck_assert_ptr_nonnull(strstr(ok("--root", world_path("small"), "list"), "first"));
	ck_assert_int_eq(kanbanctl("--root", world_path("small"), "--board", "b", "init")->exit,
			 77);
	ck_assert_int_eq(umount(world_path("small")), 0);
}
END_TEST

START_TEST(special_files)
{
	world_put("kanban/boards/x", "x", 1);
	ck_assert_int_eq(mkfifo(world_path("kanban.db"), 0600), 0);
	fails(66, "regular file", "list");
	ck_assert_int_eq(kanbanctl("boards")->exit, 1);
	ck_assert_int_eq(unlink(world_path("kanban.db")), 0);
	ck_assert_int_eq(symlink("kanban.db", world_path("kanban.db")), 0);
	ck_assert_int_ne(kanbanctl("list")->exit, 0);
	ck_assert_int_ne(kanbanctl("init")->exit, -SIGSEGV);
}
END_TEST

/* Killed while it wrote: pages are in the file, and a journal says that it was empty. */
START_TEST(init_killed_while_writing)
{
	char name[300];
	sqlite3 *db = NULL;
	struct stat st;
	int status;
	pid_t pid;

	(void)snprintf(name, sizeof(name), "%s", world_path("kanban.db"));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (sqlite3_open(name, &db) != SQLITE_OK ||
		    sqlite3_exec(db,
				 "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN;"
				 "CREATE TABLE tasks (id); INSERT INTO tasks SELECT"
				 " zeroblob(300000); INSERT INTO tasks SELECT zeroblob(300000)",
				 NULL, NULL, NULL) != SQLITE_OK)
			_exit(1);
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(stat(name, &st), 0);
	ck_assert_int_gt(st.st_size, 0);
	ck_assert_int_eq(stat(world_path("kanban.db-journal"), &st), 0);
	ck_assert_ptr_nonnull(strstr(ok("init"), "made board"));
	(void)ok("add", "x");
	/* but a journal of a board that had something is not passed over */
	ck_assert_int_eq(unlink(name), 0);
	world_put("kanban.db-journal",
		  "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\0\0\0\1rand\0\0\0\7\0\0\2\0\0\0\20\0", 28);
	fails(1, "lost its file", "init");
}
END_TEST

/* A kill at any moment of an init leaves nothing that the next one cannot complete. */
START_TEST(init_killed)
{
	for (int i = 0; i < 40; i++) {
		char root[300];
		struct world_child c;
		const struct timespec wait = { .tv_nsec = i * 250000 };

		(void)snprintf(root, sizeof(root), "%s/r%d", world_root, i);
		c = world_start((const char *const[]){ "init", root, NULL });
		(void)nanosleep(&wait, NULL);
		(void)kill(c.pid, SIGKILL);
		(void)world_wait(c);
		(void)ok("init", root);
		(void)ok("--root", root, "add", "x");
	}
}
END_TEST

/* Real boards of Hermes, when there are some. */
START_TEST(real_boards)
{
	const char *compat = getenv("KANBAND_COMPAT");
	char cmd[1024];
	json_t *j;

	if (!compat)
		return;
	(void)snprintf(cmd, sizeof(cmd), "cp -r '%s/roots/healthy/.' '%s'", compat, world_root);
	ck_assert_int_eq(system(cmd), 0);
	j = parsed(0, "boards");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "boards")), 3);
	json_decref(j);
	j = parsed(0, "--board", "ghi-property-launch", "list", "--all");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "tasks")), 30);
	json_decref(j);
	j = parsed(0, "show", "t_a43e6419");
	ck_assert_uint_eq(
		json_array_size(json_object_get(json_object_get(j, "task"), "skills")), 2);
	json_decref(j);
	(void)ok("complete", "t_316e3584", "--summary", "x");
	(void)snprintf(cmd, sizeof(cmd), "cp -r '%s/roots/legacy/kanban.db' '%s'", compat,
		       world_root);
	ck_assert_int_eq(system(cmd), 0);
	(void)ok("list", "--all");
	(void)ok("add", "on a board of the first release");
	(void)snprintf(cmd, sizeof(cmd), "cp -r '%s/roots/legacy-before-runs/kanban.db' '%s'",
		       compat, world_root);
	ck_assert_int_eq(system(cmd), 0);
	fails(1, "migrate", "list");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		two_completes,
		many_adds,
		busy,
		hostile_rows,
		ten_megabytes,
		looking_in_delete_mode,
		looking_in_wal_mode,
		looking_at_a_hot_wal,
		output,
		rights,
		disk_full,
		special_files,
		init_killed_while_writing,
		init_killed,
		real_boards,
	};
	Suite *s = suite_create("ctl_hostile");
	SRunner *r;
	int failed;

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, 120);
		tcase_add_checked_fixture(tc, world_setup, world_teardown);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
