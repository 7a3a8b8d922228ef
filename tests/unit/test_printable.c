/* What stands in a text is shown, and does nothing. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kit/suite.h"
#include "util/printable.h"

static void shows(const char *text, unsigned flags, const char *want)
{
	char *got = printable_text(text, strlen(text), 0, flags);

	ck_assert_str_eq(got, want);
	free(got);
}

START_TEST(shown_as_what_it_is)
{
	shows("plain, é, 日本", 0, "plain, é, 日本");
	shows("a\tb\nc\r", 0, "a\\tb\\nc\\r");
	shows("a\tb\nc\r", PRINTABLE_LINES, "a    b\nc\\r");
	shows("\x1b[2J\x7f", 0, "\\x1b[2J\\x7f");
	shows("\xC2\x9B", 0, "\\x9b");
	shows("\xE2\x80\xAE", 0, "\\u202e");
	shows("\xff", 0, "\\xff");
	/* tags: letters that are not seen */
	shows("\xF3\xA0\x81\xA1", 0, "\\ue0061");
}
END_TEST

START_TEST(cut_by_characters)
{
	char *got = printable_text("ééé", 6, 2, 0);

	ck_assert_str_eq(got, "éé…");
	free(got);
}
END_TEST

/* Messages and log lines, too. */
START_TEST(errors)
{
	struct error e = ERROR_NULL;

	(void)error_set(&e, 1, "é %s", "\x1b[2J \xC2\x9B \xE2\x80\xAE \xE2\x81\xA6");
	ck_assert_str_eq(e.text, "é ?[2J ?? ??? ???");
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("printable");
	TCase *tc = tcase_create("printable");

	tcase_add_test(tc, shown_as_what_it_is);
	tcase_add_test(tc, cut_by_characters);
	tcase_add_test(tc, errors);
	suite_add_tcase(s, tc);
	return s;
}
