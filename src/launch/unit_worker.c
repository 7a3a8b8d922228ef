/*
 * From the manager's child to the worker. What a unit's properties can carry is text, read by
 * whoever asks the manager; a worker's arguments and environment are bytes, some of them
 * secret. So the unit starts kanband again, with a memory file as its standard input that says
 * what to become (unit_input.c). It reads that and execs.
 *
 * A manager may answer so late that whoever asked for the worker has given it up, or is dead:
 * so it first makes sure that it is still wanted, and says that it begins.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/spawn.h"
#include "util/fs.h"

#define UNIT_WORKER_MAX   (64 << 20)
#define UNIT_WORKER_WORDS (1 << 20)

/* What stands before the arguments. */
enum { UNIT_WORKER_FILE, UNIT_WORKER_CWD, UNIT_WORKER_GROUP, UNIT_WORKER_PLACES };

/* All of standard input. NULL: nothing that one of us wrote. */
static char *unit_worker_read(size_t *size)
{
	struct stat st;
	char *data;
	size_t n = 0;

	if (fstat(STDIN_FILENO, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_size < (off_t)sizeof(struct unit_input_head) || st.st_size > UNIT_WORKER_MAX)
		return NULL;
	*size = (size_t)st.st_size;
	data = malloc(*size + 1);
	while (data && n < *size) {
		ssize_t got = pread(STDIN_FILENO, data + n, *size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			free(data);
			return NULL;
		}
		n += (size_t)got;
	}
	if (data)
		data[*size] = '\0';
	return data;
}

/* The next @count strings as a vector; NULL when there are not so many. */
static char **unit_worker_strings(char **p, const char *end, uint64_t count)
{
	char **list = count <= UNIT_WORKER_WORDS ? calloc(count + 1, sizeof(*list)) : NULL;

	for (uint64_t i = 0; list && i < count; i++) {
		if (*p >= end) {
			free(list);
			return NULL;
		}
		list[i] = *p;
		*p += strlen(*p) + 1;
	}
	return list;
}

/* The mark of its run: see proc_run_number(). */
static void unit_worker_number(uint64_t run)
{
	struct rlimit limit;

	if (run == 0 || getrlimit(RLIMIT_LOCKS, &limit) < 0)
		return;
	limit.rlim_cur = run;
	/* a hard limit below it: the unit's own group tells who belongs to it */
	(void)setrlimit(RLIMIT_LOCKS, &limit);
}

/* As spawn_process() would have it: nothing blocked, nothing ignored, /dev/null. */
static int unit_worker_surroundings(void)
{
	CLEANUP(fs_closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return -errno;
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL); /* what cannot be set has no other disposition */
	(void)sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

static int unit_worker_failed(const char *what, const char *path)
{
	int r = errno;

	(void)fprintf(stderr, "kanband: cannot %s %s: %s\n", what, path, strerror(r));
	return r == ENOENT ? 127 : 126;
}

/*
 * Is the worker still wanted? Whoever asked for it holds a lock on the memory file as long as
 * it waits. From the seal on nobody can take it back. A file that is none of memory (of a job
 * of a cluster) has no such lock.
 */
static bool unit_worker_begins(void)
{
	CLEANUP(fs_closep) int other = -1;
	struct unit_input_head head = { .magic = 0 };
	const int64_t pid = getpid();
	int seals = fcntl(STDIN_FILENO, F_GET_SEALS);

	if (seals < 0 || (seals & F_SEAL_SEAL))
		return true;
	/* a lock is of an open file: another one is needed to see that there is one */
	other = open("/proc/self/fd/0", O_RDONLY | O_CLOEXEC);
	if (other < 0 || flock(other, LOCK_SH | LOCK_NB) == 0)
		return false;
	return pwrite(STDIN_FILENO, &pid, sizeof(pid),
		      offsetof(struct unit_input_head, begun)) == sizeof(pid) &&
	       fcntl(STDIN_FILENO, F_ADD_SEALS, F_SEAL_WRITE) == 0 &&
	       pread(STDIN_FILENO, &head, sizeof(head), 0) == sizeof(head) &&
	       head.magic == UNIT_INPUT_MAGIC;
}

/* A control group of its own: all that it starts will be in it. */
static void unit_worker_enter(const char *procs)
{
	CLEANUP(fs_closep) int fd = *procs ? open(procs, O_WRONLY | O_CLOEXEC) : -1;

	/* one that cannot enter it is found by its other marks */
	if (fd >= 0)
		IGNORE(write(fd, "0", 1));
}

int unit_worker_main(void)
{
	struct unit_input_head head = { .magic = 0 };
	char **places, **argv, **envp, *data, *p;
	size_t size = 0;

	data = unit_worker_read(&size);
	if (data)
		(void)memcpy(&head, data, sizeof(head));
	if (data && head.magic == 0)
		return UNIT_UNWANTED;
	if (!data || head.magic != UNIT_INPUT_MAGIC) {
		(void)fprintf(stderr, "kanband: " UNIT_WORKER_OPTION
				      " is for the service manager only\n");
		return 64;
	}
	p = data + sizeof(head);
	places = unit_worker_strings(&p, data + size, UNIT_WORKER_PLACES);
	argv = unit_worker_strings(&p, data + size, head.argc);
	envp = unit_worker_strings(&p, data + size, head.envc);
	if (!places || !argv || !envp || !argv[0]) {
		(void)fprintf(stderr, "kanband: the worker's description is cut off\n");
		return 126;
	}
	unit_worker_number(head.run); /* what has begun is found by it */
	if (!unit_worker_begins())
		return UNIT_UNWANTED;
	if (unit_worker_surroundings() < 0)
		return unit_worker_failed("open", "/dev/null");
	unit_worker_enter(places[UNIT_WORKER_GROUP]);
	if (chdir(places[UNIT_WORKER_CWD]) < 0)
		return unit_worker_failed("enter the workspace", places[UNIT_WORKER_CWD]);
	(void)execve(places[UNIT_WORKER_FILE], argv, envp);
	return unit_worker_failed("start", places[UNIT_WORKER_FILE]);
}
