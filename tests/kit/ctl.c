#include "ctl.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fs.h"

#define WORLD_ENV 16

char world_root[256];
static const char *env[WORLD_ENV + 4];
static char home[300], kanban_home[300];
static int input = -1;
static uid_t run_as;        /* 0: as this process */
static const char *instead; /* of kanbanctl, or NULL */
static struct ctl_result result;
static unsigned long long sum;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void world_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(world_root, sizeof(world_root), "%s/kb-ctl-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(world_root));
	(void)snprintf(home, sizeof(home), "HOME=%s", world_root);
	(void)snprintf(kanban_home, sizeof(kanban_home), "HERMES_KANBAN_HOME=%s", world_root);
	memset(env, 0, sizeof(env));
	env[0] = home;
	env[1] = kanban_home;
	env[2] = "TZ=UTC";
	input = -1;
	run_as = 0;
	instead = NULL;
}

void world_user(uid_t uid)
{
	run_as = uid;
}

void world_program(const char *path)
{
	static char kept[PATH_MAX];

	(void)snprintf(kept, sizeof(kept), "%s", path);
	instead = kept;
}

void world_teardown(void)
{
	free(result.out);
	free(result.err);
	result = (struct ctl_result){ 0 };
	if (input >= 0)
		close(input);
	ck_assert_int_eq(nftw(world_root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void world_env(const char *assignment)
{
	size_t n = strcspn(assignment, "="), i = 0;

	while (env[i] && strncmp(env[i], assignment, n + 1) != 0)
		i++;
	ck_assert_uint_lt(i, WORLD_ENV);
	env[i] = assignment;
}

static int world_file(void)
{
	char name[300];
	int fd;

	(void)snprintf(name, sizeof(name), "%s.tmp-XXXXXX", world_root);
	fd = mkostemp(name, O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlink(name), 0);
	return fd;
}

void world_input(const void *data, size_t len)
{
	input = world_file();
	ck_assert_int_eq(write(input, data, len), (ssize_t)len);
	ck_assert_int_eq(lseek(input, 0, SEEK_SET), 0);
}

const char *world_binary(void)
{
	static char path[PATH_MAX];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(n, 0);
	self[n] = '\0';
	(void)snprintf(path, sizeof(path), "%.4000s/../kanbanctl", dirname(self));
	ck_assert_msg(access(path, X_OK) == 0, "%s is not built", path);
	return path;
}

struct world_child world_start(const char *const *args)
{
	struct world_child c = { .out = world_file(), .err = world_file() };
	const char *argv[32] = { "kanbanctl" };
	const char *binary = instead ? instead : world_binary();
	/* by descriptor: another user need not reach the folder of the build */
	int program = open(binary, O_PATH | O_CLOEXEC);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; args[i]; i++) {
		ck_assert_uint_lt(i, 30);
		argv[i + 1] = args[i];
	}
	ck_assert_int_ge(null, 0);
	c.pid = fork();
	ck_assert_int_ge(c.pid, 0);
	if (c.pid == 0) {
		if (dup2(input >= 0 ? input : null, 0) < 0 || dup2(c.out, 1) < 0 ||
		    dup2(c.err, 2) < 0 || chdir("/") < 0)
			_exit(126);
		if (run_as &&
		    (setgroups(0, NULL) < 0 || setgid(run_as) < 0 || setuid(run_as) < 0))
			_exit(125);
		if (instead)
			execve(binary, (char *const *)(uintptr_t)argv,
			       (char *const *)(uintptr_t)env);
		fexecve(program, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
		_exit(127);
	}
	close(null);
	close(program);
	if (input >= 0)
		close(input);
	input = -1;
	return c;
}

static char *world_read(int fd, size_t *len)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *data;

	ck_assert_int_ge(size, 0);
	data = malloc((size_t)size + 1);
	ck_assert_ptr_nonnull(data);
	for (off_t at = 0; at < size;) {
		ssize_t n = pread(fd, data + at, (size_t)(size - at), at);

		ck_assert_int_gt(n, 0);
		at += n;
	}
	data[size] = '\0';
	close(fd);
	if (len)
		*len = (size_t)size;
	return data;
}

const struct ctl_result *world_wait(struct world_child c)
{
	int status = 0;

	free(result.out);
	free(result.err);
	while (waitpid(c.pid, &status, 0) < 0)
		ck_assert_int_eq(errno, EINTR);
	result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	result.out = world_read(c.out, &result.out_len);
	result.err = world_read(c.err, NULL);
	ck_assert_msg(!strstr(result.err, "Sanitizer") && !strstr(result.err, "runtime error"),
		      "%s", result.err);
	return &result;
}

const struct ctl_result *world_run(const char *const *args)
{
	return world_wait(world_start(args));
}

const char *world_ok(const char *const *args)
{
	const struct ctl_result *r = world_run(args);
	size_t n = r->out_len;

	ck_assert_msg(r->exit == 0, "exit %d: %s", r->exit, r->err);
	if (n > 0 && r->out[n - 1] == '\n')
		r->out[n - 1] = '\0';
	return r->out;
}

json_t *world_json(int exit, const char *const *args)
{
	const struct ctl_result *r = world_run(args);
	json_error_t why;
	json_t *json;

	ck_assert_msg(r->exit == exit, "exit %d: %s", r->exit, r->err);
	json = json_loadb(r->out, r->out_len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
	ck_assert_msg(json != NULL, "%s: %.200s", why.text, r->out);
	return json;
}

void world_fails(int exit, const char *word, const char *const *args)
{
	const struct ctl_result *r = world_run(args);
	const char *line = strchr(r->err, '\n');

	ck_assert_msg(r->exit == exit, "exit %d instead of %d: %s", r->exit, exit, r->err);
	ck_assert_msg(strstr(r->err, word) != NULL, "no \"%s\" in: %s", word, r->err);
	ck_assert_msg(r->out_len == 0, "unexpected output: %s", r->out);
	ck_assert_msg(line && line[1] == '\0', "not one line: %s", r->err);
	ck_assert_ptr_null(strchr(r->err, '\033'));
}

const char *world_path(const char *name)
{
	static char path[4][PATH_MAX];
	static int turn;

	turn = (turn + 1) % 4;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", world_root, name);
	return path[turn];
}

void world_put(const char *name, const void *data, size_t len)
{
	char *path = strdup(world_path(name)), *slash;
	int fd;

	ck_assert_ptr_nonnull(path);
	slash = strrchr(path, '/');
	*slash = '\0';
	ck_assert_int_eq(fs_mkdir_p(path, 0755), 0);
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
	free(path);
}

static int world_row(void *arg, int n, char **values, char **names)
{
	(void)n;
	(void)names;
	(void)snprintf(arg, 4096, "%s", values[0] ? values[0] : "-");
	return 0;
}

void world_killed(const char *name, const char *sql)
{
	char path[300];
	sqlite3 *db = NULL;
	int status;
	pid_t pid;

	(void)snprintf(path, sizeof(path), "%s", world_path(name));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (sqlite3_open(path, &db) != SQLITE_OK ||
		    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
			_exit(1);
		(void)raise(SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
}

const char *world_sql(const char *name, const char *sql)
{
	static char out[4096];
	char *message = NULL;
	sqlite3 *db = NULL;

	out[0] = '\0';
	ck_assert_int_eq(sqlite3_open_v2(world_path(name), &db, SQLITE_OPEN_READWRITE, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
	sqlite3_exec(db, sql, world_row, out, &message);
	ck_assert_msg(!message, "%s: %s", sql, message);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return out;
}

static void mix(const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len-- > 0)
		sum = (sum ^ *p++) * 1099511628211ULL; /* FNV-1a */
}

static int sum_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char *data = NULL;
	size_t len = 0, n = strlen(path);

	(void)ftw;
	if (n > 4 && strcmp(path + n - 4, "-shm") == 0)
		return 0;
	mix(path, n);
	mix(&st->st_mode, sizeof(st->st_mode));
	if (flag == FTW_F && S_ISREG(st->st_mode)) {
		ck_assert_int_eq(fs_read_file(path, (size_t)1 << 30, &data, &len), 0);
		mix(data, len);
		free(data);
	}
	return 0;
}

unsigned long long world_sum(void)
{
	sum = 14695981039346656037ULL;
	/* the order of a folder's entries is stable while nothing is added or removed */
	ck_assert_int_eq(nftw(world_root, sum_one, 16, FTW_PHYS), 0);
	return sum;
}
