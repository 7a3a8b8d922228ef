/* kanbanctl where rights, disks, files and its own end are in the way; init that is killed. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "kit/tasks.h"
#include "util/fs.h"
#include "util/text.h"

/* ---- rights and disks ---------------------------------------------------------------- */

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
	world_with_task();
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
	struct stat st;

	(void)snprintf(name, sizeof(name), "%s", world_path("kanban.db"));
	world_killed("kanban.db",
		     "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN;"
		     "CREATE TABLE tasks (id); INSERT INTO tasks SELECT"
		     " zeroblob(300000); INSERT INTO tasks SELECT zeroblob(300000)");
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

Suite *test_suite(void)
{
	const TTest *const tests[] = { rights,        disk_full,
				       special_files, init_killed_while_writing,
				       init_killed,   real_boards };

	return SUITE_EACH("ctl_rights", 120, world_setup, world_teardown, tests);
}
