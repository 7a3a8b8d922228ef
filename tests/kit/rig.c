/*
 * One case of the black-box tests: its folder, its environment, and what must be true at its
 * end.
 *
 * Happy path: rig_setup() makes the folder, a root with the profiles jimmy and franky and an
 * empty default board, and an environment in which the programs find only what belongs to the
 * case. rig_teardown() ends the daemons, lets the workers go, and then looks for what should
 * not be.
 *
 * Failure modes: Check ends the process of a failed case without its teardown. Daemons then die
 * with it (PR_SET_PDEATHSIG), workers notice that RIG_PID is gone, and the folder stays for
 * whoever wants to know why.
 */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit.h"

extern char **environ;

struct rig rig;

void *rig_keep(void *memory)
{
	ck_assert_ptr_nonnull(memory);
	if (rig.kept_count == rig.kept_room) {
		const size_t room = rig.kept_room ? rig.kept_room * 2 : 64;
		void **bigger = realloc(rig.kept, room * sizeof(*bigger));

		ck_assert_ptr_nonnull(bigger);
		rig.kept = bigger;
		rig.kept_room = room;
	}
	rig.kept[rig.kept_count++] = memory;
	return memory;
}

char *rig_printf(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	ck_assert_int_ge(n, 0);
	return rig_keep(text);
}

int64_t rig_now(void)
{
	return (int64_t)time(NULL);
}

int64_t rig_mono_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t rig_patience_us(int64_t ms)
{
	const char *times = getenv("KANBAND_PATIENCE");
	const int64_t n = times ? strtoll(times, NULL, 10) : 1;

	return ms * 1000 * (n > 1 ? n : 1);
}

void rig_pause(void)
{
	const struct timespec nap = { 0, 3000000 };

	(void)nanosleep(&nap, NULL);
	rig_watch_daemons();
}

/* ---- environment ----------------------------------------------------------------------- */

static size_t rig_env_find(const char *name)
{
	const size_t len = strlen(name);
	size_t i = 0;

	while (rig.env[i] && (strncmp(rig.env[i], name, len) || rig.env[i][len] != '='))
		i++;
	return i;
}

void rig_env(const char *name, const char *value)
{
	const size_t i = rig_env_find(name);
	size_t count = i;

	while (rig.env[count])
		count++;
	if (!value) {
		if (i < count)
			memmove(&rig.env[i], &rig.env[i + 1], (count - i) * sizeof(char *));
		return;
	}
	ck_assert_uint_lt(count, RIG_ENV_MAX);
	if (i == count)
		rig.env[i + 1] = NULL;
	rig.env[i] = rig_printf("%s=%s", name, value);
}

const char *rig_env_get(const char *name)
{
	const char *line = rig.env[rig_env_find(name)];

	return line ? line + strlen(name) + 1 : NULL;
}

/* What the test's own environment may pass on: where programs are, and what tools need. */
static void rig_env_init(void)
{
	static const char *const passed[] = { "PATH",           "TMPDIR",
					      "LANG",           "LC_ALL",
					      "ASAN_OPTIONS",   "UBSAN_OPTIONS",
					      "TSAN_OPTIONS",   "LSAN_OPTIONS",
					      "GCOV_PREFIX",    "GCOV_PREFIX_STRIP",
					      "LD_LIBRARY_PATH" };

	rig.env = rig_keep(calloc(RIG_ENV_MAX + 2, sizeof(char *)));
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (getenv(passed[i]))
			rig_env(passed[i], getenv(passed[i]));
	rig_env("HOME", rig_path("home"));
	rig_env("XDG_RUNTIME_DIR", rig_path("run"));
	rig_env("RIG_DIR", rig.dir);
	rig_env("RIG_PID", rig_printf("%d", (int)getpid()));
	rig_env("HERMES_BIN", rig_program("rig-worker"));
	rig_env("KANBANCTL", rig_program("kanbanctl"));
	/* A crashed git or a prompt must not reach the person who runs the tests. */
	rig_env("GIT_CONFIG_NOSYSTEM", "1");
	rig_env("GIT_AUTHOR_NAME", "rig");
	rig_env("GIT_AUTHOR_EMAIL", "rig@example.org");
	rig_env("GIT_COMMITTER_NAME", "rig");
	rig_env("GIT_COMMITTER_EMAIL", "rig@example.org");
}

/* The programs: $KANBAND_BIN, $KANBANCTL_BIN, else beside the folder of this test. */
char *rig_program(const char *name)
{
	const char *given = !strcmp(name, "kanband")     ? getenv("KANBAND_BIN")
			    : !strcmp(name, "kanbanctl") ? getenv("KANBANCTL_BIN")
							 : NULL;

	if (given)
		return rig_printf("%s", given);
	if (!strcmp(name, "rig-worker"))
		return rig_printf("%s/tests/rig-worker", rig.bin);
	return rig_printf("%s/%s", rig.bin, name);
}

static char *rig_bin_folder(void)
{
	char exe[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	ck_assert_int_gt(n, 0);
	exe[n] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(exe, '/');

		ck_assert_ptr_nonnull(slash);
		*slash = '\0';
	}
	return rig_printf("%s", exe);
}

/* ---- setup and teardown ---------------------------------------------------------------- */

void rig_setup(void)
{
	const char *tmp = getenv("TMPDIR");
	char *made;

	memset(&rig, 0, sizeof(rig));
	(void)umask(022);
	(void)signal(SIGPIPE, SIG_IGN);
	rig.kept_json = json_array();
	made = realpath(tmp && *tmp ? tmp : "/tmp", NULL);
	ck_assert_ptr_nonnull(made);
	rig.dir = rig_printf("%s/kanband-rig.XXXXXX", made);
	free(made);
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	ck_assert_int_eq(gethostname(rig.host, sizeof(rig.host)), 0);
	rig.bin = rig_bin_folder();
	rig.root = rig_path("root");
	rig_env_init();
	rig_mkdir("home");
	rig_mkdir("run");
	rig_mkdir("do");
	rig_mkdir("ran");
	rig_mkdir("root/kanban");
	/* How much memory is free must not decide what a test sees. */
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n");
	rig_do("default", "wait stop\n");
	rig_profile("jimmy");
	rig_profile("franky");
	rig_config("failure_limit: 2");
}

/* Is there a process of this case: one with our RIG_DIR in its environment, and no zombie. */
static pid_t rig_leftover(void)
{
	char *mark = rig_printf("RIG_DIR=%s", rig.dir);
	DIR *proc = opendir("/proc");
	pid_t found = 0;

	ck_assert_ptr_nonnull(proc);
	for (struct dirent *d; !found && (d = readdir(proc));) {
		const pid_t pid = (pid_t)atol(d->d_name);
		char path[64], env[65536];
		ssize_t n = 0;
		int fd;

		if (pid <= 0 || pid == getpid())
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		for (ssize_t got; (size_t)n < sizeof(env) - 1 &&
				  (got = read(fd, env + n, sizeof(env) - 1 - (size_t)n)) > 0;)
			n += got;
		(void)close(fd);
		env[n] = '\0';
		if (memmem(env, (size_t)n + 1, mark, strlen(mark) + 1) && rig_alive(pid))
			found = pid;
	}
	(void)closedir(proc);
	return found;
}

static void rig_reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* Let everything end by itself; what does not is killed, and the case has failed. */
static void rig_end_processes(void)
{
	const int64_t until = rig_mono_us() + 5000000;
	pid_t left;

	rig_let_go();
	while ((left = rig_leftover()) && rig_mono_us() < until) {
		rig_pause();
		rig_reap();
	}
	for (pid_t pid = left; pid; pid = rig_leftover()) {
		(void)kill(pid, SIGKILL);
		rig_pause();
		rig_reap();
	}
	ck_assert_msg(!left, "process %d of this case was still there after its end",
		      (int)left);
}

/* Any stderr with one of these is a failure, whatever else the case thinks. */
static void rig_check_stderr(void)
{
	static const char *const marks[] = { "Assertion", "Sanitizer", "runtime error",
					     "==ERROR" };

	for (unsigned i = 1; i <= rig.runs; i++) {
		const char *text = rig_read(rig_printf("err.%u", i));

		for (size_t m = 0; text && m < sizeof(marks) / sizeof(marks[0]); m++)
			ck_assert_msg(!strstr(text, marks[m]), "\"%s\" on stderr:\n%s",
				      marks[m], text);
	}
}

void rig_teardown(void)
{
	rig_end_daemons();
	rig_end_processes();
	rig_check_stderr();
	rig_shell("chmod -R u+rwX . && cd / && rm -rf '%s'", rig.dir);
	json_decref(rig.kept_json);
	for (size_t i = 0; i < rig.kept_count; i++)
		free(rig.kept[i]);
	free(rig.kept);
}

TCase *rig_tcase(const char *name, int seconds)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_set_timeout(tc, seconds);
	return tc;
}

static void rig_setup_august(void)
{
	rig_setup();
	rig.age = RIG_AUGUST;
}

struct rig_ages rig_ages(const char *name, int seconds)
{
	struct rig_ages ages = { rig_tcase(name, seconds), tcase_create("august") };

	tcase_add_checked_fixture(ages.august, rig_setup_august, rig_teardown);
	tcase_set_timeout(ages.august, seconds);
	return ages;
}

const char *rig_by_age(const char *newer, const char *august)
{
	return rig.age == RIG_AUGUST ? august : newer;
}

const char *rig_closed(pid_t pid)
{
	return rig_by_age(rig_printf("%s:123|-|%d", rig.host, (int)pid), "-|-|-");
}

Suite *rig_suite(const char *suite, ...)
{
	Suite *s = suite_create(suite);
	va_list ap;

	va_start(ap, suite);
	for (TCase *tc; (tc = va_arg(ap, TCase *));)
		suite_add_tcase(s, tc);
	va_end(ap);
	return s;
}
