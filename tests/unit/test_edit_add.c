/* New boards and new tasks, row by row. */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/edit.h"
#include "kit/suite.h"

/* ---- edit_create_board --------------------------------------------------------------- */

START_TEST(create_modes)
{
	char other[300];

	same("PRAGMA journal_mode", "delete");
	same("PRAGMA integrity_check", "ok");
	ck_assert(!db_is_wal(db));
	db = db_free(db);
	(void)snprintf(other, sizeof(other), "%s/wal.db", edit_folder);
	ck_assert_int_eq(edit_create_board(other, true, &refusal), 0);
	(void)snprintf(edit_path, sizeof(edit_path), "%s", other);
	db = open_board();
	ck_assert(db_is_wal(db));
	/* making it once more harms nothing */
	add(&(struct edit_task){ .title = "x" });
	db = db_free(db);
	ck_assert_int_eq(edit_create_board(edit_path, true, &refusal), 0);
	db = open_board();
	same("SELECT COUNT(*) FROM tasks", "1");
}
END_TEST

START_TEST(create_errors)
{
	char other[300];

	(void)snprintf(other, sizeof(other), "%s/none/kanban.db", edit_folder);
	ck_assert_int_ne(edit_create_board(other, false, &refusal), 0);
	ck_assert_str_ne(refusal.text, "");
	ck_assert_int_ne(edit_create_board(edit_folder, false, &refusal), 0);
}
END_TEST

/* ---- edit_add ------------------------------------------------------------------------ */

START_TEST(add_plain)
{
	add(&(struct edit_task){ .title = "  Paint the door \n" });
	ck_assert_uint_eq(strlen(id), 10);
	ck_assert(strncmp(id, "t_", 2) == 0);
	ck_assert_uint_eq(strspn(id + 2, "0123456789abcdef"), 8);
	ck_assert_str_eq(done.status, "ready");
	same("SELECT title, body, assignee, status, priority, created_by, created_at, "
	     "started_at,"
	     " workspace_kind, workspace_path, claim_lock, tenant, skills, max_retries,"
	     " max_runtime_seconds, consecutive_failures, goal_mode, current_run_id FROM tasks",
	     "Paint the door|-|-|ready|0|-|1800000000|-|scratch|-|-|-|-|-|-|0|0|-");
	same("SELECT kind, run_id, created_at, payload FROM task_events",
	     "created|-|1800000000|{\"assignee\": null, \"status\": \"ready\", \"parents\": "
	     "[], "
	     "\"tenant\": null, \"workspace_kind\": \"scratch\", \"workspace_path\": null, "
	     "\"branch_name\": null, \"project_id\": null, \"skills\": null, \"goal_mode\": "
	     "null, "
	     "\"model_override\": null, \"provider_override\": null}");
}
END_TEST

START_TEST(add_full)
{
	const char *const skills[] = { "price-check", "Straße", NULL };

	add(&(struct edit_task){ .title = "Ü",
				 .body = "line\nline",
				 .assignee = " Jimmy ",
				 .priority = -3,
				 .workspace_kind = "worktree",
				 .workspace_path = "/srv/repo",
				 .branch_name = "feature/x",
				 .max_runtime_s = 60,
				 .max_retries = 5,
				 .skills = skills,
				 .tenant = "ghi",
				 .created_by = "user",
				 .model = "m",
				 .provider = "p",
				 .idempotency_key = "k" });
	same("SELECT title, body, assignee, priority, created_by, workspace_kind, "
	     "workspace_path,"
	     " branch_name, tenant, idempotency_key, max_runtime_seconds, skills, max_retries,"
	     " model_override, provider_override FROM tasks",
	     "Ü|line\nline|jimmy|-3|user|worktree|/srv/repo|feature/"
	     "x|ghi|k|60|[\"price-check\", "
	     "\"Stra\\u00DFe\"]|5|m|p");
	ck_assert_ptr_nonnull(strstr(rows("SELECT payload FROM task_events"),
				     "\"skills\": [\"price-check\", \"Straße\"]"));
}
END_TEST

START_TEST(add_parents)
{
	char a[EDIT_ID_SIZE], b[EDIT_ID_SIZE], c[EDIT_ID_SIZE];
	bool made;

	add(&(struct edit_task){ .title = "a", .tenant = "acme" });
	memcpy(a, id, sizeof(a));
	add(&(struct edit_task){ .title = "b" });
	memcpy(b, id, sizeof(b));
	sql("UPDATE tasks SET status = 'done' WHERE title = 'a'");
	add(&(struct edit_task){ .title = "c", .parents = (const char *const[]){ a, NULL } });
	memcpy(c, id, sizeof(c));
	ck_assert_str_eq(done.status, "ready");
	same("SELECT tenant FROM tasks WHERE title = 'c'", "acme");
	add(&(struct edit_task){ .title = "d",
				 .parents = (const char *const[]){ b, a, a, NULL } });
	ck_assert_str_eq(done.status, "todo");
	same("SELECT COUNT(*) FROM task_links", "3");
	sql("UPDATE tasks SET status = 'archived' WHERE title = 'b'");
	add(&(struct edit_task){ .title = "e", .parents = (const char *const[]){ b, NULL } });
	ck_assert_str_eq(done.status, "ready");
	add(&(struct edit_task){ .title = "f", .triage = true });
	ck_assert_str_eq(done.status, "triage");
	/* a parent that is not there: nothing is left behind */
	ck_assert_int_eq(
		edit_add(db,
			 &(struct edit_task){
				 .title = "g",
				 .parents = (const char *const[]){ a, "t_none", NULL } },
			 NOW, id, &made, &done, &refusal),
		EDIT_NO_TASK);
	ck_assert_ptr_nonnull(strstr(refusal.text, "t_none"));
	same("SELECT COUNT(*) FROM tasks WHERE title = 'g'", "0");
	same("SELECT COUNT(*) FROM task_links", "4");
}
END_TEST

START_TEST(add_inherits_subscriptions)
{
	char a[EDIT_ID_SIZE];

	add(&(struct edit_task){ .title = "a" });
	memcpy(a, id, sizeof(a));
	sql("INSERT INTO kanban_notify_subs (task_id, platform, chat_id, chat_type, thread_id,"
	    " user_id, notifier_profile, delivery_mode, delivery_metadata, created_at,"
	    " last_event_id) SELECT id, 'telegram', '1', 'dm', '', 'u', 'bob', 'notify+wake',"
	    " '{}', 5, 0 FROM tasks");
	add(&(struct edit_task){ .title = "b", .parents = (const char *const[]){ a, NULL } });
	same("SELECT platform, chat_id, chat_type, thread_id, user_id, notifier_profile,"
	     " delivery_mode, delivery_metadata, s.created_at, last_event_id ="
	     " (SELECT MAX(id) FROM task_events) FROM kanban_notify_subs s JOIN tasks t"
	     " ON t.id = s.task_id WHERE t.title = 'b'",
	     "telegram|1|dm||u|bob|notify+wake|{}|1800000000|1");
}
END_TEST

START_TEST(add_idempotent)
{
	char first[EDIT_ID_SIZE];
	bool made;
	const struct edit_task t = { .title = "x", .idempotency_key = "key" };

	add(&t);
	memcpy(first, id, sizeof(first));
	ck_assert_int_eq(edit_add(db, &t, NOW, id, &made, &done, &refusal), 0);
	ck_assert(!made);
	ck_assert_str_eq(id, first);
	ck_assert_str_eq(done.status, "ready");
	same("SELECT COUNT(*) FROM tasks", "1");
	sql("UPDATE tasks SET status = 'archived'");
	add(&t);
	ck_assert_str_ne(id, first);
}
END_TEST

static int drawn;

static void few_ids(char out[EDIT_ID_SIZE])
{
	(void)snprintf(out, EDIT_ID_SIZE, "t_%08x", drawn++ / 3);
}

static void one_id(char out[EDIT_ID_SIZE])
{
	drawn++;
	(void)snprintf(out, EDIT_ID_SIZE, "t_0000aaaa");
}

START_TEST(add_collision)
{
	bool made;

	drawn = 0;
	for (int i = 0; i < 4; i++)
		add(&(struct edit_task){ .title = "x", .new_id = few_ids });
	same("SELECT group_concat(id) FROM tasks",
	     "t_00000000,t_00000001,t_00000002,t_00000003");
	/* never a free one: it ends, with an error */
	add(&(struct edit_task){ .title = "x", .new_id = one_id });
	drawn = 0;
	ck_assert_int_eq(edit_add(db, &(struct edit_task){ .title = "x", .new_id = one_id },
				  NOW, id, &made, &done, &refusal),
			 -EEXIST);
	ck_assert_int_ge(drawn, 8);
	same("SELECT COUNT(*) FROM task_events", "5");
}
END_TEST

START_TEST(add_invalid)
{
	static char big[5000];
	const struct edit_task bad[] = {
		{ .title = NULL },
		{ .title = "" },
		{ .title = " \n\t " },
		{ .title = "x\xFF" },
		{ .title = "x", .body = "\xC0\x80" },
		{ .title = "x", .assignee = "\xED\xA0\x80" },
		{ .title = "x", .assignee = big },
		{ .title = "x", .workspace_kind = "cloud" },
		{ .title = "x", .workspace_kind = "dir" },
		{ .title = "x", .workspace_kind = "dir", .workspace_path = "../x" },
		{ .title = "x", .branch_name = "b" },
		{ .title = "x", .provider = "p" },
		{ .title = "x", .max_retries = -1 },
		{ .title = "x", .max_runtime_s = -5 },
		{ .title = "x", .skills = (const char *const[]){ "a\xFF", NULL } },
		{ .title = "x", .parents = (const char *const[]){ "\xFF", NULL } },
	};

	memset(big, 'a', sizeof(big) - 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool made;

		refusal.text[0] = '\0';
		ck_assert_msg(edit_add(db, &bad[i], NOW, id, &made, &done, &refusal) ==
				      EDIT_INVALID,
			      "case %zu", i);
		ck_assert_str_ne(refusal.text, "");
	}
	same("SELECT COUNT(*) FROM tasks", "0");
}
END_TEST

START_TEST(add_huge_title)
{
	size_t len = 10 << 20;
	char *title = malloc(len + 1), want[32];

	ck_assert_ptr_nonnull(title);
	memset(title, 'x', len);
	title[len] = '\0';
	add(&(struct edit_task){ .title = title });
	free(title);
	(void)snprintf(want, sizeof(want), "%zu", len);
	same("SELECT length(title) FROM tasks", want);
}
END_TEST

START_TEST(full)
{
	char *body = malloc(1 << 20);
	bool made;

	ck_assert_ptr_nonnull(body);
	memset(body, 'x', (1 << 20) - 1);
	body[(1 << 20) - 1] = '\0';
	sql("PRAGMA max_page_count = 60");
	ck_assert_int_eq(edit_add(db, &(struct edit_task){ .title = "x", .body = body }, NOW,
				  id, &made, &done, &refusal),
			 -ENOSPC);
	ck_assert_ptr_nonnull(strstr(refusal.text, "full"));
	same("SELECT COUNT(*) FROM tasks", "0");
	add(&(struct edit_task){ .title = "small" });
	free(body);
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { add_plain,
				       add_full,
				       add_parents,
				       add_inherits_subscriptions,
				       add_idempotent,
				       add_collision,
				       add_invalid,
				       add_huge_title,
				       full };
	const TTest *const newer[] = { create_modes, create_errors }; /* no board of ours */

	return EDIT_SUITE("edit_add", tests, newer);
}
