#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *fuzz_dir(void)
{
	const char *dir = getenv("FUZZ_DIR");

	if (!dir) {
		(void)fprintf(stderr, "FUZZ_DIR is not set; use tests/fuzz/run\n");
		exit(2);
	}
	return dir;
}

const char *fuzz_path(const char *name)
{
	static char paths[8][300];
	static unsigned next;
	char *path = paths[next++ % 8];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", fuzz_dir(), name);
	return path;
}

void fuzz_put(const char *name, const uint8_t *data, size_t size)
{
	int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)close(fd);
}

void fuzz_clean(void)
{
	DIR *dir = opendir(fuzz_dir());
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' || entry->d_name[1] == 'k')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		(void)closedir(dir);
}
