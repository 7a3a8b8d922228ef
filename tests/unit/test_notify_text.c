/* Every message, to the letter; and what hostile boards can and cannot put into one. */
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/folder.h"
#include "kit/suite.h"
#include "notify/item.h"
#include "notify/notify_text.h"
#include "util/text.h"

static struct notify_about about;

static void setup(void)
{
	about = (struct notify_about){ .board = "b",
				       .task = "t_0123abcd",
				       .title = "Fix the roof",
				       .status = "done",
				       .assignee = "jimmy" };
}

static void is(const char *kind, const char *payload, const char *want)
{
	char *text = NULL;

	ck_assert_int_eq(notify_text_event(&about, kind, payload, &text), 0);
	if (want)
		ck_assert_str_eq(text, want);
	else
		ck_assert_ptr_null(text);
	free(text);
}

#define HEAD "[b] @jimmy Kanban t_0123abcd"

START_TEST(test_shapes)
{
	is("completed", NULL, "✔ " HEAD " done — Fix the roof");
	is("completed", "{\"summary\":\"All dry.\\nSecond line\"}",
	   "✔ " HEAD " done — Fix the roof\nAll dry.");
	about.result = "\n  the result \nmore";
	is("completed", NULL, "✔ " HEAD " done — Fix the roof\nthe result");
	is("completed", "{\"summary\":\"\"}", "✔ " HEAD " done — Fix the roof\nthe result");
	is("completed", "{\"summary\":\"s\"}", "✔ " HEAD " done — Fix the roof\ns");
	is("blocked", NULL, "⏸ " HEAD " blocked");
	is("blocked", "{\"reason\":\"no ladder\"}", "⏸ " HEAD " blocked: no ladder");
	is("gave_up", NULL, "✖ " HEAD " gave up after repeated spawn failures");
	is("gave_up", "{\"error\":\"no such file\"}",
	   "✖ " HEAD " gave up after repeated spawn failures\nno such file");
	is("crashed", "{\"pid\":7}",
	   "✖ " HEAD " worker crashed (pid gone); dispatcher will retry");
	is("timed_out", "{\"limit_seconds\":90}",
	   "⏱ " HEAD " timed out (max_runtime=90s); will retry");
	is("timed_out", NULL, "⏱ " HEAD " timed out (max_runtime=0s); will retry");
	is("review_requested", NULL, "👀 " HEAD " ready for review — Fix the roof");
	is("review_requested", "{\"summary\":\"please look\"}",
	   "👀 " HEAD " ready for review — Fix the roof\nplease look");
	is("status", "{\"status\":\"ready\"}", "🔄 " HEAD " → ready");
	is("status", NULL, "🔄 " HEAD " → done");
	is("block_loop_detected", "{\"recurrences\":3,\"reason\":\"no key\"}",
	   "🛑 " HEAD " routed to TRIAGE — needs a human decision (blocked 3x for the same "
	   "cause): no key");
	is("block_loop_detected", NULL,
	   "🛑 " HEAD " routed to TRIAGE — needs a human decision");
	is("timed_out", "{\"budget_used\":60,\"budget_max\":60}",
	   "⏱ " HEAD " timed out (iteration budget of 60 used up); will retry");
	is("changes_requested", "{\"reason\":\"no tests\",\"summary\":\"s\"}",
	   "🛑 " HEAD " changes requested: no tests");
	is("changes_requested",
	   "{\"summary\":\"s\",\"reviewer\":\"rita\",\"implementer\":\"carl\"}",
	   "🛑 " HEAD " changes requested by rita → carl: s");
	is("changes_requested", NULL, "🛑 " HEAD " changes requested");
	is("archived", NULL, NULL);
	is("unblocked", NULL, NULL);
	is("claimed", NULL, NULL);
}
END_TEST

START_TEST(test_parts)
{
	about.assignee = NULL;
	is("blocked", NULL, "⏸ [b] Kanban t_0123abcd blocked");
	about.assignee = " ";
	is("blocked", NULL, "⏸ [b] Kanban t_0123abcd blocked");
	about.title = NULL;
	is("completed", NULL, "✔ [b] Kanban t_0123abcd done — t_0123abcd");
	about.title = "";
	is("completed", NULL, "✔ [b] Kanban t_0123abcd done — t_0123abcd");
}
END_TEST

/* What hermes send would obey. */
START_TEST(test_disarm)
{
	static const char *const tags[][2] = {
		{ "plain: text [x] a media file", "plain: text [x] a media file" },
		{ "MEDIA:/etc/passwd", "MEDIA :/etc/passwd" },
		{ "x Media: ~/a.txt", "x Media : ~/a.txt" },
		{ "mEdIa:mediA:/x", "mEdIa :mediA :/x" },
		{ "MED\xC4\xB1"
		  "A:/x",
		  "MED\xC4\xB1"
		  "A :/x" },
		{ "med\xC4\xB0"
		  "a:/x",
		  "med\xC4\xB0"
		  "a :/x" },
		{ "multimedia:\n/x", "multimedia :\n/x" },
		{ "[[as_document]]", "[ [as_document]]" },
		{ "[[[audio_as_voice]]", "[ [ [audio_as_voice]]" },
		{ "edia:", "edia:" },
		{ ":", ":" },
		{ "", "" },
	};

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		char *out = NULL;

		ck_assert_int_eq(notify_text_disarm(tags[i][0], &out), 0);
		ck_assert_str_eq(out, tags[i][1]);
		free(out);
	}
}
END_TEST

/* Payloads as no Hermes writes them. */
START_TEST(test_payloads)
{
	static const char *const none[] = { "",
					    "null",
					    "[]",
					    "{",
					    "7",
					    "\"x\"",
					    "{}",
					    "{\"reason\":null}",
					    "{\"reason\":\"\"}",
					    "{\"reason\":0}",
					    "{\"reason\":false}",
					    "{\"reason\":[]}",
					    "{\"reason\":{}}",
					    "{\"reason\":\" \\n \"}" };

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		is("blocked", none[i], "⏸ " HEAD " blocked");
	is("blocked", "{\"reason\":7}", "⏸ " HEAD " blocked: 7");
	is("blocked", "{\"reason\":true}", "⏸ " HEAD " blocked: true");
	is("blocked", "{\"reason\":[\"a\",1]}", "⏸ " HEAD " blocked: [\"a\",1]");
	is("timed_out", "{\"limit_seconds\":\"12\"}",
	   "⏱ " HEAD " timed out (max_runtime=12s); will retry");
	is("timed_out", "{\"limit_seconds\":12.9}",
	   "⏱ " HEAD " timed out (max_runtime=12s); will retry");
	is("timed_out", "{\"limit_seconds\":1e300}",
	   "⏱ " HEAD " timed out (max_runtime=0s); will retry");
}
END_TEST

START_TEST(test_hostile)
{
	about.title = "a\x1b[31mred\x07\nline\ttab";
	is("completed", NULL, "✔ " HEAD " done — a[31mred line tab");
	about.title = "bad \xff\xfe bytes \xe2\x82";
	is("completed", NULL, "✔ " HEAD " done — bad �� bytes ��");
	about.title = "x\xe2\x80\xae"
		      "evil\xc2\x85z"; /* right-to-left override, NEL */
	is("completed", NULL, "✔ " HEAD " done — xevil z");
	is("blocked", "{\"reason\":\"a\\u0000b\\u001b]0;x\"}", "⏸ " HEAD " blocked: ab]0;x");
	is("blocked", "{\"reason\":\"one\\r\\ntwo  three \"}",
	   "⏸ " HEAD " blocked: one two  three");
	is("blocked", "{\"reason\":\"bad \xff\"}", "⏸ " HEAD " blocked: bad �");
	about.title = "t";
	is("completed", "{\"summary\":\"\\u2028 first\\u2029second\"}",
	   "✔ " HEAD " done — t\nfirst");
	about.assignee = "j\nm";
	about.task = "t\x01_1";
	is("crashed", NULL,
	   "✖ [b] @j m Kanban t_1 worker crashed (pid gone); dispatcher will retry");
}
END_TEST

/* Cut by characters, never inside one. */
START_TEST(test_cuts)
{
	static const struct {
		const char *kind, *key, *before;
		size_t chars;
	} cuts[] = {
		{ "completed", "summary", "done — t\n", 200 },
		{ "blocked", "reason", "blocked: ", 160 },
		{ "gave_up", "error", "gave up after repeated spawn failures\n", 200 },
		{ "review_requested", "summary", "ready for review — t\n", 200 },
		{ "block_loop_detected", "reason", "needs a human decision: ", 160 },
	};
	char many[4 * 1000 + 1] = "", payload[5000], want[5000], title[4 * 121 + 1] = "";

	for (int i = 0; i < 1000; i++)
		memcpy(many + i * 4, "😀", 4);
	for (int i = 0; i < 121; i++)
		memcpy(title + i * 4, "😀", 4);
	about.title = "t";
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		char *text = NULL;
		const char *at;

		(void)snprintf(payload, sizeof(payload), "{\"%s\":\"%s\"}", cuts[i].key, many);
		ck_assert_int_eq(notify_text_event(&about, cuts[i].kind, payload, &text), 0);
		ck_assert(text_is_utf8(text, strlen(text)));
		at = strstr(text, cuts[i].before);
		ck_assert_ptr_nonnull(at);
		at += strlen(cuts[i].before);
		ck_assert_uint_eq(text_chars(at, strlen(at)), cuts[i].chars);
		free(text);
	}
	about.title = title;
	(void)snprintf(want, sizeof(want), "✔ " HEAD " done — %.480s", title);
	is("completed", NULL, want);
	about.title = "t";
	about.result = many;
	(void)snprintf(want, sizeof(want), "✔ " HEAD " done — t\n%.640s", many);
	is("completed", NULL, want);
}
END_TEST

/* ---- folding ------------------------------------------------------------------------- */

START_TEST(test_fold)
{
	struct notify_item *item = NULL;

	ck_assert_int_eq(
		notify_item_new(&item, &about, "telegram", "1", "", " Jimmy ", 0, 99, 5), 0);
	ck_assert_str_eq(item->profile, "jimmy");
	ck_assert_int_eq(notify_item_add(item, &about, 1, 1000, "crashed", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 2, 1300, "crashed", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 3, 1600, "crashed", NULL), 0);
	ck_assert_int_eq(
		notify_item_add(item, &about, 4, 1600, "gave_up", "{\"error\":\"e1\"}"), 0);
	ck_assert_int_eq(
		notify_item_add(item, &about, 5, 1601, "gave_up", "{\"error\":\"e2\"}"), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 6, 1700, "unblocked", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 7, 1701, "gave_up", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 8, 1701 + 1801, "gave_up", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 9, 9000, "status", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 10, 9000, "status", NULL), 0);
	ck_assert_int_eq(notify_item_finish(item), 0);
	ck_assert_uint_eq(item->n_events, 6);
	ck_assert_str_eq(item->events[0].text,
			 "✖ " HEAD " worker crashed (pid gone); dispatcher will retry"
			 " (3 times in 10 min)");
	ck_assert_int_eq(item->events[0].id, 3);
	ck_assert_uint_eq(item->events[0].count, 3);
	ck_assert_str_eq(item->events[1].text,
			 "✖ " HEAD
			 " gave up after repeated spawn failures (2 times in 1 min)\ne2");
	ck_assert_str_eq(item->events[2].text,
			 "✖ " HEAD " gave up after repeated spawn failures");
	ck_assert_int_eq(item->events[2].id, 7);
	ck_assert_int_eq(item->events[3].id, 8);
	ck_assert_int_eq(item->events[4].id, 9);
	ck_assert_int_eq(item->events[5].id, 10);
	notify_item_free(item);
}
END_TEST

START_TEST(test_item_json)
{
	struct notify_item *item = NULL, *copy = NULL;
	static const char *const bad[] = { "{}", "{\"board\":\"b\"}" };
	json_t *json;

	about.task = "t\"\\\n1";
	ck_assert_int_eq(notify_item_new(&item, &about, "matrix", "!r:x", "7", NULL, 5, 99,
					 UINT64_MAX - 1),
			 0);
	ck_assert_int_eq(notify_item_add(item, &about, 1, 1000, "crashed", NULL), 0);
	ck_assert_int_eq(notify_item_add(item, &about, 2, 1001, "status", NULL), 0);
	ck_assert_int_eq(notify_item_finish(item), 0);
	json = notify_item_json(item);
	ck_assert_ptr_nonnull(json);
	ck_assert_int_eq(notify_item_parse(&copy, 12, json), 0);
	ck_assert_uint_eq(copy->seq, 12);
	ck_assert_str_eq(copy->board, "b");
	ck_assert_str_eq(copy->key.task, about.task);
	ck_assert_str_eq(copy->key.platform, "matrix");
	ck_assert_str_eq(copy->key.chat, "!r:x");
	ck_assert_str_eq(copy->key.thread, "7");
	ck_assert_str_eq(copy->profile, "default");
	ck_assert_int_eq(copy->old, 5);
	ck_assert_int_eq(copy->upto, 5);
	ck_assert_int_eq(copy->new, 99);
	ck_assert_uint_eq(copy->row, UINT64_MAX - 1);
	ck_assert_uint_eq(copy->n_events, 2);
	ck_assert_str_eq(copy->events[1].text, item->events[1].text);
	ck_assert_str_eq(copy->events[1].kind, "status");
	ck_assert_int_eq(copy->events[1].at, 1001);
	notify_item_free(copy);
	ck_assert_int_eq(json_object_set_new(json, "events", json_array()), 0);
	ck_assert_int_eq(notify_item_parse(&copy, 12, json), -EBADMSG);
	ck_assert_int_eq(
		json_object_set_new(json, "events",
				    json_pack("[[iiii ss]]", 1, 2, 3, 0, "status", "x")),
		0);
	ck_assert_int_eq(notify_item_parse(&copy, 12, json), -EBADMSG);
	ck_assert_int_eq(
		json_object_set_new(json, "events",
				    json_pack("[[iiii ss]]", 1, 2, 3, 1, "archived", "x")),
		0);
	ck_assert_int_eq(notify_item_parse(&copy, 12, json), -EBADMSG);
	json_decref(json);
	for (size_t i = 0; i < 2; i++) {
		json = json_loads(bad[i], 0, NULL);
		ck_assert_int_eq(notify_item_parse(&copy, 12, json), -EBADMSG);
		json_decref(json);
	}
	notify_item_free(item);
}
END_TEST

/* ---- digests ------------------------------------------------------------------------- */

START_TEST(test_digest)
{
	const struct notify_line lines[] = {
		{ "crashed", "✖ [b] Kanban t_1 worker crashed", 1000, 3, false },
		{ "completed", "✔ [b] Kanban t_1 done — one\nsummary", 2000, 1, true },
		{ "completed", "✔ [c] Kanban t_2 done — two", 8000, 1, true },
		{ "blocked", "⏸ [b] Kanban t_3 blocked: why", 5000, 1, true },
	};
	char *text = NULL;

	ck_assert_int_eq(notify_text_digest(lines, 4, 8000 + 2 * 86400, &text), 0);
	ck_assert_str_eq(text, "📋 Kanban: 6 updates that are 2 d old\n"
			       "✔ 2 done, ⏸ 1 blocked, ✖ 3 crashed\n"
			       "⏸ [b] Kanban t_3 blocked: why\n"
			       "✔ [c] Kanban t_2 done — two\n"
			       "✔ [b] Kanban t_1 done — one");
	free(text);
	ck_assert_int_eq(notify_text_digest(lines, 4, 8000 + 600, &text), 0);
	ck_assert_str_eq(strtok(text, "\n"), "📋 Kanban: 6 updates that are 10 min to 2 h old");
	free(text);
}
END_TEST

START_TEST(test_digest_large)
{
	struct notify_line *lines = calloc(1000, sizeof(*lines));
	char title[400], *text = NULL;

	for (int i = 0; i < 380; i++)
		title[i] = "é"[i % 2];
	title[380] = '\0';
	for (int i = 0; i < 1000; i++)
		lines[i] = (struct notify_line){ "completed", title, i, 1, true };
	ck_assert_int_eq(notify_text_digest(lines, 1000, 100000, &text), 0);
	ck_assert(text_is_utf8(text, strlen(text)));
	ck_assert_uint_le(text_chars(text, strlen(text)), NOTIFY_DIGEST_MAX);
	ck_assert_ptr_nonnull(strstr(text, "1000 updates"));
	ck_assert_ptr_nonnull(strstr(text, "\n… and 983 more tasks"));
	free(text);
	for (int i = 0; i < 1000; i++)
		lines[i].text = "x";
	ck_assert_int_eq(notify_text_digest(lines, 1000, 100000, &text), 0);
	ck_assert_ptr_nonnull(strstr(text, "\n… and 960 more tasks"));
	free(text);
	free(lines);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_text");
	TCase *t = tcase_create("text");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, test_shapes);
	tcase_add_test(t, test_parts);
	tcase_add_test(t, test_disarm);
	tcase_add_test(t, test_payloads);
	tcase_add_test(t, test_hostile);
	tcase_add_test(t, test_cuts);
	tcase_add_test(t, test_fold);
	tcase_add_test(t, test_item_json);
	tcase_add_test(t, test_digest);
	tcase_add_test(t, test_digest_large);
	suite_add_tcase(s, t);
	return s;
}
