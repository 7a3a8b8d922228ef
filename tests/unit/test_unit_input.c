/*
 * What a worker's unit is given: arguments and environment byte for byte, and that a start
 * which nobody waits for any more comes to nothing.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/launch/unit.h"
#include "kit/suite.h"
#include "util/fs.h"

static char sh[] = "/bin/sh", dash_c[] = "-c", cat[] = "cat /proc/$$/cmdline /proc/$$/environ";
static char *argv[8] = { sh, dash_c, cat };
static char *envp[20];

static struct launch_order order(void)
{
	return (struct launch_order){
		.file = "/bin/sh", .argv = argv, .envp = envp, .cwd = "/", .number = 7
	};
}

/* The unit's side, with @input as its standard input. Return: its exit status; @out its output.
 */
static int begin(int input, char **out, size_t *len, pid_t *pid)
{
	char path[] = "/tmp/kb-unit-XXXXXX";
	int fd = mkstemp(path), status;

	ck_assert_int_ge(fd, 0);
	*pid = fork();
	ck_assert_int_ge(*pid, 0);
	if (*pid == 0) {
		if (dup2(input, 0) < 0 || dup2(fd, 1) < 0)
			_exit(1);
		for (int i = 3; i < 100; i++)
			(void)close(i);
		_exit(unit_worker_main());
	}
	ck_assert_int_eq(waitpid(*pid, &status, 0), *pid);
	ck_assert_int_eq(fs_read_file(path, 1 << 24, out, len), 0);
	(void)close(fd);
	(void)unlink(path);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* As /proc has it: each with its NUL. */
static void expect(const char **p, char *const *list)
{
	for (; *list; list++) {
		ck_assert_str_eq(*p, *list);
		*p += strlen(*p) + 1;
	}
}

START_TEST(byte_for_byte)
{
	char all[300] = "ALL=", percent[] = "%h $HOME ${X} \"q\" 'a' \\n \n", empty[] = "";
	CLEANUP(freep) char *out = NULL;
	const struct launch_order o = order();
	struct launch_order many = o;
	const char *p;
	size_t len;
	int input, hold;
	pid_t pid;

	for (int i = 1; i < 256; i++)
		all[3 + i] = (char)i;
	argv[3] = percent;
	argv[4] = all + 4;
	argv[5] = empty;
	envp[0] = all;
	envp[1] = percent;             /* no = in it: it is passed on all the same */
	for (int i = 2; i < 18; i++) { /* more than a pipe, a page or one argument holds */
		envp[i] = malloc(100001);
		ck_assert_ptr_nonnull(envp[i]);
		memset(envp[i], 'a' + i, 100000);
		envp[i][1] = '=';
		envp[i][100000] = '\0';
	}
	many.envp = envp;
	input = unit_input_new(&many);
	hold = unit_input_hold(input);
	ck_assert_int_ge(input, 3);
	ck_assert_int_ge(hold, 0);
	ck_assert_int_eq(unit_input_begun(hold), 0);
	ck_assert_int_eq(begin(input, &out, &len, &pid), 0);
	ck_assert_int_eq(unit_input_begun(hold), pid);
	p = out;
	expect(&p, argv);
	expect(&p, envp);
	ck_assert_uint_eq((size_t)(p - out), len);
	ck_assert(!unit_input_take_back(hold)); /* too late */
	for (int i = 2; i < 18; i++)
		free(envp[i]);
	(void)close(hold);
	(void)close(input);
}
END_TEST

START_TEST(taken_back)
{
	CLEANUP(freep) char *out = NULL;
	const struct launch_order o = order();
	int input = unit_input_new(&o), hold = unit_input_hold(input);
	size_t len;
	pid_t pid;

	ck_assert(unit_input_take_back(hold));
	ck_assert_int_eq(begin(input, &out, &len, &pid), UNIT_UNWANTED);
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(unit_input_begun(hold), 0);
	(void)close(hold);
	(void)close(input);
}
END_TEST

START_TEST(nobody_waits)
{
	CLEANUP(freep) char *out = NULL;
	const struct launch_order o = order();
	int input = unit_input_new(&o), hold = unit_input_hold(input);
	size_t len;
	pid_t pid;

	(void)close(hold); /* as the end of a process does */
	ck_assert_int_eq(begin(input, &out, &len, &pid), UNIT_UNWANTED);
	ck_assert_uint_eq(len, 0);
	(void)close(input);
}
END_TEST

/* Of a cluster: the same bytes in a file, which nobody holds. */
START_TEST(from_a_file)
{
	CLEANUP(freep) char *out = NULL, *data = NULL;
	char path[] = "/tmp/kb-unit-XXXXXX", fd_path[64];
	const struct launch_order o = order();
	int input = unit_input_new(&o), fd = mkstemp(path);
	size_t len;
	pid_t pid;

	(void)snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", input);
	ck_assert_int_eq(fs_read_file(fd_path, 1 << 20, &data, &len), 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	ck_assert_int_eq(begin(fd, &out, &len, &pid), 0);
	ck_assert_str_eq(out, "/bin/sh");
	(void)close(fd);
	(void)close(input);
	(void)unlink(path);
}
END_TEST

START_TEST(no_description)
{
	CLEANUP(freep) char *out = NULL;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t len;
	pid_t pid;

	ck_assert_int_eq(begin(null, &out, &len, &pid), 64);
	(void)close(null);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("unit_input");
	TCase *tc = tcase_create("all");

	tcase_add_test(tc, byte_for_byte);
	tcase_add_test(tc, taken_back);
	tcase_add_test(tc, nobody_waits);
	tcase_add_test(tc, from_a_file);
	tcase_add_test(tc, no_description);
	suite_add_tcase(s, tc);
	return s;
}
