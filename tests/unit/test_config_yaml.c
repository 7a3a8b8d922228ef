/* config.yaml: read as Hermes reads it, and nothing in it can do more harm than one warning. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kit/config.h"
#include "kit/suite.h"
#include "util/fs.h"

static void load_yaml(const char *text)
{
	put("root/config.yaml", text);
	load_ok();
}

START_TEST(takes_every_key)
{
	struct settings s;

	load_yaml("# Hermes\nmodel: {default: x}\nkanban:\n"
		  "  dispatch_in_gateway: true\n"
		  "  dispatch_interval_seconds: 30\n"
		  "  max_spawn: 4\n"
		  "  max_in_progress: 5\n"
		  "  max_in_progress_per_profile: 6\n"
		  "  failure_limit: 7\n"
		  "  dispatch_stale_timeout_seconds: 0\n"
		  "  default_assignee: ' Coder '\n"
		  "  review_dispatch: Yes\n"
		  "  auto_decompose: OFF\n"
		  "  auto_decompose_per_tick: 8\n"
		  "  worker_log_rotate_bytes: 1_000\n"
		  "  worker_log_backup_count: 0\n"
		  "  respawn_guard_check_pr_state: true\n"
		  "  dispatch_profiles:\n    - a\n    - \"B\"\n"
		  "  unknown: {deep: [1, {2: 3}]}\n"
		  "other: [kanban]\n");
	s = settings_of("x");
	ck_assert_uint_eq(warning_count(), 0);
	ck_assert_int_eq(s.dispatch_interval_s, 30);
	ck_assert_int_eq(s.max_spawn, 4);
	ck_assert_int_eq(s.max_in_progress, 5);
	ck_assert_int_eq(s.max_in_progress_per_profile, 6);
	ck_assert_int_eq(s.failure_limit, 7);
	ck_assert_int_eq(s.stale_timeout_s, 0);
	ck_assert_str_eq(s.default_assignee, "coder");
	ck_assert(s.review_dispatch);
	ck_assert(!s.auto_decompose);
	ck_assert_int_eq(s.auto_decompose_per_tick, 8);
	ck_assert_int_eq(s.worker_log_rotate_bytes, 1000);
	ck_assert_int_eq(s.worker_log_backup_count, 0);
	ck_assert(s.guard_check_pr_state);
	ck_assert(s.profiles_limited);
	ck_assert_str_eq(s.dispatch_profiles[0], "a");
	ck_assert_str_eq(s.dispatch_profiles[1], "b");
	ck_assert_ptr_null(s.dispatch_profiles[2]);
	ck_assert_str_eq(value_of("dispatch_profiles", NULL)->source,
			 here("%/root/config.yaml:19"));
}
END_TEST

/* What stands behind "failure_limit:", and the number; 0 = a warning and the default. */
static const struct {
	const char *text;
	int64_t number;
} numbers[] = {
	{ "5", 5 },       { "+5", 5 },       { "'5'", 5 },
	{ "\"5\"", 5 },   { "5.0", 5 },      { "1_0", 10 },
	{ "0x1F", 31 },   { "0b101", 5 },    { "010", 8 },
	{ "1:30", 90 },   { "!!int 5", 5 },  { "!!str 5", 5 },
	{ "&a 5", 5 },    { "5 # five", 5 }, { "|\n    5", 0 },
	{ "5.5", 0 },     { "5.", 0 },       { ".5", 0 },
	{ "five", 0 },    { "5s", 0 },       { "0", 0 },
	{ "-5", 0 },      { "08", 0 },       { "0x", 0 },
	{ "5 5", 0 },     { "1e3", 0 },      { "true", 0 },
	{ ".inf", 0 },    { "--5", 0 },      { "99999999999999999999", 0 },
	{ "9999999", 0 }, { "'null'", 0 },   { "\"5\\0\"", 0 },
	{ "[5]", 0 },     { "{a: 5}", 0 },   { "!!python/object:os.system 5", 0 },
	{ "0_17", 15 },   { "0x_1F", 31 },   { "1:75", 0 },
	{ "_5", 0 },      { "1::2", 0 },     { "!x 5", 0 },
};

START_TEST(numbers_as_pyyaml)
{
	CLEANUP(freep)
	char *text =
		fs_path("kanban:\n  failure_limit: %s\n  max_spawn: 9\n", numbers[_i].text);

	load_yaml(text);
	ck_assert_int_eq(settings_of(NULL).failure_limit,
			 numbers[_i].number ? numbers[_i].number : 2);
	ck_assert_uint_eq(warning_count(), numbers[_i].number == 0);
	if (numbers[_i].number == 0)
		ck_assert_ptr_eq(strstr(config_warnings(config)[0],
					here("%/root/config.yaml:2: kanban.failure_limit: ")),
				 config_warnings(config)[0]);
	/* the rest of the block is read all the same */
	ck_assert_int_eq(settings_of(NULL).max_spawn, 9);
}
END_TEST

START_TEST(null_is_the_default)
{
	load_yaml("kanban:\n  failure_limit:\n  max_spawn: ~\n  auto_decompose: NULL\n"
		  "  default_assignee: Null\n");
	ck_assert_uint_eq(warning_count(), 0);
	ck_assert_int_eq(settings_of(NULL).failure_limit, 2);
	ck_assert_int_eq(settings_of(NULL).max_spawn, -1);
	ck_assert(settings_of(NULL).auto_decompose);
	ck_assert_ptr_null(settings_of(NULL).default_assignee);
	ck_assert_str_eq(value_of("max_spawn", NULL)->source, "default");
}
END_TEST

START_TEST(empty_list_is_nobody)
{
	load_yaml("kanban:\n  dispatch_profiles: []\n");
	ck_assert(settings_of(NULL).profiles_limited);
	ck_assert_ptr_null(settings_of(NULL).dispatch_profiles[0]);
}
END_TEST

/* What is no list and no text names nobody; to fall back on everybody would open a limit. */
START_TEST(profiles_fail_closed)
{
	static const struct {
		const char *value, *names;
		size_t warnings;
	} cases[] = {
		{ "coder", "coder", 0 },
		{ "\"coder, Tester ,\"", "coder tester", 0 },
		{ "coder,\n    tester", "coder tester", 0 },
		{ "", "", 1 },
		{ "null", "", 1 },
		{ "~", "", 1 },
		{ "''", "", 1 },
		{ "' , '", "", 1 },
		{ "true", "", 1 },
		{ "off", "", 1 },
		{ "5", "", 1 },
		{ "1.5", "", 1 },
		{ "!!int 5", "", 1 },
		{ "'5'", "5", 0 },
		{ "{coder: 1}", "", 1 },
		{ "\"*\"", "", 1 },
		{ "a, ../b, c", "a c", 1 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[200], names[200] = "";

		(void)snprintf(text, sizeof(text), "kanban:\n  dispatch_profiles: %s\n",
			       cases[i].value);
		load_yaml(text);
		ck_assert_msg(settings_of(NULL).profiles_limited, "%s", text);
		for (const char *const *p = settings_of(NULL).dispatch_profiles; *p; p++)
			(void)snprintf(names + strlen(names), sizeof(names) - strlen(names),
				       "%s%s", *names ? " " : "", *p);
		ck_assert_str_eq(names, cases[i].names);
		ck_assert_msg(warning_count() == cases[i].warnings, "%s: %zu", text,
			      warning_count());
	}
}
END_TEST

/* No typo lets more run than was meant. */
START_TEST(a_bad_cap_is_one)
{
	load_yaml("kanban:\n  max_in_progress: 2x\n  max_spawn: [3]\n"
		  "  max_in_progress_per_profile: -1\n");
	ck_assert_int_eq(settings_of(NULL).max_in_progress, 1);
	ck_assert_int_eq(settings_of(NULL).max_spawn, 1);
	ck_assert_int_eq(settings_of(NULL).max_in_progress_per_profile, 1);
	ck_assert_uint_eq(warning_count(), 3);
	ck_assert_str_eq(config_fault(config),
			 here("%/root/config.yaml:2: kanban.max_in_progress: \"2x\" is not a "
			      "whole number; 1 holds until that is mended"));
}
END_TEST

/* A file and the one warning it gives; the defaults hold. */
static const struct {
	const char *text, *warning;
} faults[] = {
	{ "kanban:\n  failure_limit: [1, [2]]\n", "%/root/config.yaml:2: kanban.failure_limit: "
						  "a list where a plain value is meant; the "
						  "default (2) holds" },
	{ "kanban:\n  failure_limit: {a: b}\n",
	  "%/root/config.yaml:2: kanban.failure_limit: a mapping where a plain value is meant; "
	  "the default (2) holds" },
	{ "kanban:\n  auto_decompose: maybe\n",
	  "%/root/config.yaml:2: kanban.auto_decompose: \"maybe\" is neither yes nor no; the "
	  "default (yes) holds" },
	{ "kanban:\n  default_assignee: a/b\n",
	  "%/root/config.yaml:2: kanban.default_assignee: \"a/b\" is not a profile name (a to "
	  "z, 0 to 9, _ and -; at most 64, the first a letter or digit); the default (none) "
	  "holds" },
	{ "x: &a 5\nkanban:\n  failure_limit: *a\n",
	  "%/root/config.yaml:3: kanban.failure_limit: an alias is not followed; the default "
	  "(2) holds" },
};

START_TEST(one_warning)
{
	load_yaml(faults[_i].text);
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_str_eq(config_warnings(config)[0], here(faults[_i].warning));
	ck_assert_int_eq(settings_of(NULL).failure_limit, 2);
	ck_assert_int_eq(settings_of(NULL).max_spawn, -1);
	ck_assert(settings_of(NULL).auto_decompose);
	ck_assert(!settings_of(NULL).profiles_limited);
}
END_TEST

/*
 * A file that is no use at all: one warning, nothing of it holds, no decomposing. The rest of
 * "not YAML: …" is libyaml's and differs between its versions.
 */
static const struct {
	const char *text, *warning;
} broken[] = {
	{ "kanban:\n  failure_limit: 5\n\tmax_spawn: 3\n", "%/root/config.yaml:3: not YAML: " },
	{ "kanban:\n  failure_limit: 5\nx: [1, 2\n", "%/root/config.yaml:4: not YAML: " },
	{ "kanban:\n  failure_limit: 5\nx: \xFF\xFE\n", "%/root/config.yaml:3: not YAML: " },
	{ "kanban:\n  failure_limit: 5\nx: \"\x01\"\n", "%/root/config.yaml:3: not YAML: " },
	{ "kanban:\n  failure_limit: 5\nx: *nowhere: 3\n", "%/root/config.yaml:3: not YAML: " },
	{ "kanban:\n  failure_limit: 5\n---\nx: y\n",
	  "%/root/config.yaml:3: a second document begins here" },
	{ "- kanban\n", "%/root/config.yaml:1: the file is not a mapping of keys" },
	{ "kanban\n", "%/root/config.yaml:1: the file is not a mapping of keys" },
	{ "kanban:\n  failure_limit: 5\n  failure_limit:\n    x\n  y\n",
	  "%/root/config.yaml:6: not YAML: " },
	{ "x: &a {failure_limit: 5}\nkanban: *a\n",
	  "%/root/config.yaml:2: kanban: is an alias, which is not followed" },
	{ "x: &a {failure_limit: 5}\nkanban:\n  <<: *a\n",
	  "%/root/config.yaml:3: kanban: a merge key (<<) is not followed" },
	{ "kanban: 5\n", "%/root/config.yaml:1: kanban: is not a mapping" },
	{ "kanban: [failure_limit, 5]\n", "%/root/config.yaml:1: kanban: is not a mapping" },
};

START_TEST(no_use_at_all)
{
	static const char tail[] =
		"; nothing is claimed until it can be read, auto_decompose is off";
	const char *warning;

	load_yaml(broken[_i].text);
	ck_assert_uint_eq(warning_count(), 1);
	warning = config_warnings(config)[0];
	ck_assert_msg(strstr(warning, here(broken[_i].warning)) == warning, "%s", warning);
	ck_assert_msg(strcmp(warning + strlen(warning) - strlen(tail), tail) == 0, "%s",
		      warning);
	ck_assert_int_eq(settings_of(NULL).failure_limit, 2);
	ck_assert(!settings_of(NULL).auto_decompose);
	ck_assert(settings_of(NULL).profiles_limited);
	ck_assert_ptr_null(settings_of(NULL).dispatch_profiles[0]);
	ck_assert_str_eq(value_of("auto_decompose", NULL)->source,
			 here("%/root/config.yaml, which cannot be read"));
	/* who wants it nevertheless says so */
	put("k.conf", "[kanband]\nauto_decompose = yes\n");
	load_ok();
	ck_assert(settings_of(NULL).auto_decompose);
}
END_TEST

/* Files that say nothing, and say it without a warning. */
static const char *const silent[] = {
	"",
	"# nothing\n",
	"---\n",
	"null\n",
	"kanban:\n",
	"kanban: {}\n",
	"kanban: ~\n",
	"x: y\n",
	"x:\n  kanban:\n    failure_limit: 5\n",
	"kanban:\n  other:\n    failure_limit: 5\n",
	"? {kanban: 1}\n: {failure_limit: 5}\n",
	"kanban:\n  ? [failure_limit]\n  : 5\n",
	"x: &a [1]\ny: *a\n? *a\n: *a\n",
	"kanban:\n  socket: 5\n  paused: yes\n  launcher: systemd\n", /* not keys of this file
								       */
};

START_TEST(silence)
{
	load_yaml(silent[_i]);
	ck_assert_msg(warning_count() == 0, "%s", config_warnings(config)[0]);
	ck_assert_int_eq(settings_of(NULL).failure_limit, 2);
	ck_assert(settings_of(NULL).auto_decompose);
}
END_TEST

START_TEST(twice)
{
	load_yaml("kanban:\n  failure_limit: 5\n  max_spawn: 1\n  failure_limit: 6\n"
		  "  max_spawn: x\n");
	ck_assert_int_eq(settings_of(NULL).failure_limit, 6);
	ck_assert_int_eq(settings_of(NULL).max_spawn, 1);
	ck_assert_uint_eq(warning_count(), 3);
	ck_assert_str_eq(config_warnings(config)[0],
			 here("%/root/config.yaml:4: kanban.failure_limit is given twice; the "
			      "last one holds"));
	ck_assert_str_eq(config_fault(config), config_warnings(config)[0]);
	load_yaml("kanban:\n  failure_limit: 5\n  max_spawn: x\nkanban:\n  failure_limit: 7\n");
	ck_assert_int_eq(settings_of(NULL).failure_limit, 7);
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_str_eq(config_warnings(config)[0],
			 here("%/root/config.yaml:5: kanban: is given twice; the last one "
			      "holds"));
	ck_assert_str_eq(config_fault(config), config_warnings(config)[0]);
	load_yaml("kanban:\n  failure_limit: 5\nkanban:\n");
	ck_assert_int_eq(settings_of(NULL).failure_limit, 2);
}
END_TEST

START_TEST(bad_names_are_left_out)
{
	load_yaml(
		"kanban:\n  dispatch_profiles:\n    - a\n    - ../b\n    - {c: [d]}\n    - ''\n"
		"    - e\n  max_spawn: 4\n");
	ck_assert_uint_eq(warning_count(), 3);
	ck_assert_str_eq(config_warnings(config)[1],
			 here("%/root/config.yaml:5: kanban.dispatch_profiles: an entry is not "
			      "a plain name; it is left out"));
	ck_assert(settings_of(NULL).profiles_limited);
	ck_assert_str_eq(settings_of(NULL).dispatch_profiles[0], "a");
	ck_assert_str_eq(settings_of(NULL).dispatch_profiles[1], "e");
	ck_assert_ptr_null(settings_of(NULL).dispatch_profiles[2]);
	ck_assert_int_eq(settings_of(NULL).max_spawn, 4);
	/* all of them bad: nobody, rather than everybody */
	load_yaml("kanban:\n  dispatch_profiles: [/]\n");
	ck_assert(settings_of(NULL).profiles_limited);
	ck_assert_ptr_null(settings_of(NULL).dispatch_profiles[0]);
}
END_TEST

/* ---- files ---- */

START_TEST(files)
{
	CLEANUP(freep) char *root = fs_path("%s/root", dir);
	CLEANUP(freep) char *path = fs_path("%s/root/config.yaml", dir);

	/* no root: not our business */
	load_ok();
	ck_assert_uint_eq(warning_count(), 0);
	ck_assert_int_eq(mkdir(root, 0755), 0);
	load_ok();
	ck_assert_uint_eq(warning_count(), 0); /* nor is a root that was never configured */
	ck_assert(settings_of(NULL).auto_decompose);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	load_ok();
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_str_eq(config_warnings(config)[0],
			 here("%/root/config.yaml: cannot be read: Is a directory; nothing is "
			      "claimed until it can be read, "
			      "auto_decompose is off"));
	ck_assert_int_eq(rmdir(path), 0);
	/* a FIFO is not waited for */
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	load_ok();
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert(!settings_of(NULL).auto_decompose);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(symlink("config.yaml", path), 0);
	load_ok();
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_ptr_nonnull(strstr(config_warnings(config)[0], "symbolic links"));
}
END_TEST

START_TEST(each_root_its_own)
{
	put("a/config.yaml", "kanban: {failure_limit: 3}\n");
	put("b/config.yaml", "kanban: {failure_limit: 4}\n");
	put("k.conf", here("[root %/a]\n[root %/b]\n[root %/none]\n"));
	load_ok();
	for (int i = 0; i < 3; i++) {
		struct settings s;

		config_settings(config, config_roots(config)[i], "x", &s);
		ck_assert_int_eq(s.failure_limit, i == 0 ? 3 : i == 1 ? 4 : 2);
	}
}
END_TEST

/* ---- bombs ---- */

/* @count times @piece between @head and @tail */
static char *repeat(const char *head, const char *piece, size_t count, const char *tail)
{
	size_t n = strlen(piece);
	char *text = malloc(strlen(head) + n * count + strlen(tail) + 1), *p = text;

	ck_assert_ptr_nonnull(text);
	p = stpcpy(p, head);
	for (size_t i = 0; i < count; i++)
		p = stpcpy(p, piece);
	(void)stpcpy(p, tail);
	return text;
}

#define MIB ((size_t)1024 * 1024)

static const struct {
	const char *head, *piece;
	size_t count;
	const char *tail;
	int limit; /* expected failure_limit */
} bombs[] = {
	{ "kanban: {failure_limit: 5}\nx: ", "[", MIB - 100, "", 2 },
	{ "kanban: {failure_limit: 5}\nx: ", "{a: ", MIB / 4 - 100, "", 2 },
	{ "kanban: {failure_limit: 5}\nx: ", "{", MIB - 100, "", 2 },
	{ "kanban: {failure_limit: 5}\nx: [", "[a],", MIB / 4 - 100, "]\n", 5 },
	{ "kanban: {failure_limit: 5}\nx:\n", "- ", MIB / 2 - 100, "\n", 2 },
	{ "kanban: {failure_limit: 5}\nx: ", "? ", MIB / 2 - 100, "\n", 2 },
	{ "kanban: {failure_limit: 5}\nx: ", "a", MIB - 100, "\n", 5 },
	{ "kanban: {failure_limit: 5}\nx: ", "a ", MIB / 2 - 100, "\n", 5 },
	{ "kanban: {failure_limit: 5}\nx: \"", "\\x41", MIB / 4 - 100, "\"\n", 5 },
	{ "kanban: {failure_limit: 5}\nx: [", "a: ", MIB / 3 - 100, "]\n", 2 },
	{ "kanban: {failure_limit: 5}\nx: &a [b]\ny: [", "*a,", MIB / 3 - 100, "]\n", 5 },
	{ "kanban: {failure_limit: 5}\n", "x: y\n", MIB / 5 - 100, "", 5 },
	{ "kanban:\n", "  failure_limit: z\n", MIB / 19 - 100, "", 2 },
	{ "", "kanban: {failure_limit: 5}\n", MIB / 27 - 100, "", 5 },
	{ "kanban: {dispatch_profiles: [", "/,", MIB / 2 - 100, "], failure_limit: 5}\n", 5 },
	{ "kanban: {dispatch_profiles: [", "a,", MIB / 2 - 100, "], failure_limit: 5}\n", 5 },
	{ "kanban: {failure_limit: 5}\n", "%TAG ! x:\n", MIB / 10 - 100, "", 2 },
	{ "", "# a comment\n", MIB / 12 - 100, "kanban: {failure_limit: 5}\n", 5 },
	{ "kanban: {failure_limit: 5}\nx: ", "!", MIB - 100, " y\n", 5 },
	{ "kanban: {failure_limit: 5}\nx: ", "[", MIB, "", 2 }, /* too large */
};

START_TEST(bomb)
{
	CLEANUP(freep)
	char *text = repeat(bombs[_i].head, bombs[_i].piece, bombs[_i].count, bombs[_i].tail);
	struct timespec a, b;
	double s;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	load_yaml(text);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	if (getenv("VERBOSE"))
		printf("bomb %d: %.3f s, limit %d, %s\n", _i, s,
		       (int)settings_of(NULL).failure_limit,
		       config_warnings(config)[0] ? config_warnings(config)[0] : "");
	ck_assert_int_eq(settings_of(NULL).failure_limit, bombs[_i].limit);
	ck_assert_uint_le(warning_count(), 17);
	/* processor time, so that a busy machine does not matter; the sanitizers are slow */
	ck_assert_double_lt(s, 5.0);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("config_yaml");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_test(tc, takes_every_key);
	tcase_add_loop_test(tc, numbers_as_pyyaml, 0, sizeof(numbers) / sizeof(numbers[0]));
	tcase_add_test(tc, null_is_the_default);
	tcase_add_test(tc, empty_list_is_nobody);
	tcase_add_test(tc, a_bad_cap_is_one);
	tcase_add_test(tc, profiles_fail_closed);
	tcase_add_loop_test(tc, one_warning, 0, sizeof(faults) / sizeof(faults[0]));
	tcase_add_loop_test(tc, no_use_at_all, 0, sizeof(broken) / sizeof(broken[0]));
	tcase_add_loop_test(tc, silence, 0, sizeof(silent) / sizeof(silent[0]));
	tcase_add_test(tc, twice);
	tcase_add_test(tc, bad_names_are_left_out);
	tcase_add_test(tc, files);
	tcase_add_test(tc, each_root_its_own);
	tcase_add_loop_test(tc, bomb, 0, sizeof(bombs) / sizeof(bombs[0]));
	suite_add_tcase(suite, tc);
	return suite;
}
