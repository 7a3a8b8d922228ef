/* kanbanctl add, list, show. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "kit/ctl.h"
#include "kit/suite.h"
#include "kit/tasks.h"
#include "util/fs.h"

/* ---- add, list, show ----------------------------------------------------------------- */

START_TEST(add_everything)
{
	CLEANUP(freep) char *parent = NULL;
	json_t *j;

	world_with_root();
	parent = world_add("parent");
	world_env("HERMES_PROFILE=boss");
	world_input("first\nsecond\n\n", 14);
	j = parsed(0, "add", "--assignee", "Jimmy", "--body", "-", "--priority=2", "--parent",
		   parent, "--workspace", "worktree", "--workspace-path", "/srv/r", "--branch",
		   "b", "--max-runtime", "60", "--max-retries", "2", "--skill", "s1", "--skill",
		   "s2", "--tenant", "acme", "--model", "m", "--provider", "p", "child");
	ck_assert_str_eq(world_text(j, "board"), "default");
	ck_assert_str_eq(world_text(j, "status"), "todo");
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

	world_with_root();
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

	world_with_root();
	first = strdup(ok("add", "--idempotency-key", "k", "x"));
	j = parsed(0, "add", "--idempotency-key", "k", "x");
	ck_assert_str_eq(world_text(j, "id"), first);
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
					    "max_retries",
					    "scheduled_at",
					    "every" };
	const struct {
		const char *a, *b;
		size_t n;
	} t[] = {
		{ "--all", NULL, 4 },          { "--limit", "2", 2 },
		{ "--limit", "0", 0 },         { "--status", "ready", 2 },
		{ "--status", "archived", 1 }, { "--status", "blocked", 0 },
		{ "--assignee", "ann", 1 },    { "--tenant", "t", 1 },
	};
	json_t *j, *tasks;

	world_with_root();
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
	ck_assert_str_eq(world_text(json_array_get(tasks, 0), "title"), "high");
	ck_assert_str_eq(world_text(json_array_get(tasks, 1), "title"), "low");
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

	world_with_root();
	parent = world_add("the parent");
	child = strdup(ok("add", "--parent", parent, "--body", "one\ntwo", "the child"));
	for (int i = 0; i < 25; i++)
		(void)ok("comment", parent, "hm");
	j = parsed(0, "show", parent);
	task = json_object_get(j, "task");
	ck_assert_str_eq(world_text(j, "board"), "default");
	ck_assert_str_eq(world_text(task, "title"), "the parent");
	ck_assert(json_is_null(json_object_get(task, "skills")));
	ck_assert_str_eq(world_text(json_array_get(json_object_get(j, "children"), 0), "id"),
			 child);
	ck_assert_uint_eq(json_array_size(json_object_get(j, "comments")), 25);
	ck_assert_int_eq(world_int(j, "events_total"), 26);
	events = json_object_get(j, "events");
	ck_assert_uint_eq(json_array_size(events), 20);
	ck_assert_int_eq(
		world_int(json_object_get(json_array_get(events, 0), "payload"), "len"), 2);
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

Suite *test_suite(void)
{
	const TTest *const tests[] = { add_everything,      add_says_when_nobody_will_do_it,
				       add_default_workdir, add_once,
				       list_filters,        show_task };

	return SUITE_EACH("ctl_add", 120, world_setup, world_teardown, tests);
}
