/*
 * doctor beside a running kanband: what only a daemon has, found, and gone after its remedy.
 * The daemon is started by a remedy, too: that of "nobody has the lease".
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/doctor.h"
#include "util/fs.h"

/* Settings of the daemon. */
static void conf(const char *more)
{
	char text[1024];

	(void)snprintf(text, sizeof(text),
		       "[worker]\nlauncher = fork\nhermes = %s/bin/hermes\n%s", world_root,
		       more);
	plant("k.conf", text);
	use_config("k.conf");
	/* sends as $root/mood says: an exit status */
	(void)snprintf(text, sizeof(text), "#!/bin/sh\nread r <'%s/mood'\nexit \"$r\"\n",
		       world_root);
	program("hermes", text);
	plant("mood", "0\n");
}

/* What doctor prints where nobody dispatches is all that it takes. */
static void start(void)
{
	ck_assert(finds("lease", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "nobody has it"));
	paste_start();
	gone_until(20000);
	for (int i = 0; i < 200 && kanbanctl("workers")->exit != 0; i++)
		(void)usleep(50 * 1000);
	ck_assert(!finds("daemon", ""));
}

/* A task that @profile is to be told of. */
static void tell(const char *task, const char *profile)
{
	char sql[1024];

	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO tasks (id, title, assignee, status, created_at, "
		       "workspace_kind) VALUES ('%s', 'x', 'ann', 'blocked', 1, 'scratch');"
		       "INSERT INTO kanban_notify_subs (task_id, platform, chat_id, "
		       "notifier_profile, created_at) VALUES ('%s', 'telegram', '1', %s, 1);"
		       "INSERT INTO task_events (task_id, kind, payload, created_at) VALUES "
		       "('%s', 'blocked', '{\"reason\":\"no paint\"}', strftime('%%s','now'))",
		       task, task, profile, task);
	(void)world_sql("kanban.db", sql);
}

static void found_within(const char *check, const char *about, int ms)
{
	for (; !finds(check, about) && ms > 0; ms -= 50)
		(void)usleep(50 * 1000);
	ck_assert_msg(finds(check, about), "no finding %s %s", check, about);
}

START_TEST(nobody)
{
	conf("");
	start();
	ck_assert(!finds("paused", ""));
}
END_TEST

START_TEST(silent)
{
	conf("");
	start();
	ck_assert_int_eq(unlink(world_path("control.sock")), 0);
	ck_assert(finds("daemon", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "does not answer"));
	ck_assert_ptr_nonnull(strstr(last_remedy, "systemctl restart"));
	paste_start();
	gone_until(20000);
	for (int i = 0; i < 200 && kanbanctl("workers")->exit != 0; i++)
		(void)usleep(50 * 1000);
	ck_assert_int_eq(kanbanctl("workers")->exit, 0);
}
END_TEST

START_TEST(paused)
{
	conf("");
	start();
	(void)ok("pause", "default");
	remedied("paused", "default", "nothing new is started on this board");
	(void)kanbanctl("drain", "--timeout", "0");
	remedied("paused", "", "paused or drained by the operator");
	(void)ok("resume");
	plant("ESTOP", "{\"reason\": \"lunch\"}");
	found_within("paused", "", 20000);
	ck_assert_ptr_nonnull(strstr(last_text, "ESTOP: lunch"));
	paste();
	gone_until(20000);
}
END_TEST

/* Parked one by one, and more than doctor tells apart. */
START_TEST(parked)
{
	char task[16];

	conf("");
	plant("mood", "2\n");
	start();
	for (int i = 0; i < 22; i++) {
		(void)snprintf(task, sizeof(task), "t_%08d", i);
		tell(task, "NULL");
	}
	found_within("notify", "", 30000);
	ck_assert_ptr_nonnull(strstr(last_text, "more are parked"));
	for (int i = 0; i < 200 && !strstr(last_text, "2 more are parked"); i++) {
		(void)usleep(50 * 1000);
		ck_assert(finds("notify", ""));
	}
	plant("mood", "0\n");
	ck_assert(finds("notify", "t_00000000"));
	ck_assert_ptr_nonnull(strstr(last_text, "parked, telegram:1"));
	paste();
	gone_until(20000);
	ck_assert(finds("notify", ""));
	ck_assert_ptr_nonnull(strstr(last_text, "1 more are parked"));
	paste();
	gone_until(20000);
	ck_assert(!finds("notify", "t_00000021"));
}
END_TEST

/* Nobody is to deliver, and no gateway is named either. */
START_TEST(unserved)
{
	conf("[notify]\nnotify = off\n");
	start();
	tell("t_00000001", "NULL");
	found_within("notify", "", 30000);
	ck_assert_ptr_nonnull(strstr(last_text, "their gateway does not take"));
	paste();
	gone_until(20000);
	ck_assert_int_eq(access(world_path("k.conf.d/notify.conf"), F_OK), 0);
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { nobody, silent, paused, parked, unserved };

	return doctor_suite("daemon", tests, sizeof(tests) / sizeof(tests[0]));
}
