/* Step 6 of a tick: workers that are gone, by how they ended, alone and in waves. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "kit/board.h"
#include "tick/crash.h"
#include "tick/running.h"

static struct tick_exit exits[16];

/* The end of the worker @pid of @run is known. */
static void ended(int64_t run, int64_t pid, enum tick_exit_kind kind, int value)
{
	exits[kit.rq.n_exits++] = (struct tick_exit){ run, pid, kind, value, NULL, false };
	kit.rq.exits = exits;
}

static void reclaim(void)
{
	ck_assert_msg(kit_tick(TICK_RECLAIM) == 0, "%s", kit.e.text);
	kit_claim_invariant();
	/* what is over is no deadline: the loop would tick for ever */
	ck_assert_msg(kit.plan.deadline == 0 || kit.plan.deadline > kit.rq.now,
		      "deadline %lld is %lld s ago", (long long)kit.plan.deadline,
		      (long long)(kit.rq.now - kit.plan.deadline));
}

static char *state(const char *task)
{
	return kit_list(
		"SELECT t.status, t.consecutive_failures, coalesce(t.last_failure_error,"
		" ''), r.outcome, coalesce(r.error, '') FROM tasks t JOIN task_runs r ON"
		" r.id = (SELECT max(id) FROM task_runs WHERE task_id = t.id) WHERE"
		" t.id = %Q",
		task);
}

#define LIMITED(pid)                                                                           \
	"pid " #pid                                                                            \
	" exited rate-limited: the provider's quota is used up; tried again later,"            \
	" no failure is counted"
#define VIOLATION(pid)                                                                         \
	"protocol violation: the worker (pid " #pid ") exited with code 0 and did not report." \
	" Check first what it has done already; then report the result with complete, or what" \
	" is in the way with block. A run that reports neither counts as failed whatever it"   \
	" did"

START_TEST(by_exit_status)
{
	kit_board(0);
	ended(kit_run("coded", 101, NULL, NULL), 101, TICK_EXITED, 3);
	ended(kit_run("killed", 102, NULL, NULL), 102, TICK_SIGNALED, 9);
	kit_run("unseen", 103, NULL, NULL);
	ended(kit_run("unknown", 104, NULL, NULL), 104, TICK_UNKNOWN, 0);
	ended(kit_run("limited", 105, NULL, NULL), 105, TICK_EXITED, 75);
	ended(kit_run("silent", 106, NULL, NULL), 106, TICK_EXITED, 0);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "coded,killed,unseen,unknown,silent");
	ck_assert_str_eq(kit_ids(&kit.plan.rate_limited), "limited");
	ck_assert_str_eq(state("coded"), "ready|1|pid 101 exited with code 3|crashed|pid 101"
					 " exited with code 3");
	ck_assert_str_eq(state("killed"), "ready|1|pid 102 killed by signal 9|crashed|pid 102"
					  " killed by signal 9");
	ck_assert_str_eq(state("unseen"),
			 "ready|1|pid 103 not alive|crashed|pid 103 not alive");
	ck_assert_str_eq(state("limited"),
			 "ready|0|" LIMITED(105) "|rate_limited|" LIMITED(105));
	ck_assert_str_eq(state("silent"), "ready|0|" VIOLATION(106) "|crashed|" VIOLATION(106));
	ck_list("{\"pid\": 101, \"claimer\": \"h:77\", \"retry_status\": \"ready\", "
		"\"exit_kind\": \"nonzero_exit\","
		" \"exit_code\": 3}",
		"SELECT payload FROM task_events WHERE task_id = 'coded' AND kind = 'crashed'");
	ck_list("signaled|9", "SELECT payload ->> 'exit_kind', payload ->> 'exit_code' FROM"
			      " task_events WHERE task_id = 'killed' AND kind = 'crashed'");
	ck_list("{\"pid\": 104, \"claimer\": \"h:77\", \"retry_status\": \"ready\"}",
		"SELECT payload FROM task_events WHERE task_id = 'unknown' AND kind = "
		"'crashed'");
	ck_list("{\"pid\": 106, \"claimer\": \"h:77\", \"retry_status\": \"ready\", "
		"\"exit_code\": 0, "
		"\"protocol_violation\":"
		" true}|1",
		"SELECT e.payload, e.payload = r.metadata FROM task_events e JOIN task_runs r "
		"ON"
		" r.id = e.run_id WHERE kind = 'protocol_violation'");
	ck_list("{\"pid\": 105, \"claimer\": \"h:77\", \"retry_status\": \"ready\", "
		"\"exit_code\": 75}",
		"SELECT payload FROM task_events WHERE kind = 'rate_limited'");
}
END_TEST

/* A start that lies ahead is of a clock that was set back: who is dead is dead. */
START_TEST(no_grace_for_a_start_ahead)
{
	kit_board(0);
	kit_run("t", 101, NULL, NULL);
	kit_sql("UPDATE tasks SET started_at = %lld", (long long)KIT_NOW + 3600);
	kit_open();
	ck_assert_int_eq(kit_tick(TICK_RECLAIM), 0);
	ck_list("ready", "SELECT status FROM tasks");
}
END_TEST

START_TEST(grace)
{
	kit_board(0);
	kit_run("young", 101, "started_at = 1779999970", NULL); /* 30 s ago */
	kit_run("old", 102, "started_at = 1779999969", NULL);
	kit_run("no_start", 103, "started_at = NULL", NULL);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "old,no_start");
	ck_assert_int_eq(kit.plan.deadline, KIT_NOW + 1);
	kit.set.crash_grace_s = 0;
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "young");
}
END_TEST

START_TEST(not_ours_to_judge)
{
	int64_t watched[1], busy[1];

	kit_board(0);
	kit_run("alive", 101, NULL, NULL);
	kit_run("elsewhere", 102, "claim_lock = 'hh:77'", NULL);
	kit_run("prefix", 103, "claim_lock = 'h'", NULL);
	kit_run("no_pid", 0, NULL, NULL);
	kit_run("one", 1, NULL, NULL);      /* never init */
	kit_run("group", -300, NULL, NULL); /* never a process group */
	kit_run("huge", INT64_C(4294967400), NULL, NULL);
	watched[0] = kit_run("watched", 104, NULL, NULL);
	busy[0] = kit_run("busy", 105, NULL, NULL);
	kit_lives(101);
	kit.rq.watched = watched;
	kit.rq.n_watched = 1;
	kit.rq.busy = busy;
	kit.rq.n_busy = 1;
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "");
	ck_list("9", "SELECT count(*) FROM tasks WHERE status = 'running'");
}
END_TEST

/* An exit of another run of the same pid says nothing. */
START_TEST(exit_of_another_run)
{
	kit_board(0);
	ended(kit_run("t", 101, NULL, NULL) + 1, 101, TICK_EXITED, 75);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.rate_limited), "");
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "t");
}
END_TEST

START_TEST(failure_limit_trips)
{
	kit_board(0);
	ended(kit_run("t", 101, "consecutive_failures = 1", NULL), 101, TICK_EXITED, 3);
	ended(kit_run("own", 102, "consecutive_failures = 4, max_retries = 6", NULL), 102,
	      TICK_SIGNALED, 6);
	ended(kit_run("none", 103, "max_retries = 0", NULL), 103, TICK_EXITED, 9);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "t,none");
	ck_list("blocked|2,ready|5,blocked|1",
		"SELECT status, consecutive_failures FROM tasks ORDER BY rowid");
	ck_assert_str_eq(kit_kinds("t"), "claimed,crashed,gave_up");
	ck_list("2|2|dispatcher|crashed|101|h:77|pid 101 exited with code 3",
		"SELECT payload ->> 'failures', payload ->> 'effective_limit', payload ->>"
		" 'limit_source', payload ->> 'trigger_outcome', payload ->> 'pid', payload ->>"
		" 'claimer', payload ->> 'error' FROM task_events WHERE kind = 'gave_up' AND"
		" task_id = 't'");
	ck_list("task", "SELECT payload ->> 'limit_source' FROM task_events WHERE kind ="
			" 'gave_up' AND task_id = 'none'");
}
END_TEST

/* 78: the provider refused for good, and no retry heals it, whatever the task allows. */
START_TEST(a_terminal_provider_trips_at_the_first)
{
	kit_board(0);
	ended(kit_run("t", 101, "max_retries = 9", NULL), 101, TICK_EXITED, 78);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "t");
	ck_list("blocked|1", "SELECT status, consecutive_failures FROM tasks");
	ck_list("{\"pid\": 101, \"claimer\": \"h:77\", \"retry_status\": \"ready\", "
		"\"exit_kind\": "
		"\"terminal_provider\", \"exit_code\": 78, \"terminal_provider\": true}",
		"SELECT payload FROM task_events WHERE kind = 'crashed'");
	ck_list("1|1|ready",
		"SELECT payload ->> 'sticky', payload ->> 'terminal_provider', payload ->>"
		" 'retry_status' FROM task_events WHERE kind = 'gave_up'");
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	ck_assert_int_eq(kit.plan.promoted, 0);
	kit_event("t", "unblocked", NULL, KIT_NOW);
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	ck_assert_int_eq(kit.plan.promoted, 1);
}
END_TEST

/* The log of a task, written @ago seconds before now. */
static void log_of(const char *task, const char *text, int64_t ago)
{
	const char *path = kit_printf("%s/%s.log", kit.dir, task);
	struct timespec times[2] = { { .tv_sec = KIT_NOW - ago }, { .tv_sec = KIT_NOW - ago } };
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	kit.rq.logs = kit.dir;
}

/* Nobody saw it end: its log tells, if this run wrote it. */
START_TEST(the_trailer_in_the_log)
{
	kit.rq.once = false;
	kit_board(0);
	kit_run("limited", 101, NULL, NULL);
	log_of("limited", "working\n[kanban-worker-exit] rc=75\n", 10);
	kit_run("silent", 102, NULL, NULL);
	log_of("silent", "all fine\n[kanban-worker-exit] rc=0\n", 10);
	kit_run("old", 103, NULL, NULL);
	log_of("old", "[kanban-worker-exit] rc=78\n", 1000);
	kit_ended("went_on", "crashed", KIT_NOW - 5000, NULL);
	kit_run("went_on", 104, NULL, NULL);
	log_of("went_on", "[kanban-worker-exit] rc=78\nthe next run\n", 10);
	kit_run("terminal", 105, NULL, NULL);
	log_of("terminal", "key revoked\n[kanban-worker-exit] rc=78\n", 10);
	kit_open();
	reclaim();
	ck_list("limited|ready|rate_limited,silent|ready|crashed,old|ready|reclaimed,"
		"went_on|ready|reclaimed,terminal|blocked|crashed",
		"SELECT t.id, t.status, r.outcome FROM tasks t JOIN task_runs r ON r.task_id ="
		" t.id WHERE r.ended_at = 1780000000 ORDER BY t.rowid");
	ck_list("key revoked", "SELECT payload ->> 'worker_output' FROM task_events WHERE"
			       " task_id = 'terminal' AND kind = 'crashed'");
	ck_list("pid 105 exited with code 78; last output: key revoked",
		"SELECT last_failure_error FROM tasks WHERE id = 'terminal'");
}
END_TEST

/* A log is whatever a worker and what it started wrote. */
START_TEST(trailers_in_odd_logs)
{
	CLEANUP(freep) char *huge = malloc(5001);
	size_t i;
	const struct {
		const char *name, *text;
		bool limited;
	} cases[] = {
		{ "no_newline", "x\n[kanban-worker-exit] rc=75", true },
		{ "crlf", "x\r\n[kanban-worker-exit] rc=75\r\n", true },
		{ "behind_half_a_line", "50 %\r75 %[kanban-worker-exit] rc=75\n", true },
		{ "no_text", "caf\xe9 \xff\xfe[kanban-worker-exit] rc=75\n", true },
		{ "huge", huge, true },
		{ "what_it_started_went_on", "[kanban-worker-exit] rc=75\na child\n", true },
		{ "coloured", "[kanban-worker-exit] rc=75\x1b[0m\n", true },
		{ "twice", "[kanban-worker-exit] rc=0\n[kanban-worker-exit] rc=75\n", true },
		{ "spoken_of", "it ends with `[kanban-worker-exit] rc=75`\n", false },
		{ "no_number", "[kanban-worker-exit] rc=\n", false },
		{ "no_status", "[kanban-worker-exit] rc=1075\n", false },
	};

	ck_assert_ptr_nonnull(huge);
	memset(huge, 'A', 5000);
	(void)strcpy(huge + 4900, "[kanban-worker-exit] rc=75");
	kit_board(0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kit_run(cases[i].name, 101 + (int)i, NULL, NULL);
		log_of(cases[i].name, cases[i].text, 10);
	}
	kit_open();
	reclaim();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_list(cases[i].limited ? "rate_limited" : "crashed",
			kit_printf("SELECT outcome FROM task_runs WHERE task_id = '%s'",
				   cases[i].name));
}
END_TEST

START_TEST(a_wave_trips_at_once)
{
	kit_board(0);
	for (int i = 1; i < 4; i++) /* three are enough */
		ended(kit_run(kit_printf("w%d", i), 100 + i, i == 3 ? "max_retries = 5" : NULL,
			      NULL),
		      100 + i, TICK_EXITED, 2);
	ended(kit_run("alone", 110, NULL, NULL), 110, TICK_EXITED, 3);
	ended(kit_run("two_a", 111, NULL, NULL), 111, TICK_EXITED, 4);
	ended(kit_run("two_b", 112, NULL, NULL), 112, TICK_EXITED, 4);
	for (int i = 0; i < 3; i++) /* equal texts of ends that are not counted are no wave */
		ended(kit_run(kit_printf("q%d", i), 120 + i, NULL, NULL), 120 + i, TICK_EXITED,
		      75);
	for (int i = 0; i < 3; i++)
		ended(kit_run(kit_printf("v%d", i), 130 + i, NULL, NULL), 130 + i, TICK_EXITED,
		      0);
	kit_open();
	reclaim();
	ck_list("w1,w2", "SELECT id FROM tasks WHERE status = 'blocked' ORDER BY id");
	ck_assert_str_eq(kit_kinds("w1"), "claimed,crashed,gave_up");
	ck_assert_str_eq(kit_kinds("w3"), "claimed,crashed"); /* its own limit still wins */
	ck_list("1|1", "SELECT payload ->> 'failures', payload ->> 'effective_limit' FROM"
		       " task_events WHERE kind = 'gave_up' AND task_id = 'w1'");
	/* the block is sticky */
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	ck_assert_int_eq(kit.plan.promoted, 0);
}
END_TEST

START_TEST(violations_are_counted_by_their_row)
{
	static const char violation[] = "{\"protocol_violation\": true}";

	kit_board(0);
	/* two before, a rate limit between: the third trips */
	kit_ended("third", "crashed", KIT_NOW - 5000, violation);
	kit_ended("third", "rate_limited", KIT_NOW - 4000, NULL);
	kit_ended("third", "crashed", KIT_NOW - 3000, violation);
	ended(kit_run("third", 101, NULL, NULL), 101, TICK_EXITED, 0);
	/* a plain crash between: the row starts anew */
	kit_ended("broken", "crashed", KIT_NOW - 5000, violation);
	kit_ended("broken", "crashed", KIT_NOW - 4000, "{\"pid\": 1}");
	kit_ended("broken", "crashed", KIT_NOW - 3000, violation);
	ended(kit_run("broken", 102, NULL, NULL), 102, TICK_EXITED, 0);
	/* the task's own limit */
	ended(kit_run("once", 103, "max_retries = 1", NULL), 103, TICK_EXITED, 0);
	/* hostile metadata */
	kit_ended("odd", "crashed", KIT_NOW - 5000, "[{]");
	kit_ended("odd", "crashed", KIT_NOW - 4000, "{\"protocol_violation\": 1}");
	ended(kit_run("odd", 104, NULL, NULL), 104, TICK_EXITED, 0);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.auto_blocked), "third,once");
	ck_list("third|blocked|1,broken|ready|0,once|blocked|1,odd|ready|0",
		"SELECT id, status, consecutive_failures FROM tasks ORDER BY rowid");
	ck_list("third|3|3|dispatcher|1,once|1|1|task|1",
		"SELECT task_id, payload ->> 'protocol_violations', payload ->>"
		" 'protocol_violation_limit', payload ->> 'limit_source', payload ->> 'sticky'"
		" FROM task_events WHERE kind = 'gave_up' ORDER BY id");
	/* a trip must hold against the next promotion */
	ck_assert_int_eq(kit_tick(TICK_PROMOTE), 0);
	ck_assert_int_eq(kit.plan.promoted, 0);
}
END_TEST

START_TEST(ends_nobody_saw)
{
	static const char restart[] = "{\"reason\": \"dispatcher_restart\", \"worker_pid\": 9}";
	static const char no_worker[] =
		"{\"reason\": \"dispatcher_restart\", \"worker_pid\": null}";

	kit.rq.once = false;
	kit_board(0);
	kit_run("first", 101, NULL, NULL);
	kit_ended("second", "reclaimed", KIT_NOW - 3000, restart);
	kit_run("second", 102, NULL, NULL);
	kit_ended("third", "reclaimed", KIT_NOW - 4000, restart);
	kit_ended("third", "reclaimed", KIT_NOW - 3000, restart);
	kit_run("third", 103, NULL, NULL);
	kit_ended("cut", "reclaimed", KIT_NOW - 4000, restart);
	kit_ended("cut", "reclaimed", KIT_NOW - 3000, no_worker);
	kit_run("cut", 104, NULL, NULL);
	ended(kit_run("known", 105, NULL, NULL), 105, TICK_UNKNOWN, 0);
	kit_open();
	reclaim();
	ck_assert_int_eq(kit.plan.reclaimed, 3);
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "third,known");
	ck_list("first|0,second|0,third|1,cut|0,known|1",
		"SELECT id, consecutive_failures FROM tasks ORDER BY rowid");
	ck_list("reclaimed|dispatcher_restart|101", "SELECT outcome, metadata ->> 'reason', "
						    "metadata ->> 'worker_pid' FROM task_runs"
						    " WHERE task_id = 'first'");
	ck_assert_str_eq(kit_kinds("first"), "claimed,reclaimed");
}
END_TEST

START_TEST(back_to_the_review_lane)
{
	kit_board(0);
	ended(kit_run("t", 101, NULL, NULL), 101, TICK_EXITED, 1);
	kit_sql("UPDATE task_events SET payload = '{\"source_status\": \"review\"}'");
	kit_open();
	reclaim();
	ck_list("review", "SELECT status FROM tasks");
}
END_TEST

/* Between reading the rows and the writer lock the worker completed its task. */
static void completes(void)
{
	if (kit.owner_asked == 1)
		kit_sql("UPDATE tasks SET status = 'done', claim_lock = NULL, claim_expires ="
			" NULL, worker_pid = NULL, current_run_id = NULL WHERE id = 'racer';"
			"UPDATE task_runs SET ended_at = 1780000000, outcome = 'completed' "
			"WHERE"
			" task_id = 'racer'");
}

START_TEST(a_row_that_moved_on_is_left_alone)
{
	struct running_set set = { 0 };

	kit_board(0);
	ended(kit_run("racer", 101, NULL, NULL), 101, TICK_EXITED, 1);
	ended(kit_run("other", 102, NULL, NULL), 102, TICK_EXITED, 1);
	kit_open();
	ck_assert_int_eq(running_load(kit_ctx(), &set), 0);
	kit.owner_asked = 1;
	completes();
	ck_assert_int_eq(db_begin(kit.db, &kit.e), 0);
	ck_assert_int_eq(crash_run(kit_ctx(), &set), 0);
	ck_assert_int_eq(db_commit(kit.db, &kit.e), 0);
	running_deinit(&set);
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "other");
	ck_list("done|0", "SELECT status, consecutive_failures FROM tasks WHERE id = 'racer'");
	ck_assert_str_eq(kit_kinds("racer"), "claimed");
	kit_claim_invariant();
}
END_TEST

START_TEST(lease_lost_writes_nothing)
{
	kit_board(0);
	for (int i = 0; i < 3; i++)
		ended(kit_run(kit_printf("w%d", i), 100 + i, NULL, NULL), 100 + i, TICK_EXITED,
		      2);
	kit_open();
	kit.owner_left = 1;
	ck_assert_int_ne(kit_tick(TICK_RECLAIM), 0);
	ck_assert(kit.plan.lease_lost);
	ck_list("3",
		"SELECT count(*) FROM tasks WHERE status = 'running' AND consecutive_failures"
		" = 0 AND claim_lock IS NOT NULL");
	ck_list("3", "SELECT count(*) FROM task_events");
}
END_TEST

START_TEST(hostile_rows)
{
	kit_board(0);
	ended(kit_run("max", 101,
		      "consecutive_failures = 9223372036854775807, max_retries ="
		      " 9223372036854775807",
		      NULL),
	      101, TICK_EXITED, 1);
	ended(kit_run("min", 102,
		      "consecutive_failures = -9223372036854775808, max_retries = -5", NULL),
	      102, TICK_EXITED, 0);
	ended(kit_run("text", 103,
		      "consecutive_failures = 'many', max_retries = 'few',"
		      " started_at = x'00', last_heartbeat_at = 'never'",
		      "started_at = 'then', metadata = x'FF'"),
	      103, TICK_SIGNALED, 64);
	ended(kit_run("bytes", 104,
		      "claim_lock = CAST(x'683AFFFE' AS TEXT), title ="
		      " hex(zeroblob(5000000))",
		      NULL),
	      104, TICK_EXITED, 300);
	ended(kit_run("far", 105, "started_at = 9223372036854775807", NULL), 105, TICK_EXITED,
	      1);
	kit_open();
	reclaim();
	ck_assert_str_eq(kit_ids(&kit.plan.crashed), "max,min,text,bytes,far");
	ck_list("h:\xEF\xBF\xBD\xEF\xBF\xBD", "SELECT payload ->> 'claimer' FROM task_events"
					      " WHERE task_id = 'bytes' AND kind = 'crashed'");
}
END_TEST

START_TEST(legacy_board)
{
	kit_board(KIT_LEGACY);
	ended(kit_run("t", 101, NULL, NULL), 101, TICK_EXITED, 1);
	ended(kit_run("u", 102, "spawn_failures = 1", NULL), 102, TICK_EXITED, 1);
	kit_open();
	reclaim();
	ck_list("ready|1,blocked|2", "SELECT status, spawn_failures FROM tasks ORDER BY rowid");
}
END_TEST

KIT_SUITE_AGES("crash",
	       KIT_TESTS(a_terminal_provider_trips_at_the_first, the_trailer_in_the_log,
			 trailers_in_odd_logs, by_exit_status, grace, not_ours_to_judge,
			 exit_of_another_run, failure_limit_trips, a_wave_trips_at_once,
			 violations_are_counted_by_their_row, ends_nobody_saw,
			 back_to_the_review_lane, a_row_that_moved_on_is_left_alone,
			 lease_lost_writes_nothing, hostile_rows, no_grace_for_a_start_ahead),
	       KIT_TESTS(legacy_board))
