/* States of a board: one vocabulary, and one answer to whether a state is bad. */
#include <check.h>
#include <errno.h>

#include "board/state.h"
#include "db/db.h"
#include "kit/suite.h"

START_TEST(files_and_daemon_use_the_same_words)
{
	for (int i = HEALTH_HEALTHY; i <= HEALTH_SCHEMA; i++) {
		enum health_state h = (enum health_state)i;

		ck_assert_str_eq(health_state_name(h),
				 board_state_name(board_state_of_health(h)));
	}
	for (int i = 0; i < BOARD_STATES; i++)
		ck_assert_ptr_nonnull(board_state_name((enum board_state)i));
}
END_TEST

START_TEST(what_is_bad)
{
	static const struct {
		const char *word;
		bool bad, stands;
	} cases[BOARD_STATES] = {
		{ "new", false, false },       { "healthy", false, false },
		{ "missing", false, false },   { "troubled", true, false },
		{ "suspect", true, false },    { "repairing", true, false },
		{ "schema", true, true },      { "lost", true, true },
		{ "quarantined", true, true },
	};

	for (int i = 0; i < BOARD_STATES; i++) {
		enum board_state s = (enum board_state)i;

		ck_assert_str_eq(board_state_name(s), cases[i].word);
		ck_assert_int_eq(board_state_bad(s), cases[i].bad);
		ck_assert_int_eq(board_state_stands(s), cases[i].stands);
		ck_assert_int_eq(board_state_word_bad(cases[i].word), cases[i].bad);
	}
	ck_assert(!board_state_word_bad("archived") && !board_state_word_bad("paused"));
	ck_assert(!board_state_word_bad("duplicate"));
	ck_assert(board_state_word_bad("") && board_state_word_bad("fine"));
}
END_TEST

START_TEST(what_a_visit_came_to)
{
	ck_assert_int_eq(board_state_of(0), BOARD_HEALTHY);
	ck_assert_int_eq(board_state_of(DB_MISSING), BOARD_MISSING);
	ck_assert_int_eq(board_state_of(DB_SCHEMA_BAD), BOARD_SCHEMA);
	ck_assert_int_eq(board_state_of(DB_LOST), BOARD_LOST);
	ck_assert_int_eq(board_state_of(DB_CORRUPT), BOARD_QUARANTINED);
	ck_assert_int_eq(board_state_of(DB_TRANSIENT), BOARD_TROUBLED);
	ck_assert_int_eq(board_state_of(-EACCES), BOARD_TROUBLED);
}
END_TEST

Suite *test_suite(void)
{
	Suite *suite = suite_create("state");
	TCase *tc = tcase_create("state");

	tcase_add_test(tc, files_and_daemon_use_the_same_words);
	tcase_add_test(tc, what_is_bad);
	tcase_add_test(tc, what_a_visit_came_to);
	suite_add_tcase(suite, tc);
	return suite;
}
