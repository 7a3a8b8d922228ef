/* Events, runs and comments, with hostile text in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kit/board.h"
#include "tick/history.h"

static char *dumped(json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY),
	     *kept = kit_printf("%s", text ? text : "?");

	free(text);
	json_decref(v);
	return kept;
}

START_TEST(texts)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{ NULL, "null" },
		{ "", "\"\"" },
		{ "caf\xC3\xA9", "\"caf\xC3\xA9\"" },
		{ "a\xFF"
		  "b",
		  "\"a\xEF\xBF\xBD"
		  "b\"" },
		{ "\xC3", "\"\xEF\xBF\xBD\"" },
		{ "\xE2\x82", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ "\xE2\x82\xAC\xFF", "\"\xE2\x82\xAC\xEF\xBF\xBD\"" },
		{ "\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },                 /* over-long */
		{ "\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" }, /* surrogate */
		{ "\xF0\x9F\x98\x80\x80", "\"\xF0\x9F\x98\x80\xEF\xBF\xBD\"" },
		{ "\x01\n\"", "\"\\u0001\\n\\\"\"" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(dumped(history_text(cases[i].text)), cases[i].json);
}
END_TEST

START_TEST(huge_texts)
{
	char *text = malloc(3000001);
	json_t *v;

	ck_assert_ptr_nonnull(text);
	memset(text, 0xFF, 3000000);
	text[3000000] = '\0';
	v = history_text(text);
	ck_assert_uint_eq(json_string_length(v), 9000000);
	json_decref(v);
	free(text);
}
END_TEST

START_TEST(numbers)
{
	ck_assert_str_eq(dumped(history_int(-1)), "null");
	ck_assert_str_eq(dumped(history_int(0)), "0");
	ck_assert_str_eq(dumped(history_int(INT64_MAX)), "9223372036854775807");
	ck_assert_str_eq(dumped(history_int(INT64_MIN)), "null");
}
END_TEST

START_TEST(events_and_comments)
{
	kit_board(0);
	kit_open();
	ck_assert_int_eq(
		history_event(kit.db, "t", 5, "kind", json_pack("{s:i}", "a", 1), 7, &kit.e),
		0);
	ck_assert_int_eq(history_event(kit.db, "t", 0, "kind", json_object(), 7, &kit.e), 0);
	ck_assert_int_eq(history_event_plain(kit.db, "t", 0, "plain", 8, &kit.e), 0);
	/* an object that could not be built is not an event without one */
	ck_assert_int_eq(history_event(kit.db, "t", 5, "kind", NULL, 7, &kit.e), -ENOMEM);
	ck_assert_int_eq(history_comment(kit.db, "t", "me", "text", 9, &kit.e), 0);
	ck_list("t|5|kind|{\"a\": 1}|7,t|-|kind|{}|7,t|-|plain|-|8",
		"SELECT task_id, run_id, kind, payload, created_at FROM task_events");
	ck_list("t|me|text|9", "SELECT task_id, author, body, created_at FROM task_comments");
	kit_sql("DROP TABLE task_events");
	ck_assert_int_eq(history_event(kit.db, "t", 5, "kind", json_object(), 7, &kit.e),
			 DB_SCHEMA_BAD);
}
END_TEST

START_TEST(ending_a_run)
{
	const char *all = "SELECT status, outcome, error, metadata, ended_at, claim_lock,"
			  " claim_expires, worker_pid FROM task_runs ORDER BY id";
	int64_t a, b;

	kit_board(0);
	a = kit_run("a", 101, NULL, "error = 'was', metadata = '{}'");
	b = kit_run("b", 102, NULL, NULL);
	kit_open();
	ck_assert_int_eq(history_end_run(kit.db, a, "stale", "stale", NULL, NULL, 9, &kit.e),
			 0);
	ck_assert_int_eq(history_end_run(kit.db, b, "done", "completed", "why",
					 json_pack("{s:i}", "x", 1), 9, &kit.e),
			 0);
	ck_list("stale|stale|was|{}|9|-|-|-,done|completed|why|{\"x\": 1}|9|-|-|-", "%s", all);
	/* what has ended stays as it is; a run that is not there is nothing */
	ck_assert_int_eq(history_end_run(kit.db, a, "x", "x", "x", json_object(), 10, &kit.e),
			 0);
	ck_assert_int_eq(history_end_run(kit.db, 99, "x", "x", "x", json_object(), 10, &kit.e),
			 0);
	ck_list("stale|stale|was|{}|9|-|-|-,done|completed|why|{\"x\": 1}|9|-|-|-", "%s", all);
}
END_TEST

START_TEST(from_review)
{
	static const struct {
		const char *payload;
		bool review;
	} cases[] = {
		{ "{\"source_status\": \"review\"}", true },
		{ "{\"source_status\": \"ready\"}", false },
		{ "{\"source_status\": 1}", false },
		{ "[]", false },
		{ "{\"source_status\": \"review\"", false },
		{ NULL, false },
		{ "\"review\"", false },
	};
	bool review = true;
	int64_t run;

	kit_board(0);
	run = kit_run("t", 0, NULL, NULL);
	kit_open();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_sql("UPDATE task_events SET payload = %Q", cases[i].payload);
		ck_assert_int_eq(history_from_review(kit.db, run, &review, &kit.e), 0);
		ck_assert_msg(review == cases[i].review, "%zu", i);
	}
	review = true;
	ck_assert_int_eq(history_from_review(kit.db, 0, &review, &kit.e), 0);
	ck_assert(!review);
	ck_assert_int_eq(history_from_review(kit.db, 4711, &review, &kit.e), 0);
	ck_assert(!review);
}
END_TEST

KIT_SUITE("history", texts, huge_texts, numbers, events_and_comments, ending_a_run, from_review)
