/*
 * What no test can have for real, put between a program and the C library: a root on a network
 * file system, a host whose clock is years behind or jumps, a look that does not end. For
 * tests/ctl/test_ctl_doctor.c, tests/daemon/test_daemon_service.c
 * and tests/daemon/test_daemon_wake.c, which build it and set
 *
 *   HOST_ROOT, HOST_FS   statfs(2) of that path tells that type
 *   HOST_CLOCK           while that file is there it is 1970
 *   HOST_CLOCK_AHEAD     while that file is there it is an hour later
 *   HOST_HOLD            while that file is there nobody gets to open "kanban/boards"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

int statfs(const char *path, struct statfs *st)
{
	int (*real)(const char *, struct statfs *);
	const char *root = getenv("HOST_ROOT"), *type = getenv("HOST_FS");
	int r;

	*(void **)&real = dlsym(RTLD_NEXT, "statfs");
	r = real(path, st);
	if (r == 0 && root && type && strcmp(path, root) == 0)
		st->f_type = strtol(type, NULL, 0);
	return r;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int (*real)(clockid_t, struct timespec *);
	const char *file = getenv("HOST_CLOCK"), *ahead = getenv("HOST_CLOCK_AHEAD");
	int r;

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	r = real(id, ts);
	if (r == 0 && id == CLOCK_REALTIME && file && access(file, F_OK) == 0)
		ts->tv_sec = 1000000;
	if (r == 0 && id == CLOCK_REALTIME && ahead && access(ahead, F_OK) == 0)
		ts->tv_sec += 3600;
	return r;
}

int openat(int folder, const char *path, int flags, ...)
{
	int (*real)(int, const char *, int, ...);
	const char *hold = getenv("HOST_HOLD");
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	*(void **)&real = dlsym(RTLD_NEXT, "openat");
	while (hold && strcmp(path, "kanban/boards") == 0 && access(hold, F_OK) == 0)
		(void)usleep(10000);
	return real(folder, path, flags, mode);
}
