/*
 * What is nobody's fault is charged to nobody: a host that can start no worker holds everything
 * back and lets go by itself, and an end that kanband saw is booked as what it was, also when
 * it is killed before it could book it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/rig.h"

#define B      "default"
#define T      "t_00000001"
#define BOARDS 20
#define EACH   5
#define SOON   20000

static const char *hermes; /* the real one */

static bool has_kind(const char *task, const char *kind)
{
	return rig_int(B, "SELECT count(*) FROM task_events WHERE task_id=%Q AND kind=%Q", task,
		       kind) > 0;
}

static bool status_is(const char *task, const char *status)
{
	return !strcmp(rig_list(B, "SELECT status FROM tasks WHERE id=%Q", task), status);
}

/* HERMES_BIN is bin/hermes, which is not there yet. */
static void elsewhere(void)
{
	hermes = rig_env_get("HERMES_BIN");
	rig_mkdir("bin");
	rig_env("HERMES_BIN", rig_path("bin/hermes"));
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
}

static void comes(void)
{
	rig_shell("ln -s %s bin/hermes.new && mv bin/hermes.new bin/hermes", hermes);
}

static const char *fault(void)
{
	const struct rig_out *out = rig_kanbanctl("--root", rig.root, "--json", "status");
	json_t *why = json_object_get(json_object_get(rig_json(out->text), "fault"), "why");

	return json_is_string(why) ? json_string_value(why) : "";
}

static const char *held(const char *task)
{
	const struct rig_out *out = rig_kanbanctl("--root", rig.root, "--json", "why", task);
	json_t *by = json_object_get(rig_json(out->text), "held_by");

	return json_is_string(by) ? json_string_value(by) : "";
}

/* ---- an end that was not booked --------------------------------------------------------- */

static const char *ends_file(void)
{
	const char *text = rig_read("root/kanban/.kanband.ends");

	return text ? text : "";
}

/* kanband sees a worker end while the board cannot be had, is killed, and another one comes. */
static struct rig_daemon *seen_and_killed(const char *script, const char *seen)
{
	struct rig_daemon *d;
	int lock;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_board(B, 0);
	rig_do(T, rig_printf("wait go\nsql UPDATE tasks SET assignee='nemo'\ntouch wrote\n"
			     "wait end\n%s",
			     script));
	rig_add(B, .id = T);
	d = rig_start();
	RIG_UNTIL(has_kind(T, "spawned"), SOON);
	rig_write("go", "");
	RIG_UNTIL(rig_exists("wrote"), SOON);
	lock = rig_flock(rig_printf("%s.dispatch.lock", rig_db(B)));
	rig_write("end", "");
	RIG_UNTIL(strstr(ends_file(), seen) != NULL, SOON);
	rig_kill9(d);
	rig_unlock(lock);
	ck_sql(B, "running", "SELECT status FROM tasks");
	return rig_start();
}

START_TEST(test_an_exit_outlives_a_kill)
{
	(void)seen_and_killed("exit 3\n", "\"kind\":\"exited\",\"value\":3");
	RIG_UNTIL(has_kind(T, "crashed"), SOON);
	rig_json_is(json_object_get(rig_event(B, T, "crashed"), "exit_code"), "3", "exit_code");
	ck_sql(B, "ready|1", "SELECT status, consecutive_failures FROM tasks");
	rig_invariant(B);
}
END_TEST

START_TEST(test_a_quota_outlives_a_kill)
{
	(void)seen_and_killed("exit 75\n", "\"value\":75");
	RIG_UNTIL(has_kind(T, "rate_limited"), SOON);
	ck_sql(B, "ready|0", "SELECT status, consecutive_failures FROM tasks");
	rig_invariant(B);
}
END_TEST

START_TEST(test_a_signal_outlives_a_kill)
{
	(void)seen_and_killed("signal 6\n", "\"kind\":\"signaled\",\"value\":6");
	RIG_UNTIL(has_kind(T, "crashed"), SOON);
	rig_json_is(json_object_get(rig_event(B, T, "crashed"), "exit_kind"), "\"signaled\"",
		    "exit_kind");
	rig_invariant(B);
}
END_TEST

/* What is no such file is left alone, and what it does not say is unknown, as without it. */
START_TEST(test_no_file_of_ends)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_board(B, 0);
	rig_mkdir("root/kanban/.kanband.ends");
	rig_write("root/kanban/.kanband.ends.old",
		  "{\"db\":1}\nnonsense\n{\"db\":\"x\",\"task\":\"t\",\"run\":1,\"pid\":0,"
		  "\"kind\":\"exited\",\"value\":999}\n{\"cut");
	rig_do(T, "sql UPDATE tasks SET assignee='nemo'\nexit 3\n");
	rig_add(B, .id = T);
	d = rig_start();
	RIG_UNTIL(has_kind(T, "crashed"), SOON);
	ck_assert_ptr_nonnull(strstr(rig_err(d), ".kanband.ends cannot be written"));
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A worker whose task somebody set back to ready while no kanband ran. */
static void reset_while_away(void)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_board(B, 0);
	rig_write("k.conf", "[kanband]\nmax_in_progress = 1\n");
	rig_do(T, "alone\nwait go\ndone\n");
	rig_add(B, .id = T);
	d = rig_start("--config", rig_path("k.conf"));
	RIG_UNTIL(has_kind(T, "spawned"), SOON);
	rig_kill9(d);
	rig_sql(B, "UPDATE tasks SET status = 'ready', claim_lock = NULL, worker_pid = NULL,"
		   " current_run_id = NULL");
}

/* It takes a place, its task waits for its end, and nobody is started beside it. */
static void check_it_is_waited_for(struct rig_daemon *d)
{
	rig_add(B, .id = "t_00000002");
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status = 'ready'") == 2, SOON);
	RIG_UNTIL(!strcmp(held(T), "worker") && !strcmp(held("t_00000002"), "places"), SOON);
	ck_assert_uint_eq(rig_ran_count(T), 1);
	ck_assert_uint_eq(rig_ran_count("t_00000002"), 0);
	rig_write("go", "");
	RIG_UNTIL(rig_ran_count(T) + rig_ran_count("t_00000002") >= 2, SOON);
	ck_assert(!rig_exists("DOUBLE"));
	rig_let_go();
	ck_assert_int_eq(rig_stop(d), 0);
}

START_TEST(test_a_worker_whose_row_was_reset)
{
	reset_while_away();
	check_it_is_waited_for(rig_start("--config", rig_path("k.conf")));
}
END_TEST

static bool was_locked(void)
{
	const char *locked = strstr(rig_kanbanctl("--root", rig.root, "metrics")->text,
				    "kanband_visits_total{outcome=\"locked\"} ");

	return locked && strtol(strchr(locked, ' '), NULL, 10) > 0;
}

/* The first visits find the board locked by another, and none is waited for before claims
 * begin: what lives is known all the same. */
START_TEST(test_a_worker_whose_row_was_reset_in_a_busy_board)
{
	struct rig_daemon *d;
	int lock;

	reset_while_away();
	lock = rig_flock(rig_printf("%s.dispatch.lock", rig_db(B)));
	d = rig_start("--config", rig_path("k.conf"));
	RIG_UNTIL(was_locked(), SOON);
	rig_unlock(lock);
	check_it_is_waited_for(d);
}
END_TEST

/* ---- the host --------------------------------------------------------------------------- */

static int64_t over_boards(const char *sql)
{
	int64_t n = rig_int(B, "%s", sql);

	for (int i = 1; i < BOARDS; i++)
		n += rig_int(rig_printf("b%d", i), "%s", sql);
	return n;
}

static void many_tasks(void)
{
	for (int i = 0; i < BOARDS; i++)
		for (int k = 0; k < EACH; k++)
			rig_add(i == 0 ? B : rig_printf("b%d", i),
				.id = rig_printf("t_%04d%04d", i, k));
}

/* hermes is away under many ready tasks on many boards: nothing is charged, and all of them
 * run when it is back, which its folder tells. */
START_TEST(test_hermes_is_away)
{
	struct rig_daemon *d;

	elsewhere();
	rig_board(B, 0);
	for (int i = 1; i < BOARDS; i++)
		rig_board(rig_printf("b%d", i), 0);
	rig_do("default", "done\n");
	rig_write("k.conf", "[kanband]\nmax_in_progress = 50\n");
	d = rig_start("--config", rig_path("k.conf"));
	many_tasks();
	RIG_UNTIL(*fault() != '\0', SOON);
	ck_assert_ptr_nonnull(strstr(fault(), "bin/hermes"));
	ck_assert_int_eq(over_boards("SELECT count(*) FROM tasks WHERE status = 'ready'"),
			 BOARDS * EACH);
	comes();
	RIG_UNTIL(over_boards("SELECT count(*) FROM tasks WHERE status = 'done'") ==
			  BOARDS * EACH,
		  SOON);
	ck_assert_int_eq(
		over_boards("SELECT coalesce(sum(consecutive_failures), 0) FROM tasks"), 0);
	ck_assert_str_eq(fault(), "");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* A worker that ends at once with what a shell says when a program is not there, or may not be
 * run: the host's fault, until it runs for a second or ends otherwise. */
static void check_unbegun(const char *script)
{
	struct rig_daemon *d;

	elsewhere();
	rig_write("bin/hermes", script);
	rig_shell("chmod 755 bin/hermes");
	rig_board(B, 0);
	rig_do("default", "done\n");
	d = rig_start();
	for (int k = 0; k < EACH; k++)
		rig_add(B, .id = rig_printf("t_0000%04d", k));
	RIG_UNTIL(strstr(fault(), "ended at once with exit status") != NULL, SOON);
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status = 'ready'") == EACH,
		  SOON);
	ck_sql(B, "0", "SELECT sum(consecutive_failures) FROM tasks");
	comes();
	RIG_UNTIL(rig_int(B, "SELECT count(*) FROM tasks WHERE status = 'done'") == EACH, SOON);
	ck_sql(B, "0", "SELECT sum(consecutive_failures) FROM tasks");
	ck_assert_int_eq(rig_stop(d), 0);
}

START_TEST(test_exit_127)
{
	check_unbegun("#!/bin/sh\nexec /no/such/venv/bin/python \"$@\"\n");
}
END_TEST

START_TEST(test_exit_126)
{
	check_unbegun("#!/bin/sh\nexec / \"$@\"\n");
}
END_TEST

/* What every try writes to is not taken for the return of the program beside it: tries go on
 * with their back-off. */
START_TEST(test_exit_127_in_a_busy_folder)
{
	/* a log beside it, which each try writes to; or the board itself */
	const char *program = _i ? "root/hermes" : "bin/hermes";
	struct rig_daemon *d;

	elsewhere();
	rig_env("HERMES_BIN", rig_path(program));
	rig_board(B, 0);
	rig_write(program, _i ? "#!/bin/sh\nexit 127\n"
			      : "#!/bin/sh\necho >>\"${0%/*}/log\"\nexit 127\n");
	rig_shell("chmod 755 %s", program);
	d = rig_start();
	rig_add(B, .id = T);
	/* the two of the first second, as they come, and few after that */
	RIG_UNTIL(strstr(fault(), "ended at once with exit status") != NULL, SOON);
	for (int64_t until = rig_mono_us() + 3000000; rig_mono_us() < until;)
		rig_pause();
	ck_assert_int_le(rig_int(B, "SELECT count(*) FROM task_runs"), 8);
	ck_sql(B, "0", "SELECT sum(consecutive_failures) FROM tasks");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* It comes back while a try with what was there before is under way: here the try's own doing,
 * so that it is so each time, and it goes on for a moment after it. The back-off is 8 s by
 * then. */
START_TEST(test_exit_127_overtaken)
{
	struct rig_daemon *d;
	int64_t back;

	elsewhere();
	rig_write("bin/hermes", "#!/bin/sh\ncd \"${0%/*}/..\"\necho >>tries\n"
				"[ \"$(wc -l <tries)\" -lt 4 ] || { mv bin/hermes.new "
				"bin/hermes; sleep 0.3; }\n"
				"exit 127\n");
	rig_shell("chmod 755 bin/hermes && ln -s %s bin/hermes.new", hermes);
	rig_board(B, 0);
	rig_do(T, "done\n");
	d = rig_start();
	rig_add(B, .id = T);
	RIG_UNTIL(!rig_exists("bin/hermes.new"), SOON);
	back = rig_mono_us();
	RIG_UNTIL(status_is(T, "done"), SOON);
	/* before the back-off's, which no load makes come sooner */
	ck_assert_int_lt(rig_mono_us() - back, 7000000);
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* One that says so after a second has begun: that is the task's. */
START_TEST(test_exit_127_later)
{
	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_board(B, 0);
	rig_do(T, "sql UPDATE tasks SET assignee='nemo'\nwait go\nexit 127\n");
	rig_add(B, .id = T);
	(void)rig_start();
	RIG_UNTIL(has_kind(T, "spawned"), SOON);
	/* the second that makes the difference */
	for (int64_t until = rig_mono_us() + 1200000; rig_mono_us() < until;)
		rig_pause();
	rig_write("go", "");
	RIG_UNTIL(has_kind(T, "crashed"), SOON);
	ck_sql(B, "1", "SELECT consecutive_failures FROM tasks");
	ck_assert_str_eq(fault(), "");
}
END_TEST

/* A board whose folder of logs, or of workspaces, is none: that board waits, uncharged and told
 * once, and goes on by itself; the others do not notice. */
START_TEST(test_a_board_without_its_folder)
{
	const char *folder =
		rig_printf("root/kanban/boards/other/%s", _i ? "workspaces" : "logs");
	const char *told = "no worker can be started";
	struct rig_daemon *d;
	char *line;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_board(B, 0);
	rig_board("other", 0);
	rig_do("default", "done\n");
	rig_write(folder, "");
	d = rig_start();
	rig_add("other", .id = "t_other");
	RIG_UNTIL(*fault() != '\0', SOON);
	for (int i = 0; i < 10; i++) {
		char *id = rig_printf("t_%d", i);

		rig_add(B, .id = id);
		RIG_UNTIL(status_is(id, "done"), SOON);
	}
	ck_sql("other", "0", "SELECT consecutive_failures FROM tasks");
	/* a try of the back-off has it claimed for a moment */
	RIG_UNTIL(!strcmp(rig_list("other", "SELECT status FROM tasks"), "ready"), SOON);
	line = strstr(rig_err(d), told);
	ck_assert_ptr_nonnull(line);
	ck_assert_ptr_null(strstr(line + 1, told));
	rig_shell("rm %s", folder);
	RIG_UNTIL(rig_int("other", "SELECT count(*) FROM tasks WHERE status = 'done'") == 1,
		  4 * SOON);
	ck_sql("other", "0", "SELECT consecutive_failures FROM tasks");
	ck_assert_str_eq(fault(), "");
	ck_assert_int_eq(rig_stop(d), 0);
}
END_TEST

/* No room for a workspace. */
START_TEST(test_a_full_disk)
{
	struct rig_daemon *d;

	if (!rig_private_mounts())
		return;
	rig_board(B, 0);
	rig_do("default", "done\n");
	rig_mkdir("work");
	rig_shell("mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs work");
	rig_config(rig_printf("workspaces_root: %s", rig_path("work")));
	rig_env("HERMES_KANBAN_WORKSPACES_ROOT", rig_path("work"));
	d = rig_start();
	rig_add(B, .id = T);
	RIG_UNTIL(*fault() != '\0', SOON);
	ck_assert_ptr_nonnull(strstr(fault(), "No space left on device"));
	ck_sql(B, "0", "SELECT consecutive_failures FROM tasks");
	rig_shell("mount -o remount,size=1m,nr_inodes=1000 work");
	RIG_UNTIL(status_is(T, "done"), SOON);
	ck_sql(B, "0", "SELECT consecutive_failures FROM tasks");
	ck_assert_int_eq(rig_stop(d), 0);
	rig_shell("umount work");
}
END_TEST

/* Its end is seen before its start is recorded, and told after it. */
START_TEST(test_quick_ends_are_told_after_their_starts)
{
	struct rig_daemon *d;

	rig_env("HERMES_KANBAN_CRASH_GRACE_SECONDS", "0");
	rig_config("dispatch_interval_seconds: 600");
	rig_board(B, 0);
	d = rig_start();
	for (int i = 1; i < 12; i++) {
		char *id = rig_printf("t_%08d", i);

		rig_do(id, "exit 3\n");
		rig_add(B, .id = id, .set = "max_retries=1");
		RIG_UNTIL(status_is(id, "blocked"), SOON);
	}
	for (int i = 1; i < 12; i++) {
		const char *at = strstr(rig_err(d), rig_printf(" t_%08d] ", i));

		ck_assert_ptr_nonnull(at);
		ck_assert_msg(strstr(at, "] started worker") == at + 11, "%s", at);
	}
}
END_TEST

Suite *test_suite(void)
{
	TCase *ends = rig_tcase("ends", 60), *host = rig_tcase("host", 90);

	tcase_add_test(ends, test_an_exit_outlives_a_kill);
	tcase_add_test(ends, test_a_quota_outlives_a_kill);
	tcase_add_test(ends, test_a_signal_outlives_a_kill);
	tcase_add_test(ends, test_quick_ends_are_told_after_their_starts);
	tcase_add_test(ends, test_no_file_of_ends);
	tcase_add_test(ends, test_a_worker_whose_row_was_reset);
	tcase_add_test(ends, test_a_worker_whose_row_was_reset_in_a_busy_board);
	tcase_add_test(host, test_hermes_is_away);
	tcase_add_test(host, test_exit_127);
	tcase_add_test(host, test_exit_126);
	tcase_add_loop_test(host, test_a_board_without_its_folder, 0, 2);
	tcase_add_loop_test(host, test_exit_127_in_a_busy_folder, 0, 2);
	tcase_add_test(host, test_exit_127_overtaken);
	tcase_add_test(host, test_exit_127_later);
	tcase_add_test(host, test_a_full_disk);
	return rig_suite("daemon: faults", ends, host, NULL);
}
