/* Evidence: the same bytes once, with what belongs to them, and not without end. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/board.h"
#include "kit/files.h"
#include "recovery/evidence.h"
#include "recovery/snapshot.h"

static char *keep(const char *text)
{
	struct health_print print;
	char path[HEALTH_PATH_MAX];

	if (text)
		files_write(kit.path, text);
	ck_assert_int_eq(evidence_keep(kit.path, 0, &print, path, &kit.e), 0);
	ck_assert_uint_eq(strlen(print.sha256), 64);
	return kit_printf("%s", path);
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
	ck_assert_uint_eq(kit_count("*.bak"), 1);
	has_text(a, "hello");
	has_text(kit.path, "hello");
	ck_assert_str_ne(keep("other"), a);
	ck_assert_uint_eq(kit_count("*.bak"), 2);
	ck_assert_uint_eq(kit_count("*.tmp"), 0);
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

/* Bit rot, or what a crash of the machine left: a set that does not hold what its name says. */
START_TEST(test_rotten_copy)
{
	char *a = keep("hello");

	files_write(a, "hellO");
	ck_assert_str_eq(keep(NULL), a);
	has_text(a, "hello");
}
END_TEST

/* A WAL is content: the same file met with another one is another state, and kept. */
START_TEST(test_second_state)
{
	char *wal = kit_printf("%s-wal", kit.path), *a, *b, *c;

	a = keep("hello");
	files_write(wal, "first");
	b = keep(NULL);
	ck_assert_str_ne(a, b);
	/* sha256("hello-walfirst-journal") */
	ck_assert_str_eq(b, kit_printf("%s.corrupt.b680f7faa782217f.bak", kit.path));
	has_text(a, "hello");
	ck_assert_int_ne(access(kit_printf("%s-wal", a), F_OK), 0);
	has_text(b, "hello");
	has_text(kit_printf("%s-wal", b), "first");
	for (int i = 0; i < 20; i++)
		ck_assert_str_eq(keep(NULL), b);
	files_write(wal, "second");
	c = keep(NULL);
	has_text(kit_printf("%s-wal", c), "second");
	ck_assert_uint_eq(kit_count("*.bak"), 3);
	/* -shm is made from the WAL: no state of its own */
	files_write(kit_printf("%s-shm", kit.path), "s");
	ck_assert_str_eq(keep(NULL), c);
	/* an empty WAL is none */
	files_write(wal, "");
	ck_assert_str_eq(keep(NULL), a);
	ck_assert_uint_eq(kit_count("*.bak"), 3);
}
END_TEST

/* The name is Hermes's for whichever state is met first, with its sidecars or without. */
START_TEST(test_second_state_without)
{
	char *journal = kit_printf("%s-journal", kit.path), *a, *b;

	files_write(journal, "j");
	a = keep("hello");
	ck_assert_str_eq(a, kit_printf("%s.corrupt.2cf24dba5fb0a30e.bak", kit.path));
	ck_assert_int_eq(unlink(journal), 0);
	b = keep(NULL);
	ck_assert_str_ne(a, b);
	ck_assert_str_eq(keep(NULL), b);
	has_text(kit_printf("%s-journal", a), "j");
	ck_assert_int_ne(access(kit_printf("%s-journal", b), F_OK), 0);
	ck_assert_uint_eq(kit_count("*.bak"), 2);
}
END_TEST

/* Many processes that meet the same damage at once keep it once. */
START_TEST(test_many_processes)
{
	files_write(kit.path, "hello");
	files_write(kit_printf("%s-wal", kit.path), "w");
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			struct health_print print;
			char path[HEALTH_PATH_MAX];

			_exit(evidence_keep(kit.path, 0, &print, path, &kit.e) == 0 ? 0 : 1);
		}
	}
	for (int i = 0; i < 8; i++) {
		int status;

		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_uint_eq(kit_count("*.bak"), 1);
	ck_assert_uint_eq(kit_count("*.bak-wal"), 1);
	ck_assert_uint_eq(kit_count("*.tmp"), 0);
}
END_TEST

/* What was killed before the set was whole: its WAL must not pass for that of another set. */
START_TEST(test_killed_before)
{
	char *a = kit_printf("%s.corrupt.2cf24dba5fb0a30e.bak", kit.path);
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	files_write(kit_printf("%s-wal", a), "of another state");
	files_write(kit_printf("%s-wal.%d.tmp", a, (int)pid), "half");
	files_write(kit_printf("%s.%d.tmp", a, (int)getppid()), "of a live one");
	ck_assert_str_eq(keep("hello"), a);
	ck_assert_int_ne(access(kit_printf("%s-wal", a), F_OK), 0);
	ck_assert_uint_eq(kit_count("*.tmp"), 1);
}
END_TEST

/* No room for the copy: nothing half-made stays, and what was kept before does. */
START_TEST(test_no_room)
{
	struct rlimit old, little;
	struct health_print print;
	char path[HEALTH_PATH_MAX], *a;
	int r;

	a = keep("hello");
	files_write(kit_printf("%s-wal", kit.path), "w");
	files_write(kit.path, kit_printf("%*s", 1000, "x"));
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	little = old;
	little.rlim_cur = 100;
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
	r = evidence_keep(kit.path, 0, &print, path, &kit.e);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(r, -EFBIG);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "cannot keep the bytes of"));
	ck_assert_uint_eq(kit_count("*.bak*"), 1);
	has_text(a, "hello");
	(void)keep(NULL);
	ck_assert_uint_eq(kit_count("*.bak"), 2);
}
END_TEST

/* The -wal is a part of what is kept. */
START_TEST(test_matches)
{
	const char *wal = kit_printf("%s-wal", kit.path);
	char *a, *b;

	files_write(wal, "w");
	a = keep("hello");
	ck_assert(files_same_set(kit.path, a));
	files_write(wal, "W");
	b = keep(NULL);
	ck_assert_str_ne(a, b);
	ck_assert(files_same_set(kit.path, b));
	files_write(wal, "w");
	ck_assert_str_eq(keep(NULL), a);
	ck_assert_str_ne(keep("hellO"), a);
}
END_TEST

/* The clock went back: the one just kept looks like one from the middle. */
START_TEST(test_cap_clock_went_back)
{
	char *last;

	for (int i = 0; i < EVIDENCE_MAX_FILES; i++) {
		char *path = keep(kit_printf("bytes %d", i));
		struct timespec t[2] = { { .tv_sec = i ? 4102444800 + i : 0 },
					 { .tv_sec = i ? 4102444800 + i : 0 } };

		ck_assert_int_eq(utimensat(AT_FDCWD, path, t, 0), 0);
	}
	last = keep("the eleventh");
	has_text(last, "the eleventh");
	ck_assert_uint_eq(kit_count("*.bak"), EVIDENCE_MAX_FILES);
}
END_TEST

START_TEST(test_missing)
{
	struct health_print print;
	char path[HEALTH_PATH_MAX];

	ck_assert_int_eq(evidence_keep(kit.path, 0, &print, path, &kit.e), -ENOENT);
	ck_assert_uint_eq(kit_count("*"), 0);
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
	ck_assert_uint_eq(kit_count("*.bak"), EVIDENCE_MAX_FILES);
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
	ck_assert_uint_eq(kit_count("*.bak"), EVIDENCE_MAX_FILES + 2);
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
	ck_assert_uint_eq(kit_count("*.bak"), 2);
}
END_TEST

/* Larger than max_evidence_bytes: it is not read, and none of the others goes for it. */
START_TEST(test_larger_than_that)
{
	const int64_t max = 1 << 20;
	struct health_print print;
	char path[HEALTH_PATH_MAX], *old[2];

	old[0] = keep_nth(0);
	old[1] = keep_nth(1);
	files_write(kit.path, "x");
	ck_assert_int_eq(truncate(kit.path, max), 0);
	files_write(kit_printf("%s-wal", kit.path), "w");
	ck_assert_int_eq(evidence_keep(kit.path, max, &print, path, &kit.e), -EFBIG);
	ck_assert_ptr_nonnull(strstr(kit.e.text, "max_evidence_bytes is 1048576"));
	ck_assert_int_eq(access(old[0], F_OK), 0);
	ck_assert_int_eq(access(old[1], F_OK), 0);
	ck_assert_int_eq(evidence_copy(kit.path, kit_printf("%s/copy", kit.dir), max), -EFBIG);
	/* and as much as that together: the middle one goes */
	ck_assert_int_eq(unlink(kit_printf("%s-wal", kit.path)), 0);
	ck_assert_int_eq(evidence_keep(kit.path, max, &print, path, &kit.e), 0);
	ck_assert_int_eq(access(old[0], F_OK), 0);
	ck_assert_int_eq(access(old[1], F_OK), -1);
	ck_assert_int_eq(access(path, F_OK), 0);
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
	ck_assert_msg(candidates_restore(kit.path, from, 0, &found, &kit.e) == 0, "%s",
		      kit.e.text);
	ck_assert_int_eq(found.tasks, 1);
	ck_list("t_00000001", "SELECT id FROM tasks");
}
END_TEST

KIT_SUITE("evidence", test_once, test_short_copy, test_rotten_copy, test_sidecars,
	  test_second_state, test_second_state_without, test_many_processes, test_killed_before,
	  test_no_room, test_matches, test_missing, test_cap_files, test_cap_others,
	  test_cap_bytes, test_larger_than_that, test_cap_clock_went_back,
	  test_restore_from_the_next_to_go)
