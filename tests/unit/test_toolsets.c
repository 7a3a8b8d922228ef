/* Which tools the config.yaml of a profile chooses for a worker: what Hermes itself makes of
 * the same files, or nothing. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../src/launch/launch.h"
#include "kit/folder.h"
#include "kit/suite.h"

#define CLI(list) "platform_toolsets: {cli: [" list "]}\n"

static const struct {
	const char *yaml, *want; /* NULL: no --toolsets */
} toolsets_cases[] = {
	/* no choice */
	{ "", NULL },
	{ "toolsets: [hermes-cli]\n", NULL },
	{ "kanban: {cli: [web]}\n", NULL },
	{ "platform_toolsets:\n", NULL },
	{ "platform_toolsets: [cli, web]\n", NULL },
	{ "platform_toolsets: {telegram: [web]}\n", NULL },
	{ "platform_toolsets: {cli: web}\n", NULL },
	{ "platform_toolsets: {cli: {web: true}}\n", NULL },
	{ CLI(""), NULL },
	{ "agent:\n  platform_toolsets: {cli: [web]}\n", NULL },
	/* a choice: sorted, once, with the board's own tools */
	{ CLI("terminal, web"), "kanban,terminal,web" },
	{ CLI("web, terminal, kanban, foo, web"), "foo,kanban,terminal,web" },
	{ "platform_toolsets:\n  cli:\n  - web\n  - 'file'\n  telegram: [tts]\ntoolsets: [x]\n",
	  "file,kanban,web" },
	{ "x: &x [web]\nplatform_toolsets: {cli: *x}\n", "kanban,web" },
	{ CLI("tts") CLI("web"), "kanban,web" },
	/* MCP servers: all, those that are named, none */
	{ CLI("web") "mcp_servers: {a: {command: x}, b: {enabled: false}, c: {enabled: "
		     "'No'}}\n",
	  "a,kanban,web" },
	{ CLI("web") "mcp_servers: {a: {}, b: {enabled: maybe}, c: none}\n", "a,b,kanban,web" },
	{ CLI("web, a") "mcp_servers: {a: {command: x}, c: {command: y}}\n", "a,kanban,web" },
	{ CLI("web, no_mcp") "mcp_servers: {a: {command: x}}\n", "kanban,web" },
	{ CLI("web, no_mcp"), "kanban,web" },
	{ CLI("web") "mcp_servers:\n", "kanban,web" },
	/* what is switched off, and what engines bring */
	{ CLI("web, terminal") "agent: {disabled_toolsets: [web, x]}\n", "kanban,terminal" },
	{ CLI("web") "agent: {disabled_toolsets: [kanban, web]}\n", NULL },
	{ CLI("web") "agent: {disabled_toolsets: web}\n", "kanban,web" },
	{ CLI("web") "mcp_servers: {a: {}}\nagent: {disabled_toolsets: [a]}\n", "kanban,web" },
	{ CLI("web") "context: {engine: lcm}\n", "context_engine,kanban,web" },
	{ CLI("web") "context: {engine: Compressor}\n", "kanban,web" },
	{ CLI("web") "context: {engine: ''}\n", "kanban,web" },
	{ CLI("web") "context: lcm\n", "kanban,web" },
	/* only Hermes can tell */
	{ CLI("hermes-cli"), NULL },
	{ CLI("hermes-cli, spotify"), NULL },
	{ CLI("web, discord"), NULL },
	{ CLI("web, 12"), NULL },
	{ CLI("web, ~"), NULL },
	{ CLI("web, [a]"), NULL },
	{ CLI("web, all"), NULL },
	{ CLI("web, on"), NULL },
	{ CLI("web") "mcp_servers: {12306: {}}\n", NULL },
	{ CLI("web") "mcp_servers: [a]\n", NULL },
	{ "<<: {}\n" CLI("web"), NULL },
	{ "platform_toolsets: {<<: {}, cli: [web]}\n", NULL },
	/* nothing of a file becomes more than one word of a command line */
	{ CLI("web, --yolo"), NULL },
	{ CLI("web, -Q"), NULL },
	{ CLI("'web,terminal'"), NULL },
	{ CLI("'a b'"), NULL },
	{ CLI("\"a\\nb\""), NULL },
	{ CLI("\"a\\0b\""), NULL },
	{ CLI("\xc3\xa4"), NULL },
	/* damaged files */
	{ CLI("web") "x: [\n", NULL },
	{ CLI("web") "\tx: 1\n", NULL },
	{ "platform_toolsets: {cli: [web\n", NULL },
	{ "--- {}\n---\n" CLI("web"), NULL },
};

START_TEST(chosen)
{
	const char *yaml = toolsets_cases[_i].yaml, *want = toolsets_cases[_i].want;
	char *got;

	folder_write("config.yaml", yaml, strlen(yaml));
	got = toolsets_of(folder_dir);
	if (want)
		ck_assert_msg(got && strcmp(got, want) == 0, "%s: %s", yaml,
			      got ? got : "none");
	else
		ck_assert_msg(!got, "%s: %s", yaml, got);
	free(got);
}
END_TEST

START_TEST(without_a_file)
{
	ck_assert_ptr_null(toolsets_of(folder_dir));
	ck_assert_int_eq(mkdir(folder_path("config.yaml"), 0700), 0);
	ck_assert_ptr_null(toolsets_of(folder_dir));
}
END_TEST

START_TEST(beside_plugins)
{
	char *got;

	folder_write("config.yaml", CLI("web"), strlen(CLI("web")));
	ck_assert_int_eq(mkdir(folder_path("plugins"), 0700), 0);
	folder_write("plugins/.keep", "", 0);
	got = toolsets_of(folder_dir);
	ck_assert_str_eq(got, "kanban,web");
	free(got);
	ck_assert_int_eq(mkdir(folder_path("plugins/more"), 0700), 0);
	ck_assert_ptr_null(toolsets_of(folder_dir));
}
END_TEST

/* More than anybody has, and deeper than anybody writes: nothing, and soon. */
START_TEST(too_much)
{
	enum { SIZE = 400000 };
	char *yaml = malloc(SIZE);
	size_t n = 0;

	ck_assert_ptr_nonnull(yaml);
	n += (size_t)sprintf(yaml, "platform_toolsets: {cli: [");
	for (int i = 0; i < 300; i++)
		n += (size_t)sprintf(yaml + n, "t%d,", i);
	n += (size_t)sprintf(yaml + n, "]}\n");
	folder_write("config.yaml", yaml, n);
	ck_assert_ptr_null(toolsets_of(folder_dir));
	n = (size_t)sprintf(yaml, CLI("web") "x: ");
	memset(yaml + n, '[', SIZE - n);
	folder_write("config.yaml", yaml, SIZE);
	ck_assert_ptr_null(toolsets_of(folder_dir));
	free(yaml);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("toolsets");
	TCase *tc = tcase_create("toolsets");

	tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
	tcase_add_loop_test(tc, chosen, 0, sizeof(toolsets_cases) / sizeof(toolsets_cases[0]));
	tcase_add_test(tc, without_a_file);
	tcase_add_test(tc, beside_plugins);
	tcase_add_test(tc, too_much);
	suite_add_tcase(suite, tc);
	return suite;
}
