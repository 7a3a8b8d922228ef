/* What becomes of a claim: done, taken back, purged; other releases, other sizes. */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "kit/claims.h"
#include "kit/suite.h"
#include "tick/tick.h"

static bool claims_owns_none(void *arg, const char *profile)
{
	(void)arg;
	(void)profile;
	return false;
}

/* ---- what becomes of a claim --------------------------------------------------------- */

static enum subs_answer claims_op(enum subs_verb verb, int64_t old, int64_t new)
{
	struct subs_op o = {
		.key = { "t_1", "telegram", "1", "" }, .verb = verb, .old = old, .new = new
	};

	claims_rq.ops = &o;
	claims_rq.n_ops = 1;
	claims_rq.look = false;
	claims_ok();
	ck_assert(claims_res.answered);
	claims_rq.n_ops = 0;
	claims_rq.look = true;
	return o.answer;
}

START_TEST(test_ops)
{
	int64_t a, b;

	claims_task("t_1", "running");
	claims_sub("t_1", "1", NULL);
	a = claims_event("t_1", "blocked", NULL);
	b = claims_event("t_1", "completed", NULL);
	claims_ok();
	ck_assert_int_eq(claims_op(SUBS_CHECK, 0, b), SUBS_AT_NEW);
	ck_assert_int_eq(claims_op(SUBS_CHECK, b, b + 1), SUBS_AT_OLD);
	ck_assert_int_eq(claims_op(SUBS_CHECK, 0, a), SUBS_ELSEWHERE);
	ck_assert_int_eq(claims_op(SUBS_REWIND, a, b), SUBS_DONE);
	ck_assert_int_eq(claims_cursor("t_1"), a);
	ck_assert_int_eq(claims_op(SUBS_REWIND, a, b), SUBS_AT_OLD);
	ck_assert_int_eq(claims_op(SUBS_REWIND, 0, b), SUBS_ELSEWHERE);
	ck_assert_int_eq(claims_cursor("t_1"), a);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_uint_eq(claims_res.claims[0].n_events, 1);
	/* finish: not while the task goes on, nor while anything waits */
	ck_assert_int_eq(claims_op(SUBS_FINISH, 0, b), SUBS_AT_NEW);
	claims_sql("UPDATE tasks SET status = 'done'");
	claims_event("t_1", "claimed", NULL);
	a = claims_event("t_1", "status", NULL);
	ck_assert_int_eq(claims_op(SUBS_FINISH, 0, b), SUBS_AT_NEW);
	ck_assert_int_eq(claims_op(SUBS_FINISH, 0, a), SUBS_ELSEWHERE);
	claims_ok();
	ck_assert_int_eq(claims_op(SUBS_FINISH, b, a), SUBS_DONE);
	ck_assert_uint_eq(claims_res.finished, 1);
	ck_assert_int_eq(claims_op(SUBS_FINISH, b, a), SUBS_GONE);
	ck_assert_int_eq(claims_op(SUBS_REWIND, b, a), SUBS_GONE);
	ck_assert_int_eq(claims_op(SUBS_CHECK, b, a), SUBS_GONE);
}
END_TEST

/* Where done can be reopened, a subscription goes with the archive only. */
START_TEST(test_ops_reopens)
{
	int64_t a;

	claims_sql(
		"ALTER TABLE kanban_notify_subs ADD COLUMN last_ping_event_id INTEGER NOT NULL "
		"DEFAULT 0;"
		"ALTER TABLE kanban_notify_subs ADD COLUMN user_id_alt TEXT");
	claims_db = db_free(claims_db); /* columns are read once per open */
	claims_db = claims_open();
	claims_task("t_1", "done");
	claims_sub("t_1", "1", NULL);
	a = claims_event("t_1", "completed", NULL);
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_int_eq(claims_op(SUBS_FINISH, 0, a), SUBS_AT_NEW);
	ck_assert_int_eq(claims_cursor("t_1"), a);
	claims_sql("UPDATE tasks SET status = 'archived'");
	ck_assert_int_eq(claims_op(SUBS_FINISH, 0, a), SUBS_DONE);
	ck_assert_int_eq(claims_cursor("t_1"), -1);
}
END_TEST

/* Where they do not go with done, they go when nothing happened for long and nothing waits. */
START_TEST(test_purge)
{
	static const char *const ids[] = { "t_1", "t_2", "t_3", "t_4", "t_5" };
	static const char *const statuses[] = { "done", "blocked", "ready", "done", "done" };

	for (size_t i = 0; i < 5; i++) {
		claims_task(ids[i], statuses[i]);
		claims_sub(ids[i], "1", NULL);
		claims_event(ids[i], "completed", NULL);
	}
	claims_ok(); /* all told */
	claims_sql("UPDATE task_events SET created_at = 100");
	claims_sql("UPDATE task_events SET created_at = 5000 WHERE task_id = 't_4'");
	claims_rq.purge_before = 1000;
	claims_ok();
	ck_assert_int_eq(claims_value("SELECT count(*) FROM kanban_notify_subs"),
			 5); /* of August */
	claims_sql("ALTER TABLE kanban_notify_subs ADD COLUMN last_ping_event_id INTEGER");
	claims_db = db_free(claims_db);
	claims_db = claims_open();
	claims_rq.owns = claims_owns_none;
	claims_sql(
		"INSERT INTO task_events (task_id, kind, created_at) VALUES ('t_5', 'status', "
		"100)");
	claims_ok();
	ck_assert_uint_eq(claims_res.purged, 2);
	ck_assert_int_eq(claims_cursor("t_1"), -1);
	ck_assert_int_eq(claims_cursor("t_2"), -1);
	ck_assert_int_eq(claims_value("SELECT count(*) FROM kanban_notify_subs"), 3);
	claims_ok();
	ck_assert_uint_eq(claims_res.purged, 0);
}
END_TEST

START_TEST(test_undone)
{
	claims_task("t_1", "ready");
	claims_sub("t_1", "1", NULL);
	claims_event("t_1", "completed", NULL);
	claims_intent_says = -ENOSPC;
	ck_assert_int_eq(claims_run(), -ENOSPC);
	ck_assert_str_eq(claims_why.text, "no room");
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert_uint_eq(claims_intents, 1);
	ck_assert_uint_eq(claims_commits, 0);
	ck_assert(!claims_res.looked);
	ck_assert_int_eq(claims_cursor("t_1"), 0);
	claims_intent_says = 0;
	claims_owner_says = false;
	ck_assert_int_eq(claims_run(), DB_TRANSIENT);
	ck_assert(claims_res.lease_lost);
	ck_assert_uint_eq(claims_intents, 0);
	ck_assert_int_eq(claims_cursor("t_1"), 0);
	claims_owner_says = true;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
}
END_TEST

/* ---- other releases, other sizes ----------------------------------------------------- */

START_TEST(test_first_release)
{
	claims_sql("DROP TABLE kanban_notify_subs;"
		   "CREATE TABLE kanban_notify_subs (task_id TEXT NOT NULL, platform TEXT NOT "
		   "NULL,"
		   " chat_id TEXT NOT NULL, thread_id TEXT NOT NULL DEFAULT '', user_id TEXT,"
		   " created_at INTEGER NOT NULL, last_event_id INTEGER NOT NULL DEFAULT 0,"
		   " PRIMARY KEY (task_id, platform, chat_id, thread_id));"
		   "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, thread_id, "
		   "created_at)"
		   " VALUES ('t_1', 'telegram', '1', '7', 1)");
	claims_task("t_1", "ready");
	claims_event("t_1", "completed", NULL);
	claims_db = db_free(claims_db);
	claims_db = claims_open();
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_str_eq(claims_res.claims[0].thread, "7");
	ck_assert_ptr_null(claims_res.claims[0].profile);
	claims_sql("UPDATE tasks SET status = 'done'");
	{
		struct subs_op o = { .key = { "t_1", "telegram", "1", "7" },
				     .verb = SUBS_FINISH,
				     .new = claims_res.claims[0].new };

		claims_rq.ops = &o;
		claims_rq.n_ops = 1;
		claims_ok();
		ck_assert_int_eq(o.answer, SUBS_DONE);
	}
}
END_TEST

START_TEST(test_no_table)
{
	struct subs_op o = { .key = { "t_1", "telegram", "1", "" }, .verb = SUBS_REWIND };

	claims_sql("DROP TABLE kanban_notify_subs");
	claims_db = db_free(claims_db);
	claims_db = claims_open();
	claims_rq.ops = &o;
	claims_rq.n_ops = 1;
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 0);
	ck_assert_int_eq(o.answer, SUBS_GONE);
}
END_TEST

START_TEST(test_many)
{
	size_t total = 0;

	claims_sql(
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
		" INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at)"
		" SELECT 't_' || i, 'telegram', '1', 1 FROM n");
	claims_sql("INSERT INTO task_events (task_id, kind, created_at)"
		   " SELECT task_id, 'completed', 1 FROM kanban_notify_subs");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 4096);
	ck_assert(claims_res.more);
	total = claims_res.n_claims;
	claims_ok();
	ck_assert(!claims_res.more);
	ck_assert_uint_eq(total + claims_res.n_claims, 5000);
	ck_assert_int_eq(
		claims_value("SELECT count(*) FROM kanban_notify_subs WHERE last_event_id = 0"),
		0);
	/* one subscription with more events than are taken at a time */
	claims_sql("INSERT INTO task_events (task_id, kind, created_at)"
		   " SELECT 't_7', 'status', 1 FROM kanban_notify_subs LIMIT 1500");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_uint_eq(claims_res.claims[0].n_events, 1000);
	ck_assert(claims_res.more);
	claims_ok();
	ck_assert_uint_eq(claims_res.claims[0].n_events, 500);
	ck_assert(!claims_res.more);
}
END_TEST

START_TEST(test_large_payload)
{
	claims_task("t_1", "ready");
	claims_sub("t_1", "1", NULL);
	claims_sql("INSERT INTO task_events (task_id, kind, payload, created_at)"
		   " VALUES ('t_1', 'completed', printf('%%.*c', 2000000, 'x'), 1)");
	claims_ok();
	ck_assert_uint_eq(claims_res.n_claims, 1);
	ck_assert_ptr_null(claims_res.claims[0].events[0].payload);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("subs_after");
	TCase *t = tcase_create("subs");

	tcase_add_checked_fixture(t, claims_setup, claims_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_ops);
	tcase_add_test(t, test_ops_reopens);
	tcase_add_test(t, test_purge);
	tcase_add_test(t, test_undone);
	tcase_add_test(t, test_first_release);
	tcase_add_test(t, test_no_table);
	tcase_add_test(t, test_many);
	tcase_add_test(t, test_large_payload);
	suite_add_tcase(s, t);
	return s;
}
