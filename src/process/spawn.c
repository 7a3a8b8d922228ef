/*
 * Starting a process. posix_spawn() and not fork(): the daemon has threads and much memory, and
 * glibc's is one clone that shares it until the exec, a few dozen microseconds whatever the
 * size of the daemon. Its errors include those of the exec and of each step before it.
 *
 * The descriptors that the child shall have are 3 or higher here (spawn_fd_high), so that no
 * step of the set-up can overwrite one that a later step needs, also in a daemon that was
 * started with 0, 1 or 2 closed.
 */
#include "process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/apart.h"
#include "util/fs.h"

#define SPAWN_MANY_FDS 512 /* from here on closing them takes longer than another thread */

/* Each step returns an errno; the first that failed is the answer. */
static int spawn_actions(posix_spawn_file_actions_t *actions, const struct spawn *how)
{
	int r = posix_spawn_file_actions_adddup2(actions, how->out, STDOUT_FILENO);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, how->err, STDERR_FILENO);
	if (r == 0)
		r = how->in > 0
			    ? posix_spawn_file_actions_adddup2(actions, how->in, STDIN_FILENO)
			    : posix_spawn_file_actions_addopen(actions, STDIN_FILENO,
							       "/dev/null", O_RDONLY, 0);
	if (r == 0 && how->cwd)
		r = posix_spawn_file_actions_addchdir_np(actions, how->cwd);
#ifdef __GLIBC__ /* elsewhere only what is close-on-exec is closed, as all of ours is */
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(actions, 3);
#endif
	return r;
}

static int spawn_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	/* sigfillset() leaves out two that glibc keeps to itself, and its posix_spawn() then
	 * has the child ignore those: a worker begins with nothing ignored at all */
	(void)memset(&all, 0xFF, sizeof(all));
	r = posix_spawnattr_setsigmask(attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
							   POSIX_SPAWN_SETSIGDEF);
	return r;
}

/*
 * The number of its run is the child's from its first instruction on: it inherits ours, which
 * is set around the spawn. Only the soft limit, so that it can be put back. One spawn at a
 * time.
 */
static int spawn_numbered(const struct spawn *how, const posix_spawn_file_actions_t *actions,
			  const posix_spawnattr_t *attr, pid_t *pid)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	struct rlimit before = { 0 }, now;
	bool set;
	int r;

	(void)pthread_mutex_lock(&one);
	set = getrlimit(RLIMIT_LOCKS, &before) == 0;
	now = (struct rlimit){ .rlim_cur = how->run ? how->run : before.rlim_max,
			       .rlim_max = before.rlim_max };
	/* a hard limit below it: then this mark is not to be had, and the others must do */
	set = set && now.rlim_cur <= now.rlim_max && setrlimit(RLIMIT_LOCKS, &now) == 0;
	r = posix_spawn(pid, how->file, actions, attr, how->argv, how->envp);
	if (set)
		(void)setrlimit(RLIMIT_LOCKS, &before);
	(void)pthread_mutex_unlock(&one);
	return r;
}

static int spawn_here(const struct spawn *how, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r;

	r = posix_spawn_file_actions_init(&actions);
	if (r != 0)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r == 0) {
		r = spawn_actions(&actions, how);
		if (r == 0)
			r = spawn_attributes(&attr);
		if (r == 0)
			r = spawn_numbered(how, &actions, &attr, pid);
		(void)posix_spawnattr_destroy(&attr);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Numbers are given from below, and those of the boards' locks stay taken. */
static bool spawn_many_fds(void)
{
	for (int fd = SPAWN_MANY_FDS; fd < SPAWN_MANY_FDS + 8; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return true;
	return false;
}

struct spawn_there {
	const struct spawn *how;
	pid_t *pid;
};

static int spawn_there(void *arg, const int fds[APART_FDS])
{
	const struct spawn_there *there = arg;
	struct spawn how = *there->how;
	int high[APART_FDS] = { -1, -1, -1 }, r = 0;

	for (int i = 0; r == 0 && i < APART_FDS; i++) {
		if (fds[i] >= 0)
			high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (high[i] < 0 && (i > 0 || how.in > 0))
			r = -EMFILE;
	}
	how.in = how.in > 0 ? high[0] : 0;
	how.out = high[1];
	how.err = high[2];
	if (r == 0)
		r = spawn_here(&how, there->pid);
	for (int i = 0; i < APART_FDS; i++)
		fs_closep(&high[i]);
	return r;
}

int spawn_process(const struct spawn *how, pid_t *pid)
{
	struct spawn_there there = { how, pid };
	const int fds[APART_FDS] = { how->in > 0 ? how->in : -1, how->out, how->err };
	int r = spawn_many_fds() ? apart_call(spawn_there, &there, fds) : -EOPNOTSUPP;

	return r == -EOPNOTSUPP ? spawn_here(how, pid) : r;
}

/* 0 runs, -EACCES is there but does not, -ENOENT */
static int spawn_probe(const char *file)
{
	struct stat st;

	if (stat(file, &st) < 0)
		return errno == EACCES ? -EACCES : -ENOENT;
	if (!S_ISREG(st.st_mode) || access(file, X_OK) < 0)
		return -EACCES;
	return 0;
}

static int spawn_find_plain(const char *name, char **file)
{
	CLEANUP(freep) char *cwd = NULL;
	CLEANUP(freep) char *full = NULL;
	int r;

	if (name[0] == '/') {
		full = strdup(name);
	} else {
		/* relative to where the daemon is, not to the workspace */
		cwd = getcwd(NULL, 0);
		full = cwd ? fs_path("%s/%s", cwd, name) : NULL;
	}
	if (!full)
		return -ENOMEM;
	r = spawn_probe(full);
	if (r == 0)
		*file = STEAL(full);
	return r;
}

int spawn_find(const char *name, const char *path, char **file)
{
	int result = -ENOENT;

	if (!*name)
		return -ENOENT;
	if (strchr(name, '/'))
		return spawn_find_plain(name, file);
	for (const char *p = path; *p;) {
		CLEANUP(freep) char *full = NULL;
		size_t n = strcspn(p, ":");
		int r;

		if (p[0] == '/') {
			full = fs_path("%.*s/%s", (int)n, p, name);
			if (!full)
				return -ENOMEM;
			r = spawn_probe(full);
			if (r == 0) {
				*file = STEAL(full);
				return 0;
			}
			if (r == -EACCES)
				result = -EACCES;
		}
		p += n;
		if (*p == ':')
			p++;
	}
	return result;
}

int spawn_pidfd(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

int spawn_fd_high(int fd)
{
	int high, r;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	r = errno;
	(void)close(fd);
	return high < 0 ? -r : high;
}

void spawn_undo(pid_t pid)
{
	(void)kill(-pid, SIGKILL); /* unreaped, so the number is still its own */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
