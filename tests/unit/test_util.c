/* The small things that everything stands on: error, fs, clock, job, log. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "kit/files.h"
#include "kit/suite.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fs.h"
#include "util/job.h"
#include "util/log.h"

static char folder[512];

static void folder_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(folder, sizeof(folder), "%s/util.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
}

static void folder_teardown(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	files_remove(folder);
}

/* error */
START_TEST(error_set_keeps_code_and_text)
{
	struct error e = ERROR_NULL;

	ck_assert_int_eq(e.code, 0);
	ck_assert_str_eq(e.text, "");
	ck_assert_int_eq(error_set(&e, -ENOSPC, "no room for %s", "x"), -ENOSPC);
	ck_assert_int_eq(e.code, -ENOSPC);
	ck_assert_str_eq(e.text, "no room for x");
	ck_assert_int_eq(error_set(NULL, 7, "unheard"), 7);
	ck_assert_int_eq(error_errno(NULL, -EIO, "unheard"), -EIO);
	ck_assert_int_eq(error_prefix(NULL, "unheard"), 0);
	ck_assert_int_eq(error_errno(&e, -ENOENT, "cannot open %s", "/x"), -ENOENT);
	ck_assert_str_eq(e.text, "cannot open /x: No such file or directory");
	ck_assert_int_eq(error_prefix(&e, "board %d: ", 3), -ENOENT);
	ck_assert_str_eq(e.text, "board 3: cannot open /x: No such file or directory");
	ck_assert_int_eq(error_set(&e, 2, "again: %s", e.text), 2); /* its own text inside */
	ck_assert_str_eq(e.text, "again: board 3: cannot open /x: No such file or directory");
}
END_TEST

START_TEST(error_set_cuts_between_characters)
{
	static const char *const wide[] = { "é", "€", "😀" };
	char text[ERROR_TEXT_MAX * 2];
	struct error e;

	for (size_t w = 0; w < 3; w++)
		for (size_t at = ERROR_TEXT_MAX - 8; at < ERROR_TEXT_MAX + 2; at++) {
			size_t len = strlen(wide[w]);
			size_t want = ERROR_TEXT_MAX - 1;

			memset(text, 'a', sizeof(text));
			memcpy(text + at, wide[w], len);
			text[sizeof(text) - 1] = '\0';
			(void)error_set(&e, 0, "%s", text);
			if (at < want && at + len > want)
				want = at; /* it would not fit whole */
			ck_assert_uint_eq(strlen(e.text), want);
			ck_assert_int_eq(strncmp(e.text, text, want), 0);
		}
	memset(text, 'a', sizeof(text));
	text[ERROR_TEXT_MAX - 3] = '\0';
	(void)error_set(&e, -EIO, "%s", text);
	(void)error_prefix(&e, "%s", "ünd ");
	ck_assert_uint_eq(strlen(e.text), ERROR_TEXT_MAX - 1);
	(void)error_errno(&e, -EIO, "%s", text);
	ck_assert_str_eq(e.text + ERROR_TEXT_MAX - 4, "a: ");
}
END_TEST

START_TEST(error_tidy_makes_one_clean_line)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ "a\nb\tc\x7f\x01", "a?b?c??" },
		{ "\x1b[31m", "?[31m" },
		{ "äöü€😀", "äöü€😀" },
		{ "\x80", "?" },                /* a continuation alone */
		{ "\xc3", "?" },                /* cut off */
		{ "\xe2\x82", "??" },           /* cut off */
		{ "x\xe2\x82y", "x??y" },       /* interrupted */
		{ "\xc0\xaf", "??" },           /* overlong / */
		{ "\xe0\x80\xaf", "???" },      /* overlong / */
		{ "\xf0\x80\x80\xaf", "????" }, /* overlong / */
		{ "\xed\xa0\x80", "???" },      /* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", "????" },
		{ "\xff\xfe", "??" },
		{ "\xc2\x9b"
		  "31m",
		  "??31m" },                                /* C1 CSI */
		{ "\xc2\xa0", "\xc2\xa0" },                 /* no-break space is a space */
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" }, /* U+10FFFF */
	};
	char text[64];
	struct error e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s", cases[i].in);
		error_tidy(text, sizeof(text));
		ck_assert_str_eq(text, cases[i].out);
	}
	memset(text, 0x80, sizeof(text)); /* no NUL within the size */
	error_tidy(text, 4);
	ck_assert_str_eq(text, "???");
	memset(text, 'x', sizeof(text));
	error_tidy(text, 1);
	ck_assert_str_eq(text, "");
	(void)error_set(&e, 0, "%s", "/tmp/a\nb");
	ck_assert_str_eq(e.text, "/tmp/a?b");
}
END_TEST

START_TEST(ownership_macros)
{
	CLEANUP(freep) char *mine = strdup("x");
	CLEANUP(fs_closep) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char *given = STEAL(mine);
	int copy = fd;

	ck_assert_ptr_null(mine);
	ck_assert_str_eq(given, "x");
	free(given);
	fs_closep(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fcntl(copy, F_GETFD), -1);
	fs_closep(&fd);
}
END_TEST

/* fs */
START_TEST(read_file_reads_all_or_refuses)
{
	CLEANUP(freep) char *big = malloc(300000);
	char *data = NULL;
	size_t len = 0;

	ck_assert_ptr_nonnull(big);
	ck_assert_int_eq(fs_read_file("none", 10, &data, &len), -ENOENT);
	files_write("empty", "");
	ck_assert_int_eq(fs_read_file("empty", 0, &data, &len), 0);
	ck_assert_uint_eq(len, 0);
	ck_assert_str_eq(data, "");
	free(data);
	files_write("ten", "0123456789");
	ck_assert_int_eq(fs_read_file("ten", 10, &data, &len), 0);
	ck_assert_uint_eq(len, 10);
	ck_assert_str_eq(data, "0123456789");
	free(data);
	data = NULL;
	ck_assert_int_eq(fs_read_file("ten", 9, &data, NULL), -EFBIG);
	for (size_t i = 0; i < 300000; i++)
		big[i] = (char)(i * 7 + i / 251); /* NULs in it */
	ck_assert_int_eq(fs_write_atomic("big", big, 300000, 0600), 0);
	ck_assert_int_eq(fs_read_file("big", 1 << 20, &data, &len), 0);
	ck_assert_uint_eq(len, 300000);
	ck_assert_mem_eq(data, big, 300000);
	ck_assert_int_eq(data[len], 0);
	free(data);
	data = NULL;
	/* a file whose size is not known before */
	ck_assert_int_eq(fs_read_file("/proc/self/maps", 1 << 20, &data, &len), 0);
	ck_assert_uint_gt(len, 512);
	ck_assert_uint_eq(strlen(data), len);
	free(data);
	data = NULL;
	ck_assert_int_eq(fs_read_file("/proc/self/maps", 100, &data, NULL), -EFBIG);
	ck_assert_int_eq(fs_read_file(".", 100, &data, NULL), -EISDIR);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	ck_assert_int_eq(fs_read_file("fifo", 100, &data, NULL), -EINVAL); /* no wait */
	ck_assert_int_eq(fs_read_file("/dev/null", 100, &data, NULL), -EINVAL);
	ck_assert_ptr_null(data);
}
END_TEST

START_TEST(copy_takes_regular_files_only)
{
	const char *const odd[] = { "/dev/zero", "/" };
	CLEANUP(fs_closep) int fd = -1;
	char *data;

	ck_assert_int_eq(fs_write_atomic("from", "abc", 3, 0644), 0);
	fd = open("from", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fs_copy(fd, "to"), 0);
	ck_assert_int_eq(fs_read_file("to", 10, &data, NULL), 0);
	ck_assert_str_eq(data, "abc");
	free(data);
	for (int i = 0; i < 2; i++) {
		fs_closep(&fd);
		fd = open(odd[i], O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(fs_copy(fd, "zeros"), i ? -EISDIR : -EINVAL);
	}
	ck_assert_int_eq(access("zeros", F_OK), -1);
}
END_TEST

START_TEST(write_atomic_replaces)
{
	CLEANUP(freep) char *stale = fs_path(".file.%d.tmp", (int)getpid());
	CLEANUP(freep) char *path = fs_path("%s/file", folder);
	CLEANUP(fs_closep) int old = -1;
	struct stat st;
	char text[8] = "";
	mode_t mask = umask(022);

	ck_assert_int_eq(fs_write_atomic("file", "one", 3, 0666), 0);
	ck_assert_int_eq(stat("file", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0644);
	old = open("file", O_RDONLY | O_CLOEXEC);
	/* what a killed process left is neither followed nor kept */
	files_write("victim", "v");
	ck_assert_int_eq(symlink("victim", stale), 0);
	ck_assert_int_eq(fs_write_atomic(path, "two", 3, 0600), 0);
	ck_assert_int_eq(stat("file", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(read(old, text, sizeof(text)), 3);
	ck_assert_str_eq(text, "one"); /* the old file was not written to */
	{
		CLEANUP(freep) char *now = files_read("file");
		CLEANUP(freep) char *victim = files_read("victim");

		ck_assert_str_eq(now, "two");
		ck_assert_str_eq(victim, "v");
	}
	ck_assert_int_eq(lstat(stale, &st), -1);
	(void)umask(mask);
}
END_TEST

START_TEST(write_atomic_fails_without_a_trace)
{
	CLEANUP(freep) char *temp = fs_path(".file.%d.tmp", (int)getpid());
	struct rlimit old, none;
	struct stat st;

	ck_assert_int_eq(fs_write_atomic("none/file", "x", 1, 0600), -ENOENT);
	ck_assert_int_eq(mkdir("file", 0700), 0);
	ck_assert_int_eq(fs_write_atomic("file", "x", 1, 0600), -EISDIR);
	ck_assert_int_eq(lstat(temp, &st), -1);
	ck_assert_int_eq(rmdir("file"), 0);
	files_write("file", "old");
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = (struct rlimit){ 2, old.rlim_max };
	(void)signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	ck_assert_int_eq(fs_write_atomic("file", "new", 3, 0600), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_int_eq(lstat(temp, &st), -1);
	ck_assert_int_eq(fs_sync_parent("file"), 0);
	ck_assert_int_eq(fs_sync_parent("/file"), 0);
	ck_assert_int_eq(fs_sync_parent("none/file"), -ENOENT);
	ck_assert_int_eq(fs_sync_parent("file/file"), -ENOTDIR);
	{
		CLEANUP(freep) char *now = files_read("file");

		ck_assert_str_eq(now, "old");
	}
}
END_TEST

START_TEST(mkdir_p_makes_parents)
{
	CLEANUP(freep) char *deep = fs_path("%s/a/b/c", folder);
	struct stat st;

	ck_assert_int_eq(fs_mkdir_p(deep, 0750), 0);
	ck_assert_int_eq(stat(deep, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0750);
	ck_assert_int_eq(fs_mkdir_p(deep, 0700), 0);
	ck_assert_int_eq(fs_mkdir_p("a//b/d/", 0700), 0);
	ck_assert(fs_is_dir("a/b/d"));
	ck_assert_int_eq(fs_mkdir_p("/", 0700), 0);
	ck_assert_int_eq(fs_mkdir_p("", 0700), -ENOENT);
	files_write("plain", "");
	ck_assert_int_eq(fs_mkdir_p("plain", 0700), -ENOTDIR);
	ck_assert_int_eq(fs_mkdir_p("plain/x", 0700), -ENOTDIR);
	ck_assert(!fs_is_dir("plain"));
	ck_assert(!fs_is_dir("none"));
	ck_assert_int_eq(symlink("a", "link"), 0);
	ck_assert(fs_is_dir("link"));
}
END_TEST

START_TEST(locks_exclude_and_do_not_leak)
{
	CLEANUP(fs_closep) int a = -1;
	CLEANUP(fs_closep) int b = -1;

	a = fs_lock_open("lock");
	ck_assert_int_ge(a, 0);
	ck_assert_int_eq(fcntl(a, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	ck_assert_int_eq(write(a, "text", 4), 4);
	b = fs_lock_open("lock");
	ck_assert_int_ge(b, 0);
	{
		CLEANUP(freep) char *text = files_read("lock");

		ck_assert_str_eq(text, "text"); /* opening does not empty it */
	}
	ck_assert_int_eq(fs_lock_try(a), 0);
	ck_assert_int_eq(fs_lock_try(b), -EWOULDBLOCK);
	fs_closep(&a);
	ck_assert_int_eq(fs_lock_try(b), 0);
	ck_assert_int_eq(fs_lock_open("none/lock"), -ENOENT);
	ck_assert_int_eq(symlink("elsewhere", "link"), 0);
	ck_assert_int_eq(fs_lock_open("link"), -ELOOP);
	ck_assert_int_eq(access("elsewhere", F_OK), -1);
	ck_assert_int_eq(fs_lock_try(-1), -EBADF);
}
END_TEST

START_TEST(slugs)
{
	static const char *const good[] = {
		"a",
		"0",
		"default",
		"a-b_c",
		"9_",
		"x--",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 64 */
	};
	static const char *const bad[] = {
		"",
		"-a",
		"_archived",
		"A",
		"aB",
		"a.b",
		"a/b",
		"..",
		"a b",
		"a\n",
		"é",
		"a$",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 65 */
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(fs_is_slug(good[i]), "'%s' is a slug", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!fs_is_slug(bad[i]), "'%s' is no slug", bad[i]);
}
END_TEST

/* clock */
START_TEST(clocks_agree)
{
	int64_t before = (int64_t)time(NULL), s = clock_wall_s(), us = clock_wall_us();
	uint64_t uv = uv_hrtime() / 1000, mono_us = clock_mono_us(), ms = clock_mono_ms();

	ck_assert_int_ge(s, before - 1); /* time(2) may lag behind by a tick */
	ck_assert_int_le(s, (int64_t)time(NULL) + 1);
	ck_assert_int_ge(us / 1000000, s);
	ck_assert_int_le(us / 1000000, s + 10);
	ck_assert_uint_ge(mono_us, uv);
	ck_assert_uint_ge(ms, mono_us / 1000);
	ck_assert_uint_le(ms, clock_mono_us() / 1000);
	ck_assert_uint_le(mono_us - uv, 10000000);
}
END_TEST

/* To hold a lock it is enough to read the file: nobody may who may not write its folder. */
START_TEST(lock_files_are_for_those_who_write)
{
	static const struct {
		mode_t dir, was, is;
	} modes[] = {
		{ 0755, 0, 0600 },    { 0700, 0644, 0600 }, { 0775, 0664, 0660 },
		{ 0770, 0644, 0640 }, { 0777, 0666, 0666 }, { 0757, 0646, 0606 },
	};
	char dir[] = "/tmp/kanband-lock.XXXXXX";
	CLEANUP(freep) char *path = NULL;
	struct stat st;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	path = fs_path("%s/x.lock", dir);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		CLEANUP(fs_closep) int fd = -1;

		ck_assert_int_eq(chmod(dir, modes[i].dir), 0);
		if (modes[i].was) {
			fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
			ck_assert_int_ge(fd, 0);
			ck_assert_int_eq(fchmod(fd, modes[i].was), 0);
			fs_closep(&fd);
		}
		fd = fs_lock_open(path);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(fstat(fd, &st), 0);
		ck_assert_uint_eq(st.st_mode & 0777, modes[i].is);
		ck_assert_int_eq(unlink(path), 0);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* The rights of a file that others know by another name are theirs. */
START_TEST(lock_files_with_a_second_name)
{
	CLEANUP(fs_closep) int fd = open("other", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	struct stat st;

	ck_assert(fd >= 0 && fchmod(fd, 0644) == 0);
	ck_assert_int_eq(link("other", "lock"), 0);
	fs_closep(&fd);
	fd = fs_lock_open("lock");
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0644);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("util");
	TCase *error = tcase_create("error");
	TCase *fs = tcase_create("fs");
	TCase *job = tcase_create("clock and job");

	tcase_add_test(error, error_set_keeps_code_and_text);
	tcase_add_test(error, error_set_cuts_between_characters);
	tcase_add_test(error, error_tidy_makes_one_clean_line);
	tcase_add_test(error, ownership_macros);
	suite_add_tcase(s, error);
	tcase_add_checked_fixture(fs, folder_setup, folder_teardown);
	tcase_add_test(fs, read_file_reads_all_or_refuses);
	tcase_add_test(fs, lock_files_with_a_second_name);
	tcase_add_test(fs, copy_takes_regular_files_only);
	tcase_add_test(fs, write_atomic_replaces);
	tcase_add_test(fs, write_atomic_fails_without_a_trace);
	tcase_add_test(fs, mkdir_p_makes_parents);
	tcase_add_test(fs, locks_exclude_and_do_not_leak);
	tcase_add_test(fs, slugs);
	suite_add_tcase(s, fs);
	tcase_set_timeout(job, 60);
	tcase_add_test(job, clocks_agree);
	tcase_add_test(job, lock_files_are_for_those_who_write);
	suite_add_tcase(s, job);
	return s;
}
