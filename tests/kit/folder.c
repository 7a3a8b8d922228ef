#include "folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char folder_dir[200];

static int folder_remove(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

void folder_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(folder_dir, sizeof(folder_dir), "%.150s/kb-notify-XXXXXX",
		       tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder_dir));
}

void folder_teardown(void)
{
	ck_assert_int_eq(nftw(folder_dir, folder_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

char *folder_path(const char *name)
{
	static char paths[8][400];
	static unsigned next;
	char *path = paths[next++ % 8];

	(void)snprintf(path, 400, "%s/%s", folder_dir, name);
	return path;
}

void folder_write(const char *name, const char *data, size_t len)
{
	FILE *f = fopen(folder_path(name), "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}
