/*
 * What a worker's unit is to become, in a file of memory: lengths first, then strings, each
 * with its NUL: program, folder, control group, arguments, environment. The unit gets it as its
 * standard input.
 *
 * It also settles between the two sides, without the manager between them, whether the worker
 * begins. The launcher holds a lock on the file while it waits. The unit looks whether that
 * lock is there, writes its pid into the file and seals it, and only then reads what to do. To
 * take a start back, the launcher writes the file's first bytes over: the kernel lets either
 * the seal or that come first, and both sides see which.
 *
 *     launcher                 manager                   unit
 *     lock, StartTransientUnit ──▶ … ──▶ kanband --unit-worker
 *                                          locked? no: the launcher is dead, exit
 *     begun? its pid  ◀──────────────────  pid, seal, read, exec
 *     or, after too long a time: write over. Sealed? Then it has begun after all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process/spawn.h"
#include "unit.h"
#include "util/fs.h"

static int unit_input_write(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int unit_input_strings(int fd, char *const *list)
{
	int r = 0;

	for (; r == 0 && *list; list++)
		r = unit_input_write(fd, *list, strlen(*list) + 1);
	return r;
}

int unit_input_new(const struct launch_order *order)
{
	CLEANUP(fs_closep)
	int fd = memfd_create("kanban-worker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *const places[] = { (char *)order->file, (char *)order->cwd,
				 (char *)(order->group ? order->group : ""), NULL };
	struct unit_input_head head = { .magic = UNIT_INPUT_MAGIC, .run = order->number };
	int r;

	if (fd < 0)
		return -errno;
	while (order->argv[head.argc])
		head.argc++;
	while (order->envp[head.envc])
		head.envc++;
	r = unit_input_write(fd, &head, sizeof(head));
	if (r == 0)
		r = unit_input_strings(fd, places);
	if (r == 0)
		r = unit_input_strings(fd, order->argv);
	if (r == 0)
		r = unit_input_strings(fd, order->envp);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? r : spawn_fd_high(spawn_fd_steal(&fd));
}

int unit_input_hold(int input)
{
	CLEANUP(fs_closep) int fd = -1;
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", input);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	return spawn_fd_steal(&fd);
}

pid_t unit_input_begun(int hold)
{
	struct unit_input_head head = { .begun = 0 };
	int seals = fcntl(hold, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_WRITE) ||
	    pread(hold, &head, sizeof(head), 0) != sizeof(head))
		return 0;
	return (pid_t)head.begun;
}

bool unit_input_take_back(int hold)
{
	const struct unit_input_head none = { .magic = 0 };

	return pwrite(hold, &none, sizeof(none), 0) == sizeof(none);
}
