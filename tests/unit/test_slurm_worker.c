/*
 * The first process of a job: it ends as its worker does, and nothing that this started is
 * alive then. slurm/ends has the same with a real cluster.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/launch/unit.h"
#include "kit/suite.h"
#include "launch/slurm.h"
#include "util/fs.h"

static char said[64]; /* where the orphan writes its number */

/* Forks twice, leaves its session, ignores SIGTERM, stops itself; then the worker does @end. */
#define ORPHAN                                                                                 \
	"(setsid sh -c 'trap \"\" TERM; echo $$ >'$0'; kill -STOP $$; sleep 1000' &)\n"        \
	"until [ -s $0 ]; do sleep 0.01; done\n"

static pid_t begin(const char *end)
{
	CLEANUP(freep) char *script = fs_path(ORPHAN "%s", end);
	char sh[] = "/bin/sh", dash_c[] = "-c", path[] = "PATH=/usr/bin:/bin";
	char *argv[] = { sh, dash_c, script, said, NULL }, *envp[] = { path, NULL };
	const struct launch_order o = {
		.file = "/bin/sh", .argv = argv, .envp = envp, .cwd = "/", .number = 7
	};
	int input = unit_input_new(&o), hold = unit_input_hold(input);
	pid_t pid;

	ck_assert_int_ge(hold, 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(dup2(input, 0) < 0 ? 1 : slurm_worker_main());
	while (unit_input_begun(hold) == 0)
		(void)usleep(1000);
	(void)close(input);
	(void)close(hold);
	return pid;
}

static pid_t orphan(void)
{
	CLEANUP(freep) char *text = NULL;
	size_t len = 0;

	while (len == 0) {
		freep(&text);
		text = NULL;
		ck_assert_int_eq(fs_read_file(said, 64, &text, &len), 0);
		(void)usleep(1000);
	}
	return (pid_t)strtol(text, NULL, 10);
}

static bool gone(pid_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

static int ended(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(gone(orphan()));
	return status;
}

static void setup(void)
{
	int fd;

	(void)snprintf(said, sizeof(said), "/tmp/kb-slurm-XXXXXX");
	fd = mkstemp(said);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
}

static void teardown(void)
{
	(void)unlink(said);
}

START_TEST(ends_as_its_worker)
{
	int status = ended(begin("exit 3"));

	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

START_TEST(ends_by_its_workers_signal)
{
	int status = ended(begin("kill -SEGV $$"));

	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGSEGV);
}
END_TEST

/* The cluster's signals are for the worker, which gets them too. */
START_TEST(is_not_ended_by_a_signal)
{
	pid_t pid = begin("until [ -e $0.go ]; do sleep 0.01; done; rm $0.go; exit 4");
	char go[80];
	FILE *f;
	int status;

	ck_assert(!gone(orphan()));
	ck_assert_int_eq(kill(pid, SIGTERM), 0);
	ck_assert_int_eq(kill(pid, SIGINT), 0);
	(void)snprintf(go, sizeof(go), "%s.go", said);
	f = fopen(go, "we");
	ck_assert_ptr_nonnull(f);
	(void)fclose(f);
	status = ended(pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 4);
}
END_TEST

START_TEST(ends_all_when_slurmstepd_is_gone)
{
	pid_t above = fork();
	int status;

	ck_assert_int_ge(above, 0);
	if (above == 0) {
		(void)begin("sleep 1000");
		(void)orphan();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(above, &status, 0), above);
	for (int i = 0; i < 5000 && !gone(orphan()); i++)
		(void)usleep(1000);
	ck_assert(gone(orphan()));
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("slurm_worker");
	TCase *c = tcase_create("job");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, ends_as_its_worker);
	tcase_add_test(c, ends_by_its_workers_signal);
	tcase_add_test(c, is_not_ended_by_a_signal);
	tcase_add_test(c, ends_all_when_slurmstepd_is_gone);
	suite_add_tcase(s, c);
	return s;
}
