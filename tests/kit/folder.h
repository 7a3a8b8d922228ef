/* What the tests of the notifier share: a folder of the case, and a suite in one call. */
#pragma once

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char help_dir[200];

static inline int help_remove(const char *name, const struct stat *st, int flag,
			      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

static inline void help_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(help_dir, sizeof(help_dir), "%.150s/kb-notify-XXXXXX",
		       tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(help_dir));
}

static inline void help_teardown(void)
{
	ck_assert_int_eq(nftw(help_dir, help_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* A path below the folder; one of eight buffers in turn. */
static inline char *help_path(const char *name)
{
	static char paths[8][400];
	static unsigned next;
	char *path = paths[next++ % 8];

	(void)snprintf(path, 400, "%s/%s", help_dir, name);
	return path;
}

static inline void help_write(const char *name, const char *data, size_t len)
{
	FILE *f = fopen(help_path(name), "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(data, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static inline int help_main(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
