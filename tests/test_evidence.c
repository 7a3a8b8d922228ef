/* Evidence: the same bytes once, with what belongs to them, and not without end. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/evidence.h"
#include "board/snapshot.h"
#include "lib/boardkit.h"
#include "lib/files.h"

static char *keep(const char *text)
{
	struct health_print print;
	char path[HEALTH_PATH_MAX];

	if (text)
		files_write(kit.path, text);
	ck_assert_int_eq(evidence_keep(kit.path, &print, path, &kit.e), 0);
	ck_assert_uint_eq(strlen(print.sha256), 64);
	return kit_printf("%s", path);
}

static size_t count(const char *pattern)
{
	glob_t g;
	size_t n = 0;

	if (glob(kit_printf("%s/%s", kit.dir, pattern), 0, NULL, &g) == 0) {
		n = g.gl_pathc;
		globfree(&g);
	}
	return n;
}

static void has_text(const char *path, const char *want)
{
	char *text = files_read(path);

	ck_assert_str_eq(text, want);
	free(text);
}

START_TEST(test_once)
{
	char *a = keep("hello");
	struct stat first, second;

	/* sha256("hello") */
	ck_assert_str_eq(a, kit_printf("%s.corrupt.2cf24dba5fb0a30e.bak", kit.path));
	ck_assert_int_eq(stat(a, &first), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_str_eq(keep(NULL), a);
	ck_assert_int_eq(stat(a, &second), 0);
	ck_assert_int_eq(first.st_ino, second.st_ino);
	ck_assert_uint_eq(count("*.bak"), 1);
	has_text(a, "hello");
	has_text(kit.path, "hello");
	ck_assert_str_ne(keep("other"), a);
	ck_assert_uint_eq(count("*.bak"), 2);
	ck_assert_uint_eq(count("*.tmp"), 0);
}
END_TEST

/* A copy that was cut short by a crash of the machine is made anew. */
START_TEST(test_short_copy)
{
	char *a = keep("hello");

	ck_assert_int_eq(truncate(a, 2), 0);
	ck_assert_str_eq(keep(NULL), a);
	has_text(a, "hello");
}
END_TEST

START_TEST(test_sidecars)
{
	char *a;

	files_write(kit_printf("%s-wal", kit.path), "w");
	files_write(kit_printf("%s-journal", kit.path), "j");
	a = keep("hello");
	has_text(kit_printf("%s-wal", a), "w");
	has_text(kit_printf("%s-journal", a), "j");
	ck_assert_int_ne(access(kit_printf("%s-shm", a), F_OK), 0);
}
END_TEST

START_TEST(test_missing)
{
	struct health_print print;
	char path[HEALTH_PATH_MAX];

	ck_assert_int_eq(evidence_keep(kit.path, &print, path, &kit.e), -ENOENT);
	ck_assert_uint_eq(count("*"), 0);
}
END_TEST

/* Set @i, as old as it is. */
static char *keep_nth(int i)
{
	char *path = keep(kit_printf("bytes %d", i));
	struct timespec t[2] = { { .tv_sec = 1770000000 + i }, { .tv_sec = 1770000000 + i } };

	ck_assert_int_eq(utimensat(AT_FDCWD, path, t, 0), 0);
	return path;
}

START_TEST(test_cap_files)
{
	char *path[16];

	for (int i = 0; i < 16; i++)
		path[i] = keep_nth(i);
	ck_assert_uint_eq(count("*.bak"), EVIDENCE_MAX_FILES);
	for (int i = 0; i < 16; i++)
		ck_assert_msg((access(path[i], F_OK) == 0) == (i == 0 || i > 6), "set %d", i);
}
END_TEST

/* Others' files are not ours to remove. */
START_TEST(test_cap_others)
{
	files_write(kit_printf("%s.corrupt.20260528_054113.bak", kit.path), "x");
	files_write(kit_printf("%s.bak", kit.path), "x");
	for (int i = 0; i < 12; i++)
		(void)keep_nth(i);
	ck_assert_uint_eq(count("*.bak"), EVIDENCE_MAX_FILES + 2);
}
END_TEST

START_TEST(test_cap_bytes)
{
	char *path[3], *last;

	for (int i = 0; i < 3; i++) {
		path[i] = keep_nth(i);
		/* as if it were large: sparse */
		ck_assert_int_eq(truncate(path[i], EVIDENCE_MAX_BYTES / 2), 0);
		ck_assert_int_eq(utimensat(AT_FDCWD, path[i],
					   (struct timespec[]){ { .tv_sec = 1770000000 + i },
								{ .tv_sec = 1770000000 + i } },
					   0),
				 0);
	}
	last = keep("last");
	ck_assert_int_eq(access(path[0], F_OK), 0);
	ck_assert_int_eq(access(last, F_OK), 0);
	ck_assert_uint_eq(count("*.bak"), 2);
}
END_TEST

/* Restoring from the evidence that would be the next to go. */
START_TEST(test_restore_from_the_next_to_go)
{
	struct health_good found;
	char *from = NULL;

	for (int i = 0; i < EVIDENCE_MAX_FILES; i++) {
		if (i == 1) {
			kit_sql("SELECT 1");
			ck_assert_int_eq(unlink(kit.path), 0);
			kit_board(0);
			kit_task("t_00000001", "done", NULL);
			from = keep(NULL);
			ck_assert_int_eq(
				utimensat(AT_FDCWD, from,
					  (struct timespec[]){ { .tv_sec = 1770000001 },
							       { .tv_sec = 1770000001 } },
					  0),
				0);
			continue;
		}
		(void)keep_nth(i);
	}
	files_write(kit.path, "the eleventh");
	ck_assert_msg(snapshot_restore(kit.path, from, &found, &kit.e) == 0, "%s", kit.e.text);
	ck_assert_int_eq(found.tasks, 1);
	ck_list("t_00000001", "SELECT id FROM tasks");
}
END_TEST

KIT_SUITE("evidence", test_once, test_short_copy, test_sidecars, test_missing, test_cap_files,
	  test_cap_others, test_cap_bytes, test_restore_from_the_next_to_go)
