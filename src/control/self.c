/* This process, as the kernel counts it. */
#include "control/self.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/fs.h"

static void self_memory(struct self *self)
{
	CLEANUP(freep) char *text = NULL;
	long long pages = 0, all = 0;

	if (fs_read_file("/proc/self/statm", 256, &text, NULL) < 0 ||
	    sscanf(text, "%lld %lld", &all, &pages) != 2)
		return;
	self->rss = pages * sysconf(_SC_PAGESIZE);
	self->virtual_bytes = all * sysconf(_SC_PAGESIZE);
}

int64_t self_rss(void)
{
	struct self self = { 0 };

	self_memory(&self);
	return self.rss;
}

static int64_t self_count(const char *folder)
{
	DIR *dir = opendir(folder);
	int64_t n = 0;

	if (!dir)
		return 0;
	for (const struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	(void)closedir(dir); /* was only read */
	return n;
}

static double self_seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

void self_look(struct self *self)
{
	struct rlimit limit;
	struct rusage usage;

	*self = (struct self){ 0 };
	self_memory(self);
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		self->cpu_s = self_seconds(&usage.ru_utime) + self_seconds(&usage.ru_stime);
	self->open_fds = self_count("/proc/self/fd") - 1; /* without that of opendir(3) */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		self->max_fds = (int64_t)limit.rlim_cur;
	self->threads = self_count("/proc/self/task");
}
