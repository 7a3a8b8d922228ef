/*
 * A root whose owner shares it with somebody who laid traps: in the place of each file of
 * kanband's something that is none, or another's; and rows that point at processes of others.
 * One sweep ends in its time, writes nowhere else, and ends nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/rig.h"

#define B    "default"
#define KEEP "a file of its own, which nobody may write to\n"

/* @text with its placeholders filled in. */
static char *filled(const char *text, const char *task, const char *run)
{
	char *out = rig_printf("%s", "");

	for (const char *p = text; *p; p++)
		if (*p != '@')
			out = rig_printf("%s%c", out, *p);
		else
			out = rig_printf("%s%s", out,
					 *++p == 'T' ? task
					 : *p == 'R' ? run
						     : rig_db("garden"));
	return out;
}

/* ---- files ------------------------------------------------------------------------------- */

enum trap {
	FIFO,
	FOLDER,
	SOCKET,
	LINK,
	DANGLING,
	LOOP,
	HARD,
	ENDLESS,
	SPARSE,
	NESTED,
	N_TRAPS
};

static void trap_socket(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_lt(snprintf(name.sun_path, sizeof(name.sun_path), "%s", path),
			 (int)sizeof(name.sun_path));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	ck_assert_int_eq(close(fd), 0);
}

static void trap_lay(enum trap trap, const char *path)
{
	int r = 0;

	switch (trap) {
	case FIFO:
		r = mkfifo(path, 0644);
		break;
	case FOLDER:
		r = mkdir(path, 0755);
		break;
	case SOCKET:
		trap_socket(path);
		break;
	case LINK:
		r = symlink(rig_path("outside/victim"), path);
		break;
	case DANGLING:
		r = symlink(rig_path("outside/new"), path);
		break;
	case LOOP:
		r = symlink(path, path);
		break;
	case HARD:
		r = link(rig_path("outside/victim"), path);
		break;
	case ENDLESS:
		r = symlink("/dev/zero", path);
		break;
	case SPARSE:
		rig_shell("truncate -s 5G '%s'", path);
		break;
	default:
		rig_shell("head -c 900000 /dev/zero | tr '\\0' '[' >'%s'", path);
	}
	ck_assert_msg(r == 0, "%s: %s", path, strerror(errno));
}

/* Below the root; @T: the task. */
static const char *const places[] = {
	"kanban/.dispatcher.lock",
	"kanban/.dispatcher.owner.json",
	"kanban/.kanband.ends",
	"kanban/.kanband.outbox",
	"kanban/boards/garden/board.json",
	"kanban/boards/garden/kanban.db.health.json",
	"kanban/boards/garden/kanban.db.dispatch.lock",
	"kanban/boards/garden/kanban.db.init.lock",
	"kanban/boards/garden/logs/@T.log",
	"kanban/boards/garden/workspaces/@T",
	"profiles/jimmy/config.yaml",
	"profiles/jimmy/gateway.lock",
	"kanban/ESTOP",
};

#define PLACES (sizeof(places) / sizeof(places[0]))

static void try_trap(size_t place, enum trap trap)
{
	const char *id = rig_printf("t_%08x", (unsigned)(place * N_TRAPS + (size_t)trap));
	char *at = filled(places[place], id, "");
	char *path = rig_path(rig_printf("root/%s", at));
	struct rig_out *out;
	struct stat st;

	rig_add("garden", .id = id);
	rig_shell(
		"mkdir -p root/kanban/boards/garden/logs root/kanban/boards/garden/workspaces;"
		" rm -rf '%s'",
		path);
	trap_lay(trap, path);
	out = rig_kanband("--config", rig_path("kanband.conf"), "--root", rig.root, "--once");
	ck_assert_msg(out->status >= 0 && out->status <= 78, "%s, %d: exit %d: %s", at, trap,
		      out->status, out->err);
	ck_assert_msg(strcmp(rig_read("outside/victim"), KEEP) == 0, "%s, %d", at, trap);
	ck_assert_int_eq(stat(rig_path("outside/victim"), &st), 0);
	ck_assert_msg((st.st_mode & 07777) == 0644, "%s, %d: mode %o", at, trap,
		      (unsigned)st.st_mode);
	ck_assert_msg(!rig_exists("outside/new"), "%s, %d", at, trap);
	rig_shell("rm -rf '%s'", path);
}

START_TEST(test_files_in_the_way)
{
	rig_board(B, 0);
	rig_board("garden", 0);
	rig_profile("jimmy");
	rig_write("kanband.conf", "");
	rig_write("outside/victim", KEEP);
	ck_assert_int_eq(chmod(rig_path("outside/victim"), 0644), 0);
	for (size_t place = 0; place < PLACES; place++)
		for (enum trap trap = FIFO; trap < N_TRAPS; trap++)
			try_trap(place, trap);
	/* and without one all goes on */
	(void)rig_tick("garden");
	ck_sql("garden", "0", "SELECT count(*) FROM tasks WHERE status = 'ready'");
}
END_TEST

/* ---- processes --------------------------------------------------------------------------- */

/* A process with the environment @env, which has nothing to do with a run of ours. */
static pid_t other_process(char *const *env)
{
	char sleep[] = "sleep", long_enough[] = "600";
	char *const argv[] = { sleep, long_enough, NULL };
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)setsid();
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
		execve("/bin/sleep", argv, env);
		_exit(127);
	}
	return pid;
}

/* What it bears instead of the marks of the run that a row says it is: @T the task, @R the run,
 * @D a database of another board. */
static const char *const marks[][3] = {
	{ NULL },
	{ "HERMES_KANBAN_TASK=", "HERMES_KANBAN_RUN_ID=" },
	{ "HERMES_KANBAN_RUN_ID=@R" },
	{ "HERMES_KANBAN_TASK=@Tx", "HERMES_KANBAN_RUN_ID=@R" },
	{ "HERMES_KANBAN_TASK=@T", "HERMES_KANBAN_RUN_ID=9@R" },
	{ "X=a HERMES_KANBAN_TASK=@T HERMES_KANBAN_RUN_ID=@R" },
	{ "X=a\nHERMES_KANBAN_TASK=@T\nHERMES_KANBAN_RUN_ID=@R" },
	{ "XHERMES_KANBAN_TASK=@T", "hermes_kanban_task=@T", "HERMES_KANBAN_RUN_ID=@R" },
	{ "HERMES_KANBAN_TASK=@T", "HERMES_KANBAN_RUN_ID=@R", "HERMES_KANBAN_DB=@D" },
};

#define MARKS (sizeof(marks) / sizeof(marks[0]))

enum row { EXPIRED, STALE, OVER, TERMINAL, LEFT, N_ROWS };

/* A row that would have its worker ended, and says that @pid is it. */
static void row_of(enum row row, const char *id, pid_t pid, const char *started)
{
	(void)rig_running(B, .id = id, .pid = pid, .started = started, .age = 90000,
			  .expires_in = row == EXPIRED ? -50 : 600,
			  .heartbeat_age = row == OVER ? 0 : 80000,
			  .max_runtime = row == OVER ? 1 : 0);
	if (row == TERMINAL || row == LEFT)
		rig_sql(B, "UPDATE tasks SET status = %Q, completed_at = 1 WHERE id = %Q",
			row == LEFT ? "ready" : "done", id);
}

START_TEST(test_rows_end_nobody)
{
	pid_t pids[MARKS * N_ROWS * 2];
	size_t n = 0;

	rig_board(B, 0);
	rig_board("garden", 0);
	for (size_t i = 0; i < MARKS; i++)
		for (int k = 0; k < N_ROWS * 2; k++) {
			char *id = rig_printf("t_%08x", (unsigned)n);
			char *env[4] = { NULL };

			for (size_t m = 0; m < 3 && marks[i][m]; m++)
				env[m] = filled(marks[i][m], id, rig_printf("%d", (int)n + 1));
			pids[n] = other_process(env);
			row_of(k / 2, id, pids[n], k % 2 ? rig_started(pids[n]) : NULL);
			n++;
		}
	(void)rig_once();
	(void)rig_once();
	for (size_t i = 0; i < n; i++) {
		ck_assert_msg(waitpid(pids[i], NULL, WNOHANG) == 0, "ended: marks %zu, row %zu",
			      i / (N_ROWS * 2), i % (N_ROWS * 2) / 2);
		ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
		ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
	}
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("traps", 120);

	tcase_add_test(tc, test_files_in_the_way);
	tcase_add_test(tc, test_rows_end_nobody);
	return rig_suite("once: traps", tc, NULL);
}
