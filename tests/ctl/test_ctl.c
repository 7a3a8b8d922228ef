/* The built kanbanctl: every verb, every exit code. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kit/ctl.h"
#include "util/fs.h"

static const char *const verbs[] = {
	"init",      "add",      "list",      "show",    "complete", "block",   "unblock",
	"heartbeat", "comment",  "status",    "boards",  "board",    "leader",  "check",
	"repair",    "snapshot", "snapshots", "restore", "accept",   "workers", "tick",
	"pause",     "resume",   "drain",     "notify",  "events",   "top",     "metrics",
	"reload",    "doctor",   "gateways",  "words"
};

/* A root with the default board. */
static void with_root(void)
{
	(void)ok("init");
}

static char *add(const char *title)
{
	char *id = strdup(ok("add", title));

	ck_assert_ptr_nonnull(id);
	ck_assert_uint_eq(strlen(id), 10);
	return id;
}

/* Task @id becomes running as a dispatcher leaves it: run 1, lock h:1. */
static void run_task(const char *id)
{
	char sql[1024];

	(void)snprintf(
		sql, sizeof(sql),
		"UPDATE tasks SET status = 'running', claim_lock = 'h:1', claim_expires = 5,"
		" worker_pid = 4194999, current_run_id = 1, started_at = 1 WHERE id = '%s';"
		"INSERT INTO task_runs (id, task_id, status, claim_lock, claim_expires,"
		" started_at) VALUES (1, '%s', 'running', 'h:1', 5, 1)",
		id, id);
	(void)world_sql("kanban.db", sql);
}

static const char *text_of(const json_t *json, const char *key)
{
	const char *s = json_string_value(json_object_get(json, key));

	ck_assert_msg(s != NULL, "no text %s", key);
	return s;
}

static json_int_t int_of(const json_t *json, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(json, key)), "no number %s", key);
	return json_integer_value(json_object_get(json, key));
}

/* ---- usage --------------------------------------------------------------------------------
 */

START_TEST(help_and_version)
{
	const char *help;
	size_t n;

	ck_assert_ptr_nonnull(strstr(ok("--version"), "kanbanctl "));
	help = ok("--help");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		ck_assert_ptr_nonnull(strstr(help, verbs[i]));
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		help = ok(verbs[i], "--help");
		ck_assert_ptr_nonnull(strstr(help, verbs[i]));
		ck_assert_ptr_nonnull(strstr(help, "--json"));
	}
	/* and there is no other */
	n = 0;
	for (const char *line = ok("words", "verbs"); line; line = strchr(line + 1, '\n'))
		n++;
	ck_assert_uint_eq(n, sizeof(verbs) / sizeof(verbs[0]));
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
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const char *help = ok(verbs[i], "--help");
		char want[64];

		(void)snprintf(want, sizeof(want), ".It Cm %s", verbs[i]);
		ck_assert_msg(strstr(page, want) != NULL, "no %s", want);
		while ((help = strstr(help, "\n  --")) != NULL) {
			size_t n = strcspn(help + 5, " \n");

			(void)snprintf(want, sizeof(want), "Fl -%.*s ", (int)n, help + 5);
			if (!strstr(page, want))
				want[strlen(want) - 1] = '\n';
			ck_assert_msg(strstr(page, want) != NULL, "%s: no %s", verbs[i], want);
			help += 5;
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

	with_root();
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
	with_root();
	(void)ok("add", "--", "--assignee");
	ck_assert_str_eq(world_sql("kanban.db", "SELECT title FROM tasks"), "--assignee");
	(void)ok("--json", "add", "x", "--board", "default", "--root", world_root);
	(void)ok("add", "--assignee=", "y");
	ck_assert_str_eq(
		world_sql("kanban.db", "SELECT COUNT(*) FROM tasks WHERE assignee IS NULL"),
		"3");
}
END_TEST

/* ---- add, list, show ----------------------------------------------------------------------
 */

START_TEST(add_everything)
{
	CLEANUP(freep) char *parent = NULL;
	json_t *j;

	with_root();
	parent = add("parent");
	world_env("HERMES_PROFILE=boss");
	world_input("first\nsecond\n\n", 14);
	j = parsed(0, "add", "--assignee", "Jimmy", "--body", "-", "--priority=2", "--parent",
		   parent, "--workspace", "worktree", "--workspace-path", "/srv/r", "--branch",
		   "b", "--max-runtime", "60", "--max-retries", "2", "--skill", "s1", "--skill",
		   "s2", "--tenant", "acme", "--model", "m", "--provider", "p", "child");
	ck_assert_str_eq(text_of(j, "board"), "default");
	ck_assert_str_eq(text_of(j, "status"), "todo");
	ck_assert(json_is_true(json_object_get(j, "created")));
	json_decref(j);
	ck_assert_str_eq(
		world_sql(
			"kanban.db",
			"SELECT title||'|'||body||'|'||assignee||'|'||created_by||'|'||"
			"workspace_kind||'|'||workspace_path||'|'||branch_name||'|'||skills||'|"
			"'||"
			"tenant||'|'||model_override||'|'||provider_override FROM tasks WHERE "
			"priority = 2"),
		"child|first\nsecond|jimmy|boss|worktree|/srv/r|b|[\"s1\", \"s2\"]|acme|m|p");
	fails(66, "t_none", "add", "--parent", "t_none", "x");
	fails(64, "workspace", "add", "--workspace", "cloud", "x");
	fails(64, "absolute", "add", "--workspace", "dir", "--workspace-path", "a/b", "x");
	fails(64, "needs a path", "add", "--workspace", "dir", "x");
	fails(64, "title", "add", "  ");
	world_input("a\0b", 3);
	fails(64, "UTF-8", "add", "--body", "-", "x");
	world_input("a\xFF", 2);
	fails(64, "UTF-8", "add", "-");
	world_input("t", 1);
	fails(64, "one text", "add", "--body", "-", "-");
}
END_TEST

START_TEST(add_says_when_nobody_will_do_it)
{
	const struct ctl_result *r;

	with_root();
	r = kanbanctl("add", "--assignee", "bob", "x");
	ck_assert_int_eq(r->exit, 0);
	ck_assert_ptr_nonnull(strstr(r->err, "no profile bob"));
	ck_assert_int_eq(fs_mkdir_p(world_path("profiles/bob"), 0755), 0);
	r = kanbanctl("add", "--assignee", "Bob", "x");
	ck_assert_str_eq(r->err, "");
	r = kanbanctl("add", "--assignee", "default", "x");
	ck_assert_str_eq(r->err, "");
}
END_TEST

START_TEST(add_default_workdir)
{
	(void)ok("--board", "w", "init");
	world_put("kanban/boards/w/board.json", "{\"default_workdir\": \"/srv/repo\"}", 32);
	(void)ok("--board", "w", "add", "--workspace", "dir", "x");
	ck_assert_str_eq(
		world_sql("kanban/boards/w/kanban.db", "SELECT workspace_path FROM tasks"),
		"/srv/repo");
	(void)ok("--board", "w", "add", "y");
	ck_assert_str_eq(world_sql("kanban/boards/w/kanban.db",
				   "SELECT workspace_path FROM tasks WHERE title = 'y'"),
			 "-");
}
END_TEST

START_TEST(add_once)
{
	CLEANUP(freep) char *first = NULL;
	json_t *j;

	with_root();
	first = strdup(ok("add", "--idempotency-key", "k", "x"));
	j = parsed(0, "add", "--idempotency-key", "k", "x");
	ck_assert_str_eq(text_of(j, "id"), first);
	ck_assert(json_is_false(json_object_get(j, "created")));
	json_decref(j);
}
END_TEST

START_TEST(list_filters)
{
	static const char *const keys[] = { "id",
					    "title",
					    "status",
					    "assignee",
					    "priority",
					    "tenant",
					    "created_by",
					    "created_at",
					    "started_at",
					    "completed_at",
					    "workspace_kind",
					    "workspace_path",
					    "claim_lock",
					    "claim_expires",
					    "worker_pid",
					    "current_run_id",
					    "consecutive_failures",
					    "last_failure_error",
					    "last_heartbeat_at",
					    "max_runtime_seconds",
					    "max_retries" };
	const struct {
		const char *a, *b;
		size_t n;
	} t[] = {
		{ "--all", NULL, 4 },          { "--limit", "2", 2 },
		{ "--limit", "0", 0 },         { "--status", "ready", 2 },
		{ "--status", "archived", 1 }, { "--status", "no such", 0 },
		{ "--assignee", "ann", 1 },    { "--tenant", "t", 1 },
	};
	json_t *j, *tasks;

	with_root();
	ck_assert_str_eq(ok("list"), "");
	j = parsed(0, "list");
	ck_assert_uint_eq(json_array_size(json_object_get(j, "tasks")), 0);
	json_decref(j);
	(void)ok("add", "low");
	(void)ok("add", "--priority", "9", "--assignee", "ann", "high");
	(void)ok("add", "--triage", "--tenant", "t", "think");
	(void)ok("add", "gone");
	(void)world_sql("kanban.db",
			"UPDATE tasks SET status = 'archived' WHERE title = 'gone'");
	j = parsed(0, "list");
	tasks = json_object_get(j, "tasks");
	ck_assert_uint_eq(json_array_size(tasks), 3);
	ck_assert_str_eq(text_of(json_array_get(tasks, 0), "title"), "high");
	ck_assert_str_eq(text_of(json_array_get(tasks, 1), "title"), "low");
	ck_assert_uint_eq(json_object_size(json_array_get(tasks, 0)),
			  sizeof(keys) / sizeof(keys[0]));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		ck_assert_ptr_nonnull(json_object_get(json_array_get(tasks, 0), keys[i]));
	json_decref(j);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		j = t[i].b ? parsed(0, "list", t[i].a, t[i].b) : parsed(0, "list", t[i].a);
		ck_assert_msg(json_array_size(json_object_get(j, "tasks")) == t[i].n,
			      "case %zu", i);
		json_decref(j);
	}
	ck_assert_ptr_nonnull(strstr(ok("list"), "TITLE\n"));
}
END_TEST

START_TEST(show_task)
{
	CLEANUP(freep) char *parent = NULL;
	CLEANUP(freep) char *child = NULL;
	const char *text;
	json_t *j, *task, *events;

	with_root();
	parent = add("the parent");
	child = strdup(ok("add", "--parent", parent, "--body", "one\ntwo", "the child"));
	for (int i = 0; i < 25; i++)
		(void)ok("comment", parent, "hm");
	j = parsed(0, "show", parent);
	task = json_object_get(j, "task");
	ck_assert_str_eq(text_of(j, "board"), "default");
	ck_assert_str_eq(text_of(task, "title"), "the parent");
	ck_assert(json_is_null(json_object_get(task, "skills")));
	ck_assert_str_eq(text_of(json_array_get(json_object_get(j, "children"), 0), "id"),
			 child);
	ck_assert_uint_eq(json_array_size(json_object_get(j, "comments")), 25);
	ck_assert_int_eq(int_of(j, "events_total"), 26);
	events = json_object_get(j, "events");
	ck_assert_uint_eq(json_array_size(events), 20);
	ck_assert_int_eq(int_of(json_object_get(json_array_get(events, 0), "payload"), "len"),
			 2);
	json_decref(j);
	j = parsed(0, "show", "--events", "-1", parent);
	ck_assert_uint_eq(json_array_size(json_object_get(j, "events")), 26);
	json_decref(j);
	text = ok("show", child);
	ck_assert_ptr_nonnull(strstr(text, "the child"));
	ck_assert_ptr_nonnull(strstr(text, "  one\n  two\n"));
	ck_assert_ptr_nonnull(strstr(text, "the parent"));
	world_env("HERMES_KANBAN_TASK=t_none");
	fails(66, "t_none", "show");
	fails(66, "no task", "show", "x\n/../\033[2J");
}
END_TEST

/* ---- which root, which board --------------------------------------------------------------
 */

START_TEST(where)
{
	char pin[300];

	fails(66, "no database", "list");
	fails(66, "no board b", "--board", "b", "list");
	fails(66, "no kanban root", "--root", "/nonexistent/x", "list");
	fails(66, "no kanban root", "--root", "/nonexistent/x", "status");
	fails(66, "/nonexistent/x", "--root", "/nonexistent/x", "boards");
	ck_assert_int_ne(access(world_path("kanban"), F_OK), 0); /* looking makes nothing */
	with_root();
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

	with_root();
	(void)ok("add", "here");
	world_env("HERMES_KANBAN_HOME=");
	(void)snprintf(env, sizeof(env), "HERMES_HOME=%s/profiles/bob", world_root);
	world_env(env);
	ck_assert_ptr_nonnull(strstr(ok("list"), "here"));
}
END_TEST

/* ---- a worker -----------------------------------------------------------------------------
 */

START_TEST(worker)
{
	char pin[300], task[64];
	CLEANUP(freep) char *id = NULL;
	json_t *j;

	with_root();
	id = add("work");
	run_task(id);
	(void)snprintf(pin, sizeof(pin), "HERMES_KANBAN_DB=%s/kanban.db", world_root);
	(void)snprintf(task, sizeof(task), "HERMES_KANBAN_TASK=%s", id);
	world_env(pin);
	world_env(task);
	world_env("HERMES_KANBAN_RUN_ID=1");
	world_env("HERMES_KANBAN_CLAIM_LOCK=h:1");
	world_env("HERMES_KANBAN_HOME=/nonexistent");
	j = parsed(0, "heartbeat", "--note", "half");
	ck_assert_str_eq(text_of(j, "id"), id);
	ck_assert_str_eq(text_of(j, "status"), "running");
	ck_assert_int_eq(int_of(j, "run"), 1);
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
	ck_assert_str_eq(text_of(j, "status"), "done");
	json_decref(j);
	ck_assert_str_eq(
		world_sql("kanban.db",
			  "SELECT status||'|'||outcome||'|'||summary||'|'||metadata FROM "
			  "task_runs"),
		"done|completed|all done\nreally|{\"tests\": 5}");
	fails(1, "done", "complete");
}
END_TEST

START_TEST(stale_worker)
{
	CLEANUP(freep) char *id = NULL;
	CLEANUP(freep) char *other = NULL;
	char task[64];

	with_root();
	id = add("work");
	other = add("other");
	run_task(id);
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

	with_root();
	id = add("work");
	j = parsed(0, "block", id, "--reason", "no key", "--kind", "needs_input");
	ck_assert_str_eq(text_of(j, "status"), "blocked");
	json_decref(j);
	fails(1, "blocked", "block", id);
	fails(64, "whim", "block", id, "--kind", "whim");
	j = parsed(0, "unblock", id);
	ck_assert_str_eq(text_of(j, "status"), "ready");
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

/* ---- status, boards, leader ---------------------------------------------------------------
 */

START_TEST(lease_seen)
{
	int fd;
	json_t *j;

	with_root();
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
	ck_assert_int_eq(int_of(j, "pid"), getpid());
	json_decref(j);
	ck_assert_ptr_nonnull(strstr(ok("status"), "not a kanband"));
	close(fd);
	ck_assert_ptr_nonnull(strstr(kanbanctl("leader")->out, "nobody"));
}
END_TEST

START_TEST(boards_seen)
{
	static const char *const want[][2] = {
		{ "default", "healthy" }, { "arch", "archived" },  { "bad", "corrupt" },
		{ "dir", "unreadable" },  { "empty", "missing" },  { "good", "healthy" },
		{ "old", "schema" },      { "same", "duplicate" },
	};
	const struct ctl_result *r;
	json_t *j, *boards;

	with_root();
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

		ck_assert_str_eq(text_of(b, "slug"), want[i][0]);
		ck_assert_str_eq(text_of(b, "state"), want[i][1]);
	}
	ck_assert_int_eq(int_of(json_object_get(json_array_get(boards, 0), "tasks"), "ready"),
			 1);
	ck_assert_str_eq(text_of(json_array_get(boards, 7), "duplicate_of"), "good");
	json_decref(j);
	j = parsed(1, "status");
	ck_assert(json_is_false(json_object_get(j, "well")));
	ck_assert_int_eq(int_of(json_object_get(j, "tasks"), "ready"), 1);
	json_decref(j);
	r = kanbanctl("status");
	ck_assert_ptr_nonnull(strstr(r->out, "board bad: not a database"));
	ck_assert_ptr_nonnull(strstr(r->out, "corrupt 1"));
	/* and each on its own */
	fails(1, "damaged", "--board", "bad", "list");
	fails(1, "damaged", "--board", "bad", "add", "x");
	fails(1, "task_runs", "--board", "old", "list");
	fails(66, "regular file", "--board", "dir", "list");
	fails(66, "no database", "--board", "empty", "list");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		help_and_version,
		manual,
		mistakes,
		numbers,
		words_and_options,
		add_everything,
		add_says_when_nobody_will_do_it,
		add_default_workdir,
		add_once,
		list_filters,
		show_task,
		where,
		hermes_home,
		worker,
		stale_worker,
		block_and_unblock,
		lease_seen,
		boards_seen,
	};
	Suite *s = suite_create("ctl");
	SRunner *r;
	int failed;

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, 120);
		tcase_add_checked_fixture(tc, world_setup, world_teardown);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
