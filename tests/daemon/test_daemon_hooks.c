/*
 * Hooks: what they are told, in which order, and that nothing they do is felt by the
 * dispatcher. test-timeout: 240
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

static struct rig_daemon *d;

static void script(const char *name, const char *body)
{
	rig_write(name, rig_printf("#!/bin/sh\n%s\n", body));
	rig_shell("chmod 755 %s", name);
}

/* A kanband.conf of @text, in which DIR is the folder of this case. */
static void conf(const char *text)
{
	char *all = rig_printf("%s", "");
	const char *from = text, *at;

	for (; (at = strstr(from, "DIR")); from = at + 3)
		all = rig_printf("%s%.*s%s", all, (int)(at - from), from, rig.dir);
	rig_write("k.conf", rig_printf("%s%s", all, from));
}

static void start(void)
{
	d = rig_start("--socket", rig_path("k.sock"), "--config", rig_path("k.conf"));
}

static json_t *status(void)
{
	return rig_json(
		rig_kanbanctl("--socket", rig_path("k.sock"), "--json", "status")->text);
}

static json_t *hook(size_t i)
{
	return json_array_get(json_object_get(json_object_get(status(), "daemon"), "hooks"), i);
}

static int64_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

/* The @n-th line (from 0) that a hook wrote into @file, as JSON; NULL: not that many. */
static json_t *line(const char *file, size_t n)
{
	char *text = rig_read(file), *end;

	for (; text && n > 0; n--) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	end = text ? strchr(text, '\n') : NULL;
	return end ? rig_json(rig_printf("%.*s", (int)(end - text), text)) : NULL;
}

static size_t lines(const char *file)
{
	const char *text = rig_read(file);
	size_t n = 0;

	for (; text && (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

static unsigned count_of(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void event(const char *task, const char *kind)
{
	rig_sql(B,
		"INSERT INTO task_events (task_id, run_id, kind, payload, created_at) VALUES "
		"(%Q, NULL, %Q, '{\"reason\":\"because\"}', %lld)",
		task, kind, (long long)rig_now());
}

static void world(void)
{
	rig_config("dispatch_interval_seconds: 30", "auto_decompose: false");
	rig_profile("jimmy");
	rig_board(B, RIG_WAL);
	rig_add(B, .id = "t_1", .status = "blocked");
}

/* A worker's row, a board that is damaged, the daemon's own news: each in its place. */
START_TEST(told)
{
	int64_t then;
	json_t *e;

	world();
	rig_env("PLAIN", "seen");
	rig_env("GIVEN_TOKEN", "given");
	rig_env("OTHER_TOKEN", "secret");
	script("all", "cat >> $RIG_DIR/all.log\n"
		      "echo \"$KANBAN_EVENT|$KANBAN_BOARD|$KANBAN_TASK|$PLAIN|$GIVEN_TOKEN|"
		      "$OTHER_TOKEN|$HERMES_KANBAN_TASK|$NOTIFY_SOCKET|$#|$1\" >> "
		      "$RIG_DIR/env.log");
	script("few", "cat >> $RIG_DIR/few.log");
	conf("[hook all]\nevents = completed, blocked, owner\ncommand = DIR/all '$HOME; x'\n"
	     "pass_environment = GIVEN_*\n"
	     "[hook few]\nevents = completed\ncommand = DIR/few\n"
	     "[hook off]\nevents = *\n"
	     "[hook elsewhere]\nevents = *\nboards = other\ncommand = DIR/few\n");
	start();
	RIG_UNTIL(lines("all.log") == 1, 20000);
	ck_assert_str_eq(json_string_value(json_object_get(line("all.log", 0), "event")),
			 "owner");
	rig_sql(B,
		"INSERT INTO task_events (task_id, run_id, kind, payload, created_at) VALUES "
		"('t_1', 7, 'blocked', '{\"reason\":\"a \\\"b\\\"; rm -rf\\n\"}', %lld),"
		"('t_1', NULL, 'heartbeat', NULL, %lld),"
		"('t_1', NULL, 'completed', 'no json', %lld)",
		(long long)rig_now(), (long long)rig_now(), (long long)rig_now());
	RIG_UNTIL(lines("all.log") == 3 && lines("few.log") == 1, 20000);
	e = line("all.log", 1);
	rig_json_is(
		e,
		rig_printf("{\"event\":\"blocked\",\"hook\":\"all\",\"at\":\"ANY\",\"host\":"
			   "\"%s\",\"root\":\"%s\",\"board\":\"default\",\"task\":\"t_1\","
			   "\"run\":7,\"epoch\":1,\"message\":null,\"payload\":{\"reason\":"
			   "\"a \\\"b\\\"; rm -rf\\n\"},\"path\":null,\"missed\":0}",
			   rig.host, rig.root),
		"blocked");
	e = line("few.log", 0);
	ck_assert_str_eq(json_string_value(json_object_get(e, "event")), "completed");
	ck_assert(json_is_null(json_object_get(e, "payload")));
	RIG_UNTIL(lines("env.log") == 3, 20000);
	ck_assert_str_eq(rig_read("env.log"),
			 "owner|||seen|given||||1|$HOME; x\n"
			 "blocked|default|t_1|seen|given||||1|$HOME; x\n"
			 "completed|default|t_1|seen|given||||1|$HOME; x\n");
	/* what is in the file already is no news */
	ck_assert_int_eq(rig_stop(d), 0);
	then = rig_now();
	RIG_UNTIL(rig_now() > then, 20000);
	start();
	RIG_UNTIL(lines("all.log") == 4, 20000);
	event("t_1", "completed");
	RIG_UNTIL(lines("few.log") == 2 && lines("all.log") == 5, 20000);
}
END_TEST

/* The first of @kind that a hook wrote into @file; waits for it. */
static json_t *told_of(const char *file, const char *kind)
{
	const int64_t until = rig_mono_us() + 30000000;
	json_t *e = NULL;

	for (size_t i = 0;; i++) {
		while (!(e = line(file, i))) {
			ck_assert_msg(rig_mono_us() < until, "no %s in %s\n%s", kind,
				      rig_read(file), rig_err(d));
			rig_pause();
		}
		if (!strcmp(json_string_value(json_object_get(e, "event")), kind))
			return e;
	}
}

START_TEST(boards)
{
	const char *good;
	json_t *e;

	world();
	script("logger", "cat >> $RIG_DIR/log");
	conf("[hook log]\nevents = quarantined, healthy, snapshot, missing, repaired\n"
	     "command = DIR/logger\n[health]\nrepair_policy = never\n"
	     "snapshot_interval = 0\n");
	start();
	/* what is written after the copy would be lost with it, and kanband says so */
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM task_events WHERE kind = 'spawned'") == 1,
		  20000);
	/* besides the one of the first sweep */
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "snapshot", B)->status,
			 0);
	e = told_of("log", "snapshot");
	/* whole, whatever is being written meanwhile: no copy of a live file is */
	good = rig_printf("%s", json_string_value(json_object_get(e, "path")));
	ck_assert_int_eq(access(good, R_OK), 0);
	rig_shell("printf 'this is no database, it is something else' | "
		  "dd of=root/kanban.db conv=notrunc status=none");
	e = told_of("log", "quarantined");
	ck_assert_str_eq(json_string_value(json_object_get(e, "board")), B);
	ck_assert_ptr_nonnull(json_string_value(json_object_get(e, "message")));
	rig_shell("rm -f root/kanban.db-wal root/kanban.db-shm root/kanban.db-journal; "
		  "cat '%s' > root/kanban.db",
		  good);
	(void)told_of("log", "healthy");
	ck_assert_uint_eq(count_of(rig_read("log"), "\"quarantined\""), 1);
	ck_assert_uint_eq(count_of(rig_read("log"), "\"healthy\""), 1);
}
END_TEST

/* One that never ends, and one that ignores SIGTERM: ended; others go on, tasks are started. */
START_TEST(hangs)
{
	world();
	script("hang", "trap '' TERM\necho $$ >> $RIG_DIR/hung\nwhile :; do sleep 1; done");
	script("logger", "cat >> $RIG_DIR/log");
	conf("[hook hang]\nevents = blocked\ncommand = DIR/hang\ntimeout = 300ms\n"
	     "[hook log]\nevents = blocked\ncommand = DIR/logger\n");
	start();
	event("t_1", "blocked");
	event("t_1", "blocked");
	RIG_UNTIL(lines("log") == 2 && lines("hung") >= 1, 20000);
	rig_add(B, .id = "t_2");
	RIG_UNTIL(rig_ran_count("t_2") == 1, 20000);
	RIG_UNTIL(number(hook(0), "timed_out") == 2, 30000);
	ck_assert_uint_eq(lines("hung"), 2);
	ck_assert_uint_eq(count_of(rig_err(d), "hook hang fails"), 1);
	ck_assert_uint_eq(count_of(rig_err(d), "it took too long and was ended"), 1);
	for (char *pid = rig_read("hung"); *pid; pid = strchr(pid, '\n') + 1)
		ck_assert(!rig_alive((pid_t)strtol(pid, NULL, 10)));
	/* at the stop it does not wait for one */
	conf("[hook hang]\nevents = blocked\ncommand = DIR/hang\ntimeout = 1h\n");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	event("t_1", "blocked");
	RIG_UNTIL(lines("hung") == 3, 20000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

START_TEST(fails)
{
	struct rig_out *out;

	world();
	rig_write("mood", "bad");
	script("hook", "read mood < $RIG_DIR/mood; cat >> $RIG_DIR/log\n"
		       "[ $mood = good ] || { echo; echo 'no route to pager'; exit 3; }");
	conf("[hook page]\nevents = blocked\ncommand = DIR/hook\n"
	     "[hook none]\nevents = blocked\ncommand = nosuchprogram\n");
	start();
	event("t_1", "blocked");
	event("t_1", "blocked");
	event("t_1", "blocked");
	RIG_UNTIL(number(hook(0), "failed") == 3 && number(hook(1), "failed") == 3, 20000);
	ck_assert_uint_eq(count_of(rig_err(d), "hook page fails: exit status 3: no route to "
					       "pager"),
			  1);
	ck_assert_uint_eq(count_of(rig_err(d), "hook none fails: there is no program "
					       "nosuchprogram on PATH"),
			  1);
	out = rig_kanbanctl("--socket", rig_path("k.sock"), "doctor");
	ck_assert_ptr_nonnull(strstr(out->text, "exit status 3: no route to pager"));
	out = rig_kanbanctl("--socket", rig_path("k.sock"), "metrics");
	ck_assert_ptr_nonnull(
		strstr(out->text, "kanband_hook_runs_total{hook=\"page\",how=\"failed\"} 3"));
	rig_write("mood", "good");
	event("t_1", "blocked");
	RIG_UNTIL(number(hook(0), "ok") == 1, 20000);
	ck_assert(json_is_null(json_object_get(hook(0), "error")));
	ck_assert_uint_eq(count_of(rig_err(d), "hook page works again"), 1);
	ck_assert_uint_eq(lines("log"), 4); /* none was told twice */
}
END_TEST

/* More than anybody can take: bounded, counted, and the dispatcher does not notice. */
START_TEST(storm)
{
	int64_t heard = 0, missed = 0;

	world();
	script("slow", "cat >> $RIG_DIR/slow.log; [ -e $RIG_DIR/go ] || "
		       "while ! [ -e $RIG_DIR/go ]; do sleep 0.1; done");
	conf("[hook a]\nevents = commented\ncommand = DIR/slow\n"
	     "[hook b]\nevents = commented\ncommand = DIR/slow\n"
	     "[hook c]\nevents = commented\ncommand = DIR/slow\n"
	     "[hook d]\nevents = commented\ncommand = DIR/slow\n"
	     "[hook e]\nevents = commented\ncommand = DIR/slow\n"
	     "[hook f]\nevents = commented\ncommand = DIR/slow\n");
	start();
	rig_sql(B,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
		"600) INSERT INTO task_events (task_id, kind, created_at) SELECT 't_1', "
		"'commented', %lld FROM n",
		(long long)rig_now());
	rig_add(B, .id = "t_2");
	RIG_UNTIL(rig_ran_count("t_2") == 1, 20000);
	RIG_UNTIL(number(hook(5), "dropped") == 600 - 256, 20000);
	ck_assert_uint_eq(lines("slow.log"), 4); /* four at a time */
	ck_assert_uint_eq(count_of(rig_err(d), "hook f is behind"), 1);
	conf("[hook a]\nevents = commented\ncommand = DIR/slow\n");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	ck_assert_uint_eq(lines("slow.log"), 4); /* not a second one of the same hook */
	rig_write("go", "");
	RIG_UNTIL(number(hook(0), "waiting") == 0, 60000);
	event("t_1", "commented");
	RIG_UNTIL(number(hook(0), "ok") + number(hook(0), "dropped") >= 601, 60000);
	for (size_t i = 0; line("slow.log", i); i++) {
		json_t *e = line("slow.log", i);

		if (strcmp(json_string_value(json_object_get(e, "hook")), "a") != 0)
			continue;
		heard++;
		missed += number(e, "missed");
		if (heard + missed >= 601)
			break;
	}
	ck_assert_int_eq(heard + missed, 601);
}
END_TEST

/* What it leaves behind is ended with it, also in a session of its own and without our
 * variables, and nobody waits for the pipes that it holds. */
START_TEST(forks)
{
	world();
	script("fork",
	       "sleep 1000 & echo $! >> $RIG_DIR/left\n"
	       "env -i setsid -f sh -c \"echo \\$\\$ >> '$RIG_DIR/left'; exec sleep 1000\"\n"
	       "until [ $(wc -l < $RIG_DIR/left) = 2 ]; do sleep 0.05; done\n"
	       "echo hello; cat > /dev/null");
	conf("[hook fork]\nevents = blocked\ncommand = DIR/fork\n");
	start();
	event("t_1", "blocked");
	RIG_UNTIL(number(hook(0), "ok") == 1, 20000);
	ck_assert_uint_eq(lines("left"), 2);
	for (char *pid = rig_read("left"); *pid; pid = strchr(pid, '\n') + 1)
		RIG_UNTIL(!rig_alive((pid_t)strtol(pid, NULL, 10)), 20000);
}
END_TEST

/* A new configuration is in force at once; a wrong one changes nothing. */
START_TEST(reload)
{
	world();
	script("one", "cat >> $RIG_DIR/one.log");
	script("two", "cat >> $RIG_DIR/two.log");
	conf("[hook x]\nevents = blocked\ncommand = DIR/one\n");
	start();
	event("t_1", "blocked");
	RIG_UNTIL(lines("one.log") == 1, 20000);
	conf("[hook x]\nevents = blocked, compleded\ncommand = DIR/two\n");
	ck_assert_int_ne(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	ck_assert_ptr_nonnull(strstr(rig_err(d), "there is no event compleded; did you mean "
						 "completed"));
	event("t_1", "blocked");
	RIG_UNTIL(lines("one.log") == 2, 20000);
	conf("[hook x]\nevents = blocked\ncommand = DIR/two\n");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	event("t_1", "blocked");
	RIG_UNTIL(lines("two.log") == 1, 20000);
	RIG_UNTIL(number(hook(0), "ok") == 3, 20000); /* its counts go on */
	/* what nobody asked for when it happened is not told later */
	conf("[hook x]\nevents = owner\ncommand = DIR/two\n");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	rig_sql(B,
		"INSERT INTO task_events (task_id, kind, created_at) VALUES ('t_1', "
		"'blocked', %lld)",
		(long long)rig_now() - 10);
	conf("[hook x]\nevents = blocked\ncommand = DIR/two\n");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	event("t_2", "blocked");
	RIG_UNTIL(lines("two.log") == 2, 20000);
	ck_assert_str_eq(json_string_value(json_object_get(line("two.log", 1), "task")), "t_2");
	conf("");
	ck_assert_int_eq(rig_kanbanctl("--socket", rig_path("k.sock"), "reload")->status, 0);
	ck_assert_uint_eq(
		json_array_size(json_object_get(json_object_get(status(), "daemon"), "hooks")),
		0);
	ck_assert_uint_eq(lines("one.log"), 2);
}
END_TEST

static json_t *copy(const char *board)
{
	json_t *list = json_object_get(json_object_get(status(), "daemon"), "copies"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (strcmp(json_string_value(json_object_get(one, "board")), board) == 0)
			return one;
	}
	return NULL;
}

static int snapshot(const char *board)
{
	return rig_kanbanctl("--socket", rig_path("k.sock"), "snapshot", board)->status;
}

/* Copies off the host: a real copy, its failure told once and shown, and that it is over. */
START_TEST(copies)
{
	struct rig_out *out;

	world();
	rig_board("other", 0);
	rig_env("VAULT_TOKEN", "key");
	rig_env("OTHER_TOKEN", "secret");
	rig_mkdir("vault");
	script("vault.sh",
	       "echo \"$KANBAN_BOARD $VAULT_TOKEN $OTHER_TOKEN\" >> $RIG_DIR/env.log\n"
	       "[ \"$KANBAN_SNAPSHOT\" = \"$1\" ] && exec cp \"$1\" \"$2\"");
	conf("[health]\nsnapshot_interval = 0\nsnapshot_command = DIR/vault.sh {snapshot} "
	     "DIR/vault/{board}.db\n"
	     "snapshot_environment = VAULT_*\n"
	     "[board other]\nsnapshot_command =\n");
	start();
	RIG_UNTIL(rig_status_has(d, "2 boards"), 20000);
	ck_assert_int_eq(snapshot(B), 0);
	ck_assert_int_eq(snapshot("other"), 0);
	/* besides those of the first sweep */
	RIG_UNTIL(number(copy(B), "ok") >= 1 && rig_exists("vault/default.db"), 20000);
	ck_assert_ptr_null(copy("other")); /* switched off there */
	RIG_UNTIL(
		system(rig_printf("cd '%s' && cmp -s vault/default.db $(ls root/kanban/boards/"
				  "default/snapshots/*.db | tail -n 1)",
				  rig.dir)) == 0,
		20000);
	ck_assert_int_eq(strncmp(rig_read("env.log"), "default key \n", 13), 0);
	ck_assert_ptr_null(strstr(rig_read("env.log"), "secret"));
	rig_shell("mv vault gone");
	for (int i = 0; i < 2; i++) {
		int64_t failed = number(copy(B), "failed");

		ck_assert_int_eq(snapshot(B), 0);
		RIG_UNTIL(number(copy(B), "failed") > failed, 20000);
	}
	ck_assert_uint_eq(count_of(rig_err(d), "was not copied: snapshot_command: exit status"),
			  1);
	out = rig_kanbanctl("--socket", rig_path("k.sock"), "doctor");
	ck_assert_ptr_nonnull(strstr(out->text, "are not copied off the host"));
	out = rig_kanbanctl("--socket", rig_path("k.sock"), "metrics");
	ck_assert_ptr_nonnull(strstr(out->text, "kanband_snapshot_copy_failing{"));
	rig_mkdir("vault");
	ck_assert_int_eq(snapshot(B), 0);
	RIG_UNTIL(json_is_null(json_object_get(copy(B), "error")), 20000);
	ck_assert_uint_eq(count_of(rig_err(d), "are copied again"), 1);
}
END_TEST

/* A mistake is an error, not a hook that is never run. */
START_TEST(mistakes)
{
	static const char *const wrong[] = {
		"[hook x]\nevents = complete\n", "[hook X!]\nevents = *\n",
		"[hook x]\ntimeout = 10ms\n",    "[hook x]\ntimeout = 2h\n",
		"[hook x]\ncomand = y\n",        "[hook x]\nmax_spawn = 1\n",
		"[hook]\nevents = *\n",          "[worker]\nevents = *\n",
		"[hook x]\ncommand = 'y\n",      "[hook x]\nboards = a/b\n",
		"[hook x]\nlimit = 3\n",         "[pool x]\nevents = *\n",
	};

	world();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct rig_out *out;

		conf(wrong[i]);
		out = rig_kanband("--check-config", "--config", rig_path("k.conf"));
		ck_assert_msg(out->status == 78, "%s: %d %s", wrong[i], out->status, out->err);
	}
	conf("[hook x]\nevents = gave_up\n\tlost\ncommand = sh -c 'echo \"$1\"' x\n");
	ck_assert_int_eq(rig_kanband("--check-config", "--config", rig_path("k.conf"))->status,
			 0);
	ck_assert_ptr_nonnull(
		strstr(rig_kanband("--check-config", "--config", rig_path("k.conf"))->text,
		       "[hook x] events = gave_up"));
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { told,  boards, hangs,  fails,   storm,
				       forks, reload, copies, mistakes };
	TCase *t = rig_tcase("hooks", 120);

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(t, tests[i]);
	return rig_suite("daemon: hooks", t, NULL);
}
