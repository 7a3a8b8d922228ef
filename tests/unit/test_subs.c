/* Which events of a subscription are claimed, and which are left alone. */
#include <check.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "kit/claims.h"
#include "kit/suite.h"
#include "tick/tick.h"

/* ---- what is claimed ----------------------------------------------------------------- */

START_TEST(test_claim)
{
	int64_t a, b;

	claims_task("t_1", "done");
	claims_sub("t_1", "42", "Jimmy ");
	claims_event("t_1", "claimed", NULL);
	a = claims_event("t_1", "blocked", "{\"reason\":\"why\"}");
	claims_event("t_1", "heartbeat", NULL);
	claims_event("t_1", "unblocked", NULL);
	b = claims_event("t_1", "completed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_str_eq(claims_res.claims[0].task, "t_1");
	ck_assert_str_eq(claims_res.claims[0].platform, "telegram");
	ck_assert_str_eq(claims_res.claims[0].chat, "42");
	ck_assert_str_eq(claims_res.claims[0].thread, "");
	ck_assert_str_eq(claims_res.claims[0].profile, "Jimmy ");
	ck_assert_str_eq(claims_res.claims[0].title, "title of t_1");
	ck_assert_str_eq(claims_res.claims[0].status, "done");
	ck_assert_str_eq(claims_res.claims[0].assignee, "jimmy");
	ck_assert_str_eq(claims_res.claims[0].result, "result of t_1");
	ck_assert_int_eq(claims_res.claims[0].old, 0);
	ck_assert_int_eq(claims_res.claims[0].new, b);
	ck_assert_uint_eq(claims_res.claims[0].n_events, 3);
	ck_assert_int_eq(claims_res.claims[0].events[0].id, a);
	ck_assert_str_eq(claims_res.claims[0].events[0].kind, "blocked");
	ck_assert_str_eq(claims_res.claims[0].events[0].payload, "{\"reason\":\"why\"}");
	ck_assert_int_eq(claims_res.claims[0].events[0].at, NOW);
	ck_assert_str_eq(claims_res.claims[0].events[1].kind, "unblocked");
	ck_assert_ptr_null(claims_res.claims[0].events[1].payload);
	ck_assert(!claims_res.claims[0].unsure);
	ck_assert_int_eq(claims_cursor("t_1"), b);
	ck_assert_uint_eq(claims_intents, 1);
	ck_assert_uint_eq(claims_commits, 1);
	ck_assert_int_eq(claims_committed_with, 0);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert_uint_eq(claims_intents, 0);
}
END_TEST

START_TEST(test_kinds)
{
	static const char *const sent[] = {
		"completed", "blocked",          "gave_up",           "crashed",
		"timed_out", "review_requested", "changes_requested", "block_loop_detected",
		"status"
	};
	static const char *const silent[] = { "archived", "unblocked" };
	static const char *const other[] = { "claimed", "spawned", "promoted", "",
					     "Completed" };
	int64_t id;

	claims_task("t_1", "ready");
	claims_sub("t_1", "42", NULL);
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		id = claims_event("t_1", sent[i], NULL);
		claims_ok();
		ck_assert_uint_eq(claims_res.n_claims, 1);
		ck_assert_str_eq(claims_res.claims[0].events[0].kind, sent[i]);
		ck_assert_int_eq(claims_cursor("t_1"), id);
	}
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		id = claims_event("t_1", silent[i], NULL);
		claims_ok();
		ck_assert_uint_eq(claims_res.n_claims, 0);
		ck_assert_uint_eq(claims_res.passed, 1);
		ck_assert_int_eq(claims_cursor("t_1"), id);
	}
	id = claims_cursor("t_1");
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		claims_event("t_1", other[i], NULL);
		claims_ok();
		ck_assert_uint_eq(claims_res.n_claims + claims_res.passed, 0);
		ck_assert_int_eq(claims_cursor("t_1"), id);
	}
}
END_TEST

/* Sessions that tell themselves: their rows are nobody else's, and nobody is missed there. */
START_TEST(test_elsewhere)
{
	static const char *const platforms[] = { "tui", "cli", "api_server", " TUI ",
						 "webhook" };

	claims_task("t_1", "ready");
	for (size_t i = 0; i < sizeof(platforms) / sizeof(platforms[0]); i++)
		claims_sql("INSERT INTO kanban_notify_subs (task_id, platform, chat_id, "
			   "created_at)"
			   " VALUES ('t_1', %Q, 's', 5)",
			   platforms[i]);
	claims_sql(
		"INSERT INTO kanban_notify_subs (task_id, platform, chat_id, notifier_profile,"
		" created_at) VALUES ('t_1', 'tui', 'other', 'anna', 5)"); /* not ours either */
	claims_event("t_1", "completed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims + claims_res.n_skips + claims_res.passed, 0);
	ck_assert_int_eq(
		claims_value("SELECT count(*) FROM kanban_notify_subs WHERE last_event_id = 0"),
		(int64_t)(sizeof(platforms) / sizeof(platforms[0])) + 1);
}
END_TEST

/* Silent events alone end a subscription whose task is over. */
START_TEST(test_silent_end)
{
	claims_task("t_1", "archived");
	claims_task("t_2", "ready");
	claims_sub("t_1", "42", NULL);
	claims_sub("t_2", "42", NULL);
	claims_event("t_1", "archived", NULL);
	claims_event("t_2", "unblocked", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.passed, 2);
	ck_assert_uint_eq(claims_res.finished, 1);
	ck_assert_int_eq(claims_value("SELECT count(*) FROM kanban_notify_subs"), 1);
	ck_assert_int_eq(claims_cursor("t_1"), -1);
}
END_TEST

/* A task that is gone still has subscribers who were promised news. */
START_TEST(test_no_task)
{
	claims_sub("t_1", "42", NULL);
	claims_event("t_1", "completed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_ptr_null(claims_res.claims[0].title);
}
END_TEST

START_TEST(test_incremental)
{
	claims_task("t_1", "ready");
	claims_task("t_2", "ready");
	claims_sub("t_1", "42", NULL);
	claims_event("t_1", "blocked", NULL);
	claims_event("t_2", "completed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	claims_rq.full = false;
	claims_rq.after_event = claims_res.last_event;
	claims_rq.after_row = claims_res.last_row;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	/* an event after the last one seen */
	claims_event("t_1", "status", "{\"status\":\"ready\"}");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	claims_rq.after_event = claims_res.last_event;
	claims_rq.after_row = claims_res.last_row;
	/* a subscription to a task whose events are all old */
	claims_sub("t_2", "42", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_str_eq(claims_res.claims[0].task, "t_2");
	claims_rq.after_event = claims_res.last_event;
	claims_rq.after_row = claims_res.last_row;
	/* a cursor that was set back: only a full look sees it */
	claims_sql("UPDATE kanban_notify_subs SET last_event_id = 0 WHERE task_id = 't_1'");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	claims_rq.full = true;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_uint_eq(claims_res.claims[0].n_events, 2);
}
END_TEST

/* The plan of the look between full ones: ranges of rowids and an index, never a scan. */
START_TEST(test_no_scan)
{
	sqlite3_stmt *s = NULL;
	char plan[4096] = "";
	bool found = false;

	claims_event("t_0", "completed", NULL);
	claims_rq.full = false;
	claims_ok();
	for (sqlite3_stmt *k = NULL; (k = sqlite3_next_stmt(db_handle(claims_db), k));) {
		char *text;

		if (!strstr(sqlite3_sql(k), "CROSS JOIN kanban_notify_subs"))
			continue;
		found = true;
		text = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sqlite3_sql(k));
		ck_assert_int_eq(sqlite3_prepare_v2(db_handle(claims_db), text, -1, &s, NULL),
				 SQLITE_OK);
		sqlite3_free(text);
		while (sqlite3_step(s) == SQLITE_ROW) {
			size_t n = strlen(plan);

			(void)snprintf(plan + n, sizeof(plan) - n, "%s\n",
				       sqlite3_column_text(s, 3));
		}
		ck_assert_int_eq(sqlite3_finalize(s), SQLITE_OK);
		break;
	}
	ck_assert(found);
	ck_assert_msg(!strstr(plan, "SCAN e") && !strstr(plan, "SCAN n") &&
			      !strstr(plan, "SCAN s"),
		      "%s", plan);
}
END_TEST

/* ---- what is left alone -------------------------------------------------------------- */

START_TEST(test_skips)
{
	claims_task("t_1", "ready");
	claims_sub("t_1", "1", "jimmy");
	claims_sub("t_1", "2", "jimmy");
	claims_sub("t_1", "3", "franky");
	claims_sub("t_1", "4", NULL);
	claims_sub("t_1", "5", NULL);
	claims_sql("UPDATE kanban_notify_subs SET delivery_mode = 'wake' WHERE chat_id = '5'");
	claims_sql("UPDATE kanban_notify_subs SET delivery_mode = 'notify+wake' WHERE chat_id "
		   "= '3'");
	claims_event("t_1", "completed", NULL);
	claims_foreign = "jimmy";
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 2);
	ck_assert_str_eq(claims_res.claims[0].chat, "3");
	ck_assert_str_eq(claims_res.claims[1].chat, "4");
	ck_assert_uint_eq(claims_res.n_skips, 2);
	ck_assert_str_eq(claims_res.skips[0].profile, "jimmy");
	ck_assert_int_eq(claims_res.skips[0].why, SUBS_NOT_OURS);
	ck_assert_uint_eq(claims_res.skips[0].count, 2);
	ck_assert_int_eq(claims_res.skips[0].oldest, NOW);
	ck_assert_str_eq(claims_res.skips[1].profile, "");
	ck_assert_int_eq(claims_res.skips[1].why, SUBS_WAKE);
	ck_assert_int_eq(claims_value("SELECT count(*) FROM kanban_notify_subs"
				      " WHERE last_event_id = 0 AND chat_id IN ('1','2','5')"),
			 3);
}
END_TEST

/* A key that no command line can carry. */
START_TEST(test_no_text)
{
	claims_task("t_1", "ready");
	claims_event("t_1", "completed", NULL);
	claims_sub("t_1", "1", NULL);
	claims_sql("UPDATE kanban_notify_subs SET chat_id = CAST(x'66FF66' AS TEXT)");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert_uint_eq(claims_res.n_skips, 1);
	ck_assert_int_eq(claims_res.skips[0].why, SUBS_NO_TEXT);
	claims_sql("UPDATE kanban_notify_subs SET chat_id = CAST(x'660066' AS TEXT)");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert_uint_eq(claims_res.n_skips, 1);
}
END_TEST

START_TEST(test_hold)
{
	struct subs_hold holds[] = {
		{ .key = { "t_1", "telegram", "1", "" }, .until = NOW + 10 },
		{ .key = { "t_1", "telegram", "2", "" }, .until = NOW },
		{ .key = { "t_1", "telegram", "3", "" }, .until = INT64_MAX },
	};

	claims_task("t_1", "ready");
	claims_sub("t_1", "1", NULL);
	claims_sub("t_1", "2", NULL);
	claims_sub("t_1", "3", NULL);
	claims_event("t_1", "completed", NULL);
	claims_rq.holds = holds;
	claims_rq.n_holds = 3;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_str_eq(claims_res.claims[0].chat, "2");
	ck_assert_int_eq(claims_res.held_until, NOW + 10);
	claims_rq.now = NOW + 10;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_str_eq(claims_res.claims[0].chat, "1");
	ck_assert_int_eq(claims_res.held_until, 0);
}
END_TEST

START_TEST(test_hold_only)
{
	struct subs_hold hold = { .key = { "t_1", "telegram", "1", "" },
				  .until = NOW + 10,
				  .only = "crashed" };

	claims_task("t_1", "ready");
	claims_sub("t_1", "1", NULL);
	claims_event("t_1", "crashed", NULL);
	claims_event("t_1", "archived", NULL);
	claims_rq.holds = &hold;
	claims_rq.n_holds = 1;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert_int_eq(claims_res.held_until, NOW + 10);
	ck_assert_int_eq(claims_cursor("t_1"), 0);
	claims_event("t_1", "timed_out", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_uint_eq(claims_res.claims[0].n_events, 3);
	/* somebody had a hand in it: what comes now is news */
	claims_event("t_1", "unblocked", NULL);
	claims_event("t_1", "crashed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
}
END_TEST

/* Parked: left alone until the row is not what it was. */
START_TEST(test_hold_parked)
{
	struct subs_hold hold = { .key = { "t_1", "telegram", "1", "" },
				  .until = INT64_MAX,
				  .parked = true };
	int64_t id;

	claims_task("t_1", "ready");
	claims_sub("t_1", "1", NULL);
	id = claims_event("t_1", "crashed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	hold.row = claims_res.claims[0].row;
	claims_sql("UPDATE kanban_notify_subs SET last_event_id = 0");
	claims_rq.holds = &hold;
	claims_rq.n_holds = 1;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert(!hold.gone);
	/* a change of the row alone: a look between full ones sees that, too */
	claims_rq.full = false;
	claims_rq.after_event = claims_res.last_event;
	claims_rq.after_row = claims_res.last_row;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	claims_sql("UPDATE kanban_notify_subs SET notifier_profile = 'franky'");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	claims_rq.full = true;
	hold.row = claims_res.claims[0].row;
	claims_event("t_1", "crashed", NULL);
	claims_ok(); /* the cursor is not where it was parked */
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_int_eq(claims_res.claims[0].old, id);
	claims_sql("DELETE FROM kanban_notify_subs");
	claims_ok();
	ck_assert(hold.gone);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("subs");
	TCase *t = tcase_create("subs");

	tcase_add_checked_fixture(t, claims_setup, claims_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_claim);
	tcase_add_test(t, test_kinds);
	tcase_add_test(t, test_elsewhere);
	tcase_add_test(t, test_silent_end);
	tcase_add_test(t, test_no_task);
	tcase_add_test(t, test_incremental);
	tcase_add_test(t, test_no_scan);
	tcase_add_test(t, test_skips);
	tcase_add_test(t, test_no_text);
	tcase_add_test(t, test_hold);
	tcase_add_test(t, test_hold_only);
	tcase_add_test(t, test_hold_parked);
	suite_add_tcase(s, t);
	return s;
}
