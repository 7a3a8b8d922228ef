#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/terminate.h"
#include "util/clock.h"
#include "util/fs.h"

/* The test binary. Not /proc/self/exe at each exec: in valgrind that is valgrind. */
static char help_self[PATH_MAX];

static void help_find_self(void)
{
	ssize_t n = readlink("/proc/self/exe", help_self, sizeof(help_self) - 1);

	if (n <= 0)
		abort();
	help_self[n] = '\0';
}

char help_dir[PATH_MAX];
int help_news = -1;

static int help_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void help_setup(void)
{
	const char *tmp = getenv("TMPDIR");
	char *real;

	(void)snprintf(help_dir, sizeof(help_dir), "%s/kb-launch-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(help_dir));
	real = realpath(help_dir, NULL);
	ck_assert_ptr_nonnull(real);
	(void)snprintf(help_dir, sizeof(help_dir), "%s", real);
	free(real);
	(void)umask(022);
}

void help_teardown(void)
{
	fs_closep(&help_news);
	ck_assert_int_eq(nftw(help_dir, help_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

char *help_path(const char *fmt, ...)
{
	char rest[PATH_MAX];
	char *path;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(rest, sizeof(rest), fmt, ap);
	va_end(ap);
	path = fs_path("%s/%s", help_dir, rest);
	ck_assert_ptr_nonnull(path);
	return path;
}

void help_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

char *help_read(const char *path, size_t *len)
{
	char *data = NULL;
	int r = fs_read_file(path, 1 << 24, &data, len);

	ck_assert_msg(r == 0, "%s: %s", path, strerror(-r));
	return data;
}

int help_shell(const char *line)
{
	return system(line); /* NOLINT(cert-env33-c): a test */
}

static void probe_write(const char *dir, const char *name, const char *data, size_t len)
{
	char path[PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
		_exit(99);
}

/* Open descriptors as "0 1 2 ", and what is behind each. */
static void probe_fds(const char *dir)
{
	char line[4096] = "";
	size_t len = 0;
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;

	while (d && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(d))
			continue;
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%d ",
					atoi(entry->d_name));
	}
	if (d)
		(void)closedir(d);
	probe_write(dir, "fds", line, strlen(line));
}

static void probe_state(const char *dir)
{
	char text[8192], cwd[PATH_MAX], in[PATH_MAX], status[4096];
	struct rlimit limit = { 0 };
	ssize_t n = readlink("/proc/self/fd/0", in, sizeof(in) - 1);
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, status, sizeof(status) - 1);
	const char *block, *ignore;

	in[n > 0 ? n : 0] = '\0';
	status[got > 0 ? got : 0] = '\0';
	(void)close(fd);
	block = strstr(status, "SigBlk:");
	ignore = strstr(status, "SigIgn:");
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	(void)snprintf(text, sizeof(text),
		       "cwd=%s\nstdin=%s\nleads=%d\nsession=%d\nblocked=%.16s\nignored=%.16s\n"
		       "append=%d\nnofile=%llu\n",
		       getcwd(cwd, sizeof(cwd)), in, getpgrp() == getpid(),
		       getsid(0) == getpid(), block ? block + 8 : "", ignore ? ignore + 8 : "",
		       (fcntl(1, F_GETFL) & (O_APPEND | O_NONBLOCK)) == O_APPEND,
		       (unsigned long long)limit.rlim_cur);
	probe_write(dir, "state", text, strlen(text));
}

static void probe_report(int argc, char **argv)
{
	const char *dir = getenv("PROBE_REPORT");
	char path[PATH_MAX];
	char *data = NULL;
	size_t len = 0;
	FILE *f;

	if (!dir)
		return;
	if (fs_read_file("/proc/self/environ", 1 << 24, &data, &len) < 0)
		_exit(98);
	probe_write(dir, "environ", data, len);
	free(data);
	(void)snprintf(path, sizeof(path), "%s/args", dir);
	f = fopen(path, "we");
	for (int i = 0; f && i < argc; i++)
		(void)fwrite(argv[i], 1, strlen(argv[i]) + 1, f);
	if (!f || fclose(f) != 0)
		_exit(97);
	probe_fds(dir);
	probe_state(dir);
}

/* Tell the test that this process is there: one line "<name> <pid>". */
static void probe_news(const char *name)
{
	const char *path = getenv("PROBE_NEWS");
	int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void)dprintf(fd, "%s %d\n", name, (int)getpid());
	(void)close(fd);
}

static void probe_hang(const char *name)
{
	(void)alarm(120); /* whatever the test does, nothing stays */
	probe_news(name);
	for (;;)
		(void)pause();
}

/* Go on as a process that has nothing of the run's environment. */
static void probe_bare(const char *name)
{
	char hermes[] = "hermes", act[] = "PROBE_ACT=hang";
	char news[PATH_MAX + 16], who[64];
	char *const argv[] = { hermes, NULL };
	char *const envp[] = { act, news, who, NULL };

	(void)snprintf(news, sizeof(news), "PROBE_NEWS=%s", getenv("PROBE_NEWS"));
	(void)snprintf(who, sizeof(who), "PROBE_NAME=%s", name);
	(void)execve(help_self, argv, envp);
	_exit(96);
}

static void probe_child(const char *name, bool own_session, bool clear)
{
	if (fork() != 0)
		return;
	if (own_session)
		(void)setsid();
	if (clear)
		probe_bare(name);
	probe_hang(name);
}

/* A child that leaves: its own session, its parent gone. */
static void probe_escape(const char *name)
{
	pid_t pid = fork();

	if (pid != 0) {
		(void)waitpid(pid, NULL, 0);
		return;
	}
	(void)setsid();
	if (fork() != 0)
		_exit(0);
	probe_hang(name);
}

/* Write over the environment, as setproctitle() does. */
static void probe_wiped(void)
{
	const char *path = getenv("PROBE_NEWS");
	char *news = path ? strdup(path) : NULL;

	(void)alarm(120);
	for (char **var = environ; *var; var++)
		memset(*var, 0, strlen(*var));
	if (news && setenv("PROBE_NEWS", news, 1) == 0)
		probe_news("worker");
	for (;;)
		(void)pause();
}

static void probe_act(const char *act)
{
	const char *name = getenv("PROBE_NAME");

	if (strncmp(act, "exit:", 5) == 0)
		exit(atoi(act + 5));
	if (strcmp(act, "kill") == 0)
		(void)kill(getpid(), SIGKILL);
	if (strcmp(act, "hang") == 0)
		probe_hang(name ? name : "worker");
	if (strcmp(act, "bare") == 0)
		probe_bare("worker");
	if (strcmp(act, "wiped") == 0)
		probe_wiped();
	if (strcmp(act, "deaf") == 0) {
		(void)signal(SIGTERM, SIG_IGN);
		probe_hang("worker");
	}
	if (strcmp(act, "family") == 0) {
		probe_child("child", false, false);
		probe_child("session", true, false);
		probe_child("bare", true, true);
		probe_escape("orphan");
		probe_hang("worker");
	}
	if (strcmp(act, "leave") == 0) {
		probe_escape("orphan");
		probe_escape("second");
		exit(0);
	}
	if (strcmp(act, "deaf-child") == 0) {
		void (*old)(int) = signal(SIGTERM, SIG_IGN);

		probe_child("child", false, false);
		(void)signal(SIGTERM, old);
		probe_hang("worker");
	}
	if (strcmp(act, "named") == 0) {
		/* a name that looks like the rest of a line of /proc/PID/stat */
		(void)prctl(PR_SET_NAME, ") Z 1 (\n)");
		probe_hang("worker");
	}
	if (strcmp(act, "clean") == 0) {
		/* a daemon that is itself inside a worker ends what that run left behind */
		probe_child("child", true, false);
		_exit(terminate_leftovers(getenv("HERMES_KANBAN_TASK"), 7, NULL));
	}
	if (strcmp(act, "print") == 0) {
		(void)printf("out %s\n", getenv("HERMES_KANBAN_RUN_ID"));
		(void)fflush(stdout);
		(void)fprintf(stderr, "err\n");
		exit(0);
	}
}

/* First thing in main(): does not return in the probe. */
static void probe_main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	const char *act = getenv("PROBE_ACT");

	base = base ? base + 1 : argv[0];
	if (strcmp(base, "hermes") != 0)
		return;
	probe_report(argc, argv);
	if (act)
		probe_act(act);
	exit(0);
}

void help_probe(void)
{
	CLEANUP(freep) char *bin = help_path("bin");
	CLEANUP(freep) char *link = help_path("bin/hermes");
	CLEANUP(freep) char *report = help_path("report");

	ck_assert_int_eq(mkdir(bin, 0755), 0);
	ck_assert_int_eq(mkdir(report, 0755), 0);
	ck_assert_int_eq(symlink(help_self, link), 0);
}

void help_news_open(void)
{
	CLEANUP(freep) char *path = help_path("news");

	ck_assert_int_eq(mkfifo(path, 0600), 0);
	help_news = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(help_news, 0);
}

void help_news_read(size_t count, pid_t *pids, const char *const *names)
{
	char buf[4096] = "";
	size_t len = 0, lines = 0;

	while (lines < count) {
		struct pollfd pfd = { .fd = help_news, .events = POLLIN };
		ssize_t n;

		ck_assert_msg(poll(&pfd, 1, 20000) == 1, "only got: %s", buf);
		n = read(help_news, buf + len, sizeof(buf) - 1 - len);
		ck_assert_int_gt(n, 0);
		len += (size_t)n;
		buf[len] = '\0';
		lines = 0;
		for (size_t i = 0; i < len; i++)
			lines += buf[i] == '\n';
	}
	for (size_t i = 0; names && names[i]; i++) {
		const char *hit = strstr(buf, names[i]);

		ck_assert_msg(hit != NULL, "no %s in: %s", names[i], buf);
		pids[i] = atoi(hit + strlen(names[i]));
	}
}

pid_t help_start(const char *const *vars, bool session)
{
	CLEANUP(freep) char *news = NULL;
	const char *envp[32];
	size_t n = 0;
	pid_t pid;

	ck_assert_int_ge(asprintf(&news, "PROBE_NEWS=%s/news", help_dir), 0);
	for (; vars[n]; n++)
		envp[n] = vars[n];
	envp[n++] = news;
	envp[n] = NULL;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		const char *argv[] = { "hermes", NULL };

		if (session)
			(void)setsid();
		(void)execve(help_self, (char *const *)argv, (char *const *)envp);
		_exit(95);
	}
	return pid;
}

bool help_alive(pid_t pid)
{
	char path[64], buf[512];
	const char *p;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	p = strrchr(buf, ')');
	return p && p[2] != 'Z' && p[2] != 'X';
}

void help_env(struct help_launch *h, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ck_assert_int_ge(vasprintf(&h->env[h->env_count], fmt, ap), 0);
	va_end(ap);
	h->env_count++;
	ck_assert_uint_lt(h->env_count, sizeof(h->env) / sizeof(h->env[0]));
}

char *help_dup(const char *text)
{
	char *copy = strdup(text);

	ck_assert_ptr_nonnull(copy);
	return copy;
}

void help_launch_init(struct help_launch *h)
{
	*h = (struct help_launch){
		.launcher = { .hermes = "hermes", .log_rotate_bytes = 100,
			      .log_backup_count = 1 },
		.spec = {
			.root = help_path("root"),
			.board = help_dup("b1"),
			.db_path = help_path("root/kanban.db"),
			.task = help_dup("t_0000abcd"),
			.run = 7,
			.claim_lock = help_dup("host:1"),
			.profile = help_dup("jimmy"),
			.profile_home = help_path("root/profiles/jimmy"),
			.row.workspace_kind = help_dup("scratch"),
			.workspaces_root = help_path("root/ws"),
			.logs_dir = help_path("root/kanban/logs"),
		},
	};
	help_env(h, "PATH=%s/bin:/usr/bin:/bin", help_dir);
	/* launches look whether it is there, and no more */
	(void)mkdir(h->spec.root, 0777);
	help_write(h->spec.db_path, "");
	help_env(h, "PROBE_REPORT=%s/report", help_dir);
	help_env(h, "PROBE_NEWS=%s/news", help_dir);
	h->launcher.environ = h->env;
}

void help_launch_deinit(struct help_launch *h)
{
	launch_spec_deinit(&h->spec);
	launcher_deinit(&h->launcher);
	for (size_t i = 0; i < h->env_count; i++)
		free(h->env[i]);
}

int help_reap(pid_t pid)
{
	int status = 0;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

int help_worker(const struct launcher *launcher, const struct launch_spec *spec,
		struct launch_result *result, struct error *e)
{
	int r = launch_begin(launcher, spec, result, e);

	return r == 0 ? launch_finish(launcher, spec, result, e) : r;
}

void help_run(struct help_launch *h, struct launch_result *result)
{
	struct error e = ERROR_NULL;
	int r = help_worker(&h->launcher, &h->spec, result, &e);
	int status;

	ck_assert_msg(r == 0, "%s", e.text);
	ck_assert_int_gt(result->pid, 0);
	status = help_reap(result->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

void help_set(char **field, const char *text)
{
	free(*field);
	*field = text ? help_dup(text) : NULL;
}

bool help_in_valgrind(void)
{
	const char *preload = getenv("LD_PRELOAD");

	return preload && strstr(preload, "vgpreload");
}

bool suite_role(int argc, char **argv, int *status)
{
	(void)status;
	help_find_self();
	probe_main(argc, argv);
	return false;
}
