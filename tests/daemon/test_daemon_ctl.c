/* kanbanctl and the real daemon: every verb through the control socket, then from the files. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/rig.h"

#define B "default"

static struct rig_daemon *daemon_of(void)
{
	return rig_start("--socket", rig_path("k.sock"));
}

/* kanbanctl on the root; its exit status must be @exit. */
static struct rig_out *run(int exit, const char *const *args)
{
	const char *argv[16] = { "kanbanctl", "--root", rig.root };
	struct rig_out *out;
	size_t n = 3;

	while (*args)
		argv[n++] = *args++;
	out = rig_run(60, argv);
	ck_assert_msg(out->status == exit, "%s: exit %d instead of %d: %s%s", argv[3],
		      out->status, exit, out->text, out->err);
	return out;
}

#define ctl(exit, ...) run(exit, (const char *const[]){ __VA_ARGS__, NULL })

static json_t *ctl_json(int exit, const char *const *args)
{
	return rig_json(run(exit, args)->text);
}

#define json(exit, ...) ctl_json(exit, (const char *const[]){ __VA_ARGS__, "--json", NULL })

static const char *text(const json_t *j, const char *key)
{
	const char *value = json_string_value(json_object_get(j, key));

	return value ? value : "";
}

static bool flag(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

static int64_t number(const json_t *j, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(j, key)), "no number %s", key);
	return json_integer_value(json_object_get(j, key));
}

/* ---- looking ------------------------------------------------------------------------- */

/* The same members, whoever is asked; and which of the two it was. */
START_TEST(looking)
{
	static const char *const status[] = { "root",   "well",  "source",
					      "leader", "tasks", "boards" };
	static const char *const board[] = { "slug",         "db",       "state",
					     "error",        "archived", "duplicate_of",
					     "journal_mode", "tasks" };
	struct rig_daemon *d;

	rig_board(B, 0);
	rig_add(B, .id = "t_1", .assignee = RIG_NOBODY);
	for (int pass = 0; pass < 2; pass++) {
		const char *source = pass ? "daemon" : "files";
		json_t *j, *one;

		d = pass ? daemon_of() : NULL;
		if (pass)
			RIG_UNTIL(strcmp(text(json_array_get(json_object_get(json(0, "boards"),
									     "boards"),
							     0),
					      "state"),
					 "healthy") == 0,
				  5000);
		j = json(pass ? 0 : 1, "status");
		for (size_t i = 0; i < sizeof(status) / sizeof(status[0]); i++)
			ck_assert_ptr_nonnull(json_object_get(j, status[i]));
		ck_assert_str_eq(text(j, "source"), source);
		ck_assert_str_eq(text(j, "root"), rig.root);
		ck_assert(flag(j, "well") == (pass == 1));
		ck_assert(flag(json_object_get(j, "leader"), "held") == (pass == 1));
		ck_assert_int_eq(number(json_object_get(j, "tasks"), "ready"), 1);
		ck_assert((json_object_get(j, "daemon") != NULL) == (pass == 1));
		one = json_array_get(json_object_get(j, "boards"), 0);
		for (size_t i = 0; i < sizeof(board) / sizeof(board[0]); i++)
			ck_assert_ptr_nonnull(json_object_get(one, board[i]));
		j = json(0, "board", B);
		ck_assert_str_eq(text(j, "source"), source);
		ck_assert(json_is_object(json_object_get(j, "record")));
		j = json(pass ? 0 : 1, "leader");
		ck_assert_str_eq(text(j, "source"), source);
		ck_assert(flag(j, "kanband") == (pass == 1));
		ck_assert_ptr_nonnull(strstr(ctl(0, "boards")->text,
					     pass ? "from the daemon at" : "from the files"));
		ck_assert_ptr_nonnull(strstr(ctl(!pass, "status")->text,
					     pass ? "from the daemon at" : "from the files"));
	}
	ck_assert_int_eq(rig_stop(d), 0);
	(void)ctl(69, "workers");
}
END_TEST

/* ---- workers, pause, drain ----------------------------------------------------------- */

START_TEST(working)
{
	struct rig_daemon *d;
	json_t *j;

	rig_board(B, 0);
	d = daemon_of();
	rig_add(B, .id = "t_1");
	RIG_UNTIL(json_array_size(json_object_get(json(0, "workers"), "workers")) == 1, 5000);
	ck_assert_ptr_nonnull(strstr(ctl(0, "workers")->text, "t_1"));
	(void)ctl(0, "pause", B);
	ck_assert_str_eq(text(json(0, "board", B), "state"), "paused");
	rig_add(B, .id = "t_2");
	(void)ctl(0, "tick", B);
	(void)ctl(0, "tick");
	ck_sql(B, "ready", "SELECT status FROM tasks WHERE id = 't_2'");
	(void)ctl(0, "resume", B);
	RIG_UNTIL(json_array_size(json_object_get(json(0, "workers"), "workers")) == 2, 5000);
	j = json(1, "drain", "--timeout", "0");
	ck_assert(!flag(j, "drained"));
	ck_assert_int_eq(number(j, "workers"), 2);
	ck_assert_ptr_nonnull(strstr(ctl(0, "status")->text, "draining"));
	/* doctor says why nothing starts, and its command ends it */
	j = json(1, "doctor");
	ck_assert_ptr_nonnull(strstr(rig_json_text(j), "resume"));
	rig_let_go();
	j = json(0, "drain", "--timeout", "20");
	ck_assert(flag(j, "drained"));
	ck_assert(flag(json(0, "resume"), "resumed"));
	ck_assert(!flag(json(0, "resume"), "resumed"));
	(void)ctl(66, "pause", "nope");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- events -------------------------------------------------------------------------- */

START_TEST(events)
{
	struct rig_daemon *d;
	char *log, *shell;

	rig_board(B, 0);
	d = daemon_of();
	shell = rig_printf(
		"'%s/kanbanctl' --root '%s' events -f >events.log 2>&1 & echo $! >pid", rig.bin,
		rig.root);
	rig_shell("%s", shell);
	/* it follows from some moment on: what happens again and again is seen */
	RIG_UNTIL((ctl(0, "pause", B), ctl(0, "resume", B), log = rig_read("events.log")) &&
			  strstr(log, "paused ["),
		  10000);
	/* the daemon is gone and comes back: the same process goes on */
	rig_kill9(d);
	d = daemon_of();
	RIG_UNTIL((log = rig_read("events.log")) && strstr(log, "epoch 2"), 20000);
	rig_shell("kill $(cat pid)");
	ck_assert_ptr_nonnull(strstr(ctl(0, "events")->text, "lease-owner"));
	ck_assert_ptr_nonnull(strstr(ctl(0, "events", "--json")->text, "\"message_id\""));
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* ---- mending ------------------------------------------------------------------------- */

START_TEST(mending)
{
	struct rig_daemon *d;
	char *copy;
	json_t *j;

	rig_board(B, 0);
	rig_board("x", 0);
	rig_add("x", .id = "t_1", .assignee = RIG_NOBODY);
	d = daemon_of();
	RIG_UNTIL(flag(json(0, "check", "x"), "well"), 5000);
	copy = rig_printf("%s", text(json(0, "snapshot", "x"), "snapshot"));
	ck_assert_msg(access(copy, F_OK) == 0, "%s", copy);
	ck_assert_ptr_nonnull(strstr(ctl(0, "snapshots", "x")->text, copy));
	rig_sql("x", "DELETE FROM tasks");
	(void)ctl(0, "accept", "x");
	j = json(0, "restore", "x", copy);
	ck_assert(flag(j, "restored"));
	ck_assert_int_eq(number(j, "tasks"), 1);
	ck_sql("x", "t_1", "SELECT id FROM tasks");
	/* damaged, found and repaired without stopping anything */
	j = json(0, "repair", "x", "--dry-run");
	ck_assert(flag(j, "well"));
	(void)ctl(0, "repair", "x");
	ck_assert_int_eq(rig_stop(d), 0);
	/* and by the files */
	ck_assert_ptr_nonnull(
		strstr(rig_kanbanctl("--root", rig.root, "snapshots", "x")->text, copy));
}
END_TEST

/* ---- the rest ------------------------------------------------------------------------ */

START_TEST(rest)
{
	struct rig_daemon *d;
	json_t *j, *check;
	bool answers = false;
	size_t i;

	rig_board(B, 0);
	rig_write("k.conf", "[kanband]\n");
	d = rig_start("--socket", rig_path("k.sock"), "--config", rig_path("k.conf"));
	ck_assert_ptr_nonnull(strstr(ctl(0, "metrics")->text, "\nkanband_uptime_seconds "));
	ck_assert(flag(json(0, "reload"), "reloaded"));
	rig_write("k.conf", "[kanband]\nnonsense = 1\n");
	ck_assert_ptr_nonnull(strstr(ctl(78, "reload")->err, "nonsense"));
	ck_assert_int_eq(number(json(0, "notify", "retry"), "retried"), 0);
	ck_assert_str_eq(text(json(0, "notify"), "source"), "daemon");
	ck_assert_ptr_nonnull(strstr(ctl(0, "top")->text, " workers"));
	j = rig_json(rig_kanbanctl("--root", rig.root, "doctor", "--json")->text);
	json_array_foreach(json_object_get(j, "checks"), i, check)
	{
		if (strcmp(text(check, "check"), "daemon") == 0)
			answers = strcmp(text(check, "status"), "ok") == 0;
	}
	ck_assert(answers);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A daemon that hangs is no daemon that is not there: every verb says so, doctor with the
 * remedy. What the files know is told all the same. */
START_TEST(hanging)
{
	/* exit status and words; each waits two seconds, so all at once */
	static const struct {
		int exit;
		const char *words, *text;
	} verbs[] = {
		{ 1, "status", "from the files: its daemon does not answer" },
		{ 0, "boards", "from the files: its daemon does not answer" },
		{ 0, "board default", "from the files: its daemon does not answer" },
		{ 0, "why t_1", " ! daemon         its daemon does not answer, until it does" },
		{ 0, "leader", "epoch 1" },
		{ 0, "notify", "from the outbox: its daemon does not answer" },
		{ 0, "check default", "sound" },
		{ 0, "snapshots default", "" },
		{ 69, "workers", "" },
		{ 69, "tick", "" },
		{ 69, "pause", "" },
		{ 69, "drain", "" },
		{ 69, "handover", "" },
		{ 69, "events", "" },
		{ 69, "events --follow", "" },
		{ 69, "metrics", "" },
		{ 69, "reload", "" },
		{ 69, "top", "" },
		{ 69, "web", "" },
		{ 69, "start t_1", "" },
	};
	struct rig_daemon *d;
	json_t *j;

	rig_board(B, 0);
	rig_add(B, .id = "t_1", .assignee = RIG_NOBODY);
	d = daemon_of();
	RIG_UNTIL(strstr(ctl(0, "status")->text, "1 has no assignee"), 5000);
	ck_assert_int_eq(kill(d->pid, SIGSTOP), 0);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		rig_shell("{ s=0; '%s/kanbanctl' --root '%s' %s >hung.%zu 2>&1 || s=$?; "
			  "echo $s >hung.%zu.exit; } &",
			  rig.bin, rig.root, verbs[i].words, i, i);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const char *exit = rig_printf("hung.%zu.exit", i);
		const char *said;

		RIG_UNTIL(rig_read(exit) && strchr(rig_read(exit), '\n'), 20000);
		said = rig_read(rig_printf("hung.%zu", i));
		ck_assert_msg(atoi(rig_read(exit)) == verbs[i].exit &&
				      strstr(said, "does not answer: it is stopped or hangs") &&
				      strstr(said, verbs[i].text) &&
				      !strstr(said, "no daemon serves"),
			      "%s: exit %s%s", verbs[i].words, rig_read(exit), said);
	}
	j = rig_json(rig_kanbanctl("--root", rig.root, "doctor", "--json")->text);
	ck_assert_ptr_nonnull(strstr(rig_json_text(j), rig_printf("kill -CONT %d", d->pid)));
	ck_assert_int_eq(kill(d->pid, SIGCONT), 0);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

Suite *test_suite(void)
{
	TCase *tc = rig_tcase("ctl", 120);

	tcase_add_test(tc, looking);
	tcase_add_test(tc, working);
	tcase_add_test(tc, events);
	tcase_add_test(tc, mending);
	tcase_add_test(tc, rest);
	tcase_add_test(tc, hanging);
	return rig_suite("daemon_ctl", tc, NULL);
}
