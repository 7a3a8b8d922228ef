/*
 * A root on a real loop, with a real lease and real workers (a shell script in the place of
 * hermes): scan, claim, launch, record, watch, end, stop. Every wait is "turn the loop until".
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "board/board.h"
#include "kit/board.h"
#include "recovery/repair.h"
#include "root/dispatch.h"
#include "root/root.h"
#include "util/clock.h"

extern char **environ;

static struct world {
	uv_loop_t loop;
	uv_timer_t guard;
	bool expired;
	struct jobs jobs;
	struct root_env env;
	struct launcher launcher;
	struct root *root;
	unsigned visits; /* news: one at the end of each visit, and some */
	bool stopped;
	void (*on_changed)(void); /* acts in the midst of things */
	int64_t since;
} w;

static void on_settings(void *arg, const char *root, const char *slug, struct settings *out)
{
	(void)arg, (void)root, (void)slug;
	*out = kit.set;
}

static const struct launcher *on_launcher(void *arg, const char *root)
{
	(void)arg, (void)root;
	return &w.launcher;
}

static void on_changed(void *arg)
{
	(void)arg;
	w.visits++;
	if (w.on_changed)
		w.on_changed();
}

static void on_counted(void *arg)
{
	(void)arg;
	if (w.root)
		root_counted(w.root);
}

static void on_freed(void *arg)
{
	(void)arg;
	root_capacity(w.root);
}

static void on_worker_ended(void *arg)
{
	(void)arg;
}

static void on_stopped(void *arg)
{
	(void)arg;
	w.stopped = true;
}

static void on_guard(uv_timer_t *timer)
{
	(void)timer;
	w.expired = true;
}

/* Turn the loop until the condition holds; the guard makes a hang a failure. */
#define UNTIL_MS(cond, ms)                                                                     \
	do {                                                                                   \
		w.expired = false;                                                             \
		ck_assert_int_eq(uv_timer_start(&w.guard, on_guard, ms, 0), 0);                \
		while (!(cond) && !w.expired)                                                  \
			(void)uv_run(&w.loop, UV_RUN_ONCE);                                    \
		(void)uv_timer_stop(&w.guard);                                                 \
	} while (0)
#define UNTIL(cond)                                                                            \
	do {                                                                                   \
		UNTIL_MS(cond, 20000);                                                         \
		ck_assert_msg(!w.expired, "waited in vain for %s", #cond);                     \
	} while (0)

/* What hermes does. The script runs with HERMES_KANBAN_TASK and the like. */
static void hermes_is(const char *script)
{
	char *path = kit_printf("%s/hermes", kit.dir);
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", script);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	w.launcher.hermes = path;
}

static void world_setup(void)
{
	memset(&w, 0, sizeof(w));
	ck_assert_int_eq(uv_loop_init(&w.loop), 0);
	jobs_init(&w.jobs, &w.loop);
	ck_assert_int_eq(uv_timer_init(&w.loop, &w.guard), 0);
	w.launcher = (struct launcher){ .environ = environ, .log_backup_count = 1 };
	hermes_is("exit 3");
	w.env = (struct root_env){
		.loop = &w.loop,
		.jobs = &w.jobs,
		.caps = &kit.caps,
		.host = KIT_HOST,
		.claim_lock = KIT_LOCK,
		.who = { .host = KIT_HOST },
		.open_max = 16,
		.settings = on_settings,
		.launcher = on_launcher,
		.changed = on_changed,
		.counted = on_counted,
		.freed = on_freed,
		.worker_ended = on_worker_ended,
	};
	kit.set.crash_grace_s = 0;
	kit.set.busy_timeout_ms = 20;
	kit.set.failure_limit = 1; /* a crash blocks: nothing runs in circles */
	ck_assert_int_eq(setenv("TMPDIR", "/tmp", 0), 0);
}

static void root_begin(void)
{
	char *profile = kit_printf("%s/profiles", kit.dir);

	ck_assert_int_eq(mkdir(profile, 0755), 0);
	ck_assert_int_eq(mkdir(kit_printf("%s/jimmy", profile), 0755), 0);
	ck_assert_int_eq(root_new(&w.root, &w.env, kit.dir), 0);
	ck_assert_int_eq(root_start(w.root), 0);
	UNTIL(w.root->role == ROOT_OWNER);
}

static void root_end(void)
{
	root_stop(w.root, on_stopped, NULL);
	UNTIL(w.stopped);
	w.root = root_free(w.root);
	ck_assert_uint_eq(w.env.open_boards, 0);
	ck_assert_int_eq(kit.caps.running, 0);
	UNTIL(w.jobs.count == 0);
	uv_close((uv_handle_t *)&w.guard, NULL);
	while (uv_run(&w.loop, UV_RUN_NOWAIT) > 0)
		;
	ck_assert_int_eq(uv_loop_close(&w.loop), 0);
	kit_loop_ended();
}

static struct dispatch *of(const char *slug)
{
	for (size_t i = 0; i < w.root->n_boards; i++)
		if (strcmp(w.root->boards[i]->board.place.slug, slug) == 0)
			return w.root->boards[i];
	return NULL;
}

/* A look at the rows from beside, not while a visit runs: it may hold them. */
static bool kinds_are(const char *task, const char *kinds)
{
	char *now;

	if (of("default") && of("default")->board.busy)
		return false;
	now = kit_kinds(task);
	return strcmp(now, kinds) == 0;
}

/* The loop runs for a while: how many visits were there? */
static unsigned visits_in(unsigned ms)
{
	const unsigned before = w.visits;

	UNTIL_MS(false, ms);
	return w.visits - before;
}

static void add_ready(const char *id)
{
	kit_task(id, "ready", "workspace_kind = 'scratch'");
}

/* ---- from ready to blocked
 * --------------------------------------------------------------------- */

START_TEST(claim_launch_record_watch_book)
{
	world_setup();
	kit_board(0);
	add_ready("t");
	root_begin();
	UNTIL(of("default") && of("default")->n_exits == 1 && dispatch_idle(of("default")));
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	ck_list("blocked|1", "SELECT status, consecutive_failures FROM tasks");
	ck_list("nonzero_exit|3", "SELECT payload ->> 'exit_kind', payload ->> 'exit_code' FROM"
				  " task_events WHERE kind = 'crashed'");
	kit_claim_invariant();
	ck_assert_ptr_null(of("default")->workers);
	/* and then it is quiet */
	(void)visits_in(200);
	ck_assert_uint_le(visits_in(300), 3);
	root_end();
}
END_TEST

/* inotify brings a commit of others to a tick; the sweep is a minute away. */
static void woken(unsigned flags, unsigned open_max)
{
	world_setup();
	w.env.open_max = open_max;
	kit_board(flags);
	root_begin();
	UNTIL(of("default") && of("default")->board.state == BOARD_HEALTHY &&
	      of("default")->adopted);
	(void)visits_in(150);
	for (int i = 0; i < 3; i++) {
		char *id = kit_printf("t%d", i);

		add_ready(id);
		UNTIL(kinds_are(id,
				i ? "claimed,spawned,crashed,gave_up"
				  : "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
		(void)visits_in(100);
	}
	root_end();
}

START_TEST(woken_delete)
{
	woken(0, 16);
}
END_TEST

START_TEST(woken_wal)
{
	woken(KIT_WAL, 16);
}
END_TEST

START_TEST(woken_with_no_connection_open)
{
	woken(KIT_WAL, 0);
}
END_TEST

START_TEST(many_at_once_are_recorded_once)
{
	world_setup();
	kit_board(0);
	for (int i = 0; i < 70; i++) /* three batches */
		add_ready(kit_printf("t%d", i));
	root_begin();
	UNTIL(of("default") && !of("default")->board.busy && of("default")->n_exits == 70 &&
	      dispatch_idle(of("default")) && !of("default")->workers &&
	      kit_int("SELECT count(*) FROM tasks WHERE status = 'blocked'") == 70);
	ck_list("70|70",
		"SELECT count(*), count(DISTINCT task_id) FROM task_events WHERE kind ="
		" 'spawned'");
	ck_list("70", "SELECT count(*) FROM task_runs WHERE outcome = 'crashed'");
	kit_claim_invariant();
	root_end();
}
END_TEST

START_TEST(a_launch_that_fails_is_booked_and_held)
{
	world_setup();
	w.launcher.hermes = "/no/such/hermes";
	kit.set.failure_limit = 3;
	kit_board(0);
	add_ready("t");
	root_begin();
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawn_failed"));
	ck_list("ready|1", "SELECT status, consecutive_failures FROM tasks");
	ck_assert_uint_eq(of("default")->n_holds, 1);
	/* not again before the interval is over */
	dispatch_want(of("default"), WANT_FULL);
	(void)visits_in(200);
	UNTIL(dispatch_idle(of("default")));
	ck_assert_str_eq(kit_kinds("t"), "claimed,tip_scratch_workspace,spawn_failed");
	root_end();
}
END_TEST

/* ---- what cannot be booked now
 * -------------------------------------------------------------------- */

static sqlite3 *other;

static void lock_before_the_record(void)
{
	struct dispatch *d = of("default");

	if (!d || !d->launching || d->board.busy)
		return;
	ck_assert_int_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	w.on_changed = NULL;
}

START_TEST(a_failed_record_is_kept_and_tried_again)
{
	world_setup();
	kit_board(0);
	add_ready("t");
	hermes_is(kit_printf("i=0; while ! [ -e %s/go ] && [ $i -lt 600 ]; do sleep 0.05; "
			     "i=$((i+1)); done; exit 3",
			     kit.dir));
	ck_assert_int_eq(sqlite3_open(kit.path, &other), SQLITE_OK);
	w.on_changed = lock_before_the_record;
	root_begin();
	UNTIL(of("default") && of("default")->failures == 1);
	ck_assert_ptr_nonnull(of("default")->finished);
	ck_assert_int_eq(of("default")->board.state, BOARD_TROUBLED);
	ck_assert_int_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(other), SQLITE_OK);
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned"));
	ck_assert_ptr_null(of("default")->finished);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	root_end();
}
END_TEST

static char saved[100];

static void write_head(const char *bytes)
{
	int fd = open(kit.path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, sizeof(saved), 0), (ssize_t)sizeof(saved));
	(void)close(fd);
}

static void damage_before_the_record(void)
{
	struct dispatch *d = of("default");
	int fd;

	if (!d || !d->launching || d->board.busy)
		return;
	w.on_changed = NULL;
	fd = open(kit.path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, saved, sizeof(saved), 0), (ssize_t)sizeof(saved));
	(void)close(fd);
	write_head("this is no header of SQLite, and it is longer than a header has to be to "
		   "be one"
		   " hundred bytes long..");
}

/* A damaged board is left alone, also with something to bring home; mended, it gets it. */
START_TEST(a_record_for_a_damaged_board_waits)
{
	world_setup();
	kit_board(0);
	add_ready("t");
	hermes_is(kit_printf("i=0; while ! [ -e %s/go ] && [ $i -lt 600 ]; do sleep 0.05; "
			     "i=$((i+1)); done; exit 3",
			     kit.dir));
	kit.set.repair_policy = REPAIR_NEVER;
	w.on_changed = damage_before_the_record;
	root_begin();
	UNTIL(of("default") && of("default")->board.state == BOARD_QUARANTINED);
	UNTIL(!of("default")->board.busy && of("default")->finished); /* kept */
	(void)visits_in(100);
	ck_assert_uint_le(visits_in(300), 3);
	write_head(saved);
	root_sweep(w.root);
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned"));
	ck_assert_int_eq(of("default")->board.state, BOARD_HEALTHY);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	root_end();
}
END_TEST

static void remove_before_the_record(void)
{
	struct dispatch *d = of("default");

	if (!d || !d->launching || d->board.busy)
		return;
	w.on_changed = NULL;
	ck_assert_int_eq(unlink(kit.path), 0);
}

/* Tasks had been there: it is lost, not merely missing. */
START_TEST(a_record_for_a_lost_board_waits)
{
	world_setup();
	kit_board(0);
	add_ready("t");
	w.on_changed = remove_before_the_record;
	root_begin();
	UNTIL(of("default") && of("default")->board.state == BOARD_LOST);
	UNTIL(!of("default")->board.busy && of("default")->finished); /* kept */
	(void)visits_in(100);
	ck_assert_uint_le(visits_in(300), 3);
	root_end();
}
END_TEST

/* ---- ending workers
 * ------------------------------------------------------------------------------------ */

START_TEST(over_time_is_ended_and_booked)
{
	unsigned before;

	world_setup();
	kit.set.terminate_grace_ms = 600;
	kit_board(0);
	kit_task("t", "ready", "max_runtime_seconds = 1");
	hermes_is("trap '' TERM; i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done");
	root_begin();
	UNTIL(of("default") && of("default")->ending);
	before = w.visits;
	dispatch_want(of("default"), WANT_FULL); /* a tick while it is being ended */
	UNTIL(!of("default")->ending);
	ck_assert_uint_le(w.visits - before, 12);
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned,timed_out,gave_up"));
	ck_list("1", "SELECT payload ->> 'sigkill' FROM task_events WHERE kind = 'timed_out'");
	kit_claim_invariant();
	root_end();
}
END_TEST

/* ---- boards come and go
 * ---------------------------------------------------------------------------------- */

static void make_board(const char *slug)
{
	char *dir = kit_printf("%s/kanban/boards/%s", kit.dir, slug),
	     *path = kit_printf("%s", kit.path);

	ck_assert_int_eq(system(kit_printf("mkdir -p '%s'", dir)), 0);
	(void)snprintf(kit.path, sizeof(kit.path), "%s/kanban.db", dir);
	kit_board(0);
	(void)snprintf(kit.path, sizeof(kit.path), "%s", path);
}

START_TEST(boards_are_found_and_dropped)
{
	world_setup();
	kit_board(0);
	make_board("one");
	make_board("two");
	root_begin();
	UNTIL(w.root->n_boards == 3 && root_idle(w.root) && of("two")->adopted);
	ck_assert(of("one") && of("two"));
	ck_assert_int_eq(system(kit_printf("rm -r %s/kanban/boards/one; echo '{\"archived\":"
					   " true}' > %s/kanban/boards/two/board.json",
					   kit.dir, kit.dir)),
			 0);
	make_board("three");
	root_sweep(w.root);
	UNTIL(of("three") && of("three")->adopted && root_idle(w.root));
	root_sweep(w.root); /* a visit may have kept "one" from being dropped */
	UNTIL(!of("one"));
	ck_assert_ptr_null(of("one"));
	ck_assert_uint_eq(w.root->n_boards, 3);
	ck_assert(!of("two")->dispatched);
	ck_assert_str_eq(of("two")->aside, "archived");
	ck_assert_uint_eq(w.env.uncounted, 0);
	root_end();
}
END_TEST

/* One place for two boards: the second starts when the first is done. */
START_TEST(capacity_wakes_the_other_board)
{
	struct dispatch *two;

	world_setup();
	caps_set_max(&kit.caps, 1);
	kit_board(0);
	add_ready("t");
	make_board("two");
	(void)snprintf(kit.path, sizeof(kit.path), "%s/kanban/boards/two/kanban.db", kit.dir);
	add_ready("u");
	(void)snprintf(kit.path, sizeof(kit.path), "%s/kanban.db", kit.dir);
	hermes_is(kit_printf(
		"echo $HERMES_KANBAN_TASK >> %s/ran; i=0; while ! [ -e %s/go ] && [ $i -lt 600"
		" ]; do sleep 0.05; i=$((i+1)); done; exit 3",
		kit.dir, kit.dir));
	root_begin();
	UNTIL(w.root->n_boards == 2 && root_idle(w.root) && of("two")->adopted &&
	      of("default")->adopted);
	two = of("two");
	UNTIL(of("default")->workers || two->workers);
	ck_assert(!of("default")->workers != !two->workers);
	ck_assert_int_eq(kit.caps.running, 1);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(of("default")->n_exits == 1 && two->n_exits == 1 && root_idle(w.root));
	ck_assert_int_eq(system(kit_printf("[ $(wc -l < %s/ran) = 2 ]", kit.dir)), 0);
	root_end();
}
END_TEST

/* ---- leases and stopping
 * ------------------------------------------------------------------------------------ */

START_TEST(the_lock_file_is_replaced)
{
	char *lock = kit_printf("%s/kanban/.dispatcher.lock", kit.dir);
	int64_t epoch;

	world_setup();
	kit_board(0);
	root_begin();
	UNTIL(of("default") && of("default")->adopted && root_idle(w.root));
	epoch = w.root->epoch;
	ck_assert_int_eq(unlink(lock), 0);
	add_ready("t");
	dispatch_want(of("default"), WANT_TICK);
	UNTIL(w.root->role == ROOT_OWNER && w.root->epoch > epoch);
	UNTIL(kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	ck_assert_int_eq(access(lock, F_OK), 0);
	root_end();
}
END_TEST

static void stop_now(void)
{
	struct dispatch *d = of("default");

	if (!d || !d->launching || w.root->stopping)
		return;
	w.on_changed = NULL;
	root_stop(w.root, on_stopped, NULL);
}

/* Stopping with a launch in flight: it is brought home, and the worker lives on. */
START_TEST(stopped_with_a_launch_in_flight)
{
	pid_t pid;

	world_setup();
	kit_board(KIT_WAL);
	add_ready("t");
	hermes_is(kit_printf(
		"i=0; while ! [ -e %s/go ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done",
		kit.dir));
	w.on_changed = stop_now;
	root_begin();
	UNTIL(w.stopped);
	ck_assert_str_eq(kit_kinds("t"), "claimed,tip_scratch_workspace,spawned");
	pid = (pid_t)kit_int("SELECT worker_pid FROM tasks");
	ck_assert_int_gt(pid, 1);
	ck_assert_int_eq(kill(pid, 0), 0);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	kit_claim_invariant();
	ck_assert_int_ne(access(kit_printf("%s-wal", kit.path), F_OK), 0);
	w.root = root_free(w.root);
	UNTIL(w.jobs.count == 0);
	uv_close((uv_handle_t *)&w.guard, NULL);
	while (uv_run(&w.loop, UV_RUN_NOWAIT) > 0)
		;
	ck_assert_int_eq(uv_loop_close(&w.loop), 0);
	kit_loop_ended();
}
END_TEST

START_TEST(stopped_at_once)
{
	world_setup();
	kit_board(0);
	root_begin();
	root_end();
}
END_TEST

KIT_SUITE("root", claim_launch_record_watch_book, woken_delete, woken_wal,
	  woken_with_no_connection_open, many_at_once_are_recorded_once,
	  a_launch_that_fails_is_booked_and_held, a_failed_record_is_kept_and_tried_again,
	  a_record_for_a_damaged_board_waits, a_record_for_a_lost_board_waits,
	  over_time_is_ended_and_booked, boards_are_found_and_dropped,
	  capacity_wakes_the_other_board, the_lock_file_is_replaced,
	  stopped_with_a_launch_in_flight, stopped_at_once)
