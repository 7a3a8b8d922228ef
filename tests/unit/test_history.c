/* Events, runs and comments, with hostile text in them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kit/board.h"
#include "tick/history.h"
#include "util/json.h"

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
		ck_assert_str_eq(dumped(json_utf8(cases[i].text)), cases[i].json);
}
END_TEST

START_TEST(huge_texts)
{
	char *text = malloc(3000001);
	json_t *v;

	ck_assert_ptr_nonnull(text);
	memset(text, 0xFF, 3000000);
	text[3000000] = '\0';
	v = json_utf8(text);
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
	kit.rq.now = 7;
	ck_assert_int_eq(history_event(kit_ctx(), "t", 5, "kind", json_pack("{s:i}", "a", 1)),
			 0);
	ck_assert_int_eq(history_event(kit_ctx(), "t", 0, "kind", json_object()), 0);
	kit.rq.now = 8;
	ck_assert_int_eq(history_event_plain(kit_ctx(), "t", 0, "plain"), 0);
	/* an object that could not be built is not an event without one */
	ck_assert_int_eq(history_event(kit_ctx(), "t", 5, "kind", NULL), -ENOMEM);
	kit.rq.now = 9;
	ck_assert_int_eq(history_comment(kit_ctx(), "t", "me", "text"), 0);
	ck_list("t|5|kind|{\"a\": 1}|7,t|-|kind|{}|7,t|-|plain|-|8",
		"SELECT task_id, run_id, kind, payload, created_at FROM task_events");
	ck_list("t|me|text|9", "SELECT task_id, author, body, created_at FROM task_comments");
	kit_sql("DROP TABLE task_events");
	ck_assert_int_eq(history_event(kit_ctx(), "t", 5, "kind", json_object()),
			 DB_SCHEMA_BAD);
}
END_TEST

START_TEST(ending_a_run)
{
	const char *all = "SELECT status, outcome, error, metadata, ended_at, claim_lock,"
			  " claim_expires, worker_pid FROM task_runs ORDER BY id";
	const char *want = kit_by_age(
		"stale|stale|was|{}|9|h:77|-|101,done|completed|why|{\"x\": 1}|9|h:77|-|102",
		"stale|stale|was|{}|9|-|-|-,done|completed|why|{\"x\": 1}|9|-|-|-");
	int64_t a, b;

	kit_board(0);
	a = kit_run("a", 101, NULL, "error = 'was', metadata = '{}'");
	b = kit_run("b", 102, NULL, NULL);
	kit_open();
	kit.rq.now = 9;
	ck_assert_int_eq(history_end_run(kit_ctx(), a, "stale", "stale", NULL, NULL), 0);
	ck_assert_int_eq(history_end_run(kit_ctx(), b, "done", "completed", "why",
					 json_pack("{s:i}", "x", 1)),
			 0);
	ck_list(want, "%s", all);
	/* what has ended stays as it is; a run that is not there is nothing */
	kit.rq.now = 10;
	ck_assert_int_eq(history_end_run(kit_ctx(), a, "x", "x", "x", json_object()), 0);
	ck_assert_int_eq(history_end_run(kit_ctx(), 99, "x", "x", "x", json_object()), 0);
	ck_list(want, "%s", all);
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
	const char *to = NULL;
	int64_t run;

	kit_board(0);
	run = kit_run("t", 0, NULL, NULL);
	kit_open();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_sql("UPDATE task_events SET payload = %Q", cases[i].payload);
		ck_assert_int_eq(history_retry_status(kit_ctx(), run, &to), 0);
		ck_assert_str_eq(to, cases[i].review ? "review" : "ready");
	}
	ck_assert_int_eq(history_retry_status(kit_ctx(), 0, &to), 0);
	ck_assert_str_eq(to, "ready");
	ck_assert_int_eq(history_retry_status(kit_ctx(), 4711, &to), 0);
	ck_assert_str_eq(to, "ready");
}
END_TEST

KIT_SUITE_AGES("history",
	       KIT_TESTS(texts, huge_texts, numbers, events_and_comments, ending_a_run,
			 from_review),
	       KIT_TESTS(NULL))
