/* config.yaml: what limits how much runs, and what is nearly such a key. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kit/config.h"
#include "kit/suite.h"

static void load_yaml(const char *text)
{
	put("root/config.yaml", text);
	load_ok();
}

static int64_t cap_of(const struct settings *s, const char *profile)
{
	for (size_t i = 0; i < s->n_profile_caps; i++)
		if (strcmp(s->profile_caps[i].profile, profile) == 0)
			return s->profile_caps[i].limit;
	return s->max_in_progress_per_profile;
}

/* A cap for each profile, and one for all others; what is no number is 1, what is no profile
 * limits nobody; [profile NAME] wins. */
START_TEST(caps_as_a_map)
{
	struct settings s;

	put("k.conf", "[profile carl]\nmax_in_progress_per_profile = 9\n"
		      "[profile dora]\nmax_in_progress_per_profile = 8\n");
	load_yaml("kanban:\n  max_in_progress_per_profile:\n    Anna: 2\n    bert: many\n"
		  "    carl: 3\n    ../evil: 4\n    eric: null\n    fred: [1]\n    '*': 5\n"
		  "  max_spawn: 7\n");
	s = settings_of("x");
	ck_assert_int_eq(cap_of(&s, "anna"), 2);
	ck_assert_int_eq(cap_of(&s, "bert"), 1);
	ck_assert_int_eq(cap_of(&s, "carl"), 9);
	ck_assert_int_eq(cap_of(&s, "dora"), 8);
	ck_assert_int_eq(cap_of(&s, "eric"), 5);
	ck_assert_int_eq(cap_of(&s, "fred"), 1);
	ck_assert_int_eq(cap_of(&s, "gina"), 5);
	ck_assert_int_eq(s.max_spawn, 7);
	ck_assert_uint_eq(warning_count(), 3);
	/* the last of two blocks is the block, and a file that is of no use has no map */
	load_yaml(
		"kanban:\n  max_in_progress_per_profile: {anna: 2}\nkanban:\n  max_spawn: 1\n");
	s = settings_of("x");
	ck_assert_int_eq(cap_of(&s, "anna"), -1);
	load_yaml("kanban:\n  max_in_progress_per_profile: {anna: 2}\n  : [\n");
	s = settings_of("x");
	ck_assert_int_eq(cap_of(&s, "anna"), -1);
	load_yaml("kanban:\n  max_in_progress_per_profile: {anna: 2}\n"
		  "  max_in_progress_per_profile: 3\n");
	s = settings_of("x");
	ck_assert_int_eq(cap_of(&s, "anna"), 3);
}
END_TEST

START_TEST(a_map_that_says_two_things)
{
	struct settings s;

	load_yaml("kanban:\n  max_in_progress_per_profile: {anna: 2, Anna: 5, bert: 5, bert: 2,"
		  " '*': 3, '*': 9, carl: 4, carl: null}\n");
	s = settings_of("x");
	ck_assert_int_eq(cap_of(&s, "anna"), 2);
	ck_assert_int_eq(cap_of(&s, "bert"), 2);
	ck_assert_int_eq(cap_of(&s, "carl"), 4);
	ck_assert_int_eq(cap_of(&s, "gina"), 3);
	ck_assert_uint_eq(warning_count(), 3);
	ck_assert_str_eq(config_fault(config),
			 here("%/root/config.yaml:2: kanban.max_in_progress_per_profile: anna "
			      "is given twice; the lower limit holds"));
}
END_TEST

/* A key that is nearly ours was meant to be it, and to limit something. */
START_TEST(keys_with_a_slip)
{
	static const struct {
		const char *text, *warning;
	} cases[] = {
		{ "  max_in_progres: 3\n",
		  "2: kanban.max_in_progres: there is no such key; did "
		  "you mean max_in_progress? 1 holds until that is "
		  "mended" },
		{ "  Max_Spawn: 3\n", "2: kanban.Max_Spawn: there is no such key; did you mean "
				      "max_spawn? 1 holds until that is mended" },
		{ "  max_in_progress_per_profiles: {a: 3}\n",
		  "2: kanban.max_in_progress_per_profiles: there is no such key; did you mean "
		  "max_in_progress_per_profile? 1 holds until that is mended" },
		{ "  dispatch_profile: [a]\n",
		  "2: kanban.dispatch_profile: there is no such key; did you mean "
		  "dispatch_profiles? nothing is claimed until that is mended" },
		{ "  auto_decompos: no\n", "2: kanban.auto_decompos: there is no such key; did "
					   "you mean auto_decompose? it is off until that is "
					   "mended" },
		{ "  failure_limits: 9\n",
		  "2: kanban.failure_limits: there is no such key; did "
		  "you mean failure_limit? the default holds" },
		{ "  max_spawn: 3\n  max_spwan: 4\n",
		  "3: kanban.max_spwan: there is no such key, and max_spawn is there too; "
		  "remove one of the two" },
		{ "  max_spwan: 4\n  max_spawn: 3\n",
		  "2: kanban.max_spwan: there is no such key, and max_spawn is there too; "
		  "remove one of the two" },
	};
	struct settings s[sizeof(cases) / sizeof(cases[0])];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[200], warning[300];

		(void)snprintf(text, sizeof(text), "kanban:\n%s", cases[i].text);
		(void)snprintf(warning, sizeof(warning), "%%/root/config.yaml:%s",
			       cases[i].warning);
		load_yaml(text);
		ck_assert_msg(warning_count() == 1, "%s: %zu", text, warning_count());
		ck_assert_str_eq(config_warnings(config)[0], here(warning));
		ck_assert_str_eq(config_fault(config), here(warning));
		s[i] = settings_of(NULL);
		ck_assert_msg(s[i].max_in_progress == (i == 0 ? 1 : -1), "%s", text);
		ck_assert_msg(s[i].max_spawn == (i == 1 ? 1 : i > 5 ? 3 : -1), "%s", text);
		ck_assert_msg(s[i].max_in_progress_per_profile == (i == 2 ? 1 : -1), "%s",
			      text);
		ck_assert_msg(s[i].profiles_limited == (i == 3), "%s", text);
		ck_assert_msg(s[i].auto_decompose == (i != 4), "%s", text);
		ck_assert_int_eq(s[i].failure_limit, 2);
	}
	/* the block itself: Hermes would find none, and neither do we */
	load_yaml("model: x\nkanbna:\n  dispatch_profiles: [a]\n");
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_str_eq(config_warnings(config)[0],
			 here("%/root/config.yaml:2: there is no key kanbna; did you mean "
			      "kanban?; nothing is claimed until it can be read, "
			      "auto_decompose is off"));
	/* two of them are still not the key */
	load_yaml("kanban:\n  max_spwan: 3\n  max_spawm: 4\n");
	ck_assert_uint_eq(warning_count(), 2);
	ck_assert_ptr_nonnull(
		strstr(config_warnings(config)[1],
		       "max_spawm: there is no such key; did you mean max_spawn?"));
	ck_assert_int_eq(settings_of(NULL).max_spawn, 1);
	/* a word that only begins one may be somebody's key */
	load_yaml("kanban:\n  review: {a: 1}\n  default: x\n  failure: 3\n  dispatch: no\n");
	ck_assert_uint_eq(warning_count(), 0);
	load_yaml("kanban:\n  max_in_progress_per: 4\n  dispatch_interval: 30\n");
	ck_assert_uint_eq(warning_count(), 2);
	ck_assert_int_eq(settings_of(NULL).max_in_progress_per_profile, 1);
	/* beside a block of the right name it is somebody else's */
	load_yaml("kanban:\n  max_spawn: 3\nkanbans: 4\n");
	ck_assert_uint_eq(warning_count(), 0);
	/* and there are limits to patience */
	load_yaml("kanban:\n  max_spawm: 1\n  max_spawx: 1\n  max_spaw1: 1\n  max_spaw2: 1\n"
		  "  max_spaw3: 1\n  max_spaw4: 1\n  max_spaw5: 1\n  max_spaw6: 1\n"
		  "  max_spaw7: 1\n  max_spaw8: 1\n  max_spaw9: 1\n  max_spawa: 1\n"
		  "  max_spawb: 1\n  max_spawc: 1\n  max_spawd: 1\n  max_spawe: 1\n"
		  "  max_spawf: 1\n");
	ck_assert_uint_eq(warning_count(), 1);
	ck_assert_ptr_nonnull(strstr(config_fault(config),
				     "config.yaml:18: kanban: too many keys are nearly ours"));
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("config_yaml_limits");
	TCase *tc = tcase_create("all");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, fixture_setup, fixture_teardown);
	tcase_add_test(tc, caps_as_a_map);
	tcase_add_test(tc, a_map_that_says_two_things);
	tcase_add_test(tc, keys_with_a_slip);
	suite_add_tcase(suite, tc);
	return suite;
}
