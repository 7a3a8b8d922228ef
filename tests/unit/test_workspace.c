/*
 * The folders that workers run in. The git cases run real git on real repositories; where git
 * is not installed they are left out, with a word about it.
 */
#include "kit/launch.h"

#include <pthread.h>

#include "../../src/launch/launch.h"

static struct help_launch h;
static struct launch_env *env;

static void setup(void)
{
	help_setup();
	help_launch_init(&h);
	help_env(&h, "HOME=%s/home", help_dir);
	help_env(&h, "GIT_CONFIG_NOSYSTEM=1");
	/* a daemon that was started from inside a repository */
	help_env(&h, "GIT_DIR=/nowhere");
	help_env(&h, "GIT_WORK_TREE=/nowhere");
	ck_assert_int_eq(environ_prepare(&env, h.env), 0);
}

static void teardown(void)
{
	env = environ_free(env);
	help_launch_deinit(&h);
	help_teardown();
}

/* Prepare the workspace of the fixture's task. Caller frees @path and @branch. */
static int prepare(char **path, char **branch, struct error *e)
{
	*path = *branch = NULL;
	*e = (struct error)ERROR_NULL;
	return workspace_prepare(env, &h.spec, path, branch, e);
}

/* It must succeed at help_dir/@want (or @want where absolute), on @branch (NULL: none). */
static void expect(const char *want, const char *branch)
{
	CLEANUP(freep) char *path = NULL, *have = NULL;
	CLEANUP(freep) char *full = want[0] == '/' ? help_dup(want) : help_path("%s", want);
	struct error e;
	int r = prepare(&path, &have, &e);

	ck_assert_msg(r == 0, "%s", e.text);
	ck_assert_str_eq(path, full);
	ck_assert(fs_is_dir(path));
	if (branch)
		ck_assert_str_eq(have ? have : "(none)", branch);
	else
		ck_assert_ptr_null(have);
}

/* The whole sentence; up to a '*' at its end where the rest is git's own wording. */
static void expect_failure(const char *fmt, ...) PRINTF(1, 2);
static void expect_failure(const char *fmt, ...)
{
	CLEANUP(freep) char *path = NULL, *branch = NULL;
	char want[2048];
	struct error e;
	va_list ap;
	int r = prepare(&path, &branch, &e);

	va_start(ap, fmt);
	(void)vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	if (want[strlen(want) - 1] == '*') {
		want[strlen(want) - 1] = '\0';
		ck_assert_uint_gt(strlen(e.text), strlen(want));
		e.text[strlen(want)] = '\0';
	}
	ck_assert_str_eq(e.text, want);
	ck_assert_int_eq(r, LAUNCH_WORKSPACE_FAILED);
	ck_assert_int_eq(e.code, LAUNCH_WORKSPACE_FAILED);
	ck_assert_ptr_null(path);
	ck_assert_ptr_null(branch);
}

/* The path of the task, below the case's folder where it does not begin with '/' or '~'. */
static void set_path(const char *text)
{
	CLEANUP(freep) char *full = NULL;

	if (text && text[0] == '@')
		full = help_path("%s", text + 1);
	help_set(&h.spec.workspace_path, full ? full : text);
}

static void set_kind(const char *kind)
{
	help_set(&h.spec.workspace_kind, kind);
}

/* ---- workspace_path() ---- */

static const struct {
	const char *text, *home, *want; /* want NULL: not absolute */
} path_cases[] = {
	{ "/a/b", NULL, "/a/b" },
	{ "/", NULL, "/" },
	{ "//", NULL, "/" },
	{ "/.", NULL, "/" },
	{ "/a//b", NULL, "/a/b" },
	{ "//a/b", NULL, "/a/b" },
	{ "/a/./b/.", NULL, "/a/b" },
	{ "/a/b/", NULL, "/a/b" },
	{ "/a/b///", NULL, "/a/b" },
	{ "/a/../b", NULL, "/a/../b" },
	{ "/a/.b/..c", NULL, "/a/.b/..c" },
	{ "/a b/\n", NULL, "/a b/\n" },
	{ "~", "/home/x", "/home/x" },
	{ "~/", "/home/x/", "/home/x" },
	{ "~/y//z/", "/home/x", "/home/x/y/z" },
	{ "~other/y", "/home/x", NULL },
	{ "/~", "/home/x", "/~" },
	{ "~/y", "home", NULL },
	{ "", NULL, NULL },
	{ "a", NULL, NULL },
	{ "./a", NULL, NULL },
	{ " /a", NULL, NULL },
};

START_TEST(test_path)
{
	CLEANUP(freep) char *out = NULL;
	int r = workspace_path(path_cases[_i].text, path_cases[_i].home, &out);

	if (path_cases[_i].want) {
		ck_assert_int_eq(r, 0);
		ck_assert_str_eq(out, path_cases[_i].want);
	} else {
		ck_assert_int_eq(r, -EINVAL);
		ck_assert_ptr_null(out);
	}
}
END_TEST

/* ---- scratch and dir ---- */

START_TEST(test_scratch)
{
	CLEANUP(freep) char *file = help_path("file");

	expect("root/ws/t_0000abcd", NULL);
	expect("root/ws/t_0000abcd", NULL); /* again: it is there */
	set_kind("");
	expect("root/ws/t_0000abcd", NULL);
	set_kind(NULL);
	expect("root/ws/t_0000abcd", NULL);
	set_kind("scratch");
	set_path("");
	expect("root/ws/t_0000abcd", NULL);
	set_path("@some//where/./deep/");
	expect("some/where/deep", NULL);
	set_path("~/scratch");
	expect("home/scratch", NULL);
	set_path("some/where");
	expect_failure(
		"workspace: workspace_path some/where of a scratch task is not absolute; "
		"give the whole path");
	help_write(file, "");
	set_path("@file");
	expect_failure("workspace: %s/file, or a part of that path, is no folder", help_dir);
	set_path("@file/below");
	expect_failure("workspace: %s/file/below, or a part of that path, is no folder",
		       help_dir);
	set_path("/proc/nothing/here");
	expect_failure("workspace: cannot make /proc/nothing/here: No such file or directory");
	h.spec.branch_name = help_dup("x");
	set_path(NULL);
	expect("root/ws/t_0000abcd", NULL); /* no branch: that is for worktrees */
}
END_TEST

START_TEST(test_dir)
{
	set_kind("dir");
	expect_failure("workspace: a dir task needs a workspace_path, this one has none");
	set_path("");
	expect_failure("workspace: a dir task needs a workspace_path, this one has none");
	set_path("work");
	expect_failure("workspace: workspace_path work of a dir task is not absolute; give the "
		       "whole path");
	set_path("~other/x");
	expect_failure("workspace: workspace_path ~other/x of a dir task is not absolute; give "
		       "the whole path");
	set_path("@a/../b c/$(x)");
	expect("a/../b c/$(x)", NULL);
	set_path("~");
	expect("home", NULL);
	set_kind("Scratch");
	expect_failure("workspace: unknown workspace_kind Scratch; scratch, dir and worktree "
		       "exist");
}
END_TEST

/* ---- git ---- */

/* Run git in @dir of the case's folder with a plain environment; it must succeed. */
static void git(const char *dir, const char *command)
{
	CLEANUP(freep) char *full = help_path("%s", dir);
	CLEANUP(freep) char *line = NULL;

	ck_assert_int_ge(
		asprintf(&line,
			 "cd \"$DIR\" && env -u GIT_DIR -u GIT_WORK_TREE "
			 "GIT_CONFIG_NOSYSTEM=1 HOME='%s/home' git -c user.name=n "
			 "-c user.email=e -c init.defaultBranch=main %s >/dev/null 2>&1",
			 help_dir, command),
		0);
	ck_assert_int_eq(setenv("DIR", full, 1), 0);
	ck_assert_msg(help_shell(line) == 0, "%s", line);
}

/* A repository at @name with one commit and the folder sub in it. */
static void make_repo(const char *name)
{
	CLEANUP(freep) char *dir = help_path("%s/sub", name);
	CLEANUP(freep) char *file = help_path("%s/sub/file", name);

	ck_assert_int_eq(fs_mkdir_p(dir, 0755), 0);
	git(name, "init");
	help_write(file, "text\n");
	git(name, "add .");
	git(name, "commit -m one");
}

static void repo_setup(void)
{
	setup();
	make_repo("repo");
	set_kind("worktree");
}

/* Which branch is checked out there. */
static void expect_branch(const char *dir, const char *want)
{
	CLEANUP(freep) char *line = NULL;
	CLEANUP(freep) char *out = help_path("branch");
	CLEANUP(freep) char *have = NULL;

	ck_assert_int_ge(asprintf(&line, "git -C '%s/%s' branch --show-current >'%s'", help_dir,
				  dir, out),
			 0);
	ck_assert_int_eq(help_shell(line), 0);
	have = help_read(out, NULL);
	have[strcspn(have, "\n")] = '\0';
	ck_assert_str_eq(have, want);
}

static void set_workdir(const char *text)
{
	CLEANUP(freep) char *full = text && text[0] == '@' ? help_path("%s", text + 1) : NULL;

	help_set(&h.spec.default_workdir, full ? full : text);
}

START_TEST(test_worktree_board)
{
	CLEANUP(freep) char *file = help_path("repo/.worktrees/t_0000abcd/sub/file");
	CLEANUP(freep) char *link = help_path("home");
	CLEANUP(freep) char *blank = NULL;

	expect_failure(
		"workspace: a worktree task needs a workspace_path, or a default_workdir in "
		"the board.json of board b1; there is neither");
	set_workdir(" \n");
	expect_failure(
		"workspace: a worktree task needs a workspace_path, or a default_workdir in "
		"the board.json of board b1; there is neither");
	set_workdir("repo");
	expect_failure(
		"workspace: default_workdir repo of board b1 is not absolute; give the whole "
		"path");
	set_workdir("@root");
	expect_failure(
		"workspace: default_workdir %s/root is not inside a git checkout that can "
		"be used: cannot change to '%s/root': No such file or directory",
		help_dir, help_dir);
	ck_assert_int_eq(mkdir(h.spec.root, 0755), 0);
	expect_failure(
		"workspace: default_workdir %s/root is not inside a git checkout that can "
		"be used: not a git repository (or any of the parent directories): .git",
		help_dir);
	set_workdir("@repo");
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	expect_branch("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_eq(access(file, R_OK), 0);
	/* again, from further down, by way of a link, with blanks */
	set_workdir("@repo/sub/");
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_eq(symlink("repo", link), 0);
	set_workdir("~/sub");
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_ge(asprintf(&blank, " %s/repo\n", help_dir), 0);
	set_workdir(blank);
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	expect_branch("repo", "main");
}
END_TEST

START_TEST(test_worktree_branch)
{
	set_workdir("@repo");
	help_set(&h.spec.branch_name, "feature/x");
	expect("repo/.worktrees/t_0000abcd", "feature/x");
	expect_branch("repo/.worktrees/t_0000abcd", "feature/x");
	/* a branch that is there already is checked out, not made */
	git("repo", "branch topic");
	help_set(&h.spec.task, "t_2");
	help_set(&h.spec.branch_name, " topic\n");
	expect("repo/.worktrees/t_2", "topic");
	expect_branch("repo/.worktrees/t_2", "topic");
	/* blank is none */
	help_set(&h.spec.task, "t_3");
	help_set(&h.spec.branch_name, "  ");
	expect("repo/.worktrees/t_3", "wt/t_3");
	/* in use elsewhere */
	help_set(&h.spec.task, "t_4");
	help_set(&h.spec.branch_name, "main");
	expect_failure(
		"workspace: git worktree add %s/repo/.worktrees/t_4 on branch main failed: "
		"'main' is already *",
		help_dir);
	help_set(&h.spec.branch_name, "a..b");
	expect_failure(
		"workspace: git worktree add %s/repo/.worktrees/t_4 on branch a..b failed: "
		"'a..b' is not a valid branch name",
		help_dir);
	help_set(&h.spec.branch_name, "--force");
	expect_failure("workspace: --force is no branch name; change branch_name of the task");
	help_set(&h.spec.branch_name, "$(touch x)");
	expect_failure(
		"workspace: git worktree add %s/repo/.worktrees/t_4 on branch $(touch x) "
		"failed: '$(touch x)' is not a valid branch name",
		help_dir);
}
END_TEST

START_TEST(test_worktree_path)
{
	/* the checkout itself: below it; by way of a link, too */
	set_path("@repo");
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	/* a path that is not there, inside */
	help_set(&h.spec.task, "t_2");
	set_path("@repo/trees//two/");
	expect("repo/trees/two", "wt/t_2");
	expect_branch("repo/trees/two", "wt/t_2");
	expect("repo/trees/two", "wt/t_2");
	/* a folder inside that is there: as it is, on whatever branch */
	help_set(&h.spec.task, "t_3");
	set_path("@repo/sub");
	expect("repo/sub", "wt/t_3");
	/* not in a repository, there or not there */
	set_path("@elsewhere/x");
	expect_failure(
		"workspace: workspace_path %s/elsewhere/x is not inside a git checkout that "
		"can be used: not a git repository (or any of the parent directories): .git",
		help_dir);
	ck_assert_int_eq(fs_mkdir_p(h.spec.workspace_path, 0755), 0);
	expect_failure(
		"workspace: workspace_path %s/elsewhere/x is not inside a git checkout that "
		"can be used: not a git repository (or any of the parent directories): .git",
		help_dir);
	set_path("repo");
	expect_failure(
		"workspace: workspace_path repo of a worktree task is not absolute; give the "
		"whole path");
	set_path("~/x");
	expect_failure(
		"workspace: workspace_path %s/home/x is not inside a git checkout that can "
		"be used: not a git repository (or any of the parent directories): .git",
		help_dir);
}
END_TEST

START_TEST(test_worktree_linked)
{
	CLEANUP(freep) char *link = help_path("link");

	/* on the task's branch: reused, as its real path */
	git("repo", "worktree add -b wt/t_0000abcd ../linked");
	ck_assert_int_eq(symlink("linked", link), 0);
	set_path("@link");
	expect("linked", "wt/t_0000abcd");
	/* of another task, as the children of one decomposition have it: one of our own */
	set_workdir(NULL);
	set_path("@repo/.worktrees/t_parent");
	git("repo", "worktree add -b wt/t_parent .worktrees/t_parent");
	help_set(&h.spec.task, "t_child");
	expect("repo/.worktrees/t_child", "wt/t_child");
	expect_branch("repo/.worktrees/t_parent", "wt/t_parent");
	expect("repo/.worktrees/t_child", "wt/t_child");
	/* its own place on another branch: the worker changed it, or detached it */
	set_path("@repo/.worktrees/t_child");
	git("repo/.worktrees/t_child", "checkout -b other");
	expect("repo/.worktrees/t_child", "other");
	git("repo/.worktrees/t_child", "checkout --detach");
	expect("repo/.worktrees/t_child", "wt/t_child");
	/* a folder inside a linked worktree counts as that one */
	help_set(&h.spec.task, "t_0000abcd");
	set_path("@linked/sub");
	expect("linked/sub", "wt/t_0000abcd");
	/* on another branch and no repository around: as it is, on the branch that is there */
	help_set(&h.spec.task, "t_far");
	set_path("@linked");
	expect("linked", "wt/t_0000abcd");
}
END_TEST

START_TEST(test_worktree_stale)
{
	CLEANUP(freep) char *line = NULL;
	CLEANUP(freep) char *lock = help_path("repo/.git/refs/heads/wt/t_5.lock");

	set_workdir("@repo");
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	/* removed without telling git: registered, and its branch "in use" there */
	ck_assert_int_ge(asprintf(&line, "rm -rf '%s/repo/.worktrees/t_0000abcd'", help_dir),
			 0);
	ck_assert_int_eq(help_shell(line), 0);
	expect("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	/* a lock file that stays: tried again, then told */
	help_set(&h.spec.task, "t_5");
	help_write(lock, "");
	expect_failure(
		"workspace: git worktree add %s/repo/.worktrees/t_5 on branch wt/t_5 failed: "
		"cannot lock ref 'refs/heads/wt/t_5': Unable to create '%s': File exists.",
		help_dir, lock);
	ck_assert_int_eq(unlink(lock), 0);
	expect("repo/.worktrees/t_5", "wt/t_5");
	/* something of somebody's in the way, outside of any checkout of this repository */
	help_set(&h.spec.task, "t_6");
	make_repo("repo/.worktrees/t_6");
	expect_failure(
		"workspace: git worktree add %s/repo/.worktrees/t_6 on branch wt/t_6 failed: "
		"'%s/repo/.worktrees/t_6' already exists",
		help_dir, help_dir);
}
END_TEST

START_TEST(test_worktree_empty)
{
	CLEANUP(freep) char *dir = help_path("empty");

	/* no commit yet: there is nothing to branch from */
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	git("empty", "init");
	set_workdir("@empty");
	expect_failure("workspace: git worktree add %s/empty/.worktrees/t_0000abcd on branch "
		       "wt/t_0000abcd failed: *",
		       help_dir);
	git(".", "init --bare bare");
	set_workdir("@bare");
	expect_failure(
		"workspace: default_workdir %s/bare is not inside a git checkout that can "
		"be used: this operation must be run in a work tree",
		help_dir);
}
END_TEST

START_TEST(test_worktree_odd_paths)
{
	make_repo("a b'\"$(touch x);*");
	set_workdir("@a b'\"$(touch x);*");
	expect("a b'\"$(touch x);*/.worktrees/t_0000abcd", "wt/t_0000abcd");
}
END_TEST

START_TEST(test_worktree_newline)
{
	CLEANUP(freep) char *dir = help_path("new\nline");
	CLEANUP(freep) char *repo = help_path("repo");

	ck_assert_int_eq(rename(repo, dir), 0);
	set_workdir("@new\nline");
	expect_failure(
		"workspace: default_workdir %s/new?line is not inside a git checkout that "
		"can be used: the path has a newline in it",
		help_dir);
}
END_TEST

START_TEST(test_worktree_no_git)
{
	struct help_launch other;

	help_launch_init(&other);
	free(other.env[0]);
	other.env[0] = help_dup("PATH=/nonexistent");
	env = environ_free(env);
	ck_assert_int_eq(environ_prepare(&env, other.env), 0);
	set_workdir("@repo");
	expect_failure("workspace: a worktree task needs git, which is not on the PATH "
		       "(/nonexistent); install it");
	help_launch_deinit(&other);
}
END_TEST

/* ---- many at once ---- */

#define THREADS 8

struct racer {
	pthread_t thread;
	struct launch_spec spec; /* task is its own, the rest borrowed from the fixture */
	char task[32];
	char *path, *branch;
	struct error e;
	int result;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	r->result = workspace_prepare(env, &r->spec, &r->path, &r->branch, &r->e);
	return NULL;
}

static void race_all(struct racer *racers)
{
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .spec = h.spec };
		(void)snprintf(racers[i].task, sizeof(racers[i].task), "t_race%d", i);
		racers[i].spec.task = racers[i].task;
		ck_assert_int_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(racers[i].thread, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_msg(racers[i].result == 0, "%s", racers[i].e.text);
}

START_TEST(test_worktree_race)
{
	struct racer racers[THREADS];

	set_workdir("@repo");
	race_all(racers);
	for (int i = 0; i < THREADS; i++) {
		CLEANUP(freep) char *want = help_path("repo/.worktrees/t_race%d", i);
		char branch[32];

		(void)snprintf(branch, sizeof(branch), "wt/t_race%d", i);
		ck_assert_str_eq(racers[i].path, want);
		ck_assert_str_eq(racers[i].branch, branch);
		expect_branch(want + strlen(help_dir) + 1, branch);
		free(racers[i].path);
		free(racers[i].branch);
	}
}
END_TEST

START_TEST(test_worktree_race_one_path)
{
	/* siblings that all carry one path that is not there yet: one gets it, all have a
	 * worktree of their own in the end */
	struct racer racers[THREADS];
	CLEANUP(freep) char *shared = help_path("repo/.worktrees/t_parent");
	int got_it = 0;

	set_path("@repo/.worktrees/t_parent");
	race_all(racers);
	for (int i = 0; i < THREADS; i++) {
		char branch[32];

		(void)snprintf(branch, sizeof(branch), "wt/t_race%d", i);
		got_it += strcmp(racers[i].path, shared) == 0;
		expect_branch(racers[i].path + strlen(help_dir) + 1, branch);
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(racers[j].path, racers[i].path);
	}
	for (int i = 0; i < THREADS; i++) {
		free(racers[i].path);
		free(racers[i].branch);
	}
	ck_assert_int_eq(got_it, 1);
}
END_TEST

static Suite *suite_of_all(void)
{
	Suite *suite = suite_create("workspace");
	TCase *plain = tcase_create("plain");
	TCase *real = tcase_create("git");

	tcase_add_checked_fixture(plain, setup, teardown);
	tcase_set_timeout(plain, 60);
	tcase_add_loop_test(plain, test_path, 0, sizeof(path_cases) / sizeof(path_cases[0]));
	tcase_add_test(plain, test_scratch);
	tcase_add_test(plain, test_dir);
	suite_add_tcase(suite, plain);
	tcase_add_checked_fixture(real, repo_setup, teardown);
	tcase_set_timeout(real, 120);
	if (help_shell("git --version >/dev/null 2>&1") != 0) {
		(void)printf("git is not installed: its cases are left out\n");
		tcase_add_unchecked_fixture(real, NULL, NULL);
	} else {
		tcase_add_test(real, test_worktree_board);
		tcase_add_test(real, test_worktree_branch);
		tcase_add_test(real, test_worktree_path);
		tcase_add_test(real, test_worktree_linked);
		tcase_add_test(real, test_worktree_stale);
		tcase_add_test(real, test_worktree_empty);
		tcase_add_test(real, test_worktree_odd_paths);
		tcase_add_test(real, test_worktree_newline);
		tcase_add_test(real, test_worktree_no_git);
		tcase_add_test(real, test_worktree_race);
		tcase_add_test(real, test_worktree_race_one_path);
	}
	suite_add_tcase(suite, real);
	return suite;
}

int main(int argc, char **argv)
{
	return help_main(argc, argv, suite_of_all);
}
