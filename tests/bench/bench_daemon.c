/*
 * Daemons of the benchmark, and this program in the roles that a limit is measured with: a
 * process that only says READY, one that only holds connections, one that only holds a lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "bench.h"

void bench_sleep_ms(double ms)
{
	struct timespec t = { (time_t)(ms / 1e3), 0 };

	t.tv_nsec = (long)((ms - (double)t.tv_sec * 1e3) * 1e6);
	(void)nanosleep(&t, NULL);
}

static pid_t bench_spawn(char *const *argv, bool quiet)
{
	const pid_t pid = fork();

	if (pid < 0)
		bench_die("fork: %s", strerror(errno));
	if (pid == 0) {
		const int null = open("/dev/null", O_RDWR);
		const int log = open(bench_path("log"), O_WRONLY | O_CREAT | O_APPEND, 0644);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)setenv("HOME", bench_path("home"), 1);
		(void)setenv("XDG_RUNTIME_DIR", bench_path("home"), 1);
		(void)setenv("NOTIFY_SOCKET", bench_path("notify"), 1);
		(void)setenv("BENCH_STAMP", bench_path("stamp"), 1);
		(void)unsetenv("HERMES_HOME");
		(void)unsetenv("HERMES_KANBAN_HOME");
		if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
		    dup2(quiet ? null : log, 2) < 0)
			_exit(126);
		(void)execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* Is READY=1 among what was said within @ms? */
static bool bench_hears_ready(int ms)
{
	struct pollfd p = { bench.notify, POLLIN, 0 };
	char text[2048];

	while (poll(&p, 1, ms) == 1) {
		const ssize_t n = recv(bench.notify, text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, "READY=1"))
			return true;
		ms = 0;
	}
	return false;
}

void bench_wait_ready(pid_t pid, double from)
{
	while (!bench_hears_ready(100)) {
		siginfo_t info = { 0 };

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == pid) {
			if (bench_hears_ready(0)) /* one says so and ends at once */
				return;
			bench_die("process %d ended (%d) before it was READY; see %s", (int)pid,
				  info.si_status, bench_path("log"));
		}
		if (bench_now_ms() - from > 120000)
			bench_die("process %d did not become READY; see %s", (int)pid,
				  bench_path("log"));
	}
}

void bench_drain(void)
{
	char text[2048];

	while (recv(bench.notify, text, sizeof(text), MSG_DONTWAIT) >= 0)
		;
}

pid_t bench_daemon(const char *root, double *ready_ms)
{
	char program[512], *argv[] = { program,
				       (char[]){ "--config" },
				       strdup(bench_path("kanband.conf")),
				       (char[]){ "--root" },
				       strdup(bench_path("%s", root)),
				       (char[]){ "--launcher" },
				       (char *)(uintptr_t)bench.launcher,
				       (char[]){ "--log-level" },
				       (char[]){ "error" },
				       NULL };
	double from;
	pid_t pid;

	(void)snprintf(program, sizeof(program), "%s/kanband", bench.bin);
	bench_drain();
	from = bench_now_ms();
	pid = bench_spawn(argv, false);
	bench_wait_ready(pid, from);
	if (ready_ms)
		*ready_ms = bench_now_ms() - from;
	free(argv[2]);
	free(argv[4]);
	return pid;
}

void bench_stop(pid_t pid)
{
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, NULL, 0);
}

double bench_cpu_ms(pid_t pid)
{
	clockid_t clock;
	struct timespec t;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		bench_die("no CPU clock of %d", (int)pid);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

double bench_rss_mib(pid_t pid)
{
	char path[64], line[256];
	FILE *file;
	long kib = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "VmRSS:", 6))
			kib = atol(line + 6);
	if (file)
		(void)fclose(file);
	if (kib < 0)
		bench_die("%s: no VmRSS", path);
	return (double)kib / 1024;
}

double bench_once_ms(const char *root)
{
	char program[512], *argv[] = { program,
				       (char[]){ "--config" },
				       strdup(bench_path("kanband.conf")),
				       (char[]){ "--root" },
				       strdup(bench_path("%s", root)),
				       (char[]){ "--launcher" },
				       (char[]){ "fork" },
				       (char[]){ "--once" },
				       NULL };
	int status = 0;
	double from;
	pid_t pid;

	(void)snprintf(program, sizeof(program), "%s/kanband", bench.bin);
	from = bench_now_ms();
	pid = bench_spawn(argv, false);
	if (waitpid(pid, &status, 0) != pid || status)
		bench_die("kanband --once: wait status %d; see %s", status, bench_path("log"));
	free(argv[2]);
	free(argv[4]);
	return bench_now_ms() - from;
}

/* ---- roles ----------------------------------------------------------------------------- */

static void bench_say_ready(void)
{
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path ? path : "");
	(void)sendto(fd, "READY=1", 7, 0, (const struct sockaddr *)&a, sizeof(a));
}

/* A loop and N open boards, each read once: what the libraries alone need. */
static int bench_bare(int argc, char **argv)
{
	uv_loop_t loop;

	if (uv_loop_init(&loop))
		return 1;
	for (int i = 2; i < argc; i++) {
		sqlite3 *db = NULL;

		if (sqlite3_open(argv[i], &db) || sqlite3_busy_timeout(db, 60000) ||
		    sqlite3_exec(db, "SELECT count(*) FROM tasks WHERE status='todo'", NULL,
				 NULL, NULL))
			return 1;
	}
	bench_say_ready();
	(void)pause();
	return 0;
}

static int bench_hold(char **argv)
{
	const int fd = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || flock(fd, LOCK_EX))
		return 1;
	bench_say_ready();
	(void)pause();
	return 0;
}

int bench_role(int argc, char **argv)
{
	if (!strcmp(argv[1], "bare"))
		return bench_bare(argc, argv);
	if (!strcmp(argv[1], "hold") && argc > 2)
		return bench_hold(argv);
	if (!strcmp(argv[1], "ready")) {
		bench_say_ready();
		return 0;
	}
	return -1;
}
