/*
 * Subscriptions of a board: what a look claims, what it leaves alone, and that every event is
 * handed out exactly once however many read the board.
 */
#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/suite.h"

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "tick/tick.h"

#define NOW INT64_C(1800000000)

static char dir[256], path[300];
static struct db *db;
static struct error err;
static struct subs_request rq;
static struct subs_result res;

/* The seams: what they say, and what they were told. */
static bool owner_says;
static const char *foreign; /* a profile that is not ours */
static int intent_says;
static size_t intents, commits;
static int committed_with;

static bool owner(void *arg, struct error *why)
{
	(void)arg;
	if (!owner_says)
		(void)error_set(why, 1, "lost");
	return owner_says;
}

static const struct tick_outside outside = { .owner = owner };

static bool owns(void *arg, const char *profile)
{
	(void)arg;
	return !foreign || strcmp(profile ? profile : "", foreign) != 0;
}

static int claimed(void *arg, struct subs_claim *claims, size_t n, struct error *e)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		ck_assert_ptr_nonnull(claims[i].task);
	intents += n;
	if (intent_says)
		(void)error_set(e, intent_says, "no room");
	return intent_says;
}

static void committed(void *arg, struct subs_claim *claims, size_t n, int r)
{
	(void)arg;
	(void)claims;
	commits += n;
	committed_with = r;
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(name);
}

static struct db *open_board(void)
{
	const struct db_options opt = { .path = path, .busy_timeout_ms = 20000 };
	struct db *out = NULL;

	ck_assert_msg(db_open(&out, &opt, &err) == 0, "%s", err.text);
	return out;
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(dir, sizeof(dir), "%s/kb-subs-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/kanban.db", dir);
	ck_assert_msg(edit_create_board(path, false, &err) == 0, "%s", err.text);
	db = open_board();
	owner_says = true;
	rq = (struct subs_request){ .now = NOW,
				    .look = true,
				    .full = true,
				    .owns = owns,
				    .claimed = claimed,
				    .committed = committed };
}

static void teardown(void)
{
	subs_result_deinit(&res);
	db = db_free(db);
	ck_assert_int_eq(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void sql(const char *fmt, ...)
{
	char *message = NULL, *text;
	va_list ap;

	va_start(ap, fmt);
	text = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	sqlite3_exec(db_handle(db), text, NULL, NULL, &message);
	ck_assert_msg(!message, "%s: %s", text, message);
	sqlite3_free(text);
}

static int64_t value(const char *fmt, ...)
{
	sqlite3_stmt *stmt = NULL;
	int64_t v = -1;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	ck_assert_msg(sqlite3_prepare_v2(db_handle(db), text, -1, &stmt, NULL) == SQLITE_OK,
		      "%s: %s", text, sqlite3_errmsg(db_handle(db)));
	if (sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	ck_assert_int_eq(sqlite3_finalize(stmt), SQLITE_OK);
	sqlite3_free(text);
	return v;
}

static void task(const char *id, const char *status)
{
	sql("INSERT INTO tasks (id, title, status, assignee, result, created_at)"
	    " VALUES (%Q, 'title of %q', %Q, 'jimmy', 'result of %q', 1)",
	    id, id, status, id);
}

static int64_t event(const char *id, const char *kind, const char *payload)
{
	sql("INSERT INTO task_events (task_id, kind, payload, created_at)"
	    " VALUES (%Q, %Q, %Q, %lld)",
	    id, kind, payload, (long long)NOW);
	return value("SELECT max(id) FROM task_events");
}

static void sub(const char *id, const char *chat, const char *profile)
{
	sql("INSERT INTO kanban_notify_subs (task_id, platform, chat_id, notifier_profile,"
	    " created_at) VALUES (%Q, 'telegram', %Q, %Q, 5)",
	    id, chat, profile);
}

static int64_t cursor(const char *id)
{
	return value("SELECT last_event_id FROM kanban_notify_subs WHERE task_id = %Q", id);
}

static int run(void)
{
	int r;

	subs_result_deinit(&res);
	intents = commits = 0;
	err = (struct error)ERROR_NULL;
	r = subs_run(db, &outside, &rq, &res, &err);
	ck_assert(sqlite3_get_autocommit(db_handle(db)));
	return r;
}

static void ok(void)
{
	ck_assert_msg(run() == 0, "%s", err.text);
	ck_assert(res.looked || !rq.look);
}

/* ---- what is claimed ---------------------------------------------------------------------
 */

START_TEST(test_claim)
{
	int64_t a, b;

	task("t_1", "done");
	sub("t_1", "42", "Jimmy ");
	event("t_1", "claimed", NULL);
	a = event("t_1", "blocked", "{\"reason\":\"why\"}");
	event("t_1", "heartbeat", NULL);
	event("t_1", "unblocked", NULL);
	b = event("t_1", "completed", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_str_eq(res.claims[0].task, "t_1");
	ck_assert_str_eq(res.claims[0].platform, "telegram");
	ck_assert_str_eq(res.claims[0].chat, "42");
	ck_assert_str_eq(res.claims[0].thread, "");
	ck_assert_str_eq(res.claims[0].profile, "Jimmy ");
	ck_assert_str_eq(res.claims[0].title, "title of t_1");
	ck_assert_str_eq(res.claims[0].status, "done");
	ck_assert_str_eq(res.claims[0].assignee, "jimmy");
	ck_assert_str_eq(res.claims[0].result, "result of t_1");
	ck_assert_int_eq(res.claims[0].old, 0);
	ck_assert_int_eq(res.claims[0].new, b);
	ck_assert_uint_eq(res.claims[0].n_events, 3);
	ck_assert_int_eq(res.claims[0].events[0].id, a);
	ck_assert_str_eq(res.claims[0].events[0].kind, "blocked");
	ck_assert_str_eq(res.claims[0].events[0].payload, "{\"reason\":\"why\"}");
	ck_assert_int_eq(res.claims[0].events[0].at, NOW);
	ck_assert_str_eq(res.claims[0].events[1].kind, "unblocked");
	ck_assert_ptr_null(res.claims[0].events[1].payload);
	ck_assert(!res.claims[0].unsure);
	ck_assert_int_eq(cursor("t_1"), b);
	ck_assert_uint_eq(intents, 1);
	ck_assert_uint_eq(commits, 1);
	ck_assert_int_eq(committed_with, 0);
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert_uint_eq(intents, 0);
}
END_TEST

START_TEST(test_kinds)
{
	static const char *const sent[] = { "completed",
					    "blocked",
					    "gave_up",
					    "crashed",
					    "timed_out",
					    "review_requested",
					    "block_loop_detected",
					    "status" };
	static const char *const silent[] = { "archived", "unblocked" };
	static const char *const other[] = { "claimed", "spawned", "promoted", "",
					     "Completed" };
	int64_t id;

	task("t_1", "ready");
	sub("t_1", "42", NULL);
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		id = event("t_1", sent[i], NULL);
		ok();
		ck_assert_uint_eq(res.n_claims, 1);
		ck_assert_str_eq(res.claims[0].events[0].kind, sent[i]);
		ck_assert_int_eq(cursor("t_1"), id);
	}
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		id = event("t_1", silent[i], NULL);
		ok();
		ck_assert_uint_eq(res.n_claims, 0);
		ck_assert_uint_eq(res.passed, 1);
		ck_assert_int_eq(cursor("t_1"), id);
	}
	id = cursor("t_1");
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		event("t_1", other[i], NULL);
		ok();
		ck_assert_uint_eq(res.n_claims + res.passed, 0);
		ck_assert_int_eq(cursor("t_1"), id);
	}
}
END_TEST

/* Silent events alone end a subscription whose task is over. */
START_TEST(test_silent_end)
{
	task("t_1", "archived");
	task("t_2", "ready");
	sub("t_1", "42", NULL);
	sub("t_2", "42", NULL);
	event("t_1", "archived", NULL);
	event("t_2", "unblocked", NULL);
	ok();
	ck_assert_uint_eq(res.passed, 2);
	ck_assert_uint_eq(res.finished, 1);
	ck_assert_int_eq(value("SELECT count(*) FROM kanban_notify_subs"), 1);
	ck_assert_int_eq(cursor("t_1"), -1);
}
END_TEST

/* A task that is gone still has subscribers who were promised news. */
START_TEST(test_no_task)
{
	sub("t_1", "42", NULL);
	event("t_1", "completed", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_ptr_null(res.claims[0].title);
}
END_TEST

START_TEST(test_incremental)
{
	task("t_1", "ready");
	task("t_2", "ready");
	sub("t_1", "42", NULL);
	event("t_1", "blocked", NULL);
	event("t_2", "completed", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	rq.full = false;
	rq.after_event = res.last_event;
	rq.after_row = res.last_row;
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	/* an event after the last one seen */
	event("t_1", "status", "{\"status\":\"ready\"}");
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	rq.after_event = res.last_event;
	rq.after_row = res.last_row;
	/* a subscription to a task whose events are all old */
	sub("t_2", "42", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_str_eq(res.claims[0].task, "t_2");
	rq.after_event = res.last_event;
	rq.after_row = res.last_row;
	/* a cursor that was set back: only a full look sees it */
	sql("UPDATE kanban_notify_subs SET last_event_id = 0 WHERE task_id = 't_1'");
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	rq.full = true;
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_uint_eq(res.claims[0].n_events, 2);
}
END_TEST

/* The plan of the look between full ones: ranges of rowids and an index, never a scan. */
START_TEST(test_no_scan)
{
	sqlite3_stmt *s = NULL;
	char plan[4096] = "";
	bool found = false;

	event("t_0", "completed", NULL);
	rq.full = false;
	ok();
	for (sqlite3_stmt *k = NULL; (k = sqlite3_next_stmt(db_handle(db), k));) {
		char *text;

		if (!strstr(sqlite3_sql(k), "CROSS JOIN kanban_notify_subs"))
			continue;
		found = true;
		text = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sqlite3_sql(k));
		ck_assert_int_eq(sqlite3_prepare_v2(db_handle(db), text, -1, &s, NULL),
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

/* ---- what is left alone ------------------------------------------------------------------
 */

START_TEST(test_skips)
{
	task("t_1", "ready");
	sub("t_1", "1", "jimmy");
	sub("t_1", "2", "jimmy");
	sub("t_1", "3", "franky");
	sub("t_1", "4", NULL);
	sub("t_1", "5", NULL);
	sql("UPDATE kanban_notify_subs SET delivery_mode = 'wake' WHERE chat_id = '5'");
	sql("UPDATE kanban_notify_subs SET delivery_mode = 'notify+wake' WHERE chat_id = '3'");
	event("t_1", "completed", NULL);
	foreign = "jimmy";
	ok();
	ck_assert_uint_eq(res.n_claims, 2);
	ck_assert_str_eq(res.claims[0].chat, "3");
	ck_assert_str_eq(res.claims[1].chat, "4");
	ck_assert_uint_eq(res.n_skips, 2);
	ck_assert_str_eq(res.skips[0].profile, "jimmy");
	ck_assert_int_eq(res.skips[0].why, SUBS_NOT_OURS);
	ck_assert_uint_eq(res.skips[0].count, 2);
	ck_assert_int_eq(res.skips[0].oldest, NOW);
	ck_assert_str_eq(res.skips[1].profile, "");
	ck_assert_int_eq(res.skips[1].why, SUBS_WAKE);
	ck_assert_int_eq(value("SELECT count(*) FROM kanban_notify_subs"
			       " WHERE last_event_id = 0 AND chat_id IN ('1','2','5')"),
			 3);
}
END_TEST

/* A key that no command line can carry. */
START_TEST(test_no_text)
{
	task("t_1", "ready");
	event("t_1", "completed", NULL);
	sub("t_1", "1", NULL);
	sql("UPDATE kanban_notify_subs SET chat_id = CAST(x'66FF66' AS TEXT)");
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert_uint_eq(res.n_skips, 1);
	ck_assert_int_eq(res.skips[0].why, SUBS_NO_TEXT);
	sql("UPDATE kanban_notify_subs SET chat_id = CAST(x'660066' AS TEXT)");
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert_uint_eq(res.n_skips, 1);
}
END_TEST

START_TEST(test_hold)
{
	struct subs_hold holds[] = {
		{ .key = { "t_1", "telegram", "1", "" }, .until = NOW + 10 },
		{ .key = { "t_1", "telegram", "2", "" }, .until = NOW },
		{ .key = { "t_1", "telegram", "3", "" }, .until = INT64_MAX },
	};

	task("t_1", "ready");
	sub("t_1", "1", NULL);
	sub("t_1", "2", NULL);
	sub("t_1", "3", NULL);
	event("t_1", "completed", NULL);
	rq.holds = holds;
	rq.n_holds = 3;
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_str_eq(res.claims[0].chat, "2");
	ck_assert_int_eq(res.held_until, NOW + 10);
	rq.now = NOW + 10;
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_str_eq(res.claims[0].chat, "1");
	ck_assert_int_eq(res.held_until, 0);
}
END_TEST

START_TEST(test_hold_only)
{
	struct subs_hold hold = { .key = { "t_1", "telegram", "1", "" },
				  .until = NOW + 10,
				  .only = "crashed" };

	task("t_1", "ready");
	sub("t_1", "1", NULL);
	event("t_1", "crashed", NULL);
	event("t_1", "archived", NULL);
	rq.holds = &hold;
	rq.n_holds = 1;
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert_int_eq(res.held_until, NOW + 10);
	ck_assert_int_eq(cursor("t_1"), 0);
	event("t_1", "timed_out", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_uint_eq(res.claims[0].n_events, 3);
	/* somebody had a hand in it: what comes now is news */
	event("t_1", "unblocked", NULL);
	event("t_1", "crashed", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
}
END_TEST

/* Parked: left alone until the row is not what it was. */
START_TEST(test_hold_parked)
{
	struct subs_hold hold = { .key = { "t_1", "telegram", "1", "" },
				  .until = INT64_MAX,
				  .parked = true };
	int64_t id;

	task("t_1", "ready");
	sub("t_1", "1", NULL);
	id = event("t_1", "crashed", NULL);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	hold.row = res.claims[0].row;
	sql("UPDATE kanban_notify_subs SET last_event_id = 0");
	rq.holds = &hold;
	rq.n_holds = 1;
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert(!hold.gone);
	/* a change of the row alone: a look between full ones sees that, too */
	rq.full = false;
	rq.after_event = res.last_event;
	rq.after_row = res.last_row;
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	sql("UPDATE kanban_notify_subs SET notifier_profile = 'franky'");
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	rq.full = true;
	hold.row = res.claims[0].row;
	event("t_1", "crashed", NULL);
	ok(); /* the cursor is not where it was parked */
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_int_eq(res.claims[0].old, id);
	sql("DELETE FROM kanban_notify_subs");
	ok();
	ck_assert(hold.gone);
}
END_TEST

/* ---- what becomes of a claim -------------------------------------------------------------
 */

static enum subs_answer op(enum subs_verb verb, int64_t old, int64_t new)
{
	struct subs_op o = {
		.key = { "t_1", "telegram", "1", "" }, .verb = verb, .old = old, .new = new
	};

	rq.ops = &o;
	rq.n_ops = 1;
	rq.look = false;
	ok();
	ck_assert(res.answered);
	rq.n_ops = 0;
	rq.look = true;
	return o.answer;
}

START_TEST(test_ops)
{
	int64_t a, b;

	task("t_1", "running");
	sub("t_1", "1", NULL);
	a = event("t_1", "blocked", NULL);
	b = event("t_1", "completed", NULL);
	ok();
	ck_assert_int_eq(op(SUBS_CHECK, 0, b), SUBS_AT_NEW);
	ck_assert_int_eq(op(SUBS_CHECK, b, b + 1), SUBS_AT_OLD);
	ck_assert_int_eq(op(SUBS_CHECK, 0, a), SUBS_ELSEWHERE);
	ck_assert_int_eq(op(SUBS_REWIND, a, b), SUBS_DONE);
	ck_assert_int_eq(cursor("t_1"), a);
	ck_assert_int_eq(op(SUBS_REWIND, a, b), SUBS_AT_OLD);
	ck_assert_int_eq(op(SUBS_REWIND, 0, b), SUBS_ELSEWHERE);
	ck_assert_int_eq(cursor("t_1"), a);
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_uint_eq(res.claims[0].n_events, 1);
	/* finish: not while the task goes on, nor while anything waits */
	ck_assert_int_eq(op(SUBS_FINISH, 0, b), SUBS_AT_NEW);
	sql("UPDATE tasks SET status = 'done'");
	event("t_1", "claimed", NULL);
	a = event("t_1", "status", NULL);
	ck_assert_int_eq(op(SUBS_FINISH, 0, b), SUBS_AT_NEW);
	ck_assert_int_eq(op(SUBS_FINISH, 0, a), SUBS_ELSEWHERE);
	ok();
	ck_assert_int_eq(op(SUBS_FINISH, b, a), SUBS_DONE);
	ck_assert_uint_eq(res.finished, 1);
	ck_assert_int_eq(op(SUBS_FINISH, b, a), SUBS_GONE);
	ck_assert_int_eq(op(SUBS_REWIND, b, a), SUBS_GONE);
	ck_assert_int_eq(op(SUBS_CHECK, b, a), SUBS_GONE);
}
END_TEST

START_TEST(test_undone)
{
	task("t_1", "ready");
	sub("t_1", "1", NULL);
	event("t_1", "completed", NULL);
	intent_says = -ENOSPC;
	ck_assert_int_eq(run(), -ENOSPC);
	ck_assert_str_eq(err.text, "no room");
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert_uint_eq(intents, 1);
	ck_assert_uint_eq(commits, 0);
	ck_assert(!res.looked);
	ck_assert_int_eq(cursor("t_1"), 0);
	intent_says = 0;
	owner_says = false;
	ck_assert_int_eq(run(), DB_TRANSIENT);
	ck_assert(res.lease_lost);
	ck_assert_uint_eq(intents, 0);
	ck_assert_int_eq(cursor("t_1"), 0);
	owner_says = true;
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
}
END_TEST

/* ---- other releases, other sizes ---------------------------------------------------------
 */

START_TEST(test_first_release)
{
	sql("DROP TABLE kanban_notify_subs;"
	    "CREATE TABLE kanban_notify_subs (task_id TEXT NOT NULL, platform TEXT NOT NULL,"
	    " chat_id TEXT NOT NULL, thread_id TEXT NOT NULL DEFAULT '', user_id TEXT,"
	    " created_at INTEGER NOT NULL, last_event_id INTEGER NOT NULL DEFAULT 0,"
	    " PRIMARY KEY (task_id, platform, chat_id, thread_id));"
	    "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, thread_id, created_at)"
	    " VALUES ('t_1', 'telegram', '1', '7', 1)");
	task("t_1", "ready");
	event("t_1", "completed", NULL);
	db = db_free(db);
	db = open_board();
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_str_eq(res.claims[0].thread, "7");
	ck_assert_ptr_null(res.claims[0].profile);
	sql("UPDATE tasks SET status = 'done'");
	{
		struct subs_op o = { .key = { "t_1", "telegram", "1", "7" },
				     .verb = SUBS_FINISH,
				     .new = res.claims[0].new };

		rq.ops = &o;
		rq.n_ops = 1;
		ok();
		ck_assert_int_eq(o.answer, SUBS_DONE);
	}
}
END_TEST

START_TEST(test_no_table)
{
	struct subs_op o = { .key = { "t_1", "telegram", "1", "" }, .verb = SUBS_REWIND };

	sql("DROP TABLE kanban_notify_subs");
	db = db_free(db);
	db = open_board();
	rq.ops = &o;
	rq.n_ops = 1;
	ok();
	ck_assert_uint_eq(res.n_claims, 0);
	ck_assert_int_eq(o.answer, SUBS_GONE);
}
END_TEST

START_TEST(test_many)
{
	size_t total = 0;

	sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
	    " INSERT INTO kanban_notify_subs (task_id, platform, chat_id, created_at)"
	    " SELECT 't_' || i, 'telegram', '1', 1 FROM n");
	sql("INSERT INTO task_events (task_id, kind, created_at)"
	    " SELECT task_id, 'completed', 1 FROM kanban_notify_subs");
	ok();
	ck_assert_uint_eq(res.n_claims, 4096);
	ck_assert(res.more);
	total = res.n_claims;
	ok();
	ck_assert(!res.more);
	ck_assert_uint_eq(total + res.n_claims, 5000);
	ck_assert_int_eq(
		value("SELECT count(*) FROM kanban_notify_subs WHERE last_event_id = 0"), 0);
	/* one subscription with more events than are taken at a time */
	sql("INSERT INTO task_events (task_id, kind, created_at)"
	    " SELECT 't_7', 'status', 1 FROM kanban_notify_subs LIMIT 1500");
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_uint_eq(res.claims[0].n_events, 1000);
	ck_assert(res.more);
	ok();
	ck_assert_uint_eq(res.claims[0].n_events, 500);
	ck_assert(!res.more);
}
END_TEST

START_TEST(test_large_payload)
{
	task("t_1", "ready");
	sub("t_1", "1", NULL);
	sql("INSERT INTO task_events (task_id, kind, payload, created_at)"
	    " VALUES ('t_1', 'completed', printf('%%.*c', 2000000, 'x'), 1)");
	ok();
	ck_assert_uint_eq(res.n_claims, 1);
	ck_assert_ptr_null(res.claims[0].events[0].payload);
}
END_TEST

/* ---- two claimants ------------------------------------------------------------------------
 */

#define RACE_EVENTS 3000
#define RACE_SUBS   20

static _Atomic unsigned char handed[RACE_EVENTS + 1];
static atomic_bool race_over;

/* A gateway as the board contract has it: read, move by compare-and-swap, hand out. */
static void *gateway(void *arg)
{
	sqlite3 *c = NULL;
	sqlite3_stmt *read = NULL, *events = NULL, *move = NULL;
	bool last = false;

	(void)arg;
	ck_assert_int_eq(sqlite3_open(path, &c), SQLITE_OK);
	(void)sqlite3_busy_timeout(c, 20000);
	ck_assert_int_eq(sqlite3_prepare_v2(c,
					    "SELECT last_event_id FROM kanban_notify_subs"
					    " WHERE task_id = ?1",
					    -1, &read, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(
				 c, "SELECT id FROM task_events WHERE task_id = ?1 AND id > ?2",
				 -1, &events, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(c,
					    "UPDATE kanban_notify_subs SET last_event_id = ?3"
					    " WHERE task_id = ?1 AND last_event_id = ?2",
					    -1, &move, NULL),
			 SQLITE_OK);
	while (!last) {
		last = atomic_load(&race_over);
		for (int i = 0; i < RACE_SUBS; i++) {
			char id[16];
			int64_t old, ids[RACE_EVENTS], n = 0;

			(void)snprintf(id, sizeof(id), "t_%d", i);
			ck_assert_int_eq(sqlite3_exec(c, "BEGIN IMMEDIATE", NULL, NULL, NULL),
					 SQLITE_OK);
			sqlite3_bind_text(read, 1, id, -1, SQLITE_STATIC);
			ck_assert_int_eq(sqlite3_step(read), SQLITE_ROW);
			old = sqlite3_column_int64(read, 0);
			sqlite3_reset(read);
			sqlite3_bind_text(events, 1, id, -1, SQLITE_STATIC);
			sqlite3_bind_int64(events, 2, old);
			while (sqlite3_step(events) == SQLITE_ROW)
				ids[n++] = sqlite3_column_int64(events, 0);
			sqlite3_reset(events);
			if (n > 0) {
				sqlite3_bind_text(move, 1, id, -1, SQLITE_STATIC);
				sqlite3_bind_int64(move, 2, old);
				sqlite3_bind_int64(move, 3, ids[n - 1]);
				ck_assert_int_eq(sqlite3_step(move), SQLITE_DONE);
				sqlite3_reset(move);
			}
			ck_assert_int_eq(sqlite3_exec(c, "COMMIT", NULL, NULL, NULL),
					 SQLITE_OK);
			while (n > 0)
				handed[ids[--n]]++;
		}
	}
	sqlite3_finalize(read);
	sqlite3_finalize(events);
	sqlite3_finalize(move);
	sqlite3_close(c);
	return NULL;
}

static void *writer(void *arg)
{
	sqlite3 *c = NULL;
	sqlite3_stmt *add = NULL;

	(void)arg;
	ck_assert_int_eq(sqlite3_open(path, &c), SQLITE_OK);
	(void)sqlite3_busy_timeout(c, 20000);
	ck_assert_int_eq(
		sqlite3_prepare_v2(c,
				   "INSERT INTO task_events (task_id, kind, created_at)"
				   " VALUES ('t_' || ?1, 'status', 1)",
				   -1, &add, NULL),
		SQLITE_OK);
	for (int i = 0; i < RACE_EVENTS;) {
		ck_assert_int_eq(sqlite3_exec(c, "BEGIN IMMEDIATE", NULL, NULL, NULL),
				 SQLITE_OK);
		for (int k = 0; k < 10; k++, i++) {
			sqlite3_bind_int(add, 1, i % RACE_SUBS);
			ck_assert_int_eq(sqlite3_step(add), SQLITE_DONE);
			sqlite3_reset(add);
		}
		ck_assert_int_eq(sqlite3_exec(c, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	}
	sqlite3_finalize(add);
	sqlite3_close(c);
	atomic_store(&race_over, true);
	return NULL;
}

static size_t race_take(void)
{
	size_t n = 0;

	for (size_t i = 0; i < res.n_claims; i++)
		for (size_t k = 0; k < res.claims[i].n_events; k++, n++)
			handed[res.claims[i].events[k].id]++;
	return n;
}

START_TEST(test_race)
{
	pthread_t gw, wr;
	bool last = false;

	sql("PRAGMA journal_mode = WAL");
	for (int i = 0; i < RACE_SUBS; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "t_%d", i);
		task(id, "ready");
		sub(id, "1", NULL);
	}
	ck_assert_int_eq(pthread_create(&gw, NULL, gateway, NULL), 0);
	ck_assert_int_eq(pthread_create(&wr, NULL, writer, NULL), 0);
	while (!last) {
		last = atomic_load(&race_over);
		ok();
		(void)race_take();
		/* now and then one fails to be delivered and is given back */
		if (res.n_claims > 3) {
			struct subs_claim *c = &res.claims[1];
			struct subs_op o = { .key = { c->task, c->platform, c->chat,
						      c->thread },
					     .verb = SUBS_REWIND,
					     .old = c->old,
					     .new = c->new };
			struct subs_result back = { 0 };
			struct subs_request only = rq;

			only.look = false;
			only.ops = &o;
			only.n_ops = 1;
			ck_assert_int_eq(subs_run(db, &outside, &only, &back, &err), 0);
			if (o.answer == SUBS_DONE)
				for (size_t k = 0; k < c->n_events; k++)
					handed[c->events[k].id]--;
			subs_result_deinit(&back);
		}
	}
	ck_assert_int_eq(pthread_join(wr, NULL), 0);
	ck_assert_int_eq(pthread_join(gw, NULL), 0);
	ok();
	(void)race_take(); /* who got how many is the scheduler's choice; all of them is ours */
	for (size_t i = 1; i <= RACE_EVENTS; i++)
		ck_assert_msg(handed[i] == 1, "event %zu was handed out %u times", i,
			      handed[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("subs");
	TCase *t = tcase_create("subs");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_claim);
	tcase_add_test(t, test_kinds);
	tcase_add_test(t, test_silent_end);
	tcase_add_test(t, test_no_task);
	tcase_add_test(t, test_incremental);
	tcase_add_test(t, test_no_scan);
	tcase_add_test(t, test_skips);
	tcase_add_test(t, test_no_text);
	tcase_add_test(t, test_hold);
	tcase_add_test(t, test_hold_only);
	tcase_add_test(t, test_hold_parked);
	tcase_add_test(t, test_ops);
	tcase_add_test(t, test_undone);
	tcase_add_test(t, test_first_release);
	tcase_add_test(t, test_no_table);
	tcase_add_test(t, test_many);
	tcase_add_test(t, test_large_payload);
	tcase_add_test(t, test_race);
	suite_add_tcase(s, t);
	return suite_main(s);
}
