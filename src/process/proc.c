/*
 * Reading /proc. A process may end between two reads: every reader takes -ESRCH for an answer.
 */
#include "process/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/fs.h"

#define PROC_UNVERIFIED "unverified"
#define PROC_EXITING    0x4 /* PF_EXITING among the flags of a task, in every kernel so far */

static int proc_open(pid_t pid, const char *name)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return fd;
}

/* Read up to @size bytes. Return: 0 or -errno. */
static int proc_read(int fd, char *buf, size_t size, size_t *len)
{
	*len = 0;
	while (*len < size) {
		ssize_t n = read(fd, buf + *len, size - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*len += (size_t)n;
	}
	return 0;
}

/* The next number of the line, or false. */
static bool proc_number(char **p, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(*p, &end, 10);
	if (end == *p || errno)
		return false;
	*p = end;
	return true;
}

int proc_stat(pid_t pid, struct proc_stat *out)
{
	CLEANUP(fs_closep) int fd = proc_open(pid, "stat");
	uint64_t field[25] = { 0 };
	char buf[1024];
	const char *name;
	size_t len;
	char *p;
	int r;

	if (fd < 0)
		return fd;
	r = proc_read(fd, buf, sizeof(buf) - 1, &len);
	if (r < 0)
		return r;
	buf[len] = '\0';
	/* the name is in brackets and may hold brackets, blanks and newlines: count from its
	 * end
	 */
	p = strrchr(buf, ')');
	if (!p || p[1] != ' ' || !p[2])
		return -EBADMSG;
	name = strchr(buf, '(');
	(void)snprintf(out->name, sizeof(out->name), "%.*s",
		       name && name < p ? (int)(p - name - 1) : 0, name ? name + 1 : "");
	out->state = p[2];
	p += 3;
	/* a negative tpgid (8) reads as a large number; it is not used */
	for (int i = 4; i <= 24; i++)
		if (!proc_number(&p, &field[i]))
			return -EBADMSG;
	out->ppid = (pid_t)field[4];
	out->pgrp = (pid_t)field[5];
	out->session = (pid_t)field[6];
	out->exiting = field[9] & PROC_EXITING;
	out->start = field[22];
	out->ticks = field[14] + field[15] + field[16] + field[17];
	out->threads = (int64_t)field[20];
	out->rss = (int64_t)field[24];
	return 0;
}

static int64_t proc_clock_ms(clockid_t id)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t proc_start_wall_ms(uint64_t start)
{
	/* wall clock minus time since boot is the btime of /proc/stat, but to the millisecond
	 */
	int64_t boot = proc_clock_ms(CLOCK_REALTIME) - proc_clock_ms(CLOCK_BOOTTIME);
	long tick = sysconf(_SC_CLK_TCK);

	return boot + (int64_t)(start * 1000 / (uint64_t)(tick > 0 ? tick : 100));
}

void proc_environ_deinit(struct proc_environ *env)
{
	freep(&env->buf);
	env->len = 0;
}

int proc_environ_read(struct proc_environ *env, pid_t pid)
{
	CLEANUP(fs_closep) int fd = -1;
	int r;

	env->len = 0;
	if (!env->buf)
		env->buf = malloc(PROC_ENVIRON_MAX + 1);
	if (!env->buf)
		return -ENOMEM;
	fd = proc_open(pid, "environ");
	if (fd < 0)
		return fd;
	r = proc_read(fd, env->buf, PROC_ENVIRON_MAX, &env->len);
	if (r < 0) {
		env->len = 0;
		return r;
	}
	/* an entry that is cut by the bound has no value; without it, a last NUL may be missing
	 */
	env->cut = env->len == PROC_ENVIRON_MAX;
	if (env->cut)
		while (env->len > 0 && env->buf[env->len - 1])
			env->len--;
	env->buf[env->len] = '\0';
	return 0;
}

const char *proc_environ_get(const struct proc_environ *env, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = env->buf; p && p < env->buf + env->len; p += strlen(p) + 1)
		if (strncmp(p, name, n) == 0 && p[n] == '=')
			return p + n + 1;
	return NULL;
}

struct proc_mark proc_mark(const struct proc_environ *env)
{
	struct proc_mark mark = {
		.task = proc_environ_get(env, "HERMES_KANBAN_TASK"),
		.db = proc_environ_get(env, "HERMES_KANBAN_DB"),
	};
	const char *run = proc_environ_get(env, "HERMES_KANBAN_RUN_ID");
	long long value;
	char *end;

	if (!run || *run < '0' || *run > '9')
		return mark;
	errno = 0;
	value = strtoll(run, &end, 10);
	if (!errno && !*end)
		mark.run = value;
	return mark;
}

/* The upper bits of each such number say what it is; a limit beyond 2^63 would be no limit. */
#define PROC_RUN_TAG  UINT64_C(0x2B6B000000000000)
#define PROC_RUN_MASK UINT64_C(0x0000FFFFFFFFFFFF)

/* FNV-1a */
static uint64_t proc_hash(uint64_t hash, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001B3);
	return hash;
}

uint64_t proc_run_number(const char *db, int64_t run)
{
	uint64_t hash = proc_hash(UINT64_C(0xCBF29CE484222325), db, strlen(db));

	hash = proc_hash(hash, &run, sizeof(run));
	return PROC_RUN_TAG | ((hash ^ hash >> 48) & PROC_RUN_MASK);
}

uint64_t proc_run_of(pid_t pid)
{
	static const char name[] = "Max file locks";
	CLEANUP(fs_closep) int fd = proc_open(pid, "limits");
	char buf[4096], *line;
	uint64_t value;
	size_t len;

	if (fd < 0 || proc_read(fd, buf, sizeof(buf) - 1, &len) < 0)
		return 0;
	buf[len] = '\0';
	line = strstr(buf, name);
	if (!line)
		return 0;
	line += strlen(name);
	/* "unlimited" is no number */
	if (!proc_number(&line, &value) || (value & ~PROC_RUN_MASK) != PROC_RUN_TAG)
		return 0;
	return value;
}

bool proc_same_db(const char *a, const char *b)
{
	struct stat sa, sb;

	if (!a || !b || strcmp(a, b) == 0)
		return true;
	/* two ways to write one path, or two files; a file that is gone proves nothing */
	if (stat(a, &sa) < 0 || stat(b, &sb) < 0)
		return true;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static int proc_pid_order(const void *a, const void *b)
{
	pid_t pa = *(const pid_t *)a, pb = *(const pid_t *)b;

	return (pa > pb) - (pa < pb);
}

int proc_pids(pid_t **pids, size_t *count)
{
	CLEANUP(freep) pid_t *list = NULL;
	size_t n = 0, room = 0;
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	if (!dir)
		return -errno;
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
		char *end;
		long pid = strtol(entry->d_name, &end, 10);

		if (pid <= 0 || *end)
			continue;
		if (n == room) {
			pid_t *more = reallocarray(list, room ? room * 2 : 256, sizeof(*more));

			if (!more) {
				(void)closedir(dir);
				return -ENOMEM;
			}
			list = more;
			room = room ? room * 2 : 256;
		}
		list[n++] = (pid_t)pid;
	}
	if (errno) {
		int r = -errno;

		(void)closedir(dir);
		return r;
	}
	(void)closedir(dir);
	if (n > 0)
		qsort(list, n, sizeof(*list), proc_pid_order);
	*pids = STEAL(list);
	*count = n;
	return 0;
}

static void proc_unverified(char out[PROC_STARTED_MAX])
{
	(void)snprintf(out, PROC_STARTED_MAX, "%s", PROC_UNVERIFIED);
}

void proc_boot(char out[PROC_STARTED_MAX])
{
	CLEANUP(freep) char *boot = NULL;
	struct proc_stat init;

	proc_unverified(out);
	if (proc_stat(1, &init) < 0)
		return;
	if (fs_read_file("/proc/sys/kernel/random/boot_id", 64, &boot, NULL) < 0)
		return;
	boot[strcspn(boot, "\n")] = '\0';
	(void)snprintf(out, PROC_STARTED_MAX, "%.64s:%" PRIu64 "|", boot, init.start);
}

void proc_started_at(const char *boot, uint64_t start, char out[PROC_STARTED_MAX])
{
	if (proc_verified(boot))
		(void)snprintf(out, PROC_STARTED_MAX, "%.100s%" PRIu64, boot, start);
	else
		proc_unverified(out);
}

void proc_started(const char *boot, pid_t pid, char out[PROC_STARTED_MAX])
{
	struct proc_stat stat;

	if (pid <= 0 || proc_stat(pid, &stat) < 0)
		proc_unverified(out);
	else
		proc_started_at(boot, stat.start, out);
}

bool proc_verified(const char *started)
{
	return started && *started && strcmp(started, PROC_UNVERIFIED) != 0;
}
