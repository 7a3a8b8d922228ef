/*
 * What no test can have for real, put between a program and the C library: a root on a network
 * file system, and a host whose clock is years behind. For tests/ctl/test_ctl_doctor.c, which
 * builds it and sets
 *
 *   HOST_ROOT, HOST_FS   statfs(2) of that path tells that type
 *   HOST_CLOCK           while that file is there it is 1970
 */
#define _GNU_SOURCE
#include <dlfcn.h>
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
	const char *file = getenv("HOST_CLOCK");
	int r;

	*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	r = real(id, ts);
	if (r == 0 && id == CLOCK_REALTIME && file && access(file, F_OK) == 0)
		ts->tv_sec = 1000000;
	return r;
}
