/* A root that is handed from one daemon to another, and who had it when. test-timeout: 180 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

static struct rig_daemon *a, *b;

static void world(void)
{
	rig_config("dispatch_interval_seconds: 30", "auto_decompose: false");
	rig_profile("jimmy");
	rig_board(B, RIG_WAL);
}

static struct rig_daemon *start(const char *socket)
{
	return rig_start("--socket", rig_path(socket), "--launcher", "fork");
}

static struct rig_out *ctl(const char *socket, const char *verb)
{
	return rig_kanbanctl("--socket", rig_path(socket), "--json", verb);
}

static json_t *history(void)
{
	return json_object_get(
		rig_json(rig_kanbanctl("--root", rig.root, "--json", "leader", "--history")
				 ->text),
		"history");
}

static const char *term(size_t i, const char *key)
{
	return json_string_value(json_object_get(json_array_get(history(), i), key));
}

static int64_t running(void)
{
	return rig_int(B, "SELECT count(*) FROM tasks WHERE status = 'running'");
}

START_TEST(nobody_waits)
{
	struct rig_out *out;

	world();
	a = start("a.sock");
	out = rig_kanbanctl("--socket", rig_path("a.sock"), "handover");
	ck_assert_int_ne(out->status, 0);
	ck_assert_msg(strstr(out->err, "no standby waits for") != NULL, "%s", out->err);
	ck_assert_int_eq(rig_epoch(), 1);
	/* it goes on as before */
	rig_add(B, .id = "t_1");
	RIG_UNTIL(rig_ran_count("t_1") == 1, 20000);
	ck_assert_int_eq(rig_stop(a), 0);
}
END_TEST

/* Workers stay, each task is started once, also what is added in the middle of it. */
START_TEST(handed)
{
	struct rig_out *out;
	pid_t pids[4];

	world();
	a = start("a.sock");
	for (int i = 0; i < 4; i++)
		rig_add(B, .id = rig_printf("t_%d", i));
	RIG_UNTIL(rig_int(B, "SELECT count(worker_pid) FROM tasks") == 4, 20000);
	for (int i = 0; i < 4; i++) {
		(void)rig_ran(rig_printf("t_%d", i));
		pids[i] =
			(pid_t)rig_int(B, "SELECT worker_pid FROM tasks WHERE id = 't_%d'", i);
	}
	b = start("b.sock");
	RIG_UNTIL(rig_status_has(b, "standby"), 20000);
	for (int i = 4; i < 24; i++)
		rig_add(B, .id = rig_printf("t_%d", i));
	out = ctl("a.sock", "handover");
	ck_assert_msg(out->status == 0, "%s", out->err);
	ck_assert_int_eq(json_integer_value(json_object_get(rig_json(out->text), "epoch")), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(rig_json(out->text), "pid")),
			 b->pid);
	RIG_UNTIL(rig_status_has(b, "owner of"), 20000);
	RIG_UNTIL(rig_status_has(a, "standby"), 20000);
	ck_assert_int_eq(rig_epoch(), 2);
	RIG_UNTIL(running() == 24, 30000);
	for (int i = 0; i < 24; i++) {
		(void)rig_ran(rig_printf("t_%d", i));
		ck_assert_uint_eq(rig_ran_count(rig_printf("t_%d", i)), 1);
	}
	for (int i = 0; i < 4; i++) {
		ck_assert(rig_alive(pids[i]));
		ck_assert_int_eq(
			rig_int(B, "SELECT worker_pid FROM tasks WHERE id = 't_%d'", i),
			pids[i]);
	}
	ck_sql(B, "24|24", "SELECT count(*), count(DISTINCT task_id) FROM task_runs");
	/* the reaper of what a started is a still: no zombie stays */
	rig_let_go();
	for (int i = 0; i < 4; i++)
		RIG_UNTIL(!rig_exists(rig_printf("/proc/%d", (int)pids[i])), 20000);
	ck_assert_str_eq(term(0, "version"), term(1, "version"));
	ck_assert_str_eq(term(1, "why"), "it was handed over");
	ck_assert_ptr_null(term(0, "why"));
	/* and back again, and once more */
	ck_assert_int_eq(ctl("b.sock", "handover")->status, 0);
	RIG_UNTIL(rig_status_has(a, "owner of") && rig_status_has(b, "standby"), 20000);
	ck_assert_int_eq(ctl("a.sock", "handover")->status, 0);
	RIG_UNTIL(rig_status_has(b, "owner of") && rig_status_has(a, "standby"), 20000);
	ck_assert_int_eq(rig_epoch(), 4);
	out = ctl("a.sock", "handover"); /* not a's to give; kanbanctl asks who it was told */
	ck_assert_int_ne(out->status, 0);
	rig_add(B, .id = "t_99");
	RIG_UNTIL(rig_ran_count("t_99") == 1, 20000);
	rig_invariant(B);
	ck_assert_int_eq(rig_stop(b), 0);
	RIG_UNTIL(rig_status_has(a, "owner of"), 20000);
	ck_assert_int_eq(rig_stop(a), 0);
}
END_TEST

/* Who had it, and why that ended. */
START_TEST(terms)
{
	struct rig_out *out;

	world();
	a = start("a.sock");
	ck_assert_int_eq(rig_stop(a), 0);
	a = start("a.sock");
	rig_kill9(a);
	(void)rig_once();
	a = start("a.sock");
	ck_assert_uint_eq(json_array_size(history()), 4);
	ck_assert_ptr_null(term(0, "why"));
	ck_assert_str_eq(term(1, "why"), "it was done");
	ck_assert_str_eq(term(2, "why"), "killed, or it crashed");
	ck_assert_str_eq(term(3, "why"), "it was stopped");
	out = rig_kanbanctl("--socket", rig_path("a.sock"), "leader", "--history");
	ck_assert_ptr_nonnull(strstr(out->text, "killed, or it crashed"));
	ck_assert_int_eq(rig_stop(a), 0);
	ck_assert_str_eq(term(0, "why"), "it was stopped");
	/* bounded, and what somebody wrote into it keeps nobody from owning */
	for (int i = 0; i < 40; i++)
		(void)rig_once();
	ck_assert_uint_eq(json_array_size(history()), 31);
	rig_write("root/kanban/.dispatcher.owner.json",
		  "{\"epoch\":90,\"pid\":3,\"since\":5,\"ended\":\"no\",\"history\":[1,null,"
		  "{\"epoch\":\"x\"},{\"epoch\":3,\"why\":\"a\\u001b[31mb\",\"host\":7}]}");
	ck_assert_uint_eq(json_array_size(history()), 2);
	ck_assert_ptr_null(strchr(term(1, "why"), 0x1b));
	(void)rig_once();
	ck_assert_uint_eq(json_array_size(history()), 3);
}
END_TEST

static void row(const char *task, const char *kind)
{
	rig_sql(B,
		"INSERT INTO task_events (task_id, kind, payload, created_at) VALUES (%Q, %Q, "
		"'{\"x\":1}', %lld)",
		task, kind, (long long)rig_now());
}

static unsigned count_of(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

/* Who was there before the restart is told what happened since, each event once. */
START_TEST(events_after_a_restart)
{
	struct rig_out *out;
	int64_t then;
	json_t *all;
	char *last;

	world();
	rig_board("other", 0);
	a = start("a.sock");
	row("t_old", "completed");
	RIG_UNTIL(rig_now() > rig_int(B, "SELECT max(created_at) FROM task_events"), 20000);
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("a.sock"), "reload")->status, 0);
	rig_shell("curl -s --unix-socket a.sock 'http://kanband/v1/events?follow=no' > events");
	all = rig_json(rig_read("events"));
	last = rig_printf("%s", json_string_value(json_object_get(all, "last")));
	then = rig_now();
	RIG_UNTIL(rig_now() > then, 20000);
	row("t_1", "completed");
	rig_sql("other",
		"INSERT INTO task_events (task_id, kind, created_at, payload) VALUES ('t_2', "
		"'blocked', %lld, '{\"reason\":\"no key\",\"kind\":null,\"until\":7}')",
		(long long)rig_now());
	rig_kill9(a);
	row("t_3", "completed");
	then = rig_now();
	RIG_UNTIL(rig_now() > then, 20000);
	a = start("a.sock");
	RIG_UNTIL(rig_status_has(a, "2 boards"), 20000);
	out = rig_kanbanctl("--socket", rig_path("a.sock"), "--json", "events", "--since",
			    last);
	ck_assert_int_eq(out->status, 0);
	ck_assert_msg(count_of(out->text, "\"t_1\"") == 1, "%s", out->text);
	ck_assert_uint_eq(count_of(out->text, "\"t_2\""), 1);
	ck_assert_ptr_nonnull(strstr(out->text, "\"reason no key, until 7\""));
	ck_assert_uint_eq(count_of(out->text, "\"t_3\""), 1);
	ck_assert_uint_eq(count_of(out->text, "\"t_old\""), 0);
	ck_assert_uint_eq(count_of(out->text, "\"lease-owner\""), 1);
	ck_assert_uint_eq(count_of(out->text, "\"gap\""), 0);
	ck_assert(strstr(out->text, "\"t_1\"") < strstr(out->text, "\"t_3\""));
	ck_assert(strstr(out->text, "\"t_3\"") < strstr(out->text, "\"lease-owner\""));
	/* an id that says no time is told of a gap */
	out = rig_kanbanctl("--socket", rig_path("a.sock"), "--json", "events", "--since",
			    "abcabcabcabc-12");
	ck_assert_uint_eq(count_of(out->text, "\"gap\""), 1);
	ck_assert_int_eq(rig_stop(a), 0);
}
END_TEST

/* The daemon is stopped in the middle of it: nothing is left, the other one owns. */
START_TEST(stopped_meanwhile)
{
	world();
	for (int i = 0; i < 5; i++) {
		a = start("a.sock");
		b = start("b.sock");
		RIG_UNTIL(rig_status_has(b, "standby"), 20000);
		rig_shell("curl -s --unix-socket a.sock -X POST http://kanband/v1/handover "
			  ">/dev/null & kill -TERM %d; wait",
			  (int)a->pid);
		RIG_UNTIL(rig_ended(a), 20000);
		RIG_UNTIL(rig_status_has(b, "owner of"), 20000);
		ck_assert_int_eq(rig_stop(b), 0);
	}
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { nobody_waits, handed, terms, events_after_a_restart,
				       stopped_meanwhile };
	TCase *t = rig_tcase("handover", 120);

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(t, tests[i]);
	return rig_suite("daemon: handover", t, NULL);
}
