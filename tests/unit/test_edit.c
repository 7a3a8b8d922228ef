/* What becomes of tasks by kanbanctl, row by row, and that nothing is written on a refusal. */
#include <check.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit/edit.h"
#include "kit/suite.h"

/* Everything that is in the board, to see that a refusal left it alone. */
static sqlite3_int64 total(void)
{
	return strtoll(
		rows("SELECT total(length(hex(id || status || ifnull(claim_lock,'') ||"
		     " ifnull(result,'')))) + (SELECT COUNT(*) * 1000 FROM task_events) +"
		     " (SELECT COUNT(*) * 1000000 FROM task_runs) FROM tasks"),
		NULL, 10);
}

/* A running task `t_run`, run 7, as the dispatcher leaves it. */
static void running(void)
{
	sql("INSERT INTO tasks (id, title, status, assignee, created_at, started_at, "
	    "claim_lock,"
	    " claim_expires, worker_pid, current_run_id, consecutive_failures,"
	    " last_failure_error) VALUES ('t_run', 'T', 'running', 'bob',"
	    " 1, 2, 'h:1', 900, 4242, 7, 1, 'pid 1 not alive');"
	    "INSERT INTO task_runs (id, task_id, profile, status, claim_lock, claim_expires,"
	    " worker_pid, started_at) VALUES (7, 't_run', 'bob', 'running',"
	    " 'h:1', 900, 4242, 2);"
	    "INSERT INTO task_events (task_id, run_id, kind, payload, created_at) VALUES"
	    " ('t_run', 7, 'claimed', '{\"lock\": \"h:1\"}', 2)");
	sql(edit_by_age("UPDATE tasks SET worker_started_at = 'boot|1';"
			"UPDATE task_runs SET worker_started_at = 'boot|1'",
			""));
}

static const struct edit_by worker = { .now = NOW, .run = 7, .claim_lock = "h:1" };
static const struct edit_by nobody = { .now = NOW };

/* ---- edit_complete ------------------------------------------------------------------- */

START_TEST(complete_running)
{
	running();
	ck_assert_msg(edit_complete(db, "t_run", &worker, "the résult", " First line.\nSecond.",
				    "{\"changed_files\": [\"a\"], \"tests_run\": 5}", &done,
				    &refusal) == 0,
		      "%s", refusal.text);
	ck_assert_str_eq(done.status, "done");
	ck_assert_int_eq(done.run, 7);
	same("SELECT status, completed_at, result, claim_lock, claim_expires, worker_pid,"
	     " current_run_id, consecutive_failures, last_failure_error, started_at FROM tasks",
	     "done|1800000000|the résult|-|-|-|-|0|-|2");
	same("SELECT status, outcome, summary, metadata, error, started_at, ended_at, "
	     "claim_lock,"
	     " claim_expires, worker_pid FROM task_runs",
	     edit_by_age("done|completed| First line.\nSecond.|{\"changed_files\": [\"a\"], "
			 "\"tests_run\": 5}|-|2|1800000000|h:1|-|4242",
			 "done|completed| First line.\nSecond.|{\"changed_files\": [\"a\"], "
			 "\"tests_run\": 5}|-|2|1800000000|-|-|-"));
	same(edit_by_age("SELECT t.worker_started_at, r.worker_started_at FROM tasks t,"
			 " task_runs r",
			 "SELECT NULL, 'boot|1'"),
	     "-|boot|1");
	same("SELECT run_id, kind, payload, created_at FROM task_events WHERE kind <> "
	     "'claimed'",
	     "7|completed|{\"result_len\": 10, \"summary\": \"First line.\"}|1800000000");
}
END_TEST

START_TEST(complete_defaults)
{
	running();
	ck_assert_int_eq(edit_complete(db, "t_run", &nobody, "only a result", NULL, "{}", &done,
				       &refusal),
			 0);
	same("SELECT summary, metadata FROM task_runs", "only a result|-");
	same("SELECT payload FROM task_events WHERE kind = 'completed'",
	     "{\"result_len\": 13, \"summary\": \"only a result\"}");
}
END_TEST

START_TEST(complete_bare)
{
	running();
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, NULL, NULL, NULL, &done, &refusal),
			 0);
	same("SELECT status, result FROM tasks", "done|-");
	same("SELECT status, summary FROM task_runs", "done|-");
	same("SELECT payload FROM task_events WHERE kind = 'completed'",
	     "{\"result_len\": 0, \"summary\": null}");
}
END_TEST

START_TEST(complete_artifacts_and_long_line)
{
	char line[900];

	memset(line, 'y', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	running();
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, NULL, line,
				       "{\"artifacts\": [\"/a\", \" \", 7, \" /b \"]}", &done,
				       &refusal),
			 0);
	same("SELECT json_extract(payload, '$.artifacts'), length(json_extract(payload,"
	     " '$.summary')) FROM task_events WHERE kind = 'completed'",
	     "[\"/a\",\"/b\"]|400");
}
END_TEST

START_TEST(complete_without_a_run)
{
	add(&(struct edit_task){ .title = "x", .assignee = "bob" });
	ck_assert_int_eq(edit_complete(db, id, &nobody, NULL, "by hand", NULL, &done, &refusal),
			 0);
	same("SELECT status, outcome, profile, summary, started_at, ended_at FROM task_runs",
	     "completed|completed|bob|by hand|1800000000|1800000000");
	same("SELECT run_id FROM task_events WHERE kind = 'completed'", "1");
	/* nothing handed over: no run either */
	add(&(struct edit_task){ .title = "y" });
	ck_assert_int_eq(edit_complete(db, id, &nobody, NULL, NULL, NULL, &done, &refusal), 0);
	ck_assert_int_eq(done.run, 0);
	same("SELECT COUNT(*) FROM task_runs", "1");
}
END_TEST

/* A contract that only Hermes can check. */
START_TEST(complete_with_a_contract)
{
	running();
	sql("UPDATE tasks SET completion_contract = 'pr-merged'");
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
			 EDIT_REFUSED);
	ck_assert_ptr_nonnull(strstr(refusal.text, "pr-merged"));
	same("SELECT status FROM tasks", "running");
	sql("UPDATE tasks SET completion_contract = 'local-only'");
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
			 0);
	ck_assert_str_eq(done.notice, "");
}
END_TEST

/* Done, but not silently: nothing said, or under a claim that is still good. */
START_TEST(complete_with_a_notice)
{
	running();
	sql("UPDATE tasks SET claim_expires = 1800000900");
	ck_assert_int_eq(edit_complete(db, "t_run", &nobody, "r", NULL, NULL, &done, &refusal),
			 0);
	ck_assert_msg(strstr(done.notice, "h:1") != NULL, "%s", done.notice);
	add(&(struct edit_task){ .title = "y" });
	ck_assert_int_eq(edit_complete(db, id, &nobody, NULL, NULL, NULL, &done, &refusal), 0);
	ck_assert_msg(strstr(done.notice, "neither a summary") != NULL, "%s", done.notice);
	/* blanks are nothing, and hide no result */
	add(&(struct edit_task){ .title = "z" });
	ck_assert_int_eq(edit_complete(db, id, &nobody, "", " \n", NULL, &done, &refusal), 0);
	ck_assert_msg(strstr(done.notice, "neither a summary") != NULL, "%s", done.notice);
	add(&(struct edit_task){ .title = "r" });
	ck_assert_int_eq(edit_complete(db, id, &nobody, "r", "", NULL, &done, &refusal), 0);
	ck_assert_str_eq(done.notice, "");
	same("SELECT json_extract(payload, '$.summary') FROM task_events WHERE kind ="
	     " 'completed' ORDER BY id DESC LIMIT 1",
	     "r");
}
END_TEST

START_TEST(complete_refused)
{
	static const char *const states[] = { "todo", "triage",   "scheduled",
					      "done", "archived", "nonsense" };
	sqlite3_int64 before;

	running();
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "UPDATE tasks SET status = '%s'", states[i]);
		sql(text);
		before = total();
		ck_assert_int_eq(
			edit_complete(db, "t_run", &nobody, "r", NULL, NULL, &done, &refusal),
			EDIT_REFUSED);
		ck_assert_ptr_nonnull(strstr(refusal.text, states[i]));
		ck_assert_int_eq(total(), before);
	}
	ck_assert_int_eq(edit_complete(db, "t_none", &nobody, "r", NULL, NULL, &done, &refusal),
			 EDIT_NO_TASK);
	ck_assert_int_eq(edit_complete(db, "../../etc/passwd\n", &nobody, "r", NULL, NULL,
				       &done, &refusal),
			 EDIT_NO_TASK);
	ck_assert_ptr_null(strchr(refusal.text, '\n'));
	ck_assert_int_eq(edit_complete(db, "\xFF", &nobody, "r", NULL, NULL, &done, &refusal),
			 EDIT_INVALID);
	ck_assert_int_eq(edit_complete(db, "t_run", &nobody, "r", NULL, "[1]", &done, &refusal),
			 EDIT_INVALID);
	ck_assert_int_eq(edit_complete(db, "t_run", &nobody, "r", NULL, "{", &done, &refusal),
			 EDIT_INVALID);
	ck_assert_int_eq(
		edit_complete(db, "t_run", &nobody, "\xFF", NULL, NULL, &done, &refusal),
		EDIT_INVALID);
	/* no transaction is left open */
	ck_assert_int_eq(sqlite3_get_autocommit(db_handle(db)), 1);
}
END_TEST

START_TEST(complete_open_parent)
{
	running();
	add(&(struct edit_task){ .title = "parent" });
	sql("INSERT INTO task_links SELECT id, 't_run' FROM tasks WHERE title = 'parent'");
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
			 EDIT_REFUSED);
	sql("UPDATE tasks SET status = 'archived' WHERE title = 'parent'");
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
			 0);
}
END_TEST

START_TEST(stale_worker)
{
	const struct edit_by old_run = { .now = NOW, .run = 6 };
	const struct edit_by old_lock = { .now = NOW, .run = 7, .claim_lock = "h:9" };
	sqlite3_int64 before;

	running();
	before = total();
	ck_assert_int_eq(edit_complete(db, "t_run", &old_run, "r", NULL, NULL, &done, &refusal),
			 EDIT_REFUSED);
	ck_assert_ptr_nonnull(strstr(refusal.text, "run 6"));
	ck_assert_ptr_nonnull(strstr(refusal.text, "run 7"));
	ck_assert_int_eq(
		edit_complete(db, "t_run", &old_lock, "r", NULL, NULL, &done, &refusal),
		EDIT_REFUSED);
	ck_assert_ptr_nonnull(strstr(refusal.text, "h:9"));
	ck_assert_int_eq(edit_block(db, "t_run", &old_run, "r", NULL, &done, &refusal),
			 EDIT_REFUSED);
	ck_assert_int_eq(edit_heartbeat(db, "t_run", &old_lock, NULL, 900, &done, &refusal),
			 EDIT_REFUSED);
	ck_assert_int_eq(total(), before);
	/* the task is over: that is said, not the number of a run */
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
			 0);
	ck_assert_int_eq(edit_complete(db, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
			 EDIT_REFUSED);
	ck_assert_ptr_nonnull(strstr(refusal.text, "done"));
}
END_TEST

/* Two processes complete the same task at the same time: one wins, whoever it is. */
START_TEST(two_at_once)
{
	for (int round = 0; round < 20; round++) {
		int go[2], wins = 0, refusals = 0;
		pid_t pids[2];

		sql("DELETE FROM tasks; DELETE FROM task_runs; DELETE FROM task_events");
		running();
		db = db_free(db); /* a connection does not survive a fork */
		ck_assert_int_eq(pipe(go), 0);
		for (int i = 0; i < 2; i++) {
			pids[i] = fork();
			ck_assert_int_ge(pids[i], 0);
			if (pids[i] == 0) {
				const struct db_options opt = { .path = edit_path,
								.busy_timeout_ms = 5000 };
				struct error e = ERROR_NULL;
				struct db *mine = NULL;
				char c;
				int r;

				close(go[1]);
				r = db_open(&mine, &opt, &e);
				if (r == 0 && read(go[0], &c, 1) >= 0)
					r = edit_complete(mine, "t_run", &worker, "r", NULL,
							  NULL, &done, &e);
				db_free(mine);
				_exit(r == 0 ? 0 : r == EDIT_REFUSED ? 1 : 2);
			}
		}
		close(go[0]);
		close(go[1]); /* the start signal */
		for (int i = 0; i < 2; i++) {
			int status = 0;

			ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
			ck_assert(WIFEXITED(status));
			wins += WEXITSTATUS(status) == 0;
			refusals += WEXITSTATUS(status) == 1;
		}
		ck_assert_int_eq(wins, 1);
		ck_assert_int_eq(refusals, 1);
		db = open_board();
		same("SELECT COUNT(*) FROM task_events WHERE kind = 'completed'", "1");
	}
}
END_TEST

/* ---- edit_block, edit_unblock -------------------------------------------------------- */

START_TEST(block_running)
{
	running();
	ck_assert_int_eq(edit_block(db, "t_run", &worker, "no access", NULL, &done, &refusal),
			 0);
	ck_assert_str_eq(done.status, "blocked");
	same("SELECT status, claim_lock, claim_expires, worker_pid, current_run_id, block_kind,"
	     " block_recurrences, consecutive_failures, last_failure_error FROM tasks",
	     "blocked|-|-|-|-|-|1|1|pid 1 not alive");
	same("SELECT status, outcome, summary, metadata, ended_at, claim_lock FROM task_runs",
	     edit_by_age("blocked|blocked|no access|-|1800000000|h:1",
			 "blocked|blocked|no access|-|1800000000|-"));
	same("SELECT run_id, kind, payload FROM task_events WHERE kind <> 'claimed'",
	     "7|blocked|{\"reason\": \"no access\", \"kind\": null, \"recurrences\": 1}");
}
END_TEST

START_TEST(block_kinds)
{
	running();
	ck_assert_int_eq(edit_block(db, "t_run", &worker, "r", "dependency", &done, &refusal),
			 0);
	ck_assert_str_eq(done.status, "todo");
	same("SELECT status, block_kind, block_recurrences FROM tasks", "todo|dependency|0");
	same("SELECT kind, payload FROM task_events WHERE kind <> 'claimed'",
	     "dependency_wait|{\"reason\": \"r\", \"kind\": \"dependency\"}");
	ck_assert_int_eq(edit_block(db, "t_run", &nobody, "r", "whim", &done, &refusal),
			 EDIT_INVALID);
	ck_assert_int_eq(edit_block(db, "t_run", &nobody, "r", NULL, &done, &refusal),
			 EDIT_REFUSED);
}
END_TEST

/* blocked, unblocked, blocked for the same kind: a human decides */
START_TEST(block_loop)
{
	add(&(struct edit_task){ .title = "x" });
	ck_assert_int_eq(edit_block(db, id, &nobody, "a", "transient", &done, &refusal), 0);
	ck_assert_str_eq(done.status, "blocked");
	ck_assert_int_eq(edit_unblock(db, id, &nobody, &done, &refusal), 0);
	ck_assert_int_eq(edit_block(db, id, &nobody, "b", "capability", &done, &refusal), 0);
	ck_assert_str_eq(done.status, "blocked");
	ck_assert_int_eq(edit_unblock(db, id, &nobody, &done, &refusal), 0);
	ck_assert_int_eq(edit_block(db, id, &nobody, "c", "capability", &done, &refusal), 0);
	ck_assert_str_eq(done.status, "triage");
	same("SELECT payload FROM task_events WHERE kind = 'block_loop_detected'",
	     "{\"reason\": \"c\", \"kind\": \"capability\", \"recurrences\": 2, \"limit\": 2}");
	ck_assert_int_eq(edit_unblock(db, id, &nobody, &done, &refusal), EDIT_REFUSED);
	/* done wipes the count */
	sql("UPDATE tasks SET status = 'ready'");
	ck_assert_int_eq(edit_complete(db, id, &nobody, NULL, NULL, NULL, &done, &refusal), 0);
	same("SELECT block_kind, block_recurrences FROM tasks", "-|0");
}
END_TEST

START_TEST(unblock_lanes)
{
	running();
	ck_assert_int_eq(edit_block(db, "t_run", &worker, "x", NULL, &done, &refusal), 0);
	ck_assert_int_eq(edit_unblock(db, "t_run", &nobody, &done, &refusal), 0);
	ck_assert_str_eq(done.status, "ready");
	same("SELECT status, consecutive_failures, last_failure_error FROM tasks", "ready|0|-");
	same("SELECT run_id, payload FROM task_events WHERE kind = 'unblocked'", "-|-");
	/* with a parent that is not done */
	add(&(struct edit_task){ .title = "parent" });
	sql("INSERT INTO task_links SELECT id, 't_run' FROM tasks WHERE title = 'parent';"
	    "UPDATE tasks SET status = 'scheduled' WHERE id = 't_run'");
	ck_assert_int_eq(edit_unblock(db, "t_run", &nobody, &done, &refusal), 0);
	ck_assert_str_eq(done.status, "todo");
	same("SELECT payload FROM task_events WHERE kind = 'unblocked' AND payload NOT NULL",
	     "{\"status\": \"todo\", \"resume_status\": \"ready\"}");
	ck_assert_int_eq(edit_unblock(db, "t_run", &nobody, &done, &refusal), EDIT_REFUSED);
}
END_TEST

START_TEST(unblock_to_review)
{
	running();
	sql("UPDATE task_events SET payload = '{\"lock\": \"h:1\", \"source_status\": "
	    "\"review\"}'");
	ck_assert_int_eq(edit_block(db, "t_run", &worker, "x", NULL, &done, &refusal), 0);
	same("SELECT payload FROM task_events WHERE kind = 'blocked'",
	     "{\"reason\": \"x\", \"kind\": null, \"recurrences\": 1, \"source_status\": "
	     "\"review\"}");
	ck_assert_int_eq(edit_unblock(db, "t_run", &nobody, &done, &refusal), 0);
	ck_assert_str_eq(done.status, "review");
}
END_TEST

START_TEST(unblock_closes_a_leaked_run)
{
	running();
	sql("UPDATE tasks SET status = 'blocked', claim_lock = NULL");
	ck_assert_int_eq(edit_unblock(db, "t_run", &nobody, &done, &refusal), 0);
	same("SELECT current_run_id FROM tasks", "-");
	same("SELECT status, outcome, ended_at, summary, claim_lock FROM task_runs",
	     edit_by_age("reclaimed|reclaimed|1800000000|invariant recovery on unblock|h:1",
			 "reclaimed|reclaimed|1800000000|invariant recovery on unblock|-"));
}
END_TEST

/* ---- edit_heartbeat, edit_comment ---------------------------------------------------- */

START_TEST(heartbeat)
{
	running();
	ck_assert_int_eq(edit_heartbeat(db, "t_run", &worker, "halfway", 900, &done, &refusal),
			 0);
	same("SELECT last_heartbeat_at, claim_expires FROM tasks", "1800000000|1800000900");
	same("SELECT last_heartbeat_at, claim_expires FROM task_runs", "1800000000|1800000900");
	same("SELECT run_id, payload FROM task_events WHERE kind = 'heartbeat'",
	     "7|{\"note\": \"halfway\"}");
	/* a claim is never cut */
	ck_assert_int_eq(edit_heartbeat(db, "t_run", &worker, NULL, 10, &done, &refusal), 0);
	same("SELECT claim_expires FROM tasks", "1800000900");
	same("SELECT payload FROM task_events WHERE kind = 'heartbeat' ORDER BY id DESC LIMIT "
	     "1",
	     "-");
	/* who is no worker extends nothing */
	sql("UPDATE tasks SET claim_expires = 5");
	ck_assert_int_eq(edit_heartbeat(db, "t_run", &nobody, "", 900, &done, &refusal), 0);
	same("SELECT claim_expires FROM tasks", "5");
	sql("UPDATE tasks SET status = 'ready'");
	ck_assert_int_eq(edit_heartbeat(db, "t_run", &nobody, NULL, 900, &done, &refusal),
			 EDIT_REFUSED);
}
END_TEST

START_TEST(comment)
{
	running();
	ck_assert_int_eq(edit_comment(db, "t_run", NOW, " user ", " Schön \n", &done, &refusal),
			 0);
	same("SELECT task_id, author, body, created_at FROM task_comments",
	     "t_run|user|Schön|1800000000");
	same("SELECT run_id, payload FROM task_events WHERE kind = 'commented'",
	     "-|{\"author\": \"user\", \"len\": 8}");
	ck_assert_int_eq(edit_comment(db, "t_run", NOW, "user", " \n ", &done, &refusal),
			 EDIT_INVALID);
	ck_assert_int_eq(edit_comment(db, "t_run", NOW, "", "x", &done, &refusal),
			 EDIT_INVALID);
	ck_assert_int_eq(edit_comment(db, "t_none", NOW, "u", "x", &done, &refusal),
			 EDIT_NO_TASK);
	same("SELECT COUNT(*) FROM task_comments", "1");
}
END_TEST

/* ---- boards of the first release ----------------------------------------------------- */

START_TEST(old_columns)
{
	static const char *const drop[] = { "branch_name",
					    "tenant",
					    "result",
					    "max_runtime_seconds",
					    "skills",
					    "max_retries",
					    "model_override",
					    "provider_override",
					    "block_kind",
					    "block_recurrences",
					    "worker_started_at",
					    "idempotency_key",
					    "created_by",
					    "completed_at",
					    "priority",
					    "last_heartbeat_at",
					    "current_step_key" };
	bool made;

	sql("DROP TABLE kanban_notify_subs; DROP INDEX idx_tasks_tenant;"
	    "DROP INDEX idx_tasks_idempotency;"
	    "ALTER TABLE tasks RENAME COLUMN consecutive_failures TO spawn_failures;"
	    "ALTER TABLE tasks RENAME COLUMN last_failure_error TO last_spawn_error;"
	    "ALTER TABLE task_runs DROP COLUMN last_heartbeat_at;"
	    "ALTER TABLE task_runs DROP COLUMN worker_started_at");
	for (size_t i = 0; i < sizeof(drop) / sizeof(drop[0]); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "ALTER TABLE tasks DROP COLUMN %s", drop[i]);
		sql(text);
	}
	db = db_free(db);
	db = open_board();
	add(&(struct edit_task){ .title = "x", .created_by = "user" });
	ck_assert_int_eq(edit_add(db, &(struct edit_task){ .title = "x", .max_retries = 1 },
				  NOW, id, &made, &done, &refusal),
			 EDIT_INVALID);
	ck_assert_ptr_nonnull(strstr(refusal.text, "max_retries"));
	sql("INSERT INTO tasks (id, title, status, created_at, claim_lock, current_run_id,"
	    " spawn_failures) VALUES ('t_run', 'T', 'running', 1, 'h:1', 7, 2);"
	    "INSERT INTO task_runs (id, task_id, status, started_at) VALUES"
	    " (7, 't_run', 'running', 2)");
	ck_assert_msg(edit_heartbeat(db, "t_run", &worker, "n", 9, &done, &refusal) == 0, "%s",
		      refusal.text);
	ck_assert_msg(edit_block(db, "t_run", &worker, "r", NULL, &done, &refusal) == 0, "%s",
		      refusal.text);
	ck_assert_msg(edit_unblock(db, "t_run", &nobody, &done, &refusal) == 0, "%s",
		      refusal.text);
	ck_assert_msg(edit_complete(db, "t_run", &nobody, "res", NULL, NULL, &done, &refusal) ==
			      0,
		      "%s", refusal.text);
	same("SELECT status, spawn_failures FROM tasks WHERE id = 't_run'", "done|0");
	same("SELECT summary FROM task_runs WHERE outcome = 'completed'", "res");
}
END_TEST

/* ---- trouble ------------------------------------------------------------------------- */

START_TEST(busy)
{
	const struct db_options opt = { .path = edit_path, .busy_timeout_ms = 0 };
	struct db *other = NULL;

	running();
	ck_assert_int_eq(db_open(&other, &opt, &refusal), 0);
	ck_assert_int_eq(db_begin(db, &refusal), 0);
	ck_assert_int_eq(
		edit_complete(other, "t_run", &worker, "r", NULL, NULL, &done, &refusal),
		DB_TRANSIENT);
	db_rollback(db);
	ck_assert_int_eq(
		edit_complete(other, "t_run", &worker, "r", NULL, NULL, &done, &refusal), 0);
	db_free(other);
}
END_TEST

/* What was put off until a time and is unblocked before waits for that time no longer. */
START_TEST(unblock_forgets_the_time)
{
	const struct edit_by by = { .now = NOW };

	sql("ALTER TABLE tasks ADD COLUMN scheduled_at INTEGER");
	db = db_free(db);
	db = open_board();
	add(&(struct edit_task){ .title = "x", .at = NOW + 60 });
	same("SELECT status || scheduled_at FROM tasks", "scheduled1800000060");
	ck_assert_int_eq(edit_unblock(db, id, &by, &done, &refusal), 0);
	same("SELECT status || (scheduled_at IS NULL) FROM tasks", "ready1");
}
END_TEST

Suite *test_suite(void)
{
	const TTest *const tests[] = { complete_running,
				       complete_defaults,
				       complete_bare,
				       complete_artifacts_and_long_line,
				       complete_without_a_run,
				       complete_refused,
				       complete_with_a_notice,
				       complete_open_parent,
				       stale_worker,
				       two_at_once,
				       block_running,
				       block_kinds,
				       block_loop,
				       unblock_lanes,
				       unblock_to_review,
				       unblock_closes_a_leaked_run,
				       unblock_forgets_the_time,
				       heartbeat,
				       comment,
				       busy };
	const TTest *const newer[] = { complete_with_a_contract, old_columns };

	return EDIT_SUITE("edit", tests, newer);
}
