/* Delivery when it is to stop, its board is gone, or what it is about to do cannot be written
 * down. */
#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "kit/chats.h"
#include "kit/delivery.h"
#include "kit/suite.h"
#include "util/fs.h"

/* ---- the outbox ---------------------------------------------------------------------- */

START_TEST(test_no_room)
{
	world.intent_fails = true;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	ck_assert_uint_eq(world.tries, 0);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	world.intent_fails = false;
	world.want[0] = world.look[0] = true;
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
}
END_TEST

/* Outcomes that cannot be written stop everything; nothing is sent twice when they can. */
START_TEST(test_unwritten)
{
	struct rlimit old, small;
	char id[16];

	for (int i = 0; i < 10; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "done", "42");
		add_event(0, id, "completed");
	}
	(void)notify_turn(world.n);
	delivery_visit(0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	small = old;
	small.rlim_cur = 300;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 20; i++) {
		(void)notify_turn(world.n);
		(void)uv_run(&world.loop, UV_RUN_NOWAIT);
		if (world.running) { /* the chat has it; only writing it down fails */
			struct rlimit free_one = old;

			ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &free_one), 0);
			(void)delivery_children();
			ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
		}
		while (world.jobs.count)
			(void)uv_run(&world.loop, UV_RUN_ONCE);
		world.mono += 500;
	}
	ck_assert_uint_eq(world.tries, 1);
	ck_assert(delivery_status().unwritten);
	ck_assert_uint_eq(delivery_logged("no notification is sent until it can be"), 1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	delivery_pass(120);
	ck_assert_uint_eq(world.tries, 10);
	ck_assert_uint_eq(delivery_status().sent, 10);
	ck_assert(!delivery_status().unwritten);
	ck_assert_uint_eq(delivery_logged("the outbox can be written again"), 1);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* A board that is gone answers nothing, so what is known decides. */
START_TEST(test_board_gone)
{
	const char **boards;

	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	(void)notify_turn(world.n);
	delivery_visit(0);
	world.absent[0] = true;
	delivery_settle();
	chats_got(MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert(notify_has_ops(world.n, "b"));
	boards = notify_boards(world.n);
	ck_assert_str_eq(boards[0], "b");
	ck_assert_ptr_null(boards[1]);
	free(boards);
	notify_board_gone(world.n, "b");
	delivery_settle();
	ck_assert(!notify_has_ops(world.n, "b"));
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* ---- stopping ------------------------------------------------------------------------ */

static void stopped(void *arg)
{
	(void)arg;
	world.stopped = true;
}

static bool hang_one(void)
{
	return world.running > 0;
}

static enum delivery_answer hang_42(const char *target, const char *text)
{
	(void)text;
	return strstr(target, ":42") ? WORLD_HANG : WORLD_TAKE;
}

START_TEST(test_stop)
{
	world.answer = hang_42;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 1);
	add_event(0, "t_2", "blocked");
	delivery_settle();
	ck_assert(hang_one());
	notify_stop(world.n, stopped, NULL);
	delivery_settle();
	ck_assert(!world.stopped); /* the child gets its time */
	world.answer = NULL;
	delivery_settle();
	ck_assert(world.stopped);
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	/* the other one is back on the board, for whoever comes next */
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	ck_assert_int_eq(cursor_of(0, "t_2"), 0);
	ck_assert_uint_eq(delivery_entries(), 0);
	delivery_reopen();
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_2 blocked"));
}
END_TEST

START_TEST(test_stop_hanging)
{
	world.answer = hang_42;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	notify_stop(world.n, stopped, NULL);
	delivery_pass(4);
	ck_assert(!world.stopped);
	delivery_pass(2);
	ck_assert(world.stopped);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	ck_assert_uint_eq(delivery_entries(), 0);
	/* that was no failure of the chat */
	world.answer = NULL;
	delivery_reopen();
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
}
END_TEST

/* Closed at once, children and all: the outbox has it. */
START_TEST(test_close)
{
	world.answer = hang_42;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_2", "blocked");
	delivery_settle();
	delivery_reopen();
	world.answer = NULL;
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked")
			  MSG("42", "⏸ [b] Kanban t_2 blocked"));
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_stop");
	TCase *t = tcase_create("notify");

	tcase_add_checked_fixture(t, delivery_setup, delivery_teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, test_no_room);
	tcase_add_test(t, test_unwritten);
	tcase_add_test(t, test_board_gone);
	tcase_add_test(t, test_stop);
	tcase_add_test(t, test_stop_hanging);
	tcase_add_test(t, test_close);
	suite_add_tcase(s, t);
	return s;
}
