#include "files.h"

#include <check.h>
#include <dirent.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recovery/evidence.h"
#include "util/fs.h"

void files_write(const char *path, const char *text)
{
	ck_assert_int_eq(fs_write_atomic(path, text, strlen(text), 0644), 0);
}

char *files_read(const char *path)
{
	char *text = NULL;

	ck_assert_int_eq(fs_read_file(path, 1 << 20, &text, NULL), 0);
	return text;
}

void files_remove(const char *folder)
{
	char *const argv[] = { (char *)"rm", (char *)"-rf", (char *)folder, NULL };
	int status = -1;
	pid_t pid;

	ck_assert_int_eq(posix_spawnp(&pid, "rm", NULL, NULL, argv, environ), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

bool files_same_set(const char *a, const char *b)
{
	static const char *const tails[] = { "", "-wal", "-journal" };

	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		CLEANUP(freep) char *x = fs_path("%s%s", a, tails[i]);
		CLEANUP(freep) char *y = fs_path("%s%s", b, tails[i]);

		if (evidence_same(x, y) != 1)
			return false;
	}
	return true;
}

int files_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}
