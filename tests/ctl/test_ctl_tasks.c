/* What an operator does to tasks: edit, assign, link, schedule, retry, kill, cancel, archive,
 * subscribe; logs; gc. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "util/fs.h"
#include "util/suggest.h"

static char id[80]; /* a task that is ready */

static void setup(void)
{
	world_setup();
	(void)ok("init");
	(void)snprintf(id, sizeof(id), "%s", ok("add", "--assignee", "ann", "one"));
}

static const char *value(const char *column)
{
	char sql[256];

	(void)snprintf(sql, sizeof(sql), "SELECT %s FROM tasks WHERE id = '%s'", column, id);
	return world_sql("kanban.db", sql);
}

static const char *last_event(void)
{
	char sql[256];

	(void)snprintf(
		sql, sizeof(sql),
		"SELECT kind || ' ' || coalesce(payload, '') FROM task_events WHERE task_id ="
		" '%s' ORDER BY id DESC LIMIT 1",
		id);
	return world_sql("kanban.db", sql);
}

START_TEST(edited)
{
	(void)ok("edit", id, "--title", "two", "--body", "all of it", "--priority", "-3",
		 "--max-runtime", "60");
	ck_assert_str_eq(value("title || body || priority || max_runtime_seconds"),
			 "twoall of it-360");
	ck_assert_ptr_nonnull(strstr(last_event(), "edited {\"fields\": ["));
	/* what is not named stays; "" and 0 take away */
	(void)ok("edit", id, "--body", "", "--max-runtime", "0");
	ck_assert_str_eq(value("title || (body IS NULL) || (max_runtime_seconds IS NULL)"),
			 "two11");
	fails(64, "nothing is to be changed", "edit", id);
	fails(64, "needs a title", "edit", id, "--title", " ");
	fails(66, "there is no task", "edit", "t_none", "--title", "x");
	fails(64, "did you mean blocked?", "list", "--status", "blokced");
}
END_TEST

START_TEST(assigned)
{
	(void)world_sql("kanban.db", "UPDATE tasks SET consecutive_failures = 1");
	(void)ok("assign", id, " Ben ");
	ck_assert_str_eq(value("assignee || consecutive_failures"), "ben0");
	(void)ok("assign", id, "-");
	ck_assert_str_eq(value("assignee IS NULL"), "1");
	(void)world_sql("kanban.db", "UPDATE tasks SET status = 'running', claim_lock = 'h:1'");
	fails(1, "is running", "assign", id, "ann");
}
END_TEST

/* A slip is answered with what was meant, here and there. */
START_TEST(slips)
{
	const char *said;

	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/coder"), 0755), 0);
	said = kanbanctl("assign", id, "codr")->err;
	ck_assert_ptr_nonnull(strstr(said, "there is no profile codr"));
	ck_assert_ptr_nonnull(strstr(said, "did you mean coder"));
	ck_assert_str_eq(value("assignee"), "codr"); /* it may come yet */
	ck_assert_str_eq(kanbanctl("assign", id, "coder")->err, "");
	ck_assert_ptr_nonnull(strstr(kanbanctl("assign", id, "--", "../x y")->err,
				     "../x y can be no profile"));
	ck_assert_ptr_nonnull(strstr(ok("assign", id, " "), "nobody"));
	ck_assert_str_eq(value("assignee IS NULL"), "1");
	fails(64, "did you mean ready", "list", "--status", "raedy");
	fails(64, "kanbanctl words statuses", "list", "--status", "zzzzzzzzzz");
	(void)world_sql("kanban.db", "UPDATE tasks SET status = 'of-tomorrow'");
	ck_assert_ptr_nonnull(strstr(ok("list", "--status", "of-tomorrow"), id));
	ck_assert_str_eq(ok("list", "--status", "done"), "");
}
END_TEST

START_TEST(linked)
{
	char parent[80];

	(void)snprintf(parent, sizeof(parent), "%s", ok("add", "parent"));
	(void)ok("link", id, parent);
	ck_assert_str_eq(value("status"), "todo");
	ck_assert_ptr_nonnull(strstr(last_event(), "linked"));
	fails(1, "wait for each other", "link", parent, id);
	fails(64, "cannot wait for itself", "link", id, id);
	fails(66, "there is no task t_none", "link", id, "t_none");
	(void)ok("unlink", id, parent);
	ck_assert_str_eq(world_sql("kanban.db", "SELECT COUNT(*) FROM task_links"), "0");
	fails(1, "does not wait for", "unlink", id, parent);
}
END_TEST

START_TEST(scheduled)
{
	(void)ok("schedule", id, "--at", "@2000000000", "--reason", "later");
	ck_assert_str_eq(value("status"), "scheduled");
	ck_assert_ptr_nonnull(strstr(last_event(), "\"at\": 2000000000"));
	(void)ok("retry", id);
	ck_assert_str_eq(value("status"), "ready");
	fails(64, "--at takes a time", "schedule", id, "--at", "soon");
	(void)ok("complete", id);
	fails(1, "can be scheduled", "schedule", id);
}
END_TEST

START_TEST(retried)
{
	(void)world_sql("kanban.db", "UPDATE tasks SET consecutive_failures = 2,"
				     " last_failure_error = 'x', status = 'blocked'");
	(void)ok("retry", id);
	ck_assert_str_eq(value("status || consecutive_failures"), "ready0");
	(void)world_sql("kanban.db", "UPDATE tasks SET consecutive_failures = 1");
	(void)ok("retry", id);
	ck_assert_str_eq(value("consecutive_failures"), "0");
	ck_assert_ptr_nonnull(strstr(last_event(), "respawn_guard_cleared"));
	(void)ok("complete", id);
	fails(1, "only what waits", "retry", id);
}
END_TEST

/* A process that is the worker of run 7 of the task. */
static pid_t worker(void)
{
	static char task[100], db[300];
	char sql[512];
	pid_t pid;

	(void)snprintf(task, sizeof(task), "HERMES_KANBAN_TASK=%s", id);
	(void)snprintf(db, sizeof(db), "HERMES_KANBAN_DB=%s/kanban.db", world_root);
	pid = fork();
	if (pid == 0) {
		char *argv[] = { (char[]){ "sleep" }, (char[]){ "300" }, NULL };
		char *env[] = { task, db, (char[]){ "HERMES_KANBAN_RUN_ID=7" }, NULL };

		(void)setsid();
		(void)execve("/bin/sleep", argv, env);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	(void)snprintf(
		sql, sizeof(sql),
		"INSERT INTO task_runs (id, task_id, status, started_at, worker_pid) VALUES"
		" (7, '%s', 'running', %lld, %d)",
		id, (long long)time(NULL), (int)pid);
	(void)world_sql("kanban.db", sql);
	(void)snprintf(
		sql, sizeof(sql),
		"UPDATE tasks SET status = 'running', claim_lock = 'h:1', current_run_id = 7,"
		" worker_pid = %d WHERE id = '%s'",
		(int)pid, id);
	(void)world_sql("kanban.db", sql);
	/* it is who it says only once it is that program */
	for (int i = 0; i < 500; i++) {
		char path[64];
		CLEANUP(freep) char *comm = NULL;

		(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
		if (fs_read_file(path, 64, &comm, NULL) == 0 && strcmp(comm, "sleep\n") == 0)
			break;
		(void)usleep(10000);
	}
	return pid;
}

static void gone(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "%x", status);
}

START_TEST(killed)
{
	pid_t pid = worker();

	ck_assert_ptr_nonnull(strstr(ok("kill", id), "was ended"));
	gone(pid);
	ck_assert_str_eq(value("status || consecutive_failures || (current_run_id IS NULL)"),
			 "ready01");
	ck_assert_str_eq(world_sql("kanban.db", "SELECT outcome FROM task_runs"), "reclaimed");
	ck_assert_ptr_nonnull(strstr(last_event(), "\"manual\": true"));
	fails(1, "no worker has it", "kill", id);
}
END_TEST

START_TEST(cancelled)
{
	pid_t pid = worker();
	json_t *j = parsed(0, "cancel", id, "--reason", "not needed");

	gone(pid);
	ck_assert(json_is_true(json_object_get(j, "worker_ended")));
	json_decref(j);
	ck_assert_str_eq(value("status"), "archived");
	ck_assert_ptr_nonnull(strstr(last_event(), "not needed"));
	fails(1, "archived already", "archive", id);
}
END_TEST

/* A row may name any process: it is not the worker of that run, and lives. */
START_TEST(stranger_lives)
{
	char sql[256];
	pid_t pid = fork();

	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(
		sql, sizeof(sql),
		"UPDATE tasks SET status = 'running', claim_lock = 'h:1', current_run_id = 7,"
		" worker_pid = %d",
		(int)pid);
	(void)world_sql("kanban.db", sql);
	ck_assert_ptr_null(strstr(ok("kill", id), "was ended"));
	ck_assert_int_eq(kill(pid, 0), 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(subscribed)
{
	(void)ok("subscribe", id, "--platform", "telegram", "--chat", "42");
	(void)ok("subscribe", id, "--platform", "telegram", "--chat", "42");
	ck_assert_str_eq(world_sql("kanban.db",
				   "SELECT COUNT(*) || min(chat_id) || min(last_event_id > 0)"
				   " FROM kanban_notify_subs"),
			 "1421");
	fails(64, "needs a platform and a chat", "subscribe", id, "--chat", "42");
	fails(64, "no mode", "subscribe", id, "--platform", "x", "--chat", "1", "--mode", "y");
	fails(64, "begins with no dash", "subscribe", id, "--platform=-x", "--chat", "1");
	/* a slip is told, a plugin's platform passes, what has a poller of its own is named */
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("subscribe", id, "--platform", "telegarm", "--chat", "1")->err,
		       "Hermes brings no platform telegarm; did you mean telegram?"));
	ck_assert_str_eq(kanbanctl("subscribe", id, "--platform", "irc", "--chat", "1")->err,
			 "");
	ck_assert_ptr_nonnull(
		strstr(kanbanctl("subscribe", id, "--platform", "tui", "--chat", "1")->err,
		       "tui has a way of its own to be told"));
	(void)ok("archive", id);
	fails(1, "is archived", "subscribe", id, "--platform", "telegram", "--chat", "43");
}
END_TEST

START_TEST(logs)
{
	char name[128];

	fails(66, "has no log", "logs", id);
	fails(66, "there is no task t_nope on this board; \"kanbanctl list\"", "logs",
	      "t_nope");
	fails(66, "there is no task t_nope on this board; \"kanbanctl list\"", "why", "t_nope");
	fails(64, "is no id", "logs", "../x");
	(void)snprintf(name, sizeof(name), "kanban/logs/%s.log.1", id);
	world_put(name, "first\n", 6);
	(void)snprintf(name, sizeof(name), "kanban/logs/%s.log.2", id);
	world_put(name, "before\n", 7);
	(void)snprintf(name, sizeof(name), "kanban/logs/%s.log", id);
	world_put(name, "now\n", 4);
	ck_assert_str_eq(ok("logs", id), "before\nfirst\nnow");
	ck_assert_str_eq(ok("logs", id, "--current"), "now");
	ck_assert_ptr_nonnull(strstr(ok("show", id), world_path(name)));
}
END_TEST

/* The end of them, over all files, in whole lines. */
START_TEST(logs_end)
{
	char name[128];
	const struct ctl_result *r;

	(void)snprintf(name, sizeof(name), "kanban/logs/%s.log.1", id);
	world_put(name, "one\ntwo\nthree\n", 14);
	(void)snprintf(name, sizeof(name), "kanban/logs/%s.log", id);
	world_put(name, "four\n\nsix", 9);
	ck_assert_str_eq(ok("logs", id, "-n", "0"), "");
	ck_assert_str_eq(ok("logs", id, "-n", "1"), "six");
	ck_assert_str_eq(ok("logs", id, "-n", "2"), "\nsix");
	ck_assert_str_eq(ok("logs", id, "-n", "3"), "four\n\nsix");
	ck_assert_str_eq(ok("logs", id, "-n", "4"), "three\nfour\n\nsix");
	ck_assert_str_eq(ok("logs", id, "--limit", "99"), "one\ntwo\nthree\nfour\n\nsix");
	ck_assert_str_eq(ok("logs", id, "-n", "4", "--current"), "four\n\nsix");
	fails(64, "", "logs", id, "-n", "-1");
	/* a hole of 3 GiB, as a worker that seeks makes it */
	ck_assert_int_eq(truncate(world_path(name), INT64_C(3) << 30), 0);
	r = kanbanctl("logs", id);
	ck_assert_int_eq(r->exit, 0);
	ck_assert_uint_eq(r->out_len, 16 << 20);
	ck_assert_ptr_nonnull(strstr(r->err, "3204448270 bytes before that are left out"));
	r = kanbanctl("logs", id, "-n", "1");
	ck_assert_uint_eq(r->out_len, 16 << 20);
	ck_assert_ptr_nonnull(strstr(r->err, "bytes before that are left out"));
}
END_TEST

static void shown(struct world_child c, off_t bytes)
{
	for (int i = 0; i < 1000 && lseek(c.out, 0, SEEK_END) < bytes; i++)
		(void)usleep(10000);
	ck_assert_int_ge(lseek(c.out, 0, SEEK_END), bytes);
}

static void append(const char *name, const char *text)
{
	FILE *f = fopen(world_path(name), "ae");

	ck_assert_ptr_nonnull(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static void moved(const char *from, const char *to)
{
	CLEANUP(freep) char *old = strdup(world_path(from));

	ck_assert_int_eq(rename(old, world_path(to)), 0);
}

/* What is written later, also into another file under the name, or into one that was emptied.
 */
START_TEST(logs_followed)
{
	char name[128], old[140], older[140];
	struct world_child c;

	(void)snprintf(name, sizeof(name), "kanban/logs/%s.log", id);
	(void)snprintf(old, sizeof(old), "%s.1", name);
	(void)snprintf(older, sizeof(older), "%s.2", name);
	world_put(name, "one\n", 4);
	c = world_start((const char *const[]){ "logs", "-f", id, NULL });
	shown(c, 4);
	append(name, "two\n");
	shown(c, 8);
	moved(name, old);
	world_put(name, "three\n", 6);
	shown(c, 14);
	ck_assert_int_eq(truncate(world_path(name), 0), 0);
	append(name, "4\n");
	shown(c, 16);
	/* while nobody looks: a last line, and two rotations */
	ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
	append(name, "five\n");
	moved(old, older);
	moved(name, old);
	world_put(name, "six\n", 4);
	moved(old, older);
	moved(name, old);
	world_put(name, "seven\n", 6);
	ck_assert_int_eq(kill(c.pid, SIGCONT), 0);
	shown(c, 31);
	ck_assert_int_eq(kill(c.pid, SIGTERM), 0);
	ck_assert_str_eq(world_wait(c)->out, "one\ntwo\nthree\n4\nfive\nsix\nseven\n");
}
END_TEST

static void aged(const char *name)
{
	const struct utimbuf old = { 1000, 1000 };

	ck_assert_int_eq(utime(world_path(name), &old), 0);
}

START_TEST(collected)
{
	char work[128], log[128], file[140], fresh[80], link_name[140];

	(void)snprintf(fresh, sizeof(fresh), "%s", ok("add", "fresh"));
	(void)snprintf(work, sizeof(work), "kanban/workspaces/%s", id);
	(void)snprintf(log, sizeof(log), "kanban/logs/%s.log", id);
	(void)snprintf(file, sizeof(file), "%s/deep/er", work);
	(void)snprintf(link_name, sizeof(link_name), "%s/link", work);
	world_put(file, "x", 1);
	world_put("keep/me", "x", 1);
	ck_assert_int_eq(symlink(world_path("keep"), world_path(link_name)), 0);
	world_put(log, "x", 1);
	(void)ok("complete", id);
	aged(work);
	aged(log);
	/* over only now */
	ck_assert_str_eq(ok("gc"), "default: 0 workspaces and 0 logs removed");
	(void)world_sql("kanban.db", "UPDATE tasks SET completed_at = 2000");
	(void)snprintf(link_name, sizeof(link_name), "kanban/workspaces/%s/x", fresh);
	world_put(link_name, "x", 1);
	ck_assert_str_eq(ok("gc", "--dry-run"),
			 "default: 1 workspaces and 1 logs would be removed");
	ck_assert_int_eq(access(world_path(log), F_OK), 0);
	ck_assert_str_eq(ok("gc"), "default: 1 workspaces and 1 logs removed");
	ck_assert_int_ne(access(world_path(work), F_OK), 0);
	ck_assert_int_ne(access(world_path(log), F_OK), 0);
	/* not what a link in it names, not what is not over */
	ck_assert_int_eq(access(world_path("keep/me"), F_OK), 0);
	ck_assert_int_eq(access(world_path(link_name), F_OK), 0);
}
END_TEST

/* Tables for eyes and for scripts. */
START_TEST(tables)
{
	char want[200];

	(void)ok("add", "--priority", "5", "two words");
	(void)snprintf(want, sizeof(want), "ready  two words\nready  one");
	ck_assert_str_eq(ok("list", "--noheadings", "-o", "status,title"), want);
	ck_assert_str_eq(ok("list", "--raw", "--noheadings", "-o", "Title,PRIO"),
			 "two\\x20words 5\none 0");
	ck_assert_ptr_nonnull(strstr(ok("list", "--output=title"), "TITLE\ntwo words\none"));
	fails(64, "there is no column nope, but TASK, STATUS", "list", "-o", "title,nope");
}
END_TEST

/* What is written is what the dispatcher reads; test_scheduled and test_moment have the rest.
 */
START_TEST(timed)
{
	char at[80], every[80];

	(void)snprintf(at, sizeof(at), "%s", ok("add", "--at", "@2000000000", "at"));
	(void)snprintf(
		every, sizeof(every), "%s",
		ok("add", "--every", "Mon 09:00 UTC", "--idempotency-key", "k", "again"));
	ck_assert_str_eq(world_sql("kanban.db", "SELECT group_concat(status) FROM tasks"),
			 "ready,scheduled,scheduled");
	ck_assert_ptr_nonnull(strstr(ok("show", every), "every       Mon 09:00 UTC"));
	ck_assert_ptr_nonnull(strstr(ok("show", at), "scheduled   2033-05-18"));
	ck_assert_ptr_nonnull(strstr(ok("list"), "scheduled for 2033-05-18"));
	ck_assert_ptr_nonnull(strstr(ok("why", at), "2033-05-18"));
	/* the series is there already */
	ck_assert_str_eq(ok("add", "--every", "hourly", "--idempotency-key", "k", "x"), every);
	(void)ok("edit", every, "--every", "2000..2040-05-18 10:00 UTC");
	ck_assert_ptr_null(strstr(ok("show", every), "every       Mon"));
	(void)ok("edit", every, "--every", "");
	ck_assert_ptr_null(strstr(ok("show", every), "  every "));
	fails(64, "see systemd.time(7)", "add", "--every", "noonish", "x");
	fails(64, "all of it is past", "add", "--every", "2020-01-01", "x");
	fails(64, "tomorrow 09:00", "add", "--at", "noonish", "x");
	fails(64, "not for both", "add", "--at", "@2000000000", "--triage", "x");
	fails(64, "see systemd.time(7)", "edit", id, "--every", "noonish");
}
END_TEST

START_TEST(suggestions)
{
	static const char *const names[] = { "status", "start", "stop", "snapshot",
					     "snapshots" };

	ck_assert_str_eq(suggest("stauts", names, 5), "status");
	ck_assert_str_eq(suggest("statu", names, 5), "status");
	ck_assert_str_eq(suggest("sotp", names, 5), "stop");
	ck_assert_ptr_null(suggest("snap", names, 5)); /* two */
	ck_assert_ptr_null(suggest("frobnicate", names, 5));
	ck_assert_ptr_null(suggest("", names, 5));
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = {
		edited,        assigned,  slips,          linked,     scheduled,   retried,
		killed,        cancelled, stranger_lives, subscribed, logs,        logs_end,
		logs_followed, collected, tables,         timed,      suggestions,
	};
	Suite *s = suite_create("ctl_tasks");
	TCase *tc = tcase_create("tasks");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, world_teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	return s;
}
