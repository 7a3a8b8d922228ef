/* The built kanbanctl: every verb, every exit code. */
#include <check.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "kit/tasks.h"
#include "util/fs.h"

static char *verbs[64]; /* the names that `words verbs` prints */
static size_t n_verbs;

static void list_verbs(void)
{
	const char *line = ok("words", "verbs");

	for (size_t n; (n = strcspn(line, "\t")) > 0 && line[n];
	     line += strcspn(line, "\n") + 1) {
		ck_assert_uint_lt(n_verbs, sizeof(verbs) / sizeof(verbs[0]));
		verbs[n_verbs++] = strndup(line, n);
	}
	ck_assert_uint_gt(n_verbs, 0);
}

/* ---- usage --------------------------------------------------------------------------- */

START_TEST(help_and_version)
{
	const char *help;
	glob_t files;

	list_verbs();
	ck_assert_ptr_nonnull(strstr(ok("--version"), "kanbanctl "));
	help = ok("--help");
	for (size_t i = 0; i < n_verbs; i++)
		ck_assert_ptr_nonnull(strstr(help, verbs[i]));
	for (size_t i = 0; i < n_verbs; i++) {
		help = ok(verbs[i], "--help");
		ck_assert_ptr_nonnull(strstr(help, verbs[i]));
		ck_assert_ptr_nonnull(strstr(help, "--json"));
	}
	/* one for each file, but for `words` itself, unless run from elsewhere than the top */
	if (glob("src/ctl/verb_*.c", 0, NULL, &files) == 0) {
		ck_assert_uint_eq(files.gl_pathc, n_verbs + 1);
		globfree(&files);
	}
	ck_assert_ptr_nonnull(strstr(ok("--root", "/x", "add", "--help"), "--assignee"));
	/* nothing was made by asking */
	ck_assert_int_ne(access(world_path("kanban"), F_OK), 0);
}
END_TEST

/* Every verb, and every option that a help text names, is in the manual. */
START_TEST(manual)
{
	CLEANUP(freep) char *page = NULL;

	if (fs_read_file("man/kanbanctl.1", 1 << 20, &page, NULL) < 0)
		return; /* run from elsewhere than the top of the source */
	list_verbs();
	for (size_t i = 0; i < n_verbs; i++) {
		const char *help = ok(verbs[i], "--help");
		char want[64];

		(void)snprintf(want, sizeof(want), ".It Cm %s", verbs[i]);
		ck_assert_msg(strstr(page, want) != NULL, "no %s", want);
		while ((help = strstr(help, " --")) != NULL) {
			size_t n = strcspn(help + 3, " \n:;,");

			help += 3;
			(void)snprintf(want, sizeof(want), "Fl -%.*s ", (int)n, help);
			if (!strstr(page, want))
				want[strlen(want) - 1] = '\n';
			ck_assert_msg(strstr(page, want) != NULL, "%s: no %s", verbs[i], want);
		}
	}
}
END_TEST

START_TEST(mistakes)
{
	const struct ctl_result *r = kanbanctl("--json");

	ck_assert_int_eq(r->exit, 64);
	ck_assert_ptr_nonnull(strstr(r->err, "usage:"));
	fails(64, "frobnicate", "frobnicate");
	fails(64, "did you mean status?", "stauts");
	fails(64, "did you mean --assignee?", "add", "--asignee", "x", "y");
	fails(64, "may be any of --max-runtime, --max-retries", "add", "--max-r", "1", "y");
	fails(64, "takes no value", "list", "--all=1");
	fails(64, "--frob", "--frob", "list");
	fails(64, "--frob", "list", "--frob");
	fails(64, "--frob", "list", "--frob=1");
	fails(64, "-x", "list", "-x");
	fails(64, "--root", "list", "--root");
	fails(64, "--root", "--root");
	fails(64, "--root", "--root", "", "list");
	fails(64, "no value", "list", "--json=yes");
	fails(64, "missing", "add");
	fails(64, "too many", "add", "a", "b");
	fails(64, "too many", "list", "x");
	fails(64, "missing", "unblock");
	fails(64, "which task", "complete");
	fails(64, "which task", "show");
	fails(64, "which task", "heartbeat");
	fails(64, "board name", "--board", "Foo", "list");
	fails(64, "board name", "--board", "../x", "list");
	fails(64, "board name", "--board", "a\nb", "list");
	fails(64, "board name", "--board", "", "list");
	fails(64, "UTF-8", "add", "x\xFF");
	fails(64, "UTF-8", "--root", "\xC0\xAF", "list");
}
END_TEST

START_TEST(numbers)
{
	static const char *const bad[] = {
		"",   "x",         "1x",  " 1",  "1 ",
		"+1", "0x1",       "1.5", "--1", "99999999999999999999",
		"-",  "4294967296"
	};

	world_with_root();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fails(64, "whole number", "add", "--priority", bad[i], "t");
		fails(64, "whole number", "add", "--max-retries", bad[i], "t");
		fails(64, "whole number", "add", "--max-runtime", bad[i], "t");
	}
	fails(64, "whole number", "add", "--max-retries", "0", "t");
	fails(64, "whole number", "add", "--max-runtime", "-1", "t");
	fails(64, "whole number", "list", "--limit", "-1");
	fails(64, "whole number", "complete", "--run", "0", "t");
	(void)ok("add", "--priority", "-7", "--max-retries=3", "t");
	ck_assert_str_eq(
		world_sql("kanban.db", "SELECT priority || '/' || max_retries FROM tasks"),
		"-7/3");
}
END_TEST

START_TEST(words_and_options)
{
	world_with_root();
	(void)ok("add", "--", "--assignee");
	ck_assert_str_eq(world_sql("kanban.db", "SELECT title FROM tasks"), "--assignee");
	(void)ok("--json", "add", "x", "--board", "default", "--root", world_root);
	(void)ok("add", "--assignee=", "y");
	ck_assert_str_eq(
		world_sql("kanban.db", "SELECT COUNT(*) FROM tasks WHERE assignee IS NULL"),
		"3");
}
END_TEST

/* ---- which root, which board --------------------------------------------------------- */

START_TEST(where)
{
	char pin[300];

	fails(66, "no database", "list");
	fails(66, "no board b", "--board", "b", "list");
	fails(66, "no kanban root", "--root", "/nonexistent/x", "list");
	fails(66, "no kanban root", "--root", "/nonexistent/x", "status");
	fails(66, "no kanban root", "--root", "/usr/share", "status"); /* nothing of Hermes */
	fails(66, "no kanban root", "--root", "/usr/share", "leader");
	fails(66, "no kanban root", "--root", "/usr/share", "boards");
	fails(66, "/nonexistent/x", "--root", "/nonexistent/x", "boards");
	ck_assert_int_ne(access(world_path("kanban"), F_OK), 0); /* looking makes nothing */
	world_with_root();
	(void)ok("--board", "b", "init");
	world_env("HERMES_KANBAN_BOARD=b");
	(void)ok("add", "on b");
	ck_assert_str_eq(world_sql("kanban/boards/b/kanban.db", "SELECT title FROM tasks"),
			 "on b");
	(void)ok("--board", "default", "add", "on default");
	ck_assert_str_eq(world_sql("kanban.db", "SELECT title FROM tasks"), "on default");
	world_env("HERMES_KANBAN_BOARD=No Slug");
	fails(78, "HERMES_KANBAN_BOARD", "list");
	world_env("HERMES_KANBAN_BOARD= ");
	ck_assert_ptr_nonnull(strstr(ok("list"), "on default"));
	/* a worker's database, without any root */
	(void)snprintf(pin, sizeof(pin), "HERMES_KANBAN_DB=%s",
		       world_path("kanban/boards/b/kanban.db"));
	world_env(pin);
	ck_assert_ptr_nonnull(strstr(ok("list"), "on b"));
	ck_assert_ptr_nonnull(strstr(ok("list", "--board", "default"), "on default"));
	ck_assert_ptr_nonnull(strstr(ok("list", "--root", world_root), "on default"));
	world_env("HERMES_KANBAN_HOME=");
	world_env("HOME=");
	ck_assert_ptr_nonnull(strstr(ok("list"), "on b"));
	world_env("HERMES_KANBAN_DB=");
	fails(78, "HOME", "list");
	fails(78, "HOME", "status");
}
END_TEST

START_TEST(hermes_home)
{
	char env[300];

	world_with_root();
	(void)ok("add", "here");
	world_env("HERMES_KANBAN_HOME=");
	(void)snprintf(env, sizeof(env), "HERMES_HOME=%s/profiles/bob", world_root);
	world_env(env);
	ck_assert_ptr_nonnull(strstr(ok("list"), "here"));
}
END_TEST

/* ---- a worker ------------------------------------------------------------------------ */

START_TEST(worker)
{
	char pin[300], task[64];
	CLEANUP(freep) char *id = NULL;
	json_t *j;

	world_with_root();
	id = world_add("work");
	world_run_task(id);
	(void)snprintf(pin, sizeof(pin), "HERMES_KANBAN_DB=%s/kanban.db", world_root);
	(void)snprintf(task, sizeof(task), "HERMES_KANBAN_TASK=%s", id);
	world_env(pin);
	world_env(task);
	world_env("HERMES_KANBAN_RUN_ID=1");
	world_env("HERMES_KANBAN_CLAIM_LOCK=h:1");
	world_env("HERMES_KANBAN_HOME=/nonexistent");
	j = parsed(0, "heartbeat", "--note", "half");
	ck_assert_str_eq(world_text(j, "id"), id);
	ck_assert_str_eq(world_text(j, "status"), "running");
	ck_assert_int_eq(world_int(j, "run"), 1);
	json_decref(j);
	ck_assert_str_eq(
		world_sql("kanban.db", "SELECT claim_expires - last_heartbeat_at FROM tasks"),
		"900");
	world_env("HERMES_KANBAN_CLAIM_TTL_SECONDS=5000");
	(void)ok("heartbeat");
	ck_assert_str_eq(
		world_sql("kanban.db", "SELECT claim_expires - last_heartbeat_at FROM tasks"),
		"5000");
	(void)ok("comment", "so far so good");
	ck_assert_ptr_nonnull(strstr(ok("show"), "so far so good"));
	world_input("{\"tests\": 5}", 12);
	j = parsed(0, "complete", "--summary", "all done\nreally", "--result", "42",
		   "--metadata", "-");
	ck_assert_str_eq(world_text(j, "status"), "done");
	json_decref(j);
	ck_assert_str_eq(
		world_sql("kanban.db",
			  "SELECT status||'|'||outcome||'|'||summary||'|'||metadata FROM "
			  "task_runs"),
		"done|completed|all done\nreally|{\"tests\": 5}");
	fails(1, "done", "complete");
}
END_TEST

/* Whatever its runs came to, what newer releases write too: a task is shown and listed. */
START_TEST(outcomes)
{
	static const char *const all[] = { "review_requested",  "changes_requested",
					   "scheduled",         "dependency_wait",
					   "rate_limited",      "gave_up",
					   "of a later release" };
	CLEANUP(freep) char *id = NULL;
	char sql[300], event[64];
	const char *text;
	json_t *j, *run;
	size_t i;

	world_with_root();
	id = world_add("work");
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO task_runs (task_id, profile, status, outcome, "
			       "started_at, ended_at) VALUES ('%s', 'jimmy', '%s', '%s', 1, 2);"
			       "INSERT INTO task_events (task_id, kind, created_at)"
			       " VALUES ('%s', '%s', 2)",
			       id, all[i], all[i], id, all[i]);
		(void)world_sql("kanban.db", sql);
	}
	j = parsed(0, "show", id);
	ck_assert_uint_eq(json_array_size(json_object_get(j, "runs")),
			  sizeof(all) / sizeof(all[0]));
	json_array_foreach(json_object_get(j, "runs"), i, run)
		ck_assert_str_eq(world_text(run, "outcome"), all[i]);
	json_decref(j);
	text = ok("show", id);
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		(void)snprintf(event, sizeof(event), "%s", all[i]);
		ck_assert_msg(strstr(text, event) != NULL, "no %s in %s", event, text);
	}
	ck_assert_ptr_nonnull(strstr(ok("list"), id));
	ck_assert_ptr_nonnull(strstr(ok("why", id), id));
}
END_TEST

START_TEST(stale_worker)
{
	CLEANUP(freep) char *id = NULL;
	CLEANUP(freep) char *other = NULL;
	char task[64];

	world_with_root();
	id = world_add("work");
	other = world_add("other");
	world_run_task(id);
	(void)snprintf(task, sizeof(task), "HERMES_KANBAN_TASK=%s", id);
	world_env(task);
	world_env("HERMES_KANBAN_RUN_ID=7");
	fails(1, "run 7", "complete");
	fails(1, "run 7", "complete", id);
	fails(1, "run 7", "block", "--reason", "x");
	fails(1, "run 7", "heartbeat");
	world_env("HERMES_KANBAN_RUN_ID=1");
	world_env("HERMES_KANBAN_CLAIM_LOCK=elsewhere:9");
	fails(1, "elsewhere:9", "complete");
	world_env("HERMES_KANBAN_RUN_ID=one");
	fails(78, "HERMES_KANBAN_RUN_ID", "complete");
	ck_assert_str_eq(
		world_sql("kanban.db", "SELECT status FROM tasks WHERE claim_lock = 'h:1'"),
		"running");
	/* another task has nothing to do with that run */
	(void)ok("complete", other);
	fails(1, "run 9", "complete", id, "--run", "9");
}
END_TEST

START_TEST(block_and_unblock)
{
	CLEANUP(freep) char *id = NULL;
	json_t *j;

	world_with_root();
	id = world_add("work");
	j = parsed(0, "block", id, "--reason", "no key", "--kind", "needs_input");
	ck_assert_str_eq(world_text(j, "status"), "blocked");
	json_decref(j);
	fails(1, "blocked", "block", id);
	fails(64, "whim", "block", id, "--kind", "whim");
	j = parsed(0, "unblock", id);
	ck_assert_str_eq(world_text(j, "status"), "ready");
	ck_assert(json_is_null(json_object_get(j, "run")));
	json_decref(j);
	fails(1, "ready", "unblock", id);
	fails(66, "t_none", "unblock", "t_none");
	fails(1, "ready", "heartbeat", id);
	fails(64, "comment needs", "comment", id, "  ");
	(void)ok("block", id, "--kind", "dependency");
	fails(1, "todo", "complete", id);
	fails(64, "JSON", "complete", id, "--metadata", "{");
}
END_TEST

/* ---- status, boards, leader ---------------------------------------------------------- */

START_TEST(lease_seen)
{
	int fd;
	json_t *j;

	world_with_root();
	j = parsed(1, "leader");
	ck_assert(json_is_false(json_object_get(j, "held")));
	ck_assert(json_is_null(json_object_get(j, "pid")));
	ck_assert(json_is_null(json_object_get(j, "owner")));
	json_decref(j);
	ck_assert_int_eq(kanbanctl("status")->exit, 1);
	ck_assert_int_ne(access(world_path("kanban/.dispatcher.lock"), F_OK), 0);
	world_put("kanban/.dispatcher.lock", "", 0);
	fd = open(world_path("kanban/.dispatcher.lock"), O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	j = parsed(0, "leader");
	ck_assert(json_is_true(json_object_get(j, "held")));
	ck_assert(json_is_false(json_object_get(j, "kanband")));
	ck_assert_int_eq(world_int(j, "pid"), getpid());
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(ok("status"), "not a kanband"));
	close(fd);
	ck_assert_ptr_nonnull(strstr(kanbanctl("leader")->out, "nobody"));
}
END_TEST

/* Also where no daemon is that could say so. */
START_TEST(estop_seen)
{
	static const char stop[] = "{\"reason\": \"lunch\"}";
	json_t *j;

	world_with_root();
	j = parsed(1, "status");
	ck_assert(json_is_null(json_object_get(j, "estop")));
	json_decref(j);
	world_put("ESTOP", stop, strlen(stop));
	j = parsed(1, "status");
	ck_assert_ptr_nonnull(strstr(world_text(j, "estop"), "ESTOP: lunch"));
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(kanbanctl("status")->out, "ESTOP: lunch"));
	ck_assert_ptr_nonnull(strstr(kanbanctl("doctor")->out, "ESTOP: lunch"));
}
END_TEST

/* Any bytes but NUL and "/" make a path. What is told of such a root is JSON all the same. */
START_TEST(root_that_is_no_utf8)
{
	static const char *const asked[] = { "status", "boards", "board", "leader" };
	char root[320];
	json_t *j;

	(void)snprintf(root, sizeof(root), "HERMES_KANBAN_HOME=%s/r-\xff\xe9", world_root);
	world_env(root);
	(void)ok("init");
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		bool leads = strcmp(asked[i], "status") == 0 || strcmp(asked[i], "leader") == 0;

		j = parsed(leads ? 1 : 0, asked[i]);
		ck_assert_ptr_nonnull(
			strstr(world_text(j, "root"), "/r-\xEF\xBF\xBD\xEF\xBF\xBD"));
		json_decref(j);
	}
}
END_TEST

START_TEST(boards_seen)
{
	static const char *const want[][2] = {
		{ "default", "healthy" }, { "arch", "archived" },  { "bad", "quarantined" },
		{ "dir", "troubled" },    { "empty", "missing" },  { "good", "healthy" },
		{ "old", "schema" },      { "same", "duplicate" },
	};
	const struct ctl_result *r;
	json_t *j, *boards;

	world_with_root();
	(void)ok("add", "x");
	(void)ok("--board", "good", "init");
	(void)ok("--board", "arch", "init");
	world_put("kanban/boards/arch/board.json", "{\"archived\": true}", 18);
	(void)ok("--board", "arch", "add", "not counted");
	world_put("kanban/boards/bad/kanban.db", "this is not a database, not at all", 34);
	world_put("kanban/boards/dir/kanban.db/x", "x", 1);
	world_put("kanban/boards/empty/board.json", "{}", 2);
	(void)ok("--board", "old", "init");
	(void)world_sql("kanban/boards/old/kanban.db", "DROP TABLE task_runs");
	(void)ok("--board", "same", "init");
	ck_assert_int_eq(unlink(world_path("kanban/boards/same/kanban.db")), 0);
	ck_assert_int_eq(
		symlink("../good/kanban.db", world_path("kanban/boards/same/kanban.db")), 0);
	world_put("kanban/boards/Upper/kanban.db", "x", 1);
	r = kanbanctl("boards", "--json");
	ck_assert_int_eq(r->exit, 1);
	ck_assert_ptr_nonnull(strstr(r->err, "Upper"));
	j = json_loads(r->out, 0, NULL);
	boards = json_object_get(j, "boards");
	ck_assert_uint_eq(json_array_size(boards), sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const json_t *b = json_array_get(boards, i);

		ck_assert_str_eq(world_text(b, "slug"), want[i][0]);
		ck_assert_str_eq(world_text(b, "state"), want[i][1]);
	}
	ck_assert_int_eq(
		world_int(json_object_get(json_array_get(boards, 0), "tasks"), "ready"), 1);
	ck_assert_str_eq(world_text(json_array_get(boards, 7), "duplicate_of"), "good");
	json_decref(j);
	j = parsed(1, "status");
	ck_assert(json_is_false(json_object_get(j, "well")));
	ck_assert_int_eq(world_int(json_object_get(j, "tasks"), "ready"), 1);
	json_decref(j);
	r = kanbanctl("status");
	ck_assert_ptr_nonnull(strstr(r->out, "trouble  bad: not a database"));
	ck_assert_ptr_nonnull(strstr(r->out, "1 quarantined"));
	/* and each on its own */
	fails(1, "damaged", "--board", "bad", "list");
	fails(1, "damaged", "--board", "bad", "add", "x");
	fails(1, "task_runs", "--board", "old", "list");
	fails(66, "regular file", "--board", "dir", "list");
	fails(66, "no database", "--board", "empty", "list");
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { help_and_version,  manual,
				       mistakes,          numbers,
				       words_and_options, where,
				       hermes_home,       worker,
				       outcomes,          stale_worker,
				       block_and_unblock, lease_seen,
				       estop_seen,        root_that_is_no_utf8,
				       boards_seen };

	return SUITE_EACH("ctl", 120, world_setup, world_teardown, tests);
}
