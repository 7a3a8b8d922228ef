/* Claiming a task, and booking what became of its launch. */
#include <string.h>

#include "kit/board.h"
#include "tick/claim.h"

static void try_claim(const char *task, bool review)
{
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_msg(claim_task(kit_ctx(), task, review) == 0, "%s", kit.e.text);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
}

static void claim(const char *task, bool review)
{
	try_claim(task, review);
	kit_claim_invariant();
}

static struct plan_launch *claimed(const char *set)
{
	kit_board(0);
	kit_task("t", "ready", set);
	kit_open();
	claim("t", false);
	ck_assert_uint_eq(kit.plan.n_launches, 1);
	return &kit.plan.launches[0];
}

static void record(const struct tick_launched *l)
{
	ck_assert_msg(tick_record(kit.db, &kit.rq, l, 1, &kit.plan, &kit.e) == 0, "%s",
		      kit.e.text);
	kit_claim_invariant();
}

START_TEST(claims_a_ready_task)
{
	const struct plan_launch *l = claimed(
		"tenant = 'ten', workspace_kind = 'dir', workspace_path = '/w', branch_name = "
		"'b',"
		" skills = '[1]', model_override = 'm', provider_override = 'p', "
		"reasoning_effort"
		" = 'r', goal_mode = 1, goal_max_turns = 9, max_runtime_seconds = 60,"
		" consecutive_failures = 1, max_retries = 5, current_step_key = 'step'");

	ck_assert_str_eq(l->task, "t");
	ck_assert_str_eq(l->assignee, "jimmy");
	ck_assert_str_eq(l->claim_lock, KIT_LOCK);
	ck_assert_int_eq(l->run, 1);
	ck_assert_int_eq(l->failures, 1);
	ck_assert_int_eq(l->max_retries, 5);
	ck_assert(!l->review && l->row.goal_mode);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 61); /* its time will be over */
	ck_assert_str_eq(l->row.tenant, "ten");
	ck_assert_str_eq(l->row.workspace_kind, "dir");
	ck_assert_str_eq(l->row.workspace_path, "/w");
	ck_assert_str_eq(l->row.branch_name, "b");
	ck_assert_str_eq(l->row.skills, "[1]");
	ck_assert_str_eq(l->row.model_override, "m");
	ck_assert_str_eq(l->row.provider_override, "p");
	ck_assert_str_eq(l->row.reasoning_effort, "r");
	ck_assert_int_eq(l->row.goal_max_turns, 9);
	ck_assert_int_eq(l->row.max_runtime_seconds, 60);
	ck_list("running|h:77|1780000900|1780000000|1",
		"SELECT status, claim_lock, claim_expires, started_at, current_run_id FROM "
		"tasks");
	ck_list("t|jimmy|step|running|h:77|1780000900|60|1780000000|-",
		"SELECT task_id, profile, step_key, status, claim_lock, claim_expires,"
		" max_runtime_seconds, started_at, ended_at FROM task_runs");
	ck_list("claimed|1|{\"lock\": \"h:77\", \"expires\": 1780000900, \"run_id\": 1}",
		"SELECT kind, run_id, payload FROM task_events");
}
END_TEST

START_TEST(keeps_the_first_start)
{
	const struct plan_launch *l = claimed("started_at = 5");

	ck_assert_int_eq(l->max_retries, -1);
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 901); /* its claim will run out */
	ck_assert_ptr_null(l->row.tenant);
	ck_list("5|1780000000", "SELECT t.started_at, r.started_at FROM tasks t, task_runs r");
}
END_TEST

START_TEST(claims_from_review)
{
	kit_board(0);
	kit_task("p", "todo", NULL);
	kit_task("t", "review", NULL);
	kit_sql("INSERT INTO task_links VALUES ('p', 't')");
	kit_open();
	claim("t", false); /* not ready, and its parent is open: nothing is done */
	ck_list("review", "SELECT status FROM tasks WHERE id = 't'");
	ck_assert_str_eq(kit_kinds("t"), "");
	claim("t", true); /* a parent was reopened: the review waits for it */
	ck_assert_uint_eq(kit.plan.n_launches, 0);
	ck_list("todo", "SELECT status FROM tasks WHERE id = 't'");
	ck_list("dependency_wait|{\"reason\": \"parent_reopened\", \"source_status\": "
		"\"review\"}",
		"SELECT kind, payload FROM task_events");
	kit_sql("UPDATE tasks SET status = 'done' WHERE id = 'p';"
		" UPDATE tasks SET status = 'review' WHERE id = 't'; DELETE FROM task_events");
	claim("t", true);
	ck_assert(kit.plan.launches[0].review);
	ck_list("review", "SELECT payload ->> 'source_status' FROM task_events");
}
END_TEST

START_TEST(rejects_with_open_parents)
{
	kit_board(0);
	kit_task("p", "running", NULL);
	kit_task("t", "ready", NULL);
	kit_sql("INSERT INTO task_links VALUES ('p', 't'), ('no_such', 't')");
	kit_open();
	claim("t", false);
	ck_assert_uint_eq(kit.plan.n_launches, 0);
	ck_list("todo|-", "SELECT status, claim_lock FROM tasks WHERE id = 't'");
	ck_list("claim_rejected|{\"reason\": \"parents_not_done\"}",
		"SELECT kind, payload FROM task_events");
	kit_sql("UPDATE tasks SET status = 'archived' WHERE id = 'p'; UPDATE tasks SET status ="
		" 'ready' WHERE id = 't'");
	claim("t", false);
	ck_assert_uint_eq(kit.plan.n_launches, 1);
}
END_TEST

START_TEST(leaves_what_changed_alone)
{
	kit_board(0);
	kit_task("done", "done", NULL);
	kit_task("taken", "ready", "claim_lock = 'h:78'");
	kit_open();
	try_claim("done", false);
	try_claim("taken", false);
	try_claim("no_such", false);
	try_claim("", true);
	ck_assert_uint_eq(kit.plan.n_launches, 0);
	ck_list("", "SELECT id FROM task_runs");
	ck_list("", "SELECT id FROM task_events");
}
END_TEST

START_TEST(closes_a_leaked_run)
{
	kit_board(0);
	kit_run("t", 101, NULL, NULL);
	kit_sql("UPDATE tasks SET status = 'ready', claim_lock = NULL, claim_expires = NULL,"
		" worker_pid = NULL");
	kit_open();
	claim("t", false);
	ck_list(kit_by_age("reclaimed|reclaimed|invariant recovery on "
			   "re-claim|h:77|101|1780000000,running|-|-|h:77|-|-",
			   "reclaimed|reclaimed|invariant recovery on "
			   "re-claim|-|-|1780000000,running|-|-|h:77|-|-"),
		"SELECT status, outcome, summary, claim_lock, worker_pid, ended_at FROM "
		"task_runs");
	ck_list("2", "SELECT current_run_id FROM tasks");
}
END_TEST

START_TEST(hostile_rows)
{
	const struct plan_launch *l = claimed(
		"assignee = x'FF00FF', goal_max_turns = -9223372036854775808, "
		"max_runtime_seconds ="
		" 'x', max_retries = 9223372036854775807, consecutive_failures = -1, skills ="
		" hex(zeroblob(5000000)), workspace_kind = '', started_at = 'x'");

	ck_assert_str_eq(l->assignee, "\xFF");
	ck_assert_int_eq(l->row.goal_max_turns, 0);
	ck_assert_int_eq(l->row.max_runtime_seconds, 0);
	ck_assert_int_eq(l->failures, 0);
	ck_assert_uint_eq(strlen(l->row.skills), 10000000);
}
END_TEST

START_TEST(legacy_board)
{
	kit_board(KIT_LEGACY);
	kit_task("t", "ready", "spawn_failures = 1");
	kit_open();
	claim("t", false);
	ck_assert_int_eq(kit.plan.launches[0].failures, 1);
	ck_assert_ptr_null(kit.plan.launches[0].row.branch_name);
	record(&(struct tick_launched){ .launch = &kit.plan.launches[0],
					.workspace_ok = true,
					.spawned = true,
					.pid = 4711,
					.started = "boot|1",
					.workspace = "/w",
					.branch = "b" });
	ck_list("/w|4711", "SELECT workspace_path, worker_pid FROM tasks");
}
END_TEST

/* ---- tick_record --------------------------------------------------------------------- */

START_TEST(records_a_worker)
{
	const struct plan_launch *l = claimed(NULL);

	kit.scratch = true;
	record(&(struct tick_launched){ .launch = l,
					.workspace_ok = true,
					.spawned = true,
					.pid = 4711,
					.started = "boot|1",
					.workspace = "/w/t",
					.branch = "wt/t" });
	ck_list("running|4711|/w/t|wt/t",
		"SELECT status, worker_pid, workspace_path, branch_name FROM tasks");
	ck_list("4711", "SELECT worker_pid FROM task_runs");
	if (!kit.age)
		ck_list("boot|1,boot|1", "SELECT worker_started_at FROM tasks UNION ALL"
					 " SELECT worker_started_at FROM task_runs");
	ck_list("claimed|1|,tip_scratch_workspace|-|1,spawned|1|",
		"SELECT kind, run_id, coalesce(length(payload ->> 'message') > 40, '') FROM "
		"task_events"
		" ORDER BY id");
	ck_list(kit_by_age("{\"pid\": 4711, \"started_at\": \"boot|1\"}", "{\"pid\": 4711}"),
		"SELECT payload FROM task_events WHERE kind = 'spawned'");
	ck_assert(!kit.scratch);
}
END_TEST

/* A tick found the claim without a worker, and waits for its TTL. */
START_TEST(records_when_its_time_is_over)
{
	const struct plan_launch *l = claimed("max_runtime_seconds = 7");

	kit.plan.deadline = 0;
	record(&(struct tick_launched){
		.launch = l, .workspace_ok = true, .spawned = true, .pid = 4711 });
	ck_assert_int_eq(kit.plan.deadline, l->run_started_at + 8);
}
END_TEST

/* It was so fast that its run is over: that it was started is told, its row is left alone. */
START_TEST(records_a_worker_that_is_done)
{
	const struct plan_launch *l = claimed("branch_name = 'mine'");

	kit_sql("UPDATE tasks SET status = 'done', claim_lock = NULL, claim_expires = NULL,"
		" current_run_id = NULL; UPDATE task_runs SET ended_at = 1, outcome = "
		"'completed',"
		" status = 'done', claim_lock = NULL, claim_expires = NULL");
	record(&(struct tick_launched){ .launch = l,
					.workspace_ok = true,
					.spawned = true,
					.pid = 4711,
					.started = "boot|1",
					.workspace = "/w/t" });
	ck_list("done|-|/w/t|mine",
		"SELECT status, worker_pid, workspace_path, branch_name FROM tasks");
	ck_list("-", "SELECT worker_pid FROM task_runs");
	ck_assert_str_eq(kit_kinds("t"), "claimed,spawned");
}
END_TEST

/* Somebody took the task meanwhile and claimed it anew: that run has a worker of its own. */
START_TEST(records_a_worker_of_the_run_before)
{
	const struct plan_launch *l = claimed(NULL);

	kit_sql("UPDATE task_runs SET ended_at = 1, outcome = 'reclaimed', status = "
		"'reclaimed';"
		"INSERT INTO task_runs(task_id, status, claim_lock, worker_pid, started_at)"
		" VALUES('t', 'running', 'h:9', 99, 1);"
		"UPDATE tasks SET claim_lock = 'h:9', worker_pid = 99, current_run_id = 2");
	record(&(struct tick_launched){
		.launch = l, .workspace_ok = true, .spawned = true, .pid = 4711 });
	ck_list("running|99|2", "SELECT status, worker_pid, current_run_id FROM tasks");
	ck_list("-,99", "SELECT worker_pid FROM task_runs ORDER BY id");
}
END_TEST

START_TEST(records_a_failed_spawn)
{
	const struct plan_launch *l = claimed(NULL);

	record(&(struct tick_launched){ .launch = l,
					.workspace_ok = true,
					.workspace = "/w/t",
					.error = "no hermes \xFF" });
	ck_list("ready|1|/w/t|-",
		"SELECT status, consecutive_failures, workspace_path, claim_lock FROM tasks");
	ck_list("spawn_failed|spawn_failed|{\"failures\": 1}",
		"SELECT status, outcome, metadata FROM task_runs");
	ck_list("no hermes \xEF\xBF\xBD|1",
		"SELECT payload ->> 'error', payload ->> 'failures' FROM"
		" task_events WHERE kind = 'spawn_failed'");
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "");
}
END_TEST

START_TEST(records_the_last_failed_spawn)
{
	const struct plan_launch *l = claimed("consecutive_failures = 1");

	record(&(struct tick_launched){ .launch = l, .error = "workspace: no such folder" });
	ck_list("blocked|2|workspace: no such folder|-",
		"SELECT status, consecutive_failures, last_failure_error, workspace_path FROM "
		"tasks");
	ck_list("gave_up|gave_up|{\"failures\": 2, \"trigger_outcome\": \"spawn_failed\","
		" \"effective_limit\": 2, \"limit_source\": \"dispatcher\"}",
		"SELECT status, outcome, metadata FROM task_runs");
	ck_assert_str_eq(kit_kinds("t"), "claimed,gave_up");
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "t");
}
END_TEST

START_TEST(a_failed_spawn_of_a_review_goes_back)
{
	kit_board(0);
	kit_task("t", "review", NULL);
	kit_open();
	claim("t", true);
	record(&(struct tick_launched){ .launch = &kit.plan.launches[0], .error = NULL });
	ck_list("review|1|spawn failed",
		"SELECT status, consecutive_failures, last_failure_error FROM"
		" tasks");
}
END_TEST

START_TEST(a_failed_spawn_that_others_took)
{
	const struct plan_launch *l = claimed(NULL);

	kit_sql("UPDATE tasks SET claim_lock = 'h:99'");
	record(&(struct tick_launched){ .launch = l, .error = "x" });
	ck_list("running|0|h:99", "SELECT status, consecutive_failures, claim_lock FROM tasks");
	ck_assert_str_eq(kit_kinds("t"), "claimed");
}
END_TEST

/* All or nothing: a fault in the second undoes the first, and a retry books both. */
START_TEST(a_batch_is_one_transaction)
{
	struct tick_launched l[2];

	kit_board(0);
	kit_task("a", "ready", NULL);
	kit_task("b", "ready", NULL);
	kit_open();
	claim("a", false);
	claim("b", false);
	for (int i = 0; i < 2; i++)
		l[i] = (struct tick_launched){ .launch = &kit.plan.launches[i],
					       .workspace_ok = true,
					       .spawned = true,
					       .pid = 100 + i,
					       .workspace = "/w" };
	kit_refuse("task_events", "task_id = 'b' AND kind = 'spawned'");
	ck_assert_int_ne(tick_record(kit.db, &kit.rq, l, 2, &kit.plan, &kit.e), 0);
	ck_list("-,-", "SELECT worker_pid FROM tasks");
	ck_assert(sqlite3_get_autocommit(db_handle(kit.db)));
	kit_allow();
	ck_assert_int_eq(tick_record(kit.db, &kit.rq, l, 2, &kit.plan, &kit.e), 0);
	ck_list("100,101", "SELECT worker_pid FROM tasks");
	ck_assert_str_eq(kit_kinds("a"), "claimed,spawned");
}
END_TEST

KIT_SUITE_AGES("claim",
	       KIT_TESTS(claims_a_ready_task, keeps_the_first_start, claims_from_review,
			 rejects_with_open_parents, leaves_what_changed_alone,
			 closes_a_leaked_run, hostile_rows, records_a_worker,
			 records_when_its_time_is_over, records_a_worker_that_is_done,
			 records_a_worker_of_the_run_before, records_a_failed_spawn,
			 records_the_last_failed_spawn, a_failed_spawn_of_a_review_goes_back,
			 a_failed_spawn_that_others_took, a_batch_is_one_transaction),
	       KIT_TESTS(legacy_board))
