/*
 * Workspaces that are worktrees of a git repository: branches, what is stale, many at once, and
 * that nothing of the repository runs. Real git on real repositories; where it is not installed
 * the cases are left out, with a word about it.
 */
#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/launch/launch.h"
#include "kit/launch.h"
#include "kit/space.h"
#include "util/fs.h"

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
	space_setup();
	make_repo("repo");
	space_set_kind("worktree");
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

	help_set(&space.spec.default_workdir, full ? full : text);
}

START_TEST(test_worktree_board)
{
	CLEANUP(freep) char *file = help_path("repo/.worktrees/t_0000abcd/sub/file");
	CLEANUP(freep) char *link = help_path("home");
	CLEANUP(freep) char *blank = NULL;

	space_fails(
		"workspace: a worktree task needs a workspace_path, or a default_workdir in "
		"the board.json of board b1; there is neither");
	set_workdir(" \n");
	space_fails(
		"workspace: a worktree task needs a workspace_path, or a default_workdir in "
		"the board.json of board b1; there is neither");
	set_workdir("repo");
	space_fails(
		"workspace: default_workdir repo of board b1 is not absolute; give the whole "
		"path");
	ck_assert_int_eq(unlink(space.spec.db_path), 0);
	ck_assert_int_eq(rmdir(space.spec.root), 0);
	set_workdir("@root");
	space_fails("workspace: default_workdir %s/root is not inside a git checkout that can "
		    "be used: cannot change to '%s/root': No such file or directory",
		    help_dir, help_dir);
	ck_assert_int_eq(mkdir(space.spec.root, 0755), 0);
	space_fails("workspace: default_workdir %s/root is not inside a git checkout that can "
		    "be used: not a git repository (or any*",
		    help_dir);
	set_workdir("@repo");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	expect_branch("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_eq(access(file, R_OK), 0);
	/* again, from further down, by way of a link, with blanks */
	set_workdir("@repo/sub/");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_eq(symlink("repo", link), 0);
	set_workdir("~/sub");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_ge(asprintf(&blank, " %s/repo\n", help_dir), 0);
	set_workdir(blank);
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	expect_branch("repo", "main");
}
END_TEST

START_TEST(test_worktree_branch)
{
	set_workdir("@repo");
	help_set(&space.spec.row.branch_name, "feature/x");
	space_is("repo/.worktrees/t_0000abcd", "feature/x");
	expect_branch("repo/.worktrees/t_0000abcd", "feature/x");
	/* a branch that is there already is checked out, not made */
	git("repo", "branch topic");
	help_set(&space.spec.task, "t_2");
	help_set(&space.spec.row.branch_name, " topic\n");
	space_is("repo/.worktrees/t_2", "topic");
	expect_branch("repo/.worktrees/t_2", "topic");
	/* blank is none */
	help_set(&space.spec.task, "t_3");
	help_set(&space.spec.row.branch_name, "  ");
	space_is("repo/.worktrees/t_3", "wt/t_3");
	/* in use elsewhere */
	help_set(&space.spec.task, "t_4");
	help_set(&space.spec.row.branch_name, "main");
	space_fails("workspace: git worktree add %s/repo/.worktrees/t_4 on branch main failed: "
		    "'main' is already *",
		    help_dir);
	help_set(&space.spec.row.branch_name, "a..b");
	space_fails("workspace: git worktree add %s/repo/.worktrees/t_4 on branch a..b failed: "
		    "'a..b' is not a valid branch name",
		    help_dir);
	help_set(&space.spec.row.branch_name, "--force");
	space_fails("workspace: --force is no branch name; change branch_name of the task");
	help_set(&space.spec.row.branch_name, "$(touch x)");
	space_fails("workspace: git worktree add %s/repo/.worktrees/t_4 on branch $(touch x) "
		    "failed: '$(touch x)' is not a valid branch name",
		    help_dir);
}
END_TEST

START_TEST(test_worktree_path)
{
	/* the checkout itself: below it; by way of a link, too */
	space_set_path("@repo");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	/* a path that is not there, inside */
	help_set(&space.spec.task, "t_2");
	space_set_path("@repo/trees//two/");
	space_is("repo/trees/two", "wt/t_2");
	expect_branch("repo/trees/two", "wt/t_2");
	space_is("repo/trees/two", "wt/t_2");
	/* a folder inside that is there: as it is, on whatever branch */
	help_set(&space.spec.task, "t_3");
	space_set_path("@repo/sub");
	space_is("repo/sub", "wt/t_3");
	/* not in a repository, there or not there */
	space_set_path("@elsewhere/x");
	space_fails(
		"workspace: workspace_path %s/elsewhere/x is not inside a git checkout that "
		"can be used: not a git repository (or any*",
		help_dir);
	ck_assert_int_eq(fs_mkdir_p(space.spec.row.workspace_path, 0755), 0);
	space_fails(
		"workspace: workspace_path %s/elsewhere/x is not inside a git checkout that "
		"can be used: not a git repository (or any*",
		help_dir);
	space_set_path("repo");
	space_fails(
		"workspace: workspace_path repo of a worktree task is not absolute; give the "
		"whole path");
	space_set_path("~/x");
	space_fails("workspace: workspace_path %s/home/x is not inside a git checkout that can "
		    "be used: not a git repository (or any*",
		    help_dir);
}
END_TEST

START_TEST(test_worktree_linked)
{
	CLEANUP(freep) char *link = help_path("link");

	/* on the task's branch: reused, as its real path */
	git("repo", "worktree add -b wt/t_0000abcd ../linked");
	ck_assert_int_eq(symlink("linked", link), 0);
	space_set_path("@link");
	space_is("linked", "wt/t_0000abcd");
	/* of another task, as the children of one decomposition have it: one of our own */
	set_workdir(NULL);
	space_set_path("@repo/.worktrees/t_parent");
	git("repo", "worktree add -b wt/t_parent .worktrees/t_parent");
	help_set(&space.spec.task, "t_child");
	space_is("repo/.worktrees/t_child", "wt/t_child");
	expect_branch("repo/.worktrees/t_parent", "wt/t_parent");
	space_is("repo/.worktrees/t_child", "wt/t_child");
	/* its own place on another branch: the worker changed it, or detached it */
	space_set_path("@repo/.worktrees/t_child");
	git("repo/.worktrees/t_child", "checkout -b other");
	space_is("repo/.worktrees/t_child", "other");
	git("repo/.worktrees/t_child", "checkout --detach");
	space_is("repo/.worktrees/t_child", "wt/t_child");
	/* a folder inside a linked worktree counts as that one */
	help_set(&space.spec.task, "t_0000abcd");
	space_set_path("@linked/sub");
	space_is("linked/sub", "wt/t_0000abcd");
	/* on another branch and no repository around: as it is, on the branch that is there */
	help_set(&space.spec.task, "t_far");
	space_set_path("@linked");
	space_is("linked", "wt/t_0000abcd");
}
END_TEST

START_TEST(test_worktree_stale)
{
	CLEANUP(freep) char *line = NULL;
	CLEANUP(freep) char *lock = help_path("repo/.git/refs/heads/wt/t_5.lock");

	set_workdir("@repo");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	/* removed without telling git: registered, and its branch "in use" there */
	ck_assert_int_ge(asprintf(&line, "rm -rf '%s/repo/.worktrees/t_0000abcd'", help_dir),
			 0);
	ck_assert_int_eq(help_shell(line), 0);
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	/* a lock file that stays: tried again, then told */
	help_set(&space.spec.task, "t_5");
	help_write(lock, "");
	space_fails(
		"workspace: git worktree add %s/repo/.worktrees/t_5 on branch wt/t_5 failed: "
		"cannot lock ref 'refs/heads/wt/t_5': Unable to create '%s': File exists.",
		help_dir, lock);
	ck_assert_int_eq(unlink(lock), 0);
	space_is("repo/.worktrees/t_5", "wt/t_5");
	/* something of somebody's in the way, outside of any checkout of this repository */
	help_set(&space.spec.task, "t_6");
	make_repo("repo/.worktrees/t_6");
	space_fails(
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
	space_fails("workspace: git worktree add %s/empty/.worktrees/t_0000abcd on branch "
		    "wt/t_0000abcd failed: *",
		    help_dir);
	git(".", "init --bare bare");
	set_workdir("@bare");
	space_fails("workspace: default_workdir %s/bare is not inside a git checkout that can "
		    "be used: this operation must be run in a work tree",
		    help_dir);
}
END_TEST

START_TEST(test_worktree_odd_paths)
{
	make_repo("a b'\"$(touch x);*");
	set_workdir("@a b'\"$(touch x);*");
	space_is("a b'\"$(touch x);*/.worktrees/t_0000abcd", "wt/t_0000abcd");
}
END_TEST

START_TEST(test_worktree_newline)
{
	CLEANUP(freep) char *dir = help_path("new\nline");
	CLEANUP(freep) char *repo = help_path("repo");

	ck_assert_int_eq(rename(repo, dir), 0);
	set_workdir("@new\nline");
	space_fails("workspace: default_workdir %s/new?line is not inside a git checkout that "
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
	space_env = environ_free(space_env);
	ck_assert_int_eq(environ_new(&space_env, other.env, NULL), 0);
	set_workdir("@repo");
	space_fails("workspace: a worktree task needs git, which is not on the PATH "
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

	r->result = workspace_prepare(space_env, &r->spec, &r->path, &r->branch, &r->e);
	return NULL;
}

static void race_all(struct racer *racers)
{
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ .spec = space.spec };
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

	space_set_path("@repo/.worktrees/t_parent");
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

/* Every program that a repository can name, each with the same trace. */
START_TEST(test_worktree_runs_nothing)
{
	static const char *const hooks[] = { "post-checkout", "reference-transaction",
					     "post-index-change", "fsmonitor" };
	CLEANUP(freep) char *trace = help_path("trace");
	CLEANUP(freep) char *body = NULL;
	CLEANUP(freep) char *attributes = help_path("repo/.gitattributes");
	CLEANUP(freep) char *config = help_path("repo/.git/config");
	CLEANUP(freep) char *file = help_path("repo/.worktrees/t_0000abcd/sub/file");
	CLEANUP(freep) char *more = NULL;
	FILE *f;

	ck_assert_int_ge(asprintf(&body, "#!/bin/sh\necho $0 >>'%s'\ncat\n", trace), 0);
	help_write(attributes, "* filter=one diff=two\n");
	git("repo", "add .");
	git("repo", "commit -m two");
	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		CLEANUP(freep) char *hook = help_path("repo/.git/hooks/%s", hooks[i]);

		help_write(hook, body);
		ck_assert_int_eq(chmod(hook, 0755), 0);
	}
	ck_assert_int_ge(asprintf(&more,
				  "[core]\n\tfsmonitor = %s/repo/.git/hooks/fsmonitor\n"
				  "[filter \"one\"]\n\tsmudge = echo one >>%s; cat\n"
				  "\trequired = true\n[diff]\n\texternal = echo two >>%s\n",
				  help_dir, trace, trace),
			 0);
	f = fopen(config, "ae");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(more, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	set_workdir("@repo");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	ck_assert_int_eq(access(file, R_OK), 0);
	ck_assert_int_lt(access(trace, F_OK), 0);
	/* and the trap works */
	git("repo", "worktree add ../with");
	ck_assert_int_eq(access(trace, F_OK), 0);
}
END_TEST

#define CONFIG "git -C repo config "
#define SMUDGE "\"sh -c 'echo x >>$T; cat'\""
/* A repository that fetches what it lacks, by @how. */
#define PROMISOR(how)                                                                          \
	CONFIG "core.repositoryformatversion 1; " CONFIG                                       \
	       "extensions.partialClone origin; " CONFIG "remote.origin.promisor true; " how   \
	       "; rm -rf repo/.git/objects/$(git -C repo "                                     \
	       "rev-parse HEAD:sub/file | cut -c1-2)"

/* The places where a repository can name them, and what it can have git believe. */
START_TEST(test_worktree_runs_nothing_by)
{
	static const struct {
		const char *trap;
		const char *why; /* it cannot be had; or NULL */
	} cases[] = {
		{ "mkdir h; printf '#!/bin/sh\necho x >>$T\n' >h/post-checkout; "
		  "chmod +x h/post-checkout; " CONFIG "core.hooksPath $PWD/h",
		  NULL },
		{ CONFIG "filter.one.process " SMUDGE, NULL },
		{ "git config -f repo/.git/i filter.one.smudge " SMUDGE "; " CONFIG
		  "include.path i",
		  NULL },
		{ "printf '[FiLtEr \"one\"]\nSmUdGe = echo x >>'$T'\n' >>repo/.git/config",
		  NULL },
		{ CONFIG "extensions.worktreeConfig true; " CONFIG
			 "--worktree filter.one.smudge " SMUDGE,
		  NULL },
		{ "echo '* filter=two' >repo/.git/info/attributes; " CONFIG
		  "filter.two.smudge " SMUDGE,
		  NULL },
		{ "head -c 3000000 /dev/zero | tr '\\0' '#' >>repo/.git/config; echo "
		  ">>repo/.git/config; " CONFIG "filter.one.smudge " SMUDGE,
		  NULL },
		{ "echo '* filter=a=b' >repo/.git/info/attributes; " CONFIG
		  "'filter.a=b.smudge' " SMUDGE,
		  "workspace: git in *" },
		{ PROMISOR(CONFIG "remote.origin.url ssh://x/y; " CONFIG
				  "core.sshCommand \"sh -c 'echo x >>$T'\""),
		  "workspace: git worktree add *" },
		{ PROMISOR(CONFIG "remote.origin.url /tmp; " CONFIG
				  "remote.origin.uploadpack 'echo x >>$T;'"),
		  "workspace: git worktree add *" },
		{ PROMISOR(CONFIG "protocol.ext.allow always; " CONFIG
				  "remote.origin.url 'ext::sh -c echo% x% >>$T'"),
		  "workspace: git worktree add *" },
	};
	CLEANUP(freep) char *trace = help_path("trace");
	CLEANUP(freep) char *attributes = help_path("repo/.gitattributes");

	ck_assert_int_eq(setenv("T", trace, 1), 0);
	ck_assert_int_eq(chdir(help_dir), 0);
	help_write(attributes, "* filter=one\n");
	git("repo", "add .");
	git("repo", "commit -m two");
	ck_assert_int_eq(help_shell("mv repo clean"), 0);
	set_workdir("@repo");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(help_shell("rm -rf repo && cp -a clean repo"), 0);
		ck_assert_msg(help_shell(cases[i].trap) == 0, "%s", cases[i].trap);
		if (cases[i].why)
			space_fails("%s", cases[i].why);
		else
			space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
		ck_assert_msg(access(trace, F_OK) < 0, "it ran: %s", cases[i].trap);
		/* and the trap works; some of them make git fail */
		(void)help_shell(
			"git -C repo worktree add ../plain >plain.log 2>&1; rm -rf plain");
		ck_assert_msg(unlink(trace) == 0, "no trap: %s", cases[i].trap);
	}
	ck_assert_int_eq(unsetenv("T"), 0);
}
END_TEST

START_TEST(test_worktree_foreign)
{
	char line[PATH_MAX + 64];

	if (geteuid() != 0) {
		(void)printf("test_worktree_foreign needs root: left out\n");
		return;
	}
	(void)snprintf(line, sizeof(line), "chown -R 54321 '%s/repo'", help_dir);
	ck_assert_int_eq(help_shell(line), 0);
	space_set_path("@repo");
	space_fails("workspace: workspace_path %s/repo is in a repository of another account, "
		    "which git does not use: detected dubious ownership in repository at "
		    "'%s/repo'; to allow it: git config --global --add safe.directory, as the "
		    "account of kanband",
		    help_dir, help_dir);
}
END_TEST

START_TEST(test_worktree_of_its_own_on_another_branch)
{
	/* its worker went on on a branch of another name: the next one hears where it is */
	set_workdir("@repo");
	space_is("repo/.worktrees/t_0000abcd", "wt/t_0000abcd");
	git("repo/.worktrees/t_0000abcd", "checkout -b better");
	space_is("repo/.worktrees/t_0000abcd", "better");
	set_workdir(NULL);
	space_set_path("@repo");
	space_is("repo/.worktrees/t_0000abcd", "better");
	expect_branch("repo/.worktrees/t_0000abcd", "better");
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("worktree");
	TCase *real = tcase_create("git");

	tcase_add_checked_fixture(real, repo_setup, space_teardown);
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
		tcase_add_test(real, test_worktree_runs_nothing);
		tcase_add_test(real, test_worktree_runs_nothing_by);
		tcase_add_test(real, test_worktree_foreign);
		tcase_add_test(real, test_worktree_of_its_own_on_another_branch);
		tcase_add_test(real, test_worktree_race);
		tcase_add_test(real, test_worktree_race_one_path);
	}
	suite_add_tcase(suite, real);
	return suite;
}
