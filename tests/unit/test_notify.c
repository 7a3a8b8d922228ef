/* Delivery as a whole: what subscribers get, in which order, in which words, and what a stop
 * leaves. */
#include <check.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit/chats.h"
#include "kit/delivery.h"
#include "kit/suite.h"
#include "util/fs.h"

/* ---- plain --------------------------------------------------------------------------- */

START_TEST(test_delivers)
{
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	ck_assert(chats_idle());
	ck_assert_uint_eq(delivery_entries(), 0);
	sql_on(0, "UPDATE tasks SET status = 'done'");
	add_event(0, "t_1", "completed");
	delivery_settle();
	chats_got(MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 0);
	ck_assert_uint_eq(delivery_entries(), 0);
	ck_assert_uint_eq(delivery_status().sent, 2);
	ck_assert_str_eq(world.log, "");
	delivery_reopen();
	delivery_settle();
	chats_got("");
}
END_TEST

START_TEST(test_many_events)
{
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	add_event(0, "t_1", "unblocked");
	add_event(0, "t_1", "timed_out");
	add_event(0, "t_1", "completed");
	add_event(0, "t_1", "archived");
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked")
			  MSG("42", "⏱ [b] Kanban t_1 timed out (max_runtime=0s); will retry")
				  MSG("42", "✔ [b] Kanban t_1 done — t_1"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 5);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* What happens while a message is under way is told after it. */
static enum delivery_answer hang_first(const char *target, const char *text)
{
	(void)target;
	return strstr(text, "blocked") ? WORLD_HANG : WORLD_TAKE;
}

START_TEST(test_meanwhile)
{
	add_task(0, "t_1", "ready", "42");
	world.answer = hang_first;
	add_event(0, "t_1", "blocked");
	delivery_settle();
	add_event(0, "t_1", "completed");
	delivery_settle();
	chats_got("");
	ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	world.answer = NULL;
	delivery_settle();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked")
			  MSG("42", "✔ [b] Kanban t_1 done — t_1"));
}
END_TEST

START_TEST(test_concurrency)
{
	char id[16], chat[16];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		(void)snprintf(chat, sizeof(chat), "%d", i % 10);
		add_task(i % 2, id, "ready", chat);
		add_event(i % 2, id, "status");
	}
	delivery_settle();
	ck_assert_uint_eq(world.running_max, 4);
	ck_assert_uint_eq(delivery_status().sent, 40);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* Within a chat by the time of the events, whatever task or board they are of. */
START_TEST(test_order)
{
	add_task(0, "t_1", "ready", "42");
	add_task(0, "t_2", "ready", "42");
	add_task(1, "t_3", "ready", "42");
	add_event_at(0, "t_1", "status", "{\"status\":\"1\"}", world.wall - 50);
	add_event_at(0, "t_2", "status", "{\"status\":\"3\"}", world.wall - 30);
	add_event_at(0, "t_1", "status", "{\"status\":\"5\"}", world.wall - 10);
	add_event_at(1, "t_3", "status", "{\"status\":\"2\"}", world.wall - 40);
	add_event_at(1, "t_3", "status", "{\"status\":\"4\"}", world.wall - 20);
	world.settings.concurrency = 0; /* both boards are visited first */
	notify_set(world.n, &world.settings);
	delivery_settle();
	world.settings.concurrency = 4;
	notify_set(world.n, &world.settings);
	delivery_settle();
	chats_got(MSG("42", "🔄 [b] Kanban t_1 → 1") MSG("42", "🔄 [c] Kanban t_3 → 2")
			  MSG("42", "🔄 [b] Kanban t_2 → 3") MSG("42", "🔄 [c] Kanban t_3 → 4")
				  MSG("42", "🔄 [b] Kanban t_1 → 5"));
	ck_assert_uint_eq(world.running_max, 1);
}
END_TEST

/* A backlog in one chat does not delay another. */
START_TEST(test_fair)
{
	char id[16], *got;
	unsigned before = 0;

	world.settings.concurrency = 1;
	notify_set(world.n, &world.settings);
	for (int i = 0; i < 30; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "ready", "42");
		add_event_at(0, id, "status", NULL, world.wall - 100);
	}
	add_task(1, "t_x", "ready", "43");
	add_event(1, "t_x", "status");
	delivery_settle();
	got = delivery_take();
	for (char *line = strtok(got, "\n"); line && !strstr(line, "telegram:43");
	     line = strtok(NULL, "\n"))
		before++;
	ck_assert_uint_le(before, 3);
}
END_TEST

/* ---- digests and folding ------------------------------------------------------------- */

START_TEST(test_digest)
{
	char id[16], *got;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(i % 2, id, "done", "42");
		add_event_at(i % 2, id, "completed", NULL, world.wall - 7200 - i);
	}
	add_task(0, "t_new", "ready", "42");
	add_event(0, "t_new", "blocked");
	world.absent[1] = true;
	delivery_settle();
	chats_got(""); /* a moment, for what else may be found */
	delivery_pass(3);
	world.absent[1] = false; /* another board is slower */
	delivery_pass(3);
	got = delivery_take();
	ck_assert_ptr_nonnull(
		strstr(got, "📋 Kanban: 1000 updates that are 2 h old|✔ 1000 done|"));
	ck_assert_ptr_nonnull(
		strstr(got, "more tasks\n" MSG("42", "⏸ [b] Kanban t_new blocked")));
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_uint_eq(delivery_status().digests, 1);
	ck_assert_int_eq(value_on(0, "SELECT count(*) FROM kanban_notify_subs"), 1);
	ck_assert_int_eq(value_on(1, "SELECT count(*) FROM kanban_notify_subs"), 0);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* One subscription with a long past; and a few old ones are told one by one. */
START_TEST(test_digest_one)
{
	add_task(0, "t_1", "ready", "42");
	for (int i = 0; i < 30; i++)
		add_event_at(0, "t_1", "status", "{\"status\":\"x\"}", world.wall - 9000);
	add_event(0, "t_1", "blocked");
	add_task(0, "t_2", "ready", "43");
	for (int i = 0; i < 20; i++)
		add_event_at(0, "t_2", "status", "{\"status\":\"x\"}", world.wall - 9000);
	delivery_pass(6);
	ck_assert_uint_eq(world.tries, 22);
	ck_assert_ptr_nonnull(strstr(delivery_take(),
				     "📋 Kanban: 30 updates that are 2 h old|🔄 30 "
				     "moved|🔄 [b] Kanban t_1 → x\n"));
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

START_TEST(test_digest_fails)
{
	char id[16];

	world.answer = chat_moody;
	chat_down = true;
	for (int i = 0; i < 50; i++) {
		(void)snprintf(id, sizeof(id), "t_%d", i);
		add_task(0, id, "done", "42");
		add_event_at(0, id, "completed", NULL, world.wall - 7200);
	}
	delivery_pass(6);
	ck_assert_uint_eq(world.tries, 1);
	ck_assert_uint_eq(delivery_status().retrying, 50);
	ck_assert_int_eq(
		value_on(0, "SELECT count(*) FROM kanban_notify_subs WHERE last_event_id = 0"),
		50);
	chat_down = false;
	delivery_pass(20);
	ck_assert_uint_eq(world.tries, 2);
	ck_assert_uint_eq(delivery_status().digests, 1);
	ck_assert_uint_eq(delivery_status().retrying, 0);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

#define CRASH "✖ [b] Kanban t_1 worker crashed (pid gone); dispatcher will retry"

START_TEST(test_fold)
{
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "crashed");
	delivery_settle();
	chats_got(MSG("42", CRASH));
	for (int i = 0; i < 3; i++) {
		delivery_pass(300);
		add_event(0, "t_1", "crashed");
		delivery_settle();
		chats_got("");
		ck_assert_int_eq(cursor_of(0, "t_1"), 1);
	}
	delivery_reopen();
	delivery_pass(600);
	chats_got("");
	delivery_pass(600);
	world.want[0] = world.look[0] = true; /* the owner looks when held_until comes */
	delivery_settle();
	chats_got(MSG("42", CRASH " (3 times in 10 min)"));
	/* something else is told at once, with what was held back */
	add_event(0, "t_1", "crashed");
	delivery_settle();
	chats_got("");
	add_event(0, "t_1", "gave_up");
	delivery_settle();
	chats_got(MSG("42", CRASH) MSG("42", "✖ [b] Kanban t_1 gave up after repeated spawn "
					     "failures"));
	/* somebody unblocked it: what comes then is news */
	add_event(0, "t_1", "unblocked");
	add_event(0, "t_1", "gave_up");
	delivery_settle();
	chats_got(MSG("42", "✖ [b] Kanban t_1 gave up after repeated spawn failures"));
	delivery_pass(3600);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* ---- others on the same board -------------------------------------------------------- */

/* The cursor was moved on while a message failed: it is not lost, and not sent by others. */
START_TEST(test_kept)
{
	world.answer = chat_hangs;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	sql_on(0, "INSERT INTO task_events (task_id, kind, created_at) VALUES ('t_1', "
		  "'status', 1);"
		  "UPDATE kanban_notify_subs SET last_event_id = 2");
	delivery_pass(31);
	ck_assert_uint_eq(delivery_status().failed, 1);
	ck_assert_int_eq(cursor_of(0, "t_1"), 2);
	ck_assert_uint_eq(delivery_entries(), 3);
	world.answer = chat_moody;
	chat_down = true;
	chat_next_try();
	delivery_reopen();
	chat_next_try();
	ck_assert_int_eq(cursor_of(0, "t_1"), 2);
	sql_on(0, "DELETE FROM kanban_notify_subs");
	chat_down = false;
	chat_next_try();
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_uint_eq(delivery_entries(), 0);
	ck_assert(chats_idle());
}
END_TEST

/* Kept and parked, and asked for. */
START_TEST(test_kept_parked)
{
	world.answer = chat_refuses;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	world.absent[0] = false;
	(void)notify_turn(world.n);
	delivery_visit(0);
	sql_on(0, "UPDATE kanban_notify_subs SET last_event_id = 7");
	delivery_settle();
	ck_assert_uint_eq(delivery_status().parked, 1);
	delivery_reopen();
	delivery_pass(7200);
	ck_assert_uint_eq(world.tries, 1);
	world.answer = NULL;
	ck_assert_uint_eq(notify_retry(world.n, NULL, NULL), 1);
	delivery_pass(6);
	chats_got(MSG("42", "⏸ [b] Kanban t_1 blocked"));
	ck_assert_int_eq(cursor_of(0, "t_1"), 7);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

/* A gateway delivers what failed here meanwhile: nothing is tried again. */
START_TEST(test_somebody_else)
{
	world.answer = chat_moody;
	chat_down = true;
	add_task(0, "t_1", "ready", "42");
	add_event(0, "t_1", "blocked");
	delivery_settle();
	ck_assert_uint_eq(delivery_status().retrying, 1);
	sql_on(0, "UPDATE kanban_notify_subs SET last_event_id = 1");
	delivery_pass(20);
	ck_assert_uint_eq(world.tries, 1);
	ck_assert_uint_eq(delivery_status().retrying, 0);
	ck_assert_uint_eq(delivery_entries(), 0);
}
END_TEST

START_TEST(test_unserved)
{
	int fd;

	ck_assert_int_eq(mkdir(folder_path("profiles"), 0700), 0);
	ck_assert_int_eq(mkdir(folder_path("profiles/jimmy"), 0700), 0);
	fd = open(folder_path("profiles/jimmy/gateway.lock"), O_RDWR | O_CREAT | O_CLOEXEC,
		  0600);
	ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
	add_task(0, "t_1", "ready", "42");
	sql_on(0, "UPDATE kanban_notify_subs SET notifier_profile = 'jimmy'");
	add_event(0, "t_1", "blocked");
	for (int i = 0; i < 12; i++) {
		delivery_pass(30);
		world.want[0] = world.look[0] = true;
	}
	delivery_settle();
	ck_assert_uint_eq(world.tries, 0);
	ck_assert_uint_eq(
		delivery_logged("4 b - nobody delivers the news of profile jimmy "
				"(subscriptions: 1): its gateway runs but does not take them"),
		1);
	ck_assert_uint_eq(delivery_status().unserved, 1);
	/* it takes them after all */
	sql_on(0, "UPDATE kanban_notify_subs SET last_event_id = 1");
	world.want[0] = world.look[0] = true;
	delivery_settle();
	ck_assert_uint_eq(delivery_logged("the news of profile jimmy is delivered again"), 1);
	ck_assert_uint_eq(delivery_status().unserved, 0);
	/* or goes: then it is ours */
	add_event(0, "t_1", "timed_out");
	delivery_settle();
	ck_assert_int_eq(close(fd), 0);
	for (int i = 0; i < 3; i++) {
		delivery_pass(31);
		world.want[0] = world.look[0] = true;
		delivery_settle();
	}
	ck_assert_uint_eq(world.tries, 1);
	/* switched off: what belongs to nobody is told at once */
	gateways_set_mode(world.gateways, NOTIFY_OFF);
	add_task(0, "t_2", "ready", "43");
	add_event(0, "t_2", "blocked");
	delivery_settle();
	ck_assert_uint_eq(delivery_logged("4 b - nobody delivers the news of no profile"), 1);
	ck_assert_uint_eq(world.tries, 1);
}
END_TEST

Suite *test_suite(void)
{
	Suite *s = suite_create("notify");
	TCase *t = tcase_create("notify");

	tcase_add_checked_fixture(t, delivery_setup, delivery_teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, test_delivers);
	tcase_add_test(t, test_many_events);
	tcase_add_test(t, test_meanwhile);
	tcase_add_test(t, test_concurrency);
	tcase_add_test(t, test_order);
	tcase_add_test(t, test_fair);
	tcase_add_test(t, test_digest);
	tcase_add_test(t, test_digest_one);
	tcase_add_test(t, test_digest_fails);
	tcase_add_test(t, test_fold);
	tcase_add_test(t, test_kept);
	tcase_add_test(t, test_kept_parked);
	tcase_add_test(t, test_somebody_else);
	tcase_add_test(t, test_unserved);
	suite_add_tcase(s, t);
	return s;
}
