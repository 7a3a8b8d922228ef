/*
 * Notifications by the daemon itself: with real children, gateways beside it, and its own
 * sudden end. test-timeout: 300
 */
#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "kit/chat.h"
#include "kit/rig.h"

#define B "default"

static int64_t chat_subs(const char *slug)
{
	return rig_int(slug, "SELECT count(*) FROM kanban_notify_subs");
}

START_TEST(test_tells)
{
	struct rig_daemon *d;

	chat_hermes("take");
	rig_board(B, RIG_WAL);
	rig_do("t_00000001", "done\n");
	rig_add(B, .id = "t_00000001", .title = "Paint it");
	chat_subscribe(B, "t_00000001", "42", NULL);
	d = rig_start();
	/* the file is there before its line is */
	RIG_UNTIL(strstr(chat_arrived(), "default telegram:42 ✔ [default] @jimmy Kanban "
					 "t_00000001 done — Paint it|") != NULL,
		  15000);
	RIG_UNTIL(chat_subs(B) == 0, 5000);
	/* a board that changes while it is idle, and one that is new */
	rig_add(B, .id = "t_00000002", .status = "blocked");
	chat_subscribe(B, "t_00000002", "43", "jimmy");
	rig_add_event(B, "t_00000002", "blocked", "{\"reason\":\"no paint\"}", 0);
	RIG_UNTIL(chat_count(chat_arrived(),
			     "jimmy telegram:43 ⏸ [default] @jimmy Kanban t_00000002 "
			     "blocked: no paint|\n") == 1,
		  10000);
	rig_board("new", 0);
	rig_add("new", .id = "t_00000003", .status = "blocked");
	chat_subscribe("new", "t_00000003", "44", NULL);
	rig_add_event("new", "t_00000003", "timed_out", "{\"limit_seconds\":5}", 0);
	(void)kill(d->pid, SIGHUP); /* a sweep finds the new board */
	RIG_UNTIL(chat_count(chat_arrived(), "timed out (max_runtime=5s)") == 1, 15000);
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_uint_eq(chat_count(chat_arrived(), "\n"), 3);
	/* an outbox in which nothing is left */
	ck_assert_uint_eq(chat_count(rig_read("root/kanban/.kanband.outbox"), "\n") >= 1, 1);
	d = rig_start();
	rig_shell("sleep 0.5"); /* would it send anything again, it would by now */
	ck_assert_uint_eq(chat_count(chat_arrived(), "\n"), 3);
}
END_TEST

/* A subscription that comes after the events it is about. */
START_TEST(test_late_subscriber)
{
	chat_hermes("take");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 60);
	(void)rig_start();
	chat_subscribe(B, "t_00000001", "42", NULL);
	RIG_UNTIL(chat_count(chat_arrived(), "t_00000001 done") == 1, 10000);
	RIG_UNTIL(chat_subs(B) == 0, 5000);
}
END_TEST

START_TEST(test_once_is_silent)
{
	chat_hermes("take");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 0);
	chat_subscribe(B, "t_00000001", "42", NULL);
	(void)rig_once();
	(void)rig_once("--dry-run");
	ck_assert(!rig_exists("arrived"));
	ck_assert(!rig_exists("root/kanban/.kanband.outbox"));
	ck_assert_int_eq(chat_subs(B), 1);
}
END_TEST

/* ---- failures --------------------------------------------------------------------------- */

START_TEST(test_parks)
{
	struct rig_daemon *d;

	chat_hermes("refuse");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 0);
	chat_subscribe(B, "t_00000001", "42", NULL);
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "notifications of 1 subscription parked"), 10000);
	RIG_UNTIL(rig_int(B, "SELECT last_event_id FROM kanban_notify_subs") == 0, 5000);
	ck_assert_uint_eq(chat_count(rig_err(d),
				     "are parked: hermes send: exit status 2: no such "
				     "platform"),
			  1);
	ck_assert_int_eq(rig_stop(d), 0);
	chat_hermes("take");
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "notifications of 1 subscription parked"), 10000);
	ck_assert(!rig_exists("arrived"));
	ck_assert_uint_eq(chat_count(rig_err(d), "are parked"), 0);
	rig_sql(B, "UPDATE kanban_notify_subs SET notifier_profile = 'franky'");
	RIG_UNTIL(chat_count(chat_arrived(), "franky telegram:42 ⏸") == 1, 10000);
	RIG_UNTIL(!rig_status_has(d, "parked"), 5000);
}
END_TEST

START_TEST(test_retries)
{
	struct rig_daemon *d;

	chat_hermes("fail");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 0);
	chat_subscribe(B, "t_00000001", "42", NULL);
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "tried again"), 10000);
	RIG_UNTIL(rig_int(B, "SELECT last_event_id FROM kanban_notify_subs") == 0, 5000);
	ck_assert_uint_eq(chat_count(rig_err(d),
				     "telegram:42 does not take notifications: hermes "
				     "send: exit status 1: no route; trying again"),
			  1);
	rig_write("mood", "take\n");
	RIG_UNTIL(chat_count(chat_arrived(), "t_00000001 done") == 1, 20000);
	RIG_UNTIL(chat_subs(B) == 0, 5000);
}
END_TEST

/* A child that never ends does not keep the daemon from stopping, nor outlive it. */
START_TEST(test_stops)
{
	struct rig_daemon *d;
	int64_t from;

	chat_hermes("hang");
	rig_board(B, 0);
	for (int i = 0; i < 8; i++) {
		char *id = rig_printf("t_%08d", i);

		rig_add(B, .id = id, .status = "blocked");
		rig_add_event(B, id, "blocked", NULL, 0);
		chat_subscribe(B, id, rig_printf("%d", i), NULL);
	}
	d = rig_start();
	RIG_UNTIL(
		rig_int(B, "SELECT count(*) FROM kanban_notify_subs WHERE last_event_id > 0") ==
			8,
		10000);
	from = rig_mono_us();
	ck_assert_int_eq(rig_stop(d), 0);
	ck_assert_int_lt(rig_mono_us() - from, 15000000);
	/* nothing was sent, and nothing is claimed any more */
	ck_assert_int_eq(
		rig_int(B, "SELECT count(*) FROM kanban_notify_subs WHERE last_event_id > 0"),
		0);
	chat_hermes("take");
	d = rig_start();
	RIG_UNTIL(chat_count(chat_arrived(), "\n") == 8, 15000);
}
END_TEST

START_TEST(test_no_outbox)
{
	struct rig_daemon *d;

	chat_hermes("take");
	rig_mkdir("root/kanban/.kanband.outbox");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "done");
	rig_add_event(B, "t_00000001", "completed", NULL, 0);
	chat_subscribe(B, "t_00000001", "42", NULL);
	rig_do("t_00000002", "done\n");
	rig_add(B, .id = "t_00000002");
	d = rig_start();
	/* work goes on, notifications wait, and both are told */
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status = 'done'") == 2, 10000);
	RIG_UNTIL(rig_status_has(d, "no notifications: cannot read the outbox"), 10000);
	ck_assert(!rig_exists("arrived"));
	rig_shell("rmdir root/kanban/.kanband.outbox");
	RIG_UNTIL(chat_count(chat_arrived(), "\n") == 1, 20000);
	ck_assert_uint_eq(chat_count(rig_err(d), "no notification is delivered until"), 1);
}
END_TEST

/* ---- gateways --------------------------------------------------------------------------- */

START_TEST(test_gateway_has_them)
{
	struct rig_daemon *d;
	int lock;

	chat_hermes("take");
	rig_write("root/profiles/jimmy/gateway.lock", "");
	lock = rig_flock("root/profiles/jimmy/gateway.lock");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 0);
	chat_subscribe(B, "t_00000001", "42", "Jimmy");
	chat_subscribe(B, "t_00000001", "43", "franky");
	chat_subscribe(B, "t_00000001", "44", NULL);
	chat_subscribe(B, "t_00000001", "45", NULL);
	rig_sql(B, "UPDATE kanban_notify_subs SET delivery_mode = 'wake' WHERE chat_id = '45'");
	d = rig_start();
	RIG_UNTIL(chat_count(chat_arrived(), "\n") == 2, 10000);
	ck_assert_ptr_nonnull(strstr(chat_arrived(), "franky telegram:43"));
	ck_assert_ptr_nonnull(strstr(chat_arrived(), "default telegram:44"));
	/* the gateway ends: after half a minute its rows are ours */
	rig_unlock(lock);
	RIG_UNTIL(chat_count(chat_arrived(), "jimmy telegram:42") == 1, 80000);
	ck_assert_int_eq(
		rig_int(B, "SELECT last_event_id FROM kanban_notify_subs WHERE chat_id = '45'"),
		0);
	ck_assert_uint_eq(chat_count(chat_arrived(), "\n"), 3);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(test_off_and_all)
{
	struct rig_daemon *d;
	int lock;

	chat_hermes("take");
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[notify]\nnotify = off\n");
	rig_write("root/profiles/jimmy/gateway.lock", "");
	lock = rig_flock("root/profiles/jimmy/gateway.lock");
	rig_board(B, 0);
	rig_add(B, .id = "t_00000001", .status = "blocked");
	rig_add_event(B, "t_00000001", "blocked", NULL, 0);
	chat_subscribe(B, "t_00000001", "42", "jimmy");
	chat_subscribe(B, "t_00000001", "43", NULL);
	d = rig_start();
	RIG_UNTIL(rig_status_has(d, "1 subscription that nobody serves"), 10000);
	ck_assert_uint_eq(chat_count(rig_err(d), "nobody delivers the news of no profile "
						 "(subscriptions: 1): notify = off"),
			  1);
	ck_assert(!rig_exists("arrived"));
	rig_write("kanband.conf", "[kanband]\nmemory_guard = no\n[notify]\nnotify = all\n");
	ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
	RIG_UNTIL(chat_count(chat_arrived(), "\n") == 2, 10000);
	ck_assert_uint_eq(chat_count(rig_err(d), "is delivered again"), 1);
	rig_unlock(lock);
}
END_TEST

/* ---- after a long pause ----------------------------------------------------------------- */

START_TEST(test_long_pause)
{
	static const char *const slugs[] = { "a", "b", "c", "d" };
	char *text;

	chat_hermes("take");
	for (int i = 0; i < 200; i++) {
		const char *slug = slugs[i % 4];
		char *id = rig_printf("t_%08d", i);

		if (i < 4)
			rig_board(slug, RIG_WAL);
		rig_add(slug, .id = id, .status = "done");
		rig_add_event(slug, id, "completed", NULL, 90000 + i);
		chat_subscribe(slug, id, i % 2 ? "42" : "43", NULL);
	}
	(void)rig_start();
	RIG_UNTIL(chat_subs("a") + chat_subs("b") + chat_subs("c") + chat_subs("d") == 0,
		  30000);
	text = chat_arrived();
	ck_assert_uint_eq(chat_count(text, "\n"), 2);
	ck_assert_uint_eq(chat_count(text, "📋 Kanban: 100 updates"), 2);
}
END_TEST

Suite *test_suite(void)
{
	TCase *plain = rig_tcase("plain", 60), *failures = rig_tcase("failures", 90);
	TCase *gateways = rig_tcase("gateways", 120);

	tcase_add_test(plain, test_tells);
	tcase_add_test(plain, test_late_subscriber);
	tcase_add_test(plain, test_once_is_silent);
	tcase_add_test(failures, test_parks);
	tcase_add_test(failures, test_retries);
	tcase_add_test(failures, test_stops);
	tcase_add_test(failures, test_no_outbox);
	tcase_add_test(gateways, test_gateway_has_them);
	tcase_add_test(gateways, test_off_and_all);
	tcase_add_test(gateways, test_long_pause);
	return rig_suite("daemon: notifications", plain, failures, gateways, NULL);
}
