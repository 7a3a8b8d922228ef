#include "space.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../../src/launch/launch.h"
#include "launch.h"
#include "util/fs.h"

struct help_launch space;
struct environment *space_env;

void space_setup(void)
{
	help_setup();
	help_launch_init(&space);
	help_env(&space, "HOME=%s/home", help_dir);
	help_env(&space, "GIT_CONFIG_NOSYSTEM=1");
	/* a daemon that was started from inside a repository */
	help_env(&space, "GIT_DIR=/nowhere");
	help_env(&space, "GIT_WORK_TREE=/nowhere");
	ck_assert_int_eq(environ_new(&space_env, space.env, NULL), 0);
}

void space_teardown(void)
{
	space_env = environ_free(space_env);
	help_launch_deinit(&space);
	help_teardown();
}

/* Prepare the workspace of the fixture's task. Caller frees @path and @branch. */
static int space_prepare(char **path, char **branch, struct error *e)
{
	*path = *branch = NULL;
	*e = (struct error)ERROR_NULL;
	return workspace_prepare(space_env, &space.spec, path, branch, e);
}

void space_is(const char *want, const char *branch)
{
	CLEANUP(freep) char *path = NULL, *have = NULL;
	CLEANUP(freep) char *full = want[0] == '/' ? help_dup(want) : help_path("%s", want);
	struct error e;
	int r = space_prepare(&path, &have, &e);

	ck_assert_msg(r == 0, "%s", e.text);
	ck_assert_str_eq(path, full);
	ck_assert(fs_is_dir(path));
	if (branch)
		ck_assert_str_eq(have ? have : "(none)", branch);
	else
		ck_assert_ptr_null(have);
}

void space_fails(const char *fmt, ...)
{
	CLEANUP(freep) char *path = NULL, *branch = NULL;
	char want[2048];
	struct error e;
	va_list ap;
	int r = space_prepare(&path, &branch, &e);

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

void space_set_path(const char *text)
{
	CLEANUP(freep) char *full = NULL;

	if (text && text[0] == '@')
		full = help_path("%s", text + 1);
	help_set(&space.spec.row.workspace_path, full ? full : text);
}

void space_set_kind(const char *kind)
{
	help_set(&space.spec.row.workspace_kind, kind);
}
