/* Two claimants of one board: each event is handed out once. */
#include <check.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "board/edit.h"
#include "board/subs.h"
#include "db/db.h"
#include "kit/claims.h"
#include "kit/suite.h"
#include "tick/tick.h"

/* ---- two claimants ------------------------------------------------------------------- */

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
	ck_assert_int_eq(sqlite3_open(claims_path, &c), SQLITE_OK);
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
	ck_assert_int_eq(sqlite3_open(claims_path, &c), SQLITE_OK);
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

	for (size_t i = 0; i < claims_res.n_claims; i++)
		for (size_t k = 0; k < claims_res.claims[i].n_events; k++, n++)
			handed[claims_res.claims[i].events[k].id]++;
	return n;
}

START_TEST(test_race)
{
	pthread_t gw, wr;
	bool last = false;

	claims_sql("PRAGMA journal_mode = WAL");
	for (int i = 0; i < RACE_SUBS; i++) {
		char id[16];

		(void)snprintf(id, sizeof(id), "t_%d", i);
		claims_task(id, "ready");
		claims_sub(id, "1", NULL);
	}
	ck_assert_int_eq(pthread_create(&gw, NULL, gateway, NULL), 0);
	ck_assert_int_eq(pthread_create(&wr, NULL, writer, NULL), 0);
	while (!last) {
		last = atomic_load(&race_over);
		claims_ok();
		(void)race_take();
		/* now and then one fails to be delivered and is given back */
		if (claims_res.n_claims > 3) {
			struct subs_claim *c = &claims_res.claims[1];
			struct subs_op o = { .key = { c->task, c->platform, c->chat,
						      c->thread },
					     .verb = SUBS_REWIND,
					     .old = c->old,
					     .new = c->new };
			struct subs_result back = { 0 };
			struct subs_request only = claims_rq;

			only.look = false;
			only.ops = &o;
			only.n_ops = 1;
			ck_assert_int_eq(
				subs_run(claims_db, &claims_host, &only, &back, &claims_why),
				0);
			if (o.answer == SUBS_DONE)
				for (size_t k = 0; k < c->n_events; k++)
					handed[c->events[k].id]--;
			subs_result_deinit(&back);
		}
	}
	ck_assert_int_eq(pthread_join(wr, NULL), 0);
	ck_assert_int_eq(pthread_join(gw, NULL), 0);
	claims_ok();
	(void)race_take(); /* who got how many is the scheduler's choice; all of them is ours */
	for (size_t i = 1; i <= RACE_EVENTS; i++)
		ck_assert_msg(handed[i] == 1, "event %zu was handed out %u times", i,
			      handed[i]);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("subs_race");
	TCase *t = tcase_create("subs");

	tcase_add_checked_fixture(t, claims_setup, claims_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, test_race);
	suite_add_tcase(s, t);
	return s;
}
