/* A root whose boards and whose lease come and go, and its stop. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "board/board.h"
#include "kit/board.h"
#include "kit/root.h"
#include "recovery/repair.h"
#include "root/dispatch.h"
#include "root/hostfault.h"
#include "root/root.h"
#include "util/clock.h"

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
	kit_root_setup();
	kit_board(0);
	make_board("one");
	make_board("two");
	kit_root_begin();
	UNTIL(w.root->n_boards == 3 && root_idle(w.root) && kit_root_board("two")->adopted);
	ck_assert(kit_root_board("one") && kit_root_board("two"));
	ck_assert_int_eq(system(kit_printf("rm -r %s/kanban/boards/one; echo '{\"archived\":"
					   " true}' > %s/kanban/boards/two/board.json",
					   kit.dir, kit.dir)),
			 0);
	make_board("three");
	root_sweep(w.root);
	UNTIL(kit_root_board("three") && kit_root_board("three")->adopted && root_idle(w.root));
	root_sweep(w.root); /* a visit may have kept "one" from being dropped */
	UNTIL(!kit_root_board("one"));
	ck_assert_ptr_null(kit_root_board("one"));
	ck_assert_uint_eq(w.root->n_boards, 3);
	ck_assert(!kit_root_board("two")->dispatched);
	ck_assert_str_eq(kit_root_board("two")->aside, "archived");
	ck_assert_uint_eq(w.env.uncounted, 0);
	kit_root_end();
}
END_TEST

/* One place for two boards: the second starts when the first is done. */
START_TEST(capacity_wakes_the_other_board)
{
	struct dispatch *two;

	kit_root_setup();
	caps_set_max(&kit.caps, 1);
	kit_board(0);
	kit_root_ready("t");
	make_board("two");
	(void)snprintf(kit.path, sizeof(kit.path), "%s/kanban/boards/two/kanban.db", kit.dir);
	kit_root_ready("u");
	(void)snprintf(kit.path, sizeof(kit.path), "%s/kanban.db", kit.dir);
	kit_root_hermes(kit_printf(
		"echo $HERMES_KANBAN_TASK >> %s/ran; i=0; while ! [ -e %s/go ] && [ $i -lt 600"
		" ]; do sleep 0.05; i=$((i+1)); done; exit 3",
		kit.dir, kit.dir));
	kit_root_begin();
	UNTIL(w.root->n_boards == 2 && root_idle(w.root) && kit_root_board("two")->adopted &&
	      kit_root_board("default")->adopted);
	two = kit_root_board("two");
	UNTIL(kit_root_board("default")->workers.list || two->workers.list);
	ck_assert(!kit_root_board("default")->workers.list != !two->workers.list);
	ck_assert_int_eq(kit.caps.turns.running, 1);
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(kit_root_board("default")->workers.n_exits == 1 && two->workers.n_exits == 1 &&
	      root_idle(w.root));
	ck_assert_int_eq(system(kit_printf("[ $(wc -l < %s/ran) = 2 ]", kit.dir)), 0);
	kit_root_end();
}
END_TEST

/* ---- leases and stopping
 * ------------------------------------------------------------------------------------ */

START_TEST(the_lock_file_is_replaced)
{
	char *lock = kit_printf("%s/kanban/.dispatcher.lock", kit.dir);
	int64_t epoch;

	kit_root_setup();
	kit_board(0);
	kit_root_begin();
	UNTIL(kit_root_board("default") && kit_root_board("default")->adopted &&
	      root_idle(w.root));
	epoch = w.root->epoch;
	ck_assert_int_eq(unlink(lock), 0);
	kit_root_ready("t");
	wakeup_want(kit_root_board("default"), WANT_TICK);
	UNTIL(w.root->role == ROOT_OWNER && w.root->epoch > epoch);
	UNTIL(kit_root_kinds_are("t", "claimed,tip_scratch_workspace,spawned,crashed,gave_up"));
	ck_assert_int_eq(access(lock, F_OK), 0);
	kit_root_end();
}
END_TEST

/* A git that says that it is there, and goes on when it may. */
static void git_waits(void)
{
	char *bin = kit_printf("%s/bin", kit.dir);
	char *file = kit_printf("%s/git", bin);
	FILE *f;

	ck_assert_int_eq(mkdir(bin, 0755), 0);
	f = fopen(file, "we");
	ck_assert_ptr_nonnull(f);
	(void)fprintf(f,
		      "#!/bin/sh\n>%s/in-git\ni=0\nwhile ! [ -e %s/go ] && [ $i -lt 600 ]; do\n"
		      "sleep 0.05; i=$((i+1)); done\nPATH=%s exec git \"$@\"\n",
		      kit.dir, kit.dir, getenv("PATH"));
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(chmod(file, 0755), 0);
	ck_assert_int_eq(setenv("PATH", kit_printf("%s:%s", bin, getenv("PATH")), 1), 0);
}

/* The lock file becomes another, which another process holds. Return: a descriptor of it. */
static int lease_taken_away(void)
{
	char *lock = kit_printf("%s/kanban/.dispatcher.lock", kit.dir);
	char *theirs = kit_printf("%s/theirs", kit.dir);
	int fd = open(theirs, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(rename(theirs, lock), 0);
	return fd;
}

static bool exists(const char *name)
{
	return access(kit_printf("%s/%s", kit.dir, name), F_OK) == 0;
}

/* A board with one task, whose workspace wants git. */
static void worktree_task(void)
{
	ck_assert_int_eq(system(kit_printf(
				 "cd %s && PATH=${PATH#*:} && mkdir repo && git -C repo init -q"
				 " && git -C repo -c user.name=a -c user.email=a@b commit"
				 " -q --allow-empty -m x",
				 kit.dir)),
			 0);
	kit_board(0);
	kit_task("t", "ready",
		 kit_printf("workspace_kind = 'worktree', workspace_path ="
			    " '%s/repo/.worktrees/t', branch_name = 'wt/t'",
			    kit.dir));
}

/* git was at it when the lease went: whoever has it now may have started that task. */
static void a_launch_without_the_lease(bool step_down)
{
	int fd;

	git_waits();
	kit_root_setup();
	kit_root_hermes(kit_printf(">%s/ran; exit 3", kit.dir));
	worktree_task();
	kit_root_begin();
	UNTIL(exists("in-git"));
	fd = lease_taken_away();
	if (step_down) {
		root_lease_lost(w.root, "a test");
		UNTIL(w.root->role == ROOT_STANDBY);
	}
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(!kit_root_board("default")->launches.launching);
	ck_assert(!exists("ran"));
	ck_list("-", "SELECT worker_pid FROM tasks");
	/* nobody had it meanwhile: then it is ready again, and starts */
	UNTIL(w.root->role == ROOT_STANDBY);
	ck_assert_int_eq(close(fd), 0);
	UNTIL(kit_root_kinds_are("t", "claimed,reclaimed,claimed,spawned,crashed,gave_up"));
	ck_list("lease_lost", "SELECT payload ->> 'reason' FROM task_events WHERE kind ="
			      " 'reclaimed'");
	ck_assert(exists("ran"));
	kit_root_end();
}

START_TEST(a_launch_in_flight_when_the_lease_goes)
{
	a_launch_without_the_lease(true);
}
END_TEST

/* … also where nobody has noticed yet. */
START_TEST(a_launch_asks_for_the_lease_itself)
{
	a_launch_without_the_lease(false);
}
END_TEST

/* Some visits, however long git takes. */
static void look_again(void)
{
	for (int i = 0; i < 3; i++) {
		const unsigned before = w.visits;

		wakeup_want(kit_root_board("default"), WANT_FULL);
		UNTIL(w.visits > before && !kit_root_board("default")->board.busy);
	}
}

/* A claim may be over before git is. */
START_TEST(a_launch_is_left_to_end)
{
	git_waits();
	kit_root_setup();
	kit.set.claim_ttl_s = -2;
	kit_root_hermes("exit 3");
	worktree_task();
	kit_root_begin();
	UNTIL(exists("in-git"));
	look_again();
	ck_assert_str_eq(kit_kinds("t"), "claimed");
	ck_list("1|-", "SELECT count(*), max(outcome) FROM task_runs");
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(!kit_root_board("default")->launches.launching);
	UNTIL(kit_int("SELECT count(*) FROM task_runs WHERE ended_at > 0") == 1);
	kit_root_end();
}
END_TEST

/* Somebody puts the task back meanwhile: no second start beside the one that is under way. */
START_TEST(a_launch_is_the_only_one_of_its_task)
{
	git_waits();
	kit_root_setup();
	kit_root_hermes("exit 3");
	worktree_task();
	kit_root_begin();
	UNTIL(exists("in-git"));
	kit_sql("UPDATE tasks SET status = 'ready', claim_lock = NULL, claim_expires = NULL,"
		" current_run_id = NULL");
	look_again();
	ck_list("1", "SELECT count(*) FROM task_runs");
	ck_assert_int_eq(system(kit_printf("touch %s/go", kit.dir)), 0);
	UNTIL(kit_int("SELECT count(*) FROM task_runs") == 2); /* after it */
	kit_root_end();
}
END_TEST

static void stop_now(void)
{
	struct dispatch *d = kit_root_board("default");

	if (!d || !d->launches.launching || w.root->stopping)
		return;
	w.on_changed = NULL;
	root_stop(w.root, on_stopped, NULL);
}

/* Stopping with a launch in flight: it is brought home, and the worker lives on. */
START_TEST(stopped_with_a_launch_in_flight)
{
	pid_t pid;

	kit_root_setup();
	kit_board(KIT_WAL);
	kit_root_ready("t");
	kit_root_hermes(kit_printf(
		"i=0; while ! [ -e %s/go ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done",
		kit.dir));
	w.on_changed = stop_now;
	kit_root_begin();
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
	kit_root_setup();
	kit_board(0);
	kit_root_begin();
	kit_root_end();
}
END_TEST

KIT_SUITE("root_ends", boards_are_found_and_dropped, capacity_wakes_the_other_board,
	  the_lock_file_is_replaced, a_launch_in_flight_when_the_lease_goes,
	  a_launch_asks_for_the_lease_itself, a_launch_is_left_to_end,
	  a_launch_is_the_only_one_of_its_task, stopped_with_a_launch_in_flight,
	  stopped_at_once)
