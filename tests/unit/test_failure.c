/* Counting failures and the breaker. */
#include <stdlib.h>
#include <string.h>

#include "kit/board.h"
#include "tick/failure.h"

static bool tripped;

static int count(const struct failure *f)
{
	int r;

	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	r = failure_count(kit_ctx(), f, &tripped);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
	return r;
}

START_TEST(cut_counts_characters)
{
	static const struct {
		const char *text;
		size_t max;
		const char *cut;
	} cases[] = {
		{ "", 5, "" },
		{ "abc", 0, "" },
		{ "abc", 2, "ab" },
		{ "abc", 3, "abc" },
		{ "abc", 900, "abc" },
		{ "\xC3\xA9\xC3\xA9\xC3\xA9", 2, "\xC3\xA9\xC3\xA9" },
		{ "a\xF0\x9F\x98\x80z", 2, "a\xF0\x9F\x98\x80" },
		{ "\x80\x80"
		  "ab",
		  1,
		  "\x80\x80"
		  "a" }, /* stray continuation bytes are kept */
		{ "\xFF\xFF\xFF", 2, "\xFF\xFF" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *cut = failure_cut(cases[i].text, cases[i].max);

		ck_assert_str_eq(cut, cases[i].cut);
		free(cut);
	}
}
END_TEST

START_TEST(which_limit_holds)
{
	bool from_task;

	kit.set.failure_limit = 4;
	ck_assert_int_eq(failure_limit(kit_ctx(), -1, 0, &from_task), 4);
	ck_assert(!from_task);
	ck_assert_int_eq(failure_limit(kit_ctx(), -1, 3, &from_task), 3);
	ck_assert(!from_task);
	ck_assert_int_eq(failure_limit(kit_ctx(), 7, 3, &from_task), 7);
	ck_assert(from_task);
	ck_assert_int_eq(failure_limit(kit_ctx(), 0, 0, &from_task), 0);
	ck_assert(from_task);
}
END_TEST

START_TEST(below_the_limit)
{
	kit_board(0);
	kit_task("t", "ready", NULL);
	kit_open();
	ck_assert_int_eq(count(&(struct failure){ .task = "t",
						  .failures = 1,
						  .limit = 2,
						  .error = "broken",
						  .trigger = "crashed",
						  .extra = json_pack("{s:i}", "pid", 7) }),
			 0);
	ck_assert(!tripped);
	ck_list("ready|1|broken",
		"SELECT status, consecutive_failures, last_failure_error FROM tasks");
	ck_assert_str_eq(kit_kinds("t"), "");
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "");
}
END_TEST

START_TEST(at_the_limit)
{
	kit_board(0);
	kit_task("t", "ready", NULL);
	kit_open();
	ck_assert_int_eq(count(&(struct failure){ .task = "t",
						  .run = 5,
						  .failures = 2,
						  .limit = 2,
						  .error = "bro\xFFken",
						  .trigger = "crashed",
						  .extra = json_pack("{s:i}", "pid", 7) }),
			 0);
	ck_assert(tripped);
	ck_list("blocked|2", "SELECT status, consecutive_failures FROM tasks");
	ck_list("gave_up|5|2|2|dispatcher|bro\xEF\xBF\xBDken|crashed|7",
		"SELECT kind, run_id, payload ->> 'failures', payload ->> 'effective_limit',"
		" payload ->> 'limit_source', payload ->> 'error', payload ->> "
		"'trigger_outcome',"
		" payload ->> 'pid' FROM task_events");
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "t");
	ck_assert_uint_eq(kit.plan.n_notes, 1);
	ck_assert_ptr_nonnull(strstr(kit.plan.notes[0].text, "gave up after 2 failures"));
}
END_TEST

START_TEST(sticky_block_and_task_limit)
{
	kit_board(0);
	kit_task("t", "ready", NULL);
	kit_open();
	ck_assert_int_eq(count(&(struct failure){ .task = "t",
						  .failures = 1,
						  .limit = 0,
						  .limit_from_task = true,
						  .error = "x",
						  .trigger = "timed_out",
						  .sticky = true }),
			 0);
	ck_assert(tripped);
	ck_assert_str_eq(kit_kinds("t"), "gave_up");
	ck_list("task|1", "SELECT payload ->> 'limit_source', payload ->> 'sticky' FROM"
			  " task_events");
}
END_TEST

START_TEST(long_errors_and_legacy_names)
{
	char *text = malloc(3001);

	ck_assert_ptr_nonnull(text);
	for (int i = 0; i < 1000; i++)
		memcpy(text + (size_t)i * 3, "\xE2\x82\xAC", 3);
	text[3000] = '\0';
	kit_board(KIT_LEGACY);
	kit_task("t", "ready", NULL);
	kit_open();
	ck_assert_int_eq(count(&(struct failure){ .task = "t",
						  .failures = 3,
						  .limit = 2,
						  .error = text,
						  .trigger = "crashed" }),
			 0);
	ck_list("blocked|3|500|1500", "SELECT status, spawn_failures, length(last_spawn_error),"
				      " length(CAST(last_spawn_error AS BLOB)) FROM tasks");
	ck_list("500", "SELECT length(payload ->> 'error') FROM task_events");
	free(text);
}
END_TEST

START_TEST(a_database_error_frees_everything)
{
	kit_board(0);
	kit_open();
	kit_sql("DROP TABLE task_events");
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(failure_count(kit_ctx(),
				       &(struct failure){ .task = "t",
							  .failures = 1,
							  .limit = 1,
							  .error = "x",
							  .trigger = "crashed",
							  .sticky = true,
							  .extra = json_object() },
				       &tripped),
			 DB_SCHEMA_BAD);
	db_rollback(kit.db);
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "");
}
END_TEST

KIT_SUITE_AGES("failure",
	       KIT_TESTS(cut_counts_characters, which_limit_holds, below_the_limit,
			 at_the_limit, sticky_block_and_task_limit,
			 a_database_error_frees_everything),
	       KIT_TESTS(long_errors_and_legacy_names))
