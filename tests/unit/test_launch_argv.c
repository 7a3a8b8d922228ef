/* The command line of a worker: every option, and every shape that the skills column can have.
 */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/launch/launch.h"
#include "kit/launch.h"
#include "util/strv.h"

static void help_join(char *const *argv, char *out, size_t size)
{
	out[0] = '\0';
	for (size_t i = 0; argv[i]; i++) {
		if (i)
			(void)strncat(out, "|", size - strlen(out) - 1);
		(void)strncat(out, argv[i], size - strlen(out) - 1);
	}
}

/* ---- argv_build() ---- */

struct argv_case {
	const char *skills, *extra, *model, *provider, *reasoning;
	bool goal, quiet;
	const char *want; /* between --accept-hooks and chat; "!" stands for nothing at all */
};

#define HEAD "hermes|-p|jimmy|--cli|--accept-hooks"
#define TAIL "|chat|-q|work kanban task t_0000abcd"

static const struct argv_case argv_cases[] = {
	{ .want = HEAD TAIL },
	{ .model = "opus", .want = HEAD "|-m|opus" TAIL },
	{ .model = "opus", .provider = "x", .want = HEAD "|-m|opus|--provider|x" TAIL },
	{ .provider = "x", .want = HEAD TAIL },
	{ .model = "", .provider = "x", .reasoning = "", .want = HEAD TAIL },
	{ .model = "opus", .provider = "", .want = HEAD "|-m|opus" TAIL },
	{ .reasoning = "high", .want = HEAD "|--reasoning|high" TAIL },
	{ .skills = "[\"a\"]",
	  .model = "m",
	  .provider = "p",
	  .reasoning = "low",
	  .want = HEAD "|--skills|a|-m|m|--provider|p|--reasoning|low" TAIL },
	{ .goal = true, .want = HEAD TAIL },
	{ .goal = true, .quiet = true, .want = HEAD TAIL "|-Q" },
	{ .quiet = true, .want = HEAD TAIL },
	/* skills: a list of texts, in order, doubles and all */
	{ .skills = "[\"a\",\"b\",\"a\"]",
	  .want = HEAD "|--skills|a|--skills|b|--skills|a" TAIL },
	{ .skills = "[\"ä ö\\n;$(x)\"]", .want = HEAD "|--skills|ä ö\n;$(x)" TAIL },
	{ .skills = "[\"--yolo\"]", .want = HEAD "|--skills|--yolo" TAIL },
	/* falsy ones go */
	{ .skills = "[\"\",null,false,0,0.0,-0.0,[],{},\"z\"]",
	  .want = HEAD "|--skills|z" TAIL },
	/* others become text */
	{ .skills = "[7,-3,1.5,0.1,2e30,1.0,true]",
	  .want = HEAD "|--skills|7|--skills|-3|--skills|1.5|--skills|0.1|--skills|2e+30"
		       "|--skills|1.0|--skills|True" TAIL },
	{ .skills = "[[\"a\",1],{\"k\":\"v\"}]",
	  .want = HEAD "|--skills|[\"a\",1]|--skills|{\"k\":\"v\"}" TAIL },
	/* what is no list is none */
	{ .skills = "", .want = HEAD TAIL },
	{ .skills = "null", .want = HEAD TAIL },
	{ .skills = "\"a\"", .want = HEAD TAIL },
	{ .skills = "42", .want = HEAD TAIL },
	{ .skills = "{\"a\":1}", .want = HEAD TAIL },
	{ .skills = "[\"a\"", .want = HEAD TAIL },
	{ .skills = "[\"a\"]x", .want = HEAD TAIL },
	{ .skills = "a,b", .want = HEAD TAIL },
	{ .skills = "[\"a\\u0000b\"]", .want = HEAD TAIL },
	{ .skills = "[\"\xff\"]", .want = HEAD TAIL },
	{ .skills = "[]", .want = HEAD TAIL },
	/* the review lane's own skill, once */
	{ .extra = "sdlc-review", .want = HEAD "|--skills|sdlc-review" TAIL },
	{ .skills = "[\"a\"]",
	  .extra = "sdlc-review",
	  .want = HEAD "|--skills|a|--skills|sdlc-review" TAIL },
	{ .skills = "[\"sdlc-review\",\"a\"]",
	  .extra = "sdlc-review",
	  .want = HEAD "|--skills|sdlc-review|--skills|a" TAIL },
	{ .skills = "nonsense",
	  .extra = "sdlc-review",
	  .want = HEAD "|--skills|sdlc-review" TAIL },
};

START_TEST(test_argv)
{
	const struct argv_case *c = &argv_cases[_i];
	const struct launch_spec spec = {
		.task = (char *)"t_0000abcd",
		.profile = (char *)"jimmy",
		.row.skills = (char *)c->skills,
		.extra_skill = (char *)c->extra,
		.row.model_override = (char *)c->model,
		.row.provider_override = (char *)c->provider,
		.row.reasoning_effort = (char *)c->reasoning,
		.row.goal_mode = c->goal,
		.goal_quiet = c->quiet,
	};
	const struct launcher launcher = { .hermes = "hermes" };
	char **argv = argv_build(&launcher, &spec);
	char text[4096];

	ck_assert_ptr_nonnull(argv);
	help_join(argv, text, sizeof(text));
	ck_assert_str_eq(text, c->want);
	ck_assert_ptr_null(strv_free(argv));
}
END_TEST

START_TEST(test_argv_deep)
{
	/* 100,000 brackets: a parser that follows them by recursion must say no, not crash */
	size_t n = 100000;
	char *deep = malloc(2 * n + 1);
	struct launch_spec spec = { .task = (char *)"t", .profile = (char *)"p" };
	const struct launcher launcher = { .hermes = "hermes" };
	char **argv;

	ck_assert_ptr_nonnull(deep);
	memset(deep, '[', n);
	memset(deep + n, ']', n);
	deep[2 * n] = '\0';
	spec.row.skills = deep;
	argv = argv_build(&launcher, &spec);
	ck_assert_ptr_nonnull(argv);
	ck_assert_str_eq(argv[5], "chat");
	strv_free(argv);
	free(deep);
}
END_TEST

static const struct {
	const char *word, *want;
} prefix_cases[] = {
	{ "{task}", "t_0000abcd" },
	{ "{board}", "b1" },
	{ "{run}", "7" },
	{ "{profile}", "jimmy" },
	{ "--job-name=kanban-{board}-{task}-r{run}", "--job-name=kanban-b1-t_0000abcd-r7" },
	{ "{task}{task}", "t_0000abcdt_0000abcd" },
	{ "plain", "plain" },
	{ "", "" },
	/* braces of others stay */
	{ "{}", "{}" },
	{ "{tasks}", "{tasks}" },
	{ "{task", "{task" },
	{ "task}", "task}" },
	{ "{{task}}", "{t_0000abcd}" },
	{ "${HOME} {x} {run}", "${HOME} {x} 7" },
};

START_TEST(test_prefix)
{
	const char *const command[] = { "srun", prefix_cases[_i].word, NULL };
	const struct launcher launcher = { .hermes = "/opt/hermes", .command = command };
	const struct launch_spec spec = {
		.task = (char *)"t_0000abcd",
		.board = (char *)"b1",
		.profile = (char *)"jimmy",
		.run = 7,
	};
	char **argv = argv_build(&launcher, &spec);

	ck_assert_ptr_nonnull(argv);
	ck_assert_str_eq(argv[0], "srun");
	ck_assert_str_eq(argv[1], prefix_cases[_i].want);
	ck_assert_str_eq(argv[2], "/opt/hermes");
	ck_assert_str_eq(argv[3], "-p");
	strv_free(argv);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("launch_argv");
	TCase *tc = tcase_create("argv");

	tcase_add_loop_test(tc, test_argv, 0, sizeof(argv_cases) / sizeof(argv_cases[0]));
	tcase_add_test(tc, test_argv_deep);
	tcase_add_loop_test(tc, test_prefix, 0, sizeof(prefix_cases) / sizeof(prefix_cases[0]));
	suite_add_tcase(suite, tc);
	return suite;
}
