/* Starting a process beside very many descriptors, in a thread with a table of its own. */
#include "process/apart.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/folder.h"
#include "kit/suite.h"
#include "process/spawn.h"

#define MANY 700

static char *const environment[] = { (char[]){ "PATH=/usr/bin:/bin" }, NULL };

/* So many numbers are taken. Each is of one file: a lock of it is dropped by closing any. */
static int many(const char *name)
{
	int fd = open(folder_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	while (fcntl(fd, F_DUPFD_CLOEXEC, 3) < MANY)
		;
	return fd;
}

static pid_t started(const char *script, const char *in)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, strdup(script), NULL };
	const int out =
		open(folder_path("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	const int input = in ? open(folder_path(in), O_RDONLY | O_CLOEXEC) : 0;
	const struct spawn how = { .file = "/bin/sh",
				   .argv = argv,
				   .envp = environment,
				   .cwd = "/",
				   .in = input,
				   .out = out,
				   .err = out };
	pid_t pid = 0;

	ck_assert_int_gt(out, MANY);
	ck_assert_int_eq(spawn_process(&how, &pid), 0);
	ck_assert_int_eq(close(out), 0);
	if (in)
		ck_assert_int_eq(close(input), 0);
	free(argv[2]);
	return pid;
}

static void ck_ends(pid_t pid, int status, const char *says)
{
	char text[200] = "";
	int got, fd;

	ck_assert_int_eq(waitpid(pid, &got, 0), pid); /* our child as any other */
	ck_assert(WIFEXITED(got));
	ck_assert_int_eq(WEXITSTATUS(got), status);
	fd = open(folder_path("out"), O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(read(fd, text, sizeof(text) - 1), 0);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_str_eq(text, says);
}

/* Does another process find the file locked, by fcntl() and by flock()? */
static bool locked(const char *name)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		const int fd = open(folder_path(name), O_RDWR | O_CLOEXEC);

		_exit(fcntl(fd, F_SETLK, &lock) == 0 || flock(fd, LOCK_EX | LOCK_NB) == 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The shell's own look at the folder is the fourth. */
START_TEST(what_it_has)
{
	(void)many("many");
	folder_write("in", "word\n", 5);
	for (int i = 0; i < 3; i++) {
		ck_ends(started("cd /proc/$$/fd; echo *; cd /; pwd; exit 7", NULL), 7,
			"0 1 2 3\n/\n");
		ck_ends(started("read -r it; echo $it; exit 0", "in"), 0, "word\n");
	}
}
END_TEST

START_TEST(locks_are_kept)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const int fd = many("many");

	ck_assert_int_eq(fcntl(fd, F_SETLK, &lock), 0);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	ck_assert(locked("many"));
	ck_ends(started("exit 3", NULL), 3, "");
	ck_assert(locked("many"));
}
END_TEST

/* What was sent, under low numbers: 1 for each that is one of those. */
static int numbers(void *arg, const int fds[APART_FDS])
{
	int n = 0;

	ck_assert_ptr_eq(arg, environment);
	for (int i = 0; i < APART_FDS; i++)
		n = n * 10 + (fds[i] > STDERR_FILENO && fds[i] < 16 ? 1 : fds[i] < 0 ? 2 : 3);
	return n;
}

START_TEST(what_fails_is_told)
{
	char *argv[] = { (char[]){ "nope" }, NULL };
	const int out = many("many");
	const struct spawn how = { .file = "/nope/nope",
				   .argv = argv,
				   .envp = environment,
				   .out = fcntl(out, F_DUPFD_CLOEXEC, MANY),
				   .err = fcntl(out, F_DUPFD_CLOEXEC, MANY) };
	pid_t pid;

	ck_assert_int_eq(spawn_process(&how, &pid), -ENOENT);
}
END_TEST

START_TEST(what_is_sent)
{
	static const int none[APART_FDS] = { -1, -1, -1 };
	int fds[APART_FDS] = { -1, many("many"), -1 };

	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(apart_call(numbers, (void *)environment, none), 222);
		ck_assert_int_eq(apart_call(numbers, (void *)environment, fds), 212);
		fds[2] = fds[1];
		ck_assert_int_eq(apart_call(numbers, (void *)environment, fds), 211);
		fds[2] = -1;
	}
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("apart");
	TCase *tc = tcase_create("apart");

	tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
	tcase_add_test(tc, what_it_has);
	tcase_add_test(tc, locks_are_kept);
	tcase_add_test(tc, what_fails_is_told);
	tcase_add_test(tc, what_is_sent);
	suite_add_tcase(s, tc);
	return s;
}
