/* The folders that workers run in. */
#include <check.h>
#include <errno.h>

#include "../../src/launch/launch.h"
#include "kit/launch.h"
#include "kit/space.h"
#include "util/fs.h"

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

	space_is("root/ws/t_0000abcd", NULL);
	space_is("root/ws/t_0000abcd", NULL); /* again: it is there */
	space_set_kind("");
	space_is("root/ws/t_0000abcd", NULL);
	space_set_kind(NULL);
	space_is("root/ws/t_0000abcd", NULL);
	space_set_kind("scratch");
	space_set_path("");
	space_is("root/ws/t_0000abcd", NULL);
	space_set_path("@some//where/./deep/");
	space_is("some/where/deep", NULL);
	space_set_path("~/scratch");
	space_is("home/scratch", NULL);
	space_set_path("some/where");
	space_fails("workspace: workspace_path some/where of a scratch task is not absolute; "
		    "give the whole path");
	help_write(file, "");
	space_set_path("@file");
	space_fails("workspace: %s/file, or a part of that path, is no folder", help_dir);
	space_set_path("@file/below");
	space_fails("workspace: %s/file/below, or a part of that path, is no folder", help_dir);
	space_set_path("/proc/nothing/here");
	space_fails("workspace: cannot make /proc/nothing/here: No such file or directory");
	space.spec.row.branch_name = help_dup("x");
	space_set_path(NULL);
	space_is("root/ws/t_0000abcd", NULL); /* no branch: that is for worktrees */
}
END_TEST

START_TEST(test_dir)
{
	space_set_kind("dir");
	space_fails("workspace: a dir task needs a workspace_path, this one has none");
	space_set_path("");
	space_fails("workspace: a dir task needs a workspace_path, this one has none");
	space_set_path("work");
	space_fails("workspace: workspace_path work of a dir task is not absolute; give the "
		    "whole path");
	space_set_path("~other/x");
	space_fails("workspace: workspace_path ~other/x of a dir task is not absolute; give "
		    "the whole path");
	space_set_path("@a/../b c/$(x)");
	space_is("a/../b c/$(x)", NULL);
	space_set_path("~");
	space_is("home", NULL);
	space_set_kind("Scratch");
	space_fails("workspace: unknown workspace_kind Scratch; scratch, dir and worktree "
		    "exist");
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("workspace");
	TCase *plain = tcase_create("plain");

	tcase_add_checked_fixture(plain, space_setup, space_teardown);
	tcase_set_timeout(plain, 60);
	tcase_add_loop_test(plain, test_path, 0, sizeof(path_cases) / sizeof(path_cases[0]));
	tcase_add_test(plain, test_scratch);
	tcase_add_test(plain, test_dir);
	suite_add_tcase(suite, plain);
	return suite;
}
