/* Delivery while chats fail: back-off, parking, what cannot be said. */
#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/chats.h"
#include "kit/delivery.h"
#include "kit/suite.h"
#include "util/fs.h"

/* ---- failures ------------------------------------------------------------------------ */

static void since_is(uint64_t from, int64_t want)
{
	int64_t s = (int64_t)(world.mono - from) / 1000;

	ck_assert_msg(s >= want - 1 && s <= want + 7, "after %lld s, not %lld", (long long)s,
		      (long long)want);
}

START_TEST(test_back_off)
{
	static const int64_t gaps[] = {
		5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600
	};

	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	delivery_settle();
	for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		uint64_t from = world.mono;

		ck_assert_uint_eq(world.tries, i + 1);
		ck_assert_int_eq(cursor_of(0, "t_1"), 0);
		ck_assert_uint_eq(delivery_status().retrying, 1);
		ck_assert_str_eq(delivery_status().error, "chat says no");
		chat_next_try();
		since_is(from, gaps[i]);
	}
	/* told once when it begins, once when it ends */
	ck_assert_uint_eq(delivery_logged("does not take notifications: chat says no"), 1);
	chat_down = false;
	chat_next_try();
	chats_got(MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert_uint_eq(delivery_logged("takes notifications again"), 1);
	ck_assert_uint_eq(delivery_status().retrying, 0);
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 0);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* A restart forgets neither how often it failed nor since when. */
START_TEST(test_back_off_restart)
{
	uint64_t from;

	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	delivery_settle();
	chat_next_try();
	chat_next_try();
	from = world.mono;
	delivery_pass(2);
	delivery_reopen();
	delivery_settle();
	ck_assert_uint_eq(world.tries, 3);
	chat_next_try();
	since_is(from, 20);
}
END_TEST

/* Of several messages those that got through are not sent again. */
START_TEST(test_partial)
{
	world.answer = chat_moody;
	chat_poison = "timed out";
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_1", "timed_out");
	add_event(0, "t_1", "completed");
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	chat_poison = NULL;
	chat_next_try();
	chats_got(MSG("42", "⏱ [b] Kanban t_1 timed out (max_runtime=0s); will retry")
			  MSG("42", "✔ [b] Kanban t_1 done — t_1"));
}
END_TEST

/* The order holds through a hiccup. */
START_TEST(test_hiccup)
{
	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 2);
	add_event_at(0, "t_2", "blocked", NULL, world.wall - 1);
	delivery_settle();
	ck_assert_uint_eq(world.tries, 1);
	delivery_pass(4);
	ck_assert_uint_eq(world.tries, 1);
	chat_down = false;
	delivery_pass(4);
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked")
			  MSG("42", "⏸ [b] Kanban t_2 blocked"));
}
END_TEST

/* A chat that takes nothing is not promised more: whoever else serves it may have that. */
START_TEST(test_back_off_claims_nothing)
{
	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(1, "t_3", "ready", "42");
	add_task(0, "t_4", "ready", "43");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 9);
	delivery_settle();
	ck_assert_uint_eq(world.tries, 1);
	add_event_at(0, "t_2", "blocked", NULL, world.wall - 8);
	add_event_at(1, "t_3", "blocked", NULL, world.wall - 7);
	delivery_settle();
	ck_assert_int_eq(cursor_of(0, "t_2"), 0);
	ck_assert_int_eq(cursor_of(1, "t_3"), 0);
	chat_down = false;
	add_event_at(0, "t_4", "blocked", NULL, world.wall);
	delivery_settle();
	chats_got(MSG("43", "⏸ [b] Kanban t_4 blocked")); /* another chat */
	delivery_pass(6);
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked") MSG(
		"42", "⏸ [b] Kanban t_2 blocked") MSG("42", "⏸ [c] Kanban t_3 blocked"));
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* It never recovers, and what it failed at goes: the others are tried when the hold is over. */
START_TEST(test_back_off_ends)
{
	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	add_event(0, "t_2", "blocked");
	delivery_settle();
	sql_on(0, "DELETE FROM kanban_notify_subs WHERE task_id = 't_1'");
	chat_down = false;
	delivery_pass(9);
	chats_got(MSG("42", "⏸ [b] Kanban t_2 blocked"));
}
END_TEST

/* A gateway that comes back gets at once what waits here for its chat to recover. */
START_TEST(test_gateway_comes_back)
{
	int lock;

	world.answer = chat_moody;
	chat_down = true;
	ck_assert_int_eq(mkdir(folder_path("profiles"), 0700), 0);
	ck_assert_int_eq(mkdir(folder_path("profiles/jimmy"), 0700), 0);
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(0, "t_3", "ready", "43"); /* nobody's: stays ours */
	sql_on(0, "UPDATE kanban_notify_subs SET notifier_profile = 'jimmy'"
		  " WHERE chat_id = '42'");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 2);
	add_event_at(0, "t_2", "blocked", NULL, world.wall - 1);
	add_event_at(0, "t_3", "blocked", NULL, world.wall);
	delivery_settle();
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	ck_assert_int_gt(cursor_of(0, "t_2"), 0); /* claimed with it */
	delivery_pass(2);
	lock = open(folder_path("profiles/jimmy/gateway.lock"), O_RDWR | O_CREAT | O_CLOEXEC,
		    0600);
	ck_assert_int_eq(flock(lock, LOCK_EX | LOCK_NB), 0);
	delivery_pass(2);
	ck_assert_int_eq(cursor_of(0, "t_2"), 0);
	chat_down = false;
	delivery_pass(120);
	chats_got("default/telegram:43 ⏸ [b] Kanban t_3 blocked\n");
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	ck_assert_int_eq(cursor_of(0, "t_2"), 0);
	ck_assert_int_eq(close(lock), 0);
}
END_TEST

/* One message that a chat never takes does not stop the others for long. */
START_TEST(test_poison)
{
	uint64_t from;
	char *got;

	world.answer = chat_moody;
	chat_poison = "Kanban t_1 ";
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(0, "t_3", "ready", "43");
	add_event_at(0, "t_1", "blocked", NULL, world.wall - 2);
	add_event_at(0, "t_2", "blocked", NULL, world.wall - 1);
	add_event_at(0, "t_3", "blocked", NULL, world.wall);
	delivery_settle();
	chats_got(MSG("43", "⏸ [b] Kanban t_3 blocked"));
	from = world.mono;
	do
		delivery_pass(5);
	while (!*(got = delivery_take()));
	ck_assert_str_eq(got, MSG("42", "⏸ [b] Kanban t_2 blocked"));
	ck_assert_int_le((int64_t)(world.mono - from) / 1000, 160);
	ck_assert_uint_eq(delivery_status().retrying, 1);
}
END_TEST

START_TEST(test_timeout)
{
	world.answer = chat_hangs;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	delivery_pass(29);
	ck_assert_uint_eq(world.running, 1);
	ck_assert_uint_eq(delivery_status().failed, 0);
	delivery_pass(2);
	ck_assert_uint_eq(delivery_status().failed, 1);
	ck_assert_str_eq(delivery_status().error, "hermes send: no end within 30 s");
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	world.answer = NULL;
	chat_next_try();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
}
END_TEST

/* ---- parking ------------------------------------------------------------------------- */

static char trouble_text[2000];

static void trouble_one(void *arg, const struct notify_trouble *t)
{
	size_t n = strlen(trouble_text);

	(void)arg;
	(void)snprintf(trouble_text + n, sizeof(trouble_text) - n, "%s %s %s:%s %s %s %s %u;",
		       t->board, t->key->task, t->key->platform, t->key->chat, t->profile,
		       t->parked ? "parked" : "retrying", t->reason, t->failures);
}

static const char *trouble(void)
{
	trouble_text[0] = '\0';
	notify_each_trouble(world.n, trouble_one, NULL);
	return trouble_text;
}

START_TEST(test_park)
{
	world.answer = chat_refuses;
	add_task(0, "t_1", "done", "42");
	add_event(0, "t_1", "completed");
	delivery_settle();
	ck_assert_str_eq(trouble(), "b t_1 telegram:42 default parked chat says no 1;");
	ck_assert_uint_eq(delivery_status().parked, 1);
	ck_assert_uint_eq(
		delivery_logged("4 b t_1 notifications to telegram:42 (profile default) "
				"are parked: chat says no"),
		1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	/* neither time, nor news, nor a restart changes that */
	add_event(0, "t_1", "status");
	delivery_pass(7200);
	delivery_reopen();
	delivery_pass(7200);
	ck_assert_uint_eq(world.tries, 1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
	ck_assert_str_eq(trouble(), "b t_1 telegram:42 default parked chat says no 1;");
	ck_assert_uint_eq(delivery_logged("are parked"), 1);
	/* asked for */
	ck_assert_uint_eq(notify_retry(world.n, "c", NULL), 0);
	ck_assert_uint_eq(notify_retry(world.n, "b", "t_2"), 0);
	ck_assert_uint_eq(notify_retry(world.n, NULL, NULL), 1);
	delivery_pass(6); /* it is old: it waits a moment for others */
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_uint_eq(delivery_status().parked, 1);
	world.answer = NULL;
	ck_assert_uint_eq(notify_retry(world.n, "b", "t_1"), 1);
	delivery_pass(6);
	chats_got(MSG("42", "✔ [b] Kanban t_1 done — t_1")
			  MSG("42", "🔄 [b] Kanban t_1 → done"));
	ck_assert_str_eq(trouble(), "");
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

START_TEST(test_park_row_changes)
{
	world.answer = chat_refuses;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "completed");
	delivery_settle();
	ck_assert_uint_eq(delivery_status().parked, 1);
	world.answer = NULL;
	add_event(0, "t_1", "claimed");
	delivery_settle();
	ck_assert_uint_eq(world.tries, 1);
	sql_on(0, "UPDATE kanban_notify_subs SET notifier_profile = 'jimmy'");
	add_event(0, "t_1", "claimed"); /* somebody looks */
	delivery_settle();
	chats_got("jimmy/telegram:42 ✔ [b] Kanban t_1 done — t_1\n");
	ck_assert_uint_eq(delivery_status().parked, 0);
	ck_assert_uint_eq(delivery_logged("no longer parked: its row changed"), 1);
}
END_TEST

START_TEST(test_park_row_goes)
{
	world.answer = chat_refuses;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "completed");
	delivery_settle();
	sql_on(0, "DELETE FROM kanban_notify_subs");
	add_event(0, "t_1", "claimed");
	delivery_settle();
	ck_assert_uint_eq(delivery_status().parked, 0);
	ck_assert_uint_eq(delivery_entries(), 0);
	ck_assert_uint_eq(delivery_logged("no longer parked: the subscription was deleted"), 1);
}
END_TEST

/* A day of failures. */
START_TEST(test_park_in_the_end)
{
	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "completed");
	delivery_pass(23 * 3600);
	ck_assert_uint_eq(delivery_status().parked, 0);
	ck_assert_uint_eq(delivery_status().retrying, 1);
	delivery_pass(3 * 3600);
	ck_assert_uint_eq(delivery_status().parked, 1);
	ck_assert_uint_eq(delivery_logged("are parked: chat says no"), 1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 0);
}
END_TEST

/* A whole adapter is missing: not a warning for each subscription. */
START_TEST(test_park_flood)
{
	char id[16];

	world.answer = chat_refuses;
	for (int i = 0; i < 60; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "ready", "42");
		add_event(0, id, "completed");
	}
	delivery_settle();
	ck_assert_uint_eq(delivery_status().parked, 60);
	ck_assert_uint_eq(delivery_logged("are parked:"), 5);
	delivery_pass(120);
	ck_assert_uint_eq(
		delivery_logged("4 - - notifications of 55 more subscriptions are parked"), 1);
	/* an unsubscribed one is forgotten, the others are not */
	sql_on(0, "DELETE FROM kanban_notify_subs WHERE task_id = 't_7'");
	world.want[0] = world.look[0] = true;
	delivery_settle();
	ck_assert_uint_eq(delivery_status().parked, 59);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify_failures");
	TCase *t = tcase_create("notify");

	tcase_add_checked_fixture(t, delivery_setup, delivery_teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, test_back_off);
	tcase_add_test(t, test_back_off_restart);
	tcase_add_test(t, test_partial);
	tcase_add_test(t, test_hiccup);
	tcase_add_test(t, test_back_off_claims_nothing);
	tcase_add_test(t, test_back_off_ends);
	tcase_add_test(t, test_gateway_comes_back);
	tcase_add_test(t, test_poison);
	tcase_add_test(t, test_timeout);
	tcase_add_test(t, test_park);
	tcase_add_test(t, test_park_row_changes);
	tcase_add_test(t, test_park_row_goes);
	tcase_add_test(t, test_park_in_the_end);
	tcase_add_test(t, test_park_flood);
	suite_add_tcase(s, t);
	return s;
}
