/* Texts of any kind as JSON, and JSON as texts that act on no terminal. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kit/suite.h"
#include "util/json.h"

static void is(json_t *json, const char *text)
{
	char *got = json_dumps(json, JSON_ENCODE_ANY);

	ck_assert_str_eq(got, text);
	free(got);
	json_decref(json);
}

START_TEST(any_bytes_become_a_string)
{
	is(json_utf8("é"), "\"é\"");
	is(json_utf8("a\xff"), "\"a\xEF\xBF\xBD\"");
	is(json_utf8_n("a\0b", 3), "\"a\\u0000b\"");
	is(json_utf8(""), "\"\"");
	is(json_utf8(NULL), "null");
	is(json_or_null(""), "null");
	is(json_or_null("x"), "\"x\"");
	is(json_time(0), "null");
	is(json_time(5), "5");
}
END_TEST

START_TEST(what_could_not_be_made_makes_all_fail)
{
	ck_assert_ptr_null(json_push(NULL, json_integer(1)));
	ck_assert_ptr_null(json_push(json_array(), NULL));
	ck_assert_ptr_null(json_join(json_object(), NULL));
	ck_assert_ptr_null(json_join(NULL, json_object()));
	is(json_push(json_push(json_array(), json_integer(1)), json_null()), "[1, null]");
	is(json_join(json_pack("{s:i, s:i}", "a", 1, "b", 1), json_pack("{s:i}", "b", 2)),
	   "{\"a\": 1, \"b\": 2}");
}
END_TEST

/* The escapes say the same value; what acts is not there as itself. */
START_TEST(plain_text_acts_on_nothing)
{
	static const char *const acting[] = {
		"\x1b[2J",      "\x7f",         "\xC2\x9B",         "\xC2\x85",
		"\xD8\x9C",     "\xE2\x80\x8B", "\xE2\x80\xAE",     "\xE2\x80\xA8",
		"\xE2\x81\xA6", "\xEF\xBB\xBF", "\xF3\xA0\x81\xA1",
	};

	for (size_t i = 0; i < sizeof(acting) / sizeof(acting[0]); i++) {
		json_t *json = json_pack("{s:s, s:[s]}", acting[i], "é", "list", acting[i]);
		char *text = json_plain(json, JSON_COMPACT);
		json_t *again = json_loads(text, 0, NULL);

		ck_assert_msg(!strstr(text, acting[i]), "the %zu-th", i);
		ck_assert_ptr_nonnull(strstr(text, "é"));
		ck_assert_msg(json_equal(json, again), "%s", text);
		json_decref(again);
		json_decref(json);
		free(text);
	}
	ck_assert_ptr_null(json_plain(NULL, 0));
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("json");
	TCase *tc = tcase_create("json");

	tcase_add_test(tc, any_bytes_become_a_string);
	tcase_add_test(tc, what_could_not_be_made_makes_all_fail);
	tcase_add_test(tc, plain_text_acts_on_nothing);
	suite_add_tcase(suite, tc);
	return suite;
}
