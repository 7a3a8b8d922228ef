/* Tasks that wait for a time, and tasks that come again and again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/board.h"
#include "tick/why.h"

#define NOW_TEXT "1780000000" /* KIT_NOW */

static void promote(void)
{
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
}

START_TEST(when_its_time_has_come)
{
	kit_board(0);
	kit_task("due", "scheduled", "consecutive_failures = 2");
	kit_event("due", "scheduled", "{\"at\": " NOW_TEXT "}", KIT_NOW - 100);
	kit_task("later", "scheduled", NULL);
	kit_event("later", "scheduled", "{\"at\": 1780000060}", KIT_NOW - 100);
	kit_task("latest", "scheduled", NULL);
	kit_event("latest", "scheduled", "{\"at\": 1780000090}", KIT_NOW - 100);
	kit_open();
	promote();
	ck_list("ready|0,scheduled|0,scheduled|0",
		"SELECT status, consecutive_failures FROM tasks ORDER BY rowid");
	ck_assert_str_eq(kit_kinds("due"), "scheduled,unblocked");
	ck_assert_int_eq(kit.plan.promoted, 1);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 60);
	kit.rq.now += 60;
	promote();
	ck_list("ready,ready,scheduled", "SELECT status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 90);
}
END_TEST

/* Hermes names no time: somebody unblocks it. Nor does what is not one. */
START_TEST(without_a_time_it_stays)
{
	static const char *const payloads[] = { "{\"reason\": \"next week\"}",
						"{\"at\": null}",
						"{\"at\": \"now\"}",
						"{\"at\": 1.5}",
						"[1]",
						"{" };
	int64_t before;

	kit_board(0);
	kit_task("none", "scheduled", NULL);
	for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
		const char *id = kit_printf("t%zu", i);

		kit_task(id, "scheduled", NULL);
		kit_event(id, "scheduled", "{\"at\": 5}", 1);
		kit_event(id, "scheduled", payloads[i], 2);
	}
	kit_open();
	before = kit_int("PRAGMA data_version");
	promote();
	ck_assert_int_eq(kit_int("PRAGMA data_version"), before);
	ck_assert_int_eq(kit_int("SELECT count(*) FROM tasks WHERE status = 'scheduled'"), 7);
	ck_assert_int_eq(kit.plan.deadline, 0);
}
END_TEST

/* The column is what holds, unless it is left over from before the event. */
START_TEST(the_column_where_there_is_one)
{
	kit_board(KIT_SCHEDULED);
	kit_task("bare", "scheduled", "scheduled_at = 1779999999");
	kit_task("text", "scheduled", "scheduled_at = 'soon'");
	kit_task("over", "scheduled", "scheduled_at = 1779999000");
	kit_event("over", "scheduled", "{\"reason\": \"x\"}", 1779999500);
	kit_task("moved", "scheduled", "scheduled_at = 1780000030");
	kit_event("moved", "scheduled", "{\"at\": 1779999900}", 1779999500);
	kit_open();
	promote();
	ck_list("ready,scheduled,scheduled,scheduled",
		"SELECT status FROM tasks ORDER BY rowid");
	ck_assert_int_eq(kit.plan.deadline, 1780000030);
}
END_TEST

START_TEST(parents_come_first)
{
	kit_board(0);
	kit_task("parent", "running", NULL);
	kit_task("child", "scheduled", NULL);
	kit_event("child", "scheduled", "{\"at\": 7}", 1);
	kit_sql("INSERT INTO task_links VALUES ('parent', 'child')");
	kit_open();
	promote();
	ck_list("todo", "SELECT status FROM tasks WHERE id = 'child'");
	ck_assert_int_eq(kit.plan.promoted, 0);
}
END_TEST

START_TEST(why_tells_the_time)
{
	json_t *rules = NULL;

	kit_board(0);
	kit_task("later", "scheduled", NULL);
	kit_event("later", "scheduled", "{\"at\": 1780000060}", 1);
	kit_task("ever", "scheduled", NULL);
	kit_open();
	ck_assert_int_eq(why_task(kit_ctx(), "later", &rules), 0);
	ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(rules, 0), "at")),
			 1780000060);
	json_decref(rules);
	ck_assert_int_eq(why_task(kit_ctx(), "ever", &rules), 0);
	ck_assert(json_is_null(json_object_get(json_array_get(rules, 0), "at")));
	ck_assert_ptr_nonnull(
		strstr(json_string_value(json_object_get(json_array_get(rules, 0), "release")),
		       "unblock"));
	json_decref(rules);
}
END_TEST

/* ---- series ------------------------------------------------------------------------------ */

#define NINE          1780045200 /* 2026-05-29 09:00 UTC, the next after KIT_NOW */
#define HOW(calendar) "{\"calendar\": " calendar ", \"at\": 1779958800}"

/* The one that was for the day before. */
static void series(const char *status, const char *how)
{
	ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
	kit_task("one", status,
		 "idempotency_key = 'every:k', title = 'T', body = 'B', priority = 3,"
		 " workspace_path = '/made/for/one', branch_name = 'of-one', result = 'r'");
	kit_event("one", "recurs", how, 1);
	kit_open();
}

START_TEST(the_next_of_a_series)
{
	kit_board(KIT_SCHEDULED);
	series("done", HOW("\"09:00\""));
	promote();
	ck_list("T|B|jimmy|scheduled|3|every:k|1780045200|-|-|-|1780000000",
		"SELECT title, body, assignee, status, priority, idempotency_key, scheduled_at,"
		" workspace_path, branch_name, result, created_at FROM tasks WHERE id <> "
		"'one'");
	ck_list("-", "SELECT idempotency_key FROM tasks WHERE id = 'one'");
	ck_list("created,scheduled,recurs",
		"SELECT kind FROM task_events WHERE task_id <> 'one' ORDER BY id");
	ck_list("1780045200,1780045200", "SELECT json_extract(payload, '$.at') FROM task_events"
					 " WHERE task_id <> 'one' AND kind <> 'created'");
	ck_assert_str_eq(kit_kinds("one"), "recurs,recurred");
	ck_assert_int_eq(kit.plan.deadline, NINE);
	/* once */
	promote();
	ck_assert_int_eq(kit_int("SELECT count(*) FROM tasks"), 2);
	/* long after, one of all that passed, and the next is yet to come */
	kit.rq.now = NINE + 10 * 86400 + 7;
	promote();
	ck_list("ready", "SELECT status FROM tasks WHERE id <> 'one'");
	kit_sql("UPDATE tasks SET status = 'archived' WHERE id <> 'one'");
	promote();
	ck_list("ready", "SELECT 'ready' WHERE (SELECT count(*) FROM tasks) = 3");
	ck_assert_int_eq(kit.plan.deadline, NINE + 11 * 86400);
}
END_TEST

/* Who is told, what it belongs to and what it waits for go on; what waited for it does not. */
START_TEST(what_goes_along)
{
	kit_board(KIT_SCHEDULED);
	series("done", HOW("\"09:00\""));
	kit_task("parent", "done", NULL);
	kit_task("child", "todo", NULL);
	kit_sql("INSERT INTO task_links (parent_id, child_id) VALUES ('parent', 'one'),"
		" ('one', 'child');"
		"INSERT INTO kanban_notify_subs (task_id, platform, chat_id, thread_id, "
		"chat_type,"
		" notifier_profile, created_at, last_event_id) VALUES"
		" ('one', 'telegram', '7', 'x', 'group', 'anna', 1, 1);"
		"UPDATE tasks SET project_id = 'p1' WHERE id = 'one'");
	promote();
	kit_sql("UPDATE tasks SET id = 'next' WHERE title = 'T' AND id <> 'one'");
	ck_list("p1", "SELECT project_id FROM tasks WHERE id = 'next'");
	ck_list("parent",
		"SELECT parent_id FROM task_links WHERE child_id NOT IN ('one', 'child')");
	ck_list("one", "SELECT parent_id FROM task_links WHERE child_id = 'child'");
	ck_list("telegram|7|x|group|anna|1780000000",
		"SELECT platform, chat_id, thread_id, chat_type, notifier_profile, created_at"
		" FROM kanban_notify_subs WHERE task_id <> 'one'");
	/* of what came before nothing is told again, of what comes everything */
	ck_list("1", "SELECT count(*) FROM kanban_notify_subs s WHERE task_id <> 'one' AND"
		     " last_event_id >= (SELECT max(id) FROM task_events e"
		     "  WHERE e.task_id = s.task_id)");
	ck_list("[\"parent\"]", "SELECT json_extract(payload, '$.parents') FROM task_events"
				" WHERE kind = 'created'");
}
END_TEST

/* Zones and the days on which their clocks change: nine is nine. */
START_TEST(nine_in_another_zone)
{
	kit_board(KIT_SCHEDULED);
	series("done", "{\"calendar\": \"09:00 Europe/Berlin\", \"at\": 1}");
	/* Saturday, 24 October 2026, 12:00 UTC: that night summer time ends */
	kit.rq.now = 1792843200;
	promote();
	ck_assert_int_eq(kit.plan.deadline, 1792915200); /* 08:00 UTC */
	kit_sql("UPDATE tasks SET status = 'done'");
	kit.rq.now = 1792915200 + 60;
	promote();
	ck_assert_int_eq(kit.plan.deadline, 1792915200 + 86400);
}
END_TEST

START_TEST(only_what_ended_is_followed)
{
	static const char *const others[] = { "triage",  "todo",    "scheduled", "ready",
					      "running", "blocked", "review" };

	kit_board(0);
	series("ready", HOW("\"hourly\""));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		kit_sql("UPDATE tasks SET status = %Q", others[i]);
		promote();
		ck_assert_int_eq(kit_int("SELECT count(*) FROM tasks"), 1);
	}
	kit_sql("UPDATE tasks SET status = 'archived'");
	promote();
	ck_assert_int_eq(kit_int("SELECT count(*) FROM tasks"), 2);
}
END_TEST

/* Where the clock went back, what was served is not served again, unless it was far off. */
START_TEST(the_clock_goes_back)
{
	kit_board(0);
	series("done", "{\"calendar\": \"09:00\", \"at\": 1780045200}");
	kit.rq.now = NINE - 5;
	promote();
	ck_assert_int_eq(kit.plan.deadline, NINE + 86400);
	kit_sql("UPDATE tasks SET status = 'done'");
	kit.rq.now = NINE - 5 * 86400;
	promote();
	ck_assert_int_eq(kit.plan.deadline, NINE - 4 * 86400);
}
END_TEST

/* What a clock that was a year ahead left is put right, and not again and again. */
START_TEST(the_clock_was_ahead)
{
	int64_t events;

	kit_board(KIT_SCHEDULED);
	series("done", HOW("\"09:00\""));
	kit.rq.now = NINE + 365 * 86400 + 5;
	promote();
	ck_assert_int_eq(kit.plan.deadline, NINE + 366 * 86400);
	kit.rq.now = KIT_NOW;
	promote();
	ck_assert_int_eq(kit.plan.deadline, NINE);
	ck_list("1780045200", "SELECT scheduled_at FROM tasks WHERE id <> 'one'");
	events = kit_int("SELECT count(*) FROM task_events");
	promote();
	ck_assert_int_eq(kit_int("SELECT count(*) FROM task_events"), events);
	ck_assert_int_eq(kit.plan.deadline, NINE);
}
END_TEST

/* Whatever stands there ends the series with a word, once. */
START_TEST(no_calendar)
{
	static const char *const bad[] = { HOW("\"25:00\""), HOW("\"2020-01-01\""), HOW("7"),
					   "[]", "{" };

	kit_board(0);
	series("done", HOW("\"09:00\""));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kit_sql("DELETE FROM task_events");
		kit_event("one", "recurs", bad[i], 1);
		kit_sql("UPDATE tasks SET idempotency_key = 'every:k'");
		promote();
		ck_assert_int_eq(kit_int("SELECT count(*) FROM tasks"), 1);
		ck_list("-", "SELECT idempotency_key FROM tasks");
		ck_assert_str_eq(kit_kinds("one"), "recurs,recurs");
		ck_assert_uint_eq(kit.plan.n_notes, 1);
		promote();
		ck_assert_uint_eq(kit.plan.n_notes, 0);
	}
	/* a key of somebody's own is no series */
	kit_sql("DELETE FROM task_events; UPDATE tasks SET idempotency_key = 'every:own'");
	promote();
	ck_list("every:own", "SELECT idempotency_key FROM tasks");
}
END_TEST

START_TEST(a_board_without_the_columns)
{
	kit_board(KIT_LEGACY);
	kit_task("due", "scheduled", NULL);
	kit_event("due", "scheduled", "{\"at\": 5}", 1);
	kit_open();
	promote();
	ck_list("ready", "SELECT status FROM tasks");
}
END_TEST

KIT_SUITE_AGES("scheduled",
	       KIT_TESTS(when_its_time_has_come, without_a_time_it_stays,
			 the_column_where_there_is_one, parents_come_first, why_tells_the_time,
			 the_next_of_a_series, what_goes_along, nine_in_another_zone,
			 only_what_ended_is_followed, the_clock_goes_back, the_clock_was_ahead,
			 no_calendar),
	       KIT_TESTS(a_board_without_the_columns))
