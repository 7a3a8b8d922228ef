/*
 * Calling git, with programs in its place that print too much, hang, are deaf, or leave
 * something behind.
 */
#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../../src/launch/launch.h"
#include "kit/launch.h"
#include "util/clock.h"
#include "util/fs.h"

static struct environment *env;

static void teardown(void)
{
	env = environ_free(env);
	help_teardown();
}

/* A git that does what @script says. */
static void fake_git(struct git *git, const char *script)
{
	CLEANUP(freep) char *bin = help_path("fake");
	CLEANUP(freep) char *file = help_path("fake/git");
	CLEANUP(freep) char *path = NULL;
	char *vars[3] = { 0 };

	(void)mkdir(bin, 0755);
	help_write(file, script);
	ck_assert_int_eq(chmod(file, 0755), 0);
	ck_assert_int_ge(asprintf(&path, "PATH=%s:/usr/bin:/bin", bin), 0);
	vars[0] = path;
	vars[1] = help_dup("GIT_DIR=/nowhere");
	env = environ_free(env);
	ck_assert_int_eq(environ_new(&env, vars, NULL), 0);
	free(vars[1]);
	ck_assert_int_eq(git_init(git, env), 0);
}

START_TEST(test_git_output)
{
	const char *const args[] = { "a b", "$(x)", NULL };
	struct run_output *output = malloc(sizeof(*output));
	struct git git;
	char buf[64];

	ck_assert_ptr_nonnull(output);
	fake_git(&git,
		 "#!/bin/sh\nwhile [ \"$1\" = -c ]; do shift 2; done\n"
		 "echo \"$# $1 $2 $GIT_TERMINAL_PROMPT $LC_ALL ${GIT_DIR-none}\"\n"
		 "cat\necho warning: w >&2; echo fatal: why >&2; echo hint >&2; exit 3\n");
	ck_assert_int_eq(git_run(&git, args, output), 0);
	ck_assert_int_eq(output->status, 3);
	ck_assert_str_eq(output->out, "2 a b $(x) 0 C none\n");
	ck_assert(!output->out_cut);
	ck_assert_str_eq(git_reason(output, buf, sizeof(buf)), "why");
	git_deinit(&git);

	/* more than is kept: git does not wait for us, we keep the beginning */
	fake_git(&git, "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\n"
		       "head -c 300000 /dev/zero | tr '\\0' y >&2\n");
	ck_assert_int_eq(git_run(&git, args, output), 0);
	ck_assert_int_eq(output->status, 0);
	ck_assert(output->out_cut);
	ck_assert_uint_eq(output->out_len, sizeof(output->out) - 1);
	ck_assert_uint_eq(strlen(output->out), sizeof(output->out) - 1);
	ck_assert_uint_eq(strlen(git_reason(output, buf, sizeof(buf))), sizeof(buf) - 1);
	git_deinit(&git);

	fake_git(&git, "#!/bin/sh\nkill -9 $$\n");
	ck_assert_int_eq(git_run(&git, args, output), 0);
	ck_assert_int_eq(output->status, -1);
	ck_assert_str_eq(git_reason(output, buf, sizeof(buf)), "git was killed by a signal");
	git_deinit(&git);

	fake_git(&git, "#!/bin/sh\necho ' ' >&2; exit 1\n");
	ck_assert_int_eq(git_run(&git, args, output), 0);
	ck_assert_str_eq(git_reason(output, buf, sizeof(buf)), "git failed and gave no reason");
	git_deinit(&git);
	free(output);
}
END_TEST

START_TEST(test_git_background)
{
	/* a hook that leaves something behind which keeps the pipes open */
	const char *const args[] = { "x", NULL };
	struct run_output *output = malloc(sizeof(*output));
	uint64_t start = clock_mono_ms();
	struct git git;

	ck_assert_ptr_nonnull(output);
	fake_git(&git, "#!/bin/sh\nsleep 20 &\necho $!\n");
	ck_assert_int_eq(git_run(&git, args, output), 0);
	ck_assert_int_eq(output->status, 0);
	ck_assert_uint_lt(clock_mono_ms() - start, 15000);
	(void)kill(atoi(output->out), SIGKILL);
	git_deinit(&git);
	free(output);
}
END_TEST

static const char *const hanging[] = {
	"#!/bin/sh\nsleep 60\n",
	/* deaf, and a child in the same group */
	"#!/bin/sh\ntrap '' TERM\necho $$\nsleep 60 & sleep 60; sleep 60; sleep 60\n",
	/* closed its streams */
	"#!/bin/sh\nexec >&- 2>&-\nsleep 60\n",
};

START_TEST(test_git_timeout)
{
	const char *const args[] = { "x", NULL };
	struct run_output *output = malloc(sizeof(*output));
	uint64_t start = clock_mono_ms();
	struct git git;
	char buf[64];

	ck_assert_ptr_nonnull(output);
	fake_git(&git, hanging[_i]);
	git.timeout_ms = 200;
	ck_assert_int_eq(git_run(&git, args, output), 0);
	ck_assert(output->timed_out);
	ck_assert_int_eq(output->status, -1);
	ck_assert_uint_lt(clock_mono_ms() - start, 20000);
	ck_assert_str_eq(git_reason(output, buf, sizeof(buf)),
			 "git did not end in time and was killed");
	/* reaped */
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	git_deinit(&git);
	free(output);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("launch_git");
	TCase *tc = tcase_create("git");

	tcase_add_checked_fixture(tc, help_setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_git_output);
	if (!help_in_valgrind()) {
		/* both end by the pidfd */
		tcase_add_test(tc, test_git_background);
		tcase_add_loop_test(tc, test_git_timeout, 0,
				    sizeof(hanging) / sizeof(hanging[0]));
	}
	suite_add_tcase(suite, tc);
	return suite;
}
